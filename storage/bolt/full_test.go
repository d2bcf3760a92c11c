package bolt_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// A disk without room, by RLIMIT_FSIZE: the kernel refuses to write, or to make a file longer, beyond that limit, in the
// middle of a write call too. It can be below the size that the file has already, so bbolt's commit is cut off at any of
// its pages. The limit is one of the process, so the test has a child for it.
func TestAFullDiskLeavesNothingAndTheStoreGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	out, err := child(t.Context(), "full", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	open(t, path, bolt.Options{})
}

func fullChild(path string) {
	if err := fillDisk(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func limitFiles(bytes uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = min(bytes, limit.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}

func fillDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ) // or the kernel kills us
	ctx := context.Background()
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	for i := range 300 {
		if _, err := st.Apply(ctx, resource.Put(timeout(fmt.Sprint("n", i), strings.Repeat("x", 500)))); err != nil {
			return err
		}
	}
	refused, written := 0, 0
	try := func(limit uint64, name string, size int) error {
		before, changes, err := read(ctx, st)
		if err != nil {
			return err
		}
		rev := st.Revision()
		if err := limitFiles(limit); err != nil {
			return err
		}
		_, err = st.Apply(ctx, resource.Put(timeout("n7", name)), resource.Put(timeout(name, strings.Repeat("y", size))), resource.Delete(timeout("n8", "").Key), resource.Put(timeout("n8", name)))
		if liftErr := limitFiles(^uint64(0)); liftErr != nil {
			return liftErr
		}
		if err == nil {
			written++
			return nil
		}
		refused++
		if !strings.Contains(err.Error(), syscall.EFBIG.Error()) || !strings.Contains(err.Error(), path) {
			return fmt.Errorf("not what the disk said: %w", err)
		}
		after, changesAfter, err := read(ctx, st)
		if err != nil {
			return err
		}
		if st.Revision() != rev || !reflect.DeepEqual(before, after) || !reflect.DeepEqual(changes, changesAfter) {
			return fmt.Errorf("limit %d: the failed batch has left something", limit)
		}
		if _, err := st.Apply(ctx, resource.Put(timeout("n9", name))); err != nil {
			return fmt.Errorf("limit %d: the store does not go on: %w", limit, err)
		}
		if st.Revision() != rev+1 {
			return fmt.Errorf("revision %d after %d", st.Revision(), rev)
		}
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for limit := uint64(8192); limit < uint64(info.Size()); limit += 2048 + limit/16 { // above the commit records
		if err := try(limit, fmt.Sprint("limit", limit), 100); err != nil {
			return err
		}
	}
	for i := range 20 { // batches that make the file longer than it may be
		if err := try(uint64(info.Size()), fmt.Sprint("long", i), 500_000*i); err != nil {
			return err
		}
	}
	if refused < 20 || written < 5 {
		return fmt.Errorf("%d batches refused and %d written: the limits test nothing", refused, written)
	}

	// Writers that share a commit all learn that it has failed.
	if err := limitFiles(8192); err != nil {
		return err
	}
	rev := st.Revision()
	var failed atomic.Int64
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			if _, err := st.Apply(ctx, resource.Put(timeout(fmt.Sprint("w", w), strings.Repeat("z", 3000)))); err != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if err := limitFiles(^uint64(0)); err != nil {
		return err
	}
	if failed.Load() != 32 || st.Revision() != rev {
		return fmt.Errorf("%d of 32 writers failed, revision %d after %d", failed.Load(), st.Revision(), rev)
	}
	if _, err := st.Apply(ctx, resource.Put(timeout("last", "x"))); err != nil {
		return err
	}
	fmt.Printf("%d batches refused, %d written", refused, written)
	return st.Close()
}
