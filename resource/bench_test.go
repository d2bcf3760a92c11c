package resource_test

import (
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
