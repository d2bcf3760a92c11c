package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// kindsOf is what the targetRefs of one type of policy may select: the kinds, in the order of allKinds.
type kindsOf struct {
	systemTop, top string // of a policy of role system, and of any other role
	listenerTags   bool   // a MeshGateway at the top may have tags
	// to by the top-level targetRef: of kind Mesh for all proxies, for sidecars, of kind MeshGateway, MeshHTTPRoute.
	to, toSidecar, toGateway, toRoute string
	// from likewise, with one for sidecars.
	from, fromSidecar string
	lists             string // that documents may have: to, from, rules, default
	need              string // the field that an empty spec misses; "" if it is valid
}

var allKinds = []string{
	"Mesh", "MeshSubset", "MeshGateway", "MeshService", "MeshServiceSubset", "MeshExternalService", "MeshMultiZoneService", "Dataplane", "MeshHTTPRoute",
}

const (
	proxies       = "Mesh MeshSubset MeshService MeshServiceSubset Dataplane"
	withGateway   = "Mesh MeshSubset MeshGateway MeshService MeshServiceSubset Dataplane"
	withRoute     = withGateway + " MeshHTTPRoute"
	services      = "Mesh MeshService MeshMultiZoneService"
	everyService  = "Mesh MeshService MeshExternalService MeshMultiZoneService"
	noMesh        = "MeshService MeshExternalService MeshMultiZoneService"
	meshExternal  = "Mesh MeshExternalService"
	clientsByTags = "Mesh MeshSubset MeshService MeshServiceSubset"
)

// matrix is the support matrix of the documentation of policies, type by type.
var matrix = map[string]kindsOf{
	"MeshHTTPRoute":             {systemTop: withGateway, top: proxies, listenerTags: true, to: noMesh, toSidecar: noMesh, toGateway: "Mesh", lists: "to"},
	"MeshTCPRoute":              {systemTop: withGateway, top: proxies, listenerTags: true, to: noMesh, toSidecar: noMesh, toGateway: "Mesh", lists: "to"},
	"MeshTLS":                   {systemTop: "Mesh MeshSubset Dataplane", top: "Mesh MeshSubset Dataplane", from: "Mesh", fromSidecar: "Mesh", lists: "from rules"},
	"MeshLoadBalancingStrategy": {systemTop: withGateway, top: withGateway, listenerTags: true, to: services, toSidecar: services, toGateway: services, lists: "to", need: "spec.to"},
	"MeshPassthrough":           {systemTop: "Mesh MeshSubset Dataplane", top: "Mesh MeshSubset Dataplane", lists: "default"},
	"MeshAccessLog":             {systemTop: withGateway, top: withGateway, listenerTags: true, to: everyService, toSidecar: everyService, toGateway: "Mesh", from: "Mesh", fromSidecar: "Mesh", lists: "to from rules", need: "spec"},
	"MeshTrace":                 {systemTop: withGateway, top: proxies, lists: "default", need: "spec.default.backends"},
	"MeshFaultInjection":        {systemTop: withGateway, top: proxies, listenerTags: true, to: "Mesh", toGateway: "Mesh", fromSidecar: clientsByTags, lists: "to from"},
	"MeshRateLimit":             {systemTop: withRoute, top: proxies, listenerTags: true, to: "Mesh", toGateway: "Mesh", toRoute: "Mesh", fromSidecar: "Mesh", lists: "to from rules"},
	"MeshTimeout":               {systemTop: withRoute, top: proxies, listenerTags: true, to: everyService, toSidecar: everyService, toGateway: meshExternal, toRoute: meshExternal, from: "Mesh", fromSidecar: "Mesh", lists: "to from rules", need: "spec"},
	"MeshTrafficPermission":     {systemTop: proxies, top: proxies, from: clientsByTags, fromSidecar: clientsByTags, lists: "from", need: "spec.from"},
	"MeshHealthCheck":           {systemTop: withGateway, top: withGateway, listenerTags: true, to: services, toSidecar: services, toGateway: services, lists: "to"},
	"MeshCircuitBreaker":        {systemTop: withGateway, top: withGateway, listenerTags: true, to: services, toSidecar: services, toGateway: services, from: "Mesh", fromSidecar: "Mesh", lists: "to from rules", need: "spec"},
	"MeshRetry":                 {systemTop: withRoute, top: proxies, listenerTags: true, to: everyService, toSidecar: everyService, toGateway: meshExternal, toRoute: meshExternal, lists: "to", need: "spec.to"},
	"MeshMetric":                {systemTop: withGateway, top: proxies, listenerTags: true, lists: "default"},
	"MeshProxyPatch":            {systemTop: withGateway, top: proxies, lists: "default", need: "spec.default"},
}

