package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/docs"
)

// The reference has every command, and in its section every flag.
func TestTheReferenceListsEveryCommandAndFlag(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reference/cli.md")
	require.NoError(t, err)
	sections := map[string]string{} // by heading
	for _, text := range strings.Split(string(page), "\n## ") {
		heading, rest, _ := strings.Cut(text, "\n")
		sections[heading] = rest
	}
	words := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return !(r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9') })
	}
	var commands, flags int
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() == "help" {
				continue
			}
			check(sub)
			path := strings.TrimPrefix(sub.CommandPath(), "meridian ")
			if sub.HasSubCommands() && path != "zones" {
				continue // it only shows its help
			}
			heading, section := path, ""
			for section == "" && heading != "" {
				section = sections[heading]
				heading = heading[:max(strings.LastIndex(heading, " "), 0)]
			}
			if !assert.NotEmpty(t, section, "meridian %s", path) {
				continue
			}
			commands++
			assert.Contains(t, section, "meridian "+path, "its usage")
			known := map[string]bool{}
			for _, word := range words(section) {
				known[word] = true
			}
			sub.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name == "help" {
					return
				}
				flags++
				assert.True(t, known["--"+f.Name] || f.Shorthand != "" && known["-"+f.Shorthand], "meridian %s --%s", path, f.Name)
			})
		}
	}
	check(command())
	assert.Greater(t, commands, 30)
	assert.Greater(t, flags, 60)
	command().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		assert.Contains(t, string(page), "| `--"+f.Name+"`")
	})
}

// Whatever is asked for help says in one line what it does, in the same manner.
func TestEveryCommandSaysWhatItDoesInOneSentence(t *testing.T) {
	t.Parallel()
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			assert.Regexp(t, `^[A-Z].*[^.]$`, sub.Short, sub.CommandPath())
			for line := range strings.Lines(sub.Example) {
				assert.Regexp(t, `^  (meridian|[A-Z_a-z./-]+=|\$|#|make|cat|curl|printf)|^ +`, line, sub.CommandPath())
			}
			sub.LocalFlags().VisitAll(func(f *pflag.Flag) {
				assert.NotEmpty(t, f.Usage, "%s --%s", sub.CommandPath(), f.Name)
				assert.NotRegexp(t, `^[A-Z][a-z]|\.$`, f.Usage, "%s --%s", sub.CommandPath(), f.Name)
			})
			check(sub)
		}
	}
	check(command())
}

func TestCommandsInThePagesAreThere(t *testing.T) {
	t.Parallel()
	docs.Check(t, command(), 100)
}

func TestTheScenarioOfTheGuidePasses(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/guide/simulate.md")
	require.NoError(t, err)
	_, scenario, found := strings.Cut(string(page), "```yaml\n# checkout.scenario.yaml\n")
	require.True(t, found)
	scenario, _, _ = strings.Cut(scenario, "```\n")
	file := filepath.Join(t.TempDir(), "checkout.scenario.yaml")
	require.NoError(t, os.WriteFile(file, []byte(scenario), 0o600))
	code, stdout, stderr := meridian(t, "", "sim", "test", file)
	assert.Equal(t, 0, code, stdout+stderr)
	assert.Contains(t, stdout, "2 of 2 expectations passed")
}
