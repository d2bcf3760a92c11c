package kds

import (
	"context"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// Vantage is the point of view of one zone: what its store holds of the resources that the global control plane's holds,
// and in which form. Vantages of one zone are equal as long as the zone understands the same. The zero value is none.
type Vantage struct {
	server   *Server
	zone     string
	features scope.Features
	levels   *scope.Levels // nil: not announced
}

// Vantage returns the point of view of a zone. One that never connected is taken to understand what zones usually do.
func (s *Server) Vantage(zone string) Vantage {
	a := s.ledger.account(zone)
	a.mu.Lock()
	defer a.mu.Unlock()
	v := Vantage{s, zone, scope.ParseFeatures(scope.Announced), a.levels}
	if a.features != nil {
		v.features = *a.features
	}
	return v
}

// Zones returns which zones there are and whether each is enabled, and a number that grows when that changes. It is at
// least as new as the store at the call. The map must not be modified.
func (v Vantage) Zones(ctx context.Context) (enabled map[string]bool, changes int, err error) {
	enabled, changes, _, err = v.server.zones.current(ctx)
	return enabled, changes, err
}

// Holds returns r, a resource of global's store, as the zone's store holds it, when everything that is to move has moved;
// ok is false if it does not hold it. enabled is from Zones.
//
// What came from the zone has the name again that the zone gave it, and everything else the labels that it arrives with:
// the origin of all of it is global, also of what another zone wrote. Global cannot know what else a zone's store has to
// tell: when a resource arrived there, and what the zone keeps to itself (kuma.io/kds-sync: disabled).
func (v Vantage) Holds(r resource.Resource, enabled map[string]bool) (_ resource.Resource, ok bool) {
	subject, to := scope.Inspect(r), scope.Peer{Zone: v.zone, Features: v.features}
	if v.levels != nil {
		to.Levels = *v.levels
	}
	if subject.From() == v.zone {
		return unmapped(r), true
	}
	if send, _ := subject.Decide(scope.Peer{Zones: enabled}, to); !send {
		return r, false
	}
	way := toZone
	if !v.features.HashedNames {
		way = toPlainZone
	}
	sent, err := mapped(r, way, "")
	if err != nil {
		return r, false // the sender leaves it out, too, and says so
	}
	d, _ := resource.LookupKind(r.Kind)
	held, err := source{zone: v.zone}.claim(sent, d)
	return held, err == nil
}

// unmapped undoes what mapped does to a resource on its way to global. On a zone without Kubernetes, a resource without a
// namespace has no display name besides its name.
func unmapped(r resource.Resource) resource.Resource {
	name := r.Display()
	if r.Namespace() == "" && r.Labels[resource.LabelEnv] != "kubernetes" {
		labels := make(map[string]string, len(r.Labels))
		for key, value := range r.Labels {
			if key != resource.LabelDisplayName {
				labels[key] = value
			}
		}
		r.Labels = labels
	}
	r.Name = resource.StorageName(name, r.Namespace())
	return r
}
