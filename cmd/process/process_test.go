package process_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/process"
)

// program returns a shell script that takes the place of a control plane.
func program(script string) process.Config {
	return process.Config{Path: "/bin/sh", Args: []string{"-c", script}, Log: &log{}}
}

type log struct {
	bytes.Buffer
	closed sync.Once
	done   bool
}

func (l *log) Close() error {
	l.closed.Do(func() { l.done = true })
	return nil
}

func TestStartReturnsTheAddressesOfTheReadyLine(t *testing.T) {
	t.Parallel()
	c := program("echo opening >&2\necho meridian-global ready api=http://127.0.0.1:4 kds=grpcs://127.0.0.1:5 data=x\nexec sleep 1000")
	p, err := process.Start(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, "http://127.0.0.1:4", p.URL())
	assert.Equal(t, "grpcs://127.0.0.1:5", p.KDS())
	require.ErrorContains(t, p.Stop(), "terminated", "the script does not catch the signal")
	<-p.Done()
	assert.Contains(t, c.Log.(*log).String(), "opening")
	assert.True(t, c.Log.(*log).done, "the log is closed after its last line")
	p.Kill() // after the end it does nothing
}

func TestStopTakesAGracefulEndForNoError(t *testing.T) {
	t.Parallel()
	p, err := process.Start(t.Context(), program("trap 'exit 0' TERM\necho x ready\nwhile :; do sleep 0.01; done"))
	require.NoError(t, err)
	require.NoError(t, p.Stop())
}

func TestStartQuotesAChildThatEndsBeforeItIsReady(t *testing.T) {
	t.Parallel()
	_, err := process.Start(t.Context(), program("echo the disk is full >&2\nexit 3"))
	require.ErrorContains(t, err, "the disk is full")
	require.ErrorContains(t, err, "exit status 3")
}

func TestKillTakesWhatTheChildStarted(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	p, err := process.Start(t.Context(), program(fmt.Sprintf("sleep 1000 >/dev/null 2>&1 &\necho $! >%s\necho x ready\nwait", pidFile)))
	require.NoError(t, err)
	pid, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	p.Kill()
	require.Eventually(t, func() bool { // its new parent may take a moment to bury it
		state, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", bytes.TrimSpace(pid)))
		return err != nil || bytes.Contains(state, []byte(") Z "))
	}, time.Minute, time.Millisecond)
}

func TestVariablesOfTheParentDoNotReachTheChild(t *testing.T) {
	t.Setenv("MERIDIAN_INSECURE", "true")
	p, err := process.Start(t.Context(), program("echo x ready api=${MERIDIAN_INSECURE:-unset}\nexec sleep 1000"))
	require.NoError(t, err)
	defer p.Kill()
	assert.Equal(t, "unset", p.URL())
}
