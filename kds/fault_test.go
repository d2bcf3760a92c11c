package kds_test

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/meridian-mesh/meridian/kds"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// sample returns a resource of any kind that both sides can read.
func sample(d resource.Descriptor, name string) resource.Resource {
	mesh, spec := "", ""
	if d.Scope == resource.ScopeMesh {
		mesh = "default"
	}
	if d.Message == "" {
		spec = meshWide
	}
	return made(d.Kind, mesh, name, spec)
}

func TestPoisonedResourceOfEachKindHarmsNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		refuse := func(r resource.Resource) error {
			if strings.HasPrefix(r.Display(), "bad") {
				return &resource.InvalidError{Key: r.Key, Violations: []resource.Violation{{Field: "spec", Reason: "is poison"}}}
			}
			return nil
		}
		p := newPair(t)
		p.serverConfig = func(c *kds.ServerConfig) { c.Validate = refuse }
		p.clientConfig = func(c *kds.ClientConfig) { c.Validate = refuse }
		p.start()
		var down, up []resource.Descriptor
		for _, d := range resource.Kinds {
			if d.FromGlobal() && d.Flow.Has(resource.ProvidedByGlobal) && d.Kind != "Config" { // of which one resource travels, whatever its name
				down = append(down, d)
				put(t, p.globalStore, sample(d, "bad-down"), sample(d, "good-down"))
			}
			if d.FromZone() {
				up = append(up, d)
				put(t, p.zoneStore, sample(d, "bad-up"), sample(d, "good-up"))
			}
		}
		require.Greater(t, len(down), 35)
		require.Len(t, up, 26)
		converge()
		nacks := p.global.server.Stats().Nacks
		assert.Positive(t, nacks)
		for _, d := range down {
			assert.Contains(t, names(t, p.zoneStore, d.Kind), "good-down", d.Kind)
			held := 0
			for _, name := range names(t, p.zoneStore, d.Kind) {
				if name == "bad-down" {
					held++
				}
			}
			assert.Zero(t, held, d.Kind)
			v := p.verdict(sample(d, "bad-down"))
			assert.Contains(t, []kds.Outcome{kds.Rejected, kds.Quarantined}, v.Outcome, d.Kind)
			assert.Contains(t, v.Reason, "is poison", d.Kind)
			assert.Equal(t, kds.Applied, p.verdict(sample(d, "good-down")).Outcome, d.Kind)
		}
		for _, d := range up {
			got := names(t, p.globalStore, d.Kind)
			assert.Contains(t, got, "good-up", d.Kind)
			assert.NotContains(t, got, "bad-up", d.Kind)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Equal(t, nacks, p.global.server.Stats().Nacks, "what was refused is not offered again")
		assert.Equal(t, kds.Online, p.status().State)
	})
}

