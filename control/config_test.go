package control_test

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/control"
)

func TestFlagsFillInTheConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want control.Config
	}{
		{nil, control.Config{DataDir: "meridian-data", HTTPAddr: "127.0.0.1:5681"}},
		{[]string{"--data-dir=d", "--http-addr=", "--localhost-is-admin=false"}, control.Config{DataDir: "d", NoLocalAdmin: true}},
		{[]string{"--localhost-is-admin", "--anonymous-writes", "--read-only", "--default-policies"}, control.Config{
			DataDir: "meridian-data", HTTPAddr: "127.0.0.1:5681", AnonymousWrites: "true", ReadOnly: true, DefaultPolicies: true,
		}},
	} {
		var got control.Config
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		got.Flags(f, "self-made")
		require.NoError(t, f.Parse(c.args))
		assert.Equal(t, c.want, got, "%q", c.args)
		assert.Empty(t, f.Args())
	}
	var c control.Config
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags(f, "self-made")
	assert.Contains(t, f.FlagUsages(), "administrator (default true)")
	require.ErrorContains(t, f.Parse([]string{"--localhost-is-admin=perhaps"}), "perhaps")
	require.NoError(t, f.Parse([]string{"--sync-stall-time", "2s", "--sync-chunk-bytes", "5"}))
	assert.Equal(t, 2*time.Second, c.Sync.StallTime)
	assert.Equal(t, 5, c.Sync.ChunkBytes)
}

func TestValidateSaysEverythingAtOnceInTheWordsOfTheFlags(t *testing.T) {
	t.Parallel()
	c := control.Config{HTTPAddr: "x", HTTPSAddr: "y", HTTPTLSCert: "c", AnonymousWrites: "maybe", MaxDocumentBytes: -1}
	c.Sync.Guard.Share = 2
	err := c.Validate()
	for _, want := range []string{
		"--data-dir must be given", "--http-addr: want HOST:PORT", "--https-addr: want HOST:PORT", "--http-tls-cert and --http-tls-key",
		`--anonymous-writes "maybe"`, "--max-document-bytes -1", "--sync-guard-share 2",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.NoError(t, control.Config{DataDir: "d"}.Validate())
}
