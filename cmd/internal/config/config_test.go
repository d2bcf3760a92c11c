package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

// flags returns a set with one flag of each sort, parsed from args.
func flags(t *testing.T, args ...string) *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.String("data-dir", "default", "")
	f.Bool("insecure", false, "")
	f.StringArray("filename", nil, "")
	f.String("config", "", "")
	require.NoError(t, f.Parse(args))
	return f
}

func file(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	t.Parallel()
	fromFile := file(t, "data-dir: file\n")
	fromEnv := map[string]string{"MERIDIAN_DATA_DIR": "env"}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		file string
		want string
	}{
		"all":            {[]string{"--data-dir", "flag"}, fromEnv, fromFile, "flag"},
		"no flag":        {nil, fromEnv, fromFile, "env"},
		"empty variable": {nil, map[string]string{"MERIDIAN_DATA_DIR": ""}, fromFile, "file"},
		"file alone":     {nil, nil, fromFile, "file"},
		"nothing":        {nil, nil, "", "default"},
		"flag = default": {[]string{"--data-dir", "default"}, fromEnv, fromFile, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := flags(t, c.args...)
			require.NoError(t, config.Load(f, c.file, env(c.env)))
			got, err := f.GetString("data-dir")
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestFileSetsEverySortOfFlag(t *testing.T) {
	t.Parallel()
	f := flags(t)
	require.NoError(t, config.Load(f, file(t, "insecure: true\nfilename: [a, b]\ndata-dir:\n"), env(nil)))
	insecure, _ := f.GetBool("insecure")
	names, _ := f.GetStringArray("filename")
	dir, _ := f.GetString("data-dir")
	assert.True(t, insecure)
	assert.Equal(t, []string{"a", "b"}, names)
	assert.Equal(t, "default", dir, "a key without a value leaves the default")
}

func TestLoadSaysWhereAndWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		want []string
	}{
		"unknown key":          {file: "a: 1\ndata_dir: x\n", want: []string{`:1: unknown key "a"`, `:2: unknown key "data_dir"; did you mean "data-dir"?`}},
		"key twice":            {file: "data-dir: a\ndata-dir: b\n", want: []string{":2: data-dir is given twice"}},
		"bad value in file":    {file: "\ninsecure: perhaps\n", want: []string{":2: ", "perhaps"}},
		"bad value in env":     {env: map[string]string{"MERIDIAN_INSECURE": "perhaps"}, want: []string{"MERIDIAN_INSECURE: ", "perhaps"}},
		"list for one value":   {file: "data-dir: [a]\n", want: []string{"takes one value, not a list"}},
		"mapping for a value":  {file: "data-dir: {a: b}\n", want: []string{"takes a plain value, not a mapping"}},
		"not a mapping":        {file: "- a\n", want: []string{":1: want a mapping"}},
		"config in the file":   {file: "config: other.yaml\n", want: []string{`unknown key "config"`}},
		"broken YAML":          {file: "a: [\n", want: []string{"config.yaml: "}},
		"everything is joined": {file: "x: 1\n", env: map[string]string{"MERIDIAN_INSECURE": "?"}, want: []string{`unknown key "x"`, "MERIDIAN_INSECURE"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := ""
			if c.file != "" {
				path = file(t, c.file)
			}
			err := config.Load(flags(t), path, env(c.env))
			require.Error(t, err)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
		})
	}
}

func TestLoadNamesAFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	err := config.Load(flags(t), filepath.Join(t.TempDir(), "none.yaml"), env(nil))
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "none.yaml")
}

func TestRunMapsErrorsToExitCodes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args   []string
		err    error
		code   int
		stderr string
	}{
		"done":         {nil, nil, 0, ""},
		"failed":       {nil, errors.New("a\nb"), 1, "thing: a; b\n"},
		"usage":        {nil, config.Usage(errors.New("bad")), 2, "thing: bad\n"},
		"a code":       {nil, fmt.Errorf("x: %w", config.Exit(5, errors.New("none"))), 5, "thing: x: none\n"},
		"unknown flag": {[]string{"--data-dri", "x"}, nil, 2, "thing: unknown flag: --data-dri; did you mean --data-dir?\n"},
		"argument":     {[]string{"x"}, nil, 2, "thing: unexpected argument \"x\": thing [flags]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := &cobra.Command{Use: "thing", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return c.err }}
			cmd.Flags().String("data-dir", "", "")
			var out, errOut bytes.Buffer
			assert.Equal(t, c.code, config.Run(context.Background(), cmd, append([]string{}, c.args...), &out, &errOut))
			assert.Equal(t, c.stderr, errOut.String())
		})
	}
}

func TestLoggerRefusesUnknownWords(t *testing.T) {
	t.Parallel()
	_, err := config.Logger(&bytes.Buffer{}, "x", "loud", "text")
	assert.ErrorContains(t, err, `--log-level "loud": want trace, debug, info, warn, error or off`)
	_, err = config.Logger(&bytes.Buffer{}, "x", "info", "xml")
	assert.ErrorContains(t, err, `--log-format "xml": want text or json`)

	var out bytes.Buffer
	log, err := config.Logger(&out, "x", "info", "json")
	require.NoError(t, err)
	log.Debug("not shown")
	log.Info("shown", "rev", 3)
	assert.Contains(t, out.String(), `"rev":3`)
	assert.NotContains(t, out.String(), "not shown")
}

func TestSomeFlagsComeFromAFileThatHasOthers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("data-dir: /from/file\nkds-addr: :1\nhttp-addr: :2\n"), 0o600))
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	dir, addr, other := f.String("data-dir", "default", ""), f.String("http-addr", "default", ""), f.String("kds-addr", "default", "")
	env := func(name string) (string, bool) { return ":3", name == "MERIDIAN_HTTP_ADDR" }
	require.NoError(t, config.LoadSome(f, file, env, "data-dir", "http-addr"))
	assert.Equal(t, []string{"/from/file", ":3", "default"}, []string{*dir, *addr, *other})
	require.ErrorContains(t, config.LoadSome(f, file+"x", env, "data-dir"), "c.yamlx")
}
