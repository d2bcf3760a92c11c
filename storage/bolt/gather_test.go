package bolt_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// slowly has each commit of the store take so long, and counts them.
func slowly(st *bolt.Store, took time.Duration) *int {
	transactions := new(int)
	st.SetCommit(func(tx *bbolt.Tx) error {
		*transactions++
		time.Sleep(took)
		return tx.Commit()
	})
	return transactions
}

func TestWritersThatComeBackAtOnceShareEveryCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
		transactions := slowly(st, time.Millisecond)
		const writers, rounds = 8, 20
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range rounds {
					apply(t, st, resource.Put(timeout(fmt.Sprint("t", w), fmt.Sprint(i))))
					time.Sleep(time.Duration(w) * 100 * time.Microsecond) // what they do in between
				}
			})
		}
		wg.Wait()
		assert.LessOrEqual(t, *transactions, rounds+2)
	})
}

func TestAWriterWaitsForNobodyWhoDoesNotComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := open(t, filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
		slowly(st, time.Millisecond)
		write := func(name string) time.Duration {
			begun := time.Now()
			apply(t, st, resource.Put(timeout(name, "x")))
			return time.Since(begun)
		}
		for range 3 {
			assert.Equal(t, time.Millisecond, write("alone"), "nobody else has been there")
		}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() { write(fmt.Sprint("t", w)) })
		}
		wg.Wait()
		assert.LessOrEqual(t, write("alone"), 2*time.Millisecond, "it waits for the others as long as a commit takes, once")
		assert.Equal(t, time.Millisecond, write("alone"))
		for range 3 { // the first wait was in vain
			for w := range 8 {
				wg.Go(func() { write(fmt.Sprint("t", w)) })
			}
			wg.Wait()
		}
		time.Sleep(time.Second)
		assert.Equal(t, time.Millisecond, write("alone"), "the others are long gone")
	})
}
