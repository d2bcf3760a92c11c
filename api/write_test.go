package api_test

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/meridian-mesh/meridian/api"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestPutCreatesThenUpdates(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	rev := p.store.Revision()
	p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "1s"))
	assert.Equal(t, rev, p.store.Revision(), "nothing changed, so nothing was written")
	p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "2s"))
	assert.Equal(t, rev+1, p.store.Revision())
	a := p.must(http.StatusOK, "DELETE", timeouts+"/x", nil)
	assert.Equal(t, "{}\n", a.Body.String())
	a = p.must(http.StatusNotFound, "DELETE", timeouts+"/x", nil)
	assert.Equal(t, "Could not delete a resource", a.doc["title"])
}

func TestPutWarns(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	doc := timeout("x", "1s")
	doc["spec"].(object)["targetRef"] = object{"kind": "MeshSubset", "tags": object{"a": "b"}}
	a := p.must(http.StatusCreated, "PUT", timeouts+"/x", doc)
	require.Len(t, a.doc["warnings"], 2)
	assert.Contains(t, a.doc["warnings"].([]any)[0], "MeshSubset")
	assert.Equal(t, "spec.targetRef: selects no proxy now, so it has no effect", a.doc["warnings"].([]any)[1])
}

func TestEveryWayAPutCanBeWrong(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, func(c *api.Config) { c.MaxBody = 4 << 10 })
	with := func(change func(object)) object { d := timeout("x", "1s"); change(d); return d }
	for name, c := range map[string]struct {
		path    string
		body    any
		headers []string
		status  int
		title   string
		detail  string // "": not compared
		fields  []string
	}{
		"no media type":      {timeouts + "/x", timeout("x", "1s"), []string{"Content-Type: text/yaml"}, 415, "Unsupported media type", "", nil},
		"not JSON":           {timeouts + "/x", "type: MeshTimeout", nil, 400, "Bad Request", "", nil},
		"cut off":            {timeouts + "/x", `{"type":`, nil, 400, "Bad Request", "", nil},
		"empty":              {timeouts + "/x", "", []string{"Content-Type: application/json"}, 400, "Bad Request", "", nil},
		"not one document":   {timeouts + "/x", "null", nil, 400, "Bad Request", "want one document, not 0", nil},
		"too large":          {timeouts + "/x", with(func(d object) { d["labels"] = object{"a": strings.Repeat("x", 8<<10)} }), nil, 413, "Request is too large", "MeshTimeout default/x has 8378 bytes, and a document may have 4096", nil},
		"unknown field":      {timeouts + "/x", with(func(d object) { d["spec"].(object)["tooo"] = 1 }), nil, 400, "Could not process a resource", "Resource is not valid", []string{"spec.tooo"}},
		"unknown kind":       {timeouts + "/x", with(func(d object) { d["type"] = "MeshTimeuot" }), nil, 400, "Could not process a resource", "Resource is not valid", []string{"type"}},
		"other name":         {timeouts + "/y", timeout("x", "1s"), nil, 400, "Could not process a resource", "Resource is not valid", []string{"name"}},
		"other kind":         {timeouts + "/x", object{"type": "Mesh", "name": "x"}, nil, 400, "Could not process a resource", "Resource is not valid", []string{"type"}},
		"other mesh":         {timeouts + "/x", with(func(d object) { d["mesh"] = "a" }), nil, 400, "Could not process a resource", "Resource is not valid", []string{"mesh"}},
		"bad label":          {timeouts + "/x", timeout("x", "1s", "a b", "c"), nil, 400, "Could not process a resource", "Resource is not valid", []string{`labels["a b"]`}},
		"another mesh label": {timeouts + "/x", timeout("x", "1s", "kuma.io/mesh", "a"), nil, 400, "Could not process a resource", "Resource is not valid", []string{`labels["kuma.io/mesh"]`}},
		"no mesh":            {"/meshes/none/meshtimeouts/x", "not read", nil, 404, "Failed to retrieve Mesh", "Not found", nil},
		"version":            {timeouts + "/x", timeout("x", "1s"), []string{`If-Match: "7"`}, 409, "Conflict", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.must(c.status, "PUT", c.path, c.body, c.headers...)
			assert.Equal(t, c.fields, a.fields(t))
			assert.Equal(t, c.title, a.doc["title"])
			if c.detail != "" {
				assert.Equal(t, c.detail, a.doc["detail"])
			}
		})
	}
	a := p.must(http.StatusBadRequest, "PUT", timeouts+"/x", with(func(d object) { d["spec"].(object)["tooo"] = 1 }))
	assert.Contains(t, a.Body.String(), "to", "the nearest field is named")
	assert.Empty(t, p.get(timeouts).items(), "nothing was written")
}

