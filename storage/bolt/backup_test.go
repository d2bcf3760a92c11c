package bolt_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// backup writes a snapshot of st to a new file.
func backup(t testing.TB, st *bolt.Store, to string) bolt.Report {
	t.Helper()
	snapshot, err := st.Snapshot(t.Context())
	require.NoError(t, err)
	defer snapshot.Close()
	pipe, w := io.Pipe()
	go func() {
		n, err := snapshot.WriteTo(w)
		if err == nil && n != snapshot.Size() {
			err = fmt.Errorf("wrote %d bytes and announced %d", n, snapshot.Size())
		}
		w.CloseWithError(err)
	}()
	report, err := bolt.Receive(pipe, to)
	require.NoError(t, err)
	require.Equal(t, snapshot.Revision(), report.Revision)
	return report
}

func TestABackupOfARunningStoreIsOneRevisionOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	st := open(t, filepath.Join(dir, "store.db"), bolt.Options{NoSync: true})
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		writers.Go(func() {
			for i := 0; ; i++ { // a pair of a writer is never seen apart
				select {
				case <-stop:
					return
				default:
				}
				value := fmt.Sprint(i, strings.Repeat("x", i%3000))
				_, err := st.Apply(t.Context(), resource.Put(timeout(fmt.Sprintf("%d-a-%d", w, i%50), value)), resource.Put(timeout(fmt.Sprintf("%d-b-%d", w, i%50), value)))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	<-st.Advanced(0) // the writers have begun
	var last resource.Revision
	for i := range 10 {
		to := filepath.Join(dir, fmt.Sprint("backup-", i))
		report := backup(t, st, to)
		assert.GreaterOrEqual(t, report.Revision, last)
		last = report.Revision
		assert.Equal(t, st.Epoch(), report.Epoch)
		copied, err := bolt.Open(to, bolt.Options{NoSync: true})
		require.NoError(t, err)
		assert.Equal(t, report.Revision, copied.Revision())
		list, _, err := read(t.Context(), copied)
		require.NoError(t, err)
		assert.Equal(t, len(list), report.Resources["MeshTimeout"])
		values := map[string][]byte{}
		for _, r := range list {
			values[r.Name] = r.Spec
		}
		for name, spec := range values {
			if strings.Contains(name, "-a-") {
				assert.Equal(t, spec, values[strings.Replace(name, "-a-", "-b-", 1)], name)
			}
		}
		require.NoError(t, copied.Close())
	}
	close(stop)
	writers.Wait()
	assert.Positive(t, last)
}

func TestRestoreGivesTheContentBackUnderANewEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, saved := filepath.Join(dir, "store.db"), filepath.Join(dir, "saved")
	st := open(t, path, bolt.Options{})
	apply(t, st, resource.Put(timeout("a", "1")), resource.Put(timeout("b", "1")))
	apply(t, st, resource.Delete(timeout("b", "").Key))
	want, changes, err := read(t.Context(), st)
	require.NoError(t, err)
	report := backup(t, st, saved)
	assert.Equal(t, bolt.Report{File: saved, Epoch: st.Epoch(), Revision: 2, Resources: map[string]int{"MeshTimeout": 1}, Deletes: 1, Bytes: report.Bytes}, report)
	apply(t, st, resource.Put(timeout("a", "2"))) // the future that is lost

	_, err = bolt.Restore(saved, path, "", false)
	require.ErrorIs(t, err, bolt.ErrExists)
	_, err = bolt.Restore(saved, path, "", true)
	require.ErrorIs(t, err, bolt.ErrInUse, "it is open")
	_, err = bolt.Verify(path)
	require.ErrorIs(t, err, bolt.ErrInUse)
	_, err = bolt.Copy(path, filepath.Join(dir, "other"))
	require.ErrorIs(t, err, bolt.ErrInUse)
	require.NoError(t, st.Close())

	stopped := filepath.Join(dir, "stopped")
	report, err = bolt.Copy(path, stopped)
	require.NoError(t, err)
	assert.Equal(t, resource.Revision(3), report.Revision)
	_, err = bolt.Copy(path, stopped)
	require.ErrorIs(t, err, bolt.ErrExists)

	report, err = bolt.Restore(saved, path, "", true)
	require.NoError(t, err)
	again := open(t, path, bolt.Options{})
	assert.Equal(t, report.Epoch, again.Epoch())
	assert.NotEqual(t, st.Epoch(), again.Epoch())
	assert.Equal(t, resource.Revision(2), again.Revision())
	got, gotChanges, err := read(t.Context(), again)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, changes, gotChanges)
	assert.Equal(t, resource.Revision(3), apply(t, again, resource.Put(timeout("c", "1"))))

	fresh := filepath.Join(dir, "fresh.db")
	_, err = bolt.Restore(saved, fresh, "", false)
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(dir, "*.part"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestADamagedOrForeignBackupIsRefusedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	content, _, _ := sample(t)
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":        {nil, "the file is empty"},
		"text":         {bytes.Repeat([]byte("not a store\n"), 1000), "not a store, or overwritten"},
		"cut":          {content[:len(content)-4096], "damaged"},
		"one byte off": {flipped(content), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			bad, path := filepath.Join(dir, "backup"), filepath.Join(dir, "store.db")
			require.NoError(t, os.WriteFile(bad, c.content, 0o600))
			st := open(t, path, bolt.Options{NoSync: true})
			apply(t, st, resource.Put(timeout("a", "1")))
			require.NoError(t, st.Close())
			refused := func(_ bolt.Report, err error) {
				t.Helper()
				require.ErrorIs(t, err, resource.ErrDamaged)
				assert.ErrorContains(t, err, bad)
				assert.ErrorContains(t, err, c.want)
			}
			refused(bolt.Verify(bad))
			refused(bolt.Copy(bad, filepath.Join(dir, "copy")))
			refused(bolt.Restore(bad, path, "", true))
			_, err := bolt.Receive(bytes.NewReader(c.content), filepath.Join(dir, "received"))
			require.ErrorIs(t, err, resource.ErrDamaged)
			_, err = bolt.Receive(io.MultiReader(bytes.NewReader(content), failing{}), filepath.Join(dir, "received"))
			require.ErrorIs(t, err, errCut)
			report, err := bolt.Verify(path)
			require.NoError(t, err)
			assert.Equal(t, map[string]int{"MeshTimeout": 1}, report.Resources)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Len(t, entries, 2, "nothing else is left: %v", entries)
		})
	}
}

