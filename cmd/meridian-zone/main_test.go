package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/docs"
)

func TestTheZoneServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "zone.yaml")
	require.NoError(t, os.WriteFile(file, []byte("http-addr: 127.0.0.1:0\nlog-level: \"off\"\n"), 0o600))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out, printed := io.Pipe()
	code := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		code <- config.Run(ctx, command(), []string{"--name", "east", "--data-dir", dir, "--config", file}, printed, &stderr)
		printed.Close()
	}()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "%s", &stderr)
	require.Regexp(t, `^meridian-zone ready zone=east api=http://127\.0\.0\.1:[1-9]\d* data=`+dir+`$`, lines.Text())
	url := string(bytes.Fields(lines.Bytes())[3][len("api="):])
	resp, err := http.Get(url + "/readyz")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	stop()
	assert.False(t, lines.Scan(), "one line and no more")
	assert.Equal(t, 0, <-code)
	assert.Empty(t, stderr.String())
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no name":      {[]string{"--data-dir", "x"}, 2, "meridian-zone: --name must be given: the name of the zone\n"},
		"bad level":    {[]string{"--log-level", "loud"}, 2, "meridian-zone: --log-level \"loud\": want trace, debug, info, warn, error or off\n"},
		"not a folder": {[]string{"--name", "east", "--data-dir", "main.go"}, 1, "meridian-zone: mkdir main.go: not a directory\n"},
		"no such file": {[]string{"--config", "none.yaml"}, 2, "meridian-zone: open none.yaml: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, stderr bytes.Buffer
			assert.Equal(t, c.code, config.Run(context.Background(), command(), c.args, &out, &stderr))
			assert.Equal(t, c.stderr, stderr.String())
			assert.Empty(t, out.String())
		})
	}
}

func TestTheReferenceListsEveryFlag(t *testing.T) {
	t.Parallel()
	docs.Flags(t, command())
}

func TestCommandsInThePagesAreThere(t *testing.T) {
	t.Parallel()
	docs.Check(t, command(), 1)
}
