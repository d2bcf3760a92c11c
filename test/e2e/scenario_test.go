package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

const examples = "../../examples"

func exampleScenarios(t *testing.T) []*sim.Scenario {
	t.Helper()
	scenarios, err := sim.Load(examples)
	require.NoError(t, err)
	require.NotEmpty(t, scenarios)
	return scenarios
}

// TestProcessesAnswerAsTheSimulatorAfterEveryStep plays every example, and a scenario of every kind of step, on processes and in the simulator, and compares all answers at first and after
// each step: what is in force on every proxy with who gave it and who lost, roles, warnings, which proxies a policy selects, what it comes to in
// every zone, and who has it by which rule. What came of the expectations is compared as it is printed. What is recorded of the processes at first
// is a scenario that passes, and to apply what they have changes nothing.
func TestProcessesAnswerAsTheSimulatorAfterEveryStep(t *testing.T) {
	t.Parallel()
	several := make(chan struct{}, 3) // scenarios at a time: each is several processes
	more, err := sim.Load("testdata")
	require.NoError(t, err)
	require.NotEmpty(t, more)
	for _, s := range append(exampleScenarios(t), more...) {
		t.Run(filepath.Base(s.File), func(t *testing.T) {
			t.Parallel()
			several <- struct{}{}
			defer func() { <-several }()
			moments := map[int]moment{} // by the step after which it is
			simulated, err := sim.Run(t.Context(), s, sim.Options{After: func(ctx context.Context, i int, now *sim.Result) error {
				answers, err := now.Answers(ctx)
				moments[i] = moment{slices.Sorted(slices.Values(now.Planes())), answers}
				return err
			}})
			require.NoError(t, err)
			require.Empty(t, simulated.Problem)
			require.NotEmpty(t, simulated.Proxies(""))
			require.Len(t, moments, len(s.Steps)+1, "no two steps of an example are at one time")

			report := up(t, s.File, func(i int, urls map[string]string) {
				planes := map[string]sim.Ask{}
				for name, url := range urls {
					planes[name] = askAt(url)
				}
				require.Equal(t, moments[i].planes, slices.Sorted(maps.Keys(planes)))
				observed, err := sim.Observe(t.Context(), s, planes)
				require.NoError(t, err)
				answers, err := observed.Answers(t.Context())
				require.NoError(t, err)
				require.NotEmpty(t, answers)
				assert.Empty(t, moments[i].answers.Differences(answers), "after step %d: the simulator answers one, and the processes the other", i+1)
				if i >= 0 {
					return
				}
				now := filepath.Join(t.TempDir(), "now.scenario.yaml")
				code, _, stderr := meridian(t, nil, "sim", "record", "--live", urls["global"], "--out", now)
				require.Equal(t, 0, code, stderr)
				code, stdout, stderr := meridian(t, nil, "sim", "test", "--require-tests", now)
				assert.Equal(t, 0, code, "%s%s", stdout, stderr)
				code, stdout, stderr = meridian(t, nil, "sim", "plan", "--head", s.File, "--live", urls["global"], "--detailed-exitcode")
				assert.Equal(t, 0, code, "%s%s", stdout, stderr)
				assert.Contains(t, stdout, "no document changes")
				if filepath.Base(s.File) == "guide.scenario.yaml" {
					planOfAChange(t, urls["global"])
				}
			})
			simulated.Invariants = nil // while it goes on running nothing is healed
			var want strings.Builder
			require.NoError(t, show.Text(&want, show.Case{Name: s.Name, File: s.File, Result: simulated}, show.TextOptions{NoTime: true}))
			assert.Contains(t, report, want.String())
		})
	}
}

// planOfAChange requires that the plan of one changed value says where it shows, and where it is masked, with the exit code for changes.
func planOfAChange(t *testing.T, global string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "changed.scenario.yaml")
	code, text, stderr := meridian(t, nil, "sim", "record", "--live", global, "--documents-only")
	require.Equal(t, 0, code, stderr)
	changed := strings.Replace(text, "requestTimeout: 1s", "requestTimeout: 7s", 1)
	require.NotEqual(t, text, changed)
	require.NoError(t, os.WriteFile(file, []byte(changed), 0o600))
	code, stdout, stderr := meridian(t, nil, "sim", "plan", "--head", file, "--live", global, "--detailed-exitcode")
	assert.Equal(t, 6, code, stderr)
	assert.Contains(t, stdout, "~ MeshTimeout east/kuma-demo/producer-timeout  producer  spec.to[0].default.http.requestTimeout 1s -> 7s\n")
	assert.Contains(t, stdout, "masked by east/first-consumer/consumer-timeout (role)")
	assert.Regexp(t, `west/first-consumer +1 \(client-1\) .* 1s \(east/kuma-demo/producer-timeout\) +7s`, stdout)
}

// moment is a federation after a step: who is up, and what it answers.
type moment struct {
	planes  []string
	answers sim.Answers
}

