package policy

import (
	"errors"
	"maps"
	"slices"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// Gateway is a MeshGateway, parsed: the listeners that the proxies have which its selectors select. It is immutable.
type Gateway struct {
	resource.Resource
	selectors []gatewaySelector
	listeners []gatewayListener
	meta      Meta
}

type gatewaySelector struct {
	tags  []tag // ascending by key; "*" is any value
	exact int   // how many of them are no "*"
	all   map[string]string
}

type gatewayListener struct {
	GatewayListener
	tags map[string]string // those of the gateway, and of the listener
}

// ParseGateway returns the gateway that a MeshGateway describes.
func ParseGateway(r resource.Resource) (*Gateway, error) {
	spec, err := resource.Spec[*meshv1.MeshGateway](r)
	if err != nil {
		return nil, err
	}
	g := &Gateway{Resource: r, meta: metaOf(r)}
	for _, s := range spec.GetSelectors() {
		one := gatewaySelector{tags: tagsOf(TargetRef{Kind: kindSubset, Tags: s.GetMatch()}).tags, all: s.GetMatch()}
		for _, t := range one.tags {
			if t.value != "*" {
				one.exact++
			}
		}
		g.selectors = append(g.selectors, one)
	}
	for _, l := range spec.GetConf().GetListeners() {
		tags := maps.Clone(spec.GetTags())
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, l.GetTags())
		g.listeners = append(g.listeners, gatewayListener{GatewayListener{l.GetPort(), anyHost(l.GetHostname())}, tags})
	}
	return g, nil
}

// anyHost returns the host of a listener, "" for one that takes every host.
func anyHost(hostname string) string {
	if hostname == "*" {
		return ""
	}
	return hostname
}

// Stand returns the proxy that stands for all that serve the gateway: a builtin gateway with the tags of the first
// selector, and the metadata of the MeshGateway itself.
//
// Errors: the gateway has no selector.
func (g *Gateway) Stand() (*Proxy, error) {
	if len(g.selectors) == 0 {
		return nil, errors.New("the MeshGateway has no selector, so no proxy serves it")
	}
	tags := g.selectors[0].all
	if tags == nil {
		tags = map[string]string{}
	}
	return &Proxy{Resource: g.Resource, identity: g.Identity(), kind: ProxyGateway, gateway: tags, builtin: true, meta: g.meta}, nil
}

// near says whether a proxy may serve the gateway: one that was written in a zone is served there.
func (g *Gateway) near(px *Proxy) bool {
	if origin := g.Labels[resource.LabelOrigin]; origin == "" || origin == resource.OriginGlobal {
		return true
	}
	zone := px.Labels[resource.LabelZone]
	own := g.Labels[resource.LabelZone]
	return zone == "" || g.Labels[resource.LabelOrigin] == resource.OriginZone && (own == "" || own == zone)
}

// rank says how closely the gateway selects the proxy, by its best selector: the number of its tags, and how many of
// them ask for a value. ok is false if no selector does. A gateway without selectors selects every proxy.
func (g *Gateway) rank(px *Proxy) (tags, exact int, ok bool) {
	if len(g.selectors) == 0 {
		return 0, 0, true
	}
	for _, s := range g.selectors {
		if n := len(s.tags); px.carries(s.tags) && (!ok || n > tags || n == tags && s.exact > exact) {
			tags, exact, ok = n, s.exact, true
		}
	}
	return tags, exact, ok
}

// carries says whether one of the proxy's inbounds has all of the tags, or the proxy is a gateway that has.
func (px *Proxy) carries(tags []tag) bool {
	return px.gateway != nil && selects(tags, px.gateway) ||
		slices.ContainsFunc(px.inbounds, func(in inbound) bool { return in.listener >= 0 && selects(tags, in.tags) })
}

// served returns the gateway that a proxy serves: of those that select it the one that does so most closely; of equal
// ones the newest, and then the first. nil if there is none. gateways are ascending by name.
func served(px *Proxy, gateways []*Gateway) *Gateway {
	var best *Gateway
	var bestTags, bestExact int
	for _, g := range gateways {
		if !g.near(px) {
			continue
		}
		tags, exact, ok := g.rank(px)
		switch {
		case !ok:
		case best == nil, tags > bestTags, tags == bestTags && exact > bestExact,
			tags == bestTags && exact == bestExact && tags > 0 && g.Created.After(best.Created):
			best, bestTags, bestExact = g, tags, exact
		}
	}
	return best
}

// Site is a proxy as one question sees it: with the gateway that it serves. Not only builtin gateways serve one: Kuma
// asks nothing but the tags.
type Site struct {
	*Proxy
	serves    *Gateway   // nil if there is none
	listeners []listener // the proxy's, and then those that only the gateway has
	// of has, for each listener of the gateway, its index in listeners, and its tags with those of the proxy beneath.
	of []siteListener
	// everything is what a targetRef selects that asks for nothing.
	everything selection
}

type siteListener struct {
	listener int
	tags     map[string]string
}

func newSite(px *Proxy, gateways []*Gateway) *Site {
	s := &Site{Proxy: px, listeners: px.listeners}
	if s.serves = served(px, gateways); s.serves == nil {
		s.everything = s.withTags(nil)
		return s
	}
	s.listeners = slices.Clone(px.listeners)
	for _, l := range s.serves.listeners {
		tags := maps.Clone(px.gateway)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, l.tags)
		s.of = append(s.of, siteListener{s.listener(l.Port), tags})
	}
	s.everything = s.withTags(nil)
	return s
}

// listener returns the index of the listener at the proxy's address and a port, and adds it if need be.
func (s *Site) listener(port uint32) int {
	i := slices.IndexFunc(s.listeners, func(l listener) bool { return l.address == s.address && l.port == port })
	if i >= 0 {
		return i
	}
	s.listeners = append(s.listeners, listener{address: s.address, port: port, shown: s.shownAt(port)})
	return len(s.listeners) - 1
}

// gates returns the labels that decide whether a policy of some zone may configure the proxy: those of the gateway, if
// it serves one.
func (s *Site) gates() map[string]string {
	if s.serves != nil {
		return s.serves.Labels
	}
	return s.Labels
}

// selectServed selects listeners of the gateway by their tags.
func (s *Site) selectServed(tags []tag) []int {
	var chosen []int
	for _, l := range s.of {
		if selects(tags, l.tags) && !slices.Contains(chosen, l.listener) {
			chosen = append(chosen, l.listener)
		}
	}
	return chosen
}
