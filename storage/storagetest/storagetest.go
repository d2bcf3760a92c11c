package storagetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
)

// Open returns the store in dir, a new one if dir is empty.
type Open func(t testing.TB, dir string) storage.Store

// Run tests that what open returns keeps the contract of storage.Store.
func Run(t *testing.T, open Open) {
	for _, promise := range promises {
		t.Run(promise.name, func(t *testing.T) {
			t.Parallel()
			promise.test(t, fixture{open: open, dir: t.TempDir()})
		})
	}
}

var promises = []struct {
	name string
	test func(*testing.T, fixture)
}{
	{"a new store is empty, at revision 0", testEmpty},
	{"a resource is read as it was written", testRoundTrip},
	{"nothing that goes in or out shares memory with the store", testNoAliasing},
	{"Created stays and Modified follows", testTimes},
	{"each commit makes the next revision", testRevisions},
	{"a batch without ops makes no revision", testNoOps},
	{"revisions are dense under 64 concurrent writers", testDense},
	{"a batch is applied as a whole or not at all", testAtomic},
	{"later ops of a batch see earlier ones", testBatchOrder},
	{"a batch that fails does not fail its neighbours", testNeighbours},
	{"a create succeeds only if there is nothing", testCreate},
	{"an update succeeds only at the expected version", testUpdate},
	{"a delete succeeds only at the expected version", testDelete},
	{"a delete of nothing is not found", testDeleteNothing},
	{"a check holds a batch back and writes nothing", testCheck},
	{"of many compare-and-sets at one version one wins", testOneWins},
	{"what cannot be stored is refused", testUnstorable},
	{"a cancelled caller writes nothing", testCancelled},
	{"a view is in key order and keeps kinds apart", testViewOrder},
	{"a view can be left early and run again", testViewTwice},
	{"a view returns the error of its function", testViewError},
	{"a view is one revision while writers go on", testViewConsistent},
	{"since returns the latest change per key in order of revision", testSince},
	{"since of one kind leaves out the others", testSinceKind},
	{"since returns a delete as a tombstone, and a re-creation instead of it", testTombstones},
	{"since and views lead to the same state under concurrent writers", testFollow},
	{"since before a forgotten delete is compacted", testCompact},
	{"compaction leaves live resources and later deletes", testCompactKeeps},
	{"advanced to a passed revision is closed already", testAdvancedPassed},
	{"advanced wakes on the next commit", testAdvancedWakes},
	{"no wake-up is lost", testNoLostWakeup},
	{"the epoch differs between stores and survives a reopen", testEpoch},
	{"everything survives a reopen", testReopen},
	{"a closed store says so and wakes its waiters", testClosed},
	{"close waits for a view that runs", testCloseWaits},
}

type fixture struct {
	open Open
	dir  string
}

// store opens the store and closes it with the test.
func (f fixture) store(t testing.TB) storage.Store {
	t.Helper()
	st := f.open(t, f.dir)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	return st
}

func (f fixture) other(t testing.TB) storage.Store {
	f.dir = t.TempDir()
	return f.store(t)
}

// res returns a resource whose key and content are told from its name and word.
func res(kind, mesh, name, word string) resource.Resource {
	return resource.Resource{
		Key:    resource.Key{Kind: kind, Mesh: mesh, Name: name},
		Labels: map[string]string{resource.LabelDisplayName: name, "word": word},
		Spec:   []byte(`{"word":"` + word + `"}`),
	}
}

func timeout(name, word string) resource.Resource { return res("MeshTimeout", "default", name, word) }

func apply(t testing.TB, st storage.Store, ops ...resource.Op) resource.Revision {
	t.Helper()
	rev, err := st.Apply(t.Context(), ops...)
	require.NoError(t, err)
	return rev
}