// Not what a validator refuses, but what cannot be read at all, as a sender with a broken disk or a fault of its own has it.
func TestUnreadableResourceOfEachKindHarmsNoOther(t *testing.T) {
	// poison returns r with specs that nobody can read.
	poison := func(t *testing.T, d resource.Descriptor, named func(name string) resource.Resource) (list []*discovery.Resource, names []string) {
		for _, name := range []string{"garbage", "absent", "other"} {
			r := named(name)
			w := wire(t, r)
			m := unwire(t, w)
			switch {
			case name == "absent":
				m.Spec = nil
			case name == "other" && d.Message != "":
				m.Spec = &anypb.Any{TypeUrl: "type.googleapis.com/google.protobuf.Duration"}
			case d.Message != "":
				m.Spec.Value = []byte{0xff}
			default:
				m.Spec.Value = []byte(`{"to":[`)
			}
			require.NoError(t, w.Resource.MarshalFrom(m))
			list, names = append(list, w), append(names, r.Name)
		}
		return append(list, wire(t, named("good"))), names
	}
	t.Run("from a zone", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			g := startGlobal(t)
			u := g.peer("east").up()
			for _, d := range resource.Kinds {
				if !d.FromZone() {
					continue
				}
				bad, rejected := poison(t, d, func(name string) resource.Resource { return fromZone(sample(d, name), "east") })
				answer := u.sendWire(d.Kind, bad)
				require.NotNil(t, answer.ErrorDetail, d.Kind)
				for _, name := range rejected {
					assert.Contains(t, answer.ErrorDetail.Message, name)
				}
				assert.Equal(t, []string{"good"}, names(t, g.store, d.Kind), d.Kind)
			}
		})
	})
	t.Run("from global", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			peer, st := startFakeGlobal(t), openStore(t)
			z := startZone(t, "east", st, peer.dial)
			synctest.Wait()
			for _, d := range resource.Kinds {
				if !d.FromGlobal() {
					continue
				}
				bad, rejected := poison(t, d, func(name string) resource.Resource {
					r := sample(d, name)
					r.Labels[resource.LabelOrigin], r.Labels[resource.LabelDisplayName] = resource.OriginGlobal, name
					return r
				})
				answer := peer.sendWire(t, d.Kind, nil, bad...)
				require.NotNil(t, answer.ErrorDetail, d.Kind)
				for _, name := range rejected {
					assert.Contains(t, answer.ErrorDetail.Message, name)
				}
				assert.Equal(t, []string{"good"}, names(t, st, d.Kind), d.Kind)
			}
			assert.Equal(t, 1, z.client.Status().Generation)
		})
	})
	for dialect, without := range map[string][]string{"Meridian": nil, "Kuma": {kds.FeatureResume}} {
		t.Run("in the store of the sender, to a "+dialect, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t)
				p.clientConfig = func(c *kds.ClientConfig) { c.Without = without }
				p.start()
				bad := func(d resource.Descriptor, name string) resource.Resource {
					r := sample(d, name)
					r.Spec = []byte{0xff}
					return r
				}
				for _, d := range resource.Kinds {
					if d.FromGlobal() && d.Flow.Has(resource.ProvidedByGlobal) && d.Kind != "Config" {
						put(t, p.globalStore, bad(d, "bad-down"), sample(d, "good-down"))
					}
					if d.FromZone() {
						put(t, p.zoneStore, bad(d, "bad-up"), sample(d, "good-up"))
					}
				}
				put(t, p.globalStore, bad(resource.Descriptor{Kind: "GlobalSecret"}, "zone-token-signing-key-7")) // has to be converted
				converge()
				for _, d := range resource.Kinds {
					if d.FromGlobal() && d.Flow.Has(resource.ProvidedByGlobal) && d.Kind != "Config" {
						assert.Contains(t, names(t, p.zoneStore, d.Kind), "good-down", d.Kind)
					}
					if d.FromZone() {
						assert.Contains(t, names(t, p.globalStore, d.Kind), "good-up", d.Kind)
					}
				}
				assert.Equal(t, kds.Online, p.status().State)
				assert.Equal(t, 1, p.zone.client.Status().Generation)
			})
		})
	}
}

func TestZoneThatRejectsEverythingForEver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = func(c *kds.ClientConfig) {
			c.Validate = func(r resource.Resource) error {
				if r.Kind == "MeshTimeout" {
					return fmt.Errorf("never")
				}
				return nil
			}
		}
		p.start()
		synctest.Wait()
		for i := range 50 {
			put(t, p.globalStore, timeout("t", strings.ReplaceAll(meshWide, "20s", fmt.Sprint(i, "s"))), made("MeshRetry", "default", fmt.Sprint("r", i), meshWide))
			time.Sleep(time.Second)
		}
		converge()
		assert.Len(t, list(t, p.zoneStore, "MeshRetry"), 50)
		assert.Empty(t, list(t, p.zoneStore, "MeshTimeout"))
		assert.EqualValues(t, 50, p.global.server.Stats().Nacks, "each change is offered once")
		assert.Equal(t, kds.Online, p.status().State)
		assert.Equal(t, 1, p.zone.client.Status().Generation)
	})
}

