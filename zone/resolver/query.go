package resolver

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// NotFoundError says what a question asked for in vain. It wraps resource.ErrNotFound.
type NotFoundError struct {
	Key resource.Key // as it was asked for; Kind says what is missing: Mesh, Dataplane, or the kind of a policy or service
	// Matches are the KRIs of the resources that have this display name, if it is more than one.
	Matches []string
}

// Error names the key, and what it might mean.
func (e *NotFoundError) Error() string {
	if len(e.Matches) > 0 {
		return fmt.Sprintf("%s: %v; the name could mean %s", e.Key, resource.ErrNotFound, strings.Join(e.Matches, ", "))
	}
	return fmt.Sprintf("%s: %v", e.Key, resource.ErrNotFound)
}

// Unwrap returns resource.ErrNotFound.
func (e *NotFoundError) Unwrap() error { return resource.ErrNotFound }

// Rules returns what is in force on a proxy, in the form of Kuma's _rules.
//
// name is the storage name of the Dataplane, its KRI, or the name or name.namespace that its author gave, if no other
// Dataplane of the mesh has the same.
//
// Errors: *NotFoundError for the Mesh or the Dataplane; what the store says.
func (r *Resolver) Rules(ctx context.Context, mesh, name string) (policy.Answer, error) {
	var answer policy.Answer
	err := r.read(ctx, func(_ resource.Revision, m meshes) error {
		in, err := m.input(mesh, name)
		if err == nil {
			answer = policy.Rules(in)
		}
		return err
	})
	return answer, err
}

// EffectiveAnswer is what is in force on one proxy, field by field. No list is nil.
type EffectiveAnswer struct {
	Revision     resource.Revision      `json:"revision"` // of the zone's store
	Dataplane    Dataplane              `json:"dataplane"`
	Destinations []policy.EffectiveTo   `json:"destinations"`
	Inbounds     []policy.EffectiveFrom `json:"inbounds"`
}

// Dataplane names the proxy of an answer.
type Dataplane struct {
	KRI       string `json:"kri"`
	Name      string `json:"name"` // the name that its author gave
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
}

// Effective returns what is in force on a proxy, and who decided it. name is as for Rules.
//
// Errors: *NotFoundError for the Mesh, the Dataplane, or the destination of the filter; *resource.InvalidError for a
// kind in the filter that is no policy that is resolved; what the store says.
func (r *Resolver) Effective(ctx context.Context, mesh, name string, f policy.Filter) (EffectiveAnswer, error) {
	var answer EffectiveAnswer
	if err := checkKind(f.Kind); err != nil {
		return answer, err
	}
	err := r.read(ctx, func(rev resource.Revision, m meshes) error {
		in, err := m.input(mesh, name)
		if err != nil {
			return err
		}
		id := in.Proxy.Identity()
		answer = EffectiveAnswer{
			Revision:  rev,
			Dataplane: Dataplane{KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone},
		}
		answer.Destinations, answer.Inbounds = policy.Effective(in, f)
		if f.To != "" && len(answer.Destinations) == 0 {
			return &NotFoundError{Key: resource.Key{Kind: "MeshService", Mesh: mesh, Name: f.To}}
		}
		return nil
	})
	return answer, err
}

func checkKind(kind string) error {
	if _, ok := policy.LookupType(kind); ok || kind == "" {
		return nil
	}
	known := make([]string, len(policy.Types))
	for i, t := range policy.Types {
		known[i] = t.Kind
	}
	reason := fmt.Sprintf("found %q, want one of %s", kind, strings.Join(known, ", "))
	if near := resource.Nearest(kind, known); near != "" {
		reason += "; did you mean " + near + "?"
	}
	return &resource.InvalidError{Violations: []resource.Violation{{Field: "type", Reason: reason}}}
}

// Matching returns the Dataplanes that a policy configures, or that a MeshService selects, ascending by name. Shadow
// policies match like others. name is as for Rules.
//
// Errors: *NotFoundError for the Mesh or the resource (also of a kind that is never resolved); what the store says.
func (r *Resolver) Matching(ctx context.Context, kind, mesh, name string) ([]resource.Resource, error) {
	var found []resource.Resource
	err := r.read(ctx, func(_ resource.Revision, m meshes) error {
		ix, err := m.existing(mesh)
		if err != nil {
			return err
		}
		matches, err := ix.matcher(resource.Key{Kind: kind, Mesh: mesh, Name: name})
		if err != nil {
			return err
		}
		for _, n := range slices.Sorted(maps.Keys(ix.proxies)) {
			if px := ix.proxies[n]; matches(px) {
				found = append(found, px.Resource)
			}
		}
		return nil
	})
	return found, err
}

// matcher returns the test whether a policy or a MeshService selects a proxy.
func (ix *index) matcher(key resource.Key) (func(*policy.Proxy) bool, error) {
	if key.Kind == "MeshService" {
		s, ok := ix.services[key.Name]
		if !ok {
			var err error
			if s, err = named(key, maps.Values(ix.services), func(s service) resource.Resource { return s.Resource }); err != nil {
				return nil, err
			}
		}
		return func(px *policy.Proxy) bool { return px.Selected(s.spec) }, nil
	}
	list := ix.policies[key.Kind]
	i, ok := findPolicy(list, key.Name)
	if !ok {
		p, err := named(key, slices.Values(list), func(p *policy.Policy) resource.Resource { return p.Resource })
		if err != nil {
			return nil, err
		}
		return func(px *policy.Proxy) bool { return policy.Matches(p, px) }, nil
	}
	return func(px *policy.Proxy) bool { return policy.Matches(list[i], px) }, nil
}

// existing returns the index of a mesh whose Mesh is stored.
func (m meshes) existing(mesh string) (*index, error) {
	if ix := m.byName[mesh]; ix != nil && ix.mesh != nil {
		return ix, nil
	}
	return nil, &NotFoundError{Key: resource.Key{Kind: "Mesh", Name: mesh}}
}

func (m meshes) input(mesh, name string) (policy.Input, error) {
	ix, err := m.existing(mesh)
	if err != nil {
		return policy.Input{}, err
	}
	px := ix.proxies[name]
	if px == nil {
		key := resource.Key{Kind: "Dataplane", Mesh: mesh, Name: name}
		px, err = named(key, maps.Values(ix.proxies), func(px *policy.Proxy) resource.Resource { return px.Resource })
		if err != nil {
			return policy.Input{}, err
		}
	}
	return policy.Input{Mesh: ix.mesh, Proxy: px, Policies: ix.policies, Destinations: ix.destinations}, nil
}

// named returns the one of all that key.Name stands for, when it is no storage name: a KRI, or the display name, alone
// or with the namespace.
func named[T any](key resource.Key, all iter.Seq[T], of func(T) resource.Resource) (T, error) {
	var found T
	var matches []string
	id, _, err := resource.ParseKRI(key.Name)
	for v := range all {
		switch got := of(v).Identity(); {
		case err == nil && got == id, got.Name == key.Name, got.Name+"."+got.Namespace == key.Name:
			found = v
			matches = append(matches, got.KRI(""))
		}
	}
	if len(matches) == 1 {
		return found, nil
	}
	slices.Sort(matches)
	var none T
	return none, &NotFoundError{Key: key, Matches: matches}
}
