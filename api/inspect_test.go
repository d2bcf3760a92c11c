package api_test

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
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
	assert.Equal(t, `Not found: no destination of the mesh goes by "nothing"`, a.doc["detail"])
	p.apply(http.StatusOK, "", service("backend"), service("frontend", "k8s.kuma.io/namespace", "shop"))
	a = p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/web/_effective?to=frontent", nil)
	assert.Equal(t, `Not found: no destination of the mesh goes by "frontent"; did you mean frontend?; known: backend, frontend.shop`, a.doc["detail"])
	a = p.must(http.StatusBadRequest, "GET", "/meshes/default/dataplanes/web/_effective?type=MeshTimeuot", nil)
	assert.Len(t, a.fields(t), 1)
	assert.Contains(t, a.Body.String(), "MeshTimeout")
}

// service is a MeshService of the proxies with the tag app: NAME.
func service(name string, labels ...string) object {
	return object{"type": "MeshService", "mesh": "default", "name": name, "labels": pairs(labels), "spec": object{
		"selector": object{"dataplaneTags": object{"app": name}}, "ports": []any{object{"port": 80}}}}
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

func TestPoliciesOfAProxy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("web"), timeout("b", "3s"), timeout("a", "4s"))
	doc := p.get("/meshes/default/dataplanes/web/_policies").doc
	assert.Equal(t, "kri_dp_default_east__web_", doc["dataplane"].(object)["kri"])
	policies := doc["policies"].([]any)
	require.Len(t, policies, 2)
	assert.Equal(t, "b", policies[0].(object)["name"])
	assert.Equal(t, "a", policies[1].(object)["name"], "the strongest is last")
	assert.Equal(t, "name", policies[1].(object)["by"])
	a := p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/wed/_policies", nil)
	assert.Contains(t, a.doc["detail"], `"web"`)
}

func TestEffectOfAPolicy(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("web"), timeout("b", "3s"), timeout("a", "4s"))
	for name, want := range map[string]string{"a": "wins", "kri_mt_default_east__b_": "masked"} {
		doc := p.get(timeouts + "/" + name + "/_effect").doc
		effects := doc["effects"].([]any)
		require.Len(t, effects, 1)
		assert.Len(t, effects[0].(object)["places"].([]any)[0].(object)[want], 1, name)
	}
	a := p.must(http.StatusNotFound, "GET", timeouts+"/none/_effect", nil)
	assert.Equal(t, "Could not retrieve policy", a.doc["title"])
	p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/web/_effect", nil)
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

func TestRulesOfAGateway(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", object{
		"type": "MeshGateway", "mesh": "default", "name": "gw",
		"selectors": []any{object{"match": object{"kuma.io/service": "edge"}}},
		"conf":      object{"listeners": []any{object{"port": 80, "protocol": "HTTP"}}},
	}, timeout("t", "3s"))
	doc := p.get("/meshes/default/meshgateways/gw/_rules").doc
	assert.Equal(t, "MeshGateway", doc["resource"].(object)["type"])
	assert.Len(t, doc["rules"], 1)
	a := p.must(http.StatusNotFound, "GET", "/meshes/default/meshgateways/none/_rules", nil)
	assert.Equal(t, "Could not retrieve MeshGateway", a.doc["title"])
}

