package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

const chain = `{type: Mesh, name: default}
---
{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}
---
{type: Dataplane, name: edge, networking: {address: 10.0.0.2, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}}
---
{type: MeshService, name: cart, spec: {ports: [{port: 80, name: http}, {port: 81}]}}
---
{type: MeshService, name: other, spec: {ports: [{port: 80}]}}
---
{type: MeshMultiZoneService, name: all, spec: {selector: {meshService: {matchLabels: {a: b}}}, ports: [{port: 80, name: http}]}}
---
{type: MeshExternalService, name: bank, spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}}
---
{type: MeshTimeout, name: mesh, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
---
{type: MeshTimeout, name: cart, spec: {to: [{targetRef: {kind: MeshService, name: cart}, default: {idleTimeout: 2s}}]}}
---
{type: MeshTimeout, name: a-port, spec: {to: [{targetRef: {kind: MeshService, name: cart, sectionName: http}, default: {idleTimeout: 3s}}]}}
---
{type: MeshTimeout, name: a-bank, spec: {to: [{targetRef: {kind: MeshExternalService, name: bank}, default: {idleTimeout: 4s}}]}}
---
{type: MeshTimeout, name: route, spec: {targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 5s}}]}}
---
{type: MeshHTTPRoute, name: r, spec: {to: [{targetRef: {kind: MeshService, name: cart}, rules: [{matches: [{method: GET}], default: {backendRefs: [{kind: MeshService, name: cart, port: 80}]}}]}]}}
---
{type: MeshTCPRoute, name: t, spec: {to: [{targetRef: {kind: MeshService, name: legacy}, rules: [{default: {backendRefs: [{kind: MeshService, name: cart}]}}]}]}}
`

