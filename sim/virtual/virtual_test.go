package virtual_test

import (
	"errors"
	"os/exec"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim/virtual"
)

func TestRunPassesTimeWithoutWaiting(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var passed time.Duration
	require.NoError(t, virtual.Run(func() error {
		start := time.Now()
		assert.Equal(t, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), start.UTC())
		go time.Sleep(24 * time.Hour)
		time.Sleep(time.Hour)
		synctest.Wait()
		passed = time.Since(start)
		time.Sleep(24 * time.Hour)
		return nil
	}))
	assert.Equal(t, time.Hour, passed)
	assert.Less(t, time.Since(begin), time.Minute)
}

func TestRunReturnsTheErrorAndLetsAPanicThrough(t *testing.T) {
	t.Parallel()
	want := errors.New("inside")
	assert.Equal(t, want, virtual.Run(func() error { return want }))
	assert.PanicsWithValue(t, "inside", func() {
		_ = virtual.Run(func() error {
			go func() { select {} }() // would be a deadlock by itself
			panic("inside")
		})
	})
}

func TestRunInSeveralGoroutinesAtOnce(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			assert.NoError(t, virtual.Run(func() error {
				tick := time.NewTicker(time.Second)
				defer tick.Stop()
				for range 100 {
					<-tick.C
				}
				return nil
			}))
		})
	}
	all.Wait()
}

// Tests run with flags and a T of their own. This is a program as users run one.
func TestRunWorksInAProgram(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "run", "./testdata/program").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "slept 1h0m0s false true\npanic: inside\n", string(out))
}
