package sim

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// A key is how a scenario calls a resource: zone/namespace/name, without what it has not, "global" for no zone, and with @mesh at the end
// if it is in another mesh than that of the scenario, which is home below, default if it is empty. Names have neither a slash nor an @.

// globalPlane is what the global control plane is called where zones are called by their names.
const globalPlane = "global"

// keyOf returns the key of a resource that was written on a plane. The system namespace is left out, as it is on Universal.
func keyOf(home string, id resource.Identity) string {
	home = cmp.Or(home, resource.DefaultMesh)
	key := planeName(id.Zone)
	if id.Namespace != "" && id.Namespace != resource.SystemNamespace {
		key += "/" + id.Namespace
	}
	key += "/" + id.Name
	if id.Mesh != "" && id.Mesh != home {
		key += "@" + id.Mesh
	}
	return key
}

// keyOn returns the key of a resource that was written on a plane, whatever its labels say.
func keyOn(home, plane string, r resource.Resource) string {
	return keyOf(home, resource.Identity{Mesh: r.Mesh, Zone: plane, Namespace: r.Namespace(), Name: r.Display()})
}

// canonical returns a key as keyOf writes it: without the mesh if that is home.
func canonical(home, key string) string {
	return strings.TrimSuffix(key, "@"+cmp.Or(home, resource.DefaultMesh))
}

// meant returns which of some keys a key means: itself, or, if it has no mesh and home has no such resource, the one of another mesh.
// several are the keys that it could mean if there is more than one; without either there is none.
func meant(home, key string, keys []string) (found string, several []string) {
	key = canonical(home, key)
	if slices.Contains(keys, key) {
		return key, nil
	}
	for _, k := range keys {
		if bare, mesh, _ := strings.Cut(k, "@"); mesh != "" && bare == key && !slices.Contains(several, k) {
			several = append(several, k)
		}
	}
	if len(several) == 1 {
		return several[0], nil
	}
	slices.Sort(several)
	return "", several
}

// ambiguous says that a key names resources of several meshes.
func ambiguous(key string, several []string) string {
	return fmt.Sprintf("%q is in several meshes, write one of %s", key, strings.Join(several, ", "))
}

// meantPattern is meant for patterns: it returns the pattern with the mesh that it is about. One without a mesh is about home, or about
// the only other mesh in which it names something.
func meantPattern(home, pattern string, keys []string) (found string, several []string) {
	pattern = canonical(home, pattern)
	for _, key := range keys {
		if matchesPattern(home, pattern, key) {
			return pattern, nil
		}
		bare, mesh, _ := strings.Cut(key, "@")
		if with := pattern + "@" + mesh; mesh != "" && !strings.Contains(pattern, "@") && matchesPath(pattern, bare) && !slices.Contains(several, with) {
			several = append(several, with)
		}
	}
	if len(several) == 1 {
		return several[0], nil
	}
	slices.Sort(several)
	return "", several
}

// everywhere is the pattern of every proxy.
const everywhere = "*/**@*"

// matchesPattern says whether a key is of the form of a pattern, in which * is any text without a slash, and a last /** everything. The
// mesh, which is home if there is none, is compared for itself.
func matchesPattern(home, pattern, key string) bool {
	home = cmp.Or(home, resource.DefaultMesh)
	wantBare, wantMesh, ok := strings.Cut(pattern, "@")
	if !ok {
		wantMesh = home
	}
	bare, mesh, ok := strings.Cut(key, "@")
	if !ok {
		mesh = home
	}
	if wantMesh != mesh {
		if ok, _ := path.Match(wantMesh, mesh); !ok {
			return false
		}
	}
	return matchesPath(wantBare, bare)
}

func matchesPath(pattern, key string) bool {
	if before, ok := strings.CutSuffix(pattern, "/**"); ok {
		for rest := key; ; {
			i := strings.LastIndexByte(rest, '/')
			if i < 0 {
				return false
			}
			rest = rest[:i]
			if ok, _ := path.Match(before, rest); ok {
				return true
			}
		}
	}
	ok, _ := path.Match(pattern, key)
	return ok
}
