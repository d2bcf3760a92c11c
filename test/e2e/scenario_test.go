package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

const examples = "../../examples"

func exampleScenarios(t *testing.T) []*sim.Scenario {
	t.Helper()
	scenarios, err := sim.Load(examples)
	require.NoError(t, err)
	require.NotEmpty(t, scenarios)
	return scenarios
}

// TestProcessesAnswerAsTheSimulator runs every example as processes and in the simulator, and compares all answers: what is expected, what
// is in force on every proxy with who gave it and who lost, and what every policy comes to in every zone. What is recorded of the
// processes is a scenario that passes, and to apply what they have changes nothing.
func TestProcessesAnswerAsTheSimulator(t *testing.T) {
	t.Parallel()
	for _, s := range exampleScenarios(t) {
		t.Run(filepath.Base(s.File), func(t *testing.T) {
			t.Parallel()
			simulated, err := sim.Run(t.Context(), s, sim.Options{})
			require.NoError(t, err)
			require.Empty(t, simulated.Problem)
			up(t, s.File, func(urls map[string]string) {
				planes := map[string]sim.Ask{}
				for name, url := range urls {
					planes[name] = askAt(url)
				}
				require.Len(t, planes, len(s.Zones)+1)
				observed, err := sim.Observe(t.Context(), s, planes)
				require.NoError(t, err)
				require.Len(t, observed.Expectations, len(s.Expect))
				require.Equal(t, simulated.Proxies(""), observed.Proxies(""))
				require.NotEmpty(t, observed.Proxies(""))
				differences, err := sim.Differences(t.Context(), simulated, observed)
				require.NoError(t, err)
				assert.Empty(t, differences)

				now := filepath.Join(t.TempDir(), "now.scenario.yaml")
				code, _, stderr := meridian(t, nil, "sim", "record", "--live", urls["global"], "--out", now)
				require.Equal(t, 0, code, stderr)
				code, stdout, stderr := meridian(t, nil, "sim", "test", "--require-tests", now)
				assert.Equal(t, 0, code, "%s%s", stdout, stderr)
				code, stdout, stderr = meridian(t, nil, "sim", "plan", "--head", s.File, "--live", urls["global"], "--detailed-exitcode")
				assert.Equal(t, 0, code, "%s%s", stdout, stderr)
				assert.Contains(t, stdout, "nothing that is in force does")
			})
		})
	}
}

// up runs `meridian up FILE`, calls fn with its control planes, and ends it as Ctrl-C does.
func up(t *testing.T, file string, fn func(urls map[string]string)) {
	temp, data := t.TempDir(), t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), "up", file, "--data-dir", data)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	urls := map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if cells := strings.Fields(lines.Text()); len(cells) >= 4 && cells[2] == "pid" {
			urls[cells[0]] = cells[1]
		}
	}
	assert.NotEmpty(t, urls, errOut.String())
	if len(urls) > 0 {
		fn(urls)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	require.NoError(t, cmd.Wait(), errOut.String())
	requireEmpty(t, temp)
	requireNoProcess(t, data)
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

func TestUpChecksAScenarioAndEnds(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	code, stdout, stderr := meridian(t, []string{"TMPDIR=" + temp}, "up", "--check", filepath.Join(examples, "failing"))
	assert.Equal(t, 1, code, stderr)
	assert.Contains(t, stdout, "FAIL")
	requireEmpty(t, temp)
	code, _, stderr = meridian(t, nil, "up", "--check")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "--check needs a scenario")
}