func TestStrictFalseDropsUnknownFields(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	doc := timeout("x", "1s")
	doc["spec"].(object)["tooo"] = 1
	p.must(http.StatusCreated, "PUT", timeouts+"/x?strict=false", doc)
	assert.NotContains(t, p.get(timeouts+"/x").Body.String(), "tooo")
}

func TestIfMatchLetsOneOfTwoWritersWin(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	tag := "If-Match: " + p.get(timeouts+"/x").Header().Get("ETag")
	p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "2s"), tag)
	a := p.must(http.StatusConflict, "PUT", timeouts+"/x", timeout("x", "3s"), tag)
	assert.Equal(t, "Conflict", a.doc["title"])
	p.must(http.StatusConflict, "DELETE", timeouts+"/x", nil, tag)
	assert.Contains(t, p.get(timeouts+"/x").Body.String(), `"2s"`)
	p.must(http.StatusOK, "DELETE", timeouts+"/x", nil, "If-Match: *")
	p.must(http.StatusConflict, "PUT", timeouts+"/x", timeout("x", "3s"), "If-Match: *")
}

func TestLabelsAreComputedOnWrite(t *testing.T) {
	t.Parallel()
	toOwn := timeout("x", "1s", "k8s.kuma.io/namespace", "shop", "team", "pay")
	toOwn["spec"].(object)["to"].([]any)[0].(object)["targetRef"] = object{"kind": "MeshService", "name": "cart"}
	for name, c := range map[string]struct {
		plane resource.Plane
		path  string
		doc   object
		want  object
	}{
		"policy on global": {onGlobal, timeouts + "/x", timeout("x", "1s", "foo", "bar"), object{"foo": "bar", "kuma.io/mesh": "default"}},
		"policy in a zone": {inEast, timeouts + "/x", timeout("x", "1s"),
			object{"kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		"origin given": {inEast, timeouts + "/x", timeout("x", "1s", "kuma.io/origin", "zone"),
			object{"kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		"producer": {inEast, timeouts + "/x", toOwn, object{
			"kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal", "team": "pay",
			"k8s.kuma.io/namespace": "shop", "kuma.io/display-name": "x", "kuma.io/policy-role": "producer"}},
		"proxy": {alone, "/meshes/default/dataplanes/web", dataplane("web"), object{
			"kuma.io/mesh": "default", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal", "kuma.io/proxy-type": "sidecar"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, c.plane)
			p.must(http.StatusCreated, "PUT", c.path, c.doc)
			doc := p.get(c.path).doc
			assert.Equal(t, c.want, doc["labels"])
			// What was read can be written back, and is the same.
			rev := p.store.Revision()
			p.must(http.StatusOK, "PUT", path.Join(path.Dir(c.path), doc["name"].(string)), doc)
			assert.Equal(t, rev, p.store.Revision())
		})
	}
}

func TestDataplanesOfAZoneAreTaggedWithIt(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	p.must(http.StatusCreated, "PUT", "/meshes/default/dataplanes/web", dataplane("web"))
	assert.Contains(t, p.get("/meshes/default/dataplanes/web").Body.String(), `"kuma.io/zone": "east"`)
	gateway := object{"type": "Dataplane", "mesh": "default", "name": "edge", "networking": object{
		"address": "127.0.0.1", "gateway": object{"tags": object{"kuma.io/service": "edge"}}}}
	p.must(http.StatusCreated, "PUT", "/meshes/default/dataplanes/edge", gateway)
	tags := p.get("/meshes/default/dataplanes/edge").doc["networking"].(object)["gateway"].(object)["tags"]
	assert.Equal(t, object{"kuma.io/service": "edge", "kuma.io/zone": "east"}, tags)
}

func TestStatusIsKeptWhenABodyHasNone(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	service := object{"type": "MeshService", "mesh": "default", "name": "cart", "spec": object{
		"selector": object{"dataplaneTags": object{"app": "cart"}}, "ports": []any{object{"port": 80}}}}
	path := "/meshes/default/meshservices/cart"
	p.must(http.StatusCreated, "PUT", path, service)
	r, err := p.store.Get(context.Background(), resource.Key{Kind: "MeshService", Mesh: "default", Name: "cart"})
	require.NoError(t, err)
	r.Status = []byte(`{"vips":[{"ip":"10.0.0.1"}]}`)
	p.stored(r)
	service["spec"].(object)["ports"] = []any{object{"port": 81}}
	p.must(http.StatusOK, "PUT", path, service)
	doc := p.get(path).doc
	assert.Equal(t, object{"vips": []any{object{"ip": "10.0.0.1"}}}, doc["status"])
	assert.Contains(t, fmt.Sprint(doc["spec"]), "81")
}

func TestAPlaneRefusesWhatAnotherOwns(t *testing.T) {
	t.Parallel()
	fromEast := synced("x-8888888888888888", "kuma.io/display-name", "x", "kuma.io/origin", "zone", "kuma.io/zone", "east")
	fromWest := synced("x-9999999999999999", "kuma.io/display-name", "x", "kuma.io/origin", "global", "kuma.io/zone", "west") // passed on
	fromGlobal := synced("x-7777777777777777", "kuma.io/display-name", "x", "kuma.io/origin", "global")
	for name, c := range map[string]struct {
		plane  resource.Plane
		path   string
		doc    object
		detail string // "": allowed
	}{
		"global, of a zone":            {onGlobal, timeouts + "/" + fromEast.Name, timeout(fromEast.Name, "9s"), `zone "east": change it there`},
		"zone, of global":              {inEast, timeouts + "/" + fromGlobal.Name, timeout(fromGlobal.Name, "9s"), "global: change it there"},
		"zone, of another zone":        {inEast, timeouts + "/" + fromWest.Name, timeout(fromWest.Name, "9s"), `zone "west": change it there`},
		"zone, read and written back":  {inEast, timeouts + "/" + fromWest.Name, timeout(fromWest.Name, "9s", "kuma.io/origin", "global", "kuma.io/zone", "west"), `zone "west": change it there`},
		"zone, its own":                {inEast, timeouts + "/" + fromEast.Name, timeout(fromEast.Name, "9s"), ""},
		"alone, left behind by global": {alone, timeouts + "/" + fromGlobal.Name, timeout(fromGlobal.Name, "9s"), ""},
		"global, kind of zones":        {onGlobal, "/meshes/default/dataplanes/web", dataplane("web"), "On the global control plane you can not modify Dataplane"},
		"zone, kind of global":         {inEast, "/meshes/default", object{"type": "Mesh", "name": "default"}, "On a zone control plane you can not modify Mesh"},
		"alone, kind of global":        {alone, "/meshes/default", object{"type": "Mesh", "name": "default"}, ""},
		"kind of nobody":               {alone, "/zone-insights/z", object{"type": "ZoneInsight", "name": "z"}, "written by the control planes alone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, c.plane)
			p.stored(fromEast, fromWest, fromGlobal)
			rev := p.store.Revision()
			if c.detail == "" {
				p.must(http.StatusOK, "PUT", c.path, c.doc)
				p.must(http.StatusOK, "DELETE", c.path, nil)
				return
			}
			for _, method := range []string{"PUT", "DELETE"} {
				a := p.must(http.StatusMethodNotAllowed, method, c.path, c.doc)
				assert.Empty(t, a.fields(t))
				assert.Equal(t, "Method not allowed", a.doc["title"])
				assert.Contains(t, a.doc["detail"], c.detail)
				assert.Equal(t, "GET, HEAD", a.Header().Get("Allow"))
			}
			assert.Equal(t, rev, p.store.Revision())
		})
	}
}

