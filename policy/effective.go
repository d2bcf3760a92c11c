package policy

import (
	"slices"
	"strconv"
	"strings"
)

// Field is one leaf of a conf that is in force, and who gave it.
type Field struct {
	Path  string `json:"path"`  // http.requestTimeout; appendMatch[0] of an array that policies add to
	Value any    `json:"value"` // nil: Origin removed what the losers gave
	// Origin is the item that gave the value.
	Origin Origin  `json:"origin"`
	Losers []Loser `json:"losers,omitempty"` // strongest first
}

// Origin is one item of one policy.
type Origin struct {
	KRI       string `json:"kri"`
	Name      string `json:"name"` // the name that its author gave
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
	Role      string `json:"role"`
	List      string `json:"list"` // to, from, rules or default
	Item      int    `json:"item"` // index in the list, from 0
}

// Loser is a value that a stronger item replaced.
type Loser struct {
	Path   string     `json:"path,omitempty"` // below the path of the field, if it is not the same
	Value  any        `json:"value"`
	Origin Origin     `json:"origin"`
	By     Comparator `json:"by"`
}

func originOf(e Entry) Origin {
	p := e.Policy
	return Origin{KRI: p.kri, Name: p.Display(), Namespace: p.Namespace(), Zone: p.Zone(), Role: p.Role(), List: e.list, Item: e.Index}
}

// Applied is the conf of one type that is in force in one place.
type Applied struct {
	Type string `json:"type"`
	Via  Via    `json:"via,omitempty"` // of a destination: what the conf was found for
	// Matchers narrows the conf to clients with these tags; the first Applied of a type that matches is in force.
	Matchers []Matcher `json:"matchers,omitempty"`
	Fields   []Field   `json:"fields"` // ascending by path
}

// EffectiveTo is what is in force on traffic from a proxy to one destination.
type EffectiveTo struct {
	Kind      string    `json:"kind"`
	KRI       string    `json:"kri"`
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	Zone      string    `json:"zone"`
	Section   string    `json:"section"` // "" for the whole service
	Rules     []Applied `json:"rules"`
}

// EffectiveFrom is what is in force on traffic that one inbound of a proxy takes.
type EffectiveFrom struct {
	Name  string    `json:"name"`
	Port  uint32    `json:"port"`
	Rules []Applied `json:"rules"`
}

// Filter narrows what Effective returns. Empty fields mean everything.
type Filter struct {
	Kind string // of policy
	// To is a destination: name, name.namespace, storage name, or KRI (with a section, just that section). With it, and
	// without From, there are no inbounds in the answer.
	To string
	// From is a list of words, separated by commas: the name or the port of an inbound, and tags of a client as
	// key=value, such as "http,kuma.io/service=web". With tags, of each type of policy only the rule that is in force
	// on such a client is in the answer. With From, and without To, there are no destinations.
	From string
	// Listener is one listener of the MeshGateway that the proxy serves, as in AtListener: the answer is what its policies come to,
	// traffic to destinations and what it takes.
	Listener string
}

// Effective returns what is in force on a proxy, field by field: first the traffic to the mesh as a whole, then to
// each of its MeshServices, MeshMultiZoneServices and MeshExternalServices, each ascending by zone, namespace and name,
// and to the ports that some item names; and the traffic that each inbound takes, ascending by port. Places where
// nothing applies are listed with no rules. Neither list is nil.
//
// Destinations are resources, whatever the mesh's mode: what a client that still addresses services by tag gets is in
// TypeRules.ToRules of Rules.
//
// Cost: with Filter.To that of a look at every item of the policies that configure the proxy, otherwise that times the
// destinations that they name.
func Effective(in Input, f Filter) ([]EffectiveTo, []EffectiveFrom) {
	in = in.prepared()
	types := f.types()
	tos, froms := []EffectiveTo{}, []EffectiveFrom{}
	switch {
	case f.To != "":
		tos = effectiveOn(in, types, f.To)
	case f.From == "":
		tos = effectiveEverywhere(in, types)
	}
	if f.To == "" || f.From != "" {
		froms = effectiveFrom(in, types, parseClient(f.From))
	}
	return tos, froms
}

func (f Filter) types() []Type {
	if f.Kind == "" {
		return Types
	}
	t, ok := LookupType(f.Kind)
	if !ok {
		return nil
	}
	return []Type{t}
}

func newEffectiveTo(t target) EffectiveTo {
	id := t.dest.identity
	return EffectiveTo{
		Kind: id.Kind, KRI: id.KRI(t.section), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone,
		Section: t.section, Rules: []Applied{},
	}
}

// effectiveEverywhere returns what is in force on traffic to each destination.
func effectiveEverywhere(in Input, types []Type) []EffectiveTo {
	outbounds := make([]outbound, len(types))
	traced := map[*group][]Field{} // a group that many destinations fall back to is traced once
	for i, t := range types {
		if t.To {
			outbounds[i] = newOutbound(in, matched(in, t).Policies)
		}
	}
	var tos []EffectiveTo
	for _, at := range targets(in, outbounds) {
		to := newEffectiveTo(at)
		for i, t := range types {
			g, via := outbounds[i].lookup(target{in.Destinations.first(at.dest), at.section})
			if g == nil {
				continue
			}
			fields, ok := traced[g]
			if !ok {
				fields = t.traced(g.entries, compareOutbound)
				traced[g] = fields
			}
			if len(fields) > 0 {
				to.Rules = append(to.Rules, Applied{Type: t.Kind, Via: via, Fields: fields})
			}
		}
		tos = append(tos, to)
	}
	return tos
}

