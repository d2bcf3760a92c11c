package kds_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
)

// levels makes a Meridian peer announce which schemas it reads.
func (p *peer) levels(list string) *peer {
	q := p.meridian()
	q.node.Metadata.Fields["meridian-levels"] = structpb.NewStringValue(list)
	return q
}

func TestWhatAPeerCannotReadIsHeldBackUntilItCan(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		put(t, g.store, timeout("a", meshWide), made("MeshRetry", "default", "r", meshWide))
		old := g.peer("east")
		d := old.levels("Mesh=1,MeshRetry=1").down()
		d.resume("MeshTimeout", &syncv1.Resume{})
		d.resume("MeshRetry", &syncv1.Resume{})
		tokens := map[string]*syncv1.Frame{}
		for _, m := range d.take() {
			f := frame(t, m)
			tokens[m.TypeUrl] = f
			assert.Len(t, m.Resources, map[string]int{"MeshTimeout": 0, "MeshRetry": 1}[m.TypeUrl], m.TypeUrl)
			d.answer(m, &syncv1.Answer{})
		}
		put(t, g.store, timeout("b", meshWide))
		assert.Empty(t, d.take(), "neither sent nor rejected")
		list, err := g.server.SyncOf(context.Background(), get(t, g.store, timeout("a", "").Key))
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, kds.OutOfScope, list[0].Outcome)
		assert.Equal(t, scope.LacksSchemaLevel, list[0].Rule)
		assert.Equal(t, "peer lacks MeshTimeout", list[0].Reason)

		require.NoError(t, old.conn.Close()) // the zone is upgraded
		synctest.Wait()
		d = g.peer("east").levels("Mesh=1,MeshRetry=1,MeshTimeout=1").down()
		for kind, f := range tokens {
			d.resume(kind, &syncv1.Resume{Epoch: f.Epoch, Revision: f.Revision})
		}
		for _, m := range d.take() {
			f := frame(t, m)
			if m.TypeUrl == "MeshRetry" {
				assert.Equal(t, syncv1.Snapshot_SNAPSHOT_NONE, f.Snapshot, "what it could read all along is resumed")
				assert.Empty(t, m.Resources)
				continue
			}
			assert.Equal(t, syncv1.Snapshot_SNAPSHOT_WHOLE, f.Snapshot)
			assert.False(t, f.Continues)
			assert.Len(t, m.Resources, 2)
		}
	})
}

func TestOlderAndNewerPeersAreUnderstood(t *testing.T) {
	for name, announce := range map[string]func(*peer) *peer{
		"a Kuma":                             func(p *peer) *peer { return p },
		"a Meridian that announces no level": (*peer).meridian,
		"a Meridian of the future": func(p *peer) *peer {
			p = p.levels("MeshTimeout=7,MeshMagic=1")
			features := p.node.Metadata.Fields["features"].GetListValue()
			features.Values = append(features.Values, structpb.NewStringValue("meridian-telepathy"), structpb.NewStringValue("kuma-2.99"))
			return p
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t)
				put(t, g.store, timeout("a", meshWide))
				d := announce(g.peer("east")).down()
				if name == "a Kuma" {
					require.NoError(t, d.stream.Send(request(d.peer, "MeshTimeout")))
				} else {
					d.resume("MeshTimeout", &syncv1.Resume{})
				}
				got := d.take()
				require.Len(t, got, 1)
				assert.NotEmpty(t, got[0].Resources)
				assert.Contains(t, unwire(t, got[0].Resources[0]).Meta.Name, "a-")
			})
		})
	}
}

// Each start of the zone is of another build: with the extensions and without, with and without single features of Kuma. What
// was written and deleted between two of them reaches the other side, and nothing comes back.
func TestAZoneThatIsUpgradedAndDowngradedLosesNothing(t *testing.T) {
	builds := [][]string{
		nil, {kds.FeatureResume}, nil, {kds.FeatureVerdicts}, {scope.FeatureHashedNames}, nil, {scope.FeatureOptionalTargetRef}, {kds.FeatureResume, scope.FeatureHashedNames},
		{scope.FeatureProducerPolicies, scope.FeatureHostnameSelector}, nil,
	}
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		build := 0
		p.clientConfig = func(c *kds.ClientConfig) { c.Without = builds[build] }
		p.start()
		other := p.global.zone("west")
		for build = range builds {
			p.zone.stop()
			down, up := fmt.Sprint("down-", build), fmt.Sprint("up-", build)
			put(t, p.globalStore, timeout(down, meshWide), timeout("always", strings.ReplaceAll(meshWide, "20s", fmt.Sprint(build, "s"))))
			put(t, p.zoneStore, consumer(up, "demo"))
			put(t, other.store, producer("p", "shop"), made("MeshService", "default", fmt.Sprint("s", build), `{}`))
			if build > 0 {
				remove(t, p.globalStore, timeout(fmt.Sprint("down-", build-1), "").Key)
				remove(t, p.zoneStore, consumer(fmt.Sprint("up-", build-1), "demo").Key)
				remove(t, other.store, made("MeshService", "default", fmt.Sprint("s", build-1), "").Key)
			}
			p.startZone()
			converge()
			want := []string{"always", down, "p", up}
			if slices.Contains(builds[build], scope.FeatureProducerPolicies) || slices.Contains(builds[build], scope.FeatureOptionalTargetRef) {
				want = []string{"always", down, up} // the producer policy has no top-level targetRef
			}
			assert.Equal(t, want, names(t, p.zoneStore, "MeshTimeout"), "build %d", build)
			assert.Equal(t, []string{"always", down, "p", up}, names(t, p.globalStore, "MeshTimeout"), "build %d", build)
			assert.Equal(t, []string{fmt.Sprint("s", build)}, names(t, p.zoneStore, "MeshService"), "build %d", build)
			for _, r := range list(t, p.zoneStore, "MeshTimeout") {
				if r.Display() == "always" {
					assert.Contains(t, string(r.Spec), fmt.Sprintf(`"%ds"`, build))
				}
			}
			assert.True(t, p.zone.client.Status().Connected)
		}
	})
}

func TestLevelsThatCannotBeReadEndTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").levels("MeshTimeout").down()
		d.resume("MeshTimeout", &syncv1.Resume{})
		synctest.Wait()
		assert.Equal(t, codes.InvalidArgument, status.Code(d.err))
	})
}
