package policy_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// BenchmarkReadTimeouts reads and validates a file of 10,000 MeshTimeouts, as YAML and as JSON.
func BenchmarkReadTimeouts(b *testing.B) {
	const documents = 10_000
	var asYAML, asJSON bytes.Buffer
	for i := range documents {
		fmt.Fprintf(&asYAML, `---
type: MeshTimeout
name: timeout-%d
mesh: default
spec:
  targetRef:
    kind: Mesh
    proxyTypes: [Sidecar]
  to:
    - targetRef:
        kind: MeshService
        name: payments-%d
        sectionName: http
      default:
        connectionTimeout: 3s
        idleTimeout: 20m
        http:
          requestTimeout: 4s
          streamIdleTimeout: 0s
`, i, i)
		fmt.Fprintf(&asJSON, `{"type":"MeshTimeout","name":"timeout-%d","mesh":"default","spec":{"targetRef":{"kind":"Mesh","proxyTypes":["Sidecar"]},`+
			`"to":[{"targetRef":{"kind":"MeshService","name":"payments-%d","sectionName":"http"},"default":{"connectionTimeout":"3s","idleTimeout":"20m",`+
			`"http":{"requestTimeout":"4s","streamIdleTimeout":"0s"}}}]}}`+"\n", i, i)
	}
	schemas := policy.Schemas()
	for format, data := range map[string][]byte{"yaml": asYAML.Bytes(), "json": asJSON.Bytes()} {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				docs, err := schemas.Read("timeouts."+format, data, resource.ReadOptions{})
				if err != nil || len(docs) != documents {
					b.Fatal(len(docs), err)
				}
			}
			b.ReportMetric(float64(documents*b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

// BenchmarkValidate is the part of it that is left for a policy whose shape has been checked.
func BenchmarkValidate(b *testing.B) {
	r, _, err := readSpec("MeshTimeout", "", "{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, to: [{targetRef: {kind: MeshService, name: pay, sectionName: http}, default: {connectionTimeout: 3s, idleTimeout: 20m, http: {requestTimeout: 4s, streamIdleTimeout: 0s}}}]}")
	if err != nil {
		b.Fatal(err)
	}
	schemas := policy.Schemas()
	schema := schemas[r.Kind]
	spec, err := resource.Spec[policy.MeshTimeout](r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v := schema.Validate(r, &spec); v != nil {
			b.Fatal(v)
		}
	}
}