// effectiveOn returns the same for the destinations that word stands for, and for nothing else.
func effectiveOn(in Input, types []Type, word string) []EffectiveTo {
	found, wanted := in.Destinations.called(in.Mesh.Name, word)
	if mesh := in.Mesh.dest; word == mesh.identity.Name || word == mesh.Name || word == mesh.identity.KRI("") {
		found = slices.Insert(found, 0, mesh)
	}
	tos := []EffectiveTo{}
	for _, d := range found {
		outbounds := make([]outbound, len(types))
		sections := []string{""}
		for i, t := range types {
			if t.To {
				outbounds[i] = newOutboundTo(in, matched(in, t).Policies, d)
			}
			for at := range outbounds[i].groups {
				if !slices.Contains(sections, at.section) && at.dest == in.Destinations.first(d) {
					sections = append(sections, at.section)
				}
			}
		}
		slices.Sort(sections)
		for _, section := range sections {
			if wanted != "" && section != wanted {
				continue
			}
			at := target{d, section}
			to := newEffectiveTo(at)
			for i, t := range types {
				if g, via := outbounds[i].lookup(target{in.Destinations.first(d), section}); g != nil {
					if fields := t.traced(g.entries, compareOutbound); len(fields) > 0 {
						to.Rules = append(to.Rules, Applied{Type: t.Kind, Via: via, Fields: fields})
					}
				}
			}
			tos = append(tos, to)
		}
	}
	return tos
}

// effectiveFrom returns what is in force on traffic that the inbounds take which c is about.
func effectiveFrom(in Input, types []Type, c client) []EffectiveFrom {
	froms := []EffectiveFrom{}
	for _, i := range in.site.byPort() {
		l := in.site.listeners[i]
		if !c.enters(l.shown) {
			continue
		}
		from := EffectiveFrom{Name: l.shown.Name, Port: l.port, Rules: []Applied{}}
		for _, t := range types {
			from.Rules = append(from.Rules, c.only(inboundEffect(t, matched(in, t).Inbound[i]))...)
		}
		froms = append(froms, from)
	}
	return froms
}

// client is what Filter.From says: an inbound, tags of who calls it, or both. The zero value is anyone at any inbound.
type client struct {
	inbound string // name or port
	tags    map[string]string
}

func parseClient(word string) client {
	var c client
	for part := range strings.SplitSeq(word, ",") {
		if key, value, ok := strings.Cut(part, "="); ok {
			if c.tags == nil {
				c.tags = map[string]string{}
			}
			c.tags[key] = value
		} else if part != "" {
			c.inbound = part
		}
	}
	return c
}

func (c client) enters(in Inbound) bool {
	return c.inbound == "" || c.inbound == in.Name || c.inbound == strconv.FormatUint(uint64(in.Port), 10)
}

// only returns those of the confs of one type that are in force on the client.
func (c client) only(all []Applied) []Applied {
	if c.tags == nil {
		return all
	}
	for _, a := range all {
		if accepts(a.Matchers, c.tags) {
			return []Applied{a}
		}
	}
	return nil
}

// EffectiveProxy returns the confs that are in force on a proxy as a whole, in the order of Types. Of the filter only
// Kind counts.
func EffectiveProxy(in Input, f Filter) []Applied {
	in = in.prepared()
	all := []Applied{}
	for _, t := range f.types() {
		if !t.Single {
			continue
		}
		if fields := t.traced(proxyEntries(matched(in, t).Policies), compareLegacy); len(fields) > 0 {
			all = append(all, Applied{Type: t.Kind, Fields: fields})
		}
	}
	return all
}

// traced returns the fields of the conf that entries come to. compare is the order that they are in.
func (t Type) traced(entries []Entry, compare func(a, b Entry) (int, Comparator)) []Field {
	if t.traceable != nil {
		entries = slices.Clone(entries)
		for i, e := range entries {
			entries[i] = t.traceable(e)
		}
	}
	return trace(entries, compare)
}

// targets returns the mesh, its services, and after each service those of its ports that some group is for.
func targets(in Input, outbounds []outbound) []target {
	sections := map[*Destination][]string{}
	for _, out := range outbounds {
		for t := range out.groups {
			if t.section != "" && !slices.Contains(sections[t.dest], t.section) {
				sections[t.dest] = append(sections[t.dest], t.section)
			}
		}
	}
	all := []target{{dest: in.Mesh.dest}}
	for _, kind := range shownKinds {
		for _, d := range in.Destinations.all(kind) {
			all = append(all, target{dest: d})
			of := sections[in.Destinations.first(d)]
			slices.Sort(of)
			for _, s := range of {
				all = append(all, target{d, s})
			}
		}
	}
	return all
}

// inboundEffect returns the conf of one type on one inbound: one for all clients, or, in the types whose items tell
// clients apart, one per set of tags.
func inboundEffect(t Type, policies []*Policy) []Applied {
	var all []Applied
	if t.Rules {
		if entries := inboundEntries(t, policies); len(entries) > 0 {
			all = append(all, Applied{Type: t.Kind, Fields: trace(entries, compareInbound)})
		}
	} else if t.From {
		rules, err := tagRules(fromEntries(policies), true)
		if err != nil {
			return nil // Rules has it among its warnings
		}
		for _, r := range rules {
			all = append(all, Applied{Type: t.Kind, Matchers: r.matchers, Fields: trace(r.entries, compareLegacy)})
		}
	}
	return slices.DeleteFunc(all, func(a Applied) bool { return len(a.Fields) == 0 })
}
