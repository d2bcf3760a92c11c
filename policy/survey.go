package policy

// Group is what a list of policies of one type comes to, and the proxies where it does.
type Group struct {
	Type     string
	Policies []*Policy // weakest first
	Proxies  []*Proxy  // in the order of Add; one is named once for each of its inbounds that has the list
	Places   [][]Field // in each place where any of them applies, what is in force, ascending by path
}

// Survey finds out what all policies come to on many proxies of one mesh at once. A list of policies that many proxies
// share costs no more than for one, if the Memo of their Inputs returns equal lists as one. It is not safe for concurrent
// use.
type Survey struct {
	groups []*Group
	index  map[surveyKey]*Group
	first  map[*Policy]*Proxy
}

// surveyKey is a list of policies, and what of their items is looked at.
type surveyKey struct {
	policies **Policy
	part     string // to, in or default
}

// NewSurvey returns a Survey without proxies.
func NewSurvey() *Survey {
	return &Survey{index: map[surveyKey]*Group{}, first: map[*Policy]*Proxy{}}
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
			s.add(in, t, "to", m.Policies, func() [][]Field { return surveyOutbound(in, t, m.Policies) })
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

// surveyOutbound returns what is in force towards each destination that an item names, and, of policies that are for
// routes, by tags.
func surveyOutbound(in Input, t Type, policies []*Policy) [][]Field {
	var places [][]Field
	for _, g := range newOutbound(in, policies).sorted() {
		places = append(places, t.traced(g.entries, compareOutbound))
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
