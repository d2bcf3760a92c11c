package policy

import (
	"cmp"
	"slices"
	"strconv"
)

// GatewayListener names a listener of the MeshGateway that a builtin gateway serves. Several may have one port, each for its host.
type GatewayListener struct {
	Port     uint32 `json:"port"`
	Hostname string `json:"hostname,omitempty"` // "": every host
}

// String returns the port, after the host if there is one: 80, shop.example:443.
func (l GatewayListener) String() string {
	port := strconv.FormatUint(uint64(l.Port), 10)
	if l.Hostname == "" {
		return port
	}
	return l.Hostname + ":" + port
}

// Listeners returns the listeners of the gateway, in the order of the document.
func (g *Gateway) Listeners() []GatewayListener {
	all := make([]GatewayListener, len(g.listeners))
	for i, l := range g.listeners {
		all[i] = l.GatewayListener
	}
	return all
}

// Listeners returns those of the MeshGateway that the proxy of in serves, each once, ascending by port and host. nil: the proxy is no
// builtin gateway, or serves none.
func Listeners(in Input) []GatewayListener {
	in = in.prepared()
	var all []GatewayListener
	for _, l := range in.site.gatewayListeners() {
		all = append(all, l.GatewayListener)
	}
	slices.SortFunc(all, func(a, b GatewayListener) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Hostname, b.Hostname))
	})
	return slices.Compact(all)
}

// gatewayListeners returns the listeners of the gateway that a builtin gateway serves.
func (s *Site) gatewayListeners() []gatewayListener {
	if s.serves == nil || !s.builtin {
		return nil
	}
	return s.serves.listeners
}

// AtListener returns the input for questions about one listener of the MeshGateway that the proxy serves: the proxy with nothing but that
// listener, so that only the policies which select it have a say. word is what String writes, or else its port, or its host.
// found are the listeners that word means; ok is false if it is not one.
//
// Effective, asked about the proxy itself, puts together what is for any of its listeners.
func AtListener(in Input, word string) (at Input, found []GatewayListener, ok bool) {
	in = in.prepared()
	one := *in.site
	all := in.site.gatewayListeners()
	exact := slices.ContainsFunc(all, func(l gatewayListener) bool { return l.String() == word })
	for i, l := range all {
		name := l.GatewayListener
		if word != name.String() && (exact || word != name.Hostname && word != strconv.FormatUint(uint64(name.Port), 10)) {
			continue
		}
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
		one.of = []siteListener{{0, in.site.of[i].tags}}
		one.listeners = []listener{in.site.listeners[in.site.of[i].listener]}
	}
	if len(found) != 1 {
		return in, found, false
	}
	alone := *in.Proxy
	alone.inbounds, alone.listeners = nil, nil
	one.Proxy = &alone
	one.everything = one.withTags(nil)
	in.site, in.Memo = &one, onSite{site: &one}
	return in, found, true
}

// onSite is a Memo of a question about a part of a proxy: it remembers that part, and nothing else.
type onSite struct {
	forgetful
	site *Site
}

func (m onSite) Site(func() *Site) *Site { return m.site }
