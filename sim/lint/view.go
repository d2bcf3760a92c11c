package lint

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// view is everything that one control plane has: its own documents, and what has come from others.
type view struct {
	site      *site
	resources []arrived // ascending by key
	resolver  *resolver.Resolver
	surveys   map[string]resolver.Survey // by mesh
	at        map[*doc]int               // index in resources
	// count is how many there are of a kind in a mesh.
	count map[meshKind]int
	// proxies is how many proxies a namespace of a mesh has, of those of this zone.
	proxies map[meshKind]int
}

type meshKind struct{ mesh, kind string }

// arrived is a document as one plane has it.
type arrived struct {
	resource.Resource
	doc *doc // nil: the plane has made it itself
}

// spread makes the view of each plane. What would be refused on arrival is left out, as the receiver does.
func (l *linter) spread() {
	global := scope.Peer{Zones: map[string]bool{}}
	for _, s := range l.sites {
		s.view = &view{site: s, surveys: map[string]resolver.Survey{}, at: map[*doc]int{}, count: map[meshKind]int{}, proxies: map[meshKind]int{}}
		if s.plane.Zone != "" {
			global.Zones[s.plane.Zone] = true
		}
		for _, d := range s.docs {
			s.view.resources = append(s.view.resources, arrived{d.stored, d})
			if enabled, err := resource.ZoneEnabled(d.stored); d.stored.Kind == "Zone" && err == nil && !enabled {
				global.Zones[d.stored.Name] = false
			}
		}
	}
	if l.federated {
		for _, s := range l.sites {
			for _, d := range s.docs {
				l.carry(s, d, global)
			}
		}
	}
	for _, s := range l.sites {
		s.view.seal()
	}
}

// peer is the plane as one end of a stream.
func (s *site) peer() scope.Peer {
	return scope.Peer{Zone: s.plane.Zone, Features: scope.ParseFeatures(scope.Announced)}
}

// carry brings a document of s to every plane that gets it.
func (l *linter) carry(s *site, d *doc, global scope.Peer) {
	on := d.stored
	if s.plane.Zone != "" {
		if send, _ := scope.Decide(on, s.peer(), global); !send {
			return
		}
		var err error
		if on, err = kds.Carry(on, s.peer(), global); err != nil {
			return
		}
	}
	subject := scope.Inspect(on)
	for _, to := range l.sites {
		if to == s {
			continue
		}
		if to.plane.Zone == "" {
			to.view.resources = append(to.view.resources, arrived{on, d})
		} else if send, _ := subject.Decide(global, to.peer()); send {
			if r, err := kds.Carry(on, global, to.peer()); err == nil {
				to.view.resources = append(to.view.resources, arrived{r, d})
			}
		}
	}
}

// seal adds what a plane makes for itself, and opens the resolver.
func (v *view) seal() {
	if !slices.ContainsFunc(v.resources, func(a arrived) bool { return a.Kind == "Mesh" && a.Name == resource.DefaultMesh }) {
		mesh := resource.Resource{Key: resource.Key{Kind: "Mesh", Name: resource.DefaultMesh}, Spec: []byte{}}
		v.resources = append(v.resources, arrived{mesh, nil})
	}
	slices.SortStableFunc(v.resources, func(a, b arrived) int { return a.Key.Compare(b.Key) })
	for i := range v.resources {
		a := &v.resources[i]
		a.Version = 1
		v.at[a.doc] = i
		v.count[meshKind{a.Mesh, a.Kind}]++
		if a.Kind == "Dataplane" && a.doc != nil && a.doc.site == v.site {
			v.proxies[meshKind{a.Mesh, a.Namespace()}]++
		}
	}
	v.resolver = resolver.New(resolver.Config{Source: v})
}

// answer asks what the policies of each mesh come to here.
func (v *view) answer(ctx context.Context) {
	for _, a := range v.resources {
		if a.Kind != "Mesh" {
			continue
		}
		if survey, err := v.resolver.Survey(ctx, a.Name); err == nil { // else the Mesh does not parse: another finding says so
			v.surveys[a.Name] = survey
		}
	}
}

// meshes returns the names of the meshes, ascending.
func (v *view) meshes() []string { return slices.Sorted(maps.Keys(v.surveys)) }

// unresolved returns which references of a policy find nothing here; ok is false if the policy is not here.
func (v *view) unresolved(d *doc) (missing []resource.Warning, ok bool) {
	i, ok := v.at[d]
	if !ok {
		return nil, false
	}
	survey, ok := v.surveys[d.stored.Mesh]
	return survey.Unresolved[v.resources[i].Key], ok
}

// The rest makes a view the source of a resolver: a store that never changes.

// View calls fn with everything.
func (v *view) View(_ context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	return fn(1, func(yield func(resource.Resource, error) bool) {
		for _, a := range v.resources {
			if (kind == "" || a.Kind == kind) && !yield(a.Resource, nil) {
				return
			}
		}
	})
}

// Since returns nothing.
func (v *view) Since(context.Context, string, resource.Revision) ([]resource.Change, resource.Revision, error) {
	return nil, 1, nil
}

// Advanced never fires.
func (v *view) Advanced(resource.Revision) <-chan struct{} { return nil }

// Revision is that of everything.
func (v *view) Revision() resource.Revision { return 1 }
