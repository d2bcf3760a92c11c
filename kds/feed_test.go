package kds

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// What a response says may still arrive when the stream that it is for is ending: a list that leaves something out deletes it.
func TestAStreamThatIsEndingLeavesNothingOutOfAList(t *testing.T) {
	t.Parallel()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	defer st.Close()
	var stats counters
	s := &sender{
		store: st, stats: &stats, catalog: newCatalog(st, newCache("east", &stats), toGlobal), account: newLedger(0, nil).account(""),
		to: audience{from: scope.Peer{Zone: "east"}, variant: toGlobal},
	}
	key := resource.Key{Kind: "Dataplane", Mesh: "default", Name: "a"}
	put := func() {
		t.Helper()
		_, err := st.Apply(t.Context(), resource.Put(resource.Resource{Key: key, Spec: []byte{}}))
		require.NoError(t, err)
	}
	put()
	_, err = s.catalog.view(t.Context())
	require.NoError(t, err)
	put()
	v, err := s.catalog.view(t.Context()) // what is news is encoded at once
	require.NoError(t, err)

	ending, end := context.WithCancel(t.Context())
	end()
	f, out, kept := &feed{kind: key.Kind, list: &complete{}, base: v.rev}, &batch{most: 1 << 20}, []byte(nil)
	require.NoError(t, s.consider(ending, f, key, out, &kept))
	assert.Len(t, out.names, 1)
}
