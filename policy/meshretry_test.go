package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshRetry(t *testing.T) {
	t.Parallel()
	const d = "spec.to[0].default"
	http := func(fields string) string { return confs("{http: {" + fields + "}}") }
	testSpecs(t, "MeshRetry", map[string]specCase{
		"requests": {"{to: [{targetRef: {kind: MeshService, name: payments}, default: {http: {numRetries: 4, perTryTimeout: 900ms, backOff: {baseInterval: 30ms}, retryOn: [5xx, '429', HttpMethodGet], hostSelection: [{predicate: OmitPreviousHosts}]}}}]}", nil},
		"all of HTTP": {http(`numRetries: 0, perTryTimeout: 0s, backOff: {baseInterval: 1ms, maxInterval: 1s}, rateLimitedBackOff: {resetHeaders: [{name: retry-after, format: Seconds}, {name: x-reset, format: UnixTimestamp}], maxInterval: 1s},
			retryOn: [GatewayError, Reset, Retriable4xx, ConnectFailure, EnvoyRatelimited, RefusedStream, Http3PostConnectFailure, HttpMethodConnect, HttpMethodDelete, HttpMethodHead, HttpMethodOptions, HttpMethodPatch, HttpMethodPost, HttpMethodPut, HttpMethodTrace, "503"],
			retriableResponseHeaders: [{name: a, value: b}, {type: Present, name: c}], retriableRequestHeaders: [{type: Prefix, name: d, value: e}],
			hostSelection: [{predicate: OmitHostsWithTags, tags: {a: b}}, {predicate: OmitPreviousPriorities, updateFrequency: 1}], hostSelectionMaxAttempts: 3`), nil},
		"calls":            {confs("{grpc: {numRetries: 5, perTryTimeout: 1s, backOff: {maxInterval: 1s}, rateLimitedBackOff: {resetHeaders: []}, retryOn: [Canceled, DeadlineExceeded, Internal, ResourceExhausted, Unavailable]}}"), nil},
		"connections":      {confs("{tcp: {maxConnectAttempt: 1}}"), nil},
		"a null is given":  {confs("{http: null}", "{http: {numRetries: null}}", "{tcp: {maxConnectAttempt: null}}", "{http: {backOff: {baseInterval: null}}}", "{http: {rateLimitedBackOff: {resetHeaders: null}}}"), nil},
		"every kind of to": {"{to: [{targetRef: {kind: MeshExternalService, name: a}, default: {http: {numRetries: 1}}}, {targetRef: {kind: MeshMultiZoneService, name: a}, default: {http: {numRetries: 1}}}]}", nil},
		"at a gateway":     {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 1}}}, {targetRef: {kind: MeshExternalService, name: a}, default: {http: {numRetries: 1}}}]}", nil},
		"at a route":       {"{targetRef: {kind: MeshHTTPRoute, labels: {a: b}}, to: [{targetRef: {kind: Mesh}, default: {http: {numRetries: 1}}}]}", nil},
		"an empty list":    {http("retryOn: []"), nil},

		"nothing":                           {"{}", []string{"spec.to"}},
		"an empty to":                       {"{to: []}", []string{"spec.to"}},
		"a service at a route":              {"{targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: MeshService, name: x}, default: {}}]}", []string{"spec.to[0].targetRef.kind", d}},
		"a service at a gateway":            {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshMultiZoneService, name: x}, default: {http: {numRetries: 1}}}]}", []string{"spec.to[0].targetRef.kind"}},
		"empty protocols":                   {confs("{tcp: {}, http: {}, grpc: {}}"), below(d, ".tcp", ".http", ".grpc")},
		"the attempts to choose alone":      {http("hostSelectionMaxAttempts: 3"), []string{d + ".http"}},
		"no attempt":                        {confs("{tcp: {maxConnectAttempt: 0}}"), []string{d + ".tcp.maxConnectAttempt"}},
		"negative times":                    {confs("{http: {perTryTimeout: -1s, backOff: {baseInterval: 0s, maxInterval: -1s}}, grpc: {perTryTimeout: -1s, backOff: {baseInterval: 0s, maxInterval: -1s}}}"), below(d, ".http.perTryTimeout", ".http.backOff.baseInterval", ".http.backOff.maxInterval", ".grpc.perTryTimeout", ".grpc.backOff.baseInterval", ".grpc.backOff.maxInterval")},
		"empty times":                       {confs("{http: {backOff: {}}, grpc: {backOff: {}}}"), below(d, ".http.backOff", ".grpc.backOff")},
		"no reset headers":                  {confs("{http: {rateLimitedBackOff: {}}, grpc: {rateLimitedBackOff: {maxInterval: 0s}}}"), below(d, ".http.rateLimitedBackOff.resetHeaders", ".grpc.rateLimitedBackOff.resetHeaders", ".grpc.rateLimitedBackOff.maxInterval")},
		"bad reset headers":                 {http("rateLimitedBackOff: {resetHeaders: [{format: Seconds}, {name: A, format: Days}, {name: a}]}"), below(d+".http.rateLimitedBackOff.resetHeaders", "[0].name", "[1].name", "[1].format", "[2].format")},
		"unknown reasons":                   {http("retryOn: ['999', 5XX, Reset, gatewayerror, '0429', '']"), below(d+".http.retryOn", "[0]", "[1]", "[3]", "[4]", "[5]")},
		"unknown reasons of gRPC":           {confs("{grpc: {retryOn: [canceled]}}"), []string{d + ".grpc.retryOn[0]"}},
		"bad header matches":                {http("retriableResponseHeaders: [{name: A}], retriableRequestHeaders: [{type: Any, name: a}, {value: x}]"), below(d+".http", ".retriableResponseHeaders[0].name", ".retriableRequestHeaders[0].type", ".retriableRequestHeaders[1].name")},
		"no predicate":                      {http("hostSelection: [{}, {predicate: Omit}]"), below(d+".http.hostSelection", "[0].predicate", "[1].predicate")},
		"tags that are missing":             {http("hostSelection: [{predicate: OmitHostsWithTags}, {predicate: OmitHostsWithTags, tags: {}}]"), below(d+".http.hostSelection", "[0].tags", "[1].tags")},
		"priorities twice":                  {http("hostSelection: [{predicate: OmitPreviousPriorities}, {predicate: OmitPreviousPriorities, updateFrequency: 0}]"), below(d+".http.hostSelection", "[1].predicate", "[1].updateFrequency")},
		"a number of retries below 0":       {http("numRetries: -1"), []string{d + ".http.numRetries"}},
		"several things at a time":          {confs("{tcp: {}, http: {retryOn: ['999'], backOff: {}}, grpc: {}}"), below(d, ".tcp", ".http.backOff", ".http.retryOn[0]", ".grpc")},
		"a bad value is not missing too":    {confs("{http: {numRetries: many}}", "{tcp: 5}"), []string{d + ".http.numRetries", "spec.to[1].default.tcp"}},
		"an item that is none at all":       {"{to: [5]}", []string{"spec.to[0]"}},
		"from, which this type has none of": {"{from: [], to: [{targetRef: {kind: Mesh}, default: {tcp: {maxConnectAttempt: 1}}}]}", []string{"spec.from"}},
	})
}

func TestMeshRetryGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshRetry", confs("{http: {hostSelection: [{predicate: OmitPreviousHosts}], retriableRequestHeaders: [{name: a}]}}"))
	assert.JSONEq(t, `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"http":{
		"hostSelection":[{"predicate":"OmitPreviousHosts","updateFrequency":2}],"retriableRequestHeaders":[{"name":"a","type":"Exact"}]}}}]}`, got)
}
