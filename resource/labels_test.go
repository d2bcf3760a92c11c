package resource_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/resource"
)

func TestLabelsAreComputedOnWrite(t *testing.T) {
	t.Parallel()
	type labels = map[string]string
	global := resource.Plane{}
	zone := resource.Plane{Zone: "east", Federated: true}
	alone := resource.Plane{Zone: "east"}
	policy := resource.Key{Kind: "MeshTimeout", Mesh: "m", Name: "x"}
	for _, c := range []struct {
		name  string
		plane resource.Plane
		key   resource.Key
		role  string
		given labels
		want  labels
	}{
		{"global adds the mesh alone", global, policy, "", labels{"foo": "bar"}, labels{"foo": "bar", "kuma.io/mesh": "m"}},
		{"global kind has no mesh", global, resource.Key{Kind: "Zone", Name: "x"}, "", nil, labels{}},
		{"what is given stays", global, policy, "", labels{"kuma.io/mesh": "other"}, labels{"kuma.io/mesh": "other"}},
		{"zone", zone, policy, "", nil, labels{"kuma.io/mesh": "m", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		{"zone without a global", alone, policy, "", nil, labels{"kuma.io/mesh": "m", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		{"zone, written on global", zone, policy, "", labels{"kuma.io/origin": "global"}, labels{"kuma.io/mesh": "m", "kuma.io/origin": "global"}},
		{"zone, kind of the global", zone, resource.Key{Kind: "Mesh", Name: "m"}, "", nil, labels{}},
		{"zone, secret", zone, resource.Key{Kind: "Secret", Mesh: "m", Name: "x"}, "", nil,
			labels{"kuma.io/mesh": "m", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		{"role of a policy in a namespace", zone, policy, "producer", labels{"k8s.kuma.io/namespace": "demo", "kuma.io/policy-role": "system"},
			labels{"kuma.io/mesh": "m", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal", "k8s.kuma.io/namespace": "demo", "kuma.io/policy-role": "producer"}},
		{"no role without a namespace", global, policy, "system", nil, labels{"kuma.io/mesh": "m"}},
		{"no role for a policy of another zone", zone, policy, "producer", labels{"k8s.kuma.io/namespace": "demo", "kuma.io/origin": "zone", "kuma.io/zone": "west"},
			labels{"k8s.kuma.io/namespace": "demo", "kuma.io/mesh": "m", "kuma.io/origin": "zone", "kuma.io/zone": "west", "kuma.io/env": "universal"}},
		{"ingress", zone, resource.Key{Kind: "ZoneIngress", Name: "x"}, "", labels{"kuma.io/proxy-type": "sidecar"},
			labels{"kuma.io/proxy-type": "zoneingress", "kuma.io/origin": "zone", "kuma.io/zone": "east", "kuma.io/env": "universal"}},
		{"egress on global", global, resource.Key{Kind: "ZoneEgress", Name: "x"}, "", nil, labels{"kuma.io/proxy-type": "zoneegress"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, ok := resource.LookupKind(c.key.Kind)
			assert.True(t, ok)
			given := maps.Clone(c.given)
			got := resource.ComputeLabels(resource.Resource{Key: c.key, Labels: c.given}, d, c.plane, c.role)
			assert.Equal(t, c.want, got)
			assert.Equal(t, given, c.given, "the resource is modified")
		})
	}
}

func TestTheProxyTypeOfADataplaneFollowsFromItsSpec(t *testing.T) {
	t.Parallel()
	d, _ := resource.LookupKind("Dataplane")
	for _, c := range []struct{ networking, want string }{
		{"inbound: [{port: 1, tags: {kuma.io/service: a}}]", "sidecar"},
		{"gateway: {tags: {kuma.io/service: a}}", "sidecar"},
		{"gateway: {type: DELEGATED, tags: {kuma.io/service: a}}", "sidecar"},
		{"gateway: {type: BUILTIN, tags: {kuma.io/service: a}}", "gateway"},
	} {
		r := read(t, "type: Dataplane\nname: x\nlabels: {kuma.io/proxy-type: zoneegress}\nnetworking:\n  address: a\n  "+c.networking, resource.ReadOptions{})
		assert.Equal(t, c.want, resource.ProxyType(r))
		assert.Equal(t, c.want, resource.ComputeLabels(r, d, resource.Plane{}, "")[resource.LabelProxyType])
	}
	bad := resource.Resource{Key: resource.Key{Kind: "Dataplane", Name: "x"}, Spec: []byte("\xff")}
	assert.Empty(t, resource.ProxyType(bad))
	assert.NotContains(t, resource.ComputeLabels(bad, d, resource.Plane{}, ""), resource.LabelProxyType)
	assert.Empty(t, resource.ProxyType(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "x"}}))
}

func TestPlanesKnowTheirOwn(t *testing.T) {
	t.Parallel()
	global, east := resource.Plane{}, resource.Plane{Zone: "east", Federated: true}
	assert.Equal(t, "global", global.Owner())
	assert.Equal(t, `zone "east"`, east.Owner())
	for _, c := range []struct {
		labels       map[string]string
		global, east bool
	}{
		{nil, true, true},
		{map[string]string{"kuma.io/origin": "global"}, true, false},
		{map[string]string{"kuma.io/origin": "zone"}, false, true},
		{map[string]string{"kuma.io/origin": "zone", "kuma.io/zone": "east"}, false, true},
		{map[string]string{"kuma.io/origin": "zone", "kuma.io/zone": "west"}, false, false},
	} {
		assert.Equal(t, c.global, global.Local(c.labels), c.labels)
		assert.Equal(t, c.east, east.Local(c.labels), c.labels)
	}
}
