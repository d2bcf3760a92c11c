package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tool runs backup, restore or verify of the plane's program on its data directory.
func (p *plane) tool(args ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), p.args[0], append(args, "--data-dir", p.dir)...)
	var out, errOut bytesOf
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(p.t, err)
	}
	return cmd.ProcessState.ExitCode(), string(out), string(errOut)
}

type bytesOf []byte

func (b *bytesOf) Write(more []byte) (int, error) { *b = append(*b, more...); return len(more), nil }

func TestARunningGlobalIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east")
	east := zones["east"]
	saved := filepath.Join(t.TempDir(), "saved")
	api := func() string { return global.url()[len("http://"):] }
	for i := range 3 {
		global.put(timeoutPath(fmt.Sprint("kept-", i), ""), timeoutDoc(fmt.Sprint("kept-", i), "", "1s"))
	}
	global.put(timeoutPath("changed", ""), timeoutDoc("changed", "", "1s"))

	code, out, stderr := global.tool("backup", saved, "--http-addr", api(), "-o", "json")
	require.Zero(t, code, stderr)
	var report struct {
		Epoch     string
		Revision  int
		Resources map[string]int
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	assert.Equal(t, 4, report.Resources["MeshTimeout"])
	code, out, stderr = global.tool("verify", "--http-addr", api())
	require.Zero(t, code, stderr)
	assert.Contains(t, out, "MeshTimeout", "of the store that runs")
	code, _, stderr = global.tool("backup", saved, "--http-addr", api())
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "there is a file already")
	code, _, stderr = global.tool("restore", saved, "--force")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "another process has it open")
	code, _, stderr = global.tool("backup", saved+"2", "--http-addr", east.url()[len("http://"):])
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "keeps "+filepath.Join(east.dir, "zone.db"))

	code, _, stderr = east.tool("restore", saved, "--force")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "it is a backup of global, and this makes the store of a zone control plane")

	// What is lost with the restore: a change and two policies.
	global.put(timeoutPath("changed", ""), timeoutDoc("changed", "", "2s"))
	global.put(timeoutPath("lost-1", ""), timeoutDoc("lost-1", "", "1s"))
	global.put(timeoutPath("lost-2", ""), timeoutDoc("lost-2", "", "1s"))
	east.await(wirePath("lost-2", "", ""))
	global.kill()
	code, _, stderr = global.tool("restore", saved)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "there is a file already")
	code, out, stderr = global.tool("restore", saved, "--force", "-o", "yaml")
	require.Zero(t, code, stderr)
	assert.Contains(t, out, "MeshTimeout: 4")
	assert.NotContains(t, out, report.Epoch, "a new epoch")
	code, out, stderr = global.tool("verify")
	require.Zero(t, code, stderr)
	assert.Contains(t, out, "deletes remembered")
	global.start()
	global.put(timeoutPath("next", ""), timeoutDoc("next", "", "1s")) // at a revision that the lost store used too
	east.await(wirePath("next", "", ""))
	assert.ElementsMatch(t, []string{"kept-0", "kept-1", "kept-2", "changed", "next"}, east.names("/meshes/default/meshtimeouts"))
	assert.Contains(t, east.await(wirePath("changed", "", "")), `"1s"`)

	damaged := filepath.Join(t.TempDir(), "damaged")
	content, err := os.ReadFile(saved)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(damaged, content[:len(content)/2], 0o600))
	for _, args := range [][]string{{"verify", damaged}, {"restore", damaged, "--force"}} {
		code, _, stderr = east.tool(args...)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, damaged+": store is damaged (it has ")
	}
}

func TestAStoppedZoneIsBackedUpAndRestored(t *testing.T) {
	t.Parallel()
	east := newPlane(t, "east", "meridian-zone", "--name", "east")
	east.put(timeoutPath("t", "shop"), timeoutDoc("t", "shop", "1s"))
	east.kill()
	saved := filepath.Join(t.TempDir(), "saved")
	code, _, stderr := east.tool("backup", saved)
	require.Zero(t, code, stderr)
	west := newPlane(t, "east", "meridian-zone", "--name", "east")
	west.kill()
	code, _, stderr = west.tool("restore", saved, "--force")
	require.Zero(t, code, stderr)
	west.start()
	status, _, body, err := west.request(t.Context(), http.MethodGet, timeoutPath("t", "shop"), "")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status, body)
}