// up runs `meridian up FILE --pause`, calls fn with the addresses of its control planes before its first step (-1) and after each, and ends it as
// Ctrl-C does. It returns what it printed.
func up(t *testing.T, file string, fn func(step int, urls map[string]string)) string {
	temp, data := t.TempDir(), t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), "up", file, "--data-dir", data, "--pause")
	mine := "MERIDIAN_CONTEXTS=" + filepath.Join(t.TempDir(), "contexts.yaml")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, mine)
	var printed, errOut strings.Builder
	cmd.Stderr = &errOut
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	urls := func() map[string]string { // from the contexts: those of control planes that are up
		code, stdout, stderr := meridian(t, []string{mine}, "context", "list", "-o", "json")
		require.Equal(t, 0, code, stderr)
		var list struct {
			Contexts map[string]struct{ Address string }
		}
		require.NoError(t, json.Unmarshal([]byte(stdout), &list))
		urls := map[string]string{}
		for name, at := range list.Contexts {
			urls[path.Base(name)] = at.Address
		}
		return urls
	}
	step := -1
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		fmt.Fprintln(&printed, lines.Text())
		if strings.HasPrefix(lines.Text(), "press Enter") {
			fn(step, urls())
			step++
			_, err := io.WriteString(in, "\n")
			require.NoError(t, err)
		}
	}
	fn(step, urls())
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	require.NoError(t, cmd.Wait(), errOut.String())
	requireEmpty(t, temp)
	requireNoProcess(t, data)
	require.Empty(t, urls(), "its contexts end with it")
	return printed.String()
}

func askAt(address string) sim.Ask {
	return func(ctx context.Context, path string) (int, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+path, nil)
		if err != nil {
			return 0, nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, body, err
	}
}

func TestTheFailingExampleIsRedAndTheOthersAreGreen(t *testing.T) {
	t.Parallel()
	code, stdout, _ := meridian(t, nil, "sim", "test", filepath.Join(examples, "failing"))
	assert.Equal(t, 1, code)
	assert.Contains(t, stdout, "candidates, weakest first:")
	var green []string
	for _, s := range exampleScenarios(t) {
		if !strings.Contains(s.File, "failing") {
			green = append(green, s.File)
		}
	}
	require.NotEmpty(t, green)
	code, stdout, stderr := meridian(t, nil, append([]string{"sim", "test", "--require-tests"}, green...)...)
	assert.Equal(t, 0, code, "%s%s", stdout, stderr)
}

func TestUpRunsACommandThatFindsTheFederationAndEndsWithIt(t *testing.T) {
	t.Parallel()
	script := filepath.Join(bin, "meridian") + ` zones && ` + filepath.Join(bin, "meridian") + ` --address $MERIDIAN_ADDRESS_EAST get meshtimeouts; exit 7`
	code, stdout, stderr := meridian(t, []string{"TMPDIR=" + t.TempDir()}, "up", filepath.Join(examples, "guide.scenario.yaml"), "--", "sh", "-c", script)
	assert.Equal(t, 7, code, stderr)
	assert.Regexp(t, `(?m)^west +Online`, stdout)
	assert.Regexp(t, `(?m)^producer-timeout +kuma-demo +east +producer`, stdout)
}

func TestUpTestsAScenarioAndEnds(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	code, stdout, stderr := meridian(t, []string{"TMPDIR=" + temp}, "up", "--test", "--no-time", filepath.Join(examples, "failing"))
	assert.Equal(t, 1, code, stderr)
	code, simulated, _ := meridian(t, nil, "sim", "test", "--no-time", filepath.Join(examples, "failing"))
	assert.Equal(t, 1, code)
	assert.Equal(t, strings.ReplaceAll(simulated, "5 of 5", "4 of 4"), stdout, "the same report, but for the invariant that cannot be seen from outside")
	code, stdout, stderr = meridian(t, []string{"TMPDIR=" + temp}, "up", "--test", "-o", "json", filepath.Join(examples, "partition.scenario.yaml"))
	assert.Equal(t, 0, code, "%s%s", stdout, stderr)
	assert.Contains(t, stdout, `"invariant": "no-lost-write"`)
	requireEmpty(t, temp)
}

// Whenever it is asked to stop, and if it is killed, nothing of it goes on running.
func TestUpLeavesNothingRunningWhenItEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"Ctrl-C": syscall.SIGINT, "kill -9": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if signal == syscall.SIGKILL && runtime.GOOS != "linux" {
				t.Skip("only Linux ends the children of a process that is killed")
			}
			temp, data := t.TempDir(), t.TempDir()
			contexts := "MERIDIAN_CONTEXTS=" + filepath.Join(t.TempDir(), "contexts.yaml")
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), "up", "testdata/everything.scenario.yaml", "--steps", "--data-dir", data)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, contexts)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "step 5 of ") {
			}
			require.NoError(t, cmd.Process.Signal(signal))
			for lines.Scan() {
				require.NotContains(t, lines.Text(), "step 21 of ", "it was in the middle")
			}
			require.Error(t, cmd.Wait())
			requireEmpty(t, temp)
			if signal == syscall.SIGKILL { // they stop by themselves, in order
				require.Eventually(t, func() bool { return len(processesWith(t, data)) == 0 }, settle, 10*time.Millisecond)
			}
			requireNoProcess(t, data)
			code, stdout, _ := meridian(t, []string{contexts}, "context", "list")
			require.Zero(t, code)
			require.Empty(t, stdout)
		})
	}
}

func TestUpSaysWhatProcessesCannotPlay(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cut.scenario.yaml")
	require.NoError(t, os.WriteFile(file, []byte("zones: {east: {}}\nsteps:\n  - {cutAfter: {zone: east, pieces: 3}}\n"), 0o600))
	code, _, stderr := meridian(t, nil, "up", "--test", file)
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, file+":3:5: cutAfter: processes cannot play it")
	for _, args := range [][]string{{"--test"}, {"--test", "--pause", file}, {"--test", file, "--", "true"}, {"-o", "json", file}, {"--timeout", "0s", file}} {
		code, _, stderr := meridian(t, nil, append([]string{"up"}, args...)...)
		assert.Equal(t, 2, code, "%v: %s", args, stderr)
	}
}
