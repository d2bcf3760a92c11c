package policy

import (
	"cmp"
	"slices"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// Proxy is a Dataplane, parsed. It is immutable.
type Proxy struct {
	resource.Resource
	identity  resource.Identity
	inbounds  []inbound // every one, in the order of the document
	listeners []listener
	gateway   map[string]string // tags of networking.gateway
	kind      ProxyType
	delegated bool   // a gateway that some other software runs
	builtin   bool   // a gateway that the proxy is itself
	address   string // of the inbounds that give none
	meta      Meta
}

type inbound struct {
	listener int // index into Proxy.listeners; -1 if the inbound is ignored
	port     uint32
	name     string
	tags     map[string]string
}

// listener is one address and port that takes traffic: one or more inbounds share it.
type listener struct {
	address string
	port    uint32
	shown   Inbound
}

// Inbound is how an answer names a listener.
type Inbound struct {
	Name string            `json:"name,omitempty"`
	Port uint32            `json:"port"`
	Tags map[string]string `json:"tags"`
}

// ParseProxy returns the proxy that a Dataplane describes.
func ParseProxy(r resource.Resource) (*Proxy, error) {
	dp, err := resource.Spec[*meshv1.Dataplane](r)
	if err != nil {
		return nil, err
	}
	px := &Proxy{Resource: r, identity: r.Identity(), kind: ProxySidecar, meta: metaOf(r)}
	net := dp.GetNetworking()
	px.address = net.GetAddress()
	if gw := net.GetGateway(); gw != nil {
		px.kind, px.gateway = ProxyGateway, gw.GetTags()
		px.delegated = gw.GetType() == meshv1.Dataplane_Networking_Gateway_DELEGATED
		px.builtin = !px.delegated
	}
	for _, in := range net.GetInbound() {
		tags := in.GetTags()
		if tags == nil {
			tags = map[string]string{}
		}
		at := -1
		if in.GetState() != meshv1.Dataplane_Networking_Inbound_Ignored {
			at = px.listenerOf(cmp.Or(in.GetAddress(), px.address), in.GetPort())
		}
		px.inbounds = append(px.inbounds, inbound{listener: at, port: in.GetPort(), name: in.GetName(), tags: tags})
	}
	for i, l := range px.listeners {
		px.listeners[i].shown = px.shownAt(l.port)
	}
	return px, nil
}

// shownAt returns how answers name a listener at a port: as the first inbound that has it, on whatever address and
// ignored or not; else by the tags of the gateway.
func (px *Proxy) shownAt(port uint32) Inbound {
	for _, in := range px.inbounds {
		if in.port == port {
			return Inbound{Name: in.name, Port: port, Tags: in.tags}
		}
	}
	tags := px.gateway
	if tags == nil {
		tags = map[string]string{}
	}
	return Inbound{Port: port, Tags: tags}
}

func (px *Proxy) listenerOf(address string, port uint32) int {
	for i, l := range px.listeners {
		if l.address == address && l.port == port {
			return i
		}
	}
	px.listeners = append(px.listeners, listener{address: address, port: port})
	return len(px.listeners) - 1
}

// byPort returns the indexes of the listeners, ascending by port, then in the order of the document.
func (px *Site) byPort() []int {
	order := make([]int, len(px.listeners))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(px.listeners[a].port, px.listeners[b].port) })
	return order
}

// Selected says whether a MeshService selects the proxy: by the name of the Dataplane, or else by tags of one of its
// inbounds or of its gateway. A service without selector selects nothing.
func (px *Proxy) Selected(svc resource.MeshService) bool {
	if ref := svc.Selector.DataplaneRef; ref != nil && ref.Name != "" {
		return px.Name == ref.Name
	}
	if len(svc.Selector.DataplaneTags) == 0 {
		return false
	}
	want := tagsOf(TargetRef{Kind: kindSubset, Tags: svc.Selector.DataplaneTags}).tags
	if px.gateway != nil && selects(want, px.gateway) {
		return true
	}
	return slices.ContainsFunc(px.inbounds, func(in inbound) bool { return selects(want, in.tags) })
}
