package policy_test

import "testing"

func TestMeshFaultInjection(t *testing.T) {
	t.Parallel()
	const d = "spec.from[0].default.http"
	faults := func(list string) string {
		return "{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, from: [{targetRef: {kind: Mesh}, default: {http: [" + list + "]}}]}"
	}
	testSpecs(t, "MeshFaultInjection", map[string]specCase{
		"nothing":               {"{}", nil},
		"some clients":          {`{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, from: [{targetRef: {kind: MeshSubset, tags: {kuma.io/zone: east}}, default: {http: [{abort: {httpStatus: 503, percentage: "2.5"}}, {delay: {value: 250ms, percentage: 10}}]}}]}`, nil},
		"every kind of client":  {"{targetRef: {kind: MeshSubset, proxyTypes: [Sidecar]}, from: [{targetRef: {kind: Mesh}}, {targetRef: {kind: MeshService, name: a}}, {targetRef: {kind: MeshServiceSubset, name: a, tags: {v: '1'}}}]}", nil},
		"a conf without faults": {"{targetRef: {kind: Dataplane}, from: [{targetRef: {kind: Mesh}, default: {}}]}", nil},
		"a fault of nothing":    {faults("{}"), nil},
		"bandwidth":             {faults("{responseBandwidth: {limit: 50kbps, percentage: 0}}, {responseBandwidth: {limit: 5 Mbps, percentage: 100}}, {responseBandwidth: {limit: 1Gbps, percentage: 100}}"), nil},
		"no delay":              {faults("{delay: {value: 0s, percentage: 1}}"), nil},
		"what a gateway sends":  {"{to: [{targetRef: {kind: Mesh}, default: {http: [{abort: {httpStatus: 500, percentage: 1}}]}}]}", nil},
		"a gateway by name":     {"{targetRef: {kind: MeshGateway, name: g, tags: {a: b}}, to: [{targetRef: {kind: Mesh}}]}", nil},
		"from at a service":     {"{targetRef: {kind: MeshService, name: a}, from: [{targetRef: {kind: Mesh}}]}", nil},

		"from in the whole mesh":         {"{from: [{targetRef: {kind: MeshHTTPRoute}, default: {http: [{abort: {httpStatus: 1, percentage: 5}}]}}]}", []string{"spec.from", "spec.from[0].default.http[0].abort.httpStatus"}},
		"from with all types of proxies": {"{targetRef: {kind: MeshSubset, proxyTypes: [Sidecar, Gateway]}, from: [{targetRef: {kind: Mesh}}]}", []string{"spec.from"}},
		"from at a gateway":              {"{targetRef: {kind: MeshGateway, name: g}, from: [{targetRef: {kind: Mesh}}]}", []string{"spec.from"}},
		"to at sidecars":                 {"{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, to: [{targetRef: {kind: MeshService, name: a}}]}", []string{"spec.to"}},
		"to at a Dataplane":              {"{targetRef: {kind: Dataplane}, to: [{targetRef: {kind: Mesh}}]}", []string{"spec.to"}},
		"to one service":                 {"{to: [{targetRef: {kind: MeshService, name: a}}]}", []string{"spec.to[0].targetRef.kind"}},
		"a route at the top":             {"{targetRef: {kind: MeshHTTPRoute, name: a}, to: [{targetRef: {kind: Mesh}}]}", []string{"spec.targetRef.kind"}},
		"clients by gateway":             {"{targetRef: {kind: Dataplane}, from: [{targetRef: {kind: MeshGateway, name: g}}]}", []string{"spec.from[0].targetRef.kind"}},
		"rules":                          {"{targetRef: {kind: Dataplane}, rules: []}", []string{"spec.rules"}},
		"a status out of range":          {faults("{abort: {httpStatus: 99, percentage: 5}}, {abort: {httpStatus: 600, percentage: 5}}"), below(d, "[0].abort.httpStatus", "[1].abort.httpStatus")},
		"empty faults":                   {faults("{abort: {}, delay: {}, responseBandwidth: {}}"), below(d, "[0].abort.httpStatus", "[0].abort.percentage", "[0].delay.value", "[0].delay.percentage", "[0].responseBandwidth.limit", "[0].responseBandwidth.percentage")},
		"percentages out of range":       {faults(`{abort: {httpStatus: 500, percentage: 101}, delay: {value: 1s, percentage: -1}, responseBandwidth: {limit: 1kbps, percentage: "100.1"}}`), below(d, "[0].abort.percentage", "[0].delay.percentage", "[0].responseBandwidth.percentage")},
		"percentages that are none":      {faults(`{abort: {httpStatus: 500, percentage: x}}, {delay: {value: 1s, percentage: "1%"}}`), below(d, "[0].abort.percentage", "[1].delay.percentage")},
		"a negative delay":               {faults("{abort: {httpStatus: 500, percentage: 1}}, {delay: {value: -1s, percentage: 101}}"), below(d, "[1].delay.value", "[1].delay.percentage")},
		"a limit in other units":         {faults("{responseBandwidth: {limit: 5bps, percentage: 1}}, {responseBandwidth: {limit: 1.5Mbps, percentage: 1}}, {responseBandwidth: {limit: Mbps, percentage: 1}}, {responseBandwidth: {limit: '', percentage: 1}}"), below(d, "[0].responseBandwidth.limit", "[1].responseBandwidth.limit", "[2].responseBandwidth.limit", "[3].responseBandwidth.limit")},
	})
}
