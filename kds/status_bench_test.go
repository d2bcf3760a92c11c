package kds

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// knownZones returns a global that knows all there is to know of n zones: every kind has travelled. Of the last tenth,
// MeshTimeout has not arrived since 5,000 changes ago. p is one of those.
func knownZones(b *testing.B, n int) (s *Server, p resource.Resource) {
	const changes = 5000
	st, err := bolt.Open(filepath.Join(b.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.Close()) })
	s = NewServer(ServerConfig{Store: st})
	spec, err := deterministic.Marshal(&systemv1.Zone{})
	require.NoError(b, err)
	var ops []resource.Op
	for i := range n {
		ops = append(ops, resource.Put(resource.Resource{Key: resource.Key{Kind: "Zone", Name: fmt.Sprintf("z%04d", i)}, Spec: spec}))
	}
	before, err := st.Apply(b.Context(), ops...)
	require.NoError(b, err)
	for i := range changes {
		p = resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: fmt.Sprint("p", i)}, Spec: []byte("{}")}
		_, err := st.Apply(b.Context(), resource.Put(p))
		require.NoError(b, err)
	}
	p, err = st.Get(b.Context(), p.Key)
	require.NoError(b, err)
	for i := range n {
		a := s.ledger.account(fmt.Sprintf("z%04d", i))
		a.opened(func(error) {}, &heartbeat{})
		for _, d := range resource.Kinds {
			if d.FromGlobal() {
				rev := st.Revision()
				if d.Kind == p.Kind && i >= n*9/10 {
					rev = before
				}
				a.posting(d.Kind, rev, 1000, true, time.Now())
				a.settled(d.Kind)
			}
			if d.FromZone() {
				a.with(d.Kind, false, func(l *lane) { l.messages++ })
			}
		}
	}
	return s, p
}

// BenchmarkKnowingThousandZones asks a global with 1,000 zones how they are, and what has become of a resource.
func BenchmarkKnowingThousandZones(b *testing.B) {
	s, p := knownZones(b, 1000)
	b.Run("status", func(b *testing.B) {
		for b.Loop() {
			list, err := s.Status(b.Context())
			require.NoError(b, err)
			require.Len(b, list, 1000)
		}
	})
	b.Run("status as JSON", func(b *testing.B) {
		for b.Loop() {
			list, err := s.Status(b.Context())
			require.NoError(b, err)
			data, err := json.Marshal(list)
			require.NoError(b, err)
			b.ReportMetric(float64(len(data))/1e6, "MB")
		}
	})
	b.Run("states as JSON", func(b *testing.B) {
		for b.Loop() {
			list, err := s.States(b.Context())
			require.NoError(b, err)
			data, err := json.Marshal(list)
			require.NoError(b, err)
			b.ReportMetric(float64(len(data))/1e6, "MB")
		}
	})
	b.Run("resource", func(b *testing.B) {
		for b.Loop() {
			list, err := s.SyncOf(b.Context(), p)
			require.NoError(b, err)
			require.Len(b, list, 1000)
		}
	})
	b.Run("heard", func(b *testing.B) {
		for b.Loop() {
			s.Heard("z0999")
		}
	})
}
