package federation

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the runbook calls a log message is one: constants in code, in the tables of messages and after the word log.
func TestTheRunbookNamesMessagesThatAreLogged(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/runbook.md")
	require.NoError(t, err)
	named := map[string]bool{}
	_, others, found := strings.Cut(string(page), "## Other messages")
	require.True(t, found)
	others, _, _ = strings.Cut(others, "\n## ")
	for _, part := range []struct{ text, pattern string }{
		{string(page), "[Ll]og:? `([a-z][^`]+)`"},
		{others, "(?m)`([a-z][^`]+ [^`]+)`"},
	} {
		for _, m := range regexp.MustCompile(part.pattern).FindAllStringSubmatch(part.text, -1) {
			named[m[1]] = true
		}
	}
	require.Greater(t, len(named), 8)
	var code strings.Builder
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			var data []byte
			data, err = os.ReadFile(path)
			code.Write(data)
		}
		return err
	})
	require.NoError(t, err)
	for message := range named {
		assert.Contains(t, code.String(), `"`+message+`"`, "docs/runbook.md")
	}
}
