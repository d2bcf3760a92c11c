package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// FuzzValidate reads any text as the spec of every type of policy. Nothing may panic, and a document that is accepted
// is accepted again, unchanged, after a round through the store: without a warning or a violation more.
func FuzzValidate(f *testing.F) {
	for _, spec := range []string{
		"{}",
		"{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s, http: {requestTimeout: null}}}]}",
		"{targetRef: {kind: Dataplane, labels: {a: b}, sectionName: http}, rules: [{default: {local: {http: {requestRate: {num: 30, interval: 1m}}}}}]}",
		`{targetRef: {kind: Mesh, proxyTypes: [Sidecar]}, from: [{targetRef: {kind: MeshSubset, tags: {a: b}}, default: {action: Allow, http: [{abort: {httpStatus: 503, percentage: "2.5"}}]}}]}`,
		"{to: [{targetRef: {kind: MeshService, name: a}, default: {tcp: {maxConnectAttempt: 1}, http: {retryOn: [5xx], hostSelection: [{predicate: OmitPreviousPriorities}]}}}]}",
		"{to: [{targetRef: {kind: Mesh}, default: {connectionLimits: {maxRetries: 1}, outlierDetection: {detectors: {successRate: {standardDeviationFactor: 2}}}}}]}",
		"{rules: [{default: {mode: Strict, tlsVersion: {min: TLS13}, backends: [{type: File, file: {path: /a, format: {type: Json, json: [{key: a, value: b}]}}}]}}]}",
		"{to: [{targetRef: {kind: MeshService, name: a}, rules: [{matches: [{path: {type: PathPrefix, value: /a}}], default: {backendRefs: [{kind: MeshService, name: b, port: 80}], filters: [{type: RequestMirror}]}}]}]}",
		"{to: [{targetRef: {kind: Mesh}, default: {loadBalancer: {type: Maglev, maglev: {hashPolicies: [{type: Cookie}]}}, localityAwareness: {crossZone: {failover: [{to: {type: Only}}]}}}}]}",
		"{default: {backends: [{type: Zipkin, zipkin: {url: 'http://a'}}, {type: Prometheus, prometheus: {}}], appendMatch: [{type: Domain, value: '*.a', protocol: tls}], appendModifications: [{cluster: {operation: Patch, value: 'a: 1'}}]}}",
		"{to: [5, null, {targetRef: 5, default: []}], from: {}, rules: [[]], targetRef: null, default: 1}",
	} {
		f.Add(spec, "")
		f.Add(spec, "k8s.kuma.io/namespace: shop")
	}
	schemas := policy.Schemas()
	f.Fuzz(func(t *testing.T, spec, labels string) {
		for _, typ := range policy.Types {
			doc := "{type: " + typ.Kind + ", name: x, labels: {" + labels + "}, spec: " + spec + "\n}"
			accept(t, schemas, typ.Kind, []byte(doc))
		}
	})
}

// accept reads a document, and if it is accepted takes it to the store and back.
func accept(t *testing.T, schemas resource.Schemas, kind string, doc []byte) bool {
	docs, err := schemas.Read("", doc, resource.ReadOptions{})
	if err != nil || len(docs) != 1 || docs[0].Resource.Kind != kind {
		return false
	}
	r := docs[0].Resource
	require.NoError(t, schemas.Validate(r), "%s", doc)
	stored, err := resource.ToJSON(r)
	require.NoError(t, err, "%s", doc)
	again, err := schemas.Read("", stored, resource.ReadOptions{})
	require.NoError(t, err, "%s", stored)
	require.Equal(t, r, again[0].Resource)
	require.Equal(t, policy.Warnings(r), policy.Warnings(again[0].Resource))
	return true
}

// FuzzValidateShaped does the same with specs that are made up from the schema of each type, so that most of them get
// past the shape: seed draws the fields and values.
func FuzzValidateShaped(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed, false)
	}
	schemas := policy.Schemas()
	f.Fuzz(func(t *testing.T, seed uint64, namespaced bool) {
		for _, typ := range policy.Types {
			accept(t, schemas, typ.Kind, madeUpDocument(t, schemas, typ.Kind, seed, namespaced))
		}
	})
}

// A generator whose documents are all refused, or all accepted, would prove nothing.
func TestSomeMadeUpDocumentsOfEveryTypeAreAccepted(t *testing.T) {
	t.Parallel()
	const documents = 1500
	schemas := policy.Schemas()
	for _, typ := range policy.Types {
		t.Run(typ.Kind, func(t *testing.T) {
			t.Parallel()
			accepted := 0
			for seed := range uint64(documents) {
				if accept(t, schemas, typ.Kind, madeUpDocument(t, schemas, typ.Kind, seed, seed%2 == 0)) {
					accepted++
				}
			}
			assert.Positive(t, accepted)
			assert.Less(t, accepted, documents)
			t.Logf("%d of %d", accepted, documents)
		})
	}
}

func madeUpDocument(t *testing.T, schemas resource.Schemas, kind string, seed uint64, namespaced bool) []byte {
	fields, ok := schemas.Fields(kind)
	require.True(t, ok)
	doc := map[string]any{"type": kind, "name": "x", "spec": madeUp(rand.New(rand.NewPCG(seed, 0)), fields, 0)}
	if namespaced {
		doc["labels"] = map[string]string{"k8s.kuma.io/namespace": "shop"}
	}
	text, err := json.Marshal(doc)
	require.NoError(t, err)
	return text
}

// madeUp returns a value for a field: mostly of its type, now and then a wrong one.
func madeUp(rnd *rand.Rand, f resource.FieldInfo, depth int) any {
	pick := func(values ...any) any { return values[rnd.IntN(len(values))] }
	const rarely = 60
	if rnd.IntN(rarely) == 0 {
		return pick(nil, 0, "", "x", []any{}, map[string]any{}, true, -1.5)
	}
	const deepest = 12
	if depth > deepest {
		return nil
	}
	switch f.Type {
	case "object":
		object := map[string]any{}
		if f.Name == "targetRef" && rnd.IntN(8) > 0 {
			return pick(map[string]any{"kind": "Mesh"}, map[string]any{"kind": "Mesh"}, map[string]any{"kind": "Mesh", "proxyTypes": []any{"Sidecar"}},
				map[string]any{"kind": "Dataplane", "labels": map[string]any{"a": "b"}}, map[string]any{"kind": "MeshService", "name": "a"})
		}
		for _, inner := range f.Fields() {
			if inner.Required || rnd.IntN(3) == 0 {
				object[inner.Name] = madeUp(rnd, inner, depth+1)
			}
		}
		return object
	case "map":
		elem, _ := f.Elem()
		return map[string]any{pick("a", "kuma.io/zone", "").(string): madeUp(rnd, elem, depth+1)}
	case "list":
		elem, _ := f.Elem()
		list := []any{}
		for range rnd.IntN(3) {
			list = append(list, madeUp(rnd, elem, depth+1))
		}
		return list
	case "enum":
		return f.Enum[rnd.IntN(len(f.Enum))]
	case "integer":
		return pick(max(f.Min, 0), min(f.Max, 1<<31-1), 1, 2, 200)
	case "boolean":
		return pick(true, false)
	case "duration":
		return pick("1s", "1h30m", "0s", "60ms")
	case "integer-or-text":
		return pick(1, "2.5", 100, "x")
	case "number":
		return pick(1, 2.5)
	case "base64":
		return "Zm9v"
	}
	return pick("a", "a", "/a", "5xx", "1kbps", "http://a:80", "10.0.0.1", "*.a", "")
}
