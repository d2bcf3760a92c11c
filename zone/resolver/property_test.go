package resolver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// TestAnswersEqualThoseOfANewIndex makes random changes to a random federation, and after each batch of them asks the
// resolver that has followed all along, and a new one, for everything.
func TestAnswersEqualThoseOfANewIndex(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		m.apply(puts(documents(t, federation))...)
		r := resolver.New(resolver.Config{Source: m})
		for range rapid.IntRange(1, 25).Draw(t, "batches") {
			batch := map[resource.Key]resource.Op{}
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				op := drawChange(t, m)
				batch[op.Resource.Key] = op
			}
			m.apply(slices.Collect(maps.Values(batch))...)
			if rapid.IntRange(0, 9).Draw(t, "compact") == 0 {
				m.compact()
			}
			if rapid.IntRange(0, 3).Draw(t, "ask later") == 0 {
				continue
			}
			require.Equal(t, everything(t, resolver.New(resolver.Config{Source: m}), m), everything(t, r, m))
		}
		require.Equal(t, everything(t, resolver.New(resolver.Config{Source: m}), m), everything(t, r, m))
	})
}

// federation is what every run starts from, so that changes meet something.
const federation = `{type: Mesh, name: default}
---
{type: Dataplane, name: dp0, mesh: default, labels: {app: a, k8s.kuma.io/namespace: n1, kuma.io/display-name: x, kuma.io/zone: east, kuma.io/origin: zone}, networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: {kuma.io/service: s, team: a}}]}}
---
{type: Dataplane, name: edge0, mesh: default, labels: {app: b, k8s.kuma.io/namespace: n2}, networking: {address: 10.0.0.9, gateway: {type: BUILTIN, tags: {kuma.io/service: e, team: a}}}}
---
{type: MeshHTTPRoute, name: r0, mesh: default, labels: {kuma.io/display-name: x}, spec: {to: [{targetRef: {kind: MeshService, name: x}, rules: [{matches: [{method: PUT}], default: {}}]}]}}
---
{type: MeshTimeout, name: on0, mesh: default, spec: {targetRef: {kind: MeshHTTPRoute, name: x}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
---
{type: MeshService, name: svc0, mesh: default, labels: {app: a, k8s.kuma.io/namespace: n1, kuma.io/display-name: x, kuma.io/zone: east}, spec: {ports: [{port: 80, name: http}, {port: 81}]}}
`

// drawChange draws a write of one resource, new or changed, or a delete of one that there is.
func drawChange(t *rapid.T, m *memory) resource.Op {
	if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
		var live []resource.Key
		for key, c := range m.last {
			if !c.Deleted {
				live = append(live, key)
			}
		}
		if len(live) > 0 {
			slices.SortFunc(live, resource.Key.Compare)
			return resource.Delete(rapid.SampledFrom(live).Draw(t, "deleted"))
		}
	}
	res := documents(t, drawDocument(t))[0]
	if rapid.IntRange(0, 30).Draw(t, "broken") == 0 {
		res.Spec = []byte("{")
	}
	return resource.Put(res)
}

