package policy

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// TestComparators asks for each comparator that a pair which differs in it, and in every later one the other way
// round, is decided by it.
func TestComparators(t *testing.T) {
	t.Parallel()
	const (
		zone     = `"kuma.io/origin":"zone"`
		global   = `"kuma.io/origin":"global"`
		consumer = `,"kuma.io/policy-role":"consumer"`
		producer = `,"kuma.io/policy-role":"producer"`
		mesh     = `{"kind":"Mesh"}`
		service  = `{"kind":"MeshService","name":"x"}`
		section  = `{"kind":"MeshService","name":"x","sectionName":"http"}`
	)
	entry := func(name, labels, top, to string) Entry {
		var l map[string]string
		require.NoError(t, decode([]byte("{"+labels+"}"), &l))
		p, err := Parse(resource.Resource{
			Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name}, Labels: l,
			Spec: fmt.Appendf(nil, `{"targetRef":%s,"to":[{"targetRef":%s}]}`, top, to),
		})
		require.NoError(t, err)
		return Entry{Policy: p, Item: &p.To[0], list: "to"}
	}
	dp := func(more string) string { return `{"kind":"Dataplane"` + more + `}` }
	for _, c := range []struct {
		strong, weak Entry
		by           Comparator
	}{
		{entry("b", global, `{"kind":"MeshSubset"}`, mesh), entry("a", zone+consumer, mesh, section), ByKind},
		{entry("b", global, dp(""), mesh), entry("a", zone+consumer, mesh, section), ByKind},
		{entry("b", global, dp(`,"name":"x"`), mesh), entry("a", zone+consumer, dp(`,"labels":{"a":"b"},"sectionName":"s"`), section), ByKind},
		{entry("b", global, dp(`,"labels":{"a":"b"},"sectionName":"s"`), mesh), entry("a", zone+consumer, dp(`,"labels":{"a":"b"}`), section), ByKind},
		{entry("b", zone, mesh, mesh), entry("a", global+consumer, mesh, section), ByOrigin},
		{entry("b", "", mesh, mesh), entry("a", global+consumer, mesh, section), ByOrigin},
		{entry("b", global, mesh, mesh), entry("a", `"kuma.io/origin":"mars"`+consumer, mesh, section), ByOrigin},
		{entry("b", zone+consumer, mesh, mesh), entry("a", zone+producer, mesh, section), ByRole},
		{entry("b", zone+`,"kuma.io/policy-role":"workload-owner"`, mesh, mesh), entry("a", zone+consumer, mesh, section), ByRole},
		{entry("b", zone+producer, mesh, mesh), entry("a", zone, mesh, section), ByRole},
		{entry("b", zone, mesh, mesh), entry("a", zone+`,"kuma.io/policy-role":"odd"`, mesh, section), ByRole},
		{entry("b", zone, mesh, service), entry("a", zone, mesh, mesh), ByToKind},
		{entry("b", zone, mesh, section), entry("a", zone, mesh, service), BySection},
		{entry("a", zone, mesh, section), entry("b", zone, mesh, section), ByName},
		{entry("a", zone, mesh, `{"kind":"MeshMultiZoneService"}`), entry("b", zone, mesh, `{"kind":"MeshMultiZoneService","sectionName":"x"}`), ByName},
	} {
		got, by := compareOutbound(c.strong, c.weak)
		assert.Positive(t, got, "%s", c.by)
		assert.Equal(t, c.by, by)
		got, by = compareOutbound(c.weak, c.strong)
		assert.Negative(t, got, "%s", c.by)
		assert.Equal(t, c.by, by)
		if c.by == ByToKind || c.by == BySection {
			continue // these have no say where there is no `to`
		}
		got, by = compareInbound(c.strong, c.weak)
		assert.Positive(t, got, "%s", c.by)
		assert.Equal(t, c.by, by)
		got, by = comparePolicies(c.strong.Policy, c.weak.Policy)
		assert.Positive(t, got, "%s", c.by)
		assert.Equal(t, c.by, by)
	}

	one := entry("a", zone, mesh, mesh)
	assert.Equal(t, ByItem, decidedBy(compareOutbound, one, one))
	twin := entry("b", zone+`,"kuma.io/display-name":"a"`, mesh, mesh)
	assert.Equal(t, ByName, decidedBy(compareOutbound, one, twin), "the storage name decides between equals")

	few := entry("a", zone+consumer, `{"kind":"MeshGateway","name":"g"}`, mesh)
	many := entry("b", zone, `{"kind":"MeshGateway","name":"g","tags":{"a":"b"}}`, mesh)
	c, by := comparePolicies(many.Policy, few.Policy)
	assert.Positive(t, c)
	assert.Equal(t, ByKind, by)
	c, _ = compareOutbound(many, few)
	assert.Negative(t, c, "tags of a gateway count between whole policies only")
}
