package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
)

// faulty is a rule of the protocol that is broken in this process, which is the command line then.
const faulty = "MERIDIAN_TEST_FAULT"

// broken runs the command line in a process in which a rule of the protocol is broken. Of args the last may be a variable of its environment.
func broken(t *testing.T, fault kds.Fault, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut strings.Builder
	env := append(os.Environ(), faulty+"="+string(fault))
	if last := len(args) - 1; strings.HasPrefix(args[last], "GOMAXPROCS=") {
		args, env = args[:last], append(env, args[last])
	}
	child := exec.CommandContext(t.Context(), os.Args[0], args...)
	child.Env = env
	child.Stdout, child.Stderr = &out, &errOut
	_ = child.Run()
	return child.ProcessState.ExitCode(), out.String(), errOut.String()
}

const fuzzed = `zones:
  east:
    services: {kv: {namespace: shop}}
  west:
    proxies: {batch: {namespace: jobs}}
policies:
  east/shop/kv-timeout: {kind: MeshTimeout, to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]}
  global/slow: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 9s}}]}
`

// What fuzzing prints about a broken protocol is pasted into the scenario, and fails again, with exit code 3 both times; also if what it takes is
// a link that is cut in the middle of a message. With a sound protocol the same steps break nothing.
func TestAPrintedScheduleFailsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault kds.Fault
		args  []string
		step  string // in the schedule
		most  int    // steps
	}{
		"removals are dropped":                   {kds.FaultDropTombstone, nil, "delete: MeshTimeout ", 1},
		"what is missed by a cut is not told":    {kds.FaultForgetMissed, []string{"--faults", "cut"}, "cutAfter: {zone: ", 2},
		"what is missed by a crash is not told":  {kds.FaultForgetMissed, []string{"--faults", "crash,skew"}, "MeshTimeout ", 3},
		"what is missed by silence is not there": {kds.FaultForgetMissed, []string{"--faults", "partition,stall"}, "MeshTimeout ", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "fuzzed.scenario.yaml")
			require.NoError(t, os.WriteFile(file, []byte(fuzzed), 0o600))
			args := append([]string{"sim", "fuzz", file, "--seeds", "1..40"}, c.args...)
			code, stdout, stderr := broken(t, c.fault, args...)
			require.Equal(t, 3, code, stdout+stderr)
			assert.Regexp(t, `^seed \d+ breaks an invariant:\n  reach: `, stdout)
			assert.Contains(t, stdout, "\nIt did so again in 5 of 5 runs.")
			assert.Regexp(t, `seed \d+ breaks an invariant`, stderr)
			if c.args == nil {
				for _, cores := range []string{"1", "5"} {
					_, same, _ := broken(t, c.fault, append(args, "GOMAXPROCS="+cores)...)
					assert.Equal(t, stdout, same, "with %s cores", cores)
				}
			}
			_, steps, found := strings.Cut(stdout, "\nsteps: ")
			require.True(t, found, stdout)
			steps, _, _ = strings.Cut(steps, "\n\n")
			assert.Contains(t, steps, c.step)
			assert.LessOrEqual(t, strings.Count(steps, "\n"), c.most, steps)

			require.NoError(t, os.WriteFile(file, []byte(fuzzed+"steps: "+steps+"\n"), 0o600))
			code, again, stderr := broken(t, c.fault, "sim", "run", file)
			assert.Equal(t, 3, code, again+stderr)
			assert.Contains(t, again, "reach")
			assert.Contains(t, stderr, "with seed ")
			code, again, stderr = meridian(t, "", "sim", "run", file)
			assert.Equal(t, 0, code, again+stderr)
		})
	}
}
