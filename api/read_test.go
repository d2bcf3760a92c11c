package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
)

func TestListIsPagedByMeshThenName(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", "/meshes/a", object{"type": "Mesh", "name": "a"})
	for i := range 3 {
		name := fmt.Sprint("t", i)
		p.must(http.StatusCreated, "PUT", timeouts+"/"+name, timeout(name, "1s"))
		other := timeout(name, "1s")
		other["mesh"] = "a"
		p.must(http.StatusCreated, "PUT", "/meshes/a/meshtimeouts/"+name, other)
	}

	a := p.get(timeouts)
	assert.EqualValues(t, 3, a.doc["total"])
	assert.Equal(t, []string{"default/t0", "default/t1", "default/t2"}, a.items())
	require.Contains(t, a.doc, "next")
	assert.Nil(t, a.doc["next"])

	var all []string
	next := "/meshtimeouts?size=2&name=t"
	for next != "" {
		a = p.get(next)
		assert.EqualValues(t, 6, a.doc["total"])
		all = append(all, a.items()...)
		next = ""
		if text, ok := a.doc["next"].(string); ok {
			u, err := url.Parse(text)
			require.NoError(t, err)
			assert.Equal(t, "http://cp:5681/meshtimeouts", u.Scheme+"://"+u.Host+u.Path)
			assert.Equal(t, "t", u.Query().Get("name"), "the other parameters stay")
			next = u.RequestURI()
		}
	}
	assert.Equal(t, []string{"a/t0", "a/t1", "a/t2", "default/t0", "default/t1", "default/t2"}, all)

	a = p.get(timeouts + "?offset=99")
	assert.Equal(t, []any{}, a.doc["items"], "past the end: an empty list, not null")
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", timeouts+"/blue", timeout("blue", "1s", "team", "pay", "tier", "web"))
	p.must(http.StatusCreated, "PUT", timeouts+"/blues", timeout("blues", "1s", "team", "pay"))
	p.must(http.StatusCreated, "PUT", timeouts+"/red", timeout("red", "1s", "team", "ops"))
	for query, want := range map[string][]string{
		"name=lue":                                        {"default/blue", "default/blues"},
		"filter[labels.team]=pay":                         {"default/blue", "default/blues"},
		"filter[labels.team]=pay&name=blues":              {"default/blues"},
		"filter[labels.team]=pay&filter[labels.tier]=web": {"default/blue"},
		"filter[labels.nothing]=":                         nil,
		"ingress=true":                                    {"default/blue", "default/blues", "default/red"},
	} {
		assert.Equal(t, want, p.get(timeouts+"?"+query).items(), query)
	}
}

func TestBadQueriesAreNamed(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	for query, want := range map[string]struct{ detail, field, title string }{
		"?size=5000":         {"Invalid page size", "size", "Could not retrieve resources"},
		"?size=0":            {"Invalid page size", "size", "Could not retrieve resources"},
		"?size=x":            {"Invalid page size", "size", "Could not retrieve resources"},
		"?offset=x":          {"Invalid offset", "offset", "Could not retrieve resources"},
		"?offset=-1":         {"Invalid offset", "offset", "Could not retrieve resources"},
		"?filter[name]=x":    {"Invalid filter", "filter[name]", "Could not retrieve resources"},
		"?filter[labels.]=x": {"Invalid filter", "filter[labels.]", "Could not retrieve resources"},
		"/x?format=xml":      {"Invalid format", "format", "Could not retrieve a resource"},
		"/x?wait=soon":       {"Invalid wait", "wait", "Could not retrieve a resource"},
		"/x?wait=1h":         {"Invalid wait", "wait", "Could not retrieve a resource"},
	} {
		a := p.must(http.StatusBadRequest, "GET", timeouts+query, nil)
		assert.Equal(t, []string{want.field}, a.fields(t), query)
		assert.Equal(t, want.detail, a.doc["detail"], query)
		assert.Equal(t, want.title, a.doc["title"], query)
	}
}

func TestGetInBothForms(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s", "k8s.kuma.io/namespace", "shop"))
	doc := p.get(timeouts + "/x.shop").doc
	assert.Equal(t, "x.shop", doc["name"])
	assert.Equal(t, "default", doc["mesh"])
	assert.NotEmpty(t, doc["creationTime"])
	k8s := p.get(timeouts + "/x.shop?format=kubernetes").doc
	assert.Equal(t, "kuma.io/v1alpha1", k8s["apiVersion"])
	meta := k8s["metadata"].(object)
	assert.Equal(t, "x", meta["name"])
	assert.Equal(t, "shop", meta["namespace"])
}

