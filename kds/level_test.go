package kds_test

import (
	"context"
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

func TestLevelsThatCannotBeReadEndTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").levels("MeshTimeout").down()
		d.resume("MeshTimeout", &syncv1.Resume{})
		synctest.Wait()
		assert.Equal(t, codes.InvalidArgument, status.Code(d.err))
	})
}
