package policy

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// parseAll reads documents as they would be stored, proxies and gateways.
func parseAll(t *testing.T, text string) (proxies []*Proxy, gateways []*Gateway) {
	t.Helper()
	docs, err := Schemas().Read("", []byte(text), resource.ReadOptions{AsStored: true})
	require.NoError(t, err)
	for _, d := range docs {
		if d.Resource.Kind == "Dataplane" {
			px, err := ParseProxy(d.Resource)
			require.NoError(t, err)
			proxies = append(proxies, px)
			continue
		}
		g, err := ParseGateway(d.Resource)
		require.NoError(t, err)
		gateways = append(gateways, g)
	}
	return proxies, gateways
}

func TestAProxyServesTheGatewayThatSelectsItMostClosely(t *testing.T) {
	t.Parallel()
	const (
		edge    = "{type: Dataplane, name: edge, labels: {kuma.io/zone: east}, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: edge, a: b}}}}\n---\n"
		sidecar = "{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 1, tags: {kuma.io/service: web, a: b}}, {port: 2, state: Ignored, tags: {kuma.io/service: ignored}}]}}\n---\n"
	)
	gateway := func(name, selectors string) string {
		return "{type: MeshGateway, name: " + name + ", selectors: [" + selectors + "]}\n---\n"
	}
	of := func(name, labels string) string {
		return "{type: MeshGateway, name: " + name + ", labels: {" + labels + "}, selectors: [{match: {kuma.io/service: edge}}]}\n---\n"
	}
	for name, c := range map[string]struct{ docs, want string }{
		"none":                       {edge, ""},
		"another service":            {edge + gateway("g", "{match: {kuma.io/service: other}}"), ""},
		"no selector":                {edge + gateway("g", ""), "g"},
		"a selector without tags":    {edge + gateway("g", "{match: {}}"), "g"},
		"a selector rather than no":  {edge + gateway("g1", "") + gateway("g2", "{match: {a: '*'}}"), "g2"},
		"the first of equal ones":    {edge + gateway("g1", "{match: {a: b}}") + gateway("g2", "{match: {kuma.io/service: edge}}"), "g1"},
		"the first of those without": {edge + gateway("g1", "") + gateway("g2", ""), "g1"},
		"more tags":                  {edge + gateway("g1", "{match: {a: b}}") + gateway("g2", "{match: {kuma.io/service: edge, a: '*'}}"), "g2"},
		"more exact tags":            {edge + gateway("g1", "{match: {kuma.io/service: '*', a: b}}") + gateway("g2", "{match: {kuma.io/service: edge, a: b}}"), "g2"},
		"its best selector counts":   {edge + gateway("g1", "{match: {a: b}}") + gateway("g2", "{match: {a: b}}, {match: {kuma.io/service: edge, a: b}}, {match: {x: y}}"), "g2"},
		"an inbound":                 {sidecar + gateway("g", "{match: {kuma.io/service: web}}"), "g"},
		"an ignored inbound":         {sidecar + gateway("g", "{match: {kuma.io/service: ignored}}"), ""},
		"its zone":                   {edge + of("g", "kuma.io/origin: zone, kuma.io/zone: east"), "g"},
		"another zone":               {edge + of("g", "kuma.io/origin: zone, kuma.io/zone: west"), ""},
		"another zone, from global":  {edge + of("g", "kuma.io/origin: global, kuma.io/zone: west"), "g"},
		"a zone without a name":      {edge + of("g", "kuma.io/origin: zone"), "g"},
		"an unknown origin":          {edge + of("g", "kuma.io/origin: mars"), ""},
		"a proxy without a zone":     {sidecar + "{type: MeshGateway, name: g, labels: {kuma.io/origin: zone, kuma.io/zone: west}, selectors: [{match: {a: b}}]}", "g"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxies, gateways := parseAll(t, c.docs)
			got := ""
			if g := served(proxies[0], gateways); g != nil {
				got = g.Name
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestOfEqualGatewaysTheNewestIsServed(t *testing.T) {
	t.Parallel()
	proxies, gateways := parseAll(t, `{type: Dataplane, name: edge, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}}
---
{type: MeshGateway, name: g1, selectors: [{match: {kuma.io/service: edge}}]}
---
{type: MeshGateway, name: g2, selectors: [{match: {kuma.io/service: edge}}]}
`)
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	gateways[0].Created, gateways[1].Created = now, now
	assert.Equal(t, "g1", served(proxies[0], gateways).Name)
	gateways[1].Created = now.Add(time.Second)
	assert.Equal(t, "g2", served(proxies[0], gateways).Name)
}

func TestMatchesLooksForGatewaysOfBuiltinProxiesAlone(t *testing.T) {
	t.Parallel()
	proxies, gateways := parseAll(t, `{type: Dataplane, name: edge, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: x}}}}
---
{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 1, tags: {kuma.io/service: x}}]}}
---
{type: MeshGateway, name: g, selectors: [{match: {kuma.io/service: x}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}
`)
	around := Surroundings{Gateways: gateways}
	matching := func(targetRef string) (names []string) {
		p, err := Parse(resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "p"}, Spec: []byte(`{"targetRef":` + targetRef + `}`)})
		require.NoError(t, err)
		for _, px := range proxies {
			if Matches(p, px, around) {
				names = append(names, px.Name)
			}
		}
		return names
	}
	assert.Equal(t, []string{"web"}, matching(`{"kind":"Dataplane"}`))
	assert.Equal(t, []string{"edge"}, matching(`{"kind":"MeshGateway","name":"g"}`))
	assert.Equal(t, []string(nil), matching(`{"kind":"MeshGateway","name":"other"}`))
	assert.Equal(t, []string{"edge", "web"}, matching(`{"kind":"Mesh"}`))
	assert.Equal(t, []string(nil), matching(`{"kind":"MeshHTTPRoute","name":"r"}`))
}

func TestAPortIsShownAsItsFirstInbound(t *testing.T) {
	t.Parallel()
	proxies, gateways := parseAll(t, `{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [
  {port: 81, name: first, address: 10.0.0.2, tags: {kuma.io/service: x}}, {port: 81, name: second, tags: {kuma.io/service: y}},
  {port: 82, name: ignored, state: Ignored, tags: {kuma.io/service: x}}, {port: 83, name: elsewhere, address: 10.0.0.2}]}}
---
{type: Dataplane, name: edge, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: x}}}}
---
{type: MeshGateway, name: g, selectors: [{match: {kuma.io/service: x}}], conf: {listeners: [{port: 81, protocol: HTTP}, {port: 82, protocol: HTTP}, {port: 83, protocol: HTTP}, {port: 84, protocol: HTTP}]}}
`)
	x := map[string]string{"kuma.io/service": "x"}
	for name, c := range map[string]struct {
		proxy int
		want  Inbound
	}{
		"whatever its address":                      {0, Inbound{Name: "first", Port: 81, Tags: x}},
		"at a listener of the gateway, elsewhere":   {0, Inbound{Name: "elsewhere", Port: 83, Tags: map[string]string{}}},
		"at a listener of the gateway, ignored":     {0, Inbound{Name: "ignored", Port: 82, Tags: x}},
		"a listener that no inbound is at":          {0, Inbound{Port: 84, Tags: map[string]string{}}},
		"a listener of a gateway: the tags of that": {1, Inbound{Port: 84, Tags: x}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listeners := newSite(proxies[c.proxy], gateways).listeners
			i := slices.IndexFunc(listeners, func(l listener) bool { return l.address == "10.0.0.1" && l.port == c.want.Port })
			require.GreaterOrEqual(t, i, 0)
			assert.Equal(t, c.want, listeners[i].shown)
		})
	}
}

func TestOnlyAGatewayWithSelectorsHasAProxyThatStandsForAll(t *testing.T) {
	t.Parallel()
	_, gateways := parseAll(t, "{type: MeshGateway, name: none, labels: {a: b}}\n---\n{type: MeshGateway, name: two, labels: {a: b}, selectors: [{match: {c: d}}, {match: {e: f}}]}")
	_, err := gateways[0].Stand()
	require.Error(t, err)
	px, err := gateways[1].Stand()
	require.NoError(t, err)
	assert.JSONEq(t, `{"type": "MeshGateway", "mesh": "default", "name": "two", "labels": {"a": "b"}}`, toJSON(t, px.meta))
	assert.Equal(t, map[string]string{"c": "d"}, px.gateway)
}
