package resource_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// FuzzRead checks on any input that reading ends without a panic, that every error names its place, and that what was
// read is written and read back as the same resource.
func FuzzRead(f *testing.F) {
	for _, c := range documents {
		f.Add([]byte(c.universal))
		f.Add([]byte(c.kubernetes))
	}
	for kind := range resource.BaseSchemas() {
		f.Add(example(f, kind))
	}
	f.Add([]byte("--- # c\ntype: Zone\nname: &a x\nlabels: {<<: {a: *a}}\n...\n%YAML 1.2\n---\n{\"type\": \"Zone\"}{}\n"))
	f.Add([]byte("type: MeshTimeout\nname: x\nspec:\n  to:\n  - targetRef: {kind: Mesh}\n    default: {idleTimeout: ~, extra: [.5, 1e9, 0x1, ~, {}]}\n"))
	f.Add([]byte("a: &a [*a, *a]\n"))
	schemas := testSchemas()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []resource.ReadOptions{{}, {Lenient: true}, {AsStored: true}} {
			docs, err := schemas.Read("f.yaml", data, o)
			if err != nil {
				for line := range strings.SplitSeq(err.Error(), "\n") {
					require.True(t, strings.HasPrefix(line, "f.yaml:"), line)
				}
			}
			for _, d := range docs {
				require.NotNil(t, d.Resource.Spec)
				doc, err := resource.ToJSON(d.Resource)
				require.NoError(t, err)
				again, err := schemas.Read("", doc, o)
				require.NoError(t, err, "%s", doc)
				require.Len(t, again, 1)
				require.Equal(t, d.Resource, again[0].Resource)
				yaml, err := resource.ToYAML(doc)
				require.NoError(t, err)
				if !o.AsStored { // which trims texts
					again, err = schemas.Read("", yaml, o)
					require.NoError(t, err, "%s", yaml)
					require.Equal(t, d.Resource, again[0].Resource, "%s", yaml)
				}
			}
		}
	})
}
