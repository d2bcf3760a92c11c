package lint

import (
	"context"
	"slices"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// checkReach says which policies about services of another namespace do not reach their clients: those of the system
// role stay in their zone, and those of a consumer are for the proxies of its own namespace, of which there are none.
func (l *linter) checkReach() {
	for _, d := range l.docs {
		zone := d.site.plane.Zone
		if !d.policy || zone == "" || !namesOtherNamespaces(d.stored) {
			continue
		}
		mesh := d.stored.Mesh
		switch d.stored.Role() {
		case resource.RoleSystem:
			if other, rule := l.withheld(d); rule != "" {
				l.say(d, StaysHome, "spec.to[0].targetRef",
					"the services have clients in zone %s, too, but the policy stays in zone %s: %s", other.plane.Zone, zone, rule.Explain())
			}
		case resource.RoleConsumer:
			v := d.site.view
			if v.count[meshKind{mesh, "Dataplane"}] > 0 && v.proxies[meshKind{mesh, d.stored.Namespace()}] == 0 {
				l.say(d, StaysHome, "spec.to[0].targetRef",
					"a consumer policy is for the proxies of its own namespace %s, and there are none in zone %s", d.stored.Namespace(), zone)
			}
		}
	}
}

// withheld returns a zone with proxies of the mesh that does not get d, and why; "" if there is none.
func (l *linter) withheld(d *doc) (*site, scope.RuleID) {
	if !l.federated {
		return nil, ""
	}
	global := scope.Peer{Zones: map[string]bool{}}
	for _, s := range l.sites {
		global.Zones[s.plane.Zone] = true
	}
	up, err := kds.Carry(d.stored, d.site.peer(), global)
	if err != nil {
		return nil, ""
	}
	for _, s := range l.sites {
		if s == d.site || s.plane.Zone == "" || len(s.view.proxies) == 0 {
			continue
		}
		if send, rule := scope.Decide(up, global, s.peer()); !send {
			return s, rule
		}
	}
	return nil, ""
}

// namesOtherNamespaces says whether every `to` item names a MeshService of a namespace that is not the policy's.
func namesOtherNamespaces(r resource.Resource) bool {
	p, err := policy.Parse(r)
	return err == nil && len(p.To) > 0 && !slices.ContainsFunc(p.To, func(it policy.Item) bool {
		ref := it.Target
		return ref.Kind != "MeshService" || ref.Name == "" || ref.Namespace == "" || ref.Namespace == p.Namespace()
	})
}

// checkServices says which MeshServices select no proxy, where there are proxies in the same namespace.
func (l *linter) checkServices(ctx context.Context) {
	for _, d := range l.docs {
		if d.stored.Kind != "MeshService" || d.site.plane.Zone == "" {
			continue
		}
		v := d.site.view
		spec, err := resource.Spec[resource.MeshService](d.stored)
		if err != nil || v.proxies[meshKind{d.stored.Mesh, d.stored.Namespace()}] == 0 {
			continue
		}
		if found, err := v.resolver.Matching(ctx, "MeshService", d.stored.Mesh, d.stored.Name); err == nil && len(found) == 0 {
			field, what := "spec.selector", "none of the proxies of zone %s has an inbound with these tags"
			if spec.Selector.DataplaneRef != nil {
				what = "zone %s has no such Dataplane"
			}
			l.say(d, IdleService, field, what, d.site.plane.Zone)
		}
	}
}

// checkPermissions says which proxies take no traffic because no MeshTrafficPermission is for them, in meshes with mTLS.
func (l *linter) checkPermissions() {
	secure := map[string]*doc{}
	legacy := map[string]bool{}
	some := map[string]bool{}
	for _, d := range l.docs {
		switch d.stored.Kind {
		case "Mesh":
			if m, err := resource.Spec[*meshv1.Mesh](d.stored); err == nil && m.GetMtls().GetEnabledBackend() != "" {
				secure[d.stored.Name] = d
			}
		case "TrafficPermission":
			legacy[d.stored.Mesh] = true
		case "MeshTrafficPermission":
			some[d.stored.Mesh] = true
		}
	}
	bare := map[*doc]int{} // by Mesh: proxies without any
	for _, s := range l.sites {
		if s.plane.Zone == "" {
			continue
		}
		permitted := map[string]bool{}
		for _, survey := range s.view.surveys {
			for _, g := range survey.Groups {
				if g.Type != "MeshTrafficPermission" {
					continue
				}
				for _, px := range g.Proxies {
					permitted[px.Identity().KRI("")] = true
				}
			}
		}
		for _, d := range s.docs {
			mesh := secure[d.stored.Mesh]
			if d.stored.Kind != "Dataplane" || mesh == nil || legacy[d.stored.Mesh] || permitted[d.kri] || !takesTraffic(d.stored) {
				continue
			}
			if some[d.stored.Mesh] {
				l.say(d, NoPermission, "", "the mesh %s has mTLS on, and no MeshTrafficPermission is for this proxy: it takes no traffic", d.stored.Mesh)
			} else {
				bare[mesh]++
			}
		}
	}
	for _, d := range l.docs {
		if n := bare[d]; n > 0 {
			l.say(d, NoPermission, "mtls", "mTLS is on, and the mesh has no MeshTrafficPermission: %s, which it has here, take no traffic", proxies(n))
		}
	}
}

// takesTraffic says whether a proxy has an inbound.
func takesTraffic(r resource.Resource) bool {
	dp, err := resource.Spec[*meshv1.Dataplane](r)
	return err == nil && len(dp.GetNetworking().GetInbound()) > 0
}
