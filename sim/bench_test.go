package sim_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

// inventory is a scenario of zones with proxies and policies: in every zone 25 services, and a policy of each kind that there is: a
// producer's for a service, a consumer's, and global defaults.
func inventory(zones, proxies, policies int) string {
	var b strings.Builder
	b.WriteString("zones:\n")
	const services = 25
	for z := range zones {
		fmt.Fprintf(&b, "  z%d:\n    services:\n", z)
		for s := range services {
			fmt.Fprintf(&b, "      s%d: {namespace: ns%d, count: %d}\n", s, s%10, proxies/services/2)
		}
		fmt.Fprintf(&b, "    proxies:\n")
		for s := range services {
			fmt.Fprintf(&b, "      c%d: {namespace: ns%d, count: %d}\n", s, s%10, proxies/services-proxies/services/2)
		}
	}
	b.WriteString("policies:\n")
	for p := range policies {
		z, s := p%zones, p%services
		value := fmt.Sprintf("{http: {requestTimeout: %ds}}", 1+p%50)
		switch p % 5 {
		case 0:
			fmt.Fprintf(&b, "  global/g%d: {kind: MeshTimeout, to: [{Mesh: , default: %s}]}\n", p, value)
		case 1, 2:
			fmt.Fprintf(&b, "  z%d/ns%d/p%d: {kind: MeshTimeout, to: [{MeshService: s%d, default: %s}]}\n", z, s%10, p, s, value)
		default:
			fmt.Fprintf(&b, "  z%d/ns%d/p%d: {kind: MeshTimeout, to: [{MeshService: {labels: {k8s.kuma.io/service-name: s%d}}, default: %s}]}\n", z, s%10, p, s, value)
		}
	}
	return b.String()
}

func mustRun(b *testing.B, s *sim.Scenario) *sim.Result {
	result, err := sim.Run(context.Background(), s, sim.Options{})
	require.NoError(b, err)
	require.Equal(b, sim.Passed, result.Status, "%+v", result)
	return result
}

func mustParse(b *testing.B, text string) *sim.Scenario {
	s, err := sim.Parse("bench.scenario.yaml", ".", []byte(text))
	require.NoError(b, err)
	return s
}

// BenchmarkGuide is the guide, read and run, in a process that is up.
func BenchmarkGuide(b *testing.B) {
	for b.Loop() {
		scenarios, err := sim.Load("../examples/guide.scenario.yaml")
		require.NoError(b, err)
		mustRun(b, scenarios[0])
	}
}

// BenchmarkSmallScenarios is 500 scenarios of two zones, in parallel.
func BenchmarkSmallScenarios(b *testing.B) {
	s := mustParse(b, shop)
	for b.Loop() {
		work := make(chan struct{})
		done := make(chan struct{})
		for range runtime.GOMAXPROCS(0) {
			go func() {
				for range work {
					mustRun(b, s)
				}
				done <- struct{}{}
			}()
		}
		for range 500 {
			work <- struct{}{}
		}
		close(work)
		for range runtime.GOMAXPROCS(0) {
			<-done
		}
	}
}

// BenchmarkZones is a thousand zones and one producer policy: who gets it?
func BenchmarkZones(b *testing.B) {
	var text strings.Builder
	text.WriteString("policies:\n  z0/shop/p: {kind: MeshTimeout, to: [{MeshService: s, default: {idleTimeout: 1s}}]}\nzones:\n  z0: {services: {s: {namespace: shop}}}\n")
	for z := range 999 {
		fmt.Fprintf(&text, "  z%d: {}\n", z+1)
	}
	for b.Loop() {
		s := mustParse(b, text.String())
		s.Invariants = nil
		rows, err := mustRun(b, s).Sync("z0/shop/p")
		require.NoError(b, err)
		for _, row := range rows {
			require.True(b, row.Has, row.Plane)
		}
	}
}

// BenchmarkEffective is every value that is in force on 20 zones of 500 proxies, with 500 policies.
func BenchmarkEffective(b *testing.B) {
	text := inventory(20, 500, 500)
	for b.Loop() {
		s := mustParse(b, text)
		s.Invariants = nil
		answers, err := mustRun(b, s).Effective(context.Background(), sim.Query{})
		require.NoError(b, err)
		require.Len(b, answers, 20*500)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
	}
}

// BenchmarkPlan is one changed policy on that inventory.
func BenchmarkPlan(b *testing.B) {
	text := inventory(20, 500, 500)
	base, head := mustParse(b, text), mustParse(b, strings.Replace(text, "requestTimeout: 2s", "requestTimeout: 200s", 1))
	for b.Loop() {
		plan, err := sim.Plan(context.Background(), base, head, sim.Options{})
		require.NoError(b, err)
		require.Len(b, plan.Documents, 1)
	}
}