// The order of the types is the one of an answer: Kuma's.
func TestTypesAreInTheOrderOfAnAnswer(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, typ := range policy.Types {
		kinds = append(kinds, typ.Kind)
	}
	assert.Equal(t, []string{
		"MeshHTTPRoute", "MeshTCPRoute", "MeshTLS", "MeshLoadBalancingStrategy", "MeshPassthrough", "MeshAccessLog", "MeshTrace", "MeshFaultInjection",
		"MeshRateLimit", "MeshTimeout", "MeshTrafficPermission", "MeshHealthCheck", "MeshCircuitBreaker", "MeshRetry", "MeshMetric", "MeshProxyPatch",
	}, kinds)
}

func TestEveryKindWithATargetRefIsAType(t *testing.T) {
	t.Parallel()
	for _, d := range resource.Kinds {
		_, ok := policy.LookupType(d.Kind)
		assert.Equal(t, d.TargetRef, ok, d.Kind)
		_, ok = matrix[d.Kind]
		assert.Equal(t, d.TargetRef, ok, d.Kind)
	}
}

func TestTargetRefsMaySelectWhatTheMatrixSays(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		want := matrix[typ.Kind]
		t.Run(typ.Kind, func(t *testing.T) {
			t.Parallel()
			allowed := func(labels, spec, at, field string) string {
				var kinds []string
				for _, kind := range allKinds {
					ref := "{kind: " + kind + ", name: a}"
					_, fields, _ := readSpec(typ.Kind, labels, fmt.Sprintf(spec, ref))
					if !slices.Contains(fields, at) && !slices.Contains(fields, field) {
						kinds = append(kinds, kind)
					}
				}
				return inOrder(strings.Join(kinds, " "))
			}
			const top = "spec.targetRef.kind"
			assert.Equal(t, inOrder(want.systemTop), allowed("", "{targetRef: %s}", top, top), "top-level targetRef of role system")
			for _, role := range []string{"producer", "consumer", "workload-owner"} {
				assert.Equal(t, inOrder(want.top), allowed("kuma.io/policy-role: "+role, "{targetRef: %s}", top, top), "top-level targetRef of role %s", role)
			}
			if typ.To {
				for spec, kinds := range map[string]string{
					"{to: [{targetRef: %s}]}": want.to,
					"{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, to: [{targetRef: %s}]}": want.toSidecar,
					"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: %s}]}":        want.toGateway,
				} {
					assert.Equal(t, inOrder(kinds), allowed("", spec, "spec.to[0].targetRef.kind", "spec.to"), spec)
				}
				if want.toRoute != "" {
					const spec = "{targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: %s}]}"
					assert.Equal(t, inOrder(want.toRoute), allowed("", spec, "spec.to[0].targetRef.kind", "spec.to"), spec)
				}
			}
			if typ.From {
				for spec, kinds := range map[string]string{
					"{from: [{targetRef: %s}]}": want.from,
					"{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, from: [{targetRef: %s}]}": want.fromSidecar,
				} {
					assert.Equal(t, inOrder(kinds), allowed("", spec, "spec.from[0].targetRef.kind", "spec.from"), spec)
				}
			}
		})
	}
}

// inOrder puts kinds in the order of allKinds.
func inOrder(kinds string) string {
	words := strings.Fields(kinds)
	slices.SortFunc(words, func(a, b string) int { return slices.Index(allKinds, a) - slices.Index(allKinds, b) })
	return strings.Join(words, " ")
}

func TestOnlyTypesThatMayTakeTagsOfListeners(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		want := matrix[typ.Kind]
		if !strings.Contains(want.systemTop, "MeshGateway") {
			continue
		}
		_, fields, _ := readSpec(typ.Kind, "", "{targetRef: {kind: MeshGateway, name: g, tags: {a: '*'}}}")
		assert.Equal(t, want.listenerTags, !slices.Contains(fields, "spec.targetRef.tags"), typ.Kind)
	}
}

func TestTypesHaveTheListsThatTheySay(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		want := matrix[typ.Kind]
		var lists []string
		for list, has := range map[string]bool{"to": typ.To, "from": typ.From, "rules": typ.Rules, "default": typ.Single} {
			if has {
				lists = append(lists, list)
			}
		}
		assert.ElementsMatch(t, strings.Fields(want.lists), lists, typ.Kind)
		for list, empty := range map[string]string{"to": "[]", "from": "[]", "rules": "[]", "default": "{}"} {
			_, _, err := readSpec(typ.Kind, "", "{"+list+": "+empty+"}")
			unknown := err != nil && strings.Contains(err.Error(), "spec."+list+": unknown field")
			assert.Equal(t, !slices.Contains(strings.Fields(want.lists), list), unknown, "%s: %s: %v", typ.Kind, list, err)
		}
	}
}

