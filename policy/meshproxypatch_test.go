package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshProxyPatch(t *testing.T) {
	t.Parallel()
	const at = "spec.default.appendModifications"
	mods := func(list string) string { return "{default: {appendModifications: [" + list + "]}}" }
	patches := func(list string) string { return mods("{cluster: {operation: Patch, jsonPatches: [" + list + "]}}") }
	add := func(value string) string { return mods("{cluster: {operation: Add, value: '" + value + "'}}") }
	const json = at + "[0].cluster.jsonPatches"
	testSpecs(t, "MeshProxyPatch", map[string]specCase{
		"clusters":        {mods("{cluster: {operation: Add, value: 'name: a'}}, {cluster: {operation: Remove}}, {cluster: {operation: Remove, match: {origin: inbound, name: a}}}, {cluster: {operation: Patch, match: {origin: outbound}, value: 'connectTimeout: 9s'}}"), nil},
		"listeners":       {mods("{listener: {operation: Add, value: '{name: a, address: {socketAddress: {address: 0.0.0.0, portValue: 80}}}'}}, {listener: {operation: Remove, match: {origin: a, name: b, tags: {c: d}}}}, {listener: {operation: Patch, value: '{}'}}"), nil},
		"virtual hosts":   {mods("{virtualHost: {operation: Add, match: {origin: a, routeConfigurationName: b}, value: '{name: a, domains: [a]}'}}, {virtualHost: {operation: Remove, match: {name: a}}}, {virtualHost: {operation: Patch, match: {}, value: 'domains: [b]'}}"), nil},
		"network filters": {mods("{networkFilter: {operation: AddFirst, value: 'name: a'}}, {networkFilter: {operation: AddLast, match: {listenerName: l, listenerTags: {a: b}}, value: 'name: a'}}, {networkFilter: {operation: AddBefore, match: {name: b}, value: 'name: a'}}, {networkFilter: {operation: AddAfter, match: {name: b, origin: c}, value: 'name: a'}}, {networkFilter: {operation: Remove}}, {networkFilter: {operation: Patch, match: {name: b}, value: 'name: a'}}"), nil},
		"HTTP filters":    {mods("{httpFilter: {operation: AddFirst, value: 'name: a'}}, {httpFilter: {operation: Remove, match: {name: envoy.filters.http.fault}}}, {httpFilter: {operation: Patch, match: {name: b}, jsonPatches: []}}"), nil},
		"JSON patches":    {patches("{op: add, path: /a, value: null}, {op: replace, path: /a/0, value: {b: [c]}}, {op: remove, path: /a}, {op: move, path: /a, from: /b}, {op: copy, path: /a, from: ''}"), nil},

		"no default":            {"{}", []string{"spec.default"}},
		"an empty conf":         {"{default: {}}", []string{at}},
		"an empty list":         {mods(""), []string{at}},
		"a null":                {"{default: {appendModifications: null}}", []string{at}},
		"none and two":          {mods("{}, {cluster: {operation: Remove}, listener: {operation: Patch}}"), below(at, "[0]", "[1]")},
		"no operation":          {mods("{cluster: {}}, {httpFilter: {}}"), below(at, "[0].cluster.operation", "[1].httpFilter.operation")},
		"another's operation":   {mods("{cluster: {operation: AddFirst}}, {networkFilter: {operation: Add}}"), below(at, "[0].cluster.operation", "[1].networkFilter.operation")},
		"no match of hosts":     {mods("{virtualHost: {operation: Remove}}"), below(at, "[0].virtualHost.match")},
		"a match to add to":     {mods("{cluster: {operation: Add, match: {name: x}}}, {listener: {operation: Add, match: {}, value: 'name: a'}}, {virtualHost: {operation: Add, match: {name: a}, value: '{name: a, domains: [a]}'}}"), below(at, "[0].cluster.match", "[0].cluster.value", "[1].listener.match", "[2].virtualHost.match.name")},
		"nothing to add":        {mods("{listener: {operation: Add}}, {virtualHost: {operation: Add, match: {}}}, {networkFilter: {operation: AddFirst}}, {networkFilter: {operation: AddLast}}, {httpFilter: {operation: AddAfter, match: {name: a}}}"), below(at, "[0].listener.value", "[1].virtualHost.value", "[2].networkFilter.value", "[3].networkFilter.value", "[4].httpFilter.value")},
		"no filter beside it":   {mods("{httpFilter: {operation: AddBefore, value: 'name: a'}}, {networkFilter: {operation: AddAfter, match: {}, value: 'name: a'}}, {networkFilter: {operation: Patch, match: {name: ''}, value: 'name: a'}}"), below(at, "[0].httpFilter.match.name", "[1].networkFilter.match.name", "[2].networkFilter.match.name")},
		"a value to remove":     {mods("{cluster: {operation: Remove, value: a}}, {httpFilter: {operation: Remove, value: a}}"), below(at, "[0].cluster.value", "[1].httpFilter.value")},
		"nothing to patch":      {mods("{listener: {operation: Patch}}, {httpFilter: {operation: Patch, match: {name: a}}}"), below(at, "[0].listener", "[1].httpFilter")},
		"both ways to patch":    {mods("{cluster: {operation: Patch, value: 'name: 1', jsonPatches: [{op: add, path: /a, value: 1}]}}"), below(at, "[0].cluster")},
		"no cluster":            {add("connectTimeout: 5s"), below(at, "[0].cluster.value")},
		"no YAML":               {add("name: [a"), below(at, "[0].cluster.value")},
		"no object":             {add("a"), below(at, "[0].cluster.value")},
		"no text":               {add(""), below(at, "[0].cluster.value")},
		"two documents":         {mods(`{cluster: {operation: Add, value: "name: a\n---\nname: b"}}`), below(at, "[0].cluster.value")},
		"a value of no type":    {mods("{cluster: {operation: Patch, value: 'connectTimeout: soon'}}, {listener: {operation: Patch, value: 'name: 1'}}"), below(at, "[0].cluster.value", "[1].listener.value")},
		"a newer Envoy":         {mods("{cluster: {operation: Patch, value: 'nope: 1'}}, {cluster: {operation: Add, value: '{name: a, nope: 1}'}}, {httpFilter: {operation: AddFirst, value: '{name: a, typedConfig: {\"@type\": type.googleapis.com/envoy.of.tomorrow.V9, x: [1]}}'}}"), nil},
		"a filter that we know": {mods("{networkFilter: {operation: AddFirst, value: '{name: a, typedConfig: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, statPrefix: [1]}}'}}"), below(at, "[0].networkFilter.value")},
		"fields of a patch":     {patches("{}, {op: test, path: /a, value: 1}"), below(json, "[0].op", "[0].path", "[1].op")},
		"patches with from":     {patches("{op: add, path: /a, from: /b, value: 1}, {op: replace, path: /a, from: /b, value: 1}, {op: remove, path: /a, from: /b}, {op: move, path: /a}, {op: copy, path: /a}"), below(json, "[0].from", "[1].from", "[2].from", "[3].from", "[4].from")},
		"patches with value":    {patches("{op: add, path: /a}, {op: replace, path: /a}, {op: remove, path: /a, value: 1}, {op: move, path: /a, from: /b, value: 1}, {op: copy, path: /a, from: /b, value: null}"), below(json, "[0].value", "[1].value", "[2].value", "[3].value", "[4].value")},
		"everything removed":    {patches("{op: remove, path: ''}, {op: remove, path: /, value: 3}, {op: add, path: '', value: {}}"), below(json, "[0].path", "[1].path", "[1].value")},
		"tags of listeners":     {"{targetRef: {kind: MeshGateway, name: g, tags: {a: b}}, default: {appendModifications: [{cluster: {operation: Remove}}]}}", []string{"spec.targetRef.tags"}},
	})
}

func TestViolationsOfEnvoySayWhatEnvoyWants(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]string{
		"{virtualHost: {operation: Add, match: {}, value: 'name: q'}}":     "no VirtualHost of Envoy: invalid VirtualHost.Domains: value must contain at least 1 item(s)",
		"{cluster: {operation: Patch, value: 'connectTimeout: soon'}}":     `no Cluster of Envoy: invalid google.protobuf.Duration value "soon"`,
		"{cluster: {operation: Patch, value: \"name: a\\nname: 1: 2\"}}":   "line 2: not valid YAML",
		"{httpFilter: {operation: Patch, match: {name: a}, value: '[1]'}}": "want an object of Envoy's configuration",
	} {
		_, _, err := readSpec("MeshProxyPatch", "", "{default: {appendModifications: ["+spec+"]}}")
		assert.ErrorContains(t, err, want)
	}
}
