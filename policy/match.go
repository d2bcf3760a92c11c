package policy

import (
	"fmt"
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// selection is what the top-level targetRef of a policy selects on one proxy.
type selection struct {
	listeners []int // indexes into Site.listeners, each once; read only
	delegated bool  // a gateway without listeners of ours: only its outbound traffic is configured
}

func (s selection) any() bool { return len(s.listeners) > 0 || s.delegated }

// Surroundings are the resources of a mesh that top-level targetRefs lead over, each list ascending by storage name.
type Surroundings struct {
	Gateways []*Gateway
	Routes   []*Policy // MeshHTTPRoutes, shadow ones too
}

// Matches says whether p configures the proxy. Shadow policies match like others.
//
// Only a builtin gateway serves a MeshGateway here, while in Rules every proxy does that has the tags: Kuma's answers
// differ so, too.
func Matches(p *Policy, px *Proxy, around Surroundings) bool {
	if !px.builtin {
		around.Gateways = nil
	}
	s, err := match(p, newSite(px, around.Gateways), around.Routes)
	return err == nil && s.any()
}

// match returns what p selects on the proxy. The error says why its targetRef could not be resolved; it goes into the
// warnings of an answer.
func match(p *Policy, px *Site, routes []*Policy) (selection, error) {
	if !p.reach.covers(px.gates(), px.Labels) {
		return selection{}, nil
	}
	ref := p.Target
	switch ref.Kind {
	case kindMesh, kindSubset:
		return px.selectTags(p.tags.tags, ref.ProxyTypes), nil
	case kindService, kindServiceSet:
		return px.selectTags(p.tags.tags, nil), nil
	case kindDataplane:
		return px.selectDataplane(p), nil
	case kindGateway:
		return px.selectGateway(p), nil
	case kindHTTPRoute:
		// The route is found by its display name alone; its namespace and zone do not count.
		i := slices.IndexFunc(routes, func(r *Policy) bool { return r.display == ref.Name })
		if i < 0 {
			return selection{}, fmt.Errorf("couldn't resolve MeshHTTPRoute targetRef with name '%s'", ref.Name)
		}
		return match(routes[i], px, nil) // a route that targets a route, be it itself, finds none
	}
	return selection{}, fmt.Errorf("unsupported targetRef kind '%s'", ref.Kind)
}

// everywhere says whether match returns Site.everything for p, whatever the proxy.
func (p *Policy) everywhere() bool {
	return p.Target.Kind == kindMesh && len(p.tags.tags)+len(p.Target.ProxyTypes) == 0 && p.reach == reach{}
}

// reach says which proxies a policy may configure at all, whatever its targetRef says.
//
// A producer's policy reaches every zone and namespace. Any other policy that was written in a zone reaches the proxies
// of that zone; a consumer's and a workload owner's only those of its own namespace.
type reach struct {
	zone      string // "": every zone
	namespace string
	bound     bool // to namespace; a policy that is bound and has none reaches nothing
}

func reachOf(r resource.Resource) reach {
	var to reach
	role := r.Role()
	if role == resource.RoleProducer {
		return to
	}
	if r.Origin() == resource.OriginZone {
		to.zone = r.Zone()
	}
	to.bound = role == resource.RoleConsumer || role == resource.RoleWorkloadOwner
	to.namespace = r.Namespace()
	return to
}

// covers says whether a proxy is in reach. gates are its labels, or those of the MeshGateway that it serves, and decide
// about the zone; own are its labels, and decide about the namespace. The gate on zones is closed only against what
// carries an origin: a resource without one was never synced, so it is of this zone.
func (to reach) covers(gates, own map[string]string) bool {
	if to.zone != "" {
		switch gates[resource.LabelOrigin] {
		case "", resource.OriginGlobal:
		case resource.OriginZone:
			if z := gates[resource.LabelZone]; z != "" && z != to.zone {
				return false
			}
		default:
			return false
		}
	}
	return !to.bound || to.namespace != "" && own[resource.LabelNamespace] == to.namespace
}

// selectTags selects the inbounds that have all of the tags, each inbound on its own, the listeners of a builtin gateway
// likewise, and a delegated gateway by its tags.
func (px *Site) selectTags(tags []tag, proxyTypes []ProxyType) selection {
	switch {
	case len(proxyTypes) > 0 && !slices.Contains(proxyTypes, px.kind):
		return selection{}
	case len(tags) == 0:
		return px.everything
	}
	return px.withTags(tags)
}

func (px *Site) withTags(tags []tag) selection {
	chosen := selection{
		listeners: px.selectInbounds(func(in inbound) bool { return selects(tags, in.tags) }),
		delegated: px.delegated && selects(tags, px.gateway),
	}
	for _, l := range px.selectServed(tags) {
		if !slices.Contains(chosen.listeners, l) {
			chosen.listeners = append(chosen.listeners, l)
		}
	}
	return chosen
}

// selectGateway selects listeners of the gateway that a targetRef of kind MeshGateway names, if the proxy serves it.
func (px *Site) selectGateway(p *Policy) selection {
	if px.serves == nil || !px.builtin || px.serves.Display() != p.Target.Name || px.serves.Mesh != p.Mesh {
		return selection{}
	}
	return selection{listeners: px.selectServed(p.tags.tags)}
}

// selectDataplane selects inbounds of the proxy that a targetRef of kind Dataplane names. A delegated gateway has none,
// and a proxy that serves a MeshGateway is not selected.
//
// A name means the Dataplane of the policy's own zone, and of its namespace unless the targetRef has one: a policy of
// the global control plane has no zone, so it reaches the proxies of a zone only by labels.
func (px *Site) selectDataplane(p *Policy) selection {
	ref := p.Target
	switch all := ref.Name == "" && ref.Namespace == "" && ref.Labels == nil; {
	case px.serves != nil:
		return selection{}
	case all:
	case ref.Name != "" && px.identity.Name == ref.Name && px.identity == identityOf(p, ref):
	case ref.Labels != nil && hasLabels(ref.Labels, px.Labels):
	default:
		return selection{}
	}
	return selection{listeners: px.selectInbounds(func(in inbound) bool {
		return ref.SectionName == "" || in.name == ref.SectionName
	})}
}

func (px *Proxy) selectInbounds(ok func(inbound) bool) []int {
	var chosen []int
	for _, in := range px.inbounds {
		if in.listener >= 0 && ok(in) && !slices.Contains(chosen, in.listener) {
			chosen = append(chosen, in.listener)
		}
	}
	return chosen
}