func drawDocument(t *rapid.T) string {
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "pick") }
	n := func(most int) int { return rapid.IntRange(0, most).Draw(t, "n") }
	labels := func(more ...string) string {
		var all []string
		for _, l := range []string{
			"app: " + pick("a", "b"), "tier: x", "k8s.kuma.io/namespace: " + pick("n1", "n2"), "kuma.io/display-name: " + pick("x", "y"),
			"kuma.io/origin: " + pick("zone", "global"), "kuma.io/zone: " + pick("east", "west"),
		} {
			if rapid.IntRange(0, 3).Draw(t, "label") > 0 {
				all = append(all, l)
			}
		}
		return "{" + strings.Join(append(all, more...), ", ") + "}"
	}
	role := func() string {
		all := "kuma.io/policy-role: " + pick("system", "system", "producer", "consumer", "workload-owner")
		if rapid.IntRange(0, 5).Draw(t, "shadow") == 0 {
			all += ", kuma.io/effect: shadow"
		}
		return all
	}
	tags := func() string { return "{kuma.io/service: " + pick("s", "t", "e") + ", team: " + pick("a", "b") + "}" }
	top := func() string {
		return pick("{kind: Mesh}", "{kind: Mesh}", "{kind: Mesh, proxyTypes: [Gateway]}", "{kind: Mesh, proxyTypes: [Sidecar]}",
			"{kind: MeshSubset, tags: {team: a}}", "{kind: MeshSubset, tags: {team: '*', host: a}}", "{kind: MeshSubset, tags: {host: a}}", "{kind: MeshSubset, tags: {}}",
			"{kind: MeshService, name: s}", "{kind: MeshServiceSubset, name: s, tags: {team: b}}",
			"{kind: Dataplane}", "{kind: Dataplane, name: x}", "{kind: Dataplane, name: x, namespace: n1}", "{kind: Dataplane, labels: {app: a}}",
			"{kind: Dataplane, labels: {}}", "{kind: Dataplane, labels: {app: a, tier: x}, sectionName: http}", "{kind: Dataplane, sectionName: http}",
			"{kind: MeshGateway, name: x}", "{kind: MeshGateway, name: gw1, tags: {host: a}}")
	}
	to := func() string {
		return pick("{kind: Mesh}", "{kind: Mesh}", "{kind: MeshService, name: x}", "{kind: MeshService, name: y, namespace: n1}", "{kind: MeshService, name: x, namespace: n1, sectionName: http}",
			"{kind: MeshService, labels: {app: a}}", "{kind: MeshService, labels: {app: a, tier: x}}", `{kind: MeshService, labels: {app: b}, sectionName: "81"}`,
			"{kind: MeshService, name: x_n1_svc_80}", "{kind: MeshService, name: x_n1_svc}",
			"{kind: MeshExternalService, name: x}", "{kind: MeshExternalService, labels: {app: a}}", "{kind: MeshMultiZoneService, name: x}", "{kind: MeshMultiZoneService, labels: {app: a}, sectionName: http}")
	}
	items := func(item func() string) string {
		all := make([]string, 1+n(2))
		for i := range all {
			all[i] = item()
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	timeout := func() string {
		return pick("{idleTimeout: 1s}", "{idleTimeout: 2s, connectionTimeout: 2s}", "{http: {requestTimeout: 3s}}", "{http: null}", "{idleTimeout: null, http: {requestTimeout: 4s}}")
	}
	doc := func(kind, name, labels, rest string) string {
		return fmt.Sprintf("{type: %s, name: %s, mesh: default, labels: %s, %s}\n", kind, name, labels, rest)
	}
	numbered := func(prefix string, most int) string { return fmt.Sprintf("%s%d", prefix, n(most)) }
	switch n(13) {
	case 0:
		return "{type: Mesh, name: default, meshServices: {mode: " + pick("Disabled", "Exclusive") + "}}"
	case 1, 2:
		state := pick("Ready", "Ready", "NotReady", "Ignored")
		return doc("Dataplane", numbered("dp", 2), labels(), fmt.Sprintf("networking: {address: 10.0.0.%d, inbound: [{port: 80, name: http, state: %s, tags: %s}, {port: 81, tags: %s}]}", n(1), state, tags(), tags()))
	case 3:
		return doc("Dataplane", numbered("edge", 1), labels(), "networking: {address: 10.0.0.9, gateway: {type: "+pick("BUILTIN", "DELEGATED")+", tags: "+tags()+"}}")
	case 4:
		listener := func(port string) string {
			return "{port: " + port + ", protocol: HTTP" + pick("", ", tags: {host: a}", ", tags: {team: b}") + "}"
		}
		selector := pick("", "selectors: [{match: {kuma.io/service: e}}], ", "selectors: [{match: {kuma.io/service: '*', team: a}}], ", "selectors: [{match: {team: b}}, {match: {kuma.io/service: s}}], ")
		return doc("MeshGateway", numbered("gw", 1), labels(), selector+"conf: {listeners: ["+listener("80")+", "+listener("443")+"]}")
	case 5, 6:
		return doc("MeshService", numbered("svc", 2), labels(), "spec: {selector: {dataplaneTags: {team: "+pick("a", "b")+"}}, ports: "+pick("[{port: 80, name: http}, {port: 81}]", "[{port: 80}]", "[{port: 82, name: http}]")+"}")
	case 7:
		if rapid.Bool().Draw(t, "external") {
			return doc("MeshExternalService", numbered("mes", 1), labels(), "spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}")
		}
		return doc("MeshMultiZoneService", numbered("mzs", 1), labels(), "spec: {selector: {meshService: {matchLabels: {a: b}}}, ports: [{port: 80, name: http}]}")
	case 8:
		return doc("MeshHTTPRoute", numbered("r", 2), labels(role()), "spec: {targetRef: "+pick("{kind: Mesh}", "{kind: MeshSubset, tags: {team: a}}", "{kind: Dataplane, labels: {app: a}}")+", to: "+items(func() string {
			return "{targetRef: " + pick("{kind: MeshService, name: x}", "{kind: MeshService, labels: {app: a}}") + ", rules: [{matches: [" + pick("{method: GET}", "{path: {type: PathPrefix, value: /a}}", "{}") + "], default: " + pick("{}", "{filters: []}", "{backendRefs: [{kind: MeshService, name: x}]}") + "}]}"
		})+"}")
	case 9:
		return doc("MeshTimeout", numbered("on", 1), labels(pick("tier: z", "kuma.io/policy-role: system", "kuma.io/effect: shadow")), "spec: {targetRef: {kind: MeshHTTPRoute, name: "+pick("x", "y", "r0")+"}, to: [{targetRef: {kind: Mesh}, default: "+timeout()+"}]}")
	case 10:
		return doc("MeshTrafficPermission", numbered("mtp", 2), labels(role()), "spec: {targetRef: "+pick("{kind: Mesh}", "{kind: MeshSubset, tags: {team: a}}", "{kind: Dataplane, labels: {app: a}}")+", from: "+items(func() string {
			return "{targetRef: " + pick("{kind: Mesh}", "{kind: MeshService, name: s}", "{kind: MeshSubset, tags: {team: a}}", "{kind: MeshSubset, tags: {team: b, x: y}}") + ", default: {action: " + pick("Allow", "Deny") + "}}"
		})+"}")
	case 11:
		return doc("MeshPassthrough", numbered("pass", 1), labels(role()), "spec: {targetRef: "+pick("{kind: Mesh}", "{kind: MeshSubset, tags: {team: a}}", "{kind: Dataplane, labels: {app: a}}")+", default: {passthroughMode: "+pick("All", "None")+", appendMatch: [{type: Domain, value: a.example, protocol: tls}]}}")
	}
	return doc("MeshTimeout", numbered("p", 5), labels(role()), "spec: {targetRef: "+top()+", "+pick(
		"to: "+items(func() string { return "{targetRef: " + to() + ", default: " + timeout() + "}" }),
		"to: "+items(func() string { return "{targetRef: " + to() + ", default: " + timeout() + "}" }),
		"rules: [{default: "+timeout()+"}]", "from: [{targetRef: {kind: Mesh}, default: "+timeout()+"}]",
	)+"}")
}

// everything returns all answers that there are about a mesh.
func everything(t require.TestingT, r *resolver.Resolver, m *memory) []string {
	var all []string
	ctx := context.Background()
	together(t, r, m)
	add := func(about resource.Key, question string, answer any, err error) {
		b, encodeErr := json.Marshal(answer)
		require.NoError(t, encodeErr)
		all = append(all, fmt.Sprintf("%s of %v: %s %v", question, about, b, err))
	}
	for _, key := range slices.SortedFunc(maps.Keys(m.last), resource.Key.Compare) {
		if m.last[key].Deleted {
			continue
		}
		switch key.Kind {
		case "Mesh":
		case "Dataplane":
			rules, err := r.Rules(ctx, key.Mesh, key.Name)
			add(key, "rules", rules, err)
			for _, f := range []policy.Filter{{}, {To: "x"}, {To: "svc1"}, {Kind: "MeshTimeout", To: "default"}, {From: "http,team=a"}} {
				effective, err := r.Effective(ctx, key.Mesh, key.Name, f)
				add(key, fmt.Sprintf("effective %+v", f), effective, err)
			}
			policies, err := r.Policies(ctx, key.Mesh, key.Name)
			add(key, "policies", policies, err)
		case "MeshGateway":
			rules, err := r.GatewayRules(ctx, key.Mesh, key.Name)
			add(key, "rules", rules, err)
		default:
			found, err := r.Matching(ctx, key.Kind, key.Mesh, key.Name)
			add(key, "matching", found, err)
			if _, isPolicy := policy.LookupType(key.Kind); isPolicy {
				effect, err := r.Effect(ctx, key.Kind, key.Mesh, key.Name, policy.Everything)
				add(key, "effect", effect, err)
			}
		}
	}
	return all
}

// together requires that proxies that are asked about together have the answers that each has alone.
func together(t require.TestingT, r *resolver.Resolver, m *memory) {
	ctx := context.Background()
	names := map[string][]string{}
	for _, key := range slices.SortedFunc(maps.Keys(m.last), resource.Key.Compare) {
		if key.Kind == "Dataplane" && !m.last[key].Deleted {
			names[key.Mesh] = append(names[key.Mesh], key.Name)
		}
	}
	for mesh, of := range names {
		answers, err := r.EffectiveOn(ctx, mesh, of, policy.Filter{})
		for i, name := range of {
			alone, errAlone := r.Effective(ctx, mesh, name, policy.Filter{})
			if err != nil { // for one of them, or for the mesh
				continue
			}
			require.NoError(t, errAlone)
			require.Equal(t, alone, answers[i], "%s %s", mesh, name)
		}
	}
}
