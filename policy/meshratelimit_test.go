package policy_test

import "testing"

func TestMeshRateLimit(t *testing.T) {
	t.Parallel()
	const d = "spec.rules[0].default"
	rules := func(conf string) string {
		return "{targetRef: {kind: Dataplane}, rules: [{default: " + conf + "}]}"
	}
	testSpecs(t, "MeshRateLimit", map[string]specCase{
		"nothing":              {"{}", nil},
		"requests":             {"{targetRef: {kind: Dataplane, labels: {app: pay}, sectionName: http}, rules: [{default: {local: {http: {requestRate: {num: 30, interval: 1m}, onRateLimit: {status: 429, headers: {set: [{name: x-limited, value: 'yes'}]}}}}}}]}", nil},
		"connections":          {rules("{local: {tcp: {connectionRate: {num: 1, interval: 51ms}}}}"), nil},
		"switched off":         {rules("{local: {http: {disabled: true}, tcp: {disabled: false}}}"), nil},
		"an answer alone":      {rules("{local: {http: {onRateLimit: {}}}}"), nil},
		"a null is given":      {rules("{local: null}"), nil},
		"nulls are given":      {rules("{local: {http: {requestRate: null}, tcp: {connectionRate: null}}}"), nil},
		"a null in a rate":     {rules("{local: {http: {requestRate: {num: null, interval: 1s}}}}"), nil},
		"from at sidecars":     {"{targetRef: {kind: MeshSubset, proxyTypes: [Sidecar]}, from: [{targetRef: {kind: Mesh}, default: {local: {http: {disabled: true}}}}]}", nil},
		"to of a mesh":         {"{to: [{targetRef: {kind: Mesh}, default: {local: {http: {disabled: true}}}}]}", nil},
		"to of a route":        {"{targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: Mesh}, default: {local: {http: {disabled: true}}}}]}", nil},
		"rules at a service":   {"{targetRef: {kind: MeshService, name: a}, rules: [{default: {local: {http: {disabled: true}}}}]}", nil},
		"both lists, both bad": {"{targetRef: {kind: Dataplane}, to: [{targetRef: {kind: Mesh}, default: {}}], rules: [{default: {}}]}", []string{"spec", "spec.to", d + ".local"}},

		"rules of the whole mesh":      {"{rules: [{default: {}}]}", []string{"spec.rules"}},
		"from of the whole mesh":       {"{from: [{targetRef: {kind: MeshService}, default: {}}]}", []string{"spec.from"}},
		"from at a gateway":            {"{targetRef: {kind: MeshGateway, name: g}, from: [{targetRef: {kind: Mesh}, default: {}}]}", []string{"spec.from"}},
		"to of sidecars":               {"{targetRef: {kind: Dataplane}, to: [{targetRef: {kind: Mesh}, default: {local: {tcp: {disabled: true}}}}]}", []string{"spec.to"}},
		"rules and from":               {"{targetRef: {kind: Dataplane}, from: [{targetRef: {kind: Mesh}, default: {local: {tcp: {disabled: true}}}}], rules: [{default: {local: {tcp: {disabled: true}}}}]}", []string{"spec"}},
		"to one service":               {"{to: [{targetRef: {kind: MeshService, name: a}, default: {local: {tcp: {disabled: true}}}}]}", []string{"spec.to[0].targetRef.kind"}},
		"from one service":             {"{targetRef: {kind: Dataplane}, from: [{targetRef: {kind: MeshService, name: a}, default: {local: {tcp: {disabled: true}}}}]}", []string{"spec.from[0].targetRef.kind"}},
		"no local":                     {rules("{}"), []string{d + ".local"}},
		"no conf":                      {"{targetRef: {kind: Dataplane}, rules: [{}]}", []string{d + ".local"}},
		"an empty local":               {rules("{local: {}}"), []string{d + ".local"}},
		"empty protocols":              {rules("{local: {http: {}, tcp: {}}}"), below(d+".local", ".http", ".tcp")},
		"empty rates":                  {rules("{local: {http: {requestRate: {}}, tcp: {connectionRate: {}}}}"), below(d+".local", ".http.requestRate.num", ".http.requestRate.interval", ".tcp.connectionRate.num", ".tcp.connectionRate.interval")},
		"none in no time":              {rules("{local: {http: {requestRate: {num: 0, interval: 50ms}}, tcp: {connectionRate: {num: 0, interval: 0s}}}}"), below(d+".local", ".http.requestRate.num", ".http.requestRate.interval", ".tcp.connectionRate.num", ".tcp.connectionRate.interval")},
		"a status of 0":                {rules("{local: {http: {onRateLimit: {status: 0}}}}"), below(d+".local", ".http.onRateLimit.status")},
		"headers of the answer":        {rules("{local: {http: {onRateLimit: {headers: {add: [{name: X, value: y}]}}}}}"), below(d+".local", ".http.onRateLimit.headers.add[0].name")},
		"a bad rate is no missing one": {rules("{local: {http: {requestRate: 5}}}"), below(d+".local", ".http.requestRate")},
	})
}
