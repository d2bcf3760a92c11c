package policy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeshHealthCheck(t *testing.T) {
	t.Parallel()
	const d = "spec.to[0].default"
	headers := func(name string, n int) string { return strings.Repeat("{name: "+name+", value: a}, ", n) }
	testSpecs(t, "MeshHealthCheck", map[string]specCase{
		"nothing": {"{}", nil},
		"all of it": {`{to: [{targetRef: {kind: MeshService, name: payments}, default: {interval: 12s, timeout: 3s, unhealthyThreshold: 4, healthyThreshold: 1, initialJitter: 1s,
			intervalJitter: 1s, intervalJitterPercent: 100, healthyPanicThreshold: "50.5", failTrafficOnPanic: true, eventLogPath: /var/log/health.log, alwaysLogHealthCheckFailures: true,
			noTrafficInterval: 1m, reuseConnection: false, tcp: {disabled: true, send: Zm9v, receive: [YmFy, ""]},
			http: {disabled: false, path: /ready, requestHeadersToAdd: {set: [{name: x-a, value: ""}], add: [{name: "x-b!", value: c}]}, expectedStatuses: [100, 200, 599]},
			grpc: {disabled: false, serviceName: s, authority: a}}}]}`, nil},
		"a list of services": {"{to: [{targetRef: {kind: Mesh}, default: {tcp: {}}}, {targetRef: {kind: MeshMultiZoneService, labels: {a: b}}, default: {grpc: {}}}]}", nil},
		"a null is given":    {confs("{http: null}"), nil},
		"a gateway":          {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshService, name: a}, default: {tcp: {}}}]}", nil},

		"no protocol":              {confs("{interval: 1s}"), []string{d}},
		"an external service":      {"{targetRef: {kind: MeshSubset, tags: {a: b}}, to: [{targetRef: {kind: MeshExternalService, name: ext}, default: {interval: 5s}}]}", []string{"spec.to[0].targetRef.kind", d}},
		"a route at the top":       {"{targetRef: {kind: MeshHTTPRoute, name: a}}", []string{"spec.targetRef.kind"}},
		"times of 0":               {confs("{interval: 0s, timeout: 0s, initialJitter: 0s, intervalJitter: -1s, noTrafficInterval: 0s, http: {}}"), below(d, ".interval", ".timeout", ".initialJitter", ".intervalJitter", ".noTrafficInterval")},
		"thresholds of 0":          {confs("{unhealthyThreshold: 0, healthyThreshold: -1, http: {}}"), below(d, ".unhealthyThreshold", ".healthyThreshold")},
		"shares out of range":      {confs("{intervalJitterPercent: 101, healthyPanicThreshold: 101, http: {}}", "{intervalJitterPercent: -1, healthyPanicThreshold: x, http: {}}"), []string{d + ".intervalJitterPercent", d + ".healthyPanicThreshold", "spec.to[1].default.intervalJitterPercent", "spec.to[1].default.healthyPanicThreshold"}},
		"a log that is no path":    {confs("{eventLogPath: health.log, http: {}}", "{eventLogPath: '', http: {}}"), []string{d + ".eventLogPath", "spec.to[1].default.eventLogPath"}},
		"an empty path":            {confs("{http: {path: ''}}"), []string{d + ".http.path"}},
		"statuses out of range":    {confs("{http: {expectedStatuses: [42, 200, 600, -1]}}"), below(d+".http", ".expectedStatuses[0]", ".expectedStatuses[2]", ".expectedStatuses[3]")},
		"a status that is none":    {confs("{http: {expectedStatuses: [ok, 42]}}"), below(d+".http", ".expectedStatuses[0]", ".expectedStatuses[1]")},
		"headers in capitals":      {confs("{http: {requestHeadersToAdd: {set: [{name: X-A, value: b}], add: [{name: a b, value: c}, {name: '', value: d}]}}}"), below(d+".http.requestHeadersToAdd", ".set[0].name", ".add[0].name", ".add[1].name")},
		"headers without a value":  {confs("{http: {requestHeadersToAdd: {set: [{name: a}], add: [{value: c}]}}}"), below(d+".http.requestHeadersToAdd", ".set[0].value", ".add[0].name")},
		"a header of 257 letters":  {confs("{http: {requestHeadersToAdd: {set: [{name: " + strings.Repeat("a", 256) + ", value: b}, {name: " + strings.Repeat("a", 257) + ", value: b}]}}}"), below(d+".http.requestHeadersToAdd", ".set[1].name")},
		"17 headers":               {confs("{http: {requestHeadersToAdd: {set: [" + headers("a", 17) + "], add: [" + headers("b", 16) + "]}}}"), below(d+".http.requestHeadersToAdd", ".set")},
		"from":                     {"{from: []}", []string{"spec.from"}},
		"several things at a time": {confs("{interval: 0s, http: {path: '', expectedStatuses: [42]}}"), below(d, ".interval", ".http.path", ".http.expectedStatuses[0]")},
	})
}

func TestTheShareOfPanicOfAMeshHealthCheckIsDeprecated(t *testing.T) {
	t.Parallel()
	got := warningsOf(t, "MeshHealthCheck", confs("{http: {}}", "{healthyPanicThreshold: 1, http: {}}"))
	require.Len(t, got, 1, "%q", got)
	assert.Contains(t, got[0], "spec.to[1].default.healthyPanicThreshold is deprecated")
}
