package resource_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

func BenchmarkRead(b *testing.B) {
	schemas := testSchemas()
	for _, c := range documents {
		if c.name != "policy in a namespace" && c.name != "dataplane" {
			continue
		}
		asYAML, err := resource.ToYAML([]byte(c.universal))
		require.NoError(b, err)
		for format, data := range map[string][]byte{"json": []byte(c.universal), "yaml": asYAML} {
			b.Run(c.name+"/"+format, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := schemas.Read("", data, resource.ReadOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkToJSON(b *testing.B) {
	for _, c := range documents {
		if c.name != "policy in a namespace" && c.name != "dataplane" {
			continue
		}
		r := read(b, c.universal, resource.ReadOptions{})
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resource.ToJSON(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadFile reads one file of 10,000 policies, as people keep them.
func BenchmarkReadFile(b *testing.B) {
	const documents = 10_000
	var file strings.Builder
	for i := range documents {
		fmt.Fprintf(&file, `---
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata:
  name: timeout-%d
  namespace: kuma-demo
  labels:
    kuma.io/mesh: default
spec:
  targetRef:
    kind: Mesh
  to:
    - targetRef:
        kind: MeshService
        name: backend-%d # the service
      default:
        idleTimeout: 20s
        http:
          requestTimeout: 2s
          streamTimeout: 1m30s
`, i, i)
	}
	data := []byte(file.String())
	schemas := testSchemas()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		docs, err := schemas.Read("timeouts.yaml", data, resource.ReadOptions{})
		if err != nil || len(docs) != documents {
			b.Fatal(len(docs), err)
		}
	}
	b.ReportMetric(documents*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
}
