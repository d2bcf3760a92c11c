package policy

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Page is the part of an answer that lists proxies which is wanted.
type Page struct {
	Name         string // only proxies whose storage name contains it
	Offset, Size int    // of the proxies that are left, ascending; Size 0 or less: none, they are only counted
	// Next returns the address of the page that begins at an offset. nil: nobody asks.
	Next func(offset int) string
}

// Everything is the page with all proxies.
var Everything = Page{Size: math.MaxInt}

// After returns the address of the page after this one, "" if this is the last: there are total proxies.
func (p Page) After(total int) string {
	if p.Next == nil || p.Size >= total-p.Offset {
		return ""
	}
	return p.Next(p.Offset + p.Size)
}

// PlaceEffect is what one policy comes to in one place of a proxy: towards one destination, on one inbound, or on the
// proxy as a whole. For example, of a producer's policy where a consumer's is stronger:
//
//	{"list": "to", "kind": "MeshService", "kri": "kri_msvc_default_east_shop_cart_", "wins": [],
//	 "masked": [{"item": 0, "path": "http.requestTimeout", "value": "1s", "by": "role",
//	   "winner": {"kri": "kri_mt_default_east_first_consumer-timeout_", "name": "consumer-timeout", "namespace": "first",
//	     "zone": "east", "role": "consumer", "list": "to", "item": 0}}]}
type PlaceEffect struct {
	List string `json:"list"` // of the items: to, from, rules or default
	// Of `to`, the destination; none of them for a policy that is for a route, which is in force by Matchers alone.
	Kind    string `json:"kind,omitempty"`
	KRI     string `json:"kri,omitempty"`
	Section string `json:"section,omitempty"` // a port; "" for the whole
	// Of `from` and `rules`, the inbound.
	Inbound string `json:"inbound,omitempty"` // its name
	Port    uint32 `json:"port,omitempty"`
	// Matchers narrows the place to peers with these tags.
	Matchers []Matcher `json:"matchers,omitempty"`

	Wins   []Win    `json:"wins"`   // ascending by path, never nil
	Masked []Masked `json:"masked"` // ascending by path, never nil
}

// Win is a field that has the value that the policy gives it.
type Win struct {
	Item  int    `json:"item"` // index in the list, from 0
	Path  string `json:"path"`
	Value any    `json:"value"` // null: the policy removes what weaker ones give
}

// Masked is a field for which a stronger item has another value, or the same again.
type Masked struct {
	Item   int        `json:"item"`
	Path   string     `json:"path"`
	Value  any        `json:"value"` // that the policy gives
	By     Comparator `json:"by"`
	Winner Origin     `json:"winner"`
}

// Effects finds out what one policy comes to, proxy by proxy. It is not safe for concurrent use.
type Effects struct {
	of  *Policy // never a shadow: a copy that is in force takes the place of one
	kri string
	t   Type
	// Proxies with equal lists of policies share what it comes to: lists has each of them once.
	lists    [][]*Policy
	outbound map[**Policy][]PlaceEffect
	inbound  map[**Policy][]PlaceEffect
}

// NewEffects returns the Effects of a policy. A shadow policy is asked about as if it were in force.
func NewEffects(p *Policy) *Effects {
	t, _ := LookupType(p.Kind)
	if p.Shadow() {
		real := *p
		real.shadow = false
		p = &real
	}
	return &Effects{of: p, kri: p.Identity().KRI(""), t: t, outbound: map[**Policy][]PlaceEffect{}, inbound: map[**Policy][]PlaceEffect{}}
}

