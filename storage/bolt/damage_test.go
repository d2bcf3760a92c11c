package bolt_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// sample returns the bytes of a store with everything in it that a file can have: trees of two levels, a value of
// several pages, tombstones, a compaction, free pages. The part of the file that was never used is cut off.
func sample(t testing.TB) (content []byte, list []resource.Resource, changes []resource.Change) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample.db")
	st, err := bolt.Open(path, bolt.Options{NoSync: true})
	require.NoError(t, err)
	for i := range 120 {
		ops := []resource.Op{resource.Put(timeout(fmt.Sprintf("n%03d", i), strings.Repeat("x", i)))}
		if i%5 == 4 {
			ops = append(ops, resource.Delete(timeout(fmt.Sprintf("n%03d", i-2), "").Key))
		}
		apply(t, st, ops...)
	}
	require.NoError(t, st.Compact(t.Context(), 20))
	apply(t, st, resource.Put(timeout("big", strings.Repeat("large ", 3000))))
	list, changes, err = read(t.Context(), st)
	if err != nil { // since 0 is compacted
		changes, _, err = st.Since(t.Context(), "", 60)
	}
	require.NoError(t, err)
	require.NoError(t, st.Close())
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	used := len(bytes.TrimRight(content, "\x00"))
	return content[:(used+os.Getpagesize()-1)/os.Getpagesize()*os.Getpagesize()], list, changes
}

// damage opens a store of content and asserts that it is refused as damaged, or else holds just what the sample does
// and can be written to. It returns whether it was refused.
func damage(t testing.TB, path string, content []byte, list []resource.Resource, changes []resource.Change, what string) bool {
	t.Helper()
	require.NoError(t, os.WriteFile(path, content, 0o600))
	st, err := bolt.Open(path, bolt.Options{NoSync: true})
	if err != nil {
		require.ErrorIs(t, err, resource.ErrDamaged, what)
		require.ErrorContains(t, err, path, what)
		return true
	}
	defer st.Close()
	gotList, _, err := read(t.Context(), st)
	require.ErrorIs(t, err, resource.ErrCompacted, what)
	require.Equal(t, list, gotList, what)
	gotChanges, _, err := st.Since(t.Context(), "", 60)
	require.NoError(t, err, what)
	require.Equal(t, changes, gotChanges, what)
	for _, name := range []string{"n000", "n060", "zzz"} {
		apply(t, st, resource.Put(timeout(name, "after")))
	}
	require.NoError(t, st.Compact(t.Context(), 500), what)
	require.NoError(t, st.Close(), what)
	st, err = bolt.Open(path, bolt.Options{NoSync: true})
	require.NoError(t, err, what)
	require.NoError(t, st.Close(), what)
	return false
}

func TestAFileCutAtAnyLengthIsRefused(t *testing.T) {
	t.Parallel()
	content, list, changes := sample(t)
	path := filepath.Join(t.TempDir(), "store.db")
	for _, step := range []int{1, 509, 4096} {
		for n := 0; n < len(content); n += step {
			if step == 1 && n > 128 {
				break
			}
			for _, at := range []int{n, max(n-1, 0)} {
				require.True(t, damage(t, path, content[:at], list, changes, fmt.Sprint("cut at ", at)), "cut at %d of %d: opened", at, len(content))
			}
		}
	}
	require.False(t, damage(t, path, content, list, changes, "whole"))
	require.False(t, damage(t, path, append(content, make([]byte, 5000)...), list, changes, "longer than needed"))
}

func TestAFlippedBitIsFoundOrHarmless(t *testing.T) {
	t.Parallel()
	content, list, changes := sample(t)
	path := filepath.Join(t.TempDir(), "store.db")
	page := os.Getpagesize()
	var places []int
	for start := 0; start < len(content); start += page {
		for i := range 32 { // the header of the page and its first element
			places = append(places, start+i)
		}
		for range 20 {
			places = append(places, start+32+rand.IntN(page-32))
		}
	}
	for i := 32; i < 96; i++ { // the rest of the commit records
		places = append(places, i, page+i)
	}
	refused := 0
	for _, at := range places {
		bit := byte(1) << rand.IntN(8)
		content[at] ^= bit
		if damage(t, path, content, list, changes, fmt.Sprintf("byte %d, bit %#x", at, bit)) {
			refused++
		}
		content[at] ^= bit
	}
	t.Logf("%d flips in %d pages: %d refused", len(places), len(content)/page, refused)
	assert.Greater(t, refused, len(places)/4)
}

