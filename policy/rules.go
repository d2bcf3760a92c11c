package policy

import (
	"fmt"
	"slices"
)

// Input is everything that the answer for one proxy depends on.
type Input struct {
	Mesh  *Mesh
	Proxy *Proxy
	// Policies of the mesh, by kind, each list ascending by storage name. Kinds that are not in Types are ignored.
	Policies     map[string][]*Policy
	Gateways     []*Gateway // of the mesh, ascending by storage name
	Destinations *Destinations
	Memo         Memo // nil: nothing is remembered

	site *Site
}

// prepared returns the input with what all types of policy need to know of the proxy.
func (in Input) prepared() Input {
	if in.Memo == nil {
		in.Memo = forgetful{}
	}
	in.site = in.Memo.Site(func() *Site { return newSite(in.Proxy, in.Gateways) })
	return in
}

// Memo remembers the parts that an answer is put together from, so that a question costs less than the first of its
// kind. Each method returns what compute returns, now or at an earlier call with the same input. All that Outbound and
// Inbound depend on, apart from the policies, is Mesh, Destinations and the routes of the Input; all that Matched and
// Site depend on is the rest. The lists of policies are those of a Matched that the Memo returned. What a Memo is given
// and returns is not changed by anyone.
type Memo interface {
	Site(compute func() *Site) *Site
	Matched(t Type, compute func(Sorting) *Matched) *Matched
	Outbound(t Type, policies []*Policy, compute func() *OutboundPart) *OutboundPart
	Inbound(t Type, policies []*Policy, compute func() *InboundPart) *InboundPart
}

// Sorting returns a list with the elements of another as sort leaves them, or the one that it returned for an equal list: to sort costs
// more than to know a list again, and many proxies have the same. It does not modify its argument.
type Sorting func(policies []*Policy, sort func([]*Policy)) []*Policy

// forgetful is a Memo that remembers nothing.
type forgetful struct{}

func (forgetful) Site(compute func() *Site) *Site { return compute() }
func (forgetful) Matched(_ Type, compute func(Sorting) *Matched) *Matched {
	return compute(func(policies []*Policy, sort func([]*Policy)) []*Policy {
		policies = slices.Clone(policies)
		sort(policies)
		return policies
	})
}
func (forgetful) Outbound(_ Type, _ []*Policy, compute func() *OutboundPart) *OutboundPart {
	return compute()
}
func (forgetful) Inbound(_ Type, _ []*Policy, compute func() *InboundPart) *InboundPart {
	return compute()
}

func (in Input) routes() []*Policy { return in.Policies[kindHTTPRoute] }

// Answer is what is in force on one proxy, in the form of GET /meshes/{mesh}/dataplanes/{name}/_rules.
type Answer struct {
	Resource Meta `json:"resource"`
	// HTTPMatches lists what the MeshHTTPRoutes in force match. Rules by tag refer to it by hash.
	HTTPMatches []HTTPMatches `json:"httpMatches"` // ascending by hash
	Rules       []TypeRules   `json:"rules"`       // in the order of Types
}

// TypeRules is what the policies of one type come to. No list is nil.
type TypeRules struct {
	Type            string         `json:"type"`
	FromRules       []FromRules    `json:"fromRules"`       // ascending by port
	InboundRules    []InboundRules `json:"inboundRules"`    // ascending by port
	ToRules         []TagRule      `json:"toRules"`         // the first that matches is in force
	ToResourceRules []ResourceRule `json:"toResourceRules"` // ascending by name, kind, section of the destination
	ProxyRule       *ProxyRule     `json:"proxyRule,omitempty"`
	Warnings        []string       `json:"warnings"`

	to *OutboundPart // that ToRules and ToResourceRules are from; nil if there are none
}

// TagRule is the conf for peers whose tags satisfy all matchers.
type TagRule struct {
	Matchers []Matcher `json:"matchers"`
	Conf     any       `json:"conf"`
	Origin   []Meta    `json:"origin"` // weakest first
}

// FromRules is the rules for the clients of one inbound; the first that matches is in force.
type FromRules struct {
	Inbound Inbound   `json:"inbound"`
	Rules   []TagRule `json:"rules"`
}

// InboundRules is the rules for one inbound, whoever the client is.
type InboundRules struct {
	Inbound Inbound       `json:"inbound"`
	Rules   []InboundRule `json:"rules"`
}

// InboundRule is a conf for one inbound.
type InboundRule struct {
	Conf   []any        `json:"conf"` // one element
	Origin []RuleOrigin `json:"origin"`
}

// ResourceRule is the conf for traffic to one destination, or to one port of it.
type ResourceRule struct {
	ResourceMeta        Meta         `json:"resourceMeta"`
	ResourceSectionName string       `json:"resourceSectionName"` // "" for the whole resource
	Conf                []any        `json:"conf"`                // one element; of routes at a gateway one per host name
	Origin              []RuleOrigin `json:"origin"`
}

// ProxyRule is the conf of the proxy as a whole.
type ProxyRule struct {
	Conf   any    `json:"conf"`
	Origin []Meta `json:"origin"`
}

