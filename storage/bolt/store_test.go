package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/storage/bolt"
	"github.com/meridian-mesh/meridian/storage/storagetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t testing.TB, dir string) storage.Store {
		st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{})
		require.NoError(t, err)
		return st
	})
}

// timeout returns a resource whose content is told from word.
func timeout(name, word string) resource.Resource {
	return resource.Resource{
		Key:    resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name},
		Labels: map[string]string{resource.LabelDisplayName: name, "word": word},
		Spec:   []byte(`{"word":"` + word + `"}`),
	}
}

func open(t testing.TB, path string, o bolt.Options) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	return st
}

func apply(t testing.TB, st *bolt.Store, ops ...resource.Op) resource.Revision {
	t.Helper()
	rev, err := st.Apply(t.Context(), ops...)
	require.NoError(t, err)
	return rev
}

// read returns everything that a store has to say, or the first error.
func read(ctx context.Context, st *bolt.Store) (list []resource.Resource, changes []resource.Change, err error) {
	err = st.View(ctx, "", func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		for r, err := range seq {
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, r := range list {
		if _, err := st.Get(ctx, r.Key); err != nil {
			return nil, nil, err
		}
	}
	changes, _, err = st.Since(ctx, "", 0)
	return list, changes, err
}

func TestASecondOpenFailsAtOnceUntilTheFirstIsClosed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	st := open(t, path, bolt.Options{})
	_, err := bolt.Open(path, bolt.Options{})
	require.ErrorIs(t, err, bolt.ErrInUse)
	assert.EqualError(t, err, "open store "+path+": another process has it open")
	apply(t, st, resource.Put(timeout("a", "x"))) // the first is not disturbed
	require.NoError(t, st.Close())
	assert.Equal(t, resource.Revision(1), open(t, path, bolt.Options{}).Revision())
}

func TestOfManyOpensOfANewStoreOneGetsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	stores := make(chan *bolt.Store, 16)
	for range cap(stores) {
		wg.Go(func() {
			st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{})
			if err == nil {
				stores <- st
			} else {
				assert.ErrorIs(t, err, bolt.ErrInUse)
			}
		})
	}
	wg.Wait()
	require.Len(t, stores, 1)
	require.NoError(t, (<-stores).Close())
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "the losers leave no files behind")
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	write := func(content string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	}
	edit := func(fn func(tx *bbolt.Tx) error) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			st, err := bolt.Open(path, bolt.Options{})
			require.NoError(t, err)
			apply(t, st, resource.Put(timeout("a", "x")), resource.Put(timeout("b", "x")))
			apply(t, st, resource.Delete(timeout("a", "").Key))
			require.NoError(t, st.Close())
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(fn))
			require.NoError(t, db.Close())
		}
	}
	put := func(bucket, key string, value []byte) func(t *testing.T, path string) {
		return edit(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), value) })
	}
	remove := func(bucket, key string) func(t *testing.T, path string) {
		return edit(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Delete([]byte(key)) })
	}
	const key = "MeshTimeout\x00default\x00b"
	const position = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01"
	for _, c := range []struct {
		name string
		make func(t *testing.T, path string)
		is   error
		says string
	}{
		{"no folder", func(t *testing.T, path string) { require.NoError(t, os.Remove(filepath.Dir(path))) }, os.ErrNotExist, "no such file"},
		{"a folder", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, nil, "is a directory"},
		{"an empty file", write(""), resource.ErrDamaged, "the file is empty"},
		{"a short text", write("hello"), resource.ErrDamaged, "the file ends before byte"},
		{"a long text", write(strings.Repeat("hello ", 10_000)), resource.ErrDamaged, "not a store"},
		{"zeros", write(strings.Repeat("\x00", 100_000)), resource.ErrDamaged, "not a store"},
		{"another bbolt file", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("key"))
				return err
			}))
			require.NoError(t, db.Close())
		}, resource.ErrDamaged, "a bbolt database, but not a store"},
		{"a new bbolt file", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Close())
		}, resource.ErrDamaged, "a bbolt database, but not a store"},
		{"a newer format", put("meta", "format", bolt.SealNumber([]byte("format"), bolt.Format+1)), bolt.ErrNewerFormat,
			fmt.Sprintf("its format is %d, this program knows up to %d", bolt.Format+1, bolt.Format)},
		{"a newer format with other buckets", edit(func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket([]byte("log")), tx.Bucket([]byte("meta")).Put([]byte("format"), bolt.SealNumber([]byte("format"), 9)))
		}), bolt.ErrNewerFormat, "its format is 9"},
		{"no format", remove("meta", "format"), resource.ErrDamaged, "format: the checksum"},
		{"no epoch", remove("meta", "epoch"), resource.ErrDamaged, "epoch: the checksum"},
		{"a broken revision", put("meta", "revision", []byte("abcdefghijkl")), resource.ErrDamaged, "revision: the checksum"},
		{"a short revision", put("meta", "revision", bolt.Seal([]byte("revision"), []byte("1"))), resource.ErrDamaged, "revision: 1 bytes"},
		{"an old revision", put("meta", "revision", bolt.SealNumber([]byte("revision"), 1)), resource.ErrDamaged, "has revision 2, the store 1"},
		{"a delete that is left over", put("meta", "compacted", bolt.SealNumber([]byte("compacted"), 2)), resource.ErrDamaged, "should be forgotten"},
		{"no log", edit(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("log")) }), resource.ErrDamaged, "bucket log is not there"},
		{"a bucket in a bucket", edit(func(tx *bbolt.Tx) error {
			_, err := tx.Bucket([]byte("res")).CreateBucket([]byte("x"))
			return err
		}), resource.ErrDamaged, "bucket res: an entry with flags 0x1"},
		{"a lost record", remove("res", key), resource.ErrDamaged, "records and log disagree"},
		{"a lost log entry", remove("log", position), resource.ErrDamaged, "records and log disagree"},
		{"a log entry too many", put("log", "\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x07", []byte(key)), resource.ErrDamaged, "records and log disagree"},
		{"a record under another key", edit(func(tx *bbolt.Tx) error {
			res, log := tx.Bucket([]byte("res")), tx.Bucket([]byte("log"))
			return errors.Join(res.Put([]byte(key+"c"), res.Get([]byte(key))), res.Delete([]byte(key)), log.Put([]byte(position), []byte(key+"c")))
		}), resource.ErrDamaged, "the checksum does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "data", "store.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			c.make(t, path)
			_, err := bolt.Open(path, bolt.Options{})
			require.Error(t, err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			assert.ErrorContains(t, err, "open store "+path+": ")
			assert.ErrorContains(t, err, c.says)
			if errors.Is(err, resource.ErrDamaged) {
				assert.ErrorContains(t, err, "restore the file from a backup")
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	clock := time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.FixedZone("east", 3600))
	var log strings.Builder
	st := open(t, path, bolt.Options{
		NoSync: true,
		Now:    func() time.Time { return clock },
		Log:    hclog.New(&hclog.LoggerOptions{Output: &log}),
	})
	apply(t, st, resource.Put(timeout("a", "x")))
	created := clock.UTC()
	clock = clock.Add(-time.Hour) // a clock that was set back
	apply(t, st, resource.Put(timeout("a", "y")), resource.Put(timeout("b", "y")))
	a, err := st.Get(t.Context(), timeout("a", "").Key)
	require.NoError(t, err)
	assert.Equal(t, created, a.Created)
	assert.Equal(t, clock.UTC(), a.Modified)
	b, err := st.Get(t.Context(), timeout("b", "").Key)
	require.NoError(t, err)
	assert.Equal(t, clock.UTC(), b.Created)
	assert.Contains(t, log.String(), "store opened")
	assert.Contains(t, log.String(), "epoch="+st.Epoch())
}

func TestCompactKeepsOldReadersWhenThereIsNothingToForget(t *testing.T) {
	t.Parallel()
	st := open(t, filepath.Join(t.TempDir(), "store.db"), bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "x")))
	apply(t, st, resource.Put(timeout("b", "x")))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	apply(t, st, resource.Put(timeout("c", "x")))
	require.NoError(t, st.Compact(t.Context(), 2))
	changes, _, err := st.Since(t.Context(), "", 0)
	require.NoError(t, err)
	assert.Len(t, changes, 3)
	require.NoError(t, st.Compact(t.Context(), 4))
	_, _, err = st.Since(t.Context(), "", 2)
	assert.ErrorIs(t, err, resource.ErrCompacted)
	changes, _, err = st.Since(t.Context(), "", 3)
	require.NoError(t, err, "the newest delete that is forgotten is at 3")
	assert.Len(t, changes, 1)
}

func TestAFailedCommitLeavesNothingAndTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	st := open(t, path, bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "one")))
	apply(t, st, resource.Delete(timeout("a", "").Key))
	full := errors.New("the disk is full")
	st.SetCommit(func(tx *bbolt.Tx) error { return errors.Join(full, tx.Rollback()) })
	waiting := st.Advanced(2)
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")))
	require.ErrorIs(t, err, full)
	require.ErrorContains(t, err, path)
	require.ErrorIs(t, st.Compact(t.Context(), 2), full)
	assert.Equal(t, resource.Revision(2), st.Revision())
	select {
	case <-waiting:
		t.Error("woken for nothing")
	default:
	}
	st.SetCommit((*bbolt.Tx).Commit)
	assert.Equal(t, resource.Revision(3), apply(t, st, resource.Put(timeout("b", "two"))))
	_, changes, err := read(t.Context(), st)
	require.NoError(t, err)
	require.Len(t, changes, 2)
	assert.True(t, changes[0].Deleted)
}

// The commit record has reached the file, and then its fsync fails: a disk that may or may not have it.
func TestACommitOfUnknownFateStopsTheStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	st := open(t, path, bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "one")))
	broken := errors.New("input/output error")
	st.SetCommit(func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), broken) })
	waiting := st.Advanced(1)
	_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")))
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, "may or may not be on disk")
	<-waiting // its owner shall ask, and be told
	st.SetCommit((*bbolt.Tx).Commit)
	_, err = st.Apply(t.Context(), resource.Put(timeout("b", "two")))
	require.ErrorIs(t, err, broken)
	_, err = st.Get(t.Context(), timeout("a", "").Key)
	require.ErrorIs(t, err, broken)
	_, _, err = st.Since(t.Context(), "", 0)
	require.ErrorIs(t, err, broken)
	assert.Equal(t, resource.Revision(1), st.Revision())

	require.NoError(t, st.Close())
	require.NoError(t, st.Close())
	_, err = st.Get(t.Context(), timeout("a", "").Key)
	require.ErrorIs(t, err, resource.ErrClosed)
	assert.Equal(t, resource.Revision(2), open(t, path, bolt.Options{}).Revision(), "this disk had it")
}