// all returns the resources of a view and its revision.
func all(t testing.TB, st storage.Store, kind string) (list []resource.Resource, rev resource.Revision) {
	t.Helper()
	err := st.View(t.Context(), kind, func(at resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		rev = at
		for r, err := range seq {
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return nil
	})
	require.NoError(t, err)
	return list, rev
}

func since(t testing.TB, st storage.Store, kind string, rev resource.Revision) ([]resource.Change, resource.Revision) {
	t.Helper()
	changes, upTo, err := st.Since(t.Context(), kind, rev)
	require.NoError(t, err)
	return changes, upTo
}

// brief returns one word per change: 3:name=word, or 4:name-deleted.
func brief(changes []resource.Change) []string {
	var out []string
	for _, c := range changes {
		if c.Deleted {
			out = append(out, fmt.Sprintf("%d:%s-deleted", c.Revision, c.Resource.Name))
		} else {
			out = append(out, fmt.Sprintf("%d:%s=%s", c.Revision, c.Resource.Name, c.Resource.Labels["word"]))
		}
	}
	return out
}

func testEmpty(t *testing.T, f fixture) {
	st := f.store(t)
	assert.Equal(t, resource.Revision(0), st.Revision())
	assert.NotEmpty(t, st.Epoch())
	list, rev := all(t, st, "")
	assert.Empty(t, list)
	assert.Equal(t, resource.Revision(0), rev)
	changes, upTo := since(t, st, "", 0)
	assert.Empty(t, changes)
	assert.Equal(t, resource.Revision(0), upTo)
	_, err := st.Get(t.Context(), timeout("a", "").Key)
	assert.ErrorIs(t, err, resource.ErrNotFound)
	assert.ErrorContains(t, err, "MeshTimeout default/a")
}

func testRoundTrip(t *testing.T, f fixture) {
	st := f.store(t)
	big := timeout("big", "x")
	big.Spec = []byte(strings.Repeat("spec ", 20_000)) // many pages of anybody's file
	status := timeout("status", "x")
	status.Status = []byte(`{"vips":[]}`)
	empty := timeout("empty-status", "x")
	empty.Status = []byte{}
	binary := res("Dataplane", "default", "binary", "x")
	binary.Spec = []byte{0, 0xFF, 0x80, 0}
	plain := resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "default"}, Spec: []byte{}}
	for _, want := range []resource.Resource{big, status, empty, binary, plain, res("MeshTimeout", "ünï/cödé", "n a.m-e_/é", "w")} {
		rev := apply(t, st, resource.Put(want))
		got, err := st.Get(t.Context(), want.Key)
		require.NoError(t, err)
		assert.Equal(t, want.Key, got.Key)
		assert.True(t, want.SameContent(got), "%s: got %+v, want %+v", want.Key, got, want)
		assert.NotNil(t, got.Spec)
		assert.Equal(t, want.Status == nil, got.Status == nil, "%s: a status that is not set must stay nil, and no other", want.Key)
		assert.Equal(t, rev, got.Version)
		list, _ := all(t, st, want.Kind)
		assert.Contains(t, list, got)
		changes, _ := since(t, st, "", rev-1)
		assert.Equal(t, []resource.Change{{Revision: rev, Resource: got}}, changes)
	}
}

func testNoAliasing(t *testing.T, f fixture) {
	st := f.store(t)
	in := timeout("a", "one")
	in.Status = []byte(`{}`)
	want := timeout("a", "one")
	want.Status = []byte(`{}`)
	apply(t, st, resource.Put(in))
	spoil := func(r resource.Resource) {
		clear(r.Spec)
		clear(r.Status)
		clear(r.Labels)
	}
	check := func(what string) resource.Resource {
		t.Helper()
		got, err := st.Get(t.Context(), want.Key)
		require.NoError(t, err)
		require.True(t, want.SameContent(got), "after a change to %s: got %+v", what, got)
		return got
	}
	spoil(in)
	spoil(check("what was put"))
	list, _ := all(t, st, "")
	spoil(list[0])
	check("what View gave")
	changes, _ := since(t, st, "", 0)
	kept, _ := since(t, st, "", 0)
	spoil(changes[0].Resource)
	check("what Since gave")
	// What was handed out must outlive its transaction.
	for i := range 200 {
		apply(t, st, resource.Put(timeout(fmt.Sprint("filler-", i%20), strings.Repeat("x", 500))))
	}
	assert.True(t, want.SameContent(kept[0].Resource), "got %+v", kept[0].Resource)
}

func testTimes(t *testing.T, f fixture) {
	st := f.store(t)
	get := func() resource.Resource {
		r, err := st.Get(t.Context(), timeout("a", "").Key)
		require.NoError(t, err)
		return r
	}
	given := timeout("a", "one")
	given.Version = 77
	given.Created = given.Created.AddDate(1, 0, 0)
	apply(t, st, resource.Put(given))
	one := get()
	assert.Equal(t, resource.Revision(1), one.Version, "what the caller says is ignored")
	assert.Equal(t, one.Created, one.Modified)
	assert.Greater(t, one.Created.Year(), 2000)
	assert.Equal(t, "UTC", one.Created.Location().String())
	apply(t, st, resource.Put(timeout("a", "two")))
	two := get()
	assert.Equal(t, one.Created, two.Created)
	assert.False(t, two.Modified.Before(one.Modified))
	apply(t, st, resource.Delete(given.Key))
	apply(t, st, resource.Put(timeout("a", "three")))
	three := get()
	assert.Equal(t, three.Created, three.Modified, "a new one has a new time of creation")
}

func testRevisions(t *testing.T, f fixture) {
	st := f.store(t)
	for want := resource.Revision(1); want <= 5; want++ {
		got := apply(t, st, resource.Put(timeout("a", "x")), resource.Put(timeout("b", "y")))
		assert.Equal(t, want, got)
		assert.Equal(t, want, st.Revision())
		_, at := all(t, st, "")
		assert.Equal(t, want, at)
	}
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "x")).If(0))
	require.ErrorIs(t, err, resource.ErrConflict)
	assert.Equal(t, resource.Revision(5), st.Revision(), "a batch that fails makes no revision")
	assert.Equal(t, resource.Revision(6), apply(t, st, resource.Delete(timeout("a", "").Key)))
}

