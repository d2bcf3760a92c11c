package policy

import (
	"encoding/binary"
	"slices"
)

// Survey finds out what all policies come to on many proxies of one mesh at once. A proxy costs a test of the policies
// that ask for something that it has; what several proxies or destinations share is computed once. It is not safe for
// concurrent use.
type Survey struct {
	in     Input // but for the proxy
	types  []*surveyed
	first  map[*Policy]*Proxy
	groups []*Group
}

// Group is proxies on which the same policies of one type are in force in one way: on outbound traffic, on an inbound, or
// on the proxy as a whole.
type Group struct {
	Type    string
	Proxies []*Proxy // each once, in the order of Add
}

// Place is what is in force somewhere on all proxies of some groups: towards a destination, on an inbound, or on the proxy
// as a whole.
type Place struct {
	Fields []Field  // ascending by path
	Groups []*Group // at least one
}

// surveyed is the policies of one type.
type surveyed struct {
	Type
	policies []*Policy // that are no shadows, ascending by storage name: what is said of policies here are indexes in it
	// everywhere are those that select everything on every proxy; asked are those that every proxy is asked about, and
	// byTrait those that one with the trait is asked about. Each list is ascending.
	everywhere, asked []int
	byTrait           map[Trait][]int

	rosters map[string]*roster // by what is in them
	towards []*roster          // those of which the outbound traffic of some proxy is, in the order in which they were met
	places  []*Place           // on inbounds and on proxies as a whole
}

// roster is some policies of a type: those that a proxy has as a whole, or on an inbound.
type roster struct {
	of      *surveyed
	general bool      // everywhere is part of it
	more    []int     // the others, ascending
	order   []*Policy // see sorted
	met     bool      // some proxy has it as a whole

	towards, inbound, whole *Group // nil: there is no such proxy
}

// NewSurvey returns a Survey without proxies. Of the Input, Proxy and Memo do not count.
func NewSurvey(in Input) *Survey {
	s := &Survey{in: in, first: map[*Policy]*Proxy{}}
	around := Surroundings{in.Gateways, in.routes()}
	for _, t := range Types {
		of := &surveyed{Type: t, byTrait: map[Trait][]int{}, rosters: map[string]*roster{}}
		for _, p := range in.Policies[t.Kind] {
			if !p.Shadow() {
				of.add(p, around)
			}
		}
		if len(of.policies) > 0 {
			s.types = append(s.types, of)
		}
	}
	return s
}

// add notes which proxies are to be asked about a policy.
func (of *surveyed) add(p *Policy, around Surroundings) {
	at := len(of.policies)
	of.policies = append(of.policies, p)
	if p.everywhere() {
		of.everywhere = append(of.everywhere, at)
		return
	}
	reach := p.Reach(around)
	if slices.ContainsFunc(reach, func(traits []Trait) bool { return len(traits) == 0 }) {
		of.asked = append(of.asked, at)
		return
	}
	for _, traits := range reach {
		of.byTrait[traits[0]] = append(of.byTrait[traits[0]], at)
	}
}

// Add adds a proxy.
func (s *Survey) Add(px *Proxy) {
	site, traits := newSite(px, s.in.Gateways), px.Traits()
	for _, of := range s.types {
		general := site.everything.any()
		var more []int
		inbound := make([][]int, len(site.listeners))
		for _, at := range of.candidates(traits) {
			chosen, err := match(of.policies[at], site, s.in.routes())
			if err != nil || !chosen.any() {
				continue
			}
			more = append(more, at)
			for _, l := range chosen.listeners {
				inbound[l] = append(inbound[l], at)
			}
		}
		whole := of.roster(general, more)
		if !whole.met {
			whole.met = true
			for _, at := range whole.indexes() {
				if p := of.policies[at]; s.first[p] == nil {
					s.first[p] = px
				}
			}
		}
		if of.To && s.join(&whole.towards, whole, px) {
			of.towards = append(of.towards, whole)
		}
		for _, l := range site.byPort() {
			on := of.roster(slices.Contains(site.everything.listeners, l), inbound[l])
			if s.join(&on.inbound, on, px) && slices.ContainsFunc(on.indexes(), func(at int) bool { return of.policies[at].forInbounds() }) {
				for _, a := range inboundEffect(of.Type, on.sorted()) {
					of.places = append(of.places, &Place{a.Fields, []*Group{on.inbound}})
				}
			}
		}
		if of.Single && s.join(&whole.whole, whole, px) {
			fields := of.traced(proxyEntries(whole.sorted()), compareLegacy)
			of.places = append(of.places, &Place{fields, []*Group{whole.whole}})
		}
	}
}