func TestZoneThatReadsNothingCostsTheOthersNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		west := g.zone("west")
		put(t, g.store, heavy("large", 3<<20)) // more than the windows of the transport hold
		deaf := g.peer("deaf")
		_, err := meshUp(deaf) // is never read either
		require.NoError(t, err)
		down, err := meshv1.NewKDSSyncServiceClient(deaf.conn).GlobalToZoneSync(deaf.ctx)
		require.NoError(t, err)
		require.NoError(t, down.Send(request(deaf, "MeshTimeout")))
		converge()
		for i := range 20 {
			begun := time.Now()
			put(t, g.store, timeout(fmt.Sprint("t", i), meshWide))
			synctest.Wait()
			assert.Len(t, names(t, west.store, "MeshTimeout"), i+2)
			assert.Zero(t, time.Since(begun), "nobody waits for it")
		}
		list, err := g.server.Status(context.Background())
		require.NoError(t, err)
		require.Len(t, list, 2)
		assert.Equal(t, "deaf", list[0].Zone)
		assert.NotEqual(t, kds.Online, list[0].State)
		assert.Equal(t, kds.Online, list[1].State)
	})
}

func TestReorderedAndRepeatedDeletesEndWhereTheSenderIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").meridian().up()
		a, b := fromZone(consumer("a", "demo"), "east"), fromZone(consumer("b", "demo"), "east")
		rev := uint64(0)
		send := func(removed []string, list ...resource.Resource) {
			t.Helper()
			rev++
			s := syncv1.Snapshot_SNAPSHOT_NONE
			if rev == 1 {
				s = syncv1.Snapshot_SNAPSHOT_WHOLE
			}
			answer := u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: rev, Snapshot: s}, removed, list...)
			require.NotNil(t, answer)
			assert.Empty(t, answer.Rejected)
		}
		nameOf := func(r resource.Resource) string { return r.Name + ".default" }
		send(nil, a)
		send([]string{nameOf(b)})            // the delete comes before what it deletes
		send(nil, b)                         // which then is what there is
		send([]string{nameOf(a)}, b)         //
		send([]string{nameOf(a), nameOf(a)}) // and again, twice
		assert.Equal(t, []string{"b"}, names(t, g.store, "MeshTimeout"))
		send([]string{nameOf(b)}, b) // named both ways: it is there
		assert.Equal(t, []string{"b"}, names(t, g.store, "MeshTimeout"))
		send([]string{nameOf(b), nameOf(a)})
		send(nil, a)
		assert.Equal(t, []string{"a"}, names(t, g.store, "MeshTimeout"))
	})
}

func TestClocksThatJumpAreNotBelieved(t *testing.T) {
	for name, years := range map[string][2]int{"global is ahead": {20, 0}, "the zone is ahead": {0, 20}, "global is behind": {-20, 0}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var shift [2]atomic.Int64
				open := func(i int) *bolt.Store {
					st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true, Now: func() time.Time {
						return time.Now().AddDate(int(shift[i].Load()), 0, 0)
					}})
					require.NoError(t, err)
					t.Cleanup(func() { require.NoError(t, st.Close()) })
					return st
				}
				p := newPair(t)
				p.globalStore, p.zoneStore = open(0), open(1)
				p.start()
				put(t, p.globalStore, timeout("before", meshWide), timeout("gone", meshWide))
				put(t, p.zoneStore, consumer("c", "demo"))
				converge()
				p.same("before", "c", "gone")
				for i := range shift {
					shift[i].Store(int64(years[i]))
				}
				put(t, p.globalStore, timeout("before", consumes), timeout("after", meshWide))
				remove(t, p.globalStore, timeout("gone", "").Key)
				p.same("after", "before", "c")
				shift[0].Store(0) // and back
				shift[1].Store(0)
				p.away(func() { put(t, p.globalStore, timeout("while away", meshWide)) })
				p.same("after", "before", "c", "while away")
				p.restartGlobal()
				p.restartZone()
				put(t, p.zoneStore, consumer("d", "demo"))
				converge()
				assert.Equal(t, []string{"after", "before", "c", "d", "while away"}, names(t, p.globalStore, "MeshTimeout"))
				assert.Equal(t, consumes, string(get(t, p.zoneStore, hashedKey(timeout("before", ""), "")).Spec))
				assert.Equal(t, kds.Online, p.status().State)
			})
		})
	}
}

