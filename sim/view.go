package sim

import (
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// Resources returns what a plane ("global", or a zone) had in its store before the first step, in key order; nil if there is no such
// plane, or no state.
func (r *Result) Resources(plane string) []resource.Resource {
	if r.state == nil {
		return nil
	}
	if plane == globalPlane {
		plane = ""
	}
	p := r.state.planes[plane]
	if p == nil {
		return nil
	}
	return slices.Clone(p.all)
}

// Planes returns who is up: global, and the zones ascending by name.
func (r *Result) Planes() []string {
	if r.state == nil {
		return nil
	}
	var names []string
	for _, name := range r.state.names {
		names = append(names, planeName(name))
	}
	return names
}

// Destination returns the KRI of the service that a key names, with the section after a colon: east/shop/kv, east/shop/kv:http. What
// is no such key stays as it is.
//
// Errors: ErrNoState; that services of several meshes have the key.
func (r *Result) Destination(key string) (string, error) {
	if r.state == nil {
		return "", ErrNoState
	}
	return r.state.destination(key)
}

// Key returns how the scenario calls a resource: see Document.Key.
func (r *Result) Key(id resource.Identity) string { return keyOf(r.home, id) }

// Forget lets go of the federation: what it was asked is kept, and questions return ErrNoState. It is for who runs many scenarios, and
// must not be called while somebody asks.
func (r *Result) Forget() { r.state = nil }
