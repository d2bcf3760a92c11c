package sim_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
)

// TestAPlanIsTheDifferenceOfTwoFederations makes random changes to a random federation, and compares the plan of them with what is in
// force in two federations that were made apart, before and after.
func TestAPlanIsTheDifferenceOfTwoFederations(t *testing.T) {
	t.Parallel()
	compared, changed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		base := drawFederation(t)
		head := drawChanges(t, base)
		was, errBefore := inForce(base)
		is, errAfter := inForce(head)
		if errors.Join(errBefore, errAfter) != nil {
			require.ErrorAs(t, errors.Join(errBefore, errAfter), new(*sim.Problem), "nothing but a document that a plane refuses")
			return
		}
		plan, err := sim.Plan(context.Background(), base.scenario(t), head.scenario(t), sim.Options{})
		require.NoError(t, err, "%s", differing(base, head))
		require.Empty(t, plan.Problem, "%s", differing(base, head))
		got := []string{}
		for _, c := range plan.Changes {
			got = append(got, changeLine(strings.Join([]string{c.Proxy, c.Type, c.Place, c.Path}, " "),
				valueLine(c.Before, c.BeforeFrom), valueLine(c.After, c.AfterFrom)))
		}
		before, after := was.withPorts(is), is.withPorts(was)
		want := []string{}
		for _, at := range slices.Sorted(maps.Keys(union(before, after))) {
			if before[at].value != after[at].value {
				want = append(want, changeLine(at, cmp.Or(before[at].said, "none"), cmp.Or(after[at].said, "none")))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got, "%s", differing(base, head))
		compared++
		if len(want) > 0 {
			changed++
		}
		impactsAddUp(t, plan)
	})
	if !t.Failed() {
		t.Logf("%d plans compared, of which %d change something", compared, changed)
		require.Greater(t, compared, 50, "the random federations are valid")
		require.Greater(t, changed, 20, "the random changes change something")
	}
}

// impactsAddUp requires that what is said of each policy is true of the values that change.
func impactsAddUp(t *rapid.T, plan *sim.PlanResult) {
	for _, d := range plan.Documents {
		for _, zone := range d.Zones {
			of := 0
			for _, n := range zone.Namespaces {
				of += n
			}
			require.Equal(t, zone.Changed, of, "%s in %s", d.Document, zone.Zone)
			if d.Action == sim.Removed {
				require.Zero(t, zone.Wins, d.Document)
			}
		}
	}
}

// valueOf is a value in force: alone, and with who gave it.
type valueOf struct{ value, said string }

func valueLine(v any, from string) string {
	if v == nil && from == "" {
		return "none"
	}
	return sim.ValueText(v) + " from " + from
}

func changeLine(at, before, after string) string {
	return at + ": " + before + " -> " + after
}

func union(a, b map[string]valueOf) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// port is a port of a destination of a proxy, that some item names.
type port struct{ proxy, port, service string }

// values are all that are in force in a federation, and the ports that are listed.
type values struct {
	at    map[string]valueOf
	ports map[port]bool
}

// withPorts returns the values with those of the ports that other lists too: what is in force on a port that nobody names is what is in
// force on its service.
func (v values) withPorts(other values) map[string]valueOf {
	all := maps.Clone(v.at)
	for p := range other.ports {
		if v.ports[p] {
			continue
		}
		for at, value := range v.at {
			proxy, rest, _ := strings.Cut(at, " ")
			kind, rest, _ := strings.Cut(rest, " ")
			if path, ok := strings.CutPrefix(rest, p.service+" "); ok && proxy == p.proxy {
				all[strings.Join([]string{proxy, kind, p.port, path}, " ")] = value
			}
		}
	}
	return all
}

