package federation

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var promise = regexp.MustCompile("(?m)^\\| [^|]+ \\| [^|]+ \\| `([a-z0-9/]+)` (Test[A-Za-z]+) \\|$")

// The table of failures names a test in every row, and the tests are there.
func TestEveryPromiseNamesATestThatExists(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/failures.md")
	require.NoError(t, err)
	rows := promise.FindAllStringSubmatch(string(text), -1)
	assert.Equal(t, strings.Count(string(text), "\n| ")-1, len(rows), "a row is not of the form fault, promise, `folder` test")
	require.Greater(t, len(rows), 30)
	sources := map[string]string{}
	for _, row := range rows {
		folder, name := row[1], row[2]
		if sources[folder] == "" {
			files, err := filepath.Glob(filepath.Join("../..", folder, "*_test.go"))
			require.NoError(t, err)
			require.NotEmpty(t, files, folder)
			for _, file := range files {
				source, err := os.ReadFile(file)
				require.NoError(t, err)
				sources[folder] += string(source)
			}
		}
		assert.Contains(t, sources[folder], "\nfunc "+name+"(t *testing.T)", "%s", folder)
	}
}