func TestTheChainOfOneOutbound(t *testing.T) {
	t.Parallel()
	key := func(kind, name string) resource.Key { return resource.Key{Kind: kind, Mesh: "default", Name: name} }
	cart, get := key("MeshService", "cart"), []policy.HTTPMatch{{Method: "GET"}}
	tag := map[string]string{"kuma.io/service": "cart"}
	for name, c := range map[string]struct {
		docs, kind, proxy string // "": chain alone, MeshTimeout, web
		to                policy.Outbound
		want              string
	}{
		"a port":                         {to: policy.Outbound{Key: cart, Port: "http"}, want: `section [{"idleTimeout":"3s"}]`},
		"a named port by its number":     {to: policy.Outbound{Key: cart, Port: "80"}, want: `section [{"idleTimeout":"3s"}]`},
		"a port that no item names":      {to: policy.Outbound{Key: cart, Port: "81"}, want: `resource [{"idleTimeout":"2s"}]`},
		"a port that is not there":       {to: policy.Outbound{Key: cart, Port: "9"}, want: `resource [{"idleTimeout":"2s"}]`},
		"the resource as a whole":        {to: policy.Outbound{Key: cart}, want: `resource [{"idleTimeout":"2s"}]`},
		"a resource that no item names":  {to: policy.Outbound{Key: key("MeshService", "other"), Port: "80"}, want: `mesh [{"idleTimeout":"1s"}]`},
		"a multi-zone service":           {to: policy.Outbound{Key: key("MeshMultiZoneService", "all"), Port: "80"}, want: `mesh [{"idleTimeout":"1s"}]`},
		"an external service":            {to: policy.Outbound{Key: key("MeshExternalService", "bank")}, want: `resource [{"idleTimeout":"4s"}]`},
		"a resource that is not there":   {to: policy.Outbound{Key: key("MeshService", "nope")}},
		"another type":                   {kind: "MeshRetry", to: policy.Outbound{Key: cart}},
		"a type without to":              {kind: "MeshTrace", to: policy.Outbound{Key: cart}},
		"a tag":                          {to: policy.Outbound{Tags: tag}, want: `tag [{"idleTimeout":"3s"}]`}, // a section is no tag
		"a tag that no item names":       {to: policy.Outbound{Tags: map[string]string{"kuma.io/service": "x"}}, want: `tag [{"idleTimeout":"1s"}]`},
		"requests that a rule matches":   {to: policy.Outbound{Tags: tag, Matches: get}, want: `tag [{"idleTimeout":"5s"}]`},
		"other requests":                 {to: policy.Outbound{Tags: tag, Matches: []policy.HTTPMatch{{Method: "PUT"}}}, want: `tag [{"idleTimeout":"3s"}]`},
		"a builtin gateway":              {docs: "---\n{type: MeshGateway, name: gw, selectors: [{match: {kuma.io/service: edge}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}", proxy: "edge", to: policy.Outbound{Tags: tag, Matches: get}, want: `tag [{"idleTimeout":"1s"}]`},
		"a builtin gateway, any request": {docs: "---\n{type: MeshGateway, name: gw, selectors: [{match: {kuma.io/service: edge}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}", proxy: "edge", to: policy.Outbound{Tags: tag}},
		"an exclusive mesh, a tag":       {docs: "---\n{type: Mesh, name: default, meshServices: {mode: Exclusive}}", to: policy.Outbound{Tags: tag}},
		"an exclusive mesh, a resource":  {docs: "---\n{type: Mesh, name: default, meshServices: {mode: Exclusive}}", to: policy.Outbound{Key: cart, Tags: tag}, want: `resource [{"idleTimeout":"2s"}]`},
		"a route by resource":            {kind: "MeshHTTPRoute", to: policy.Outbound{Key: cart, Tags: tag}, want: `resource [{"rules":[{"default":{"backendRefs":[{"kind":"MeshService","name":"cart","port":80,"weight":1}]},"matches":[{"method":"GET"}]}]}] map[I7Rd:0]`},
		"a route by tag":                 {kind: "MeshTCPRoute", to: policy.Outbound{Key: key("MeshService", "other"), Tags: map[string]string{"kuma.io/service": "legacy"}}, want: `tag [{"default":{"backendRefs":[{"kind":"MeshService","name":"cart","weight":1}]}}] map[:0]`},
		"a route that there is not":      {kind: "MeshTCPRoute", to: policy.Outbound{Key: cart, Tags: tag}},
		"a port of what is named whole ": {docs: "---\n{type: MeshTimeout, name: a-x, spec: {to: [{targetRef: {kind: MeshService, name: other}, default: {idleTimeout: 6s}}]}}", to: policy.Outbound{Key: key("MeshService", "other"), Port: "80"}, want: `resource [{"idleTimeout":"6s"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := read(t, chain+c.docs)
			px := s.proxies[0]
			if c.proxy == "edge" {
				px = s.proxies[1]
			}
			kind := c.kind
			if kind == "" {
				kind = "MeshTimeout"
			}
			typ, ok := policy.LookupType(kind)
			require.True(t, ok)
			got := policy.OnOutbound(s.input(px), typ, c.to)
			if c.want == "" {
				assert.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			conf, err := json.Marshal(got.Conf)
			require.NoError(t, err)
			text := fmt.Sprintf("%s %s", got.Via, conf)
			if len(got.Backends) > 0 {
				short := map[string]int{}
				for hash, i := range got.Backends {
					short[hash[:min(len(hash), 4)]] = i
				}
				text += fmt.Sprint(" ", short)
			}
			assert.Equal(t, c.want, text)
		})
	}
}

func TestRulesByTagAreInForceUnlessMeshServicesAreExclusive(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int{"": 1, "Disabled": 1, "Everywhere": 1, "ReachableBackends": 1, "Exclusive": 0} {
		mesh := "{type: Mesh, name: default}"
		if mode != "" {
			mesh = "{type: Mesh, name: default, meshServices: {mode: " + mode + "}}"
		}
		s := read(t, mesh+"\n---\n"+strings.SplitN(chain, "---\n", 3)[1]+"---\n{type: MeshTimeout, name: mesh, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}")
		answer := policy.Rules(s.input(s.proxies[0]))
		require.Len(t, answer.Rules, 1, mode)
		assert.Len(t, answer.Rules[0].ToRules, want, mode)
		assert.Len(t, answer.Rules[0].ToResourceRules, 1, mode)
	}
}

// Types that have both `from` and `rules` say the same in either.
func TestFromItemsAreInboundRulesOfTheTypesThatHaveBoth(t *testing.T) {
	t.Parallel()
	conf := map[string]string{
		"MeshTLS": "{mode: Strict}", "MeshAccessLog": "{backends: []}", "MeshRateLimit": "{local: {http: {requestRate: {num: 1, interval: 1s}}}}",
		"MeshTimeout": "{idleTimeout: 1s}", "MeshCircuitBreaker": "{connectionLimits: {maxRetries: 1}}",
	}
	found := 0
	for _, typ := range policy.Types {
		if !typ.Rules {
			continue
		}
		found++
		require.True(t, typ.From, typ.Kind)
		var rules []string
		for _, list := range []string{"from: [{targetRef: {kind: Mesh}, default: " + conf[typ.Kind] + "}]", "rules: [{default: " + conf[typ.Kind] + "}]"} {
			s := read(t, strings.Join(strings.SplitN(chain, "---\n", 3)[:2], "---\n")+"---\n{type: "+typ.Kind+", name: p, spec: {targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, "+list+"}}")
			answer := policy.Rules(s.input(s.proxies[0]))
			require.Len(t, answer.Rules, 1, typ.Kind)
			b, err := json.Marshal(answer.Rules[0].InboundRules)
			require.NoError(t, err)
			rules = append(rules, string(b))
		}
		assert.Equal(t, rules[0], rules[1])
		assert.Contains(t, rules[0], `"conf":[{`)
	}
	assert.Equal(t, len(conf), found)
}

func TestBackend(t *testing.T) {
	t.Parallel()
	s := store{destinations: policy.NewDestinations()}
	put := func(kind, name string, labels map[string]string, age time.Duration) {
		spec := `{"ports":[{"port":80,"name":"http"}]}`
		d, err := policy.ParseDestination(resource.Resource{
			Key: resource.Key{Kind: kind, Mesh: "default", Name: name}, Labels: labels, Spec: []byte(spec), Created: time.Unix(1e9, 0).Add(-age),
		})
		require.NoError(t, err)
		s.destinations.Put(d)
	}
	labels := func(zone, namespace string) map[string]string {
		return map[string]string{"kuma.io/zone": zone, "k8s.kuma.io/namespace": namespace, "kuma.io/display-name": "cart", "app": "cart"}
	}
	put("MeshService", "cart-a", labels("east", "shop"), time.Hour)
	put("MeshService", "cart-b", labels("west", "shop"), 2*time.Hour)
	put("MeshService", "cart-c", labels("east", "other"), 0)
	put("MeshExternalService", "bank", nil, 0)
	put("MeshMultiZoneService", "all", nil, 0)
	p, err := policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshHTTPRoute", Mesh: "default", Name: "r"}, Labels: labels("east", "shop"), Spec: []byte("{}")})
	require.NoError(t, err)
	global, err := policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshHTTPRoute", Mesh: "default", Name: "r"}, Spec: []byte("{}")})
	require.NoError(t, err)
	ref := func(kind policy.RefKind, name, namespace string, port uint32, labels ...string) policy.BackendRef {
		r := policy.BackendRef{TargetRef: policy.TargetRef{Kind: kind, Name: name, Namespace: namespace}}
		if port != 0 {
			r.Port = &port
		}
		if len(labels) > 0 {
			r.Labels = map[string]string{labels[0]: labels[1]}
		}
		return r
	}
	for name, c := range map[string]struct {
		of   *policy.Policy
		ref  policy.BackendRef
		want string
	}{
		"a name of its own zone and namespace": {p, ref("MeshService", "cart", "", 80), "cart-a http"},
		"a name of another namespace":          {p, ref("MeshService", "cart", "other", 80), "cart-c http"},
		"a name, from global":                  {global, ref("MeshService", "cart", "shop", 80), ""},
		"without a port it is a tag":           {p, ref("MeshService", "cart", "", 0), ""},
		"a port that is not there":             {p, ref("MeshService", "cart", "", 81), ""},
		"labels: the oldest":                   {global, ref("MeshService", "", "", 80, "app", "cart"), "cart-b http"},
		"an external service":                  {global, ref("MeshExternalService", "bank", "", 0), "bank "},
		"a multi-zone service":                 {global, ref("MeshMultiZoneService", "all", "", 80), "all http"},
		"a subset":                             {global, ref("MeshServiceSubset", "cart", "", 80), ""},
	} {
		d, section := s.destinations.Backend(c.of, c.ref)
		got := ""
		if d != nil {
			got = d.Name + " " + section
		}
		assert.Equal(t, c.want, got, name)
	}
}

func TestOnEgress(t *testing.T) {
	t.Parallel()
	s := read(t, `{type: Mesh, name: default}
---
{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}
---
{type: MeshExternalService, name: bank, spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}}
---
{type: MeshTrafficPermission, name: all, labels: {kuma.io/policy-role: consumer, kuma.io/origin: zone, kuma.io/zone: west}, spec: {from: [{targetRef: {kind: Mesh}, default: {action: Deny}}]}}
---
{type: MeshTrafficPermission, name: bank, spec: {targetRef: {kind: MeshService, name: bank}, from: [{targetRef: {kind: MeshService, name: web}, default: {action: Allow}}]}}
---
{type: MeshTrafficPermission, name: subset, spec: {targetRef: {kind: MeshSubset, tags: {team: x}}, from: [{targetRef: {kind: MeshService, name: api}, default: {action: Allow}}]}}
---
{type: MeshTrafficPermission, name: trial, labels: {kuma.io/effect: shadow}, spec: {from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}}
---
{type: MeshTrafficPermission, name: dataplane, spec: {targetRef: {kind: Dataplane}, from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}}
---
{type: MeshCircuitBreaker, name: cb, spec: {rules: [{default: {connectionLimits: {maxRetries: 1}}}]}}
---
{type: MeshCircuitBreaker, name: cb-to, spec: {targetRef: {kind: MeshSubset, tags: {team: x}}, to: [{targetRef: {kind: Mesh}, default: {connectionLimits: {maxRetries: 2}}}]}}
---
{type: MeshHealthCheck, name: hc, spec: {targetRef: {kind: MeshSubset, tags: {team: x}}, to: [{targetRef: {kind: MeshService, name: bank}, default: {interval: 1s}}, {targetRef: {kind: MeshService, name: other}, default: {interval: 2s}}]}}
---
{type: MeshHealthCheck, name: z-hc, spec: {to: [{targetRef: {kind: Mesh}, default: {interval: 3s, timeout: 3s}}]}}
---
{type: MeshTimeout, name: t, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
`)
	for name, c := range map[string]struct {
		kind string
		tags map[string]string
		want []string
	}{
		"the top-level targetRef selects":         {"MeshTrafficPermission", map[string]string{"kuma.io/service": "bank"}, []string{`tag [kuma.io/service=web] {"action":"Allow"} <- all < bank`, `tag [!kuma.io/service=web] {"action":"Deny"} <- all`}},
		"by a tag":                                {"MeshTrafficPermission", map[string]string{"kuma.io/service": "x", "team": "x"}, []string{`tag [kuma.io/service=api] {"action":"Allow"} <- all < subset`, `tag [!kuma.io/service=api] {"action":"Deny"} <- all`}},
		"rules for clients as such, and to":       {"MeshCircuitBreaker", map[string]string{"kuma.io/service": "bank"}, []string{`inbound {"connectionLimits":{"maxRetries":1}}`, `resource Mesh default {"connectionLimits":{"maxRetries":2}}`}},
		"a type with to alone is turned around":   {"MeshHealthCheck", map[string]string{"kuma.io/service": "bank"}, []string{`tag [team=x] {"interval":"1s","timeout":"3s"} <- z-hc < hc`, `tag [] {"interval":"3s","timeout":"3s"} <- z-hc`, `resource Mesh default {"interval":"3s","timeout":"3s"}`}},
		"a type that is not in force on egresses": {"MeshTimeout", map[string]string{"kuma.io/service": "bank"}, nil},
	} {
		typ, _ := policy.LookupType(c.kind)
		rules, err := policy.OnEgress(s.input(s.proxies[0]), typ, c.tags)
		require.NoError(t, err, name)
		var got []string
		text := func(conf any) string {
			b, err := json.Marshal(conf)
			require.NoError(t, err)
			return string(b)
		}
		for _, r := range rules.TagRules {
			got = append(got, fmt.Sprintf("tag %s %s <- %s", clients(r.Matchers), text(r.Conf), strings.Join(names(r.Origin), " < ")))
		}
		for _, r := range rules.Inbound {
			got = append(got, "inbound "+text(r.Conf[0]))
		}
		for _, r := range rules.Resources {
			got = append(got, fmt.Sprintf("resource %s %s %s", r.ResourceMeta.Type, r.ResourceMeta.Name, text(r.Conf[0])))
		}
		assert.Equal(t, c.want, got, name)
	}
}

func TestTypesInForceOnEgresses(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, typ := range policy.Types {
		if typ.Egress {
			kinds = append(kinds, typ.Kind)
		}
	}
	assert.Equal(t, []string{"MeshLoadBalancingStrategy", "MeshFaultInjection", "MeshRateLimit", "MeshTrafficPermission", "MeshHealthCheck", "MeshCircuitBreaker"}, kinds)
}