func TestLabelsCannotClaimAnotherPlane(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plane  resource.Plane
		labels []string
		fields []string
	}{
		"global in a zone":  {inEast, []string{"kuma.io/origin", "global"}, []string{`labels["kuma.io/origin"]`}},
		"west in east":      {inEast, []string{"kuma.io/origin", "zone", "kuma.io/zone", "west"}, []string{`labels["kuma.io/zone"]`}},
		"west in east, too": {alone, []string{"kuma.io/zone", "west"}, []string{`labels["kuma.io/zone"]`}},
		"a zone on global":  {onGlobal, []string{"kuma.io/origin", "zone", "kuma.io/zone", "east"}, []string{`labels["kuma.io/origin"]`, `labels["kuma.io/zone"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newPlane(t, c.plane).must(http.StatusBadRequest, "PUT", timeouts+"/x", timeout("x", "1s", c.labels...))
			assert.Equal(t, c.fields, a.fields(t))
		})
	}
	name := strings.Repeat("a", 248)
	a := newPlane(t, inEast).must(http.StatusBadRequest, "PUT", timeouts+"/"+name, timeout(name, "1s"))
	assert.Equal(t, []string{"name"}, a.fields(t), "zone and name would be too long on global")
	newPlane(t, alone).must(http.StatusCreated, "PUT", timeouts+"/"+name, timeout(name, "1s"))
}

func TestDeleteTakesNoDisplayName(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s", "k8s.kuma.io/namespace", "shop"))
	a := p.must(http.StatusNotFound, "DELETE", timeouts+"/x", nil)
	assert.Contains(t, a.doc["detail"], "kri_mt_default_east_shop_x_")
	p.must(http.StatusOK, "DELETE", timeouts+"/kri_mt_default_east_shop_x_", nil)
	assert.Empty(t, p.get(timeouts).items())
}

func TestAMeshGoesWithEverythingInIt(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.must(http.StatusCreated, "PUT", "/meshes/a", object{"type": "Mesh", "name": "a"})
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	p.must(http.StatusCreated, "PUT", "/meshes/default/dataplanes/web", dataplane("web"))
	a := p.must(http.StatusBadRequest, "DELETE", "/meshes/default", nil)
	assert.Equal(t, []string{"mesh"}, a.fields(t))
	p.must(http.StatusOK, "DELETE", "/meshes/default/dataplanes/web", nil)
	rev := p.store.Revision()
	a = p.must(http.StatusOK, "DELETE", "/meshes/default", nil)
	assert.Equal(t, object{"deleted": object{"Mesh": 1.0, "MeshTimeout": 1.0}}, a.doc)
	assert.Equal(t, rev+1, p.store.Revision(), "in one batch")
	assert.Empty(t, p.get("/meshtimeouts").items())
	p.get("/meshes/a")
}

// insight is a ZoneInsight with one subscription.
func insight(t *testing.T, zone string, online bool) resource.Resource {
	sub := &systemv1.KDSSubscription{Id: "1", ConnectTime: timestamppb.New(time.Unix(1, 0))}
	if !online {
		sub.DisconnectTime = timestamppb.New(time.Unix(2, 0))
	}
	spec, err := proto.Marshal(&systemv1.ZoneInsight{Subscriptions: []*systemv1.KDSSubscription{sub}})
	require.NoError(t, err)
	return resource.Resource{Key: resource.Key{Kind: "ZoneInsight", Name: zone}, Spec: spec}
}

func TestAZoneGoesWithEverythingItSent(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", "/zones/east", object{"type": "Zone", "name": "east"})
	p.must(http.StatusCreated, "PUT", timeouts+"/own", timeout("own", "1s"))
	p.stored(insight(t, "east", true), insight(t, "west", true),
		synced("e", "kuma.io/origin", "zone", "kuma.io/zone", "east"), synced("w", "kuma.io/origin", "zone", "kuma.io/zone", "west"))
	a := p.must(http.StatusBadRequest, "DELETE", "/zones/east", nil)
	assert.Equal(t, []string{"zone"}, a.fields(t), "refused while it is online")
	p.stored(insight(t, "east", false))
	rev := p.store.Revision()
	a = p.must(http.StatusOK, "DELETE", "/zones/east", nil)
	assert.Equal(t, object{"deleted": object{"Zone": 1.0, "ZoneInsight": 1.0, "MeshTimeout": 1.0}}, a.doc)
	assert.Equal(t, rev+1, p.store.Revision(), "in one batch")
	assert.Equal(t, []string{"default/own", "default/w"}, p.get(timeouts).items())
	p.must(http.StatusNotFound, "GET", "/zones/east", nil)

	zone := newPlane(t, inEast)
	zone.must(http.StatusCreated, "PUT", "/zones/east", object{"type": "Zone", "name": "east"})
	zone.must(http.StatusBadRequest, "DELETE", "/zones/east", nil)
}

// racing is a store in which another writer is always faster, the first few times.
type racing struct {
	api.Store
	mu    sync.Mutex
	times int
	first func(n int) resource.Op
}

func (s *racing) Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times > 0 {
		s.times--
		if _, err := s.Store.Apply(ctx, s.first(s.times)); err != nil {
			return 0, err
		}
	}
	return s.Store.Apply(ctx, ops...)
}

func TestALostRaceIsDecidedAgain(t *testing.T) {
	t.Parallel()
	race := &racing{first: func(n int) resource.Op { return resource.Put(synced("x", "n", fmt.Sprint(n))) }}
	p := newPlane(t, onGlobal, func(c *api.Config) { race.Store, c.Store = c.Store, race })
	race.times = 3
	p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "9s")) // not 201: it exists by the time it is written
	assert.Contains(t, p.get(timeouts+"/x").Body.String(), `"9s"`)
	race.times = 3
	p.must(http.StatusOK, "DELETE", timeouts+"/x", nil)
	p.must(http.StatusNotFound, "GET", timeouts+"/x", nil)

	race.times = 1
	race.first = func(int) resource.Op {
		return resource.Put(synced("y", "kuma.io/origin", "zone", "kuma.io/zone", "east"))
	}
	a := p.must(http.StatusMethodNotAllowed, "PUT", timeouts+"/y", timeout("y", "9s"))
	assert.Contains(t, a.doc["detail"], `zone "east"`, "the winner's y belongs to a zone")
}
