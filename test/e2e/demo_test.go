package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDemoHoldsAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, stdout, stderr := meridian(t, []string{"TMPDIR=" + dir}, "demo")
	require.Equal(t, 0, code, "%s\n%s", stdout, stderr)
	assert.Empty(t, stderr)
	requireEmpty(t, dir)

	steps := strings.Split(stdout, "REQUEST TIMEOUT")
	require.Len(t, steps, 5, "one table per step: %s", stdout)
	producer, consumer := steps[2], steps[3]
	for _, client := range []string{"east/consumer.first-consumer", "east/consumer.second-consumer", "west/consumer.first-consumer"} {
		assert.Equal(t, "1s", timeoutOf(t, producer, client), "after the producer policy")
	}
	assert.Equal(t, "3s", timeoutOf(t, consumer, "east/consumer.first-consumer"))
	assert.Equal(t, "1s", timeoutOf(t, consumer, "east/consumer.second-consumer"))
	assert.Equal(t, "1s", timeoutOf(t, consumer, "west/consumer.first-consumer"), "a consumer policy stays in its zone")
	assert.NotContains(t, stdout, "\x1b", "no colour codes in a pipe")
}

// timeoutOf returns the request timeout that a table shows from proxy to demo-app.
func timeoutOf(t *testing.T, table, proxy string) string {
	t.Helper()
	for line := range strings.Lines(table) {
		if cells := strings.Fields(line); len(cells) > 2 && cells[0] == proxy && cells[1] == "demo-app" {
			return cells[2]
		}
	}
	t.Fatalf("no row for %s to demo-app in:\n%s", proxy, table)
	return ""
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "left behind in %s", dir)
	requireNoProcess(t, dir)
}

func TestDemoCleansUpWhenInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "up and in touch") {
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	requireEmpty(t, dir)
}

func TestDemoCleansUpWhenAZoneDoesNotStart(t *testing.T) {
	t.Parallel()
	programs, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"meridian", "meridian-global"} {
		require.NoError(t, os.Link(filepath.Join(bin, name), filepath.Join(programs, name)))
	}
	// Written by another process: a descriptor that a test beside this one has inherited would keep it from being run.
	script := `printf '#!/bin/sh\necho no space left on device >&2\nexit 1\n' >meridian-zone; chmod +x meridian-zone`
	write := exec.Command("/bin/sh", "-c", script)
	write.Dir = programs
	require.NoError(t, write.Run())

	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "meridian"), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	assert.Contains(t, string(out), "no space left on device", "it quotes the zone")
	requireEmpty(t, dir)
}

func TestUpRunsUntilInterruptedAndKeepsItsDataDir(t *testing.T) {
	t.Parallel()
	temp, data := t.TempDir(), t.TempDir()
	contexts := "MERIDIAN_CONTEXTS=" + filepath.Join(t.TempDir(), "contexts.yaml")
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "meridian"), "up", "--data-dir", data)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, contexts)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var tries []string // the commands it prints
	addresses := map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if strings.HasPrefix(lines.Text(), "   "+filepath.Join(bin, "meridian")) {
			tries = append(tries, strings.TrimSpace(lines.Text()))
		}
		if cells := strings.Fields(lines.Text()); len(cells) == 4 && cells[2] == "pid" {
			addresses[cells[0]] = cells[1]
		}
	}
	require.NotEmpty(t, tries, "it prints its own path as it was called")
	script := exec.CommandContext(t.Context(), "/bin/sh", "-e", "-c", strings.Join(tries, "\n"))
	script.Env = append(os.Environ(), contexts)
	tried, err := script.CombinedOutput()
	require.NoError(t, err, "the commands that it prints work:\n%s\n%s", strings.Join(tries, "\n"), tried)
	assert.Contains(t, string(tried), "consumer-timeout.first-consumer")
	for zone, want := range map[string]string{
		"east": `consumer.first-consumer (east) to demo-app.kuma-demo (east)
  MeshTimeout http.requestTimeout is 3s
    consumer-timeout of first-consumer (consumer, zone east) set it in to[0]
    producer-timeout of kuma-demo (producer, zone east) said 1s in to[0] and lost by role: a consumer's word counts more than a producer's
`,
		"west": `consumer.first-consumer (west) to demo-app.kuma-demo (east)
  MeshTimeout http.requestTimeout is 1s
    producer-timeout of kuma-demo (producer, zone east) set it in to[0]
`,
	} {
		code, _, stderr := meridian(t, nil, "--address", addresses[zone], "api",
			"/meshes/default/meshtimeouts/kri_mt_default_east_kuma-demo_producer-timeout_?wait=1m")
		require.Equal(t, 0, code, stderr)
		code, stdout, stderr := meridian(t, nil, "--address", addresses[zone],
			"explain", "consumer.first-consumer", "--to", "demo-app", "--field", "http.requestTimeout")
		require.Equal(t, 0, code, stderr)
		assert.Equal(t, want, stdout)
	}

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
	}
	require.NoError(t, cmd.Wait(), "Ctrl-C is the normal end")
	requireEmpty(t, temp)
	requireNoProcess(t, data)
	require.FileExists(t, filepath.Join(data, "global", "kds.crt"), "what it stored is kept")
}
