package kds_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// many returns n timeouts, prefix-0 and so on.
func many(prefix string, n int) (all []resource.Resource) {
	for i := range n {
		all = append(all, timeout(fmt.Sprintf("%s-%03d", prefix, i), meshWide))
	}
	return all
}

func removeAll(t testing.TB, st kds.Store, all []resource.Resource) {
	for _, r := range all {
		remove(t, st, r.Key)
	}
}

// equal requires that the zone has exactly the timeouts of global, as they are there.
func (p *pair) equal() {
	p.t.Helper()
	synctest.Wait()
	time.Sleep(100 * time.Millisecond) // what comes fast gathers
	synctest.Wait()
	want := map[resource.Key]string{}
	for _, r := range list(p.t, p.globalStore, "MeshTimeout") {
		if r.Zone() != "east" && r.Labels[resource.LabelSync] != "disabled" {
			want[hashedKey(r, r.Zone())] = string(r.Spec)
		}
	}
	got := map[resource.Key]string{}
	for _, r := range list(p.t, p.zoneStore, "MeshTimeout") {
		got[r.Key] = string(r.Spec)
	}
	require.Equal(p.t, want, got)
}

func TestReconnectSendsOnlyWhatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, many("p", 500)...)
		converge()
		p.equal()
		changes := func() {
			put(t, p.globalStore, timeout("p-001", consumes), timeout("p-002", meshWide)) // the second is a write without a difference
			put(t, p.globalStore, timeout("p-003", meshWide, resource.LabelSync, "disabled"))
			put(t, p.globalStore, timeout("new", meshWide))
			put(t, p.globalStore, timeout("brief", meshWide))
			remove(t, p.globalStore, timeout("brief", "").Key)
			remove(t, p.globalStore, timeout("p-004", "").Key)
		}
		n := p.sent(func() { p.away(changes) })
		p.equal()
		// p-001, p-002 (its digest was not known before), p-003, new, and p-004; brief was gone before anybody asked, or not.
		assert.LessOrEqual(t, n, uint64(6))
		assert.GreaterOrEqual(t, n, uint64(4))
		assert.Zero(t, p.sent(func() { p.away(func() {}) }))
		assert.Zero(t, p.sent(p.restartZone))
		p.equal()
		k := kindStatus(t, p.zone.client.Status().Sync, "MeshTimeout", false)
		assert.EqualValues(t, 1, k.Messages, "an empty first response")
	})
}

func TestRestartedGlobalSendsOnlyWhatChanged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, many("p", 500)...)
		converge()
		p.global.stop()
		put(t, p.globalStore, timeout("p-001", consumes), timeout("new", meshWide), timeout("p-003", meshWide, resource.LabelSync, "disabled"))
		remove(t, p.globalStore, timeout("p-004", "").Key)
		p.startGlobal()
		converge()
		p.equal()
		assert.EqualValues(t, 2, p.global.server.Stats().ResourcesSent, "what is gone follows from the names of what is not")
		assert.Less(t, p.global.server.Stats().BytesSent, uint64(20_000))
		p.restartGlobal()
		p.equal()
		assert.Zero(t, p.global.server.Stats().ResourcesSent)
	})
}

func TestCompactionWhileTheZoneIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, many("p", 100)...)
		converge()
		p.zone.stop()
		p.global.stop()
		removeAll(t, p.globalStore, many("p", 10))
		put(t, p.globalStore, timeout("new", meshWide))
		require.NoError(t, p.globalStore.Compact(t.Context(), p.globalStore.Revision()))
		p.startGlobal()
		p.startZone()
		converge()
		p.equal()
		assert.EqualValues(t, 1, p.global.server.Stats().ResourcesSent)
	})
}

