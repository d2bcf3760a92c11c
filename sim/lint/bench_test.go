package lint_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-mesh/meridian/sim/lint"
)

// federationFiles is a federation of zones with n documents in all: in each namespace of ten proxies a service for each,
// and as many policies as both, of producers, consumers and workload owners; with 20 policies on global.
func federationFiles(n, zones int) map[string]string {
	files := map[string]string{"global/mesh.yaml": withMTLS + permitAll}
	var b strings.Builder
	for i := range 20 {
		b.WriteString(timeout("", fmt.Sprintf("global-%d", i), fmt.Sprintf("targetRef: {kind: Dataplane, labels: {k8s.kuma.io/namespace: ns-%d}}, ", i)+to(mesh, "1m")))
	}
	files["global/timeouts.yaml"] = b.String()
	const perNamespace = 40
	for i := range n / perNamespace {
		zone, ns := i%zones, fmt.Sprintf("ns-%d", i/zones)
		b.Reset()
		for j := range 10 {
			name := fmt.Sprintf("app-%d", j)
			b.WriteString(dataplane(ns, name) + service(ns, name))
			b.WriteString(timeout(ns, fmt.Sprintf("producer-%d", j), to("kind: MeshService, name: "+name, "1m")))
			b.WriteString(timeout(ns, fmt.Sprintf("consumer-%d", j), to(fmt.Sprintf("kind: MeshService, labels: {kuma.io/display-name: app-%d, k8s.kuma.io/namespace: ns-%d}", j, i/zones+1), "2m")))
		}
		files[fmt.Sprintf("zones/zone-%d/%s.yaml", zone, ns)] = b.String()
	}
	return files
}

// BenchmarkLint reads and lints federations: go test ./sim/lint -run NONE -bench Lint -benchtime 1x
func BenchmarkLint(b *testing.B) {
	for _, c := range []struct{ documents, zones int }{{1000, 1}, {10_000, 5}, {10_000, 1}} {
		b.Run(fmt.Sprintf("documents=%d/zones=%d", c.documents, c.zones), func(b *testing.B) {
			files := federationFiles(c.documents, c.zones)
			found := 0
			b.ReportAllocs()
			for b.Loop() {
				found = len(lint.Run(planesOf(files, lint.Options{})))
			}
			b.ReportMetric(float64(found), "findings")
		})
	}
}
