package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// Mesh is a Mesh, parsed.
type Mesh struct {
	resource.Resource
	Exclusive bool // traffic goes to MeshServices alone: rules by tag are not in force
	dest      *Destination
}

// ParseMesh returns the mesh that r describes.
func ParseMesh(r resource.Resource) (*Mesh, error) {
	m, err := resource.Spec[*meshv1.Mesh](r)
	if err != nil {
		return nil, err
	}
	return &Mesh{
		Resource:  r,
		Exclusive: m.GetMeshServices().GetMode() == meshv1.Mesh_MeshServices_Exclusive,
		dest:      &Destination{Resource: r, identity: resource.Identity{Kind: r.Kind, Name: r.Display()}, meta: metaOf(r)},
	}, nil
}

// Destination is what a `to` targetRef can name: a MeshService, a MeshMultiZoneService, a MeshExternalService, or the
// Mesh itself. It is immutable.
type Destination struct {
	resource.Resource
	identity resource.Identity
	ports    []port
	meta     Meta
}

type port struct {
	Name string `json:"name"`
	Port uint32 `json:"port"`
}

// section is the name by which a rule knows the port.
func (p port) section() string { return cmp.Or(p.Name, strconv.FormatUint(uint64(p.Port), 10)) }

// DestinationKinds are the kinds that Destinations holds.
var DestinationKinds = []string{kindExternal, kindMultiZone, kindService}

// ParseDestination returns the destination that a resource of one of DestinationKinds describes.
func ParseDestination(r resource.Resource) (*Destination, error) {
	d := &Destination{Resource: r, identity: r.Identity(), meta: metaOf(r)}
	if r.Kind == kindExternal {
		return d, nil // one port, that no section names
	}
	var spec struct {
		Ports []port `json:"ports"`
	}
	if err := decode(r.Spec, &spec); err != nil {
		return nil, fmt.Errorf("parse %s: %w", r.Key, err)
	}
	d.ports = spec.Ports
	return d, nil
}

// Destinations is the index of the services of one mesh. It is not safe for concurrent use with Put and Delete.
type Destinations struct {
	byKey      map[resource.Key]*Destination
	byKind     map[string][]*Destination
	byIdentity map[resource.Identity][]*Destination
	byLabel    map[label][]*Destination
}

type label struct{ kind, key, value string }

// NewDestinations returns an empty index.
func NewDestinations() *Destinations {
	return &Destinations{
		byKey:      map[resource.Key]*Destination{},
		byKind:     map[string][]*Destination{},
		byIdentity: map[resource.Identity][]*Destination{},
		byLabel:    map[label][]*Destination{},
	}
}

// Put adds d, in place of the one under its key. Every list stays ascending by name; the cost is that of moving the
// rest of the longest one.
func (ds *Destinations) Put(d *Destination) {
	ds.Delete(d.Key)
	ds.byKey[d.Key] = d
	ds.byKind[d.Kind] = insert(ds.byKind[d.Kind], d)
	ds.byIdentity[d.identity] = insert(ds.byIdentity[d.identity], d)
	for k, v := range d.Labels {
		l := label{d.Kind, k, v}
		ds.byLabel[l] = insert(ds.byLabel[l], d)
	}
}

// Delete removes the destination under key, if there is one.
func (ds *Destinations) Delete(key resource.Key) {
	d := ds.byKey[key]
	if d == nil {
		return
	}
	delete(ds.byKey, key)
	remove(ds.byKind, d.Kind, d)
	remove(ds.byIdentity, d.identity, d)
	for k, v := range d.Labels {
		remove(ds.byLabel, label{d.Kind, k, v}, d)
	}
}

func find(list []*Destination, d *Destination) (int, bool) {
	return slices.BinarySearchFunc(list, d, func(a, b *Destination) int { return cmp.Compare(a.Name, b.Name) })
}

func insert(list []*Destination, d *Destination) []*Destination {
	i, _ := find(list, d)
	return slices.Insert(list, i, d)
}

