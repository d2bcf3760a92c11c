package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/lint"
)

var update = flag.Bool("update", false, "rewrite docs/lint/README.md")

// root is where the pages of rules are named from.
const root = "../../"

// planesOf sorts files into planes by their names: global/…, zones/NAME/…, and anything else is global's.
func planesOf(files map[string]string, o lint.Options) []lint.Plane {
	planes := []lint.Plane{{}}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		zone := ""
		if rest, ok := strings.CutPrefix(name, "zones/"); ok {
			zone, _, _ = strings.Cut(rest, "/")
		}
		i := slices.IndexFunc(planes, func(p lint.Plane) bool { return p.Zone == zone })
		if i < 0 {
			i = len(planes)
			planes = append(planes, lint.Plane{Zone: zone})
		}
		planes[i].Files = append(planes[i].Files, lint.Parse(name, []byte(files[name]), o))
	}
	return planes
}

// codes returns the codes of findings, each once, and everything they say.
func codes(findings []lint.Finding) (all []lint.Code, text string) {
	for _, f := range findings {
		all = append(all, f.Code)
		text += fmt.Sprintf("%s:%d:%d: %s %s: %s: %s\n", f.File, f.Line, f.Column, f.Code, f.Subject, f.Field, f.Message)
	}
	slices.Sort(all)
	return slices.Compact(all), text
}

var block = regexp.MustCompile("(?ms)^```yaml\n# (\\S+)([^\n]*)\n(.*?)^```$")

// example is the files of one section of a page, and how they are linted.
func example(t *testing.T, section string) (files map[string]string, o lint.Options) {
	t.Helper()
	files = map[string]string{}
	for _, m := range block.FindAllStringSubmatch(section, -1) {
		files[m[1]] = m[3]
		if limit, ok := strings.CutPrefix(m[2], " --max-document-bytes "); ok {
			var err error
			o.MaxBytes, err = strconv.Atoi(limit)
			require.NoError(t, err)
		}
	}
	return files, o
}

func TestEachCodeHasAPageWhoseExampleHasItAndIsMendedAsThePageSays(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, lint.Rules)
	for _, r := range lint.Rules {
		t.Run(string(r.Code), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(root + r.Page())
			require.NoError(t, err)
			page := string(data)
			assert.True(t, strings.HasPrefix(page, fmt.Sprintf("# %s: %s\n\n%s. Severity: %s.\n", r.Code, r.Name, r.Title, r.Severity)), "the page begins as the table of rules says")
			_, rest, ok := strings.Cut(page, "## Example\n")
			require.True(t, ok)
			shown, mended, ok := strings.Cut(rest, "## Mend\n")
			require.True(t, ok)

			files, o := example(t, shown)
			require.NotEmpty(t, files)
			found, text := codes(lint.Run(planesOf(files, o)))
			assert.Equal(t, []lint.Code{r.Code}, found, text)

			changed, o := example(t, mended)
			require.NotEmpty(t, changed)
			for name, content := range changed {
				files[name] = content
			}
			_, text = codes(lint.Run(planesOf(files, o)))
			assert.Empty(t, text)
		})
	}
	pages, err := filepath.Glob(root + "docs/lint/MZ*.md")
	require.NoError(t, err)
	assert.Len(t, pages, len(lint.Rules), "no page is about a code that there is not")
}

func TestTheIndexListsEveryCode(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, r := range lint.Rules {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s | %s |\n", r.Code, r.Code, r.Name, r.Severity, r.Title)
	}
	file := root + "docs/lint/README.md"
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	const head = "|---|---|---|---|\n"
	before, rest, ok := strings.Cut(string(data), head)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "\n\n")
	require.True(t, ok)
	want := before + head + b.String() + "\n" + after
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(want), 0o644))
	}
	assert.Equal(t, want, string(data), "go test ./sim/lint -run Index -update rewrites it")
}

func TestEveryWarningOfTheAPIHasACode(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, resource.WarningCodes)
	for _, w := range resource.WarningCodes {
		assert.True(t, slices.ContainsFunc(lint.Rules, func(r lint.Rule) bool { return r.Name == string(w) }), "%s has no rule", w)
	}
}

func TestCodesAreUniqueAscendingAndNamed(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for i, r := range lint.Rules {
		assert.Regexp(t, `^MZ\d{4}$`, r.Code)
		assert.False(t, names[r.Name], r.Name)
		names[r.Name] = true
		assert.NotEmpty(t, r.Mend)
		if i > 0 {
			assert.Less(t, lint.Rules[i-1].Code, r.Code)
		}
	}
}