func TestWhatLeftScopeWhileTheZoneWasAwayIsWithdrawn(t *testing.T) {
	for name, restart := range map[string]bool{"reconnect": false, "with a restart of global": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t).start()
				west := startZone(t, "west", openStore(t), p.global.dial)
				put(t, west.store, producer("p", "demo"), producer("q", "demo"), producer("r", "demo"))
				converge()
				p.same("p", "q", "r")
				west.stop()
				p.away(func() {
					west = startZone(t, "west", west.store, p.global.dial)
					synctest.Wait()
					no := consumer("p", "demo")
					put(t, west.store, no) // not a producer's any more
					remove(t, west.store, producer("q", "demo").Key)
					synctest.Wait()
					if restart {
						west.stop()
						p.global.stop()
						p.startGlobal()
					}
				})
				p.same("r")
			})
		})
	}
}

func TestZoneSwitchedWhileAnotherIsAway(t *testing.T) {
	for name, restart := range map[string]bool{"reconnect": false, "with a restart of global": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t).start()
				west := startZone(t, "west", openStore(t), p.global.dial)
				put(t, west.store, producer("p", "demo"))
				put(t, p.globalStore, timeout("g", meshWide))
				converge()
				p.same("g", "p")
				west.stop()
				for _, enabled := range []bool{false, true} {
					p.away(func() {
						setEnabled(t, p.globalStore, "west", enabled)
						if restart {
							p.global.stop()
							p.startGlobal()
						}
					})
					if enabled {
						p.same("g", "p")
					} else {
						p.same("g")
					}
				}
			})
		})
	}
}

func TestDeletedZoneStartsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.zoneStore, consumer("c", "demo"), consumer("d", "demo"))
		converge()
		require.Equal(t, []string{"c", "d"}, names(t, p.globalStore, "MeshTimeout"))
		p.away(func() { // as the API does it
			for _, r := range list(t, p.globalStore, "MeshTimeout") {
				remove(t, p.globalStore, r.Key)
			}
			remove(t, p.globalStore, resource.Key{Kind: "Zone", Name: "east"})
		})
		assert.Equal(t, []string{"c", "d"}, names(t, p.globalStore, "MeshTimeout"))
	})
}

// copyOf returns a store that is what st was when it was copied: the same epoch, the same history.
func copyOf(t testing.TB, file string) *bolt.Store {
	from, err := os.Open(file)
	require.NoError(t, err)
	defer from.Close()
	path := filepath.Join(t.TempDir(), "copy.db")
	to, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	st, err := bolt.Open(path, bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

func storeAt(t testing.TB) (*bolt.Store, string) {
	path := filepath.Join(t.TempDir(), "store.db")
	st, err := bolt.Open(path, bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st, path
}

func TestGlobalRestoredFromAnOlderBackup(t *testing.T) {
	for name, sameFile := range map[string]bool{"the same file, older": true, "another store": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t)
				var path string
				p.globalStore, path = storeAt(t)
				p.start()
				put(t, p.globalStore, many("old", 15)...)
				converge()
				var backup *bolt.Store
				if sameFile {
					backup = copyOf(t, path)
				} else {
					backup = openStore(t)
					put(t, backup, many("old", 10)...)
				}
				put(t, p.globalStore, timeout("lost", meshWide), timeout("old-001", consumes))
				converge()
				p.global.stop()
				p.globalStore = backup
				p.startGlobal()
				converge()
				p.equal()
				put(t, p.globalStore, timeout("after", meshWide))
				p.away(func() { remove(t, p.globalStore, timeout("old-002", "").Key) })
				p.equal()
			})
		})
	}
}

