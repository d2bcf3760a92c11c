package kds_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/meridian-mesh/meridian/kds"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// heavy returns a timeout of about that many bytes.
func heavy(name string, bytes int) resource.Resource {
	return timeout(name, `{"targetRef":{"kind":"Mesh"},"to":[],"pad":"`+strings.Repeat("x", bytes)+`"}`)
}

func TestResourceThatFitsIntoNoMessageIsHeldBackAndTheOthersGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		d := p.global.peer("kuma").down()
		d.subscribe("MeshTimeout")
		put(t, p.globalStore, timeout("before", meshWide), timeout("grows", meshWide), heavy("ten", 10<<20), timeout("after", meshWide))
		p.same("after", "before", "grows")
		put(t, p.globalStore, heavy("grows", 10<<20))
		p.same("after", "before", "grows") // the older copy stays
		sent := map[string]bool{}
		for got := d.take(); len(got) > 0; got = d.take() {
			for _, m := range got {
				for _, r := range m.Resources {
					sent[unwire(t, r).Meta.Labels[resource.LabelDisplayName]] = true
				}
				assert.Empty(t, m.RemovedResources)
				d.ack(m)
			}
		}
		assert.Equal(t, map[string]bool{"before": true, "grows": true, "after": true}, sent, "to a Kuma")
		for _, name := range []string{"ten", "grows"} {
			list, err := p.global.server.SyncOf(context.Background(), get(t, p.globalStore, timeout(name, "").Key))
			require.NoError(t, err)
			require.Len(t, list, 2)
			for _, v := range list {
				assert.Contains(t, []kds.Outcome{kds.Rejected, kds.Quarantined}, v.Outcome, "%s in %s", name, v.Zone)
				assert.Equal(t, "too-large", v.Code)
				assert.Regexp(t, `MeshTimeout default/`+name+`: 104\d+ bytes, and a message takes 10420224`, v.Reason)
			}
		}
		put(t, p.globalStore, timeout("ten", meshWide))
		p.same("after", "before", "grows", "ten")
	})
}

func TestLargeResourcesTravelOneByOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		put(t, p.globalStore, timeout("a", meshWide), heavy("b", 7<<20), heavy("c", 9<<20), heavy("d", 6<<20))
		p.start()
		converge()
		p.same("a", "b", "c", "d")
		put(t, p.globalStore, heavy("c", 6<<20), timeout("e", meshWide), heavy("b", 9<<20))
		p.same("a", "b", "c", "d", "e")
	})
}

func TestMessageLimitOfTheConfigurationHolds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.serverConfig = func(c *kds.ServerConfig) { c.MaxMessageBytes = 2 << 20 }
		p.start()
		put(t, p.globalStore, heavy("a", 1<<20), heavy("b", 3<<20))
		converge()
		p.same("a")
	})
}

func TestZoneWithTooManyResourcesIsToldByName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.serverConfig = func(c *kds.ServerConfig) { c.MaxResources = 3 }
		p.start()
		put(t, p.zoneStore, consumer("a", "demo"), consumer("b", "demo"), made("MeshRetry", "default", "r", meshWide))
		converge()
		put(t, p.zoneStore, consumer("c", "demo"))
		put(t, p.zoneStore, consumer("a", "other"))
		converge()
		assert.Len(t, list(t, p.globalStore, "MeshTimeout"), 2)
		v, err := p.zone.client.SyncOf(context.Background(), get(t, p.zoneStore, consumer("c", "demo").Key))
		require.NoError(t, err)
		assert.Contains(t, []kds.Outcome{kds.Rejected, kds.Quarantined}, v[0].Outcome)
		assert.Equal(t, "too-many", v[0].Code)
		assert.Contains(t, v[0].Reason, `MeshTimeout default/c-`)
		assert.Contains(t, v[0].Reason, `is one too many: zone "east" has 3 resources here, all that it may have`)
		put(t, p.zoneStore, consumer("a", "demo")) // what it has it may change
		spec := strings.ReplaceAll(consumes, "3s", "4s")
		changed := consumer("a", "demo")
		changed.Spec = []byte(spec)
		put(t, p.zoneStore, changed)
		synctest.Wait()
		assert.Equal(t, spec, string(get(t, p.globalStore, hashedKey(changed, "east")).Spec))
		remove(t, p.zoneStore, consumer("b", "demo").Key) // and when there is room
		synctest.Wait()
		require.NoError(t, p.zone.client.Retry(get(t, p.zoneStore, consumer("c", "demo").Key).Identity()))
		converge()
		assert.Contains(t, names(t, p.globalStore, "MeshTimeout"), "c")
	})
}

func TestConnectionWithTooManyStreamsIsToldSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t, func(c *kds.ServerConfig) { c.MaxStreams = 3 })
		p := g.peer("east").meridian()
		p.down().resume("Mesh", &syncv1.Resume{})
		synctest.Wait()
		var last error
		for range 3 {
			stream, err := meshv1.NewGlobalKDSServiceClient(p.conn).StreamStats(p.ctx)
			require.NoError(t, err)
			synctest.Wait()
			errs := make(chan error, 1)
			go func() { _, err := stream.Recv(); errs <- err }()
			synctest.Wait()
			select {
			case last = <-errs:
			default:
			}
		}
		assert.Equal(t, codes.ResourceExhausted, status.Code(last), fmt.Sprint(last))
		assert.ErrorContains(t, last, `zone "east" would have 4 streams open, and 3 are allowed`)
		g.zone("west")
		converge()
		list, err := g.server.Status(context.Background())
		require.NoError(t, err)
		assert.Len(t, list, 2)
	})
}

func TestTuningSaysEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	name := func(setting string) string { return "--sync-" + setting }
	require.NoError(t, kds.Tuning{}.Check(name))
	err := kds.Tuning{Guard: kds.Guard{Share: 2, AtLeast: -1}, ChunkBytes: 20 << 20, MaxMessageBytes: 5}.Check(name)
	for _, want := range []string{
		"--sync-guard-share 2: want a share from 0 to 1", "--sync-guard-at-least -1: want 0 (20) or more",
		"--sync-max-message-bytes 5: want 0 (10 MiB) or at least 1 MiB", "--sync-chunk-bytes 20971520: want 0 (1 MiB) to ",
	} {
		assert.ErrorContains(t, err, want)
	}
}