func TestOverwrittenRangesAreFoundOrHarmless(t *testing.T) {
	t.Parallel()
	content, list, changes := sample(t)
	path := filepath.Join(t.TempDir(), "store.db")
	for range 400 {
		bad := bytes.Clone(content)
		at := rand.IntN(len(bad))
		part := bad[at:min(len(bad), at+1+rand.IntN(1<<rand.IntN(14)))]
		what := fmt.Sprintf("%d bytes at %d", len(part), at)
		switch rand.IntN(4) {
		case 0:
			clear(part)
			what += " zeroed"
		case 1:
			for i := range part {
				part[i] = byte(rand.Uint32())
			}
			what += " random"
		case 2:
			copy(part, content[rand.IntN(len(content)):])
			what += " from elsewhere"
		case 3: // small numbers, which look like pages and counts
			for i := range part {
				part[i] = 0
				if i%8 == 0 {
					part[i] = byte(rand.IntN(len(content) / os.Getpagesize()))
				}
			}
			what += " small numbers"
		}
		damage(t, path, bad, list, changes, what)
	}
}

func FuzzDamage(f *testing.F) {
	content, list, changes := sample(f)
	for page := range uint32(len(content) / os.Getpagesize()) {
		f.Add(page*uint32(os.Getpagesize())+8, []byte{1, 0, 0xFF, 0xFF}) // flags and count
		f.Add(page*uint32(os.Getpagesize())+24, []byte{3})               // where an element leads
	}
	f.Fuzz(func(t *testing.T, at uint32, with []byte) {
		bad := bytes.Clone(content)
		copy(bad[int(at)%len(bad):], with)
		damage(t, filepath.Join(t.TempDir(), "store.db"), bad, list, changes, fmt.Sprintf("%x at %d", with, int(at)%len(bad)))
	})
}

// A record that goes bad while the store is open is named by whoever reads it, and the others can still be read.
func TestBitRotUnderARunningStoreIsNamed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	st := open(t, path, bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "healthy")), resource.Put(timeout("b", "rotten-word")), resource.Put(timeout("c", "healthy")))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	for at := 0; ; at++ { // also in pages that are free by now
		i := bytes.Index(content[at:], []byte("rotten-word"))
		if i < 0 {
			break
		}
		at += i
		_, err := f.WriteAt([]byte("R"), int64(at))
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())

	names := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, resource.ErrDamaged)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, "MeshTimeout default/b")
	}
	_, err = st.Get(t.Context(), timeout("b", "").Key)
	names(err)
	_, _, err = read(t.Context(), st)
	names(err)
	_, _, err = st.Since(t.Context(), "", 0)
	names(err)
	_, err = st.Apply(t.Context(), resource.Put(timeout("b", "new")))
	names(err)
	_, err = st.Get(t.Context(), timeout("a", "").Key)
	require.NoError(t, err)
	assert.Equal(t, resource.Revision(2), apply(t, st, resource.Put(timeout("a", "new"))))
	require.NoError(t, st.Close())
	_, err = bolt.Open(path, bolt.Options{})
	require.ErrorIs(t, err, resource.ErrDamaged)
	require.ErrorContains(t, err, `MeshTimeout\x00default\x00b`)
}

// Reading a mapped file beyond its end is SIGBUS, which kills a process that is not prepared.
func TestAFileCutUnderARunningStoreIsAnError(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{0, 3 * 4096, 8 * 4096} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "store.db")
			st := open(t, path, bolt.Options{})
			var ops []resource.Op
			for i := range 200 {
				ops = append(ops, resource.Put(timeout(fmt.Sprint("n", i), strings.Repeat("x", 200))))
			}
			apply(t, st, ops...)
			require.NoError(t, os.Truncate(path, length))
			_, _, err := read(t.Context(), st)
			require.ErrorIs(t, err, resource.ErrDamaged)
			require.ErrorContains(t, err, path)
			_, err = st.Apply(t.Context(), resource.Put(timeout("n150", "x")))
			require.ErrorIs(t, err, resource.ErrDamaged)
			_, err = st.Get(t.Context(), timeout("n199", "").Key)
			require.ErrorIs(t, err, resource.ErrDamaged)
			require.NoError(t, st.Close())
			require.NoError(t, st.Close())
			_, err = bolt.Open(path, bolt.Options{})
			require.ErrorIs(t, err, resource.ErrDamaged)
		})
	}
}

func TestAPanicInACommitStopsTheStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	st := open(t, path, bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "one")))
	st.SetCommit(func(*bbolt.Tx) error { panic("page 7 already freed") })
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")))
	require.ErrorIs(t, err, resource.ErrDamaged)
	require.ErrorContains(t, err, "page 7 already freed")
	_, err = st.Get(t.Context(), timeout("a", "").Key)
	require.ErrorIs(t, err, resource.ErrDamaged)
	require.NoError(t, st.Close())
	assert.Equal(t, resource.Revision(1), open(t, path, bolt.Options{}).Revision())
}
