package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestValidation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc    string // kind | spec, or kind | labels | spec
		fields []string
	}{
		"all of it": {"MeshTimeout|{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, to: [{targetRef: {kind: MeshService, name: pay, sectionName: http}, default: {connectionTimeout: 3s, idleTimeout: 20m, http: {requestTimeout: 4s, streamIdleTimeout: 0s}}}]}", nil},
		"nothing":   {"MeshTimeout|{}", []string{"spec"}},
		"ranges":    {"MeshTimeout|{to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 0s, http: {requestTimeout: -1s}}}]}", []string{"spec.to[0].default.connectionTimeout", "spec.to[0].default.http.requestTimeout"}},
		"a route's timeouts are about requests": {
			"MeshTimeout|{targetRef: {kind: MeshHTTPRoute, name: r1}, to: [{targetRef: {kind: MeshService, name: a}, default: {idleTimeout: 5s}}], rules: [{default: {}}]}",
			[]string{"spec", "spec.to[0].targetRef.kind", "spec.to[0].default.idleTimeout", "spec.rules[0].default"},
		},
		"no such kind":                        {"MeshTimeout|{to: [{targetRef: {kind: Nope}, default: {http: {requestTimeout: 1s}}}]}", []string{"spec.to[0].targetRef.kind"}},
		"only headers":                        {"MeshTimeout|{to: [{targetRef: {kind: Mesh}, default: {http: {requestHeadersTimeout: 1s}}}]}", []string{"spec.to[0].default.http"}},
		"no default":                          {"MeshTimeout|{to: [{targetRef: {kind: Mesh}}]}", []string{"spec.to[0].default"}},
		"a null is given":                     {"MeshTimeout|{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: null}}, {targetRef: {kind: Mesh}, default: {http: null}}, {targetRef: {kind: Mesh}, default: {http: {requestTimeout: null}}}]}", nil},
		"a null elsewhere is not":             {"MeshTimeout|{to: [{targetRef: {kind: Mesh, name: null}, default: {idleTimeout: 1s}}]}", []string{"spec.to[0].targetRef.name"}},
		"top-level kind":                      {"MeshTimeout|{targetRef: {kind: MeshMultiZoneService, name: x}, to: [{targetRef: {kind: MeshMultiZoneService}, default: {idleTimeout: 1s}}]}", []string{"spec.targetRef.kind"}},
		"a multi-zone service is not checked": {"MeshTimeout|{to: [{targetRef: {kind: MeshMultiZoneService, tags: {a: b}, mesh: x}, default: {idleTimeout: 1s}}]}", nil},
		"at a gateway": {
			"MeshTimeout|{targetRef: {kind: MeshGateway, name: g, tags: {x: y}}, from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}], to: [{targetRef: {kind: MeshExternalService, name: e, sectionName: q}, default: {idleTimeout: 1s}}]}",
			[]string{"spec.from", "spec.to[0].targetRef.sectionName"},
		},
		"gateway of a consumer":       {"MeshTimeout|kuma.io/policy-role: consumer|{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", []string{"spec.targetRef.kind"}},
		"gateway in a namespace":      {"MeshTimeout|k8s.kuma.io/namespace: shop|{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", []string{"spec.targetRef.kind"}},
		"gateway of the system":       {"MeshTimeout|k8s.kuma.io/namespace: kuma-system|{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", nil},
		"producer and consumer items": {"MeshTimeout|k8s.kuma.io/namespace: shop|{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, name: a}, default: {idleTimeout: 1s}}]}", []string{"spec.to"}},
		"from and to in a namespace":  {"MeshTimeout|k8s.kuma.io/namespace: shop|{from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}], to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}", nil},
		"fields of kind Mesh": {
			"MeshTimeout|{targetRef: {kind: Mesh, name: a, mesh: b, tags: {c: d}, labels: {e: f}, namespace: g, sectionName: h, proxyTypes: []}, rules: [{default: {idleTimeout: 1s}}]}",
			[]string{"spec.targetRef.name", "spec.targetRef.mesh", "spec.targetRef.tags", "spec.targetRef.labels", "spec.targetRef.namespace", "spec.targetRef.sectionName", "spec.targetRef.proxyTypes"},
		},
		"fields of kind MeshSubset": {
			`MeshTimeout|{targetRef: {kind: MeshSubset, name: a, tags: {"b b": c, d: "*", e: ""}}, rules: [{default: {idleTimeout: 1s}}]}`,
			[]string{"spec.targetRef.name", `spec.targetRef.tags["b b"]`, `spec.targetRef.tags["d"]`, `spec.targetRef.tags["e"]`},
		},
		"fields of kind Dataplane": {
			"MeshTimeout|{targetRef: {kind: Dataplane, name: a, labels: {b: c}, tags: {d: e}, proxyTypes: [Sidecar], sectionName: f}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}",
			[]string{"spec.targetRef.labels", "spec.targetRef.tags", "spec.targetRef.sectionName", "spec.targetRef.proxyTypes"},
		},
		"section of a Dataplane with rules": {"MeshTimeout|{targetRef: {kind: Dataplane, sectionName: f}, rules: [{default: {idleTimeout: 1s}}]}", nil},
		"fields of kind MeshService": {
			"MeshTimeout|{to: [{targetRef: {kind: MeshService}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, name: a/B, namespace: n, labels: {l: m}}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, labels: {l: m}, sectionName: s}, default: {idleTimeout: 1s}}]}",
			[]string{"spec.to[0].targetRef.name", "spec.to[1].targetRef.name", "spec.to[1].targetRef.labels"},
		},
		"fields of kind MeshServiceSubset": {
			`MeshTimeout|{targetRef: {kind: MeshServiceSubset, tags: {a: "*", b: x/y}, labels: {b: c}, namespace: d}, rules: [{default: {idleTimeout: 1s}}]}`,
			[]string{"spec.targetRef.name", "spec.targetRef.labels", "spec.targetRef.namespace"},
		},

		"a permission":           {"MeshTrafficPermission|{targetRef: {kind: Dataplane, labels: {app: db}, sectionName: pg}, from: [{targetRef: {kind: MeshSubset, tags: {kuma.io/service: api}}, default: {action: Allow}}, {targetRef: {kind: Mesh}, default: {action: Deny}}]}", nil},
		"no action":              {"MeshTrafficPermission|{from: [{targetRef: {kind: MeshService}, default: {}}]}", []string{"spec.from[0].targetRef.name", "spec.from[0].default.action"}},
		"an action that is null": {"MeshTrafficPermission|{from: [{targetRef: {kind: Mesh}, default: {action: null}}]}", []string{"spec.from[0].default.action"}},
		"no from":                {"MeshTrafficPermission|{targetRef: {kind: MeshGateway, name: g}}", []string{"spec.targetRef.kind", "spec.from"}},
		"an action in capitals":  {"MeshTrafficPermission|{from: [{targetRef: {kind: MeshService, name: a}, default: {action: ALLOW}}]}", []string{"spec.from[0].default.action"}},
		"permissions have no to": {"MeshTrafficPermission|{from: [{targetRef: {kind: Mesh}, default: {action: Allow}}], to: []}", []string{"spec.to"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			parts := strings.Split(c.doc, "|")
			labels := ""
			if len(parts) == 3 {
				labels = parts[1]
			}
			doc := "{type: " + parts[0] + ", name: x, mesh: default, labels: {" + labels + "}, spec: " + parts[len(parts)-1] + "}"
			_, err := policy.Schemas().Read("", []byte(doc), resource.ReadOptions{})
			if len(c.fields) == 0 {
				require.NoError(t, err)
				return
			}
			invalid, ok := errors.AsType[*resource.InvalidError](err)
			require.True(t, ok, "%v", err)
			var fields []string
			for _, v := range invalid.Violations {
				fields = append(fields, v.Field)
				assert.NotEmpty(t, v.Reason)
			}
			assert.ElementsMatch(t, c.fields, fields, "%v", err) // the documents are of one line: see TestViolationsComeInTheOrderOfTheDocument
		})
	}
}

