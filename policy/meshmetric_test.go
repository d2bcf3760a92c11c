package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshMetric(t *testing.T) {
	t.Parallel()
	const d = "spec.default"
	conf := func(conf string) string { return "{default: " + conf + "}" }
	otel := func(endpoint string) string {
		return conf("{backends: [{type: OpenTelemetry, openTelemetry: {endpoint: '" + endpoint + "'}}]}")
	}
	const endpoint = d + ".backends[0].openTelemetry.endpoint"
	testSpecs(t, "MeshMetric", map[string]specCase{
		"nothing":       {"{}", nil},
		"an empty conf": {conf("{}"), nil},
		"every part": {conf(`{
			sidecar: {includeUnused: true, profiles: {appendProfiles: [{name: All}, {name: Basic}, {name: None}], exclude: [{type: Regex, match: "a.*"}, {type: Prefix, match: "("}], include: [{type: Exact, match: a}, {type: Contains, match: ""}]}},
			applications: [{name: a, path: /m, address: 127.0.0.2, port: 65535}, {port: 1}],
			backends: [{type: Prometheus, prometheus: {clientId: a, port: 1, path: /m, tls: {mode: ProvidedTLS}}}, {type: Prometheus, prometheus: {tls: {mode: ActiveMTLSBackend}}}, {type: OpenTelemetry, openTelemetry: {endpoint: "otel:4317", refreshInterval: 90s}}]}`), nil},
		"nulls": {conf("{sidecar: {profiles: null, includeUnused: null}, applications: null, backends: null}"), nil},

		"an unknown profile":        {conf("{sidecar: {profiles: {appendProfiles: [{name: basic}, {}]}}}"), below(d+".sidecar.profiles.appendProfiles", "[0].name", "[1].name")},
		"selectors":                 {conf("{sidecar: {profiles: {exclude: [{type: Regex, match: '('}, {type: Glob, match: a}, {}], include: [{type: Exact, match: a}, {type: Regex, match: '['}]}}}"), below(d+".sidecar.profiles", ".exclude[0].match", ".exclude[1].type", ".exclude[2].type", ".exclude[2].match", ".include[1].match")},
		"ports of applications":     {conf("{applications: [{}, {port: 0}, {port: 65536}]}"), below(d+".applications", "[0].port", "[1].port", "[2].port")},
		"backends without object":   {conf("{backends: [{type: Prometheus}, {type: OpenTelemetry, prometheus: {}}, {}, {type: Statsd}]}"), below(d+".backends", "[0].prometheus", "[1].openTelemetry", "[2].type", "[3].type")},
		"a port of Prometheus":      {conf("{backends: [{type: Prometheus, prometheus: {port: 0}}, {type: Prometheus, prometheus: {port: 65536, tls: {mode: On}}}]}"), below(d+".backends", "[0].prometheus.port", "[1].prometheus.port", "[1].prometheus.tls.mode")},
		"an endpoint":               {otel("otel"), nil},
		"an endpoint in a domain":   {otel("otel.ns.svc.cluster.local:4317"), nil},
		"an endpoint by IP address": {otel("[::1]:4317"), nil},
		"no endpoint":               {conf("{backends: [{type: OpenTelemetry, openTelemetry: {}}]}"), []string{endpoint}},
		"an empty endpoint":         {otel(""), []string{endpoint}},
		"an endpoint with http":     {otel("http://otel:4317"), []string{endpoint}},
		"an endpoint with https":    {otel("https://otel:4317"), []string{endpoint}},
		"an endpoint with a space":  {otel("o tel:4317"), []string{endpoint}},
		"a port of an endpoint":     {otel("otel:70000"), []string{endpoint}},
		"an interval":               {conf("{backends: [{type: OpenTelemetry, openTelemetry: {endpoint: a, refreshInterval: 5}}]}"), []string{d + ".backends[0].openTelemetry.refreshInterval"}},
		"a route at the top":        {"{targetRef: {kind: MeshHTTPRoute, name: x}, default: {}}", []string{"spec.targetRef.kind"}},
	})
}

func TestMeshMetricGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshMetric", "{default: {applications: [{port: 9}], backends: [{type: Prometheus, prometheus: {}}, {type: Prometheus, prometheus: {tls: {}}}, {type: OpenTelemetry, openTelemetry: {endpoint: a}}]}}")
	assert.JSONEq(t, `{"default":{"applications":[{"path":"/metrics","port":9}],"backends":[
		{"type":"Prometheus","prometheus":{"path":"/metrics","port":5670}},
		{"type":"Prometheus","prometheus":{"path":"/metrics","port":5670,"tls":{"mode":"Disabled"}}},
		{"type":"OpenTelemetry","openTelemetry":{"endpoint":"a"}}]}}`, got)
}
