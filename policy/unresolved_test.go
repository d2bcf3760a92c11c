package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

const surroundings = `
type: Dataplane
name: web
labels: {k8s.kuma.io/namespace: shop, app: web}
networking: {address: 192.0.2.1, inbound: [{name: http, port: 80, tags: {kuma.io/service: web}}]}
---
type: Dataplane
name: edge
networking: {address: 192.0.2.2, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}
---
type: MeshGateway
name: edge
selectors: [{match: {kuma.io/service: edge}}]
conf: {listeners: [{port: 80, protocol: HTTP}]}
---
type: MeshService
name: cart
labels: {k8s.kuma.io/namespace: shop, team: blue}
spec: {ports: [{port: 80, name: http}, {port: 9000}]}
---
type: MeshExternalService
name: bank
spec: {match: {port: 443}}
`

func readAll(t *testing.T, text string) []resource.Resource {
	t.Helper()
	docs, err := policy.Schemas().Read("t.yaml", []byte(text), resource.ReadOptions{})
	require.NoError(t, err)
	var all []resource.Resource
	for _, doc := range docs {
		all = append(all, doc.Resource)
	}
	return all
}

// known returns what references find among some resources that were written on global.
func known(t *testing.T, text string) policy.Known {
	t.Helper()
	var proxies []*policy.Proxy
	k := policy.Known{Destinations: policy.NewDestinations(), Proxies: slices.Values([]*policy.Proxy(nil))}
	for _, r := range readAll(t, text) {
		switch r.Kind {
		case "Dataplane":
			px, err := policy.ParseProxy(r)
			require.NoError(t, err)
			proxies = append(proxies, px)
		case "MeshGateway":
			g, err := policy.ParseGateway(r)
			require.NoError(t, err)
			k.Around.Gateways = append(k.Around.Gateways, g)
		default:
			d, err := policy.ParseDestination(r)
			require.NoError(t, err)
			k.Destinations.Put(d)
		}
	}
	k.Proxies = slices.Values(proxies)
	return k
}

func TestUnresolvedNamesEachReferenceThatFindsNothing(t *testing.T) {
	t.Parallel()
	k := known(t, surroundings)
	timeout := func(ref string) string {
		return "type: MeshTimeout\nname: x\nlabels: {kuma.io/zone: east, kuma.io/origin: zone}\nspec: {to: [{targetRef: " + ref + ", default: {idleTimeout: 1s}}]}"
	}
	top := func(ref string) string {
		return "type: MeshTimeout\nname: x\nspec: {targetRef: " + ref + ", to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}"
	}
	route := func(backend string) string {
		return "type: MeshTCPRoute\nname: x\nspec: {to: [{targetRef: {kind: MeshExternalService, name: bank}, rules: [{default: {backendRefs: [{kind: MeshExternalService, name: bank}, " + backend + "]}}]}]}"
	}
	for doc, want := range map[string]string{
		timeout("{kind: Mesh}"):                                                     "",
		timeout("{kind: MeshService, labels: {team: blue}}"):                        "",
		timeout("{kind: MeshService, labels: {team: blue}, sectionName: http}"):     "",
		timeout("{kind: MeshService, labels: {team: blue}, sectionName: \"9000\"}"): "",
		timeout("{kind: MeshService, labels: {team: blue}, sectionName: htp}"):      "spec.to[0].targetRef: MeshService with team=blue has no port htp, only 9000, http, now, so it has no effect; did you mean http?",
		timeout("{kind: MeshService, labels: {team: red, a: b}}"):                   "spec.to[0].targetRef: there is no MeshService with a=b, team=red now, so it has no effect",
		timeout("{kind: MeshService, name: card, namespace: shop}"):                 "spec.to[0].targetRef: there is no MeshService card in namespace shop of east now, so it has no effect; did you mean cart?",
		timeout("{kind: MeshMultiZoneService, name: cart}"):                         "spec.to[0].targetRef: there is no MeshMultiZoneService cart of east now, so it has no effect",
		top("{kind: Dataplane, labels: {app: web}}"):                                "",
		top("{kind: Dataplane, labels: {app: db}}"):                                 "spec.targetRef: selects no proxy now, so it has no effect",
		top("{kind: MeshSubset, tags: {kuma.io/service: web}}"):                     "",
		top("{kind: MeshGateway, name: edge}"):                                      "",
		top("{kind: MeshGateway, name: side}"):                                      "spec.targetRef: selects no proxy now, so it has no effect",
		route("{kind: MeshService, name: anything}"):                                "",
		route("{kind: MeshExternalService, name: banc}"):                            "spec.to[0].rules[0].default.backendRefs[1]: there is no MeshExternalService banc of global now, so it has no effect; did you mean bank?",
		route("{kind: MeshService, labels: {team: blue}, port: 80}"):                "",
		route("{kind: MeshService, labels: {team: blue}, port: 81}"):                "spec.to[0].rules[0].default.backendRefs[1]: MeshService with team=blue has no port 81, only 9000, http, now, so it has no effect",
		top("{kind: Mesh}"): "",
		"type: MeshTimeout\nname: x\nspec: {to: [{targetRef: {kind: MeshService, name: cart}, default: {idleTimeout: 1s}}]}": "",
	} {
		p, err := policy.Parse(readAll(t, doc)[0])
		require.NoError(t, err)
		var all []string
		if want != "" {
			all = []string{want}
			assert.True(t, policy.References(p), doc)
		}
		assert.Equal(t, all, policy.Unresolved(p, k), doc)
		assert.Equal(t, all, policy.Unresolved(p, known(t, ""), k), doc)
	}
}