func TestFromIsDeprecatedWhereThereAreRules(t *testing.T) {
	t.Parallel()
	for _, typ := range policy.Types {
		if !typ.From {
			continue
		}
		conf := map[string]string{
			"MeshAccessLog": "{backends: []}", "MeshCircuitBreaker": "{connectionLimits: {}}", "MeshRateLimit": "{local: {tcp: {disabled: true}}}",
			"MeshTimeout": "{idleTimeout: 1s}", "MeshTrafficPermission": "{action: Deny}",
		}[typ.Kind]
		if conf == "" {
			conf = "{}"
		}
		got := warningsOf(t, typ.Kind, "{targetRef: {kind: Dataplane}, from: [{targetRef: {kind: Mesh}, default: "+conf+"}]}")
		if !typ.Rules {
			assert.Empty(t, got, typ.Kind)
			continue
		}
		assert.Equal(t, []string{"spec.from is deprecated: use spec.rules"}, got, typ.Kind)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc  string
		want []string // beginnings
	}{
		"nothing to say": {"{type: MeshTimeout, name: x, spec: {targetRef: {kind: Dataplane}, rules: [{default: {idleTimeout: 1s}}]}}", nil},
		"deprecated": {
			"{type: MeshTimeout, name: x, spec: {targetRef: {kind: MeshSubset}, from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}",
			[]string{"spec.targetRef: kind MeshSubset", "spec.from is deprecated"},
		},
		"deprecated clients": {
			"{type: MeshTrafficPermission, name: x, spec: {targetRef: {kind: MeshService, name: a}, from: [{targetRef: {kind: Mesh}, default: {action: Deny}}, {targetRef: {kind: MeshService, name: b}, default: {action: Deny}}]}}",
			[]string{"spec.targetRef: kind MeshService", "spec.from[1].targetRef: kind MeshService"},
		},
		"faults for deprecated clients": {
			"{type: MeshFaultInjection, name: x, spec: {targetRef: {kind: Dataplane}, from: [{targetRef: {kind: MeshService, name: b}}]}}",
			[]string{"spec.from[0].targetRef: kind MeshService"},
		},
		"a name without a zone": {
			"{type: MeshTimeout, name: x, spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, name: b}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, name: b_ns_svc_80}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshService, labels: {a: b}}, default: {idleTimeout: 1s}}]}}",
			[]string{`spec.to[1].targetRef: a name is looked up in the zone of the policy, and this one has no zone: MeshService "b" is found in none`},
		},
		"a name with a zone":     {"{type: MeshTimeout, name: x, labels: {kuma.io/zone: east}, spec: {to: [{targetRef: {kind: MeshService, name: b}, default: {idleTimeout: 1s}}]}}", nil},
		"a name of two parts":    {"{type: MeshService, name: a.b, spec: {}}", []string{`name "a.b" is no DNS label`}},
		"from and to in a place": {"{type: MeshTimeout, name: x, labels: {k8s.kuma.io/namespace: shop}, spec: {from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}], to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}", []string{"a policy with both `from` and `to`", "spec.from is deprecated"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs, err := policy.Schemas().Read("", []byte(c.doc), resource.ReadOptions{})
			require.NoError(t, err)
			got := policy.Warnings(docs[0].Resource)
			require.Len(t, got, len(c.want), "%q", got)
			for i, w := range c.want {
				assert.True(t, strings.HasPrefix(got[i], w), "got %q, want %q", got[i], w)
			}
			for i, w := range policy.Advice(docs[0].Resource) {
				assert.Equal(t, got[i], w.Text)
				assert.Contains(t, resource.WarningCodes, w.Code)
				assert.NotEmpty(t, w.Field)
			}
		})
	}
}