// The zone has stood alone, joins a global, and then another, of the same build or a Kuma's.
func TestAZoneMovesToAnotherGlobal(t *testing.T) {
	for dialect, without := range map[string][]string{"Meridian": nil, "Kuma": {kds.FeatureResume}} {
		t.Run(dialect, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t)
				p.clientConfig = func(c *kds.ClientConfig) { c.Without = without }
				put(t, p.zoneStore, made("Mesh", "", "alone", ""), consumer("own", "demo"), made("Secret", "default", "own", ""))
				put(t, p.globalStore, made("Mesh", "", "default", ""), timeout("first", meshWide), timeout("both", meshWide), made("Secret", "default", "of-first", ""))
				p.start()
				converge()
				assert.Equal(t, []string{"default"}, names(t, p.zoneStore, "Mesh"), "meshes are global's, also those from before")
				p.same("both", "first", "own")
				assert.Equal(t, []string{"of-first", "own"}, names(t, p.zoneStore, "Secret"))

				p.zone.stop()
				p.global.stop()
				p.globalStore = openStore(t)
				put(t, p.globalStore, made("Mesh", "", "default", ""), timeout("second", meshWide), timeout("both", consumes))
				p.startGlobal()
				p.startZone()
				converge()
				p.same("both", "own", "second")
				assert.Equal(t, []string{"both", "own", "second"}, names(t, p.globalStore, "MeshTimeout"), "its own come along")
				assert.Equal(t, consumes, string(get(t, p.zoneStore, hashedKey(timeout("both", ""), "")).Spec))
				assert.Equal(t, []string{"own"}, names(t, p.zoneStore, "Secret"))
			})
		})
	}
}

func TestZoneRestoredFromAnOlderBackup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		var path string
		p.zoneStore, path = storeAt(t)
		p.start()
		put(t, p.globalStore, many("old", 100)...)
		put(t, p.zoneStore, consumer("mine", "demo"))
		converge()
		backup := copyOf(t, path)
		removeAll(t, p.globalStore, many("old", 10))
		put(t, p.globalStore, timeout("new", meshWide))
		put(t, p.zoneStore, consumer("lost", "demo"))
		converge()
		p.zone.stop()
		p.zoneStore = backup
		n := p.sent(func() { p.startZone(); converge() })
		require.Equal(t, []string{"mine", "new"}, names(t, p.globalStore, "MeshTimeout")[:2], "what the zone has lost is lost on global too")
		assert.EqualValues(t, 11, n, "what has happened since the backup")
		got := names(t, p.zoneStore, "MeshTimeout")
		assert.Len(t, got, 92)
		p.away(func() { remove(t, p.globalStore, timeout("new", "").Key) })
		assert.NotContains(t, names(t, p.zoneStore, "MeshTimeout"), "new")
	})
}

func TestLongListTravelsInParts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.serverConfig = func(c *kds.ServerConfig) { c.ChunkBytes = 4 << 10 }
		p.startGlobal()
		put(t, p.globalStore, many("p", 300)...)
		d := p.global.peer("west").meridian().down()
		d.resume("MeshTimeout", &syncv1.Resume{})
		parts, total := []syncv1.Snapshot{}, 0
		for {
			got := d.take()
			require.Len(t, got, 1, "one part is in flight")
			f := frame(t, got[0])
			parts = append(parts, f.Snapshot)
			total += len(got[0].Resources)
			last := f.Snapshot == syncv1.Snapshot_SNAPSHOT_LAST
			assert.Equal(t, last, f.Revision > 0, "a revision comes with the marker")
			d.answer(got[0], &syncv1.Answer{})
			if last {
				break
			}
			if len(parts) == 3 { // meanwhile
				remove(t, p.globalStore, timeout("p-000", "").Key)
				remove(t, p.globalStore, timeout("p-299", "").Key)
				put(t, p.globalStore, timeout("p-001", consumes))
			}
		}
		assert.Greater(t, len(parts), 10)
		assert.Equal(t, syncv1.Snapshot_SNAPSHOT_FIRST, parts[0])
		assert.Equal(t, 299, total)
		got := d.take()
		require.Len(t, got, 1, "and then what happened meanwhile")
		assert.Equal(t, syncv1.Snapshot_SNAPSHOT_NONE, frame(t, got[0]).Snapshot)
		assert.Len(t, got[0].RemovedResources, 2)
		assert.Len(t, got[0].Resources, 1)

		p.startZone()
		converge()
		p.equal()
	})
}

