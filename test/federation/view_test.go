package federation

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// TestGlobalSaysOfEveryProxyWhatItsZoneSays writes random resources of all kinds that answers depend on into random
// planes, and compares what global says of each proxy with what the proxy's zone says.
func TestGlobalSaysOfEveryProxyWhatItsZoneSays(t *testing.T) {
	first := *oneSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	for i := range uint64(max(*seeds/4, 1)) {
		seed := first + i
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				defer func() {
					if t.Failed() {
						t.Logf("again: go test ./test/federation -run TestGlobalSaysOfEveryProxyWhatItsZoneSays -args -seed %d -seeds 1", seed)
					}
				}()
				dice := rand.New(rand.NewPCG(seed, 2))
				f := New(t, "east", "west", "north")
				for range 3 {
					applied := 0
					for range 40 {
						p := f.all()[dice.IntN(4)]
						if p.try(drawn(dice, p == f.Global())) {
							applied++
						}
					}
					require.Greater(t, applied, 20, "most documents are good")
					f.Settle()
					f.requireOneVoice()
				}
			})
		})
	}
}

func TestGlobalRanksAPolicyAsTheZoneOfTheProxyDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := New(t, "east", "west")
		for _, zone := range []string{"east", "west"} {
			f.Zone(zone).Apply(dataplane("shop", "proxy", "proxy"))
		}
		f.Zone("east").Apply(meshService("shop", "demo-app") + "---" + timeout("shop", "made-in-east", byName, "1s"))
		f.Zone("west").Apply(timeout("", "zonal", toMesh, "2s"))
		f.Global().Apply(timeout("", "everyone", toMesh, "3s"))
		f.Settle()
		f.requireOneVoice()
		// In west, what east wrote comes from global, and loses to what west wrote itself.
		for _, dp := range f.Global().contents("Dataplane") {
			value, name := f.Global().Effective(dp.Name, "demo-app", "MeshTimeout", "http.requestTimeout")
			want := map[string]string{"east": "1s made-in-east", "west": "2s zonal"}[dp.Zone()]
			assert.Equal(t, want, value+" "+name, dp.Zone())
		}
	})
}

func TestAZoneThatIsDisabledIsNoMoreInTheViewOfTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("east").Apply(producer)
		f.Settle()
		f.requireOneVoice()
		for _, enabled := range []bool{false, true} {
			body := fmt.Sprintf(`{"type": "Zone", "name": "east", "enabled": %t}`, enabled)
			answer := f.Global().Do(http.MethodPut, "/zones/east", []byte(body))
			require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
			f.Settle()
			f.requireOneVoice()
		}
	})
}

// requireOneVoice requires that global and each zone say the same of each proxy of the zone.
func (f *Federation) requireOneVoice() {
	f.t.Helper()
	compared := 0
	at := map[resource.Identity]resource.Resource{}
	for _, dp := range f.Global().contents("Dataplane") {
		at[dp.Identity()] = dp
	}
	for _, z := range f.all()[1:] {
		for _, dp := range z.contents("Dataplane") {
			there, ok := at[dp.Identity()]
			require.True(f.t, ok, "global has %s", dp.Key)
			for _, question := range []string{"_effective", "_policies", "_effective?to=demo-app", "_effective?type=MeshTimeout&to=default"} {
				want := z.Do(http.MethodGet, "/meshes/default/dataplanes/"+dp.Name+"/"+question, nil)
				got := f.Global().Do(http.MethodGet, "/meshes/default/dataplanes/"+there.Name+"/"+question, nil)
				require.Equal(f.t, want.Code, got.Code, "%s of %s: %s", question, dp.Key, got.Body)
				if want.Code != http.StatusOK {
					continue // there is no such destination; the known ones differ
				}
				require.Equal(f.t, unmarked(f.t, want.Body.Bytes()), unmarked(f.t, got.Body.Bytes()), "%s of %s of %s", question, dp.Key, z)
				compared++
			}
		}
	}
	require.NotZero(f.t, compared)
	for _, z := range f.all()[1:] {
		for kind := range policyKinds {
			for _, p := range z.contents(kind) {
				f.requireOneEffect(z, p)
			}
		}
	}
}

