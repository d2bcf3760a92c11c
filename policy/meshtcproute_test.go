package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshTCPRoute(t *testing.T) {
	t.Parallel()
	const refs = "spec.to[0].rules[0].default.backendRefs"
	rules := func(conf string) string { return routeTo("[{default: " + conf + "}]") }
	testSpecs(t, "MeshTCPRoute", map[string]specCase{
		"nothing":                       {"{}", nil},
		"no rules":                      {routeTo("[]"), nil},
		"all kinds of destination":      {rules("{backendRefs: [{kind: MeshService, name: a, port: 1, weight: 80}, {kind: MeshServiceSubset, name: a, tags: {v: '*'}}, {kind: MeshExternalService, labels: {a: b}}, {kind: MeshMultiZoneService, name: a, port: 1}]}"), nil},
		"every connection of a gateway": {gatewayRoute("[{default: {backendRefs: [{kind: MeshService, name: a}]}}]"), nil},

		"no items":                   {"{to: []}", []string{"spec.to"}},
		"rules missing":              {"{to: [{targetRef: {kind: MeshService, name: a}}]}", []string{"spec.to[0].rules"}},
		"two rules":                  {routeTo("[{default: {backendRefs: [{kind: MeshService, name: a}]}}, {default: {backendRefs: [{kind: MeshService, name: a}]}}]"), []string{"spec.to[0].rules"}},
		"no default":                 {routeTo("[{}]"), []string{"spec.to[0].rules[0].default"}},
		"no destination":             {rules("{}"), []string{refs}},
		"an empty list":              {rules("{backendRefs: []}"), []string{refs}},
		"destinations":               {rules("{backendRefs: [{kind: Mesh}, {kind: MeshService}, {kind: MeshMultiZoneService, name: a}, {kind: MeshService, name: kuma.io/unresolved-backend}]}"), below(refs, "[0].kind", "[1].name", "[2].port", "[3].name")},
		"the mesh without a gateway": {"{to: [{targetRef: {kind: Mesh}, rules: []}]}", []string{"spec.to[0].targetRef.kind"}},
		"host names":                 {"{to: [{targetRef: {kind: MeshService, name: a}, rules: [], hostnames: [a]}]}", []string{"spec.to[0].hostnames"}},
	})
}

func TestMeshTCPRouteGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshTCPRoute", routeTo("[{default: {backendRefs: [{kind: MeshService, name: a}, {kind: MeshService, name: b, weight: 0}]}}]"))
	assert.JSONEq(t, `{"to":[{"targetRef":{"kind":"MeshService","name":"a"},"rules":[{"default":{"backendRefs":[
		{"kind":"MeshService","name":"a","weight":1},{"kind":"MeshService","name":"b","weight":0}]}}]}]}`, got)
}
