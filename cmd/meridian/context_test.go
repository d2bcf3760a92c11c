package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/contexts"
)

// Not parallel: it sets variables.
func TestCommandsTalkToWhatIsNamedMostClosely(t *testing.T) {
	server := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"name":"` + name + `","token":"` + r.Header.Get("Authorization") + `"}`))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	dir := t.TempDir()
	t.Setenv(contexts.Variable, filepath.Join(dir, "contexts.yaml"))
	token := filepath.Join(dir, "token")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	t.Chdir(dir)
	asked := func(args ...string) string {
		code, stdout, stderr := meridian(t, "", append(args, "api", "/who")...)
		if code != 0 {
			return stderr
		}
		return stdout
	}

	code, stdout, stderr := meridian(t, "", "context", "add", "shop/east", "--address", server("east"), "--token", "@token")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "context shop/east is at http://127.0.0.1:")
	code, stdout, stderr = meridian(t, "", "context", "add", "shop/global", "--address", server("global"), "--use")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "commands talk to shop/global, at ")
	variable, flag := server("variable"), server("flag")

	t.Chdir(t.TempDir())
	assert.Contains(t, asked(), `"global"`, "the current one")
	assert.Contains(t, asked("--context", "east"), `"east"`)
	assert.Contains(t, asked("--context", "east"), `"Bearer secret"`, "the file of the token is found from every folder")
	assert.Contains(t, asked("--context", "east", "--token", "mine"), `"Bearer mine"`)
	t.Setenv("MERIDIAN_CONTEXT", "east")
	assert.Contains(t, asked(), `"east"`)
	t.Setenv("MERIDIAN_ADDRESS", variable)
	assert.Contains(t, asked(), `"variable"`)
	assert.Contains(t, asked("--context", "global"), `"global"`, "a flag says more than a variable")
	assert.Contains(t, asked("--address", flag), `"flag"`)
	assert.Contains(t, asked("--address", flag, "--context", "east"), "excludes")
	assert.Contains(t, asked("--context", "eats"), `there is no context "eats"; did you mean east?`)

	code, stdout, _ = meridian(t, "", "context", "list")
	require.Equal(t, 0, code)
	assert.Regexp(t, `(?m)^ +shop/east +http://.* +removed$`, stdout)
	assert.Regexp(t, `(?m)^\* +shop/global +http://.* +removed$`, stdout)
	code, stdout, _ = meridian(t, "", "context", "list", "-o", "json")
	require.Equal(t, 0, code)
	assert.Contains(t, stdout, `"current": "shop/global"`)
	assert.NotContains(t, stdout, "token")
	code, _, _ = meridian(t, "", "context", "use", "east")
	require.Equal(t, 0, code)
	code, _, _ = meridian(t, "", "context", "remove", "shop/east")
	require.Equal(t, 0, code)
	code, _, stderr = meridian(t, "", "context", "use", "east")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "there is no context")
	code, _, _ = meridian(t, "", "context", "add", "x")
	assert.Equal(t, 2, code, "without an address")
}
