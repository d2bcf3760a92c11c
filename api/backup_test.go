package api_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

func TestAnAdministratorGetsABackup(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, func(c *api.Config) {
		st := c.Store.(*bolt.Store)
		c.Backup = func(ctx context.Context) (api.Snapshot, error) { return st.Snapshot(ctx) }
	})
	p.must(http.StatusCreated, "PUT", timeouts+"/a", timeout("a", "1s"))
	a := p.must(http.StatusForbidden, "GET", "/_backup", nil)
	assert.Contains(t, a.doc["detail"], "cannot back up the store: it takes an administrator")
	a = p.local().must(http.StatusOK, "GET", "/_backup", nil)
	assert.Equal(t, fmt.Sprint(a.Body.Len()), a.Header().Get("Content-Length"))
	assert.Equal(t, fmt.Sprint(p.store.Revision()), a.Header().Get("Meridian-Revision"))
	assert.Equal(t, "store.db", filepath.Base(a.Header().Get("Meridian-Store")))
	report, err := bolt.Receive(bytes.NewReader(a.Body.Bytes()), filepath.Join(t.TempDir(), "saved"))
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"Mesh": 1, "MeshTimeout": 1}, report.Resources)
}