// inForce makes a federation and returns every value that is in force in it.
func inForce(f drawn) (values, error) {
	s := f.scenario(nil)
	result, err := sim.Run(context.Background(), s, sim.Options{})
	if err != nil {
		return values{}, err
	}
	if result.Problem != "" {
		return values{}, fmt.Errorf("it does not converge: %s", result.Problem)
	}
	all := values{map[string]valueOf{}, map[port]bool{}}
	if err := result.EachPort(context.Background(), func(proxy, at, service string) { all.ports[port{proxy, at, service}] = true }); err != nil {
		return all, err
	}
	err = result.EachValue(context.Background(), func(at string, value any, from string) {
		all.at[at] = valueOf{sim.ValueText(value), valueLine(value, from)}
	})
	return all, err
}

// drawn is a random federation: its zones, and manifests by plane and kind and name, so that each is there once.
type drawn struct {
	zones     map[string]string // to the feature that it lacks; "": none
	documents map[string]string
}

func (d drawn) scenario(t require.TestingT) *sim.Scenario {
	s := &sim.Scenario{Name: "random", File: "random.scenario.yaml", Mesh: resource.DefaultMesh}
	for _, name := range slices.Sorted(maps.Keys(d.zones)) {
		z := sim.Zone{Name: name}
		if d.zones[name] != "" {
			z.Without = []string{d.zones[name]}
		}
		s.Zones = append(s.Zones, z)
	}
	for _, key := range slices.Sorted(maps.Keys(d.documents)) {
		plane, _, _ := strings.Cut(key, " ")
		if plane != "global" && !slices.ContainsFunc(s.Zones, func(z sim.Zone) bool { return z.Name == plane }) {
			continue // of a zone that is gone
		}
		read, err := policy.Schemas().Read(key, []byte(d.documents[key]), resource.ReadOptions{})
		if err != nil {
			panic(fmt.Sprint(key, ": ", d.documents[key], ": ", err))
		}
		if plane == "global" {
			plane = ""
		}
		s.Documents = append(s.Documents, sim.Document{Document: read[0], Plane: plane})
	}
	return s
}

// differing writes base, and what is different in head.
func differing(base, head drawn) string {
	var b strings.Builder
	fmt.Fprintf(&b, "zones %v -> %v\n", base.zones, head.zones)
	keys := maps.Clone(base.documents)
	maps.Copy(keys, head.documents)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, is := base.documents[key], head.documents[key]
		switch {
		case was == is:
			fmt.Fprintf(&b, "  %s: %s\n", key, was)
		default:
			fmt.Fprintf(&b, "- %s: %s\n+ %s: %s\n", key, was, key, is)
		}
	}
	return b.String()
}

func drawFederation(t *rapid.T) drawn {
	d := drawn{zones: map[string]string{"east": "", "west": ""}, documents: map[string]string{
		"global Mesh default":     "{type: Mesh, name: default}",
		"east Dataplane web":      dataplaneDoc("web", "shop", "a", "web"),
		"west Dataplane batch":    dataplaneDoc("batch", "jobs", "b", "batch"),
		"east MeshService kv":     serviceDoc("kv", "shop", "a"),
		"global MeshTimeout base": "{type: MeshTimeout, name: base, mesh: default, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 9s}}]}}",
	}}
	for range rapid.IntRange(0, 8).Draw(t, "documents") {
		key, doc := drawDocument(t)
		d.documents[key] = doc
	}
	return d
}