// On returns what the policy comes to on the proxy of in: first towards the destinations that some item of a policy
// names, ascending by name, kind and section, then on each inbound, ascending by port, then on the proxy as a whole.
// Places to which none of its items applies are left out. alike is the same text for proxies of one mesh with the same
// answer, but not always another one for another. ok is false if the policy does not configure the proxy.
func (e *Effects) On(in Input) (places []PlaceEffect, alike string, ok bool) {
	in = e.inForce(in).prepared()
	m := matched(in, e.t)
	if !slices.Contains(m.Policies, e.of) {
		return nil, "", false
	}
	var key strings.Builder
	policies := e.list(m.Policies)
	fmt.Fprintf(&key, "%p", &policies[0])
	places = append(places, shared(e.outbound, policies, func() []PlaceEffect { return e.towards(in, policies) })...)
	for _, i := range in.site.byPort() {
		if !slices.Contains(m.Inbound[i], e.of) {
			continue
		}
		policies, shown := e.list(m.Inbound[i]), in.site.listeners[i].shown
		fmt.Fprintf(&key, " %q:%d %p", shown.Name, shown.Port, &policies[0])
		on := shared(e.inbound, policies, func() []PlaceEffect {
			var all []PlaceEffect
			for _, a := range inboundEffect(e.t, policies) {
				all = e.add(all, PlaceEffect{Matchers: a.Matchers}, a.Fields)
			}
			return all
		})
		for _, place := range on {
			place.Inbound, place.Port = shown.Name, shown.Port
			places = append(places, place)
		}
	}
	if e.t.Single {
		places = e.add(places, PlaceEffect{}, e.t.traced(proxyEntries(m.Policies), compareLegacy))
	}
	return places, key.String(), true
}

// Configures says whether the policy configures the proxy of in: what On says last, without the rest.
func (e *Effects) Configures(in Input) bool {
	in = e.inForce(in).prepared()
	return slices.Contains(matched(in, e.t).Policies, e.of)
}

// inForce returns the input with the policy in force if it is a shadow.
func (e *Effects) inForce(in Input) Input {
	if p := in.shadowOf(e.of); p != nil {
		list := slices.Clone(in.Policies[p.Kind])
		list[slices.Index(list, p)] = e.of
		in.Policies = maps.Clone(in.Policies)
		in.Policies[p.Kind], in.Memo = list, nil
	}
	return in
}

// shadowOf returns the shadow policy of the input that p is a copy of, nil if there is none.
func (in Input) shadowOf(p *Policy) *Policy {
	list := in.Policies[p.Kind]
	i, ok := slices.BinarySearchFunc(list, p.Name, func(p *Policy, name string) int { return strings.Compare(p.Name, name) })
	if !ok || !list[i].Shadow() {
		return nil
	}
	return list[i]
}

// list returns the known list that is equal to ps.
func (e *Effects) list(ps []*Policy) []*Policy {
	for _, known := range e.lists {
		if &known[0] == &ps[0] || slices.Equal(known, ps) {
			return known
		}
	}
	e.lists = append(e.lists, ps)
	return ps
}

func shared(known map[**Policy][]PlaceEffect, policies []*Policy, compute func() []PlaceEffect) []PlaceEffect {
	places, ok := known[&policies[0]]
	if !ok {
		places = compute()
		known[&policies[0]] = places
	}
	return places
}

// towards returns what the policy comes to on outbound traffic.
func (e *Effects) towards(in Input, policies []*Policy) []PlaceEffect {
	var places []PlaceEffect
	if onRoute(e.of) {
		rules, err := tagRules(taggedEntries(policies, in.routes()), false)
		if err != nil {
			return nil // Rules has it among its warnings
		}
		for _, r := range rules {
			places = e.add(places, PlaceEffect{Matchers: r.matchers}, e.t.traced(r.entries, compareLegacy))
		}
		return places
	}
	for _, g := range newOutbound(in, policies).sorted() {
		if slices.ContainsFunc(g.entries, func(entry Entry) bool { return entry.Policy.Key == e.of.Key }) {
			id := g.dest.identity
			places = e.add(places, PlaceEffect{Kind: id.Kind, KRI: id.KRI(g.section), Section: g.section}, e.t.traced(g.entries, compareOutbound))
		}
	}
	return places
}

// add appends the place with those of its fields that the policy gives a value, if there are any.
func (e *Effects) add(places []PlaceEffect, place PlaceEffect, fields []Field) []PlaceEffect {
	place.Wins, place.Masked = []Win{}, []Masked{}
	for _, f := range fields {
		if f.Origin.KRI == e.kri {
			place.List = f.Origin.List
			place.Wins = append(place.Wins, Win{Item: f.Origin.Item, Path: f.Path, Value: f.Value})
		}
		for _, l := range f.Losers {
			if l.Origin.KRI == e.kri {
				place.List = l.Origin.List
				path := f.Path
				if l.Path != "" {
					path += "." + l.Path
				}
				place.Masked = append(place.Masked, Masked{Item: l.Origin.Item, Path: path, Value: l.Value, By: l.By, Winner: f.Origin})
			}
		}
	}
	if len(place.Wins)+len(place.Masked) == 0 {
		return places
	}
	return append(places, place)
}

