package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// local returns the plane as somebody on its own machine sees it.
func (p *plane) local() *plane {
	next := p.Handler
	return &plane{p.t, p.store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr, r.Host = "[::1]:4711", "localhost:5681"
		next.ServeHTTP(w, r)
	})}
}

func TestEveryKindOfTheTableIsServed(t *testing.T) {
	t.Parallel()
	listed := func(p *plane, path, list string) map[string]object {
		byName := map[string]object{}
		for _, e := range p.get(path).doc[list].([]any) {
			byName[e.(object)["name"].(string)] = e.(object)
		}
		return byName
	}
	for _, place := range []resource.Plane{onGlobal, inEast, alone} {
		p := newPlane(t, place).local()
		kinds, policies := listed(p, "/_resources", "resources"), listed(p, "/policies", "policies")
		schemas := policy.Schemas()
		served := 0
		for _, d := range resource.Kinds {
			_, known := schemas[d.Kind]
			assert.True(t, known, "%s has no schema", d.Kind)
			if d.Plural == "" {
				assert.NotContains(t, kinds, d.Kind)
				continue
			}
			served++
			require.Contains(t, kinds, d.Kind)
			assert.Equal(t, d.Plural, kinds[d.Kind]["path"])
			assert.Equal(t, d.Policy, policies[d.Kind] != nil, d.Kind)
			paths := []string{"/" + d.Plural}
			if d.Scope == resource.ScopeMesh {
				paths = append(paths, "/meshes/default/"+d.Plural)
			}
			for _, path := range paths {
				assert.Contains(t, p.get(path).doc, "items", path)
			}
			item := paths[len(paths)-1] + "/none"
			p.must(http.StatusNotFound, "GET", item, nil)
			if d.SystemManaged {
				assert.Equal(t, true, kinds[d.Kind]["readOnly"], d.Kind)
				p.must(http.StatusMethodNotAllowed, "PUT", item, object{"type": d.Kind, "name": "none", "mesh": "default"})
				p.must(http.StatusMethodNotAllowed, "DELETE", item, nil)
			}
		}
		assert.Equal(t, len(kinds), served)
	}
}

func TestSecretsAreForAdministrators(t *testing.T) {
	t.Parallel()
	away := newPlane(t, onGlobal)
	here := away.local()
	secret := object{"type": "Secret", "mesh": "default", "name": "s", "data": "aGVsbG8="}
	global := object{"type": "GlobalSecret", "name": "g", "data": "aGVsbG8="}
	here.must(http.StatusCreated, "PUT", "/meshes/default/secrets/s", secret)
	here.must(http.StatusCreated, "PUT", "/global-secrets/g", global)
	assert.Equal(t, "aGVsbG8=", here.get("/meshes/default/secrets/s").doc["data"])

	for _, request := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/secrets", nil},
		{"GET", "/meshes/default/secrets", nil},
		{"GET", "/meshes/default/secrets/s", nil},
		{"GET", "/meshes/default/secrets/none", nil},
		{"PUT", "/meshes/default/secrets/s", secret},
		{"DELETE", "/meshes/default/secrets/s", nil},
		{"GET", "/global-secrets", nil},
		{"GET", "/global-secrets/g", nil},
		{"PUT", "/global-secrets/g", global},
		{"DELETE", "/global-secrets/g", nil},
	} {
		a := away.must(http.StatusForbidden, request.method, request.path, request.body)
		assert.Equal(t, "Access Denied", a.doc["title"])
		assert.Contains(t, a.doc["detail"], `cannot access the resource of type "`)
		assert.NotContains(t, a.Body.String(), "aGVsbG8")
	}
	results := away.apply(http.StatusOK, "?keep-going=true", secret, timeout("t", "1s"), global)
	assert.Equal(t, []string{"invalid", "created", "invalid"}, actions(results))
	assert.EqualValues(t, 403, results[0]["error"].(object)["status"])
	results = here.apply(http.StatusOK, "", secret, global)
	assert.Equal(t, []string{"unchanged", "unchanged"}, actions(results))
}

func TestARoleThatThePolicyDoesNotHave(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	doc := timeout("x", "1s", "kuma.io/policy-role", "producer", "k8s.kuma.io/namespace", "shop")
	const field = `labels["kuma.io/policy-role"]`

	a := p.must(http.StatusBadRequest, "PUT", timeouts+"/x?strict-role=true", doc)
	assert.Equal(t, []string{field}, a.fields(t))
	p.must(http.StatusBadRequest, "PUT", timeouts+"/x?strict-role=maybe", doc)
	results := p.apply(http.StatusBadRequest, "?strict-role=true", doc, timeout("y", "1s"))
	assert.Equal(t, []string{"invalid", "skipped"}, actions(results))

	a = p.must(http.StatusCreated, "PUT", timeouts+"/x", doc)
	assert.Equal(t, []any{field + ": declares the role producer, but what the policy says and where it was written make it consumer"}, a.doc["warnings"])
	stored := p.get(timeouts + "/x.shop").doc["labels"].(object)
	assert.Equal(t, "consumer", stored["kuma.io/policy-role"], "the role is what the policy says")
	p.must(http.StatusOK, "PUT", timeouts+"/x?strict-role=true", timeout("x", "1s", "kuma.io/policy-role", "consumer", "k8s.kuma.io/namespace", "shop"))
	p.must(http.StatusCreated, "PUT", timeouts+"/z?strict-role=true", timeout("z", "1s"))
}

func TestAReferenceThatFindsNothingIsAWarning(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	doc := timeout("x", "1s", "k8s.kuma.io/namespace", "shop")
	doc["spec"].(object)["to"].([]any)[0].(object)["targetRef"] = object{"kind": "MeshService", "name": "cart"}
	service := object{"type": "MeshService", "mesh": "default", "name": "cart", "labels": object{"k8s.kuma.io/namespace": "shop"},
		"spec": object{"ports": []any{object{"port": 80, "name": "http"}}}}
	const warning = "spec.to[0].targetRef: there is no MeshService cart in namespace shop of east now, so it has no effect"

	results := p.apply(http.StatusOK, "?dry-run=true", doc)
	assert.Equal(t, []any{warning}, results[0]["warnings"])
	results = p.apply(http.StatusOK, "?dry-run=true", doc, service)
	assert.Empty(t, results[0]["warnings"], "the batch brings what it names")
	a := p.must(http.StatusCreated, "PUT", timeouts+"/x", doc)
	assert.Equal(t, []any{warning}, a.doc["warnings"])
	p.apply(http.StatusOK, "", service)
	a = p.must(http.StatusOK, "PUT", timeouts+"/x", doc)
	assert.NotContains(t, a.doc, "warnings")
}

func TestAKindFromBeforeTargetRefIsCarriedWithAWarning(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	doc := object{"type": "TrafficLog", "mesh": "default", "name": "all", "conf": object{"backend": "file"}}
	a := p.must(http.StatusCreated, "PUT", "/meshes/default/traffic-logs/all", doc)
	require.Len(t, a.doc["warnings"], 1)
	assert.Contains(t, a.doc["warnings"].([]any)[0], "TrafficLog is deprecated")
	assert.Equal(t, []string{"default/all"}, p.get("/traffic-logs").items())
	assert.Equal(t, object{"backend": "file"}, p.get("/meshes/default/traffic-logs/all").doc["conf"])
}
