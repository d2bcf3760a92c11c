package api_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/resource"
)

// apply sends documents as _apply wants them, each from a line of a file, and returns the results.
func (p *plane) apply(status int, query string, docs ...object) []object {
	p.t.Helper()
	batch := []object{}
	for i, doc := range docs {
		batch = append(batch, object{"source": "f.yaml", "index": i + 1, "line": 10 * i, "document": doc})
	}
	a := p.must(status, "POST", "/_apply"+query, object{"documents": batch})
	var results []object
	for _, r := range a.doc["results"].([]any) {
		results = append(results, r.(object))
	}
	require.Len(p.t, results, len(docs))
	return results
}

func actions(results []object) []string {
	var all []string
	for _, r := range results {
		all = append(all, r["action"].(string))
	}
	return all
}

func TestApplyWritesABatchAndSaysWhatBecameOfEach(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	toOwn := timeout("x", "1s", "k8s.kuma.io/namespace", "shop")
	toOwn["spec"].(object)["to"].([]any)[0].(object)["targetRef"] = object{"kind": "MeshService", "name": "cart"}
	kubernetes := object{"apiVersion": "kuma.io/v1alpha1", "kind": "MeshTimeout",
		"metadata": object{"name": "k", "namespace": "shop", "labels": object{"kuma.io/mesh": "default"}}, "spec": timeout("", "1s")["spec"]}
	rev := p.store.Revision()
	results := p.apply(http.StatusOK, "", dataplane("web"), dataplane("db"), timeout("t", "1s"), toOwn, kubernetes)
	assert.Equal(t, rev+1, p.store.Revision(), "one batch")
	assert.Equal(t, object{
		"source": "f.yaml", "index": 1.0, "key": "Dataplane default/web", "kri": "kri_dp_default_east__web_",
		"kind": "Dataplane", "mesh": "default", "name": "web", "action": "created", "warnings": []any{},
	}, results[0])
	assert.Equal(t, object{
		"source": "f.yaml", "index": 3.0, "line": 20.0, "key": "MeshTimeout default/t", "kri": "kri_mt_default_east__t_",
		"kind": "MeshTimeout", "mesh": "default", "name": "t", "action": "created", "role": "system", "matches": 2.0, "warnings": []any{},
	}, results[2])
	assert.Equal(t, "producer", results[3]["role"])
	assert.Equal(t, "kri_mt_default_east_shop_x_", results[3]["kri"])
	assert.Equal(t, "consumer", results[4]["role"])
	assert.Equal(t, "k.shop", results[4]["name"])

	rev = p.store.Revision()
	results = p.apply(http.StatusOK, "", dataplane("web"), timeout("t", "2s"), kubernetes)
	assert.Equal(t, []string{"unchanged", "updated", "unchanged"}, actions(results))
	assert.Equal(t, rev+1, p.store.Revision())
	p.apply(http.StatusOK, "", dataplane("web"), timeout("t", "2s"))
	assert.Equal(t, rev+1, p.store.Revision(), "nothing differs, nothing is written")
}

func TestApplyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	p.stored(synced("g", "kuma.io/origin", "global"))
	rev := p.store.Revision()
	bad := timeout("bad", "soon")
	elsewhere := timeout("lost", "1s")
	elsewhere["mesh"] = "none"
	docs := []object{timeout("good", "1s"), bad, timeout("g", "1s"), elsewhere, {"type": "Mesh", "name": "m"}, timeout("good", "2s"), {"type": "MeshRetries", "name": "r"}, timeout("last", "1s")}

	results := p.apply(http.StatusBadRequest, "", docs...)
	assert.Equal(t, []string{"skipped", "invalid", "invalid", "invalid", "invalid", "invalid", "invalid", "skipped"}, actions(results))
	assert.Equal(t, rev, p.store.Revision())
	for i, want := range map[int]struct {
		status int
		field  string
	}{
		1: {400, "spec.to[0].default.http.requestTimeout"}, 2: {405, ""}, 3: {404, ""}, 4: {405, ""}, 5: {400, "name"}, 6: {400, "type"},
	} {
		problem := results[i]["error"].(object)
		assert.EqualValues(t, want.status, problem["status"], i)
		if want.field != "" {
			assert.Equal(t, want.field, problem["invalid_parameters"].([]any)[0].(object)["field"], i)
		}
		assert.NotEmpty(t, results[i]["kind"], "what it is about is named")
	}

	results = p.apply(http.StatusOK, "?keep-going=true", docs...)
	assert.Equal(t, []string{"created", "invalid", "invalid", "invalid", "invalid", "invalid", "invalid", "created"}, actions(results))
	assert.Equal(t, []string{"default/g", "default/good", "default/last"}, p.get(timeouts).items())
	assert.Contains(t, p.get(timeouts+"/good").Body.String(), `"1s"`, "the first of two documents for one resource")
}

func TestApplyDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", timeout("t", "1s"))
	rev := p.store.Revision()
	results := p.apply(http.StatusOK, "?dry-run=true", timeout("t", "2s"), timeout("new", "1s"))
	assert.Equal(t, []string{"updated", "created"}, actions(results))
	assert.NotContains(t, results[0], "matches", "not known before it is written")
	assert.Equal(t, rev, p.store.Revision())
}

func TestApplyCountsAMeshOfTheSameBatch(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	inNew := timeout("t", "1s")
	inNew["mesh"] = "new"
	results := p.apply(http.StatusOK, "", object{"type": "Mesh", "name": "new"}, inNew)
	assert.Equal(t, []string{"created", "created"}, actions(results))
	inBad := timeout("t", "1s")
	inBad["mesh"] = "bad"
	results = p.apply(http.StatusOK, "?keep-going=true", object{"type": "Mesh", "name": "bad", "nonsense": 1}, inBad)
	assert.Equal(t, []string{"invalid", "invalid"}, actions(results), "an invalid Mesh is no mesh")
}

func TestApplyRefusesBadRequests(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	for body, status := range map[string]int{
		`{"documents":`:      400,
		`{"documents": {}}`:  400,
		`[]`:                 400,
		`{"documents": [1]}`: 400,
	} {
		a := p.must(status, "POST", "/_apply", body)
		assert.Equal(t, "Bad Request", a.doc["title"], body)
		a.fields(t)
	}
	a := p.must(400, "POST", "/_apply?dry-run=perhaps", `{"documents":[]}`)
	assert.Equal(t, []string{"dry-run"}, a.fields(t))
	p.must(415, "POST", "/_apply", `{}`, "Content-Type: text/plain")
	assert.Empty(t, p.apply(http.StatusOK, ""), "nothing to do")
	results := p.apply(http.StatusBadRequest, "", nil)
	assert.Equal(t, []string{"invalid"}, actions(results))
}

// failing is a store whose writes fail.
type failing struct {
	api.Store
	err error
}

func (s *failing) Apply(context.Context, ...resource.Op) (resource.Revision, error) {
	return 0, s.err
}

func TestAFailedWriteIsNotReportedAsDone(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{
		http.StatusInsufficientStorage: fmt.Errorf("write: %w", errDiskFull),
		http.StatusServiceUnavailable:  resource.ErrClosed,
		http.StatusInternalServerError: fmt.Errorf("wires crossed"),
	} {
		p := newPlane(t, onGlobal, func(c *api.Config) { c.Store = &failing{c.Store, err} })
		for method, path := range map[string]string{"POST": "/_apply", "PUT": timeouts + "/x"} {
			var body any = timeout("x", "1s")
			if method == "POST" {
				body = object{"documents": []object{{"document": body}}}
			}
			a := p.must(status, method, path, body)
			a.fields(t)
			assert.NotContains(t, a.Body.String(), "wires", "internals stay inside")
		}
	}
}

func TestConcurrentBatchesAreSerialised(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	const writers, rounds = 4, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				value := fmt.Sprintf("%ds", 1+w*rounds+i)
				p.apply(http.StatusOK, "", timeout("a", value), timeout("b", value))
			}
		})
	}
	wg.Wait()
	a, b := p.get(timeouts+"/a").doc, p.get(timeouts+"/b").doc
	assert.Equal(t, a["spec"], b["spec"], "a and b were always written together")
}

func TestANewMeshTakesItsInitialPoliciesFromWhoWroteThem(t *testing.T) {
	t.Parallel()
	key := func(name string) resource.Key { return resource.Key{Kind: "MeshTimeout", Mesh: "shop", Name: name} }
	made := []byte(`{"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"9s"}}]}`)
	p := newPlane(t, onGlobal, func(c *api.Config) {
		c.InitialPolicies = func(mesh resource.Resource) ([]resource.Resource, error) {
			var all []resource.Resource
			for _, name := range []string{"a", "b", "c"} {
				all = append(all, resource.Resource{Key: key(name), Spec: made})
			}
			return all, nil
		}
	})
	p.stored(resource.Resource{Key: key("c"), Spec: []byte(`{}`)}) // left behind
	written := timeout("b", "1s")
	written["mesh"] = "shop"
	mesh := object{"type": "Mesh", "name": "shop"}

	rev := p.store.Revision()
	p.apply(http.StatusOK, "?dry-run=true", mesh, written)
	assert.Equal(t, rev, p.store.Revision(), "nothing is written")

	assert.Equal(t, []string{"created", "created"}, actions(p.apply(http.StatusOK, "", mesh, written)))
	assert.Equal(t, rev+1, p.store.Revision(), "one batch")
	for name, makes := range map[string]bool{"a": true, "b": false, "c": false} {
		r, err := p.store.Get(context.Background(), key(name))
		require.NoError(t, err)
		assert.Equal(t, makes, string(r.Spec) == string(made), name)
	}
}
