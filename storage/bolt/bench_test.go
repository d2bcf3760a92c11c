package bolt_test

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// The figures of these benchmarks are those of the disk under TMPDIR; with tmpfs there they say nothing about fsync.

// policy returns a resource of the size of an ordinary policy.
func policy(i, round int) resource.Resource {
	name := fmt.Sprintf("timeout-%06d", i)
	return resource.Resource{
		Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name + ".kuma-demo"},
		Labels: map[string]string{
			resource.LabelDisplayName: name, resource.LabelNamespace: "kuma-demo", resource.LabelMesh: "default",
			resource.LabelOrigin: resource.OriginZone, resource.LabelZone: "east", resource.LabelRole: resource.RoleProducer,
		},
		Spec: fmt.Appendf(nil, `{"targetRef":{"kind":"Dataplane","labels":{"app":"demo-%d"}},"to":[{"targetRef":{"kind":"MeshService","name":"demo-app"},"default":{"http":{"requestTimeout":"%ds"},"connectionTimeout":"10s","idleTimeout":"1h0m0s"}}]}`, i, round),
	}
}

// filled returns an open store of n policies, and its path.
func filled(b *testing.B, n int, o bolt.Options) (*bolt.Store, string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "store.db")
	st, err := bolt.Open(path, o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, st.Close()) })
	for i := 0; i < n; i += 1000 {
		var ops []resource.Op
		for j := i; j < min(i+1000, n); j++ {
			ops = append(ops, resource.Put(policy(j, 0)))
		}
		_, err := st.Apply(b.Context(), ops...)
		require.NoError(b, err)
	}
	return st, path
}

func reportLatencies(b *testing.B, latencies []time.Duration) {
	slices.Sort(latencies)
	at := func(share float64) float64 {
		return float64(latencies[int(share*float64(len(latencies)-1))].Microseconds())
	}
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}

// BenchmarkCommit replaces policies of 10,000, one in each commit. The first case is the yardstick: the plain writes and
// syncs of one bbolt transaction.
func BenchmarkCommit(b *testing.B) {
	b.Run("two fdatasyncs", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
		require.NoError(b, err)
		defer f.Close()
		require.NoError(b, f.Truncate(1<<20))
		require.NoError(b, f.Sync())
		page := make([]byte, 4096)
		var latencies []time.Duration
		for i := 0; b.Loop(); i++ {
			page[0]++
			start := time.Now()
			for j := range 7 { // about what a commit writes
				_, err := f.WriteAt(page, int64((i*13+j*31)%256)*4096)
				require.NoError(b, err)
			}
			require.NoError(b, syscall.Fdatasync(int(f.Fd())))
			_, err := f.WriteAt(page, int64(i%2)*4096)
			require.NoError(b, err)
			require.NoError(b, syscall.Fdatasync(int(f.Fd())))
			latencies = append(latencies, time.Since(start))
		}
		reportLatencies(b, latencies)
	})
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			st, _ := filled(b, 10_000, bolt.Options{})
			b.ReportAllocs()
			transactions := 0
			st.SetCommit(func(tx *bbolt.Tx) error {
				transactions++
				return tx.Commit()
			})
			var mu sync.Mutex
			var latencies []time.Duration
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					var own []time.Duration
					for i := w; left.Add(-1) >= 0; i += writers {
						r := policy(i*7919%10_000, i)
						start := time.Now()
						if _, err := st.Apply(b.Context(), resource.Put(r)); err != nil {
							b.Error(err)
							return
						}
						own = append(own, time.Since(start))
					}
					mu.Lock()
					defer mu.Unlock()
					latencies = append(latencies, own...)
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			b.ReportMetric(float64(b.N)/float64(transactions), "commits/transaction")
			reportLatencies(b, latencies)
		})
	}
}

// BenchmarkSince reads the 10 latest changes of 10,000 policies.
func BenchmarkSince(b *testing.B) {
	st, _ := filled(b, 10_000, bolt.Options{NoSync: true})
	rev := st.Revision()
	for i := range 10 {
		_, err := st.Apply(b.Context(), resource.Put(policy(i*777, 1)))
		require.NoError(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		changes, _, err := st.Since(b.Context(), "MeshTimeout", rev)
		if err != nil || len(changes) != 10 {
			b.Fatal(len(changes), err)
		}
	}
}

// BenchmarkView reads 10,000 policies.
func BenchmarkView(b *testing.B) {
	st, _ := filled(b, 10_000, bolt.Options{NoSync: true})
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		err := st.View(b.Context(), "MeshTimeout", func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
			for _, err := range seq {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkGet reads one of 10,000 policies.
func BenchmarkGet(b *testing.B) {
	st, _ := filled(b, 10_000, bolt.Options{NoSync: true})
	var keys []resource.Key
	for i := range 10_000 {
		keys = append(keys, policy(i*7919%10_000, 0).Key)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := st.Get(b.Context(), keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens, and so checks, a store of 100,000 policies.
func BenchmarkOpen(b *testing.B) {
	st, path := filled(b, 100_000, bolt.Options{NoSync: true})
	require.NoError(b, st.Close())
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		st, err := bolt.Open(path, bolt.Options{NoSync: true})
		if err != nil {
			b.Fatal(err)
		}
		require.NoError(b, st.Close())
	}
}

// BenchmarkCompact forgets 1,000 of 10,000 policies.
func BenchmarkCompact(b *testing.B) {
	var ops []resource.Op
	for i := range 1000 {
		ops = append(ops, resource.Delete(policy(i*10, 0).Key))
	}
	st, _ := filled(b, 10_000, bolt.Options{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range ops {
			_, _ = st.Apply(b.Context(), resource.Put(policy(i*10, 0)).If(0))
		}
		_, err := st.Apply(b.Context(), ops...)
		require.NoError(b, err)
		b.StartTimer()
		require.NoError(b, st.Compact(b.Context(), st.Revision()))
	}
}