// What simulations decide about commits looks to the store, and to the one that is opened next, as the disk and the kill do.
func TestTheFateOfACommitCanBeDecided(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fate   bolt.Fate
		stops  bool
		become resource.Revision // after it is opened again
	}{
		"the disk is full": {bolt.DiskFull, false, 3},
		"killed before it": {bolt.KilledMid, true, 3},
		"killed after it":  {bolt.KilledEnd, true, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "store.db")
			fate := bolt.Written
			st := open(t, path, bolt.Options{Fate: func() bolt.Fate { return fate }})
			apply(t, st, resource.Put(timeout("a", "one")))
			apply(t, st, resource.Put(timeout("b", "one")))
			apply(t, st, resource.Delete(timeout("b", "").Key))
			fate = c.fate
			_, err := st.Apply(t.Context(), resource.Put(timeout("a", "two")), resource.Put(timeout("b", "two")))
			require.Error(t, err)
			assert.Equal(t, !c.stops, errors.Is(err, syscall.ENOSPC))
			assert.Equal(t, resource.Revision(3), st.Revision())
			fate = bolt.Written
			_, err = st.Get(t.Context(), timeout("a", "").Key)
			assert.Equal(t, c.stops, err != nil, "%v", err)
			require.NoError(t, st.Close())

			st = open(t, path, bolt.Options{})
			require.Equal(t, c.become, st.Revision())
			r, err := st.Get(t.Context(), timeout("a", "").Key)
			require.NoError(t, err)
			assert.Equal(t, c.become == 4, bytes.Contains(r.Spec, []byte("two")), "%s", r.Spec)
			_, err = st.Get(t.Context(), timeout("b", "").Key)
			assert.Equal(t, c.become == 4, err == nil, "%v", err)
			assert.Equal(t, c.become+1, apply(t, st, resource.Put(timeout("c", "three"))))
		})
	}
}
