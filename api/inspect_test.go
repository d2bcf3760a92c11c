package api_test

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errDiskFull = syscall.ENOSPC

func TestRulesOfAProxy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("web", "k8s.kuma.io/namespace", "shop"), timeout("t", "3s"))
	for _, name := range []string{"web.shop", "web", "kri_dp_default_east_shop_web_"} {
		doc := p.get("/meshes/default/dataplanes/" + name + "/_rules").doc
		assert.Equal(t, "web.shop", doc["resource"].(object)["name"])
		rules := doc["rules"].([]any)
		require.Len(t, rules, 1, "the policy written just before is in force")
		assert.Equal(t, "MeshTimeout", rules[0].(object)["type"])
	}
	a := p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/none/_rules", nil)
	a.fields(t)
	assert.Equal(t, "Could not retrieve Dataplane", a.doc["title"])
	a = p.must(http.StatusNotFound, "GET", "/meshes/none/dataplanes/web/_rules", nil)
	assert.Equal(t, "Failed to retrieve Mesh", a.doc["title"])
}

func TestEffectiveOfAProxy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("web"), timeout("t", "3s"))
	doc := p.get("/meshes/default/dataplanes/web/_effective?type=MeshTimeout").doc
	assert.Equal(t, "kri_dp_default_east__web_", doc["dataplane"].(object)["kri"])
	assert.NotEmpty(t, doc["destinations"])
	a := p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/web/_effective?to=nothing", nil)
	assert.Equal(t, "Could not retrieve a destination", a.doc["title"])
	assert.Contains(t, a.doc["detail"], `"nothing"`)
	a = p.must(http.StatusBadRequest, "GET", "/meshes/default/dataplanes/web/_effective?type=MeshTimeuot", nil)
	assert.Len(t, a.fields(t), 1)
	assert.Contains(t, a.Body.String(), "MeshTimeout")
}

func TestDataplanesOfAPolicy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("dp-2"), dataplane("dp-1"), dataplane("the-dp"), timeout("t", "3s"))
	a := p.get(timeouts + "/t/_resources/dataplanes?name=dp-&size=1")
	assert.EqualValues(t, 2, a.doc["total"])
	assert.Equal(t, []string{"default/dp-1"}, a.items())
	assert.Equal(t, "http://cp:5681"+timeouts+"/t/_resources/dataplanes?name=dp-&offset=1&size=1", a.doc["next"])
	a = p.get(timeouts + "/t/_resources/dataplanes?name=dp-&size=1&offset=1")
	assert.Equal(t, []string{"default/dp-2"}, a.items())
	assert.NotContains(t, a.doc, "next", "left out at the end")
	p.get(timeouts + "/t/-resources/dataplanes")
	a = p.must(http.StatusNotFound, "GET", timeouts+"/none/_resources/dataplanes", nil)
	assert.Equal(t, "Could not retrieve policy", a.doc["title"])

	p.apply(http.StatusOK, "", object{"type": "MeshService", "mesh": "default", "name": "s", "spec": object{
		"selector": object{"dataplaneTags": object{"kuma.io/service": "dp-1"}}, "ports": []any{object{"port": 80}}}})
	assert.Equal(t, []string{"default/dp-1"}, p.get("/meshes/default/meshservices/s/_resources/dataplanes").items())
}

func TestZoneOverviews(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	assert.Equal(t, "[]\n", p.get("/status/zones").Body.String())
	for _, zone := range []string{"east", "gone", "never", "off"} {
		p.must(http.StatusCreated, "PUT", "/zones/"+zone, object{"type": "Zone", "name": zone, "enabled": zone != "off"})
	}
	p.stored(insight(t, "east", true), insight(t, "gone", false), insight(t, "off", true))

	assert.JSONEq(t, `[{"name":"east","active":true},{"name":"gone","active":false},{"name":"never","active":false},{"name":"off","active":false}]`,
		p.get("/status/zones").Body.String())

	doc := p.get("/zones/east/_overview").doc
	assert.Equal(t, "ZoneOverview", doc["type"])
	assert.Equal(t, "east", doc["name"])
	assert.NotEmpty(t, doc["creationTime"])
	assert.Equal(t, object{"enabled": true}, doc["zone"])
	subs := doc["zoneInsight"].(object)["subscriptions"].([]any)
	require.Len(t, subs, 1)
	assert.Equal(t, "1970-01-01T00:00:01Z", subs[0].(object)["connectTime"])
	assert.Equal(t, object{}, p.get("/zones/never/_overview").doc["zoneInsight"], "{} alone, as Kuma")

	a := p.get("/zones/_overview?name=e")
	assert.EqualValues(t, 3, a.doc["total"])
	for _, item := range a.doc["items"].([]any) {
		item := item.(object)
		assert.Equal(t, item["name"] != "never", item["zoneInsight"] != nil, "left out in lists, as Kuma")
	}
	a = p.must(http.StatusNotFound, "GET", "/zones/eastt/_overview", nil)
	assert.Contains(t, a.doc["detail"], `"east"`)
}
