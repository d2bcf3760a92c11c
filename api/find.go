package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// maxNearest is how many resources a 404 names.
const maxNearest = 3

// find returns the resource of kind d that word names in mesh: by its storage name, by its KRI, or by the name its
// author gave (with or without .namespace) if only one resource has it. Cost: one read for a storage name, otherwise a
// scan of the kind.
//
// Errors: resource.ErrNotFound, saying which names are near and where they live, or which resources share the name; or
// that there is no such mesh.
func (s *server) find(ctx context.Context, d resource.Descriptor, mesh, word string) (resource.Resource, error) {
	r, err := s.Store.Get(ctx, resource.Key{Kind: d.Kind, Mesh: mesh, Name: word})
	if !errors.Is(err, resource.ErrNotFound) {
		return r, err
	}
	if d.Scope == resource.ScopeMesh {
		if err := s.requireMesh(ctx, mesh); err != nil {
			return resource.Resource{}, err
		}
	}
	id, _, kriErr := resource.ParseKRI(word)
	var found, others []resource.Resource
	err = s.Store.View(ctx, d.Kind, func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			switch {
			case err != nil:
				return err
			case r.Mesh == mesh && (kriErr == nil && r.Identity() == id || goesBy(r, word)):
				found = append(found, r)
			default:
				others = append(others, r)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return resource.Resource{}, err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return resource.Resource{}, &failure{err: resource.ErrNotFound, detail: fmt.Sprintf(
			"Not found: %q is the name of %d resources; say which: %s", word, len(found), join(found, mesh))}
	}
	detail := "Not found"
	if near := nearest(others, mesh, word); len(near) > 0 {
		detail += "; nearest: " + join(near, mesh)
	}
	return resource.Resource{}, &failure{err: resource.ErrNotFound, detail: detail}
}

// goesBy says whether word is the name that r's author gave it, with or without the namespace.
func goesBy(r resource.Resource, word string) bool {
	return r.Display() == word || r.Namespace() != "" && resource.StorageName(r.Display(), r.Namespace()) == word
}

// nearest returns the resources that word may have meant: those of that very name in other meshes, or else those of
// the nearest name in this mesh.
func nearest(others []resource.Resource, mesh, word string) []resource.Resource {
	if i := slices.IndexFunc(others, func(r resource.Resource) bool { return goesBy(r, word) }); i >= 0 {
		return slices.DeleteFunc(others, func(r resource.Resource) bool { return !goesBy(r, word) })
	}
	var names []string
	for _, r := range others {
		if r.Mesh == mesh {
			names = append(names, r.Display())
		}
	}
	name := resource.Nearest(word, names)
	if name == "" {
		return nil
	}
	return slices.DeleteFunc(others, func(r resource.Resource) bool { return r.Mesh != mesh || r.Display() != name })
}

// join returns the first few resources as people know them: x (namespace "shop", zone "east", kri_mt_…).
func join(rs []resource.Resource, mesh string) string {
	var words []string
	for i, r := range rs {
		if i == maxNearest {
			words = append(words, fmt.Sprintf("and %d more", len(rs)-i))
			break
		}
		var where []string
		if r.Mesh != mesh {
			where = append(where, fmt.Sprintf("mesh %q", r.Mesh))
		}
		if r.Namespace() != "" {
			where = append(where, fmt.Sprintf("namespace %q", r.Namespace()))
		}
		if r.Zone() != "" {
			where = append(where, fmt.Sprintf("zone %q", r.Zone()))
		}
		where = append(where, r.Identity().String())
		words = append(words, fmt.Sprintf("%q (%s)", r.Display(), strings.Join(where, ", ")))
	}
	return strings.Join(words, ", ")
}

// requireMesh fails with Kuma's words if there is no such mesh.
func (s *server) requireMesh(ctx context.Context, mesh string) error {
	_, err := s.Store.Get(ctx, resource.Key{Kind: "Mesh", Name: mesh})
	if errors.Is(err, resource.ErrNotFound) {
		return &failure{title: titleMesh, detail: "Not found", err: err}
	}
	return err
}
