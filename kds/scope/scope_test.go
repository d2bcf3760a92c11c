package scope_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	producerSpec = `{"to":[{"targetRef":{"kind":"MeshService","name":"redis"},"default":{"idleTimeout":"1s"}}]}`
	consumerSpec = `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"1s"}}]}`
	meshSpec     = `{"targetRef":{"kind":"Mesh"},"to":[{"targetRef":{"kind":"Mesh"},"default":{}}]}`
)

func res(kind, name, spec string, labels ...string) resource.Resource {
	r := resource.Resource{Key: resource.Key{Kind: kind, Name: name}, Labels: map[string]string{}, Spec: []byte(spec)}
	if d, _ := resource.LookupKind(kind); d.Scope == resource.ScopeMesh {
		r.Mesh = "default"
	}
	for i := 0; i < len(labels); i += 2 {
		r.Labels[labels[i]] = labels[i+1]
	}
	return r
}

// east returns a resource as global holds it after zone east sent it.
func east(kind, spec string, labels ...string) resource.Resource {
	return res(kind, "x", spec, append([]string{resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "east"}, labels...)...)
}

func eastPolicy(role, spec string) resource.Resource {
	return east("MeshTimeout", spec, resource.LabelNamespace, "demo", resource.LabelRole, role)
}

func TestEveryRule(t *testing.T) {
	t.Parallel()
	all := scope.ParseFeatures(scope.Announced)
	global := scope.Peer{Zones: map[string]bool{"east": true, "west": true, "off": false}}
	west := scope.Peer{Zone: "west", Features: all}
	old := scope.Peer{Zone: "west"} // announces nothing
	inEast, upper := scope.Peer{Zone: "east"}, scope.Peer{}
	off := resource.LabelSync

	cases := []struct {
		name     string
		r        resource.Resource
		from, to scope.Peer
		send     bool
		rule     scope.RuleID
	}{
		{"a zone's own policy", res("MeshTimeout", "x", consumerSpec), inEast, upper, true, scope.FromZone},
		{"a zone's own, labelled", east("Dataplane", ""), inEast, upper, true, scope.FromZone},
		{"what global sent to the zone", res("MeshTimeout", "x", meshSpec, resource.LabelOrigin, resource.OriginGlobal), inEast, upper, false, scope.NotLocal},
		{"another zone's", res("MeshTimeout", "x", meshSpec, resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "west"), inEast, upper, false, scope.NotLocal},
		{"a Mesh does not go up", res("Mesh", "default", ""), inEast, upper, false, scope.WrongDirection},
		{"switched off upwards", res("MeshTimeout", "x", meshSpec, off, "disabled"), inEast, upper, false, scope.SyncDisabled},

		{"a global policy", res("MeshTimeout", "x", meshSpec), global, west, true, scope.FromGlobal},
		{"a global policy, labelled", res("MeshTimeout", "x", meshSpec, resource.LabelOrigin, resource.OriginGlobal), global, west, true, scope.FromGlobal},
		{"a mesh", res("Mesh", "default", ""), global, west, true, scope.FromGlobal},
		{"a mesh to a peer without features", res("Mesh", "default", ""), global, old, true, scope.FromGlobal},
		{"switched on", res("Mesh", "default", "", off, "enabled"), global, west, true, scope.FromGlobal},
		{"switched off", res("Mesh", "default", "", off, "disabled"), global, west, false, scope.SyncDisabled},
		{"a Zone", res("Zone", "east", ""), global, west, false, scope.WrongDirection},
		{"a MeshService of global", res("MeshService", "x", "{}"), global, west, false, scope.WrongDirection},
		{"the cluster id", res("Config", "kuma-cluster-id", ""), global, west, true, scope.ClusterID},
		{"another setting", res("Config", "other", ""), global, west, false, scope.PlaneConfig},
		{"a secret", res("Secret", "x", ""), global, west, true, scope.FromGlobal},
		{"a zone token key, which travels as its public half", res("GlobalSecret", "zone-token-signing-key-1", ""), global, west, true, scope.FromGlobal},
		{"the CA of Envoy's admin API", res("GlobalSecret", "envoy-admin-ca", ""), global, west, false, scope.SystemSecret},
		{"a user token key", res("GlobalSecret", "user-token-signing-key-7", ""), global, west, false, scope.SystemSecret},
		{"a policy that is no JSON", res("MeshTimeout", "x", `{"to":`), global, west, false, scope.Unreadable},
		{"no top-level targetRef", res("MeshTimeout", "x", consumerSpec), global, west, true, scope.FromGlobal},
		{"no top-level targetRef, old zone", res("MeshTimeout", "x", consumerSpec), global, old, false, scope.LacksOptionalTargetRef},
		{"null is absent, old zone", res("MeshTimeout", "x", `{"targetRef":null}`), global, old, false, scope.LacksOptionalTargetRef},
		{"with top-level targetRef, old zone", res("MeshTimeout", "x", meshSpec), global, old, true, scope.FromGlobal},
		{"a generator for MeshMultiZoneServices", res("HostnameGenerator", "x", `{"selector":{"meshMultiZoneService":{}}}`), global, west, true, scope.FromGlobal},
		{"the same, old zone", res("HostnameGenerator", "x", `{"selector":{"meshMultiZoneService":{}}}`), global, old, false, scope.LacksHostnameSelector},
		{"another generator, old zone", res("HostnameGenerator", "x", `{"selector":{"meshService":{}}}`), global, old, true, scope.FromGlobal},

		{"another zone's service", east("MeshService", "{}"), global, west, true, scope.AcrossZones},
		{"another zone's ingress", east("ZoneIngress", ""), global, west, true, scope.AcrossZones},
		{"another zone's generator", east("HostnameGenerator", "{}"), global, west, false, scope.NotAcrossZones},
		{"another zone's gateway", east("MeshGateway", ""), global, west, false, scope.NotAcrossZones},
		{"another zone's proxy", east("Dataplane", ""), global, west, false, scope.WrongDirection},
		{"back to where it came from", east("MeshService", "{}"), global, scope.Peer{Zone: "east", Features: all}, false, scope.SameZone},
		{"producer", eastPolicy(resource.RoleProducer, producerSpec), global, west, true, scope.ProducerScope},
		{"producer, zone without producer flow", eastPolicy(resource.RoleProducer, producerSpec), global, scope.Peer{Zone: "west", Features: scope.Features{OptionalTargetRef: true}}, false, scope.LacksProducerPolicies},
		{"producer, old zone", eastPolicy(resource.RoleProducer, producerSpec), global, old, false, scope.LacksOptionalTargetRef},
		{"consumer", eastPolicy(resource.RoleConsumer, consumerSpec), global, west, false, scope.NotProducer},
		{"workload owner", eastPolicy(resource.RoleWorkloadOwner, `{"from":[{"targetRef":{"kind":"Mesh"}}]}`), global, west, false, scope.NotProducer},
		{"zonal", east("MeshTimeout", meshSpec), global, west, false, scope.NotProducer},
		{"consumer that calls itself producer", eastPolicy(resource.RoleProducer, consumerSpec), global, west, false, scope.RoleForged},
		{"mixture that calls itself producer", eastPolicy(resource.RoleProducer, `{"to":[{"targetRef":{"kind":"MeshService","name":"redis"}},{"targetRef":{"kind":"Mesh"}}]}`), global, west, false, scope.RoleForged},
		{"producer without namespace", east("MeshTimeout", producerSpec, resource.LabelRole, resource.RoleProducer), global, west, false, scope.RoleForged},
		{"pinned to its own zone", eastPolicy(resource.RoleProducer, `{"targetRef":{"kind":"MeshSubset","tags":{"kuma.io/zone":"east"}},`+producerSpec[1:]), global, west, false, scope.PinnedToOtherZone},
		{"pinned to the receiver", eastPolicy(resource.RoleProducer, `{"targetRef":{"kind":"MeshSubset","tags":{"kuma.io/zone":"west"}},`+producerSpec[1:]), global, west, true, scope.ProducerScope},
		{"of a disabled zone", res("MeshService", "x", "{}", resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "off"), global, west, false, scope.ZoneDisabled},
		{"of an unknown zone", res("MeshService", "x", "{}", resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "gone"), global, west, false, scope.ZoneUnknown},
		{"of no zone", res("MeshService", "x", "{}", resource.LabelOrigin, resource.OriginZone), global, west, false, scope.ZoneUnknown},

		{"a kind that an older zone does not know", res("MeshTLS", "x", meshSpec), global, scope.Peer{Zone: "west", Features: all, Levels: scope.Levels{"MeshTimeout": 1}}, false, scope.LacksSchemaLevel},
		{"a kind that an older global does not know", res("MeshTLS", "x", meshSpec), inEast, scope.Peer{Levels: scope.Levels{"MeshTimeout": 1}}, false, scope.LacksSchemaLevel},
		{"a kind that both know", res("MeshTimeout", "x", meshSpec), global, scope.Peer{Zone: "west", Features: all, Levels: scope.Levels{"MeshTimeout": 1}}, true, scope.FromGlobal},
		{"what is not for the zone anyway", res("Zone", "x", ""), global, scope.Peer{Zone: "west", Levels: scope.Levels{}}, false, scope.WrongDirection},

		{"a kind of the future", res("MeshMagic", "x", "{}"), global, west, false, scope.UnknownKind},
		{"zone to zone", res("MeshTimeout", "x", meshSpec), inEast, west, false, scope.NoStream},
		{"global to itself", res("MeshTimeout", "x", meshSpec), global, upper, false, scope.NoStream},
	}
	covered := map[scope.RuleID]bool{}
	for _, c := range cases {
		covered[c.rule] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			send, rule := scope.Decide(c.r, c.from, c.to)
			assert.Equal(t, c.rule, rule)
			assert.Equal(t, c.send, send)
		})
	}
	for _, rule := range scope.Rules() {
		assert.True(t, covered[rule], "no case for rule %s", rule)
		assert.NotContains(t, rule.Explain(), "unknown rule")
	}
	require.GreaterOrEqual(t, len(scope.Rules()), 20)
	assert.Len(t, covered, len(scope.Rules()), "a rule is missing from Rules")
}

// Every policy that travels has two roads: global to all, and producer to the other zones.
func TestAllPolicyKindsFollowTheProducerRule(t *testing.T) {
	t.Parallel()
	global := scope.Peer{Zones: map[string]bool{"east": true}}
	west := scope.Peer{Zone: "west", Features: scope.ParseFeatures(scope.Announced)}
	n := 0
	for _, d := range resource.Kinds {
		if !d.TargetRef {
			continue
		}
		n++
		r := eastPolicy(resource.RoleProducer, producerSpec)
		r.Kind = d.Kind
		send, rule := scope.Decide(r, global, west)
		assert.True(t, send, d.Kind)
		assert.Equal(t, scope.ProducerScope, rule, d.Kind)
		r.Labels[resource.LabelRole] = resource.RoleConsumer
		send, _ = scope.Decide(r, global, west)
		assert.False(t, send, d.Kind)
	}
	assert.Equal(t, 16, n)
}