// flipped returns a copy with one bit of a stored value changed.
func flipped(content []byte) []byte {
	bad := bytes.Clone(content)
	bad[bytes.LastIndex(bad, []byte("large large"))] ^= 1
	return bad
}

var errCut = errors.New("the line is cut")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errCut }

// backupChild backs up and restores until it is killed: it restores a and b in turn to store.db, and copies that.
func backupChild(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	for i := 0; ; i++ {
		_, err := bolt.Restore(filepath.Join(dir, []string{"a", "b"}[i%2]), filepath.Join(dir, "store.db"), "", true)
		fail(err)
		saved := filepath.Join(dir, "saved")
		if err := os.Remove(saved); err != nil && !os.IsNotExist(err) {
			fail(err)
		}
		_, err = bolt.Copy(filepath.Join(dir, "store.db"), saved)
		fail(err)
		fmt.Println(i)
	}
}

func TestKilledDuringBackupOrRestoreThereIsAWholeFileOrNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sizes := map[string]int{"a": 100, "b": 300}
	for name, n := range sizes {
		st := open(t, filepath.Join(dir, name), bolt.Options{NoSync: true})
		for i := range n {
			apply(t, st, resource.Put(timeout(fmt.Sprint("n", i), strings.Repeat(name, 500))))
		}
		require.NoError(t, st.Close())
	}
	_, err := bolt.Copy(filepath.Join(dir, "a"), filepath.Join(dir, "store.db"))
	require.NoError(t, err)
	epochs := map[string]bool{}
	for kill := range 20 {
		cmd := child(t.Context(), "backup", dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range kill % 3 { // by lines and not by time alone: a loaded machine restores nothing in any time
			require.True(t, lines.Scan(), "kill %d: it has ended", kill)
			require.NotContains(t, lines.Text(), "write", "kill %d", kill) // an error
		}
		time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		said, err := io.ReadAll(out)
		require.NoError(t, err)
		_ = cmd.Wait()
		require.NotContains(t, string(said), "write", "kill %d", kill) // an error

		report, err := bolt.Verify(filepath.Join(dir, "store.db"))
		require.NoError(t, err, "kill %d", kill)
		require.Contains(t, []int{100, 300}, report.Resources["MeshTimeout"])
		epochs[report.Epoch] = true
		report, err = bolt.Verify(filepath.Join(dir, "saved"))
		if !errors.Is(err, os.ErrNotExist) {
			require.NoError(t, err, "kill %d", kill)
			require.Contains(t, []int{100, 300}, report.Resources["MeshTimeout"])
		}
	}
	assert.Greater(t, len(epochs), 3, "restores were done")
}

func TestABackupOfAnotherControlPlaneIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owners := []string{"global", "zone east", "zone west"}
	for _, owner := range owners {
		st := open(t, filepath.Join(dir, owner+".db"), bolt.Options{Owner: owner, NoSync: true})
		apply(t, st, resource.Put(timeout(strings.ReplaceAll(owner, " ", "-"), "one")))
		require.Equal(t, owner, backup(t, st, filepath.Join(dir, owner)).Owner)
		require.NoError(t, st.Close())
		_, err := bolt.Open(filepath.Join(dir, owner+".db"), bolt.Options{Owner: "zone north"})
		require.ErrorIs(t, err, bolt.ErrOwner)
		require.ErrorContains(t, err, "it is that of "+owner+", not of zone north")
	}
	for _, from := range owners {
		for _, to := range owners {
			kind, _, _ := strings.Cut(to, " ")
			saved, store := filepath.Join(dir, from), filepath.Join(dir, to+".db")
			before, err := os.ReadFile(store)
			require.NoError(t, err)
			report, err := bolt.Restore(saved, store, kind, true)
			if from == to {
				require.NoError(t, err)
				assert.Equal(t, to, report.Owner)
				continue
			}
			require.ErrorIs(t, err, bolt.ErrOwner, "%s onto %s", from, to)
			require.ErrorContains(t, err, "of "+from)
			after, err := os.ReadFile(store)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after), "%s onto %s: it was touched", from, to)

			// Where there is no store its kind is known, and its name when the control plane opens it.
			fresh := filepath.Join(t.TempDir(), "store.db")
			_, err = bolt.Restore(saved, fresh, kind, false)
			if strings.HasPrefix(from, kind) {
				require.NoError(t, err)
				_, err = bolt.Open(fresh, bolt.Options{Owner: to})
			}
			require.ErrorIs(t, err, bolt.ErrOwner, "%s onto nothing, for %s", from, to)
		}
	}
	damaged := filepath.Join(dir, "global.db") // whoever it was of
	require.NoError(t, os.WriteFile(damaged, []byte("rubbish"), 0o600))
	_, err := bolt.Restore(filepath.Join(dir, "global"), damaged, "global", true)
	require.NoError(t, err)
}

func TestAStoreThatNobodyHasClaimedBelongsToTheFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	require.NoError(t, open(t, path, bolt.Options{}).Close())
	require.NoError(t, open(t, path, bolt.Options{Owner: "zone east"}).Close())
	_, err := bolt.Open(path, bolt.Options{Owner: "global"})
	require.ErrorIs(t, err, bolt.ErrOwner)
	report, err := bolt.Verify(path)
	require.NoError(t, err)
	assert.Equal(t, "zone east", report.Owner)
}
