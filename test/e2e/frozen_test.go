package e2e

import (
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signal reaches the process of the plane, which must run.
func (p *plane) signal(s syscall.Signal) {
	p.t.Helper()
	running, err := p.up(p.t.Context())
	require.NoError(p.t, err)
	require.NoError(p.t, syscall.Kill(running.Pid(), s))
}

// A process that is stopped keeps its sockets open, and the kernel goes on taking what is sent to it: only what it does not
// answer shows it.
func TestAFrozenZoneIsStalledAndCatchesUpWhenItThaws(t *testing.T) {
	t.Parallel()
	global := newGlobal(t, "--sync-stall-time", "6s") // shown from then on, and for as long again
	w := newLink(t, global)
	east, west := newZone(t, "east", w), newZone(t, "west", w)
	global.put(timeoutPath("before", ""), timeoutDoc("before", "", "1s"))
	east.await(wirePath("before", "", "")) // it has asked for the kind
	shows := func(state string, args ...string) {
		t.Helper()
		row := regexp.MustCompile(`(?m)^east +` + state + ` +\d+s `)
		require.Eventually(t, func() bool {
			code, stdout, _ := global.cli(args...)
			return code == 0 && row.MatchString(stdout)
		}, settle, 50*time.Millisecond, "%s %v", state, args)
	}
	shows("Online", "zones")
	east.signal(syscall.SIGSTOP)
	global.put(timeoutPath("meanwhile", ""), timeoutDoc("meanwhile", "", "1s"))
	shows("Stalled", "sync", "status") // at once: on a busy machine the rest takes longer than that lasts
	shows("Stalled", "zones")
	west.await(wirePath("meanwhile", "", "")) // the others are not held up
	_, said, _ := global.cli("sync", "explain", "meshtimeout/meanwhile")
	assert.Regexp(t, `(?m)^east +pending .*(stalled|offline) for`, said)

	east.signal(syscall.SIGCONT)
	east.await(wirePath("meanwhile", "", ""))
	shows("Online", "sync", "status")
	shows("Online", "zones")
}
