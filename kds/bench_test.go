package kds_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/resource"
)

// BenchmarkChange writes one policy on global and waits until every zone has stored it. All of it runs in this process
// and nothing is fsynced, so the time is the work of all zones together. Besides the time it prints, per change, what
// global marshalled and sent.
func BenchmarkChange(b *testing.B) {
	for _, zones := range []int{3, 100} {
		b.Run(fmt.Sprint("zones=", zones), func(b *testing.B) {
			g := startGlobal(b)
			stores := make([]kds.Store, zones)
			for i := range stores {
				stores[i] = g.zone(fmt.Sprint("zone-", i)).store
			}
			key := hashedKey(timeout("p", ""), "")
			write := func(n int) {
				put(b, g.store, timeout("p", fmt.Sprintf(`{"targetRef":{"kind":"Mesh"},"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"%ds"}}]}`, n)))
				want := fmt.Sprintf(`"%ds"`, n)
				for _, st := range stores {
					waitFor(b, st, key, want)
				}
			}
			write(0)
			before := g.server.Stats()
			var took []time.Duration
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				begun := time.Now()
				write(n)
				took = append(took, time.Since(begun))
			}
			after := g.server.Stats()
			per := func(x, y uint64) float64 { return float64(y-x) / float64(n) }
			b.ReportMetric(per(before.Marshals, after.Marshals), "marshals/op")
			b.ReportMetric(per(before.MarshalledBytes, after.MarshalledBytes), "marshalled-B/op")
			b.ReportMetric(per(before.BytesSent, after.BytesSent), "sent-B/op")
			b.ReportMetric(per(before.ResponsesSent, after.ResponsesSent), "responses/op")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// waitFor returns once the resource under key contains want.
func waitFor(t testing.TB, st kds.Store, key resource.Key, want string) {
	for {
		rev := st.Revision()
		if r, err := st.Get(context.Background(), key); err == nil && strings.Contains(string(r.Spec), want) {
			return
		}
		select {
		case <-st.Advanced(rev):
		case <-time.After(10 * time.Second):
			require.FailNow(t, "not applied", "%v: want %s", key, want)
		}
	}
}
