package policy

import (
	"maps"
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// This file says what a resource can touch, for an index that must not ask every proxy about every change. What it
// says may be too much, never too little.

// Trait is something that proxies have and that policies ask for: a label of the Dataplane, a tag of one of its
// inbounds or of its gateway, or that it has a tag of some key.
type Trait struct {
	sort       traitSort
	key, value string
}

type traitSort uint8

const (
	hasLabel traitSort = iota + 1
	hasTag
	hasTagKey
	hasName // that the author gave
)

// Traits returns the traits of the proxy, each once.
func (px *Proxy) Traits() []Trait {
	all := []Trait{{hasName, "", px.identity.Name}}
	for k, v := range px.Labels {
		all = append(all, Trait{hasLabel, k, v})
	}
	tags := map[tag]bool{}
	add := func(set map[string]string) {
		for k, v := range set {
			tags[tag{k, v}] = true
		}
	}
	add(px.gateway)
	for _, in := range px.inbounds {
		add(in.tags)
	}
	keys := map[string]bool{}
	for t := range tags {
		all = append(all, Trait{hasTag, t.key, t.value})
		keys[t.key] = true
	}
	for k := range keys {
		all = append(all, Trait{hasTagKey, k, ""})
	}
	return all
}

// Reach is which proxies something may touch: those that have all traits of one of the lists. An empty list: every
// proxy.
type Reach [][]Trait

func tagTraits(tags []tag) []Trait {
	traits := make([]Trait, 0, len(tags))
	for _, t := range tags {
		if t.value == "*" {
			traits = append(traits, Trait{hasTagKey, t.key, ""})
		} else {
			traits = append(traits, Trait{hasTag, t.key, t.value})
		}
	}
	return traits
}

// ServiceReach returns which proxies a MeshService may select.
func ServiceReach(svc resource.MeshService) Reach {
	if ref := svc.Selector.DataplaneRef; ref != nil && ref.Name != "" {
		return Reach{nil} // a storage name is no trait
	}
	return Reach{tagTraits(tagsOf(TargetRef{Kind: kindSubset, Tags: svc.Selector.DataplaneTags}).tags)}
}

// Reach returns which proxies may serve the gateway.
func (g *Gateway) Reach() Reach {
	if len(g.selectors) == 0 {
		return Reach{nil}
	}
	reach := make(Reach, len(g.selectors))
	for i, s := range g.selectors {
		reach[i] = tagTraits(s.tags)
	}
	return reach
}

// Reach returns which proxies the policy may configure, or have a warning about it.
func (p *Policy) Reach(around Surroundings) Reach {
	var gate []Trait
	if p.reach.bound {
		if p.reach.namespace == "" {
			return nil
		}
		gate = []Trait{{hasLabel, resource.LabelNamespace, p.reach.namespace}}
	}
	var reach Reach
	served := func(ok func(*Gateway) bool) {
		for _, g := range around.Gateways {
			if ok(g) {
				reach = append(reach, g.Reach()...)
			}
		}
	}
	switch ref := p.Target; ref.Kind {
	case kindSubset, kindService, kindServiceSet:
		reach = Reach{tagTraits(p.tags.tags)}
		served(func(g *Gateway) bool { return g.lends(p.tags.tags) })
	case kindGateway:
		served(func(g *Gateway) bool { return g.Display() == ref.Name })
	case kindDataplane:
		switch {
		case ref.Name == "" && ref.Namespace == "" && ref.Labels == nil:
			reach = Reach{nil}
		case ref.Name != "":
			reach = append(reach, []Trait{{hasName, "", ref.Name}})
		}
		if ref.Labels != nil {
			var traits []Trait
			for _, k := range slices.Sorted(maps.Keys(ref.Labels)) {
				if ref.Labels[k] != "" { // a missing label is the empty one
					traits = append(traits, Trait{hasLabel, k, ref.Labels[k]})
				}
			}
			reach = append(reach, traits)
		}
	case kindHTTPRoute:
		i := slices.IndexFunc(around.Routes, func(r *Policy) bool { return r.display == ref.Name })
		if i < 0 {
			reach = Reach{nil} // every proxy has a warning
			break
		}
		reach = around.Routes[i].Reach(Surroundings{Gateways: around.Gateways})
	default: // Mesh, or a kind that every proxy has a warning about
		reach = Reach{nil}
	}
	for i := range reach {
		reach[i] = slices.Concat(gate, reach[i])
	}
	return reach
}

// lends says whether a proxy can have all of tags only because it serves the gateway: some listener has one of them.
func (g *Gateway) lends(tags []tag) bool {
	return slices.ContainsFunc(g.listeners, func(l gatewayListener) bool {
		return slices.ContainsFunc(tags, func(t tag) bool {
			_, ok := l.tags[t.key] // also of another value: it takes the place of the proxy's
			return ok
		})
	})
}

// Mention is a way in which `to` items name destinations.
type Mention struct {
	id    resource.Identity
	label label
}

// Mentions returns how the policy names destinations, each way once: whatever its items find has one of them.
func (p *Policy) Mentions() []Mention {
	var all []Mention
	for _, it := range p.To {
		q := it.query
		if !slices.Contains(DestinationKinds, q.kind) {
			continue
		}
		m := Mention{id: q.id}
		if len(q.labels) > 0 {
			k := slices.Sorted(maps.Keys(q.labels))[0]
			m = Mention{label: label{q.kind, k, q.labels[k]}}
		}
		if !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

// Mentions returns the ways in which an item may name the destination, each once.
func (d *Destination) Mentions() []Mention {
	all := []Mention{{id: d.identity}}
	for k, v := range d.Labels {
		all = append(all, Mention{label: label{d.Kind, k, v}})
	}
	return all
}
