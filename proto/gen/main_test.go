package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettleNamesAndRepairsWhatIsNotCurrent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	current, stale, orphan, missing := filepath.Join(dir, "a.pb.go"), filepath.Join(dir, "b.pb.go"),
		filepath.Join(dir, "c.pb.go"), filepath.Join(dir, "new", "d.pb.go")
	byHand := filepath.Join(dir, "doc.go")
	for path, content := range map[string]string{current: "a", stale: "old", orphan: "c", byHand: "x"} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	want := map[string][]byte{current: []byte("a"), stale: []byte("b"), missing: []byte("d")}

	err := settle(dir, want, true)
	require.EqualError(t, err, stale+" is not current: run make proto\n"+
		orphan+" comes from no .proto file: run make proto\n"+
		missing+" is not current: run make proto")
	got, err := os.ReadFile(stale)
	require.NoError(t, err)
	require.Equal(t, "old", string(got), "a check must change nothing")

	require.NoError(t, settle(dir, want, false))
	require.NoError(t, settle(dir, want, true))
	for path, content := range want {
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, content, got, path)
	}
	assert.NoFileExists(t, orphan)
	assert.FileExists(t, byHand)
}
