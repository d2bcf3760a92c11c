// Package docs is for the tests of the programs: it holds the pages for users to what the programs know.
//
//	docs.Check(t, command(), 100) // at least so many commands of this program are found and checked
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// top is the folder of the README, seen from the folder of a program.
const top = "../.."

var (
	span = regexp.MustCompile("`([^`\n]+)`")
	// end is where the command ends that a line begins with: what follows is another one, a file or a comment.
	end = regexp.MustCompile(`\s*(\||&&|&|;|>|<|#|\)|…| {2,}|$)`)
	// optional are the marks of usage lines.
	optional = strings.NewReplacer("[", " ", "]", " ", "...", "")
)

// Check holds that every command line of root's program in the pages is one: such a command, with such flags. It fails if it
// found fewer than least, and must be called in the folder of a program.
func Check(t *testing.T, root *cobra.Command, least int) {
	t.Helper()
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, line := range lines(string(text), root.Name()) {
			found++
			check(t, root, page, line)
		}
	}
	t.Log(found, "commands")
	assert.GreaterOrEqual(t, found, least, "commands of %s in the pages", root.Name())
}

// Flags holds that the reference of the configuration has every flag of root, in the section of its program or in that of both. It must be called
// in the folder of a program.
func Flags(t *testing.T, root *cobra.Command) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(top, "docs/reference/configuration.md"))
	require.NoError(t, err)
	_, own, _ := strings.Cut(string(page), "\n## "+root.Name()+"\n")
	own, _, _ = strings.Cut(own, "\n## ")
	_, both, _ := strings.Cut(string(page), "\n## Both\n")
	root.Flags().VisitAll(func(f *pflag.Flag) {
		assert.Regexp(t, "`--"+f.Name+"[` ]", own+both)
	})
}

func pages(t *testing.T) []string {
	list := []string{filepath.Join(top, "README.md")}
	require.NoError(t, filepath.WalkDir(filepath.Join(top, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") && !strings.Contains(path, "/adr/") {
			list = append(list, path)
		}
		return err
	}))
	return list
}

// lines returns what of a page are command lines of a program, without what is around them.
func lines(text, program string) []string {
	var all []string
	add := func(code string) {
		for code != "" {
			code = strings.TrimLeft(code, " $(-")
			if line, is := strings.CutPrefix(code, program+" "); is && !strings.HasPrefix(line, "ready ") { // that is what it prints
				// A mark of usage lines is no pipe: [A | B].
				all = append(all, line[:end.FindStringIndex(strings.ReplaceAll(line, " | ", " / "))[0]])
			}
			// Behind a pipe, or in $(…), there may be more.
			next := strings.IndexAny(code, "|(&;")
			if next < 0 {
				return
			}
			code = code[next+1:]
		}
	}
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced || strings.HasPrefix(line, "    "):
			add(strings.TrimLeft(line, " "))
		default:
			for _, code := range span.FindAllStringSubmatch(line, -1) {
				add(code[1])
			}
		}
	}
	return all
}

func check(t *testing.T, root *cobra.Command, page, line string) {
	args := slices.DeleteFunc(strings.Fields(optional.Replace(line)), func(word string) bool { return strings.Trim(word, "/|.,:") == "" })
	cmd, rest, err := root.Find(args)
	if !assert.NoError(t, err, "%s: %s %s", page, root.Name(), line) {
		return
	}
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.InheritedFlags() // adds those of the commands above
	for _, word := range args {
		if word == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		var known *pflag.Flag
		switch {
		case strings.HasPrefix(word, "--"):
			known = cmd.Flags().Lookup(name)
		case strings.HasPrefix(word, "-") && len(word) == 2:
			known = cmd.Flags().ShorthandLookup(name)
		default:
			continue
		}
		assert.NotNil(t, known, "%s: %s %s: no flag %s", page, root.Name(), line, word)
	}
	if first := slices.IndexFunc(rest, func(word string) bool { return !strings.HasPrefix(word, "-") }); cmd.HasSubCommands() && first == 0 {
		assert.Regexp(t, `[A-Z./]`, rest[0], "%s: %s %s: no such command", page, root.Name(), line)
	}
}