func TestAnEmptySpecIsValidWhereNothingIsNeeded(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		_, fields, err := readSpec(typ.Kind, "", "{}")
		if need := matrix[typ.Kind].need; need == "" {
			assert.NoError(t, err, typ.Kind)
		} else {
			assert.Equal(t, []string{need}, fields, typ.Kind)
		}
	}
}

func TestRulesExcludeTheOtherLists(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		if !typ.Rules {
			continue
		}
		for _, list := range []string{"to", "from"} {
			if list == "to" && !typ.To {
				continue
			}
			_, fields, _ := readSpec(typ.Kind, "", "{"+list+": [{targetRef: {kind: Mesh}}], rules: [{}]}")
			assert.Contains(t, fields, "spec", "%s: %s", typ.Kind, list)
		}
	}
}

func TestViolationsSayWhatIsAllowedAndWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, labels, spec, want string }{
		{"MeshTrafficPermission", "", "{from: [{targetRef: {kind: MeshGateway, name: g}, default: {action: Deny}}]}", `spec.from[0].targetRef.kind: found "MeshGateway", want one of Mesh, MeshSubset, MeshService, MeshServiceSubset`},
		{"MeshTimeout", "", "{to: [{targetRef: {kind: MeshServce, name: a}, default: {idleTimeout: -1s}}]}", "found -1s, want a duration that is not negative"},
		{"MeshRetry", "", confs("{http: {retryOn: [gatewayError]}}"), "did you mean GatewayError?"},
		{"MeshCircuitBreaker", "", confs("{outlierDetection: {healthyPanicThreshold: 101, detectors: {totalFailures: {}}}}"), `found 101, want a percentage from 0 to 100, such as 5 or "2.5"`},
		{"MeshTimeout", "kuma.io/policy-role: consumer", "{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", "want one of Mesh, MeshSubset, MeshService, MeshServiceSubset, Dataplane (MeshGateway is for policies of role system, this one is of role consumer)"},
		{"MeshAccessLog", "", "{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshService, name: a}, default: {backends: []}}]}", `found "MeshService", want Mesh (with a top-level targetRef of kind MeshGateway)`},
		{"MeshHealthCheck", "", "{to: [{targetRef: {kind: MeshExternalService, name: a}, default: {tcp: {}}}]}", "want one of Mesh, MeshService, MeshMultiZoneService (a MeshExternalService is reached through a zone egress, which all clients share)"},
		{"MeshRateLimit", "", "{rules: [{default: {}}]}", "spec.rules: must not be given with a top-level targetRef that can select a gateway"},
		{"MeshFaultInjection", "", "{targetRef: {kind: Dataplane}, to: [{targetRef: {kind: Mesh}}]}", "spec.to: must not be given with a top-level targetRef that selects no gateway: use from"},
		{"MeshTimeout", "", "{targetRef: {kind: MeshGateway, name: g}, from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", "spec.from: must not be given with a top-level targetRef of kind MeshGateway"},
	} {
		_, _, err := readSpec(c.kind, c.labels, c.spec)
		require.ErrorContains(t, err, c.want)
	}
}

// Each line holds one mistake, so that the order of the lines is the order of the document.
func TestViolationsComeInTheOrderOfTheDocument(t *testing.T) {
	t.Parallel()
	const doc = `
type: MeshRetry
name: x
spec:
  to:
    - default:
        http:
          numRetries: many
          retryOn:
            - "999"
          backOff: {}
      targetRef:
        kind: MeshTCPRoute
    - targetRef:
        kind: MeshService
        name: UPPER
      default:
        tcp: {}
        grpc:
          retryOn: [canceled]
  targetRef:
    kind: Mesh
    name: a
`
	_, err := policy.Schemas().Read("f.yaml", []byte(doc), resource.ReadOptions{})
	var lines []string
	for line := range strings.Lines(err.Error()) {
		lines = append(lines, strings.Split(line, ":")[1]+strings.Split(line, ":")[3])
	}
	assert.Equal(t, []string{
		"8 spec.to[0].default.http.numRetries", "10 spec.to[0].default.http.retryOn[0]", "11 spec.to[0].default.http.backOff",
		"13 spec.to[0].targetRef.kind", "16 spec.to[1].targetRef.name", "18 spec.to[1].default.tcp", "20 spec.to[1].default.grpc.retryOn[0]",
		"23 spec.targetRef.name",
	}, lines, "%v", err)
}