func testNoOps(t *testing.T, f fixture) {
	st := f.store(t)
	assert.Equal(t, resource.Revision(0), apply(t, st))
	apply(t, st, resource.Put(timeout("a", "x")))
	assert.Equal(t, resource.Revision(1), apply(t, st))
	assert.Equal(t, resource.Revision(1), st.Revision())
}

func testDense(t *testing.T, f fixture) {
	st := f.store(t)
	const writers, each = 64, 10
	revs := make([][]resource.Revision, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				rev, err := st.Apply(t.Context(), resource.Put(timeout(fmt.Sprint("w", w), fmt.Sprint(i))), resource.Put(timeout("shared", fmt.Sprint(w, i))))
				if !assert.NoError(t, err) {
					return
				}
				revs[w] = append(revs[w], rev)
			}
		})
	}
	wg.Wait()
	var got, want []resource.Revision
	for _, own := range revs {
		assert.True(t, slices.IsSorted(own), "one writer's revisions grow: %v", own)
		got = append(got, own...)
	}
	slices.Sort(got)
	for i := range writers * each {
		want = append(want, resource.Revision(i+1))
	}
	assert.Equal(t, want, got)
	assert.Equal(t, resource.Revision(writers*each), st.Revision())
	for w := range writers {
		r, err := st.Get(t.Context(), timeout(fmt.Sprint("w", w), "").Key)
		require.NoError(t, err)
		assert.Equal(t, revs[w][each-1], r.Version)
		assert.Equal(t, fmt.Sprint(each-1), r.Labels["word"])
	}
}

func testAtomic(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")), resource.Put(timeout("b", "one")))
	for _, bad := range []struct {
		op   resource.Op
		want error
	}{
		{resource.Put(timeout("c", "two")).If(7), resource.ErrConflict},
		{resource.Delete(timeout("c", "").Key), resource.ErrNotFound},
		{resource.Put(timeout("", "two")), nil},
	} {
		_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")), resource.Delete(timeout("b", "").Key), resource.Put(timeout("d", "two")), bad.op)
		require.Error(t, err)
		if bad.want != nil {
			require.ErrorIs(t, err, bad.want)
			require.ErrorContains(t, err, "MeshTimeout default/c")
		}
		changes, upTo := since(t, st, "", 0)
		assert.Equal(t, []string{"1:a=one", "1:b=one"}, brief(changes))
		assert.Equal(t, resource.Revision(1), upTo)
	}
}

func testBatchOrder(t *testing.T, f fixture) {
	st := f.store(t)
	key := timeout("a", "").Key
	apply(t, st, resource.Put(timeout("a", "one")), resource.Put(timeout("a", "two")))
	changes, _ := since(t, st, "", 0)
	assert.Equal(t, []string{"1:a=two"}, brief(changes))

	apply(t, st, resource.Delete(key).If(1), resource.Put(timeout("a", "three")).If(0))
	changes, _ = since(t, st, "", 0)
	assert.Equal(t, []string{"2:a=three"}, brief(changes))
	r, err := st.Get(t.Context(), key)
	require.NoError(t, err)
	assert.Equal(t, r.Created, r.Modified, "deleted and made again")

	_, err = st.Apply(t.Context(), resource.Put(timeout("b", "x")), resource.Put(timeout("b", "y")).If(0))
	assert.ErrorIs(t, err, resource.ErrConflict, "the first op has created it")
	_, err = st.Apply(t.Context(), resource.Delete(key), resource.Delete(key))
	assert.ErrorIs(t, err, resource.ErrNotFound, "the first op has deleted it")
	apply(t, st, resource.Put(timeout("a", "four")), resource.Delete(key))
	changes, _ = since(t, st, "", 0)
	assert.Equal(t, []string{"3:a-deleted"}, brief(changes))
}

func testNeighbours(t *testing.T, f fixture) {
	st := f.store(t)
	const writers, each = 32, 10
	var wg sync.WaitGroup
	var good atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ops := []resource.Op{resource.Put(timeout(fmt.Sprint("w", w), fmt.Sprint(i)))}
				bad := (w+i)%2 == 0
				if bad {
					ops = append(ops, resource.Put(timeout("never", "x")).If(99_999))
				}
				_, err := st.Apply(t.Context(), ops...)
				if bad {
					assert.ErrorIs(t, err, resource.ErrConflict)
				} else if assert.NoError(t, err) {
					good.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, resource.Revision(good.Load()), st.Revision())
	_, err := st.Get(t.Context(), timeout("never", "").Key)
	assert.ErrorIs(t, err, resource.ErrNotFound)
	for w := range writers {
		r, err := st.Get(t.Context(), timeout(fmt.Sprint("w", w), "").Key)
		require.NoError(t, err)
		last := each - 1
		if (w+last)%2 == 0 {
			last--
		}
		assert.Equal(t, fmt.Sprint(last), r.Labels["word"])
	}
}

