package contexts_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/contexts"
)

func put(t *testing.T, file, name string, c contexts.Context) {
	t.Helper()
	require.NoError(t, contexts.Change(file, func(l *contexts.List) error { return l.Put(name, c) }))
}

func TestAContextIsFoundByItsNameOrTheLastPartOfIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "contexts.yaml")
	for _, name := range []string{"prod", "shop/global", "shop/east", "demo/global", "demo/west"} {
		put(t, file, name, contexts.Context{Address: "http://" + name})
	}
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "tokens are in it")
	l, err := contexts.Read(file)
	require.NoError(t, err)
	find := func(word string) string {
		name, c, err := l.Find(word)
		if err != nil {
			return err.Error()
		}
		assert.Equal(t, "http://"+name, c.Address)
		return name
	}
	assert.Equal(t, "prod", find("prod"))
	assert.Equal(t, "shop/east", find("east"))
	assert.Equal(t, `"global" may be one of the contexts demo/global, shop/global`, find("global"))
	l.Current = "shop/east"
	assert.Equal(t, "shop/global", find("global"), "of the same federation")
	assert.Equal(t, "demo/west", find("west"))
	assert.Equal(t, `there is no context "wets"; did you mean west?`, find("wets"))
	require.Error(t, l.Put("two words", contexts.Context{}))
	require.NoError(t, l.Remove("shop/east"))
	assert.Empty(t, l.Current)
	require.Error(t, l.Remove("east"), "what is removed is named in full")
}

func TestChangesWaitForOneAnother(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "contexts.yaml")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			assert.NoError(t, contexts.Change(file, func(l *contexts.List) error { return l.Put(fmt.Sprint("c", i), contexts.Context{Address: "a"}) }))
		})
	}
	all.Wait()
	l, err := contexts.Read(file)
	require.NoError(t, err)
	assert.Len(t, l.Contexts, 20)
}

func TestTheContextsOfAProcessGoWithIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "contexts.yaml")
	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	put(t, file, "gone/global", contexts.Context{Address: "a", Process: ended.Process.Pid})
	put(t, file, "here/global", contexts.Context{Address: "b", Process: os.Getpid()})
	require.NoError(t, contexts.Change(file, func(l *contexts.List) error {
		l.Current = "here/global"
		return nil
	}))
	l, err := contexts.Read(file)
	require.NoError(t, err)
	assert.Equal(t, []string{"here/global"}, l.Names())
	assert.Equal(t, "here/global", l.Current)
}

func TestAFileThatIsNoneIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "contexts.yaml")
	require.NoError(t, os.WriteFile(file, []byte("contexts: {a: {adress: x}}\n"), 0o600))
	_, err := contexts.Read(file)
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "adress")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	l, err := contexts.Read(file)
	require.NoError(t, err)
	assert.Empty(t, l.Contexts)
}