// candidates returns what a proxy with some traits is to be asked about, ascending.
func (of *surveyed) candidates(traits []Trait) []int {
	all := slices.Clone(of.asked)
	for _, t := range traits {
		all = append(all, of.byTrait[t]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// forInbounds says whether the policy has items for inbounds.
func (p *Policy) forInbounds() bool { return len(p.From) > 0 || len(p.Rules) > 0 }

// roster returns the one of these policies, the same one for equal ones.
func (of *surveyed) roster(general bool, more []int) *roster {
	key := make([]byte, 1, 1+2*len(more))
	if general = general && len(of.everywhere) > 0; general {
		key[0] = 1
	}
	for _, at := range more {
		key = binary.AppendUvarint(key, uint64(at))
	}
	r := of.rosters[string(key)]
	if r == nil {
		r = &roster{of: of, general: general, more: more}
		of.rosters[string(key)] = r
	}
	return r
}

// indexes returns the policies of the roster, ascending.
func (r *roster) indexes() []int {
	if !r.general {
		return r.more
	}
	all := slices.Concat(r.of.everywhere, r.more)
	slices.Sort(all)
	return all
}

// sorted returns the policies of the roster, weakest first.
func (r *roster) sorted() []*Policy {
	if r.order == nil {
		for _, at := range r.indexes() {
			r.order = append(r.order, r.of.policies[at])
		}
		sortPolicies(r.order)
	}
	return r.order
}

// join adds the proxy to the group of a roster, if there is a policy in it, and says whether the group is new.
func (s *Survey) join(g **Group, r *roster, px *Proxy) (fresh bool) {
	if !r.general && len(r.more) == 0 {
		return false
	}
	if fresh = *g == nil; fresh {
		*g = &Group{Type: r.of.Kind}
		s.groups = append(s.groups, *g)
	}
	if all := (*g).Proxies; len(all) == 0 || all[len(all)-1] != px {
		(*g).Proxies = append(all, px)
	}
	return fresh
}

// Groups returns all there are, in the order in which they were met.
func (s *Survey) Groups() []*Group { return s.groups }

// First returns a proxy that p configures, nil if there is none among those that were added.
func (s *Survey) First(p *Policy) *Proxy { return s.first[p] }

// Places returns what is in force where, in the order of Types.
func (s *Survey) Places() []*Place {
	var all []*Place
	for _, of := range s.types {
		all = append(all, of.outbound(s.in)...)
		for _, r := range of.towards {
			all = append(all, r.tagged(s.in)...)
		}
		all = append(all, of.places...)
	}
	return all
}

// tagged returns what the policies that are for routes come to: they are in force by tags.
func (r *roster) tagged(in Input) (places []*Place) {
	routed := map[string]bool{} // by KRI
	for _, at := range r.more { // none of everywhere is for a route
		if p := r.of.policies[at]; onRoute(p) {
			routed[p.kri] = true
		}
	}
	if len(routed) == 0 {
		return nil
	}
	rules, err := tagRules(taggedEntries(r.sorted(), in.routes()), false)
	if err != nil {
		return nil // Rules has it among its warnings
	}
	for _, rule := range rules {
		var fields []Field // of others there is a place towards the destination
		for _, f := range r.of.traced(rule.entries, compareLegacy) {
			f.Losers = slices.DeleteFunc(f.Losers, func(l Loser) bool { return !routed[l.Origin.KRI] })
			if routed[f.Origin.KRI] || len(f.Losers) > 0 {
				fields = append(fields, f)
			}
		}
		if len(fields) > 0 {
			places = append(places, &Place{fields, []*Group{r.towards}})
		}
	}
	return places
}
