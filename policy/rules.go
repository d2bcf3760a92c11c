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
	Destinations *Destinations
}

// Answer is what is in force on one proxy, in the form of GET /meshes/{mesh}/dataplanes/{name}/_rules.
type Answer struct {
	Resource Meta `json:"resource"`
	// HTTPMatches lists the matches of MeshHTTPRoutes that rules refer to. Always empty: routes are not resolved.
	HTTPMatches []any       `json:"httpMatches"`
	Rules       []TypeRules `json:"rules"` // in the order of Types
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
	Conf                []any        `json:"conf"`                // one element
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
//
// Cost: a test of every policy, O(P log P) for the P that match, and the size of the answer.
func Rules(in Input) Answer {
	answer := Answer{Resource: in.Proxy.meta, HTTPMatches: []any{}, Rules: []TypeRules{}}
	for _, t := range Types {
		if r, ok := typeRules(in, t); ok {
			answer.Rules = append(answer.Rules, r)
		}
	}
	return answer
}

func typeRules(in Input, t Type) (TypeRules, bool) {
	m := matched(in, t)
	out := TypeRules{
		Type: t.Kind, FromRules: []FromRules{}, InboundRules: []InboundRules{}, ToRules: []TagRule{},
		ToResourceRules: []ResourceRule{}, Warnings: m.warnings,
	}
	fail := func(what string, err error) {
		out.Warnings = append(out.Warnings, fmt.Sprintf("couldn't create %s rules: %s", what, err))
	}
	seen := false // something other than rules for real resources
	if t.To {
		entries := toEntries(m.policies)
		seen = slices.ContainsFunc(entries, func(e Entry) bool { return e.Item.tags.ok })
		if !in.Mesh.Exclusive {
			rules, err := tagRules(entries, false)
			if err != nil {
				fail("To", err)
			}
			for _, r := range rules {
				out.ToRules = append(out.ToRules, r.render())
			}
		}
		for _, g := range newOutbound(in, m.policies).sorted() {
			out.ToResourceRules = append(out.ToResourceRules, ResourceRule{
				ResourceMeta: g.dest.meta, ResourceSectionName: g.section,
				Conf: []any{merge(g.entries)}, Origin: ruleOrigins(g.entries),
			})
		}
	}
	for _, i := range in.Proxy.byPort() {
		policies, shown := m.inbound[i], in.Proxy.listeners[i].shown
		if t.From {
			seen = seen || len(policies) > 0
			rules, err := tagRules(fromEntries(policies), true)
			if err != nil {
				fail("From", err)
			}
			if len(rules) > 0 {
				from := FromRules{Inbound: shown, Rules: make([]TagRule, len(rules))}
				for i, r := range rules {
					from.Rules[i] = r.render()
				}
				out.FromRules = append(out.FromRules, from)
			}
		}
		if entries := inboundEntries(t, policies); len(entries) > 0 {
			out.InboundRules = append(out.InboundRules, InboundRules{Inbound: shown, Rules: []InboundRule{{
				Conf: []any{merge(entries)}, Origin: ruleOrigins(entries),
			}}})
		}
	}
	if entries := proxyEntries(m.policies); t.Single && len(entries) > 0 {
		seen = true
		out.ProxyRule = &ProxyRule{Conf: merge(entries), Origin: origins(entries)}
	}
	empty := len(out.FromRules) == 0 && len(out.InboundRules) == 0 && len(out.ToRules) == 0 &&
		len(out.ToResourceRules) == 0 && out.ProxyRule == nil
	return out, seen && !empty
}

// matches is the policies of one type that apply to a proxy, each list weakest first.
type matches struct {
	policies []*Policy
	inbound  [][]*Policy // by index of Proxy.listeners
	warnings []string    // not nil
}

func matched(in Input, t Type) matches {
	m := matches{inbound: make([][]*Policy, len(in.Proxy.listeners)), warnings: []string{}}
	for _, p := range in.Policies[t.Kind] {
		if p.Shadow() {
			continue
		}
		s, err := match(p, in.Proxy)
		if err != nil {
			m.warnings = append(m.warnings, fmt.Sprintf("unable to resolve TargetRef on policy: mesh:%s name:%s error:%q", p.Mesh, p.Name, err.Error()))
		}
		if !s.any() {
			continue
		}
		m.policies = append(m.policies, p)
		for _, l := range s.listeners {
			m.inbound[l] = append(m.inbound[l], p)
		}
	}
	sortPolicies(m.policies)
	for _, ps := range m.inbound {
		// A list that gives no rules need not be in order. (To sort only those that do would be another order.)
		if slices.ContainsFunc(ps, func(p *Policy) bool { return len(p.From) > 0 || len(p.Rules) > 0 }) {
			sortPolicies(ps)
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

func (r tagRule) render() TagRule {
	return TagRule{Matchers: r.matchers, Conf: merge(r.entries), Origin: origins(r.entries)}
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
