package resolver_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

const surroundings = `{type: Mesh, name: default}
---
{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}
---
{type: Dataplane, name: edge, networking: {address: 10.0.0.2, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}}
---
{type: MeshGateway, name: other, selectors: [{match: {kuma.io/service: other}}], conf: {listeners: [{port: 81, protocol: HTTP}]}}
---
{type: MeshGateway, name: gw, selectors: [{match: {kuma.io/service: edge}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}
---
{type: MeshHTTPRoute, name: r, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: web}}, to: [{targetRef: {kind: MeshService, name: a}, rules: [{matches: [{method: GET}], default: {}}]}]}}
---
{type: MeshTimeout, name: on-route, spec: {targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
---
{type: MeshTimeout, name: on-gateway, spec: {targetRef: {kind: MeshGateway, name: gw}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 2s}}]}}
---
{type: MeshTrace, name: off, spec: {default: {backends: []}}}
`

// matching returns the names of the proxies that a MeshTimeout configures.
func matching(t *testing.T, r *resolver.Resolver, name string) (names []string) {
	t.Helper()
	found, err := r.Matching(t.Context(), "MeshTimeout", "default", name)
	require.NoError(t, err)
	for _, dp := range found {
		names = append(names, dp.Name)
	}
	return names
}

func TestPoliciesFollowTheirRouteAndTheirGateway(t *testing.T) {
	t.Parallel()
	m := stored(t, surroundings)
	r := resolver.New(resolver.Config{Source: m})
	assert.Equal(t, []string{"web"}, matching(t, r, "on-route"))
	assert.Equal(t, []string{"edge"}, matching(t, r, "on-gateway"))
	assert.Equal(t, "", idle(t, r, "web"), "only in rules by tag")
	assert.Equal(t, "2s", idle(t, r, "edge"))
	answer, err := r.Rules(t.Context(), "default", "web")
	require.NoError(t, err)
	assert.Len(t, answer.HTTPMatches, 1)

	gw := documents(t, "{type: MeshGateway, name: gw, selectors: [{match: {kuma.io/service: nobody}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}")[0]
	m.apply(resource.Put(gw), resource.Delete(resource.Key{Kind: "MeshHTTPRoute", Mesh: "default", Name: "r"}))
	assert.Empty(t, matching(t, r, "on-route"))
	assert.Empty(t, matching(t, r, "on-gateway"))
	assert.Equal(t, "", idle(t, r, "edge"))
}

func TestRulesByTagFollowTheRouteThatAPolicyIsFor(t *testing.T) {
	t.Parallel()
	m := stored(t, surroundings)
	r := resolver.New(resolver.Config{Source: m})
	hash := func() string {
		answer, err := r.Rules(t.Context(), "default", "web")
		require.NoError(t, err)
		i := slices.IndexFunc(answer.Rules, func(r policy.TypeRules) bool { return r.Type == "MeshTimeout" })
		return answer.Rules[i].ToRules[0].Matchers[0].Value
	}
	before := hash()
	m.apply(resource.Put(documents(t, "{type: MeshHTTPRoute, name: r, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: web}}, to: [{targetRef: {kind: MeshService, name: a}, rules: [{matches: [{method: PUT}], default: {}}]}]}}")[0]))
	assert.NotEqual(t, before, hash())
}

func TestRulesOfAGateway(t *testing.T) {
	t.Parallel()
	m := stored(t, surroundings+"---\n{type: MeshGateway, name: none, conf: {listeners: [{port: 80, protocol: HTTP}]}}\n")
	r := resolver.New(resolver.Config{Source: m})
	answer, err := r.GatewayRules(t.Context(), "default", "gw")
	require.NoError(t, err)
	assert.Equal(t, "MeshGateway", answer.Resource.Type)
	var types []string
	for _, rules := range answer.Rules {
		types = append(types, rules.Type)
	}
	assert.Equal(t, []string{"MeshTrace", "MeshTimeout"}, types)

	_, err = r.GatewayRules(t.Context(), "default", "none")
	var invalid *resource.InvalidError
	require.ErrorAs(t, err, &invalid, "no proxy can serve it")
	m.apply(resource.Delete(resource.Key{Kind: "MeshGateway", Mesh: "default", Name: "gw"}))
	_, err = r.GatewayRules(t.Context(), "default", "gw")
	require.ErrorIs(t, err, resource.ErrNotFound)
	_, err = r.GatewayRules(t.Context(), "nope", "gw")
	require.ErrorIs(t, err, resource.ErrNotFound)
}

func TestWhatIsForTheProxyAsAWhole(t *testing.T) {
	t.Parallel()
	r := resolver.New(resolver.Config{Source: stored(t, surroundings)})
	effective, err := r.Effective(t.Context(), "default", "web", policy.Filter{})
	require.NoError(t, err)
	require.Len(t, effective.Proxy, 1)
	assert.Equal(t, "MeshTrace", effective.Proxy[0].Type)
	effective, err = r.Effective(t.Context(), "default", "web", policy.Filter{Kind: "MeshTimeout"})
	require.NoError(t, err)
	assert.Equal(t, []policy.Applied{}, effective.Proxy)
}