func testCreate(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")).If(0))
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")).If(0))
	assert.ErrorIs(t, err, resource.ErrConflict)
	assert.ErrorContains(t, err, "MeshTimeout default/a")
	apply(t, st, resource.Delete(timeout("a", "").Key))
	assert.Equal(t, resource.Revision(3), apply(t, st, resource.Put(timeout("a", "three")).If(0)), "a tombstone is nothing")
}

func testUpdate(t *testing.T, f fixture) {
	st := f.store(t)
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "one")).If(1))
	require.ErrorIs(t, err, resource.ErrConflict, "there is nothing to update")
	rev := apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Put(timeout("b", "other")))
	rev = apply(t, st, resource.Put(timeout("a", "two")).If(rev))
	for _, wrong := range []resource.Revision{1, rev + 1} {
		_, err := st.Apply(t.Context(), resource.Put(timeout("a", "three")).If(wrong))
		assert.ErrorIs(t, err, resource.ErrConflict)
	}
	apply(t, st, resource.Delete(timeout("a", "").Key))
	_, err = st.Apply(t.Context(), resource.Put(timeout("a", "three")).If(rev))
	assert.ErrorIs(t, err, resource.ErrConflict, "it has been deleted")
}

func testDelete(t *testing.T, f fixture) {
	st := f.store(t)
	key := timeout("a", "").Key
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Put(timeout("a", "two")))
	_, err := st.Apply(t.Context(), resource.Delete(key).If(1))
	require.ErrorIs(t, err, resource.ErrConflict)
	_, err = st.Get(t.Context(), key)
	require.NoError(t, err)
	apply(t, st, resource.Delete(key).If(2))
	_, err = st.Get(t.Context(), key)
	assert.ErrorIs(t, err, resource.ErrNotFound)
	list, _ := all(t, st, "")
	assert.Empty(t, list)
}

func testDeleteNothing(t *testing.T, f fixture) {
	st := f.store(t)
	key := timeout("a", "").Key
	for _, op := range []resource.Op{resource.Delete(key), resource.Delete(key).If(0)} {
		_, err := st.Apply(t.Context(), op)
		assert.ErrorIs(t, err, resource.ErrNotFound)
		assert.ErrorContains(t, err, "MeshTimeout default/a")
	}
	_, err := st.Apply(t.Context(), resource.Delete(key).If(3))
	assert.ErrorIs(t, err, resource.ErrConflict)
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Delete(key))
	_, err = st.Apply(t.Context(), resource.Delete(key))
	assert.ErrorIs(t, err, resource.ErrNotFound)
}

func testOneWins(t *testing.T, f fixture) {
	st := f.store(t)
	rev := apply(t, st, resource.Put(timeout("a", "start")))
	for round := range 10 {
		const writers = 16
		var won atomic.Int64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				_, err := st.Apply(t.Context(), resource.Put(timeout("a", fmt.Sprint(round, w))).If(rev))
				if err == nil {
					won.Add(1)
				} else {
					assert.ErrorIs(t, err, resource.ErrConflict)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int64(1), won.Load())
		rev++
		require.Equal(t, rev, st.Revision())
	}
}

func testUnstorable(t *testing.T, f fixture) {
	st := f.store(t)
	for _, label := range []string{"\xff", "a\x00b"} {
		for _, labels := range []map[string]string{{"a": label}, {label: "a"}} {
			bad := timeout("bad", "x")
			bad.Labels = labels
			_, err := st.Apply(t.Context(), resource.Put(timeout("good", "x")), resource.Put(bad))
			var invalid *resource.InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, bad.Key, invalid.Key)
		}
	}
	for _, key := range []resource.Key{
		{}, {Kind: "Mesh"}, {Mesh: "default", Name: "a"}, {Kind: "Mesh", Name: "\xff"},
		{Kind: "Me\x00sh", Name: "a"}, {Kind: "Mesh", Mesh: "\x00", Name: "a"}, {Kind: "Mesh", Name: "a\x00"},
		{Kind: "Mesh", Name: strings.Repeat("a", 1<<20)},
	} {
		_, err := st.Apply(t.Context(), resource.Put(timeout("good", "x")), resource.Put(resource.Resource{Key: key}))
		var invalid *resource.InvalidError
		require.ErrorAs(t, err, &invalid)
		assert.Equal(t, key, invalid.Key)
		_, err = st.Get(t.Context(), key)
		assert.ErrorIs(t, err, resource.ErrNotFound)
	}
	assert.Equal(t, resource.Revision(0), st.Revision())
}

