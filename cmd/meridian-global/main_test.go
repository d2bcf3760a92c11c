package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/docs"
)

func TestTheReadyLineNamesTheAddressesInUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, scheme string }{{"--insecure=false", "grpcs"}, {"--insecure", "grpc"}} {
		dir := t.TempDir()
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		out, printed := io.Pipe()
		code := make(chan int, 1)
		var stderr bytes.Buffer
		go func() {
			code <- config.Run(ctx, command(), []string{
				"--http-addr", "127.0.0.1:0", "--kds-addr", ":0", "--data-dir", dir, "--log-level", "off", c.flag,
			}, printed, &stderr)
			printed.Close()
		}()
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan(), "%s", &stderr)
		assert.Regexp(t, `^meridian-global ready api=http://127\.0\.0\.1:[1-9]\d* kds=`+c.scheme+`://127\.0\.0\.1:[1-9]\d* data=`+dir+`$`, lines.Text())
		stop()
		assert.False(t, lines.Scan(), "one line and no more")
		assert.Equal(t, 0, <-code)
		assert.Empty(t, stderr.String())
	}
}

func TestTheReferenceListsEveryFlag(t *testing.T) {
	t.Parallel()
	docs.Flags(t, command())
}

func TestCommandsInThePagesAreThere(t *testing.T) {
	t.Parallel()
	docs.Check(t, command(), 10)
}
