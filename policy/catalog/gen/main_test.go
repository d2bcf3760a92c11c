package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheGeneratedFilesAreCurrent(t *testing.T) {
	t.Parallel()
	require.NoError(t, run("../../..", true))
}

func TestCheckNamesWhatIsStaleAndWriteMendsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, pkg := range packages {
		require.NoError(t, os.CopyFS(filepath.Join(dir, pkg), os.DirFS(filepath.Join("../../..", pkg))))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, schemaDir), 0o755))
	extra := filepath.Join(dir, schemaDir, "Gone.json")
	require.NoError(t, os.WriteFile(extra, nil, 0o600))
	require.NoError(t, os.Remove(filepath.Join(dir, sourceFile)))

	err := run(dir, true)
	require.Error(t, err)
	for _, name := range []string{sourceFile, schemaDir + "/Gone.json", schemaDir + "/Mesh.json", pageDir + "/meshtimeout.md"} {
		assert.Contains(t, err.Error(), name+" is not current: run make docs")
	}
	require.NoError(t, run(dir, false))
	assert.NoFileExists(t, extra)
	require.NoError(t, run(dir, true))
}

func TestAFolderWithoutSourcesIsAnError(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.TempDir(), true), "run from the root")
}