// policyKinds are the kinds of policy that drawn draws, and their collections.
var policyKinds = map[string]string{
	"MeshTimeout": "meshtimeouts", "MeshTrafficPermission": "meshtrafficpermissions", "MeshHTTPRoute": "meshhttproutes", "MeshPassthrough": "meshpassthroughs",
}

// requireOneEffect requires that what a policy comes to on the proxies of a zone is in what global says of it.
func (f *Federation) requireOneEffect(z *Plane, p resource.Resource) {
	f.t.Helper()
	effects := func(q *Plane, name string) (all map[string]any) {
		answer := q.Do(http.MethodGet, "/meshes/default/"+policyKinds[p.Kind]+"/"+name+"/_effect?size=1000", nil)
		require.Equal(f.t, http.StatusOK, answer.Code, "%s: %s", q, answer.Body)
		var got struct {
			Effects []struct {
				Dataplanes []struct{ KRI, Zone string }
				Places     any
			}
		}
		require.NoError(f.t, json.Unmarshal(answer.Body.Bytes(), &got))
		all = map[string]any{}
		for _, e := range got.Effects {
			for _, dp := range e.Dataplanes {
				if dp.Zone == z.of.Name() {
					all[dp.KRI] = e.Places
				}
			}
		}
		return all
	}
	for _, there := range f.Global().contents(p.Kind) {
		if there.Identity() == p.Identity() {
			require.Equal(f.t, effects(z, p.Name), effects(f.Global(), there.Name), "_effect of %s", p.Key)
			return
		}
	}
	require.Fail(f.t, "global lacks a policy of "+z.String(), "%s", p.Key)
}

// unmarked is an answer without its revision.
func unmarked(t testing.TB, body []byte) map[string]any {
	var doc map[string]any
	require.NoError(t, json.Unmarshal(body, &doc))
	require.Contains(t, doc, "revision")
	delete(doc, "revision")
	return doc
}

// try applies a document, and says whether it is one that can be applied.
func (p *Plane) try(document string) bool {
	if _, err := planes.Read(document); err != nil {
		return false // such as a policy of a producer and a consumer
	}
	p.Apply(document)
	return true
}