// RuleOrigin is an item that a conf was merged from; weakest first.
type RuleOrigin struct {
	ResourceMeta Meta `json:"resourceMeta"`
	RuleIndex    int  `json:"ruleIndex"`
}

// Rules returns what is in force on a proxy. Shadow policies are left out. A type is left out if nothing of it
// applies, and also, as Kuma does it, if all that applies is rules for real resources while no inbound matched.
// The answer may share parts with others: it must not be changed.
//
// Cost: a test of every policy, O(P log P) for the P that match, and the size of the answer.
func Rules(in Input) Answer {
	in = in.prepared()
	answer := Answer{Resource: in.Proxy.meta, HTTPMatches: []HTTPMatches{}, Rules: []TypeRules{}}
	for _, t := range Types {
		if len(in.Policies[t.Kind]) == 0 {
			continue
		}
		r, matches, ok := typeRules(in, t)
		answer.HTTPMatches = append(answer.HTTPMatches, matches...) // of one type alone
		if ok {
			answer.Rules = append(answer.Rules, r)
		}
	}
	return answer
}

func typeRules(in Input, t Type) (out TypeRules, routed []HTTPMatches, ok bool) {
	m := matched(in, t)
	out = TypeRules{
		Type: t.Kind, FromRules: []FromRules{}, InboundRules: []InboundRules{}, ToRules: []TagRule{},
		ToResourceRules: []ResourceRule{}, Warnings: slices.Clip(m.Warnings),
	}
	seen := false // something other than rules for real resources
	if t.To && len(m.Policies) > 0 {
		to := in.Memo.Outbound(t, m.Policies, func() *OutboundPart { return newOutboundPart(in, t, m.Policies) })
		out.ToRules, out.ToResourceRules, routed, seen = to.tagged, to.resources, to.routed, to.seen
		out.Warnings = append(out.Warnings, to.warnings...)
		out.to = to
	}
	for _, i := range in.site.byPort() {
		policies, shown := m.Inbound[i], in.site.listeners[i].shown
		if len(policies) == 0 {
			continue
		}
		seen = seen || t.From
		part := in.Memo.Inbound(t, policies, func() *InboundPart { return newInboundPart(t, policies) })
		out.Warnings = append(out.Warnings, part.warnings...)
		if len(part.tagged) > 0 {
			out.FromRules = append(out.FromRules, FromRules{Inbound: shown, Rules: part.tagged})
		}
		if len(part.rules) > 0 {
			out.InboundRules = append(out.InboundRules, InboundRules{Inbound: shown, Rules: part.rules})
		}
	}
	if entries := proxyEntries(m.Policies); t.Single && len(entries) > 0 {
		seen = true
		out.ProxyRule = &ProxyRule{Conf: merge(entries), Origin: origins(entries)}
	}
	empty := len(out.FromRules) == 0 && len(out.InboundRules) == 0 && len(out.ToRules) == 0 &&
		len(out.ToResourceRules) == 0 && out.ProxyRule == nil
	return out, routed, seen && !empty
}

// OutboundPart is what the `to` items of policies come to, in the form of TypeRules: the same on every proxy that the same
// policies configure.
type OutboundPart struct {
	tagged    []TagRule
	resources []ResourceRule
	routed    []HTTPMatches
	warnings  []string
	seen      bool // there are items that rules by tag can be made of

	encoded encoded
}

// Rules returns how many rules there are.
func (o *OutboundPart) Rules() int { return len(o.tagged) + len(o.resources) }

func newOutboundPart(in Input, t Type, policies []*Policy) *OutboundPart {
	part := &OutboundPart{tagged: []TagRule{}}
	entries := taggedEntries(policies, in.routes())
	part.seen = slices.ContainsFunc(entries, func(e Entry) bool { return e.Item.tags.ok })
	if !in.Mesh.Exclusive || t.Kind == kindHTTPRoute {
		rules, err := tagRules(entries, false)
		if err != nil {
			part.warnings = append(part.warnings, fmt.Sprintf("couldn't create To rules: %s", err))
		}
		part.routed = httpMatches(rules)
		if !in.Mesh.Exclusive {
			for _, r := range rules {
				part.tagged = append(part.tagged, r.render(t)...)
			}
		}
	}
	part.resources = renderResources(t, newOutbound(in, policies))
	return part
}

func renderResources(t Type, out outbound) []ResourceRule {
	rules := make([]ResourceRule, 0, len(out.groups))
	for _, g := range out.sorted() {
		rules = append(rules, ResourceRule{
			ResourceMeta: g.dest.meta, ResourceSectionName: g.section,
			Conf: t.merged(g.entries), Origin: ruleOrigins(g.entries),
		})
	}
	return rules
}

// InboundPart is what the `from` and `rules` items of the policies that select one inbound come to: the same on every
// inbound that the same policies select.
type InboundPart struct {
	tagged   []TagRule
	rules    []InboundRule // one or none
	warnings []string
}