// dying is a connection that ends after some bytes have been read from it.
type dying struct {
	net.Conn
	left *atomic.Int64
}

func (d dying) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if d.left.Add(-int64(n)) < 0 {
		_ = d.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func TestHalfASnapshotPrunesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = func(c *kds.ClientConfig) { c.Guard.Off = true }
		p.start()
		put(t, p.globalStore, many("a", 40)...)
		converge()
		p.equal()
		// Another global, with other resources and small parts; the link dies again and again, each time later.
		p.zone.stop()
		p.global.stop()
		p.globalStore = openStore(t)
		put(t, p.globalStore, many("b", 300)...)
		p.serverConfig = func(c *kds.ServerConfig) { c.ChunkBytes = 4 << 10 }
		p.startGlobal()
		var allowed, left atomic.Int64
		allowed.Store(4000)
		deaths := 0
		p.wrap = func(c net.Conn) net.Conn {
			deaths++
			left.Store(allowed.Add(4000))
			return dying{c, &left}
		}
		p.startZone()
		old, halves := 40, 0
		for range 100_000 {
			rev := p.zoneStore.Revision()
			select {
			case <-p.zoneStore.Advanced(rev):
			case <-t.Context().Done():
			}
			n := map[bool]int{}
			for _, name := range names(t, p.zoneStore, "MeshTimeout") {
				n[name[0] == 'a']++
			}
			if n[true] == 0 {
				require.Equal(t, 300, n[false], "nothing is pruned before all is there")
				old = 0
				break
			}
			require.Equal(t, 40, n[true])
			if n[false] > 0 && n[false] < 300 {
				halves++
			}
		}
		assert.Zero(t, old)
		assert.Greater(t, deaths, 2)
		assert.Greater(t, halves, 2)
		allowed.Store(1 << 40)
		converge()
		p.equal()
	})
}

func TestSnapshotOfAHandPlayedZone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").meridian().up()
		one, two, three := fromZone(consumer("one", "demo"), "east"), fromZone(consumer("two", "demo"), "east"), fromZone(consumer("three", "demo"), "east")
		send := func(s syncv1.Snapshot, rev uint64, kept []byte, list ...resource.Resource) {
			require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: rev, Snapshot: s, Kept: kept}, nil, list...))
		}
		has := func(want ...string) {
			t.Helper()
			assert.Equal(t, want, names(t, g.store, "MeshTimeout"))
		}
		send(syncv1.Snapshot_SNAPSHOT_WHOLE, 1, nil, one, two)
		has("one", "two")
		send(syncv1.Snapshot_SNAPSHOT_FIRST, 0, nil, one)
		send(syncv1.Snapshot_SNAPSHOT_NEXT, 0, nil, three)
		has("one", "three", "two")
		send(syncv1.Snapshot_SNAPSHOT_FIRST, 0, nil, three) // it begins anew
		has("one", "three", "two")
		send(syncv1.Snapshot_SNAPSHOT_LAST, 2, nil)
		has("three")
		send(syncv1.Snapshot_SNAPSHOT_NONE, 3, nil, one)
		has("one", "three")
		require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 4}, []string{one.Name + ".default", one.Name + ".default", "never.default"}))
		require.NotNil(t, u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 5}, []string{one.Name + ".default"}))
		has("three")
	})
}

