package resource_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

const positioned = `# a comment
type: Dataplane
name: web
labels:
  k8s.kuma.io/namespace: shop
networking:
  address: 192.0.2.1
  inbound:
    - port: 80
      tags: {kuma.io/service: web}
---
apiVersion: kuma.io/v1alpha1
kind: Dataplane
metadata:
  name: web
  namespace: shop
mesh: default
spec:
  networking:
    address: 192.0.2.1
    inbound:
      - port: 80
        tags: {kuma.io/service: web}
`

func TestDocumentKnowsTheLineOfEachFieldInBothForms(t *testing.T) {
	t.Parallel()
	docs, err := resource.BaseSchemas().Read("web.yaml", []byte(positioned), resource.ReadOptions{Positions: true})
	require.NoError(t, err)
	require.Len(t, docs, 2)
	for _, c := range []struct {
		field string
		lines [2]int
	}{
		{"", [2]int{2, 12}},
		{"name", [2]int{3, 15}},
		{`labels["k8s.kuma.io/namespace"]`, [2]int{5, 16}},
		{"networking.inbound[0].port", [2]int{9, 22}},
		{"networking.inbound[0].name", [2]int{9, 22}}, // missing: where it would be
		{"networking.inbound[7]", [2]int{8, 21}},
	} {
		assert.Equal(t, c.lines, [2]int{docs[0].LineOf(c.field), docs[1].LineOf(c.field)}, c.field)
	}
	docs, err = resource.BaseSchemas().Read("web.yaml", []byte(positioned), resource.ReadOptions{})
	require.NoError(t, err)
	assert.Equal(t, 12, docs[1].LineOf("name"), "without positions, that of the document")
}