// Rules returns how many rules there are.
func (p *InboundPart) Rules() int { return len(p.tagged) + len(p.rules) }

func newInboundPart(t Type, policies []*Policy) *InboundPart {
	part := &InboundPart{}
	if t.From {
		rules, err := tagRules(fromEntries(policies), true)
		if err != nil {
			part.warnings = append(part.warnings, fmt.Sprintf("couldn't create From rules: %s", err))
		}
		for _, r := range rules {
			part.tagged = append(part.tagged, r.render(t)...)
		}
	}
	if entries := inboundEntries(t, policies); len(entries) > 0 {
		part.rules = []InboundRule{{Conf: t.merged(entries), Origin: ruleOrigins(entries)}}
	}
	return part
}

// Matched is the policies of one type that configure a proxy, each list weakest first.
type Matched struct {
	Policies []*Policy
	Inbound  [][]*Policy // by listener of the proxy; one that is the same as Policies may be shared with it
	Warnings []string    // not nil
}

// matched returns the policies of type t that configure the proxy of in.
func matched(in Input, t Type) *Matched {
	if len(in.Policies[t.Kind]) == 0 {
		return &Matched{Inbound: make([][]*Policy, len(in.site.listeners)), Warnings: []string{}}
	}
	return in.Memo.Matched(t, func(sorted Sorting) *Matched { return matchAll(in.site, in.Policies[t.Kind], in.routes(), sorted) })
}

// matchAll returns which of some policies of one type configure a proxy. The lists are ascending by storage name.
func matchAll(px *Site, policies, routes []*Policy, sorted Sorting) *Matched {
	m := &Matched{Inbound: make([][]*Policy, len(px.listeners)), Warnings: []string{}}
	for _, p := range policies {
		if p.Shadow() {
			continue
		}
		s, err := match(p, px, routes)
		if err != nil {
			m.Warnings = append(m.Warnings, fmt.Sprintf("unable to resolve TargetRef on policy: mesh:%s name:%s error:%q", p.Mesh, p.Name, err.Error()))
		}
		if !s.any() {
			continue
		}
		m.Policies = append(m.Policies, p)
		for _, l := range s.listeners {
			m.Inbound[l] = append(m.Inbound[l], p)
		}
	}
	all := m.Policies
	m.Policies = sorted(all, sortPolicies)
	for i, ps := range m.Inbound {
		if slices.Equal(ps, all) {
			m.Inbound[i] = m.Policies
		} else {
			m.Inbound[i] = sorted(ps, sortPolicies)
		}
	}
	return m
}

func toEntries(policies []*Policy) []Entry {
	var entries []Entry
	for _, p := range policies {
		for i := range p.To {
			entries = append(entries, Entry{Policy: p, Index: i, Item: &p.To[i], list: "to"})
		}
	}
	return entries
}

func fromEntries(policies []*Policy) []Entry {
	var entries []Entry
	for _, p := range policies {
		for i := range p.From {
			entries = append(entries, Entry{Policy: p, Index: i, Item: &p.From[i], list: "from"})
		}
	}
	return entries
}

// inboundEntries returns the entries that meet on an inbound, whoever the client is: the `rules` of a policy, or else
// its `from` items, which can only mean all clients in the types that have both.
func inboundEntries(t Type, policies []*Policy) []Entry {
	if !t.From || !t.Rules {
		return nil
	}
	var entries []Entry
	for _, p := range policies {
		for i := range p.Rules {
			entries = append(entries, Entry{Policy: p, Index: i, Item: &p.Rules[i], list: "rules"})
		}
		if len(p.Rules) == 0 {
			entries = append(entries, fromEntries([]*Policy{p})...)
		}
	}
	sortEntries(entries, compareInbound)
	return entries
}

func proxyEntries(policies []*Policy) []Entry {
	var entries []Entry
	for _, p := range policies {
		if p.Default != nil {
			entries = append(entries, Entry{Policy: p, Item: p.Default, list: "default"})
		}
	}
	return entries
}

// render returns one rule for each conf.
func (r tagRule) render(t Type) []TagRule {
	var rules []TagRule
	for _, conf := range t.merged(r.entries) {
		rules = append(rules, TagRule{Matchers: r.matchers, Conf: conf, Origin: origins(r.entries)})
	}
	return rules
}

// merged returns the confs that entries come to.
func (t Type) merged(entries []Entry) []any {
	if t.merge != nil {
		return t.merge(entries)
	}
	return []any{merge(entries)}
}

// origins names the policies of entries that are in the order of their policies, each once.
func origins(entries []Entry) []Meta {
	metas := make([]Meta, 0, len(entries))
	for i, e := range entries {
		if i == 0 || e.Policy != entries[i-1].Policy {
			metas = append(metas, e.Policy.meta)
		}
	}
	return metas
}

func ruleOrigins(entries []Entry) []RuleOrigin {
	origins := make([]RuleOrigin, len(entries))
	for i, e := range entries {
		origins[i] = RuleOrigin{ResourceMeta: e.Policy.meta, RuleIndex: e.Index}
	}
	return origins
}