func TestWrongFramesEndTheStream(t *testing.T) {
	for name, f := range map[string]*syncv1.Frame{
		"none":                            nil,
		"a part without a beginning":      {Epoch: "e", Snapshot: syncv1.Snapshot_SNAPSHOT_NEXT},
		"a marker without a beginning":    {Epoch: "e", Snapshot: syncv1.Snapshot_SNAPSHOT_LAST, Revision: 1},
		"kept names that are no multiple": {Epoch: "e", Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE, Kept: []byte("123")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t)
				r := fromZone(consumer("one", "demo"), "east")
				u := g.peer("east").meridian().up()
				require.Nil(t, u.sendFramed("MeshTimeout", f, nil, r))
				assert.ErrorContains(t, u.err, "InvalidArgument")
				assert.Empty(t, names(t, g.store, "MeshTimeout"))
			})
		})
	}
}

func TestMassDeleteIsHeldUntilItIsConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, many("a", 40)...)
		put(t, p.globalStore, many("b", 10)...)
		converge()
		p.global.stop()
		p.globalStore = openStore(t) // somebody starts global over an empty directory
		put(t, p.globalStore, many("b", 10)...)
		put(t, p.globalStore, timeout("new", meshWide))
		p.startGlobal()
		converge()
		assert.Len(t, names(t, p.zoneStore, "MeshTimeout"), 51, "the rest of the list is applied")
		k := kindStatus(t, p.zone.client.Status().Sync, "MeshTimeout", false)
		require.NotNil(t, k.Held)
		assert.Equal(t, 40, k.Held.Deletes)
		assert.Equal(t, 50, k.Held.Of)
		there := kindStatus(t, p.status(), "MeshTimeout", true)
		require.NotNil(t, there.Held, "global knows")
		assert.Equal(t, 40, there.Held.Deletes)
		assert.Less(t, there.Applied, there.Acked)

		p.restartZone()
		assert.Len(t, names(t, p.zoneStore, "MeshTimeout"), 51, "nor by a restart")
		put(t, p.globalStore, timeout("a-001", consumes))
		remove(t, p.globalStore, timeout("b-001", "").Key)
		converge()
		assert.Len(t, names(t, p.zoneStore, "MeshTimeout"), 50, "changes go on")
		_, err := p.zone.client.Confirm(t.Context(), "MeshRetry")
		assert.ErrorIs(t, err, resource.ErrNotFound)
		n, err := p.zone.client.Confirm(t.Context(), "MeshTimeout")
		require.NoError(t, err)
		assert.Equal(t, 39, n, "not what has come back meanwhile")
		p.equal()
		assert.Nil(t, kindStatus(t, p.zone.client.Status().Sync, "MeshTimeout", false).Held)
		_, err = p.zone.client.Confirm(t.Context(), "MeshTimeout")
		assert.ErrorIs(t, err, resource.ErrNotFound)
		p.away(func() { put(t, p.globalStore, timeout("last", meshWide)) })
		p.equal()
		assert.Nil(t, kindStatus(t, p.status(), "MeshTimeout", true).Held)
	})
}

func TestMassDeleteOfAZoneIsHeldOnGlobal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		for i := range 30 {
			put(t, p.zoneStore, consumer(fmt.Sprint("c", i), "demo"))
		}
		converge()
		p.zone.stop()
		p.zoneStore = openStore(t)
		p.startZone()
		converge()
		assert.Len(t, names(t, p.globalStore, "MeshTimeout"), 30)
		k := kindStatus(t, p.status(), "MeshTimeout", false)
		require.NotNil(t, k.Held)
		assert.Equal(t, 30, k.Held.Deletes)
		n, err := p.global.server.Confirm(t.Context(), "east", "MeshTimeout")
		require.NoError(t, err)
		assert.Equal(t, 30, n)
		assert.Empty(t, names(t, p.globalStore, "MeshTimeout"))
	})
}

func TestMassDeleteIsNotHeldWhenItIsSmallOrExplicit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, many("a", 60)...)
		converge()
		removeAll(t, p.globalStore, many("a", 50)) // one by one, by somebody
		p.equal()
		p.global.stop()
		p.globalStore = openStore(t)
		p.startGlobal()
		converge()
		p.same() // ten are fewer than twenty
	})
}
