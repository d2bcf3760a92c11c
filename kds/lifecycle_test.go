package kds_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/meridian-mesh/meridian/kds"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// deleteZone deletes a Zone and what goes with it, as the API does.
func deleteZone(t testing.TB, st kds.Store, zone string) {
	t.Helper()
	ops := []resource.Op{resource.Delete(resource.Key{Kind: "Zone", Name: zone})}
	for _, r := range list(t, st, "") {
		if resource.GoesWithZone(r, zone) {
			ops = append(ops, resource.Delete(r.Key))
		}
	}
	_, err := st.Apply(context.Background(), ops...)
	require.NoError(t, err)
}

func ghosts(t testing.TB, st kds.Store, zone string) (keys []string) {
	t.Helper()
	for _, r := range list(t, st, "") {
		if resource.GoesWithZone(r, zone) || r.Kind == "Zone" && r.Name == zone {
			keys = append(keys, r.Key.String())
		}
	}
	return keys
}

// What tests of the fence look at is not there without it. Other tests of the package wait meanwhile: they are parallel.
func TestWithoutTheFenceADeletedZoneIsBack(t *testing.T) {
	defer kds.Break(kds.FaultNoFence)()
	synctest.Test(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").meridian().up()
		deleteZone(t, g.store, "east")
		require.Empty(t, ghosts(t, g.store, "east"))
		one := fromZone(consumer("one", "demo"), "east")
		require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 1, Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, nil, one))
		assert.NotEmpty(t, ghosts(t, g.store, "east"), "nobody would notice that the fence is gone")
	})
}

func TestAStreamOfADeletedZoneWritesNothingMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east := g.peer("east").meridian()
		u := east.up()
		one, two := fromZone(consumer("one", "demo"), "east"), fromZone(consumer("two", "demo"), "east")
		require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 1, Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, nil, one))
		require.NotEmpty(t, ghosts(t, g.store, "east"))
		deleteZone(t, g.store, "east") // the stream is open, and nobody has told it
		require.Nil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 2}, nil, two))
		assert.Equal(t, codes.Unavailable, status.Code(u.err))
		assert.ErrorContains(t, u.err, "the zone was deleted")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, ghosts(t, g.store, "east"), "neither a resource nor a record of it is back")

		u = g.peer("east").meridian().up() // it joins anew
		resume := &syncv1.Resume{}
		require.NoError(t, u.subscriptions["MeshTimeout"].ErrorDetail.Details[0].UnmarshalTo(resume))
		assert.Empty(t, resume.Epoch, "of the old epoch nothing is resumed")
		require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 3, Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, nil, two))
		assert.Equal(t, []string{"two"}, names(t, g.store, "MeshTimeout"), "it has only what it has now")
	})
}

func TestDeletedAndRecreatedZoneIsAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").meridian().up()
		deleteZone(t, g.store, "east")
		setEnabled(t, g.store, "east", true) // at the same moment, by somebody else
		put(t, g.store, resource.Resource{Key: resource.Key{Kind: resource.KindSyncEpoch, Name: "east"}})
		one := fromZone(consumer("one", "demo"), "east")
		require.Nil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 1, Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, nil, one))
		assert.ErrorContains(t, u.err, "the zone was deleted")
		assert.Empty(t, names(t, g.store, "MeshTimeout"))
	})
}

func TestConnectedZoneThatIsDeletedJoinsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, timeout("g", meshWide))
		put(t, p.zoneStore, consumer("c", "demo"))
		converge()
		require.Equal(t, []string{"c", "g"}, names(t, p.globalStore, "MeshTimeout"))
		before := p.zone.client.Status().Generation
		deleteZone(t, p.globalStore, "east")
		remove(t, p.zoneStore, consumer("c", "demo").Key)
		put(t, p.zoneStore, consumer("d", "demo"))
		converge()
		assert.Greater(t, p.zone.client.Status().Generation, before)
		assert.Equal(t, []string{"d", "g"}, names(t, p.globalStore, "MeshTimeout"))
		assert.Equal(t, []string{"d", "g"}, names(t, p.zoneStore, "MeshTimeout"))
		assert.Equal(t, kds.Online, p.status().State)
		p.zone.stop()
		synctest.Wait()
		deleteZone(t, p.globalStore, "east")
		list, err := p.global.server.Status(context.Background())
		require.NoError(t, err)
		assert.Empty(t, list, "nothing is shown of a zone that is gone")
	})
}

func TestDrainWaitsForWhoMayStillHoldSomething(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west, north := g.zone("east"), g.zone("west"), g.zone("north")
		setEnabled(t, g.store, "beforehand", true)
		put(t, east.store, producer("p", "demo"), consumer("c", "demo"))
		converge()
		require.Contains(t, names(t, west.store, "MeshTimeout"), "p")
		drain := func() kds.Drain {
			t.Helper()
			synctest.Wait()
			d, err := g.server.Drain(context.Background(), "east")
			require.NoError(t, err)
			return d
		}
		assert.Equal(t, kds.Drain{Zone: "east", State: kds.ZoneEnabled, Connected: true, Withdrawn: map[string]int{}, Waiting: []kds.DrainWait{}}, drain())

		north.stop()
		synctest.Wait()
		zone := get(t, g.store, resource.Key{Kind: "Zone", Name: "east"})
		setEnabled(t, g.store, "east", false)
		assert.Equal(t, kds.ZoneDisabled, drain().State)
		zone = get(t, g.store, zone.Key)
		zone.Labels = map[string]string{resource.LabelZoneState: resource.ZoneDraining}
		put(t, g.store, zone)
		d := drain()
		assert.Equal(t, kds.ZoneDraining, d.State)
		assert.Equal(t, map[string]int{"MeshTimeout": 2}, d.Withdrawn)
		require.Len(t, d.Waiting, 1, "west has let go, and the other was never here")
		assert.Equal(t, "north", d.Waiting[0].Zone)
		assert.Equal(t, kds.Offline, d.Waiting[0].State)
		assert.True(t, slices.Contains(d.Waiting[0].Kinds, "MeshTimeout"))
		assert.False(t, d.Safe)
		assert.NotContains(t, names(t, west.store, "MeshTimeout"), "p")

		put(t, g.store, timeout("everywhere", meshWide))
		put(t, east.store, consumer("d", "demo"))
		synctest.Wait()
		assert.Contains(t, names(t, east.store, "MeshTimeout"), "everywhere", "it goes on receiving")
		assert.Contains(t, names(t, g.store, "MeshTimeout"), "d", "and sending to global")

		startZone(t, "north", north.store, g.dial)
		converge()
		d = drain()
		assert.Equal(t, kds.ZoneDrained, d.State)
		assert.False(t, d.Safe, "its control plane runs")
		east.stop()
		assert.True(t, drain().Safe)
		_, err := g.server.Drain(context.Background(), "nowhere")
		assert.ErrorIs(t, err, resource.ErrNotFound)
	})
}
