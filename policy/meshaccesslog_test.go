package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeshAccessLog(t *testing.T) {
	t.Parallel()
	const d = "spec.to[0].default"
	log := func(backend string) string { return confs("{backends: [" + backend + "]}") }
	file := func(format string) string {
		return log("{type: File, file: {path: /var/log/a.log, format: " + format + "}}")
	}
	testSpecs(t, "MeshAccessLog", map[string]specCase{
		"a file as JSON":     {"{targetRef: {kind: Dataplane, labels: {team: pay}}, rules: [{default: {backends: [{type: File, file: {path: /var/log/mesh.log, format: {type: Json, json: [{key: m, value: '%KUMA_MESH%'}]}}}]}}]}", nil},
		"a TCP service":      {log("{type: Tcp, tcp: {address: 'logs.svc:9000', format: {type: Plain, plain: '%START_TIME%'}}}"), nil},
		"an IPv6 service":    {log("{type: Tcp, tcp: {address: '[fd00::1]:9000'}}"), nil},
		"OpenTelemetry":      {log("{type: OpenTelemetry, openTelemetry: {endpoint: 'otel:4317', attributes: [{key: mesh, value: '%KUMA_MESH%'}], body: {kvlistValue: {values: [1, x, null]}}}}"), nil},
		"no backend at all":  {confs("{backends: []}"), nil},
		"a null as backends": {confs("{backends: null}"), nil},
		"clients of a mesh":  {"{from: [{targetRef: {kind: Mesh}, default: {backends: []}}]}", nil},
		"any destination":    {"{to: [{targetRef: {kind: MeshService, name: a}, default: {backends: []}}, {targetRef: {kind: MeshExternalService, name: a}, default: {backends: []}}, {targetRef: {kind: MeshMultiZoneService, name: a}, default: {backends: []}}]}", nil},
		"a gateway's mesh":   {"{targetRef: {kind: MeshGateway, name: g, tags: {port: http}}, to: [{targetRef: {kind: Mesh}, default: {backends: []}}]}", nil},

		"nothing":                       {"{}", []string{"spec"}},
		"empty lists":                   {"{to: [], from: [], rules: []}", []string{"spec"}},
		"rules and to":                  {"{to: [{targetRef: {kind: Mesh}, default: {backends: []}}], rules: [{default: {backends: []}}]}", []string{"spec"}},
		"rules and from":                {"{from: [{targetRef: {kind: Mesh}, default: {backends: []}}], rules: [{default: {backends: []}}]}", []string{"spec"}},
		"a route at the top":            {"{targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: MeshService, name: a}, default: {backends: []}}]}", []string{"spec.targetRef.kind"}},
		"a gateway's service":           {"{targetRef: {kind: MeshGateway, name: edge}, to: [{targetRef: {kind: MeshService, name: a}, default: {}}]}", []string{"spec.to[0].targetRef.kind", d + ".backends"}},
		"clients by tag":                {"{from: [{targetRef: {kind: MeshSubset, tags: {a: b}}, default: {backends: []}}]}", []string{"spec.from[0].targetRef.kind"}},
		"no backends":                   {confs("{}"), []string{d + ".backends"}},
		"no conf":                       {"{to: [{targetRef: {kind: Mesh}}]}", []string{d + ".backends"}},
		"no object of its type":         {log("{type: File}, {type: Tcp}, {type: OpenTelemetry}"), below(d, ".backends[0].file", ".backends[1].tcp", ".backends[2].openTelemetry")},
		"the object of another type":    {log("{type: File, tcp: {address: 'a b'}}"), below(d, ".backends[0].file")},
		"no type":                       {log("{file: {path: /a}}"), below(d, ".backends[0].type")},
		"an unknown type":               {log("{type: TCP}"), below(d, ".backends[0].type")},
		"no address":                    {log("{type: Tcp, tcp: {}}"), below(d, ".backends[0].tcp.address")},
		"no address at all":             {log("{type: Tcp, tcp: {address: not an addr}}, {type: Tcp, tcp: {address: ''}}"), below(d, ".backends[0].tcp.address", ".backends[1].tcp.address")},
		"a path without a root":         {log("{type: File, file: {path: a.log}}, {type: File, file: {path: ''}}"), below(d, ".backends[0].file.path", ".backends[1].file.path")},
		"an empty endpoint":             {log("{type: OpenTelemetry, openTelemetry: {endpoint: ''}}, {type: OpenTelemetry, openTelemetry: {}}"), below(d, ".backends[0].openTelemetry.endpoint", ".backends[1].openTelemetry.endpoint")},
		"a format without type":         {file("{plain: a}"), below(d, ".backends[0].file.format.type")},
		"a format of an unknown type":   {file("{type: JSON}"), below(d, ".backends[0].file.format.type")},
		"plain without plain":           {file("{type: Plain}"), below(d, ".backends[0].file.format.plain")},
		"an empty line":                 {file("{type: Plain, plain: ''}"), below(d, ".backends[0].file.format.plain")},
		"JSON without fields":           {file("{type: Json}"), below(d, ".backends[0].file.format.json")},
		"JSON with an empty list":       {file("{type: Json, json: []}"), below(d, ".backends[0].file.format.json")},
		"a field without key and value": {file("{type: Json, json: [{}]}"), below(d, ".backends[0].file.format.json[0].key", ".backends[0].file.format.json[0].value")},
		"a key that breaks the JSON":    {file(`{type: Json, json: [{key: "a\"", value: b}]}`), below(d, ".backends[0].file.format.json[0]")},
		"the format of a TCP service":   {log("{type: Tcp, tcp: {address: a, format: {type: Plain}}}"), below(d, ".backends[0].tcp.format.plain")},
		"a bad backend of a rule":       {"{rules: [{default: {backends: [{type: File}]}}]}", []string{"spec.rules[0].default.backends[0].file"}},
	})
}

func TestMeshAccessLogFormatsGetTheirDefault(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshAccessLog", confs("{backends: [{type: File, file: {path: /a, format: {type: Plain, plain: b}}}, {type: File, file: {path: /a}}]}"))
	assert.JSONEq(t, `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"backends":[
		{"type":"File","file":{"path":"/a","format":{"type":"Plain","plain":"b","omitEmptyValues":false}}},
		{"type":"File","file":{"path":"/a"}}]}}]}`, got)
}

func TestAMeshAccessLogRuleWithoutBackendsGetsAWarning(t *testing.T) {
	t.Parallel()
	got := warningsOf(t, "MeshAccessLog", "{rules: [{default: {}}, {default: {backends: []}}, {default: {backends: null}}, {}]}")
	require.Len(t, got, 2, "%q", got)
	assert.Contains(t, got[0], "spec.rules[0].default has no backends")
	assert.Contains(t, got[1], "spec.rules[3].default has no backends")
}
