package policy

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
)

// meetings are the places where the `to` items of one type meet on destinations. Where the same items meet, there is one
// place.
type meetings struct {
	of     *surveyed
	number map[Entry]int     // of each entry
	known  map[string]*Place // by the numbers of the entries
	places []*Place          // in the order in which they were met
}

// outbound returns what is in force towards the destinations that items name.
func (of *surveyed) outbound(in Input) []*Place {
	entries := outboundEntries(of.policies, func(*Item) bool { return true })
	m := &meetings{of: of, number: make(map[Entry]int, len(entries)), known: map[string]*Place{}}
	for i, e := range entries {
		m.number[e] = i
	}
	if totalOrder(of.policies) {
		m.meetInOrder(in, entries)
		return slices.DeleteFunc(m.places, func(p *Place) bool { return len(p.Groups) == 0 }) // some roster says more everywhere
	}
	for _, r := range of.towards { // an entry's place depends on the others of the roster
		for _, g := range newOutbound(in, r.sorted()).sorted() {
			m.join(m.place(g.entries), r)
		}
	}
	return m.places
}

// place returns the place where these entries meet, weakest first.
func (m *meetings) place(entries []Entry) *Place {
	key := make([]byte, 0, 2*len(entries))
	for _, e := range entries {
		key = binary.AppendUvarint(key, uint64(m.number[e]))
	}
	p := m.known[string(key)]
	if p == nil {
		p = &Place{Fields: m.of.traced(entries, compareOutbound)}
		m.known[string(key)] = p
		m.places = append(m.places, p)
	}
	return p
}

// join adds the proxies with a roster to a place. Rosters come one after another.
func (m *meetings) join(p *Place, r *roster) {
	if n := len(p.Groups); n == 0 || p.Groups[n-1] != r.towards {
		p.Groups = append(p.Groups, r.towards)
	}
}

// named is all destinations that some item names, and who does.
type named struct {
	entries []Entry  // weakest first
	policy  []int    // of each entry: index in surveyed.policies
	targets []target // ascending by name, kind and section
	of      [][]int  // of each entry: the targets that it names
	by      [][]int  // of each target: the entries that name it, ascending
	mesh    int      // the target that contains all others, -1: no item names it
	// whole is, of each target that is a section, the service that it is of, -1 if no item names that; sections the reverse.
	whole    []int
	sections [][]int
}

// meetInOrder finds the places if any two entries are in the same order wherever they meet. What the policies that are in
// force everywhere come to on a destination is found once, and for each roster only where its others have a say.
func (m *meetings) meetInOrder(in Input, entries []Entry) {
	n := m.of.named(in, entries)
	general := make([]bool, len(m.of.policies))
	for _, at := range m.of.everywhere {
		general[at] = true
	}
	base := make([]*Place, len(n.targets))
	tied := make([]bool, len(n.targets)) // the order of equal ones depends on the others of the roster
	for t := range n.targets {
		es, tie := n.reach(t, func(at int) bool { return general[at] })
		if tied[t] = tie; !tie && len(es) > 0 {
			base[t] = m.place(es)
		}
	}
	for _, r := range m.of.towards {
		own := make([]bool, len(m.of.policies))
		for _, at := range r.more {
			own[at] = true
		}
		touched := n.touchedBy(own)
		for t := range n.targets {
			if !touched[t] && !tied[t] {
				if r.general && base[t] != nil {
					m.join(base[t], r)
				}
				continue
			}
			es, tie := n.reach(t, func(at int) bool { return own[at] || r.general && general[at] })
			if tie {
				order := map[*Policy]int{}
				for i, p := range r.sorted() {
					order[p] = i
				}
				slices.SortFunc(es, func(a, b Entry) int {
					return cmp.Or(cmp.Compare(order[a.Policy], order[b.Policy]), cmp.Compare(a.Index, b.Index))
				})
				sortEntries(es, compareOutbound)
			}
			if len(es) > 0 {
				m.join(m.place(es), r)
			}
		}
	}
}

// named resolves entries.
func (of *surveyed) named(in Input, entries []Entry) *named {
	n := &named{entries: entries, policy: make([]int, len(entries)), of: make([][]int, len(entries)), mesh: -1}
	index := make(map[*Policy]int, len(of.policies))
	for i, p := range of.policies {
		index[p] = i
	}
	mesh := target{dest: in.Mesh.dest}
	by := map[target][]int{}
	for i, e := range entries {
		n.policy[i] = index[e.Policy]
		found := []target{mesh}
		if e.Item.Target.Kind != kindMesh {
			found = in.Destinations.targets(e.Item.query)
		}
		for _, t := range found {
			by[t] = append(by[t], i)
		}
	}
	n.targets = slices.SortedFunc(maps.Keys(by), compareTargets)
	at := make(map[target]int, len(n.targets))
	for t, tt := range n.targets {
		at[tt] = t
		n.by = append(n.by, by[tt])
		for _, i := range by[tt] {
			n.of[i] = append(n.of[i], t)
		}
	}
	if t, ok := at[mesh]; ok {
		n.mesh = t
	}
	n.sections = make([][]int, len(n.targets))
	for t, tt := range n.targets {
		n.whole = append(n.whole, -1)
		if w, ok := at[target{dest: tt.dest}]; ok && tt.section != "" {
			n.whole[t], n.sections[w] = w, append(n.sections[w], t)
		}
	}
	return n
}

// reach returns the entries of some policies that reach a target that one of them names, as grouped does; nothing if none
// does. tie says that the order does not tell some of them apart.
func (n *named) reach(t int, is func(policy int) bool) (found []Entry, tie bool) {
	var ranks []int
	add := func(t int) {
		if t >= 0 {
			for _, i := range n.by[t] {
				if is(n.policy[i]) {
					ranks = append(ranks, i)
				}
			}
		}
	}
	if add(t); len(ranks) == 0 {
		return nil, false
	}
	if t != n.mesh {
		add(n.mesh)
		add(n.whole[t])
	}
	slices.Sort(ranks)
	for _, i := range ranks {
		e := n.entries[i]
		if len(found) > 0 && found[len(found)-1].Policy != e.Policy {
			c, _ := compareOutbound(found[len(found)-1], e)
			tie = tie || c == 0
		}
		found = append(found, e)
	}
	return found, tie
}

// touchedBy says of each target whether some entry of some policies reaches it.
func (n *named) touchedBy(policies []bool) []bool {
	touched := make([]bool, len(n.targets))
	for i, policy := range n.policy {
		if !policies[policy] {
			continue
		}
		for _, t := range n.of[i] {
			touched[t] = true
			for _, s := range n.sections[t] {
				touched[s] = true
			}
		}
	}
	if n.mesh >= 0 && touched[n.mesh] {
		for t := range touched {
			touched[t] = true
		}
	}
	return touched
}
