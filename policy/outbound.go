package policy

import (
	"cmp"
	"slices"
)

// group is the entries that meet on one destination, weakest first.
type group struct {
	dest    *Destination // of several with one identity, the one that the weakest item found
	section string       // "" for the whole of dest
	entries []Entry
}

// outbound is all `to` items of one type of policy that apply to a proxy, resolved.
type outbound struct {
	groups map[target]*group
	mesh   *Destination
}

// newOutbound resolves the `to` items of policies, which match the proxy. There is a group for everything that some
// item names. An item reaches the groups of what it names and of what is part of that: the mesh contains every service,
// a service contains its ports. Policies for a route have no say here, only in rules by tag.
func newOutbound(in Input, policies []*Policy) outbound {
	return resolveEntries(in, outboundEntries(policies, func(*Item) bool { return true }))
}

// resolveEntries does the same with entries that are sorted, weakest first.
func resolveEntries(in Input, entries []Entry) outbound {
	// ranked keeps which entries name a target, as positions in entries.
	ranked := make(map[target][]int, len(entries))
	var shown map[target]*Destination // that an item found first, where it is not the one of the target
	mesh := target{dest: in.Mesh.dest}
	for rank, e := range entries {
		if e.Item.Target.Kind == kindMesh {
			ranked[mesh] = append(ranked[mesh], rank)
			continue
		}
		for _, found := range in.Destinations.resolve(e.Item.query) {
			t := target{in.Destinations.first(found.dest), found.section}
			ranks := ranked[t]
			switch {
			case len(ranks) > 0 && ranks[len(ranks)-1] == rank: // the item finds several of one identity
				continue
			case len(ranks) == 0 && t != found:
				if shown == nil {
					shown = map[target]*Destination{}
				}
				shown[t] = found.dest
			}
			ranked[t] = append(ranks, rank)
		}
	}
	out := grouped(mesh, entries, ranked)
	for t, d := range shown {
		out.groups[t].dest = d
	}
	return out
}

// newOutboundTo returns the same as newOutbound, but only what is about one destination and the mesh as a whole.
func newOutboundTo(in Input, policies []*Policy, d *Destination) outbound {
	d = in.Destinations.first(d)
	entries := outboundEntries(policies, func(it *Item) bool {
		if it.Target.Kind == kindMesh {
			return true
		}
		_, ok := in.Destinations.finds(it.query, d)
		return ok
	})
	ranked := map[target][]int{}
	mesh := target{dest: in.Mesh.dest}
	for rank, e := range entries {
		at := mesh
		if e.Item.Target.Kind != kindMesh {
			section, _ := in.Destinations.finds(e.Item.query, d)
			at = target{d, section}
		}
		ranked[at] = append(ranked[at], rank)
	}
	return grouped(mesh, entries, ranked)
}

// outboundEntries returns the `to` items of policies that are wanted, weakest first: those of toEntries, as far as they
// are not for a route, sorted.
func outboundEntries(policies []*Policy, wanted func(*Item) bool) []Entry {
	// Where the order is none (see compareKind) an entry's place depends on the others, so all of them are sorted.
	total := totalOrder(policies)
	var entries []Entry
	for _, p := range policies {
		if onRoute(p) {
			continue
		}
		for i := range p.To {
			if !total || wanted(&p.To[i]) {
				entries = append(entries, Entry{Policy: p, Index: i, Item: &p.To[i], list: "to"})
			}
		}
	}
	sortEntries(entries, compareOutbound)
	if !total {
		entries = slices.DeleteFunc(entries, func(e Entry) bool { return !wanted(e.Item) })
	}
	return entries
}

// grouped returns one group for each target of ranked, with the entries that reach it.
func grouped(mesh target, entries []Entry, ranked map[target][]int) outbound {
	out := outbound{groups: make(map[target]*group, len(ranked)), mesh: mesh.dest}
	for t, own := range ranked {
		ranks := own
		if t != mesh {
			ranks = slices.Concat(ranked[mesh], own)
			if t.section != "" {
				ranks = append(ranks, ranked[target{dest: t.dest}]...)
			}
			slices.Sort(ranks)
		}
		g := &group{dest: t.dest, section: t.section, entries: make([]Entry, len(ranks))}
		for i, rank := range ranks {
			g.entries[i] = entries[rank]
		}
		out.groups[t] = g
	}
	return out
}

// sorted returns the groups ascending by name of the destination, then by kind and section.
func (o outbound) sorted() []*group {
	groups := make([]*group, 0, len(o.groups))
	for _, g := range o.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return compareTargets(target{a.dest, a.section}, target{b.dest, b.section})
	})
	return groups
}

func compareTargets(a, b target) int {
	return cmp.Or(cmp.Compare(a.dest.Name, b.dest.Name), cmp.Compare(a.dest.Kind, b.dest.Kind), cmp.Compare(a.section, b.section))
}

// Via says which group a destination gets its conf from.
type Via string

const (
	ViaSection  Via = "section"  // some item names this port
	ViaResource Via = "resource" // some item names this service
	ViaMesh     Via = "mesh"     // only items for the whole mesh apply
)

// lookup returns the group that is in force on a destination: the closest one, alone. nil if there is none.
func (o outbound) lookup(t target) (*group, Via) {
	if t.dest != o.mesh {
		if t.section != "" {
			if g := o.groups[t]; g != nil {
				return g, ViaSection
			}
		}
		if g := o.groups[target{dest: t.dest}]; g != nil {
			return g, ViaResource
		}
	}
	return o.groups[target{dest: o.mesh}], ViaMesh
}
