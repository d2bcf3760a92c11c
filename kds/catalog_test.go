package kds

import (
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

func TestSessionsWakeForWhatConcernsThem(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(path, bolt.Options{NoSync: true})
		require.NoError(t, err)
		defer st.Close()
		c := newCatalog(st, newCache("", &counters{}), toZone)
		first, second := c.join(), c.join()
		put := func(kind, mesh string) {
			t.Helper()
			_, err := st.Apply(t.Context(), resource.Put(resource.Resource{Key: resource.Key{Kind: kind, Mesh: mesh, Name: "a"}, Spec: []byte{}}))
			require.NoError(t, err)
		}
		wakes := func(do func()) bool {
			t.Helper()
			synctest.Wait()
			v, err := c.view(t.Context())
			require.NoError(t, err)
			more := c.advanced(v)
			do()
			synctest.Wait()
			select {
			case <-more:
				return true
			default:
				return false
			}
		}
		assert.False(t, wakes(func() { put("ZoneInsight", "") }), "it stays here")
		assert.True(t, wakes(func() { put("MeshTimeout", "default") }))
		assert.False(t, wakes(func() { put("Zone", "") }), "nothing comes from it")
		assert.True(t, wakes(func() {
			_, err := st.Apply(t.Context(), resource.Put(resource.Resource{
				Key:    resource.Key{Kind: "MeshService", Mesh: "default", Name: "of-a"},
				Labels: map[string]string{resource.LabelOrigin: "zone", resource.LabelZone: "a"}, Spec: []byte(`{}`),
			}))
			require.NoError(t, err)
		}))
		assert.True(t, wakes(func() { put("Zone", "") }), "scopes depend on it")
		assert.True(t, wakes(func() {
			_, err := st.Apply(t.Context(), resource.Delete(resource.Key{Kind: "Zone", Name: "a"}))
			require.NoError(t, err)
		}), "its sessions are over")
		second()
		assert.True(t, wakes(func() { put("MeshTimeout", "default") }), "one is left")
		first()
		assert.True(t, wakes(func() { put("ZoneInsight", "") }), "without a follower it is the store that wakes")

		defer c.join()()
		assert.False(t, wakes(func() { put("ZoneInsight", "") }))
		assert.True(t, wakes(func() {
			for range quiet {
				put("ZoneInsight", "")
			}
		}), "now and then they look all the same")
		assert.True(t, wakes(func() { st.Close() }), "everybody finds out that the store is gone")
	})
}
