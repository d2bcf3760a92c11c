package policy

import (
	"fmt"
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// selection is what the top-level targetRef of a policy selects on one proxy.
type selection struct {
	listeners []int // indexes into Proxy.listeners, each once
	delegated bool  // a gateway without listeners of ours: only its outbound traffic is configured
}

func (s selection) any() bool { return len(s.listeners) > 0 || s.delegated }

// Matches says whether p configures the proxy. Shadow policies match like others.
func Matches(p *Policy, px *Proxy) bool {
	s, err := match(p, px)
	return err == nil && s.any()
}

// match returns what p selects on the proxy. The error says why its targetRef could not be resolved; it goes into the
// warnings of an answer.
func match(p *Policy, px *Proxy) (selection, error) {
	if !p.reach.covers(px.Labels) {
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
		return selection{}, nil // the listeners of a builtin gateway are not resolved
	case kindHTTPRoute:
		return selection{}, fmt.Errorf("couldn't resolve MeshHTTPRoute targetRef with name '%s'", ref.Name)
	}
	return selection{}, fmt.Errorf("unsupported targetRef kind '%s'", ref.Kind)
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

// covers says whether a proxy with these labels is in reach. (They are the proxy's, or those of the MeshGateway that it
// serves.) The gate on zones is closed only against proxies that carry an origin: one without was never synced, so it
// is of this zone.
func (to reach) covers(labels map[string]string) bool {
	if to.zone != "" {
		switch labels[resource.LabelOrigin] {
		case "", resource.OriginGlobal:
		case resource.OriginZone:
			if z := labels[resource.LabelZone]; z != "" && z != to.zone {
				return false
			}
		default:
			return false
		}
	}
	return !to.bound || to.namespace != "" && labels[resource.LabelNamespace] == to.namespace
}

// selectTags selects the inbounds that have all of the tags, each inbound on its own, and a delegated gateway by its
// tags.
func (px *Proxy) selectTags(tags []tag, proxyTypes []ProxyType) selection {
	if len(proxyTypes) > 0 && !slices.Contains(proxyTypes, px.kind) {
		return selection{}
	}
	return selection{
		listeners: px.selectInbounds(func(in inbound) bool { return selects(tags, in.tags) }),
		delegated: px.delegated && selects(tags, px.gateway),
	}
}

// selectDataplane selects inbounds of the proxy that a targetRef of kind Dataplane names. A delegated gateway has none.
//
// A name means the Dataplane of the policy's own zone, and of its namespace unless the targetRef has one: a policy of
// the global control plane has no zone, so it reaches the proxies of a zone only by labels.
func (px *Proxy) selectDataplane(p *Policy) selection {
	ref := p.Target
	switch all := ref.Name == "" && ref.Namespace == "" && ref.Labels == nil; {
	case all:
	case ref.Name != "" && px.identity == identityOf(p, ref):
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
	taken := make([]bool, len(px.listeners))
	for _, in := range px.inbounds {
		if in.listener >= 0 && !taken[in.listener] && ok(in) {
			taken[in.listener] = true
			chosen = append(chosen, in.listener)
		}
	}
	return chosen
}
