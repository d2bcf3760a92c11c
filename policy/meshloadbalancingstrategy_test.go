package policy_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestMeshLoadBalancingStrategy(t *testing.T) {
	t.Parallel()
	const (
		conf = "spec.to[0].default"
		la   = conf + ".localityAwareness"
		lb   = conf + ".loadBalancer"
	)
	cross := func(target, crossZone string) string {
		return "{to: [{targetRef: " + target + ", default: {localityAwareness: {crossZone: " + crossZone + "}}}]}"
	}
	failover := func(list string) string { return cross("{kind: Mesh}", "{failover: ["+list+"]}") }
	tags := func(list string) string {
		return confs("{localityAwareness: {localZone: {affinityTags: [" + list + "]}}}")
	}
	hashes := func(list string) string {
		return confs("{loadBalancer: {type: Maglev, maglev: {hashPolicies: ["+list+"]}}}", "{loadBalancer: {type: RingHash, ringHash: {hashPolicies: ["+list+"]}}}")
	}
	threshold := func(conf string) string { return "{localityAwareness: {crossZone: {failoverThreshold: " + conf + "}}}" }
	at := func(i int) string {
		return fmt.Sprintf("spec.to[%d].default.localityAwareness.crossZone.failoverThreshold.percentage", i)
	}
	const every = "{type: Header, header: {name: a}}, {type: Cookie, cookie: {name: a, ttl: 1m, path: /}, terminal: true}, {type: Cookie, cookie: {name: a}}, {type: Connection, connection: {sourceIP: true}}, {type: SourceIP, connection: {}}, {type: QueryParameter, queryParameter: {name: a}}, {type: FilterState, filterState: {key: a}}"
	testSpecs(t, "MeshLoadBalancingStrategy", map[string]specCase{
		"an empty conf":  {confs("{}"), nil},
		"nothing":        {"{}", []string{"spec.to"}},
		"every locality": {confs("{localityAwareness: {disabled: false, localZone: {affinityTags: [{key: a, weight: 90}, {key: b, weight: 1}]}, crossZone: {failover: [{from: {zones: [a]}, to: {type: Only, zones: [b]}}, {to: {type: AnyExcept, zones: [c]}}, {to: {type: Any}}, {to: {type: None, zones: []}}], failoverThreshold: {percentage: '0.5'}}}}"), nil},
		"every balancer": {confs("{loadBalancer: {type: RoundRobin}}", "{loadBalancer: {type: Random}}", "{loadBalancer: {type: LeastRequest, leastRequest: {choiceCount: 2, activeRequestBias: 0}}}", "{loadBalancer: {type: RingHash, ringHash: {hashFunction: MurmurHash2, minRingSize: 1, maxRingSize: 8000000}}}", "{loadBalancer: {type: Maglev, maglev: {tableSize: 5000011}}}", "{loadBalancer: {type: LeastRequest}}"), nil},
		"no settings":    {confs("{loadBalancer: {type: RoundRobin, roundRobin: {}}}", "{loadBalancer: {type: Random, random: {}}}", "{loadBalancer: {type: RoundRobin, roundRobin: null, random: null}}", "{loadBalancer: {type: Maglev, roundRobin: {}, random: {}}}"), nil},
		"every hash":     {hashes(every), nil},
		"nulls":          {confs("{localityAwareness: {localZone: null, crossZone: null}, loadBalancer: null}"), nil},
		"another's hash": {confs("{loadBalancer: {type: RoundRobin, maglev: {hashPolicies: [{type: Header}]}, ringHash: {hashPolicies: [{type: Header}]}}}"), nil},

		"tags without their parts": {tags("{}, {key: ''}, {key: a}"), below(la, ".localZone.affinityTags[0].key", ".localZone.affinityTags[1].key")},
		"a weight of nothing":      {tags("{key: a, weight: 0}"), below(la, ".localZone.affinityTags[0].weight")},
		"some weights":             {tags("{key: '', weight: 3}, {key: b}"), below(la, ".localZone.affinityTags[0].key", ".localZone.affinityTags")},

		"other zones of a named service":   {cross("{kind: MeshService, name: a}", "{}"), nil},
		"other zones of a port":            {cross("{kind: MeshService, name: a, sectionName: b}", "{}"), below(la, ".crossZone")},
		"other zones of labels":            {cross("{kind: MeshService, labels: {a: b}}", "{}"), below(la, ".crossZone")},
		"other zones of a multi-zone port": {cross("{kind: MeshMultiZoneService, labels: {a: b}, sectionName: c}", "{}"), nil},
		"zones without their parts":        {failover("{}, {to: {}}, {from: {}, to: {type: Any}}"), below(la, ".crossZone.failover[0].to", ".crossZone.failover[1].to.type", ".crossZone.failover[2].from.zones")},
		"zones that fail":                  {failover("{from: {zones: []}, to: {type: Any}}, {from: {zones: [a, '']}, to: {type: Any}}"), below(la, ".crossZone.failover[0].from.zones", ".crossZone.failover[1].from.zones[1]")},
		"zones that take over":             {failover("{to: {type: Any, zones: [a]}}, {to: {type: None, zones: [a]}}, {to: {type: Only}}, {to: {type: AnyExcept, zones: []}}, {to: {type: any}}"), below(la, ".crossZone.failover[0].to.zones", ".crossZone.failover[1].to.zones", ".crossZone.failover[2].to.zones", ".crossZone.failover[3].to.zones", ".crossZone.failover[4].to.type")},
		"thresholds": {
			confs(threshold("{}"), threshold("{percentage: 0}"), threshold("{percentage: 100}"), threshold("{percentage: 101}"), threshold("{percentage: half}"), threshold("{percentage: '-1'}")),
			[]string{at(0), at(1), at(3), at(4), at(5)},
		},
		"balancers without their parts": {confs("{loadBalancer: {}}"), below(lb, ".type")},
		"a balancer in capitals":        {confs("{loadBalancer: {type: ROUNDROBIN}}"), below(lb, ".type")},
		"settings that there are not":   {confs("{loadBalancer: {type: RoundRobin, roundRobin: {a: 1}, random: 2}}"), below(lb, ".roundRobin.a", ".random")},
		"least requests":                {confs("{loadBalancer: {type: LeastRequest, leastRequest: {choiceCount: 1, activeRequestBias: '-1'}}}"), below(lb, ".leastRequest.choiceCount", ".leastRequest.activeRequestBias")},
		"a bias that is no number":      {confs("{loadBalancer: {type: LeastRequest, leastRequest: {activeRequestBias: much}}}"), below(lb, ".leastRequest.activeRequestBias")},
		"rings":                         {confs("{loadBalancer: {type: RingHash, ringHash: {hashFunction: MD5, minRingSize: 0, maxRingSize: 8000001}}}"), below(lb, ".ringHash.hashFunction", ".ringHash.minRingSize", ".ringHash.maxRingSize")},
		"tables":                        {confs("{loadBalancer: {type: Maglev, maglev: {tableSize: 5000012}}}", "{loadBalancer: {type: Maglev, maglev: {tableSize: 0}}}"), []string{lb + ".maglev.tableSize", "spec.to[1].default.loadBalancer.maglev.tableSize"}},
		"hashes without their object":   {confs("{loadBalancer: {type: Maglev, maglev: {hashPolicies: [{type: Header}, {type: Cookie}, {type: Connection}, {type: SourceIP}, {type: QueryParameter}, {type: FilterState}, {}]}}}"), below(lb+".maglev.hashPolicies", "[0].header", "[1].cookie", "[2].connection", "[3].connection", "[4].queryParameter", "[5].filterState", "[6].type")},
		"hashes without names":          {confs("{loadBalancer: {type: RingHash, ringHash: {hashPolicies: [{type: Header, header: {}}, {type: Cookie, cookie: {}}, {type: QueryParameter, queryParameter: {}}, {type: FilterState, filterState: {}}]}}}"), below(lb+".ringHash.hashPolicies", "[0].header.name", "[1].cookie.name", "[2].queryParameter.name", "[3].filterState.key")},
		"the path of a cookie":          {confs("{loadBalancer: {type: RingHash, ringHash: {hashPolicies: [{type: Cookie, cookie: {name: a, path: b, ttl: soon}}]}}}"), below(lb+".ringHash.hashPolicies", "[0].cookie.path", "[0].cookie.ttl")},
		"a balancer of a gateway":       {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshService, name: a}, default: {loadBalancer: {type: Random}}}, {targetRef: {kind: MeshService, name: a}, default: {localityAwareness: {}}}, {targetRef: {kind: Mesh}, default: {loadBalancer: {type: Random}}}]}", []string{"spec.to[0].targetRef.kind"}},
		"an external service":           {"{targetRef: {kind: Dataplane}, to: [{targetRef: {kind: MeshExternalService, name: a}, default: {}}]}", []string{"spec.to[0].targetRef.kind"}},
	})
}

func TestBalancersWithoutSettingsAreKept(t *testing.T) {
	t.Parallel()
	const (
		kind = "MeshLoadBalancingStrategy"
		want = `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"loadBalancer":{"type":"RoundRobin","roundRobin":{},"random":{}}}}]}`
	)
	spec := confs("{loadBalancer: {type: RoundRobin, roundRobin: {}, random: {}}}")
	assert.JSONEq(t, want, canonical(t, kind, spec))

	docs, err := policy.Schemas().Read("", []byte("{type: "+kind+", name: x, mesh: default, spec: "+spec+"}"), resource.ReadOptions{AsStored: true})
	require.NoError(t, err)
	assert.JSONEq(t, want, string(docs[0].Resource.Spec))
}

func TestHashesBySourceIPAreDeprecated(t *testing.T) {
	t.Parallel()
	got := warningsOf(t, "MeshLoadBalancingStrategy", confs("{loadBalancer: {type: Maglev, maglev: {hashPolicies: [{type: Connection, connection: {}}, {type: SourceIP, connection: {}}]}}}"))
	assert.Equal(t, []string{"spec.to[0].default.loadBalancer.maglev.hashPolicies[1].type: SourceIP is deprecated: use Connection"}, got)
}