func testCancelled(t *testing.T, f fixture) {
	st := f.store(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := st.Apply(ctx, resource.Put(timeout("a", "x")))
	assert.ErrorIs(t, err, context.Canceled)
	_, err = st.Get(ctx, timeout("a", "").Key)
	assert.ErrorIs(t, err, context.Canceled)
	_, _, err = st.Since(ctx, "", 0)
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, st.Compact(ctx, 0), context.Canceled)

	// Cancelled at any moment: the answer tells whether it was written.
	const writers, each = 16, 20
	var written atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				name := fmt.Sprint("w", w, "-", i)
				_, applied := st.Apply(ctx, resource.Put(timeout(name, "x")))
				_, got := st.Get(t.Context(), timeout(name, "").Key)
				if applied == nil {
					written.Add(1)
					assert.NoError(t, got)
				} else {
					assert.ErrorIs(t, applied, context.Canceled)
					assert.ErrorIs(t, got, resource.ErrNotFound)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, resource.Revision(written.Load()), st.Revision())
}

func testViewOrder(t *testing.T, f fixture) {
	st := f.store(t)
	want := []resource.Key{
		{Kind: "Mesh", Name: "a"}, {Kind: "Mesh", Name: "b"},
		{Kind: "MeshTimeout", Mesh: "", Name: "z"}, {Kind: "MeshTimeout", Mesh: "a", Name: "b"},
		{Kind: "MeshTimeout", Mesh: "a", Name: "b\x01"}, {Kind: "MeshTimeout", Mesh: "a", Name: "ba"},
		{Kind: "MeshTimeout", Mesh: "a\x01", Name: "a"}, {Kind: "MeshTimeout", Mesh: "aa", Name: "a"},
		{Kind: "MeshTimeout\x01", Name: "a"}, {Kind: "MeshTimeouts", Name: "a"}, {Kind: "Zone", Name: "east"},
	}
	require.True(t, slices.IsSortedFunc(want, resource.Key.Compare))
	var ops []resource.Op
	for _, i := range []int{3, 1, 10, 0, 7, 5, 2, 9, 4, 6, 8} {
		ops = append(ops, resource.Put(resource.Resource{Key: want[i], Spec: []byte("{}")}))
	}
	apply(t, st, ops...)
	keys := func(kind string) (keys []resource.Key) {
		list, _ := all(t, st, kind)
		for _, r := range list {
			keys = append(keys, r.Key)
		}
		return keys
	}
	assert.Equal(t, want, keys(""))
	assert.Equal(t, want[:2], keys("Mesh"))
	assert.Equal(t, want[2:8], keys("MeshTimeout"))
	assert.Equal(t, want[10:], keys("Zone"))
	assert.Empty(t, keys("MeshT"))
	assert.Empty(t, keys("Zones"))
	apply(t, st, resource.Delete(want[0]), resource.Delete(want[5]), resource.Delete(want[10]))
	assert.Equal(t, append([]resource.Key{want[1]}, append(slices.Clone(want[2:5]), want[6:10]...)...), keys(""))
	assert.Empty(t, keys("Zone"))
}

func testViewTwice(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "")), resource.Put(timeout("b", "")), resource.Put(timeout("c", "")))
	err := st.View(t.Context(), "", func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		for n := 1; n <= 3; n++ {
			var names []string
			for r := range seq {
				if names = append(names, r.Name); len(names) == n {
					break
				}
			}
			assert.Equal(t, []string{"a", "b", "c"}[:n], names)
		}
		return nil
	})
	require.NoError(t, err)
}

func testViewError(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "")))
	stop := errors.New("seen enough")
	err := st.View(t.Context(), "", func(resource.Revision, iter.Seq2[resource.Resource, error]) error { return stop })
	assert.Equal(t, stop, err)
	assert.PanicsWithValue(t, "mine", func() {
		_ = st.View(t.Context(), "", func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
			for range seq {
				panic("mine")
			}
			return nil
		})
	}, "a panic of the function is not the store's to hide")
	apply(t, st, resource.Put(timeout("b", ""))) // and has left no transaction behind
}