func remove[K comparable](lists map[K][]*Destination, key K, d *Destination) {
	list := lists[key]
	if i, ok := find(list, d); ok {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == 0 {
		delete(lists, key)
	} else {
		lists[key] = list
	}
}

// Len returns how many destinations there are.
func (ds *Destinations) Len() int { return len(ds.byKey) }

// Services returns the MeshServices, ascending by zone, namespace and name.
func (ds *Destinations) Services() []*Destination {
	services := slices.Clone(ds.byKind[kindService])
	slices.SortFunc(services, func(a, b *Destination) int {
		return cmp.Or(
			cmp.Compare(a.identity.Zone, b.identity.Zone),
			cmp.Compare(a.identity.Namespace, b.identity.Namespace),
			cmp.Compare(a.identity.Name, b.identity.Name),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return services
}

// target is what a targetRef resolves to: a destination, or the part of it that section names.
type target struct {
	dest    *Destination
	section string
}

// identityOf returns the identity that a name in a policy means: of the policy's own mesh and zone, and of its
// namespace unless the targetRef has one.
func identityOf(p *Policy, ref TargetRef) resource.Identity {
	return resource.Identity{
		Kind: string(ref.Kind), Mesh: p.Mesh, Zone: p.Zone(),
		Namespace: cmp.Or(ref.Namespace, p.Namespace()), Name: ref.Name,
	}
}

// resolve returns what a `to` targetRef of p means, ascending by name.
//
// A name means one resource; labels mean every resource of the kind that has them, in all zones and namespaces,
// whoever wrote the policy. A MeshService name of the form name_namespace_svc_port is read as labels and a port.
func (ds *Destinations) resolve(p *Policy, ref TargetRef) []target {
	var (
		found   []*Destination
		wanted  = ref.Labels
		portNum uint32
	)
	if name, namespace, n, ok := legacyName(ref.Name); ok && ref.Kind == kindService && ref.SectionName == "" {
		wanted = map[string]string{resource.LabelNamespace: namespace, resource.LabelDisplayName: name}
		portNum = n
	}
	if len(wanted) > 0 {
		found = ds.withLabels(string(ref.Kind), wanted)
	} else if same := ds.byIdentity[identityOf(p, ref)]; len(same) > 0 {
		found = same[:1]
	}
	targets := make([]target, 0, len(found))
	for _, d := range found {
		if section, ok := d.section(portNum, ref.SectionName); ok {
			targets = append(targets, target{d, section})
		}
	}
	return targets
}

// withLabels returns the resources of kind that have all of wanted, which is not empty.
func (ds *Destinations) withLabels(kind string, wanted map[string]string) []*Destination {
	var rarest []*Destination
	first := true
	for k, v := range wanted {
		if list := ds.byLabel[label{kind, k, v}]; first || len(list) < len(rarest) {
			rarest, first = list, false
		}
	}
	if len(wanted) == 1 {
		return rarest
	}
	var all []*Destination
	for _, d := range rarest {
		if hasLabels(wanted, d.Labels) {
			all = append(all, d)
		}
	}
	return all
}

// section returns the section that a port number or a section name means, "" for the whole of d. A port that has a
// name is not found by its number written as a section. ok is false if d has no such port.
func (d *Destination) section(portNum uint32, name string) (section string, ok bool) {
	switch {
	case d.Kind == kindExternal, portNum == 0 && name == "":
		return "", true
	case portNum != 0:
		i := slices.IndexFunc(d.ports, func(p port) bool { return p.Port == portNum })
		if i < 0 {
			return "", false
		}
		return d.ports[i].section(), true
	}
	asNumber, numeric := number(name)
	i := slices.IndexFunc(d.ports, func(p port) bool {
		return p.Name == name || p.Name == "" && numeric && p.Port == asNumber
	})
	if i < 0 {
		return "", false
	}
	return d.ports[i].section(), true
}
