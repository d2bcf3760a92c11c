package bolt_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

const (
	childEnv      = "MERIDIAN_STORE_TEST_CHILD" // what this binary is to do as a child
	childPath     = "MERIDIAN_STORE_TEST_PATH"
	crashKills    = 120
	crashWriters  = 4
	crashGroups   = 5 // of each writer; a group is what one batch writes
	crashDeleting = 3 // each so many-th batch deletes its group instead
)

// TestMain lets this binary be a child process of its own tests.
func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "crash":
		crashChild(os.Getenv(childPath))
	case "backup":
		backupChild(os.Getenv(childPath))
	case "full":
		fullChild(os.Getenv(childPath))
	}
}

func child(ctx context.Context, role, path string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+role, childPath+"="+path)
	return cmd
}

// crashKeys are the three resources of a group.
func crashKeys(writer, group int) (keys [3]resource.Key) {
	for i := range keys {
		keys[i] = resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: fmt.Sprintf("%c-%d-%d", 'a'+i, writer, group)}
	}
	return keys
}

// crashChild writes until it is killed. After each batch it prints "writer group number revision".
func crashChild(path string) {
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ctx := context.Background()
	for w := range crashWriters {
		go func() {
			// Goes on with the numbers where the child before was killed.
			start := uint64(st.Revision()) + 1
			for n := start; ; n++ {
				group := rand.IntN(crashGroups)
				_, missing := st.Get(ctx, crashKeys(w, group)[0])
				deleting := n%crashDeleting == 0 && missing == nil
				var ops []resource.Op
				for _, key := range crashKeys(w, group) {
					if deleting {
						ops = append(ops, resource.Delete(key))
					} else {
						ops = append(ops, resource.Put(resource.Resource{Key: key, Spec: fmt.Appendf(nil, "%0*d", 1+rand.IntN(1500), n)}))
					}
				}
				rev, err := st.Apply(ctx, ops...)
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				if deleting {
					fmt.Printf("%d %d 0 %d\n", w, group, rev)
				} else {
					fmt.Printf("%d %d %d %d\n", w, group, n, rev)
				}
				if n%64 == 0 && st.Compact(ctx, rev/2) != nil {
					os.Exit(1)
				}
			}
		}()
	}
	select {}
}

// groupState is what one batch has made of a group: number in every key, all at one version. Zero: there is nothing.
type groupState struct {
	number  uint64
	version resource.Revision
}

// readGroup returns the state of a group, and fails the test if its keys do not agree.
func readGroup(t *testing.T, st *bolt.Store, writer, group int) groupState {
	var states [3]groupState
	for i, key := range crashKeys(writer, group) {
		r, err := st.Get(t.Context(), key)
		if err != nil {
			require.ErrorIs(t, err, resource.ErrNotFound)
			continue
		}
		states[i].version = r.Version
		states[i].number, err = strconv.ParseUint(string(r.Spec), 10, 64)
		require.NoError(t, err)
	}
	require.Equal(t, [3]groupState{states[0], states[0], states[0]}, states, "writer %d, group %d: half a batch", writer, group)
	return states[0]
}

// A writer is killed at random moments. What it was told is written is there, no batch is there in part, and the
// revisions go on without a gap.
//
// SIGKILL leaves the page cache alone, so this tests the order of writes within the process, not what a power cut
// leaves: that rests on bbolt's two fsyncs, one before and one after the commit record.
func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	var known [crashWriters][crashGroups]groupState // as acknowledged, or found after a kill
	var revision resource.Revision
	var epoch string
	total, unsaid := 0, 0
	for kill := range crashKills {
		cmd := child(t.Context(), "crash", path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// Some are killed while they open the store, or make it; most while they write. A minute is for one that hangs.
		timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		if kill%8 == 0 {
			timer.Reset(time.Duration(rand.Int64N(int64(50 * time.Millisecond))))
		}
		acked, last := map[resource.Revision]bool{}, rand.IntN(50)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var writer, group int
			var state groupState
			var rev resource.Revision
			if _, err := fmt.Sscan(lines.Text(), &writer, &group, &state.number, &rev); err != nil {
				t.Fatalf("kill %d: the writer says %q", kill, lines.Text())
			}
			if len(acked) == last { // by lines and not by time alone: a loaded machine writes few batches in any time
				timer.Reset(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
			}
			require.False(t, acked[rev], "revision %d was given twice", rev)
			require.Greater(t, rev, revision)
			acked[rev] = true
			if state.number > 0 {
				state.version = rev
			}
			known[writer][group] = state // a group has one writer, whose lines are in order
		}
		timer.Stop()
		_ = cmd.Wait()

		st, err := bolt.Open(path, bolt.Options{})
		require.NoError(t, err, "kill %d", kill)
		epoch = cmp.Or(epoch, st.Epoch())
		require.Equal(t, epoch, st.Epoch())
		// Every revision was acknowledged, or its batch was under way; each writer has one at a time.
		underWay := int(st.Revision()-revision) - len(acked)
		require.GreaterOrEqual(t, underWay, 0, "kill %d: %d batches acknowledged after %d, the store is at %d", kill, len(acked), revision, st.Revision())
		require.LessOrEqual(t, underWay, crashWriters, "kill %d", kill)
		changed := 0
		for w := range known {
			for g, want := range known[w] {
				got := readGroup(t, st, w, g)
				if got != want {
					require.False(t, acked[got.version], "kill %d, writer %d, group %d: has %+v, acknowledged was %+v", kill, w, g, got, want)
					changed++
				}
				known[w][g] = got
			}
		}
		require.LessOrEqual(t, changed, underWay, "kill %d: only batches under way may differ from what was acknowledged", kill)
		revision = st.Revision()
		total, unsaid = total+len(acked), unsaid+underWay
		require.NoError(t, st.Close())
	}
	t.Logf("%d kills, %d batches acknowledged, %d more written, revision %d", crashKills, total, unsaid, revision)
	assert.Greater(t, total, 10*crashKills)
}
