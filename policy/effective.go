package policy

import "slices"

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
	id := e.Policy.Identity()
	return Origin{
		KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone,
		Role: e.Policy.Role(), List: e.list, Item: e.Index,
	}
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
	// To is a destination: name, name.namespace, storage name, or KRI (with a section, just that section). With it
	// there are no inbounds in the answer.
	To string
}

// Effective returns what is in force on a proxy, field by field: first the traffic to the mesh as a whole, then to
// each of its MeshServices, ascending by zone, namespace and name, and to the ports that some item names; and the
// traffic that each inbound takes, ascending by port. Places where nothing applies are listed with no rules.
//
// Destinations are resources, whatever the mesh's mode: what a client that still addresses services by tag gets is in
// TypeRules.ToRules of Rules.
func Effective(in Input, f Filter) ([]EffectiveTo, []EffectiveFrom) {
	tos, froms := []EffectiveTo{}, []EffectiveFrom{}
	applied := map[string]typeEffect{}
	var types []Type
	for _, t := range Types {
		if f.Kind == "" || f.Kind == t.Kind {
			types = append(types, t)
			m := matched(in, t)
			applied[t.Kind] = typeEffect{matches: m, out: newOutbound(in, m.policies), fields: map[*group][]Field{}}
		}
	}
	for _, target := range targets(in, applied) {
		if !f.wants(target) {
			continue
		}
		id := target.dest.identity
		to := EffectiveTo{
			Kind: id.Kind, KRI: id.KRI(target.section), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone,
			Section: target.section, Rules: []Applied{},
		}
		for _, t := range types {
			effect := applied[t.Kind]
			if g, via := effect.out.lookup(target); g != nil {
				if fields := effect.trace(g); len(fields) > 0 {
					to.Rules = append(to.Rules, Applied{Type: t.Kind, Via: via, Fields: fields})
				}
			}
		}
		tos = append(tos, to)
	}
	if f.To != "" {
		return tos, froms
	}
	for _, i := range in.Proxy.byPort() {
		l := in.Proxy.listeners[i]
		from := EffectiveFrom{Name: l.shown.Name, Port: l.port, Rules: []Applied{}}
		for _, t := range types {
			from.Rules = append(from.Rules, inboundEffect(t, applied[t.Kind].inbound[i])...)
		}
		froms = append(froms, from)
	}
	return tos, froms
}

type typeEffect struct {
	matches
	out    outbound
	fields map[*group][]Field // a group that many destinations fall back to is traced once
}

func (e typeEffect) trace(g *group) []Field {
	fields, ok := e.fields[g]
	if !ok {
		fields = trace(g.entries, compareOutbound)
		e.fields[g] = fields
	}
	return fields
}

// targets returns the mesh, its services, and after each service those of its ports that some group is for.
func targets(in Input, applied map[string]typeEffect) []target {
	sections := map[*Destination][]string{}
	for _, effect := range applied {
		for t := range effect.out.groups {
			if t.section != "" && !slices.Contains(sections[t.dest], t.section) {
				sections[t.dest] = append(sections[t.dest], t.section)
			}
		}
	}
	all := []target{{dest: in.Mesh.dest}}
	for _, d := range in.Destinations.Services() {
		all = append(all, target{dest: d})
		slices.Sort(sections[d])
		for _, s := range sections[d] {
			all = append(all, target{d, s})
		}
	}
	return all
}

func (f Filter) wants(t target) bool {
	if f.To == "" {
		return true
	}
	id := t.dest.identity
	switch f.To {
	case id.Name, id.Name + "." + id.Namespace, t.dest.Name, id.KRI(""), id.KRI(t.section):
		return true
	}
	return false
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