// drawChanges returns a federation with some documents written, changed, deleted or moved, and sometimes with another zone.
func drawChanges(t *rapid.T, base drawn) drawn {
	head := drawn{maps.Clone(base.zones), maps.Clone(base.documents)}
	for range rapid.IntRange(1, 3).Draw(t, "changes") {
		switch rapid.SampledFrom([]string{"write", "write", "change", "change", "delete", "delete", "move", "zone"}).Draw(t, "change") {
		case "write":
			key, doc := drawDocument(t)
			head.documents[key] = doc
		case "change":
			key := drawKey(t, head)
			for range 20 {
				if again, doc := drawDocument(t); kindOf(again) == kindOf(key) && strings.HasPrefix(again, key[:strings.Index(key, " ")]) {
					head.documents[again] = doc
					break
				}
			}
		case "delete":
			if key := drawKey(t, head); key != "global Mesh default" {
				delete(head.documents, key)
			}
		case "move":
			key := drawKey(t, head)
			doc := head.documents[key]
			plane, rest, _ := strings.Cut(key, " ")
			if plane == "global" {
				continue
			}
			delete(head.documents, key)
			if rapid.Bool().Draw(t, "to the other zone") {
				plane = map[string]string{"east": "west", "west": "east", "north": "east"}[plane]
			} else {
				doc = strings.NewReplacer("namespace: shop", "namespace: jobs", "namespace: jobs", "namespace: shop").Replace(doc)
			}
			head.documents[plane+" "+rest] = doc
		case "zone":
			switch rapid.SampledFrom([]string{"another", "gone", "older"}).Draw(t, "zone") {
			case "another":
				head.zones["north"] = ""
				head.documents["north Dataplane far"] = dataplaneDoc("far", "jobs", "a", "far")
			case "gone":
				delete(head.zones, "west")
			case "older":
				if _, ok := head.zones["west"]; ok {
					head.zones["west"] = "producer-policy-flow"
				}
			}
		}
	}
	return head
}

func drawKey(t *rapid.T, d drawn) string {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(d.documents))).Draw(t, "key")
}

func kindOf(key string) string { return strings.Fields(key)[1] }

func dataplaneDoc(name, namespace, team, app string) string {
	return fmt.Sprintf("{type: Dataplane, name: %s, mesh: default, labels: {app: %s, k8s.kuma.io/namespace: %s}, networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: {kuma.io/service: %s, team: %s}}, {port: 81, tags: {kuma.io/service: admin, team: %s}}]}}",
		name, app, namespace, name, team, team)
}

func serviceDoc(name, namespace, team string) string {
	return fmt.Sprintf("{type: MeshService, name: %s, mesh: default, labels: {app: %s, k8s.kuma.io/namespace: %s}, spec: {selector: {dataplaneTags: {team: %s}}, ports: [{port: 80, targetPort: 80, name: http, appProtocol: http}]}}", name, name, namespace, team)
}

