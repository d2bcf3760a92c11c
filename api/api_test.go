package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// plane is an API over a real store and resolver, called without a socket.
type plane struct {
	t     testing.TB
	store *bolt.Store
	http.Handler
}

var (
	onGlobal = resource.Plane{}
	inEast   = resource.Plane{Zone: "east", Federated: true}
	alone    = resource.Plane{Zone: "east"}
)

// newPlane returns a plane that has a mesh "default". change may adjust the configuration.
func newPlane(t testing.TB, p resource.Plane, change ...func(*api.Config)) *plane {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	res := resolver.New(resolver.Config{Source: st})
	c := api.Config{
		Store: st, Resolver: res, Plane: p, Schemas: policy.Schemas(), Version: "v1", Instance: "cp-1", Hostname: "cp",
		Effective: func(ctx context.Context, mesh, dp string, f policy.Filter) (any, error) {
			return res.Effective(ctx, mesh, dp, f)
		},
		Policies: func(ctx context.Context, mesh, dp string) (any, error) { return res.Policies(ctx, mesh, dp) },
		Effect: func(ctx context.Context, kind, mesh, name string, page policy.Page) (any, []string, error) {
			answer, err := res.Effect(ctx, kind, mesh, name, page)
			return answer, answer.Zones(), err
		},
	}
	for _, fn := range change {
		fn(&c)
	}
	pl := &plane{t, st, api.New(c)}
	pl.stored(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "default"}, Spec: []byte{}})
	return pl
}

// stored puts resources into the store as they are: as a peer, not a person, would have written them.
func (p *plane) stored(rs ...resource.Resource) {
	p.t.Helper()
	for _, r := range rs {
		_, err := p.store.Apply(context.Background(), resource.Put(r))
		require.NoError(p.t, err)
	}
}

// answer is a response with its body parsed.
type answer struct {
	*httptest.ResponseRecorder
	doc map[string]any // nil when the body is no JSON object
}

// call sends one request; body is a document, JSON text, or nil. Headers are "Name: value".
func (p *plane) call(method, path string, body any, headers ...string) answer {
	p.t.Helper()
	var in bytes.Buffer
	switch b := body.(type) {
	case nil:
	case string:
		in.WriteString(b)
	default:
		require.NoError(p.t, json.NewEncoder(&in).Encode(b))
	}
	r := httptest.NewRequest(method, path, &in)
	r.Host = "cp:5681"
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	a := answer{ResponseRecorder: w}
	json.Unmarshal(w.Body.Bytes(), &a.doc)
	return a
}

// must is call for a request that has to be answered with this status.
func (p *plane) must(status int, method, path string, body any, headers ...string) answer {
	p.t.Helper()
	a := p.call(method, path, body, headers...)
	require.Equal(p.t, status, a.Code, "%s %s: %s", method, path, a.Body)
	return a
}

func (p *plane) get(path string) answer { p.t.Helper(); return p.must(http.StatusOK, "GET", path, nil) }

// fields returns the fields of the violations of an error document, and checks what every error document promises.
func (a answer) fields(t testing.TB) []string {
	t.Helper()
	assert.Equal(t, "/std-errors", a.doc["type"])
	assert.EqualValues(t, a.Code, a.doc["status"])
	assert.NotEmpty(t, a.doc["title"])
	assert.Equal(t, a.doc["detail"], a.doc["details"], "the legacy copy of detail")
	var fields []string
	invalid, _ := a.doc["invalid_parameters"].([]any)
	causes, _ := a.doc["causes"].([]any)
	require.Len(t, causes, len(invalid), "the legacy copy of invalid_parameters")
	for i, v := range invalid {
		v, c := v.(map[string]any), causes[i].(map[string]any)
		assert.Equal(t, v["field"], c["field"])
		assert.Equal(t, v["reason"], c["message"])
		assert.NotEmpty(t, v["reason"])
		fields = append(fields, v["field"].(string))
	}
	return fields
}

func (a answer) items() []string {
	var names []string
	items, _ := a.doc["items"].([]any)
	for _, item := range items {
		doc := item.(map[string]any)
		names = append(names, fmt.Sprint(doc["mesh"], "/", doc["name"]))
	}
	return names
}

type object = map[string]any

// timeout is a MeshTimeout for all traffic of the mesh; labels are pairs.
func timeout(name, request string, labels ...string) object {
	doc := object{"type": "MeshTimeout", "mesh": "default", "name": name, "spec": object{
		"targetRef": object{"kind": "Mesh"},
		"to": []any{object{
			"targetRef": object{"kind": "Mesh"},
			"default":   object{"http": object{"requestTimeout": request}},
		}},
	}}
	if len(labels) > 0 {
		doc["labels"] = pairs(labels)
	}
	return doc
}

func pairs(labels []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return m
}

