package storage_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

func TestTrimForgetsOldDeletesAndKeepsRecentOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
		require.NoError(t, err)
		defer st.Close()
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- storage.Trim(ctx, st, 10, hclog.NewNullLogger()) }()

		for i := range 15 { // 30 revisions
			key := resource.Key{Kind: "Mesh", Name: fmt.Sprint("m", i)}
			_, err := st.Apply(ctx, resource.Put(resource.Resource{Key: key, Spec: []byte{}}))
			require.NoError(t, err)
			_, err = st.Apply(ctx, resource.Delete(key))
			require.NoError(t, err)
			synctest.Wait()
		}
		_, _, err = st.Since(ctx, "", 0)
		assert.ErrorIs(t, err, resource.ErrCompacted)
		changes, _, err := st.Since(ctx, "", st.Revision()-10)
		require.NoError(t, err)
		assert.Len(t, changes, 5, "the deletes of the last 10 revisions are all there")

		stop()
		assert.NoError(t, <-ended)
	})
}

func TestTrimEndsWithAStoreThatHasStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- storage.Trim(t.Context(), st, 10, hclog.NewNullLogger()) }()
		synctest.Wait()
		require.NoError(t, st.Close())
		assert.ErrorIs(t, <-ended, resource.ErrClosed)
	})
}