// drawDocument draws where a manifest is, as plane, kind and name, and the manifest.
func drawDocument(t *rapid.T) (key, doc string) {
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "pick") }
	zone, namespace, team, app := pick("east", "west"), pick("shop", "jobs"), pick("a", "b"), pick("web", "batch")
	placed := func(plane, kind, name, labels, rest string) (string, string) {
		return plane + " " + kind + " " + name, fmt.Sprintf("{type: %s, name: %s, mesh: default, labels: {%s}, %s}", kind, name, labels, rest)
	}
	in := "k8s.kuma.io/namespace: " + namespace
	timeout := pick("{idleTimeout: 1s}", "{idleTimeout: 2s, connectionTimeout: 2s}", "{http: {requestTimeout: 3s}}", "{http: null}", "{idleTimeout: null, http: {requestTimeout: 4s}}")
	top := pick("", "", "targetRef: {kind: Mesh}, ", "targetRef: {kind: Dataplane, labels: {app: "+app+"}}, ", "targetRef: {kind: Dataplane}, ")
	section := pick(top, "targetRef: {kind: Dataplane, labels: {app: "+app+"}, sectionName: http}, ", "targetRef: {kind: Dataplane, sectionName: http}, ")
	legacy := pick("targetRef: {kind: MeshSubset, tags: {team: "+team+"}}, ", "targetRef: {kind: MeshGateway, name: edge}, ", "targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, ", top, top)
	to := pick("{kind: Mesh}", "{kind: MeshService, labels: {app: kv}}", "{kind: MeshService, labels: {k8s.kuma.io/service-name: kv}}", "{kind: MeshService, name: kv}", "{kind: MeshService, name: kv, sectionName: http}")
	switch rapid.IntRange(0, 14).Draw(t, "kind") {
	case 0:
		return "global Mesh default", "{type: Mesh, name: default, meshServices: {mode: " + pick("Disabled", "Exclusive") + "}}"
	case 1:
		return zone + " Dataplane " + app, dataplaneDoc(app, namespace, team, pick("web", "batch"))
	case 2:
		return placed(zone, "Dataplane", "edge", in, "networking: {address: 10.0.0.9, gateway: {type: "+pick("BUILTIN", "DELEGATED")+", tags: {kuma.io/service: edge, team: "+team+"}}}")
	case 3:
		return placed("global", "MeshGateway", "edge", "", "selectors: [{match: {kuma.io/service: edge"+pick("", ", team: "+team)+"}}], conf: {listeners: [{port: 80, protocol: HTTP"+pick("", ", tags: {host: a}")+"}]}")
	case 4:
		name := pick("kv", "db")
		return zone + " MeshService " + name, serviceDoc(name, namespace, team)
	case 5:
		return placed("global", "MeshMultiZoneService", "kv", "app: kv", "spec: {selector: {meshService: {matchLabels: {app: kv}}}, ports: [{port: 80, name: http, appProtocol: http}]}")
	case 6:
		return placed("global", "MeshExternalService", "out", "app: kv", "spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}")
	case 7:
		return placed(zone, "MeshHTTPRoute", "route", in, "spec: {"+pick("", "targetRef: {kind: Dataplane, labels: {app: "+app+"}}, ")+"to: [{targetRef: {kind: MeshService, labels: {app: kv}}, rules: [{matches: [{path: {type: PathPrefix, value: "+pick("/", "/a")+"}}], default: {}}]}]}")
	case 8:
		return placed("global", "MeshHTTPRoute", "route", "", "spec: {targetRef: {kind: "+pick("Mesh", "MeshSubset, tags: {team: "+team+"}")+"}, to: [{targetRef: {kind: MeshService, labels: {app: kv}}, rules: [{matches: [{path: {type: PathPrefix, value: /b}}], default: {}}]}]}")
	case 9:
		return placed("global", "MeshTimeout", "routed", "", "spec: {targetRef: {kind: MeshHTTPRoute, name: route}, to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: "+pick("5s", "6s")+"}}}]}")
	case 10:
		return placed(zone, "MeshTrafficPermission", pick("allow", "deny"), pick("", in), "spec: {"+section+"from: [{targetRef: {kind: Mesh}, default: {action: "+pick("Allow", "Deny")+"}}]}")
	case 11:
		return placed("global", "MeshPassthrough", "pass", "", "spec: {targetRef: {kind: Mesh}, default: {passthroughMode: "+pick("All", "None")+", appendMatch: [{type: Domain, value: a.example, protocol: tls, port: 443}]}}")
	case 12:
		if strings.Contains(legacy, "MeshGateway") {
			to = "{kind: Mesh}"
		}
		return placed("global", "MeshTimeout", pick("base", "more"), pick("", "kuma.io/effect: shadow"), "spec: {"+legacy+"to: [{targetRef: "+to+", default: "+timeout+"}]}")
	case 13:
		return placed(zone, "MeshTimeout", pick("p", "q"), pick("", in), "spec: {"+section+"rules: [{default: {idleTimeout: "+pick("7s", "8s")+"}}]}")
	}
	return placed(zone, "MeshTimeout", pick("p", "q", "r"), in, "spec: {"+top+"to: [{targetRef: "+to+", default: "+timeout+"}]}")
}

// A plan that forgot what a policy selects after its change would be noticed.
func TestAPlanThatForgetsProxiesIsNoticed(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0], "-test.run", "^TestAPlanIsTheDifferenceOfTwoFederations$", "-rapid.nofailfile", "-rapid.shrinktime=1s")
	child.Env = append(os.Environ(), mutated+"=a plan forgets whom a policy selects after its change", properties+"=1")
	out, err := child.CombinedOutput()
	require.Error(t, err, "%s", out)
	assert.Contains(t, string(out), "FAIL: TestAPlanIsTheDifferenceOfTwoFederations")
	assert.Contains(t, string(out), "+ ", "the change is printed")
}