// counting is a store that counts what is asked of it, and whose disk can be full.
type counting struct {
	kds.Store
	full          atomic.Bool
	reads, writes atomic.Int64
}

func (c *counting) Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error) {
	c.writes.Add(1)
	if c.full.Load() {
		return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return c.Store.Apply(ctx, ops...)
}

func (c *counting) Get(ctx context.Context, key resource.Key) (resource.Resource, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, key)
}

func (c *counting) View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	c.reads.Add(1)
	return c.Store.View(ctx, kind, fn)
}

func (c *counting) Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error) {
	c.reads.Add(1)
	return c.Store.Since(ctx, kind, rev)
}

func TestFullDiskOnEitherSideLosesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		onGlobal bool
		without  []string
	}{
		"on global":                   {onGlobal: true},
		"on the zone":                 {},
		"on global, to a Kuma":        {onGlobal: true, without: []string{kds.FeatureResume}},
		"on the zone, as one of Kuma": {without: []string{kds.FeatureResume}},
	} {
		onGlobal := c.onGlobal
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t)
				disks := [2]*counting{{Store: p.globalStore}, {Store: p.zoneStore}}
				p.serverConfig = func(c *kds.ServerConfig) { c.Store = disks[0] }
				p.clientConfig = func(cfg *kds.ClientConfig) { cfg.Store, cfg.Without = disks[1], c.without }
				p.start()
				put(t, p.globalStore, timeout("a", meshWide))
				put(t, p.zoneStore, consumer("c", "demo"))
				converge()
				p.same("a", "c")
				disk := disks[1]
				if onGlobal {
					disk = disks[0]
				}
				disk.full.Store(true)
				put(t, p.globalStore, timeout("b", meshWide)) // written where, and as long as, there is room
				put(t, p.zoneStore, consumer("d", "demo"))
				remove(t, p.zoneStore, consumer("c", "demo").Key)
				converge()
				if onGlobal {
					assert.Equal(t, []string{"a", "b", "c"}, names(t, p.globalStore, "MeshTimeout"))
				} else {
					p.same("a", "d")
					assert.ErrorContains(t, p.zone.client.Status().LastError, "no space left")
				}
				assert.Zero(t, p.global.server.Stats().Nacks, "a full disk is nobody's fault")
				disk.full.Store(false)
				converge()
				p.same("a", "b", "d")
				assert.Equal(t, []string{"a", "b", "d"}, names(t, p.globalStore, "MeshTimeout"))
			})
		})
	}
}

func TestIdleHourOfAHundredZones(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := &counting{Store: openStore(t)}
		put(t, disk, many("p", 20)...)
		g := startGlobalOn(t, disk.Store.(*bolt.Store), func(c *kds.ServerConfig) {
			c.Store = disk
			c.HealthInterval = 2 * time.Hour // a health check is written down, which is not what this is about
		})
		var disks []*counting
		var zones []*zone
		for i := range 100 {
			own := &counting{Store: openStore(t)}
			disks = append(disks, own)
			zones = append(zones, startZone(t, fmt.Sprint("z", i), own.Store.(*bolt.Store), g.dial, func(c *kds.ClientConfig) { c.Store = own }))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, z := range zones {
			require.Len(t, list(t, z.store, "MeshTimeout"), 20)
		}
		total := func() (reads, writes int64, sent uint64) {
			for _, d := range append(disks, disk) {
				reads, writes = reads+d.reads.Load(), writes+d.writes.Load()
			}
			for _, z := range zones {
				sent += z.client.Stats().ResponsesSent
			}
			return reads, writes, sent + g.server.Stats().ResponsesSent
		}
		reads, writes, sent := total()
		time.Sleep(time.Hour)
		synctest.Wait()
		readsAfter, writesAfter, sentAfter := total()
		assert.Equal(t, reads, readsAfter, "reads of stores")
		assert.Equal(t, writes, writesAfter, "writes to stores")
		assert.Equal(t, sent, sentAfter, "messages")
		for _, z := range zones {
			assert.Equal(t, 1, z.client.Status().Generation, z.name)
		}
	})
}