// drawn returns a document for global or for a zone.
func drawn(dice *rand.Rand, global bool) string {
	pick := func(of ...string) string { return of[dice.IntN(len(of))] }
	head := func(kind, name string) string {
		var labels []string
		if !global && dice.IntN(4) > 0 {
			labels = append(labels, "k8s.kuma.io/namespace: "+pick("shop", "pay"))
		}
		if dice.IntN(2) == 0 {
			labels = append(labels, "app: "+pick("a", "b"))
		}
		if _, ok := policyKinds[kind]; ok && dice.IntN(8) == 0 {
			labels = append(labels, "kuma.io/effect: shadow")
		}
		return fmt.Sprintf("type: %s\nname: %s\nmesh: default\nlabels: {%s}\n", kind, name, strings.Join(labels, ", "))
	}
	timeouts := func() string {
		return pick("{idleTimeout: 1s}", "{idleTimeout: 2s, connectionTimeout: 2s}", "{http: {requestTimeout: 3s}}", "{http: {requestTimeout: 4s}}")
	}
	tags := func() string { return "{kuma.io/service: " + pick("s", "e") + ", team: " + pick("a", "b") + "}" }
	top := func() string {
		return "{kind: " + pick("Mesh", "Mesh", "Mesh, proxyTypes: [Gateway]", "MeshSubset, tags: {team: a}", "MeshSubset, tags: {team: b}",
			"MeshService, name: s", "Dataplane", "Dataplane, name: dp0", "Dataplane, name: dp1, namespace: shop", "Dataplane, labels: {app: a}",
			"Dataplane, labels: {kuma.io/zone: west}", "Dataplane, labels: {kuma.io/display-name: dp0}") + "}"
	}
	to := func() string {
		return "{kind: " + pick("Mesh", "MeshService, name: demo-app", "MeshService, name: demo-app", "MeshService, name: demo-app, sectionName: http",
			"MeshService, labels: {app: a}", "MeshService, labels: {kuma.io/display-name: demo-app}", "MeshService, labels: {kuma.io/origin: global}", "MeshService, labels: {kuma.io/origin: zone}",
			"MeshService, name: demo-app_shop_svc_80", "MeshExternalService, name: out", "MeshMultiZoneService, name: everywhere", "MeshMultiZoneService, labels: {app: b}") + "}"
	}
	items := func(item func() string) string {
		list := item()
		if dice.IntN(2) == 0 {
			list += ", " + item()
		}
		return "[" + list + "]"
	}
	n := func(prefix string) string { return prefix + fmt.Sprint(dice.IntN(3)) }
	if global {
		switch dice.IntN(6) {
		case 0:
			return head("MeshMultiZoneService", "everywhere") + "spec: {selector: {meshService: {matchLabels: {app: a}}}, ports: [{port: 80, name: http, appProtocol: http}]}"
		case 1:
			return head("MeshGateway", n("gw")) + "selectors: [{match: {kuma.io/service: e}}]\nconf: {listeners: [{port: 80, protocol: HTTP, tags: {host: g}}]}"
		}
	} else {
		switch dice.IntN(9) {
		case 0, 1:
			return head("Dataplane", n("dp")) + "networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: " + tags() + "}, {port: 81, tags: " + tags() + "}]}"
		case 2:
			return head("Dataplane", n("edge")) + "networking: {address: 10.0.0.2, gateway: {type: " + pick("BUILTIN", "DELEGATED") + ", tags: {kuma.io/service: e, team: a}}}"
		case 3:
			return head("MeshService", pick("demo-app", "other")) + "spec: {selector: {dataplaneTags: {team: a}}, ports: [{port: 80, name: http, appProtocol: http}, {port: 81, appProtocol: tcp}]}"
		case 4:
			return head("MeshExternalService", "out") + "spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}"
		case 5:
			if dice.IntN(3) == 0 {
				return head("MeshGateway", n("gw")) + "selectors: [{match: {kuma.io/service: e}}]\nconf: {listeners: [{port: 80, protocol: HTTP, tags: {host: z}}]}"
			}
		}
	}
	switch dice.IntN(7) {
	case 0:
		return head("MeshTrafficPermission", n("mtp")) + "spec: {targetRef: " + top() + ", from: " + items(func() string {
			return "{targetRef: " + pick("{kind: Mesh}", "{kind: MeshService, name: s}", "{kind: MeshSubset, tags: {team: a}}") + ", default: {action: " + pick("Allow", "Deny") + "}}"
		}) + "}"
	case 1:
		return head("MeshHTTPRoute", n("route")) + "spec: {targetRef: " + pick("{kind: Mesh}", "{kind: MeshSubset, tags: {team: a}}") + ", to: " + items(func() string {
			return "{targetRef: " + pick("{kind: MeshService, name: demo-app}", "{kind: MeshService, labels: {app: a}}") + ", rules: [{matches: [" + pick("{method: GET}", "{path: {type: PathPrefix, value: /a}}") + "], default: {}}]}"
		}) + "}"
	case 2:
		return head("MeshPassthrough", n("pass")) + "spec: {targetRef: " + pick("{kind: Mesh}", "{kind: Dataplane, labels: {app: a}}") + ", default: {passthroughMode: Matched, appendMatch: [{type: Domain, value: " + pick("a", "b") + ".example, protocol: tls, port: 443}]}}"
	}
	if dice.IntN(5) == 0 {
		return head("MeshTimeout", n("in")) + "spec: {targetRef: " + top() + ", rules: [{default: " + timeouts() + "}]}"
	}
	return head("MeshTimeout", n("t")) + "spec: {targetRef: " + top() + ", to: " + items(func() string { return "{targetRef: " + to() + ", default: " + timeouts() + "}" }) + "}"
}
