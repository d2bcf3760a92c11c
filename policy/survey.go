package policy

import (
	"hash/maphash"
	"slices"
)

// Group is what a list of policies of one type comes to, and the proxies where it does.
type Group struct {
	Type     string
	Policies []*Policy // weakest first
	Proxies  []*Proxy  // in the order of Add; one is named once for each of its inbounds that has the list
	// Places is, for each place where any of them applies, what is in force, ascending by path. Groups may share elements.
	Places [][]Field
}

// Survey finds out what all policies come to on many proxies of one mesh at once. A list of policies that many proxies
// share costs no more than for one, if the Memo of their Inputs returns equal lists as one. It is not safe for concurrent
// use.
type Survey struct {
	groups  []*Group
	index   map[surveyKey]*Group
	first   map[*Policy]*Proxy
	towards map[uint64]towards // by hash
	seed    maphash.Seed
}

// towards is what the entries that meet on one destination come to. Lists of policies that differ in what they say about
// other destinations share it.
type towards struct {
	entries []Entry
	fields  []Field
}

// surveyKey is a list of policies, and what of their items is looked at.
type surveyKey struct {
	policies **Policy
	part     string // to, in or default
}

// NewSurvey returns a Survey without proxies.
func NewSurvey() *Survey {
	return &Survey{index: map[surveyKey]*Group{}, first: map[*Policy]*Proxy{}, towards: map[uint64]towards{}, seed: maphash.MakeSeed()}
}

// Add adds the proxy of in. All else in the Inputs of one Survey must be the same.
func (s *Survey) Add(in Input) {
	in = in.prepared()
	for _, t := range Types {
		m := matched(in, t)
		for _, p := range m.Policies {
			if s.first[p] == nil {
				s.first[p] = in.Proxy
			}
		}
		if t.To {
			s.add(in, t, "to", m.Policies, func() [][]Field { return s.outbound(in, t, m.Policies) })
		}
		for _, i := range in.site.byPort() {
			policies := m.Inbound[i]
			s.add(in, t, "in", policies, func() [][]Field {
				var places [][]Field
				for _, a := range inboundEffect(t, policies) {
					places = append(places, a.Fields)
				}
				return places
			})
		}
		if t.Single {
			s.add(in, t, "default", m.Policies, func() [][]Field {
				return [][]Field{t.traced(proxyEntries(m.Policies), compareLegacy)}
			})
		}
	}
}

func (s *Survey) add(in Input, t Type, part string, policies []*Policy, compute func() [][]Field) {
	if len(policies) == 0 {
		return
	}
	key := surveyKey{&policies[0], part}
	g := s.index[key]
	if g == nil || len(g.Policies) != len(policies) {
		g = &Group{Type: t.Kind, Policies: policies, Places: compute()}
		s.index[key] = g
		s.groups = append(s.groups, g)
	}
	g.Proxies = append(g.Proxies, in.Proxy)
}

// trace returns what entries that meet on a destination come to.
func (s *Survey) trace(t Type, entries []Entry) []Field {
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, e := range entries {
		maphash.WriteComparable(&h, e)
	}
	if known, ok := s.towards[h.Sum64()]; ok && slices.Equal(known.entries, entries) {
		return known.fields
	}
	fields := t.traced(entries, compareOutbound)
	s.towards[h.Sum64()] = towards{entries, fields}
	return fields
}

// outbound returns what is in force towards each destination that an item names, and, of policies that are for
// routes, by tags.
func (s *Survey) outbound(in Input, t Type, policies []*Policy) [][]Field {
	var places [][]Field
	for _, g := range newOutbound(in, policies).sorted() {
		places = append(places, s.trace(t, g.entries))
	}
	var routed []*Policy
	for _, p := range policies {
		if onRoute(p) {
			routed = append(routed, p)
		}
	}
	if len(routed) == 0 {
		return places
	}
	rules, err := tagRules(taggedEntries(routed, in.routes()), false)
	if err != nil {
		return places // Rules has it among its warnings
	}
	for _, r := range rules {
		places = append(places, t.traced(r.entries, compareLegacy))
	}
	return places
}

// Groups returns all there are, in the order in which they were met.
func (s *Survey) Groups() []*Group { return s.groups }

// First returns a proxy that p configures, nil if there is none among those that were added.
func (s *Survey) First(p *Policy) *Proxy { return s.first[p] }