func TestAResourceIsFoundByEveryNameItHas(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	hashed := synced("x-8888888888888888", "kuma.io/display-name", "x", "k8s.kuma.io/namespace", "shop", "kuma.io/zone", "east", "kuma.io/origin", "zone")
	p.stored(hashed, synced("plain"))
	for _, name := range []string{"x-8888888888888888", "x", "x.shop", "kri_mt_default_east_shop_x_"} {
		assert.Equal(t, hashed.Name, p.get(timeouts + "/" + name).doc["name"], name)
	}
	assert.Equal(t, "plain", p.get(timeouts + "/kri_mt_default___plain_").doc["name"])

	p.stored(synced("x-9999999999999999", "kuma.io/display-name", "x", "kuma.io/zone", "west", "kuma.io/origin", "zone"))
	a := p.must(http.StatusNotFound, "GET", timeouts+"/x", nil)
	assert.Contains(t, a.doc["detail"], `"x" is the name of 2 resources`)
	assert.Contains(t, a.doc["detail"], "kri_mt_default_east_shop_x_")
	assert.Contains(t, a.doc["detail"], "kri_mt_default_west__x_")
}

func TestNotFoundSaysWhatIsNear(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", "/meshes/a", object{"type": "Mesh", "name": "a"})
	p.stored(synced("timeout-8888888888888888", "kuma.io/display-name", "timeout", "kuma.io/zone", "east", "kuma.io/origin", "zone"))
	for path, want := range map[string]struct{ title, detail string }{
		timeouts + "/tiemout":            {"Could not retrieve a resource", `Not found; nearest: "timeout" (zone "east", kri_mt_default_east__timeout_)`},
		"/meshes/a/meshtimeouts/timeout": {"Could not retrieve a resource", `Not found; nearest: "timeout" (mesh "default", zone "east", kri_mt_default_east__timeout_)`},
		timeouts + "/zzzzzzzz":           {"Could not retrieve a resource", "Not found"},
		"/meshes/nope/meshtimeouts/x":    {"Failed to retrieve Mesh", "Not found"},
		"/meshes/nope/meshtimeouts":      {"Failed to retrieve Mesh", "Not found"},
		"/meshes/defualt":                {"Could not retrieve a resource", `Not found; nearest: "default" (kri_m____default_)`},
	} {
		a := p.must(http.StatusNotFound, "GET", path, nil)
		assert.Empty(t, a.fields(t), path)
		assert.Equal(t, want.title, a.doc["title"], path)
		assert.Equal(t, want.detail, a.doc["detail"], path)
	}
}

func TestETagSavesTheBody(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	tag := p.get(timeouts + "/x").Header().Get("ETag")
	require.Regexp(t, `^"\d+"$`, tag)
	a := p.must(http.StatusNotModified, "GET", timeouts+"/x", nil, "If-None-Match: "+tag)
	assert.Empty(t, a.Body.String())
	p.must(http.StatusNotModified, "GET", timeouts+"/x", nil, `If-None-Match: "7", W/`+tag)
	p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "2s"))
	a = p.must(http.StatusOK, "GET", timeouts+"/x", nil, "If-None-Match: "+tag)
	assert.NotEqual(t, tag, a.Header().Get("ETag"))
}

// waiting sends a request from another goroutine of the bubble, and returns where the answer will be.
func waiting(p *plane, path string, headers ...string) *answer {
	a := &answer{}
	go func() { *a = p.call("GET", path, nil, headers...) }()
	synctest.Wait()
	return a
}

func TestWaitEndsWhenTheResourceDiffers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t, onGlobal)
		unchanged := time.Now()
		a := waiting(p, timeouts+"/x?wait=30s")
		require.Nil(t, a.ResponseRecorder, "there is no x yet")
		p.must(http.StatusCreated, "PUT", timeouts+"/other", timeout("other", "1s"))
		p.must(http.StatusCreated, "PUT", "/zones/z", object{"type": "Zone", "name": "z"})
		synctest.Wait()
		require.Nil(t, a.ResponseRecorder, "other resources do not end the wait")
		p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
		synctest.Wait()
		require.NotNil(t, a.ResponseRecorder, "now there is")
		assert.Equal(t, http.StatusOK, a.Code)

		known := "If-None-Match: " + a.Header().Get("ETag")
		a = waiting(p, timeouts+"/x?wait=30s", known)
		require.Nil(t, a.ResponseRecorder, "x is as known")
		p.must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "2s"))
		synctest.Wait()
		require.NotNil(t, a.ResponseRecorder)
		assert.Equal(t, http.StatusOK, a.Code)

		known = "If-None-Match: " + a.Header().Get("ETag")
		a = waiting(p, timeouts+"/x?wait=30s", known)
		require.Nil(t, a.ResponseRecorder)
		p.must(http.StatusOK, "DELETE", timeouts+"/x", nil)
		synctest.Wait()
		require.NotNil(t, a.ResponseRecorder, "gone is different, too")
		assert.Equal(t, http.StatusNotFound, a.Code)
		assert.Equal(t, unchanged, time.Now(), "no time passed: every answer was for an event")
	})
}

func TestWaitEndsWithTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t, onGlobal)
		start := time.Now()
		p.must(http.StatusNotFound, "GET", timeouts+"/x?wait=30s", nil)
		assert.Equal(t, 30*time.Second, time.Since(start))

		p.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
		known := "If-None-Match: " + p.get(timeouts+"/x").Header().Get("ETag")
		start = time.Now()
		p.must(http.StatusNotModified, "GET", timeouts+"/x?wait=30s", nil, known)
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}

func TestAnswersOfADisconnectedZoneSaySinceWhen(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	link := api.LinkStatus{Address: "grpcs://g:5685", Since: since, LastError: "refused"}
	p := newPlane(t, inEast, func(c *api.Config) { c.Link = func() api.LinkStatus { return link } })
	for _, path := range []string{"/", "/meshes", "/nothing", "/meshes/default/meshtimeouts/none"} {
		assert.Equal(t, "2026-01-02T03:04:05Z", p.call("GET", path, nil).Header().Get("Meridian-Stale-Since"), path)
	}
	assert.Equal(t, object{"address": "grpcs://g:5685", "connected": false, "since": "2026-01-02T03:04:05Z", "lastError": "refused"}, p.get("/status/global").doc)

	link = api.LinkStatus{Address: "grpcs://g:5685", Connected: true, Since: since, LastReceived: since}
	a := p.get("/status/global")
	assert.Empty(t, a.Header().Get("Meridian-Stale-Since"))
	assert.Equal(t, object{"address": "grpcs://g:5685", "connected": true, "since": "2026-01-02T03:04:05Z", "lastReceived": "2026-01-02T03:04:05Z"}, a.doc)
	assert.Empty(t, newPlane(t, alone).get("/").Header().Get("Meridian-Stale-Since"), "a zone that stands alone misses nobody")
}

func TestDataplanesAreFilteredByTagAndGateway(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	gateway := func(name, kind string) object {
		return object{"type": "Dataplane", "mesh": "default", "name": name, "networking": object{
			"address": "127.0.0.1", "gateway": object{"type": kind, "tags": object{"kuma.io/service": name, "team": "edge"}}}}
	}
	two := object{"type": "Dataplane", "mesh": "default", "name": "two", "networking": object{"address": "127.0.0.1", "inbound": []any{
		object{"port": 80, "tags": object{"kuma.io/service": "web-v1", "team": "shop"}},
		object{"port": 81, "tags": object{"kuma.io/service": "admin"}},
	}}}
	p.apply(http.StatusOK, "", gateway("gw-b", "BUILTIN"), gateway("gw-d", "DELEGATED"), two)
	for query, want := range map[string]string{
		"":                                         "gw-b gw-d two",
		"?gateway=true":                            "gw-b gw-d",
		"?gateway=false":                           "two",
		"?gateway=Builtin":                         "gw-b",
		"?gateway=delegated":                       "gw-d",
		"?tag=team:edge":                           "gw-b gw-d",
		"?tag=kuma.io/service:web":                 "two",
		"?tag=team:*":                              "gw-b gw-d two",
		"?tag=team:edge&gateway=builtin":           "gw-b",
		"?tag=team:shop&tag=zone:x":                "",
		"?tag=nonsense&name=tw":                    "two",
		"?tag=kuma.io%2Fservice%3Aweb-v1":          "two",
		"?tag=team:shop&tag=kuma.io/service:admin": "",
	} {
		var names []string
		for _, name := range strings.Fields(want) {
			names = append(names, "default/"+name)
		}
		assert.Equal(t, names, p.get("/meshes/default/dataplanes"+query).items(), query)
	}
	a := p.must(http.StatusBadRequest, "GET", "/meshes/default/dataplanes?gateway=yes", nil)
	assert.Equal(t, []string{"gateway"}, a.fields(t))
}
