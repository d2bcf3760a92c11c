package resolver

import (
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// meshes is the index of everything, by name of the mesh.
type meshes struct {
	byName map[string]*index
	// logged is the version of each resource that was reported as unreadable, so that it is reported once.
	logged map[resource.Key]resource.Revision
	log    hclog.Logger
}

// index is one mesh, parsed.
type index struct {
	mesh         *policy.Mesh // nil: there are resources of a mesh that does not exist
	proxies      map[string]*policy.Proxy
	policies     map[string][]*policy.Policy // by kind, ascending by name
	services     map[string]service          // MeshServices, by name
	destinations *policy.Destinations
}

// service is a MeshService and the selector of its proxies.
type service struct {
	resource.Resource
	spec resource.MeshService
}

func newMeshes(log hclog.Logger) meshes {
	return meshes{byName: map[string]*index{}, logged: map[resource.Key]resource.Revision{}, log: log}
}

func (m meshes) of(mesh string) *index {
	ix := m.byName[mesh]
	if ix == nil {
		ix = &index{
			proxies: map[string]*policy.Proxy{}, policies: map[string][]*policy.Policy{}, services: map[string]service{},
			destinations: policy.NewDestinations(),
		}
		m.byName[mesh] = ix
	}
	return ix
}

// put indexes r in place of what is under its key. One that does not parse is left out, and so is what it replaces.
func (m meshes) put(r resource.Resource) {
	var err error
	switch _, isPolicy := policy.LookupType(r.Kind); {
	case isPolicy:
		var p *policy.Policy
		if p, err = policy.Parse(r); err == nil {
			m.of(r.Mesh).putPolicy(p)
		}
	case r.Kind == "Mesh":
		var mesh *policy.Mesh
		if mesh, err = policy.ParseMesh(r); err == nil {
			m.of(r.Name).mesh = mesh
		}
	case r.Kind == "Dataplane":
		var px *policy.Proxy
		if px, err = policy.ParseProxy(r); err == nil {
			m.of(r.Mesh).proxies[r.Name] = px
		}
	case slices.Contains(policy.DestinationKinds, r.Kind):
		var d *policy.Destination
		if d, err = policy.ParseDestination(r); err != nil {
			break
		}
		if r.Kind == "MeshService" {
			var spec resource.MeshService
			if spec, err = resource.Spec[resource.MeshService](r); err != nil {
				break
			}
			m.of(r.Mesh).services[r.Name] = service{r, spec}
		}
		m.of(r.Mesh).destinations.Put(d)
	}
	if err != nil {
		m.delete(r.Key)
		if m.logged[r.Key] != r.Version {
			m.logged[r.Key] = r.Version
			m.log.Error("stored resource does not parse and is ignored", "kind", r.Kind, "mesh", r.Mesh, "name", r.Name, "err", err)
		}
	}
}

func (m meshes) delete(key resource.Key) {
	if key.Kind == "Mesh" {
		if ix := m.byName[key.Name]; ix != nil {
			ix.mesh = nil
			m.drop(key.Name, ix)
		}
		return
	}
	ix := m.byName[key.Mesh]
	if ix == nil {
		return
	}
	switch _, isPolicy := policy.LookupType(key.Kind); {
	case isPolicy:
		ix.deletePolicy(key)
	case key.Kind == "Dataplane":
		delete(ix.proxies, key.Name)
	default:
		ix.destinations.Delete(key)
		if key.Kind == "MeshService" {
			delete(ix.services, key.Name)
		}
	}
	m.drop(key.Mesh, ix)
}

// drop forgets a mesh that nothing is left of.
func (m meshes) drop(mesh string, ix *index) {
	if ix.mesh == nil && len(ix.proxies) == 0 && len(ix.policies) == 0 && ix.destinations.Len() == 0 {
		delete(m.byName, mesh)
	}
}

func findPolicy(list []*policy.Policy, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(p *policy.Policy, name string) int { return strings.Compare(p.Name, name) })
}

func (ix *index) putPolicy(p *policy.Policy) {
	list := ix.policies[p.Kind]
	if i, ok := findPolicy(list, p.Name); ok {
		list[i] = p
	} else {
		ix.policies[p.Kind] = slices.Insert(list, i, p)
	}
}

func (ix *index) deletePolicy(key resource.Key) {
	list := ix.policies[key.Kind]
	i, ok := findPolicy(list, key.Name)
	if !ok {
		return
	}
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(ix.policies, key.Kind)
	} else {
		ix.policies[key.Kind] = list
	}
}
