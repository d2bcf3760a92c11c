package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const goodPolicy = `type: MeshTimeout
mesh: default
name: good-%d
spec:
  to:
    - targetRef: {kind: Mesh}
      default: {connectionTimeout: %ds}
`

const badPolicy = `type: MeshTimeout
mesh: default
name: bad
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        http:
          requestTimeuot: 1s
`

// tenDocuments returns a folder with nine good documents and bad.yaml.
func tenDocuments(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 9 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("good-%d.yaml", i)), fmt.Appendf(nil, goodPolicy, i, i+1), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(badPolicy), 0o600))
	return dir
}

func TestApplyOfAFolderWithOneBadDocumentWritesNothing(t *testing.T) {
	t.Parallel()
	global, dir := newGlobal(t), tenDocuments(t)

	code, stdout, stderr := global.cli("apply", "-f", dir)
	assert.Equal(t, 2, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, filepath.Join(dir, "bad.yaml")+":9:", "file and line")
	assert.Contains(t, stderr, "spec.to[0].default.http.requestTimeuot", "field")
	assert.Contains(t, stderr, "requestTimeout", "nearest known field")
	assert.Contains(t, stderr, "nothing was done")
	assert.Empty(t, global.names("/meshes/default/meshtimeouts"))

	code, stdout, stderr = global.cli("apply", "--keep-going", "-f", dir)
	assert.Equal(t, 2, code, "something was not valid")
	assert.Contains(t, stderr, "requestTimeuot")
	assert.Contains(t, stdout, "meshtimeout good-0 created")
	assert.Len(t, global.names("/meshes/default/meshtimeouts"), 9)

	require.NoError(t, os.Remove(filepath.Join(dir, "bad.yaml")))
	code, stdout, stderr = global.cli("apply", "-f", dir)
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "meshtimeout good-0 unchanged")

	code, _, stderr = global.cli("delete", "-f", dir)
	assert.Equal(t, 0, code, stderr)
	assert.Empty(t, global.names("/meshes/default/meshtimeouts"))
}