func TestDataplaneOverviews(t *testing.T) {
	t.Parallel()
	p := newPlane(t, alone)
	p.apply(http.StatusOK, "", dataplane("seen", "k8s.kuma.io/namespace", "shop"), dataplane("unseen"))
	p.stored(resource.Resource{Key: resource.Key{Kind: "DataplaneInsight", Mesh: "default", Name: "seen.shop"}, Spec: []byte{}})

	doc := p.get("/meshes/default/dataplanes/seen/_overview").doc
	assert.Equal(t, "DataplaneOverview", doc["type"])
	assert.Equal(t, "default", doc["mesh"])
	assert.Equal(t, "seen.shop", doc["name"])
	assert.Equal(t, "shop", doc["labels"].(object)["k8s.kuma.io/namespace"])
	assert.Equal(t, "127.0.0.1", doc["dataplane"].(object)["networking"].(object)["address"])
	assert.NotContains(t, doc["dataplane"], "labels")
	assert.Equal(t, object{}, p.get("/meshes/default/dataplanes/unseen/_overview").doc["dataplaneInsight"], "{} alone, as Kuma")

	for _, path := range []string{"/meshes/default/dataplanes/_overview", "/dataplanes/_overview"} {
		a := p.get(path + "?size=10")
		assert.Equal(t, []string{"default/seen.shop", "default/unseen"}, a.items())
		for _, item := range a.doc["items"].([]any) {
			item := item.(object)
			assert.Equal(t, item["name"] == "seen.shop", item["dataplaneInsight"] != nil, "left out in lists, as Kuma")
		}
	}
	assert.Equal(t, []string{"default/unseen"}, p.get("/meshes/default/dataplanes/_overview?tag=kuma.io/service:unseen").items())
	a := p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/unsen/_overview", nil)
	assert.Contains(t, a.doc["detail"], `"unseen"`)
}

func TestGlobalSaysHowFreshItsKnowledgeOfAZoneIs(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	spec, err := proto.Marshal(&meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
		Address: "192.0.2.1", Inbound: []*meshv1.Dataplane_Networking_Inbound{{Port: 80, Tags: map[string]string{"kuma.io/service": "x"}}},
	}})
	require.NoError(t, err)
	sent := func(name, zone string) resource.Resource {
		return resource.Resource{
			Key: resource.Key{Kind: "Dataplane", Mesh: "default", Name: name}, Spec: spec,
			Labels: pairs([]string{"kuma.io/zone", zone, "kuma.io/origin", "zone"}),
		}
	}
	checked := func(in resource.Resource, ago time.Duration) resource.Resource {
		old, err := resource.Spec[*systemv1.ZoneInsight](in)
		require.NoError(t, err)
		spec := proto.Clone(old).(*systemv1.ZoneInsight)
		spec.HealthCheck = &systemv1.HealthCheck{Time: timestamppb.New(time.Now().Add(-ago))}
		in.Spec, err = proto.Marshal(spec)
		require.NoError(t, err)
		return in
	}
	p.stored(sent("a", "east"), sent("b", "gone"), sent("c", "never"), sent("d", "west"),
		checked(insight(t, "east", true), 3*time.Second), checked(insight(t, "gone", false), 90*time.Second), insight(t, "west", false))
	for name, want := range map[string]string{
		"a": `^zone=east; state=online; revision=\d+; age=[345]s$`,
		"b": `^zone=gone; state=offline; revision=\d+; age=1m3\ds$`,
		"c": `^zone=never; state=unknown; revision=\d+; age=unknown$`,
		"d": `^zone=west; state=offline; revision=\d+; age=\d{6,}h\d+m\d+s$`,
	} {
		for _, view := range []string{"_rules", "_effective", "_policies"} {
			a := p.get("/meshes/default/dataplanes/" + name + "/" + view)
			assert.Regexp(t, want, a.Header().Get("Meridian-Knowledge"))
			assert.Contains(t, a.Header().Get("Meridian-Knowledge"), fmt.Sprintf("revision=%d;", p.store.Revision()))
		}
	}
	p.must(http.StatusCreated, "PUT", timeouts+"/t", timeout("t", "1s"))
	for _, view := range []string{"_resources/dataplanes", "_effect"} {
		a := p.get(timeouts + "/t/" + view)
		assert.Len(t, a.Header().Values("Meridian-Knowledge"), 4, "one for each zone of a proxy")
	}
	zone := newPlane(t, inEast)
	zone.stored(sent("a", "east"))
	assert.Empty(t, zone.get("/meshes/default/dataplanes/a/_rules").Header().Get("Meridian-Knowledge"), "it knows first hand")
}
