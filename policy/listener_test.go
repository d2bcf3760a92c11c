package policy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
)

const listened = `
{type: Mesh, name: default}
---
{type: MeshGateway, mesh: default, name: edge, selectors: [{match: {kuma.io/service: edge}}], tags: {team: a}, conf: {listeners: [
  {port: 80, protocol: HTTP, tags: {port: plain}},
  {port: 443, protocol: HTTPS, hostname: shop.example, tags: {port: shop}},
  {port: 443, protocol: HTTPS, hostname: "*", tags: {port: rest}}, {port: 90, protocol: HTTP, hostname: a.example}, {port: 90, protocol: HTTP, hostname: b.example}]}}
---
{type: Dataplane, mesh: default, name: edge-1, networking: {address: 192.0.2.1, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}}
---
{type: Dataplane, mesh: default, name: web, networking: {address: 192.0.2.2, inbound: [{port: 80, tags: {kuma.io/service: edge}}]}}
---
{type: MeshTimeout, mesh: default, name: a-plain, spec: {targetRef: {kind: MeshGateway, name: edge, tags: {port: plain}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
---
{type: MeshTimeout, mesh: default, name: b-shop, spec: {targetRef: {kind: MeshGateway, name: edge, tags: {port: shop, team: a}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 2s}}]}}
---
{type: MeshTimeout, mesh: default, name: c-edge, spec: {targetRef: {kind: MeshGateway, name: edge}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 3s, connectionTimeout: 3s}}]}}
---
{type: MeshTimeout, mesh: default, name: d-all, spec: {targetRef: {kind: Mesh}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 4s, http: {requestTimeout: 4s}}}]}}
`

// Policies that select one listener of a gateway have a say there alone, also where two listeners share a port.
func TestAtOneListenerOnlyThePoliciesThatSelectItHaveASay(t *testing.T) {
	t.Parallel()
	s := read(t, listened)
	require.Len(t, s.proxies, 2)
	gateway := s.input(s.proxies[0])
	require.Equal(t, "edge-1", gateway.Proxy.Name)
	all := policy.Listeners(gateway)
	assert.Equal(t, "[80 a.example:90 b.example:90 443 shop.example:443]", fmt.Sprint(all))
	fields := func(in policy.Input) (values string) {
		tos, _ := policy.Effective(in, policy.Filter{Kind: "MeshTimeout"})
		for _, f := range tos[0].Rules[0].Fields {
			values += fmt.Sprintf("%s=%v by %s; ", f.Path, f.Value, f.Origin.Name)
		}
		return values
	}
	rest := "connectionTimeout=3s by c-edge; http.requestTimeout=4s by d-all; "
	for word, want := range map[string]string{
		"80":               rest + "idleTimeout=1s by a-plain; ",
		"443":              rest + "idleTimeout=3s by c-edge; ",
		"shop.example":     rest + "idleTimeout=2s by b-shop; ",
		"shop.example:443": rest + "idleTimeout=2s by b-shop; ",
	} {
		at, _, ok := policy.AtListener(gateway, word)
		require.True(t, ok, word)
		assert.Equal(t, want, fields(at), word)
	}
	assert.Equal(t, rest+"idleTimeout=1s by a-plain; ", fields(gateway), "the proxy as a whole has what is for any of them")

	_, found, ok := policy.AtListener(gateway, "90")
	assert.False(t, ok)
	assert.Len(t, found, 2, "the port alone means two")
	_, found, ok = policy.AtListener(gateway, "81")
	assert.False(t, ok)
	assert.Empty(t, found)

	sidecar := s.input(s.proxies[1])
	assert.Nil(t, policy.Listeners(sidecar), "a sidecar with the tags has the ports, and is no gateway")
	_, _, ok = policy.AtListener(sidecar, "80")
	assert.False(t, ok)
}