// PolicyInForce is one policy that configures a proxy. For example:
//
//	{"type": "MeshTimeout", "kri": "kri_mt_default_east_first_consumer-timeout_", "name": "consumer-timeout",
//	 "namespace": "first", "zone": "east", "role": "consumer", "targetRef": {"kind": "Mesh"}, "by": "role",
//	 "because": "a consumer policy reaches the proxies of its namespace first in zone east; Mesh selects all of them",
//	 "inbounds": [{"name": "http", "port": 8080, "tags": {"kuma.io/service": "web"}}]}
type PolicyInForce struct {
	Type      string    `json:"type"`
	KRI       string    `json:"kri"`
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	Zone      string    `json:"zone"`
	Role      string    `json:"role"`
	TargetRef TargetRef `json:"targetRef"`
	// By is what makes it stronger than the one before it in the list; "" of the first of its type.
	By Comparator `json:"by,omitempty"`
	// Because says in words why it configures the proxy.
	Because string `json:"because"`
	// Inbounds are those that its top-level targetRef selects, ascending by port. What it says about outbound traffic
	// is in force whichever they are. Empty of a delegated gateway.
	Inbounds []Inbound `json:"inbounds"`
}

// Policies returns the policies that configure a proxy, in the order of Types, and within a type weakest first: as whole
// policies, by top-level kind, origin, role and name. Where they meet, the order of Effective decides, which also asks
// for the kind and section of a `to` item. Of the filter only Kind counts. The result is not nil.
func Policies(in Input, f Filter) []PolicyInForce {
	in = in.prepared()
	all := []PolicyInForce{}
	for _, t := range f.types() {
		m := matched(in, t)
		for i, p := range m.Policies {
			id := p.Identity()
			one := PolicyInForce{
				Type: p.Kind, KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone, Role: p.Role(),
				TargetRef: p.Target, Because: because(p, in.site), Inbounds: []Inbound{},
			}
			if i > 0 {
				one.By = decidedBy(compareLegacy, Entry{Policy: p}, Entry{Policy: m.Policies[i-1]})
			}
			for _, l := range in.site.byPort() {
				if slices.Contains(m.Inbound[l], p) {
					one.Inbounds = append(one.Inbounds, in.site.listeners[l].shown)
				}
			}
			all = append(all, one)
		}
	}
	return all
}

// because says why a policy that configures a proxy does.
func because(p *Policy, px *Site) string {
	whom := "reaches all proxies"
	switch {
	case p.reach.bound && p.reach.zone != "":
		whom = fmt.Sprintf("reaches the proxies of its namespace %s in zone %s", p.reach.namespace, p.reach.zone)
	case p.reach.bound:
		whom = "reaches the proxies of its namespace " + p.reach.namespace
	case p.reach.zone != "":
		whom = "reaches the proxies of its zone " + p.reach.zone
	}
	what := string(p.Target.Kind) + " selects "
	switch ref := p.Target; ref.Kind {
	case kindMesh:
		what += "all of them"
		if len(ref.ProxyTypes) > 0 {
			what += " that are of type " + string(px.kind)
		}
	case kindSubset, kindService, kindServiceSet:
		var tags []string
		for _, t := range p.tags.tags {
			tags = append(tags, t.key+"="+t.value)
		}
		what += "those with the tags " + strings.Join(tags, ", ")
	case kindDataplane:
		switch {
		case ref.Name != "" && px.identity == identityOf(p, ref):
			what += "it by its name " + ref.Name
		case len(ref.Labels) > 0:
			what += "those with its labels"
		default:
			what += "all of them"
		}
		if ref.SectionName != "" {
			what += ", and of these the inbound " + ref.SectionName
		}
	case kindGateway:
		what += "those that serve " + ref.Name
	case kindHTTPRoute:
		what += "those that the route " + ref.Name + " selects"
	}
	return fmt.Sprintf("a %s policy %s; %s", p.Role(), whom, what)
}