func dataplane(name string, labels ...string) object {
	doc := object{"type": "Dataplane", "mesh": "default", "name": name, "networking": object{
		"address": "127.0.0.1",
		"inbound": []any{object{"port": 8080, "tags": object{"kuma.io/service": name}}},
	}}
	if len(labels) > 0 {
		doc["labels"] = pairs(labels)
	}
	return doc
}

// synced is a policy as KDS stores it: written elsewhere.
func synced(name string, labels ...string) resource.Resource {
	return resource.Resource{
		Key:    resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name},
		Labels: pairs(append(labels, "kuma.io/mesh", "default")),
		Spec:   []byte(`{"targetRef":{"kind":"Mesh"},"to":[{"default":{"http":{"requestTimeout":"1s"}},"targetRef":{"kind":"Mesh"}}]}`),
	}
}

const timeouts = "/meshes/default/meshtimeouts"

func TestIndexSaysWhatThisIs(t *testing.T) {
	t.Parallel()
	doc := newPlane(t, inEast).get("/").doc
	assert.Equal(t, "Kuma", doc["product"], "kumactl refuses every other product")
	assert.Equal(t, "2.10.11", doc["version"])
	assert.Equal(t, "v1", doc["meridian"])
	assert.Equal(t, "zone", doc["mode"])
	assert.Equal(t, "east", doc["zone"])
	doc = newPlane(t, onGlobal).get("/").doc
	assert.Equal(t, "global", doc["mode"])
	assert.NotContains(t, doc, "zone")
}

func TestBodiesAreIndentedByOneSpaceAndNotEscaped(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	a := p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "5s"))
	assert.Equal(t, "{}\n", a.Body.String())
	a = p.get(timeouts + "/x")
	assert.Equal(t, "application/json", a.Header().Get("Content-Type"))
	assert.True(t, strings.HasPrefix(a.Body.String(), "{\n \"type\": \"MeshTimeout\",\n"), a.Body)
	a = p.must(http.StatusBadRequest, "GET", timeouts+"?filter[<>]=x", nil)
	assert.Contains(t, a.Body.String(), "filter[<>]")
}

func TestUnknownRoutesAndMethods(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	for _, path := range []string{"/nothing", "/meshes/default/nothing", "/configs/x", "/status/global"} {
		a := p.must(http.StatusNotFound, "GET", path, nil)
		assert.Contains(t, a.Header().Get("Content-Type"), "text/plain", path)
	}
	a := p.must(http.StatusMethodNotAllowed, "POST", timeouts+"/x", "{}")
	assert.Equal(t, "DELETE, GET, HEAD, PUT", a.Header().Get("Allow"))
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast, func(c *api.Config) { c.Link = func() api.LinkStatus { return api.LinkStatus{} } })
	p.get("/healthz")
	p.get("/readyz") // without a connection to global
	require.NoError(t, p.store.Close())
	p.get("/healthz")
	a := p.must(http.StatusServiceUnavailable, "GET", "/readyz", nil)
	assert.Equal(t, "Not ready", a.doc["title"])
}

func TestResourceTypesAndPolicies(t *testing.T) {
	t.Parallel()
	find := func(list any, name string) object {
		for _, e := range list.([]any) {
			if e := e.(object); e["name"] == name {
				return e
			}
		}
		return nil
	}
	p := newPlane(t, onGlobal)
	types := p.get("/_resources").doc["resources"]
	assert.Equal(t, object{
		"name": "MeshTimeout", "readOnly": false, "path": "meshtimeouts", "scope": "Mesh", "singularDisplayName": "Mesh Timeout",
		"pluralDisplayName": "Mesh Timeouts", "includeInFederation": true,
		"policy": object{"isTargetRef": true, "hasToTargetRef": true, "hasFromTargetRef": true, "isFromAsRules": true},
	}, find(types, "MeshTimeout"))
	assert.Equal(t, object{
		"name": "Mesh", "readOnly": false, "path": "meshes", "scope": "Global", "singularDisplayName": "Mesh",
		"pluralDisplayName": "Meshes", "includeInFederation": true,
	}, find(types, "Mesh"))
	assert.Equal(t, true, find(types, "ZoneInsight")["readOnly"])
	assert.Nil(t, find(types, "Config"), "a kind that is not served is not listed")

	policies := p.get("/policies").doc["policies"]
	assert.Equal(t, object{
		"name": "MeshTimeout", "readOnly": false, "path": "meshtimeouts", "singularDisplayName": "Mesh Timeout",
		"pluralDisplayName": "Mesh Timeouts", "isExperimental": false, "isTargetRefBased": true, "isInbound": true, "isOutbound": true,
	}, find(policies, "MeshTimeout"))
	assert.Nil(t, find(policies, "Mesh"))

	zone := newPlane(t, inEast)
	assert.Equal(t, true, find(zone.get("/_resources").doc["resources"], "MeshTimeout")["readOnly"], "as Kuma: true for all on a federated zone")
	assert.Equal(t, false, find(zone.get("/policies").doc["policies"], "MeshTimeout")["readOnly"])
}
