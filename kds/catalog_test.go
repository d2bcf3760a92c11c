package kds

import (
	"context"
	"iter"
	"path/filepath"
	"runtime"
	"sync"
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

// failingStore is a store that cannot list.
type failingStore struct {
	*bolt.Store
	err error // nil: it can
}

func (s *failingStore) View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.View(ctx, kind, fn)
}

// openCatalog returns a catalog over a new store that has one MeshTimeout, a.
func openCatalog(t *testing.T) (*catalog, *failingStore) {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	_, err = st.Apply(t.Context(), resource.Put(timeoutA))
	require.NoError(t, err)
	failing := &failingStore{Store: st}
	c := newCatalog(failing, newCache("", &counters{}), toZone)
	_, err = c.view(t.Context())
	require.NoError(t, err)
	return c, failing
}

var timeoutA = resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "a"}, Spec: []byte("{}")}

// A session goes on with what it has seen of the catalog while another one, whose end it is, brings it up to date in vain.
func TestACatalogThatCannotBeBuiltAnewKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	c, st := openCatalog(t)
	other := resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "b"}
	_, err := st.Apply(t.Context(), resource.Put(resource.Resource{Key: other, Spec: []byte("{}")}))
	require.NoError(t, err)
	_, err = st.Apply(t.Context(), resource.Delete(other))
	require.NoError(t, err)
	require.NoError(t, st.Compact(t.Context(), st.Revision()))
	st.err = context.Canceled
	_, err = c.view(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []resource.Key{timeoutA.Key}, c.all("MeshTimeout"))
	st.err = nil
	v, err := c.view(t.Context())
	require.NoError(t, err)
	assert.Equal(t, st.Revision(), v.rev)
	assert.Equal(t, []resource.Key{timeoutA.Key}, c.all("MeshTimeout"))
}

func TestACatalogIsLeftWhileItsStoreFails(t *testing.T) {
	t.Parallel()
	c, st := openCatalog(t)
	c.join()()
	require.NoError(t, st.Close())
	c.watch(t.Context(), c.stopped) // which ended between two steps of leaving
	second := c.join()
	c.watch(t.Context(), make(chan struct{})) // nor does it end the one that follows
	second()
}

func TestAReadThatFailsIsNobodyElsesFailure(t *testing.T) {
	t.Parallel()
	c := newCache("", &counters{})
	for n := range 20 {
		version := resource.Revision(n + 1)
		var sessions sync.WaitGroup
		reading := make(chan struct{})
		sessions.Go(func() {
			_, err := c.load(timeoutA.Key, version, toZone, func() (resource.Resource, error) {
				close(reading)
				for range 1000 { // the others wait for it meanwhile
					runtime.Gosched()
				}
				return resource.Resource{}, context.Canceled
			})
			assert.ErrorIs(t, err, context.Canceled)
		})
		<-reading
		for range 4 {
			sessions.Go(func() {
				e, err := c.load(timeoutA.Key, version, toZone, func() (resource.Resource, error) { return timeoutA, nil })
				if assert.NoError(t, err) {
					assert.NotEmpty(t, e.name)
				}
			})
		}
		sessions.Wait()
	}
}