// testViewConsistent has writers write pairs that always carry equal words.
func testViewConsistent(t *testing.T, f fixture) {
	st := f.store(t)
	const writers = 4
	for w := range writers {
		apply(t, st, resource.Put(timeout(fmt.Sprint("left-", w), "start")), resource.Put(timeout(fmt.Sprint("right-", w), "start")))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				word := fmt.Sprint(i)
				_, err := st.Apply(t.Context(), resource.Put(timeout(fmt.Sprint("left-", w), word)), resource.Put(timeout(fmt.Sprint("right-", w), word)))
				if !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	var last resource.Revision
	for views := 0; views < 200 || last < 50; views++ {
		known := st.Revision()
		list, rev := all(t, st, "")
		require.GreaterOrEqual(t, rev, known, "a view is at least as new as Revision said")
		require.GreaterOrEqual(t, rev, last)
		last = rev
		var newest resource.Revision
		words := map[string]string{}
		for _, r := range list {
			newest = max(newest, r.Version)
			words[r.Name] = r.Labels["word"] + fmt.Sprint(r.Version)
		}
		require.Len(t, list, 2*writers)
		for w := range writers {
			require.Equal(t, words[fmt.Sprint("left-", w)], words[fmt.Sprint("right-", w)])
		}
		require.Equal(t, rev, newest, "the view's revision is that of its newest resource: nothing was deleted")
		if t.Failed() {
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}

func testSince(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Put(timeout("b", "one")), resource.Put(timeout("c", "one")))
	apply(t, st, resource.Put(timeout("a", "two")))
	apply(t, st, resource.Put(timeout("d", "one")))
	for rev, want := range [][]string{
		{"2:b=one", "2:c=one", "3:a=two", "4:d=one"},
		{"2:b=one", "2:c=one", "3:a=two", "4:d=one"},
		{"3:a=two", "4:d=one"},
		{"4:d=one"},
		nil,
	} {
		changes, upTo := since(t, st, "", resource.Revision(rev))
		assert.Equal(t, want, brief(changes), "since %d", rev)
		assert.Equal(t, resource.Revision(4), upTo)
	}
}

func testSinceKind(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Put(res("Mesh", "", "m", "one")), resource.Put(res("MeshTimeouts", "", "n", "one")))
	apply(t, st, resource.Delete(res("Mesh", "", "m", "").Key))
	changes, upTo := since(t, st, "MeshTimeout", 0)
	assert.Equal(t, []string{"1:a=one"}, brief(changes))
	assert.Equal(t, resource.Revision(3), upTo, "nothing of the kind is missing up to the last commit")
	changes, _ = since(t, st, "Mesh", 1)
	assert.Equal(t, []string{"3:m-deleted"}, brief(changes))
}

func testTombstones(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")), resource.Put(timeout("b", "one")))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	changes, _ := since(t, st, "", 0)
	assert.Equal(t, []string{"1:b=one", "2:a-deleted"}, brief(changes))
	assert.WithinDuration(t, time.Now(), changes[1].Resource.Modified, time.Minute, "when it was deleted")
	changes[1].Resource.Modified = time.Time{}
	assert.Equal(t, resource.Resource{Key: timeout("a", "").Key}, changes[1].Resource, "a tombstone is a key and nothing else")
	apply(t, st, resource.Put(timeout("a", "two")))
	changes, _ = since(t, st, "", 0)
	assert.Equal(t, []string{"1:b=one", "3:a=two"}, brief(changes))
	apply(t, st, resource.Delete(timeout("a", "").Key), resource.Delete(timeout("b", "").Key))
	changes, _ = since(t, st, "", 1)
	assert.ElementsMatch(t, []string{"4:a-deleted", "4:b-deleted"}, brief(changes))
}

// testFollow has a reader keep a copy by Advanced and Since while writers put, delete and compact.
func testFollow(t *testing.T, f fixture) {
	st := f.store(t)
	const writers, each = 8, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprint("n", (w+i)%5)
				_, err := st.Apply(t.Context(), resource.Put(timeout(name, fmt.Sprint(w, i))), resource.Put(timeout(fmt.Sprint("own-", w), "x")))
				assert.NoError(t, err)
				if i%3 == 0 {
					// Another writer may have been faster.
					if _, err := st.Apply(t.Context(), resource.Delete(timeout(name, "").Key)); err != nil {
						assert.ErrorIs(t, err, resource.ErrNotFound)
					}
				}
				if w == 0 && i%20 == 19 {
					assert.NoError(t, st.Compact(t.Context(), st.Revision()/2))
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()

	copied := map[resource.Key]resource.Resource{}
	var rev resource.Revision
	for running := true; running; {
		more := st.Advanced(rev)
		select {
		case <-done:
			running = false // one last round
		case <-more:
		}
		changes, upTo, err := st.Since(t.Context(), "", rev)
		if errors.Is(err, resource.ErrCompacted) {
			list, at := all(t, st, "")
			clear(copied)
			for _, r := range list {
				copied[r.Key] = r
			}
			require.Greater(t, at, rev)
			rev = at
			continue
		}
		require.NoError(t, err)
		last := rev
		for _, c := range changes {
			require.GreaterOrEqual(t, c.Revision, last, "in order of revision")
			require.Greater(t, c.Revision, rev)
			require.LessOrEqual(t, c.Revision, upTo)
			last = c.Revision
			if c.Deleted {
				delete(copied, c.Resource.Key)
			} else {
				require.Equal(t, c.Revision, c.Resource.Version)
				copied[c.Resource.Key] = c.Resource
			}
		}
		rev = upTo
	}
	want := map[resource.Key]resource.Resource{}
	list, at := all(t, st, "")
	for _, r := range list {
		want[r.Key] = r
	}
	assert.Equal(t, at, rev)
	assert.Equal(t, want, copied)
}

func testCompact(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")), resource.Put(timeout("b", "one")))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	apply(t, st, resource.Put(timeout("c", "one")))
	require.NoError(t, st.Compact(t.Context(), 3))
	assert.Equal(t, resource.Revision(3), st.Revision(), "a compaction is no commit")
	for _, kind := range []string{"", "MeshTimeout", "Mesh"} {
		for rev := range resource.Revision(2) {
			_, _, err := st.Since(t.Context(), kind, rev)
			assert.ErrorIs(t, err, resource.ErrCompacted, "since %d of kind %q", rev, kind)
		}
		changes, upTo := since(t, st, kind, 3)
		assert.Empty(t, changes)
		assert.Equal(t, resource.Revision(3), upTo)
	}
	list, at := all(t, st, "")
	assert.Len(t, list, 2)
	assert.Equal(t, resource.Revision(3), at)
	assert.Equal(t, resource.Revision(4), apply(t, st, resource.Put(timeout("a", "new")).If(0)))
	changes, _ := since(t, st, "", 3)
	assert.Equal(t, []string{"4:a=new"}, brief(changes))
}

func testCompactKeeps(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")), resource.Put(timeout("b", "one")), resource.Put(timeout("c", "one")))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	apply(t, st, resource.Delete(timeout("b", "").Key))
	require.NoError(t, st.Compact(t.Context(), 2))
	require.NoError(t, st.Compact(t.Context(), 1), "backwards: nothing to do")
	changes, _ := since(t, st, "", 2)
	assert.Equal(t, []string{"3:b-deleted"}, brief(changes))
	list, _ := all(t, st, "")
	assert.Len(t, list, 1)
	require.NoError(t, st.Compact(t.Context(), 1_000_000), "beyond the end: as far as there is")
	assert.Equal(t, resource.Revision(4), apply(t, st, resource.Delete(timeout("c", "").Key)))
	changes, _ = since(t, st, "", 3)
	assert.Equal(t, []string{"4:c-deleted"}, brief(changes))
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func testAdvancedPassed(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Put(timeout("a", "two")))
	assert.True(t, closed(st.Advanced(0)))
	assert.True(t, closed(st.Advanced(1)))
	assert.False(t, closed(st.Advanced(2)))
}

func testAdvancedWakes(t *testing.T, f fixture) {
	st := f.store(t)
	var waiting []<-chan struct{}
	for range 3 {
		waiting = append(waiting, st.Advanced(0))
	}
	_, err := st.Apply(t.Context(), resource.Delete(timeout("a", "").Key))
	require.ErrorIs(t, err, resource.ErrNotFound)
	apply(t, st, resource.Put(timeout("a", "one")))
	for _, c := range waiting {
		assert.True(t, closed(c), "awake by the time that Apply returns")
	}
	next := st.Advanced(1)
	assert.False(t, closed(next))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	assert.True(t, closed(next))
}

// testNoLostWakeup has readers who sleep only on Advanced. A lost wake-up shows as a test that hangs.
func testNoLostWakeup(t *testing.T, f fixture) {
	st := f.store(t)
	const writers, each, readers = 4, 50, 8
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for rev := resource.Revision(0); rev < writers*each; {
				<-st.Advanced(rev)
				_, upTo, err := st.Since(t.Context(), "Mesh", rev)
				if !assert.NoError(t, err) {
					return
				}
				rev = upTo
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, err := st.Apply(t.Context(), resource.Put(timeout(fmt.Sprint("w", w), fmt.Sprint(i))))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

func testEpoch(t *testing.T, f fixture) {
	st := f.store(t)
	epoch := st.Epoch()
	assert.NotEqual(t, epoch, f.other(t).Epoch())
	apply(t, st, resource.Put(timeout("a", "one")))
	assert.Equal(t, epoch, st.Epoch())
	require.NoError(t, st.Close())
	assert.Equal(t, epoch, f.store(t).Epoch())
}

func testReopen(t *testing.T, f fixture) {
	st := f.store(t)
	for i := range 30 {
		apply(t, st, resource.Put(timeout(fmt.Sprint("a", i%7), fmt.Sprint(i))), resource.Put(res("Mesh", "", "m", fmt.Sprint(i))))
	}
	apply(t, st, resource.Delete(timeout("a1", "").Key))
	apply(t, st, resource.Delete(timeout("a2", "").Key))
	require.NoError(t, st.Compact(t.Context(), 31))
	list, rev := all(t, st, "")
	changes, upTo := since(t, st, "", 31)
	for range 2 {
		require.NoError(t, st.Close())
		st = f.store(t)
		assert.Equal(t, rev, st.Revision())
		gotList, gotRev := all(t, st, "")
		assert.Equal(t, list, gotList)
		assert.Equal(t, rev, gotRev)
		gotChanges, gotUpTo := since(t, st, "", 31)
		assert.Equal(t, changes, gotChanges)
		assert.Equal(t, upTo, gotUpTo)
		_, _, err := st.Since(t.Context(), "", 5)
		assert.ErrorIs(t, err, resource.ErrCompacted)
		assert.False(t, closed(st.Advanced(rev)))
		assert.True(t, closed(st.Advanced(rev-1)))
	}
	assert.Equal(t, rev+1, apply(t, st, resource.Put(timeout("a1", "new")).If(0)))
}

func testClosed(t *testing.T, f fixture) {
	st := f.store(t)
	apply(t, st, resource.Put(timeout("a", "one")))
	waiting := st.Advanced(1)
	require.NoError(t, st.Close())
	assert.True(t, closed(waiting))
	assert.True(t, closed(st.Advanced(1)))
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")))
	assert.ErrorIs(t, err, resource.ErrClosed)
	_, err = st.Apply(t.Context())
	assert.ErrorIs(t, err, resource.ErrClosed)
	_, err = st.Get(t.Context(), timeout("a", "").Key)
	assert.ErrorIs(t, err, resource.ErrClosed)
	_, _, err = st.Since(t.Context(), "", 0)
	assert.ErrorIs(t, err, resource.ErrClosed)
	err = st.View(t.Context(), "", func(resource.Revision, iter.Seq2[resource.Resource, error]) error {
		t.Error("a view of a closed store")
		return nil
	})
	assert.ErrorIs(t, err, resource.ErrClosed)
	assert.ErrorIs(t, st.Compact(t.Context(), 1), resource.ErrClosed)
	assert.NoError(t, st.Close())

	// Closed in the middle of things: each caller is told either way, and what it was told is so.
	st = f.store(t)
	var written atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, err := st.Apply(t.Context(), resource.Put(timeout(fmt.Sprint("w", w), fmt.Sprint(i))))
				if err != nil {
					assert.ErrorIs(t, err, resource.ErrClosed)
					return
				}
				written.Add(1)
			}
		})
	}
	<-st.Advanced(10)
	require.NoError(t, st.Close())
	wg.Wait()
	assert.Equal(t, resource.Revision(1+written.Load()), f.store(t).Revision())
}

