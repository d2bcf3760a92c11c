package policy

import (
	"maps"
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// Outbound is where a proxy sends traffic to: a resource, or a service that is known by its tags alone.
type Outbound struct {
	// Key is that of a MeshService, MeshMultiZoneService or MeshExternalService. The zero Key: known by tag alone.
	Key resource.Key
	// Port is the name or the number of a port of the resource, "" for the resource as a whole.
	Port string
	// Tags are those of the service, from before MeshServices: kuma.io/service, and whatever else is known.
	Tags map[string]string
	// Matches narrows an outbound by tag to the requests that a rule of a MeshHTTPRoute matches. nil: all of them.
	Matches []HTTPMatch
}

// ViaTag says that a conf was found by the tags of the destination.
const ViaTag Via = "tag"

// InForce is the conf of one type of policy that is in force on one outbound.
type InForce struct {
	Via    Via
	Conf   []any // one element; of routes at a gateway one per host name
	Origin []RuleOrigin
	// Backends says relative to which policy the names of backendRefs are resolved, as an index into Origin: by the hash
	// of what the rule matches, as in HTTPMatches; of a MeshTCPRoute by "". Empty if no policy gives backendRefs.
	Backends map[string]int
}

// OnOutbound returns the conf that is in force on an outbound of a proxy, nil if no policy of the type is in force
// there. This is the chain in which it is looked for; the first that is found is final, nothing is merged here:
//
//  1. a resource: the rule for its port; the rule for the resource as a whole; the rule for the mesh. A
//     MeshExternalService has no ports.
//  2. known by tag: the first rule by tag whose matchers accept the tags, and with Matches, the tag that stands for them
//     as well. On a builtin gateway only what the requests match counts, or nothing at all. There are no such rules in a
//     mesh whose MeshServices are Exclusive.
//  3. routes (MeshHTTPRoute, MeshTCPRoute) to a resource: the rule for the resource, and without one, what step 2 finds.
//
// A port that has a name is the same by name and by number. Cost: a look at every item of the policies that configure
// the proxy.
func OnOutbound(in Input, t Type, to Outbound) *InForce {
	if !t.To {
		return nil
	}
	in = in.prepared()
	policies := matched(in, t).Policies
	if to.Key != (resource.Key{}) {
		if d := in.Destinations.Get(to.Key); d != nil {
			section, _ := d.sectionOf(to.Port)
			if g, via := newOutboundTo(in, policies, d).lookup(target{in.Destinations.first(d), section}); g != nil {
				return &InForce{via, t.merged(g.entries), ruleOrigins(g.entries), backendOrigins(t, g.entries)}
			}
		}
		if t.item == nil { // no route
			return nil
		}
	}
	return inForceByTag(in, t, policies, to)
}

func inForceByTag(in Input, t Type, policies []*Policy, to Outbound) *InForce {
	if in.Mesh.Exclusive {
		return nil
	}
	tags := map[string]string{}
	if !in.Proxy.builtin {
		maps.Copy(tags, to.Tags)
	}
	if to.Matches != nil {
		tags[matchesTag] = matchesHash(to.Matches)
	}
	rules, err := tagRules(taggedEntries(policies, in.routes()), false)
	if err != nil {
		return nil // Rules has it among its warnings
	}
	for _, r := range rules {
		if accepts(r.matchers, tags) {
			firsts := firstOfEach(r.entries)
			return &InForce{ViaTag, t.merged(r.entries), ruleOrigins(firsts), backendOrigins(t, firsts)}
		}
	}
	return nil
}

// firstOfEach returns the first entry of each policy: of rules by tag a policy is the origin, not an item, and only its
// first item is asked about backendRefs.
func firstOfEach(entries []Entry) []Entry {
	var firsts []Entry
	for i, e := range entries {
		if i == 0 || e.Policy != entries[i-1].Policy {
			firsts = append(firsts, e)
		}
	}
	return firsts
}

// sectionOf returns the section that the name or the number of a port stands for, "" for the whole of d.
func (d *Destination) sectionOf(port string) (section string, ok bool) {
	if n, numeric := number(port); numeric {
		if section, ok = d.section(n, ""); ok && n != 0 {
			return section, true
		}
	}
	return d.section(0, port)
}

// backendOrigins returns which of entries, weakest first, gave the backendRefs of each rule last.
func backendOrigins(t Type, entries []Entry) map[string]int {
	at := map[string]int{}
	given := func(conf any) bool {
		rule, _ := conf.(map[string]any)
		_, ok := rule["backendRefs"]
		return ok
	}
	for i, e := range entries {
		switch t.Kind {
		case kindHTTPRoute:
			for _, r := range e.Item.routes {
				if given(r.conf) {
					at[r.hash] = i
				}
			}
		case meshTCPRoute.Kind:
			if conf, _ := e.Item.Conf.(map[string]any); given(conf["default"]) {
				at[""] = i
			}
		}
	}
	return at
}

// Backend returns the resource that a backendRef of p leads to, and the section of it. A MeshService without a port is
// no resource but a value of the tag kuma.io/service. A name is one of p's own zone and namespace, labels mean the
// oldest resource that has them. nil: no resource, or none that is there; the backendRef is dropped.
func (ds *Destinations) Backend(p *Policy, ref BackendRef) (d *Destination, section string) {
	if !slices.Contains(DestinationKinds, string(ref.Kind)) || ref.Kind == kindService && ref.Port == nil {
		return nil, ""
	}
	q := query{kind: string(ref.Kind), labels: ref.Labels}
	if len(ref.Labels) == 0 {
		q.id = identityOf(p, ref.TargetRef)
	}
	found := ds.resolve(q)
	if len(found) == 0 {
		return nil, ""
	}
	d = slices.MinFunc(found, func(a, b target) int { return a.dest.Created.Compare(b.dest.Created) }).dest
	if ref.Port != nil {
		section, ok := d.section(*ref.Port, "")
		if !ok {
			return nil, ""
		}
		return d, section
	}
	return d, ""
}
