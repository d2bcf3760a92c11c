package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkSimRunGuide is a whole process: from the command to its exit.
func BenchmarkSimRunGuide(b *testing.B) {
	for b.Loop() {
		code, _, stderr := meridian(b, nil, "sim", "run", filepath.Join(examples, "guide.scenario.yaml"))
		require.Equal(b, 0, code, stderr)
	}
}

// BenchmarkSimTestFiveHundred is one process over 500 files, each with two zones, three proxies and three policies.
func BenchmarkSimTestFiveHundred(b *testing.B) {
	const files = 500
	dir := b.TempDir()
	for i := range files {
		text := fmt.Sprintf(`scenario: number %d
zones:
  east: {services: {kv: {namespace: shop}}, proxies: {web: {namespace: shop}}}
  west: {proxies: {batch: {namespace: jobs}}}
policies:
  global/all: {kind: MeshTimeout, to: [{Mesh: {}, default: {http: {requestTimeout: %ds}}}]}
  east/shop/kv: {kind: MeshTimeout, to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]}
  west/jobs/patient: {kind: MeshTimeout, to: [{MeshService: {labels: {kuma.io/display-name: kv}}, default: {http: {requestTimeout: 3s}}}]}
expect:
  - role: {east/shop/kv: producer, west/jobs/patient: consumer}
  - effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 3s}}
  - effective: {proxy: west/jobs/batch, type: MeshTimeout, to: mesh, set: {http.requestTimeout: %ds}}
`, i, i+2, i+2)
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.scenario.yaml", i)), []byte(text), 0o600))
	}
	b.ResetTimer()
	for b.Loop() {
		code, stdout, stderr := meridian(b, nil, "sim", "test", dir, "--require-tests", "--fail-only")
		require.Equal(b, 0, code, stderr)
		require.Contains(b, stdout, "500 scenarios: 2000 of 2000 expectations passed")
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/files, "ms/scenario")
}