func testCloseWaits(t *testing.T, f fixture) {
	st := f.store(t)
	var ops []resource.Op
	for i := range 200 {
		ops = append(ops, resource.Put(timeout(fmt.Sprint("a", i), strings.Repeat("x", 300))))
	}
	apply(t, st, ops...)
	returned := make(chan struct{})
	err := st.View(t.Context(), "", func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		go func() { assert.NoError(t, st.Close()); close(returned) }()
		// Close has begun once the store no longer takes writes.
		refused := make(chan error)
		go func() {
			for {
				if _, err := st.Apply(t.Context()); err != nil {
					refused <- err
					return
				}
			}
		}()
		assert.ErrorIs(t, <-refused, resource.ErrClosed)
		n := 0
		for _, err := range seq {
			require.NoError(t, err)
			n++
		}
		assert.Equal(t, len(ops), n)
		assert.False(t, closed(returned))
		return nil
	})
	require.NoError(t, err)
	<-returned
}

func testCheck(t *testing.T, f fixture) {
	st := f.store(t)
	guard, key := timeout("guard", "").Key, timeout("a", "").Key
	first := apply(t, st, resource.Put(timeout("guard", "one")))
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "no")), resource.Check(guard, first+1))
	require.ErrorIs(t, err, resource.ErrConflict)
	_, err = st.Apply(t.Context(), resource.Check(key, 1), resource.Put(timeout("b", "no")))
	require.ErrorIs(t, err, resource.ErrConflict)
	rev := apply(t, st, resource.Check(guard, first), resource.Check(key, 0), resource.Put(timeout("a", "one")))
	assert.Equal(t, first+1, rev)
	got, err := st.Get(t.Context(), guard)
	require.NoError(t, err)
	assert.Equal(t, first, got.Version, "a check writes nothing")
	rev, err = st.Apply(t.Context(), resource.Check(guard, first), resource.Check(key, rev))
	require.NoError(t, err)
	assert.Equal(t, first+1, rev, "checks alone make no revision")
	assert.Equal(t, first+1, st.Revision())
	apply(t, st, resource.Delete(guard))
	_, err = st.Apply(t.Context(), resource.Check(guard, first), resource.Put(timeout("a", "two")))
	require.ErrorIs(t, err, resource.ErrConflict)
	list, _ := all(t, st, "")
	assert.Len(t, list, 1)
}
