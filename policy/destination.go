package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/meridian-mesh/meridian/policy/cow"
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

// shownKinds are the same, in the order in which an answer lists them.
var shownKinds = []string{kindService, kindMultiZone, kindExternal}

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

// Destinations is the index of the services of one mesh. Any number of goroutines may read it while none changes it; to
// change it beside readers, change a Clone.
type Destinations struct {
	edit       *cow.Edit
	byKey      cow.Map[resource.Key, *Destination]
	byKind     map[string]*cow.List[*Destination] // ascending by identity: the order of an answer
	byIdentity cow.Lists[resource.Identity, *Destination]
	byName     cow.Lists[string, *Destination] // the name that its author gave
	byLabel    cow.Lists[label, *Destination]
	doubles    int // how many destinations have the identity of one with a lesser name
}

type label struct{ kind, key, value string }

// NewDestinations returns an empty index.
func NewDestinations() *Destinations {
	return (&Destinations{}).Clone()
}

// Clone returns a copy that can be changed. ds must not be changed any more. Cost: none.
func (ds *Destinations) Clone() *Destinations {
	c := *ds
	c.edit, c.byKind = cow.NewEdit(), map[string]*cow.List[*Destination]{}
	for _, kind := range DestinationKinds {
		c.byKind[kind] = &cow.List[*Destination]{}
		if l := ds.byKind[kind]; l != nil {
			*c.byKind[kind] = *l
		}
	}
	return &c
}

// compareDestinations orders by storage name, and services of one storage name by kind.
func compareDestinations(a, b *Destination) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

// compareIdentity orders by zone, namespace and name.
func compareIdentity(a, b *Destination) int {
	return cmp.Or(
		cmp.Compare(a.identity.Zone, b.identity.Zone),
		cmp.Compare(a.identity.Namespace, b.identity.Namespace),
		cmp.Compare(a.identity.Name, b.identity.Name),
		cmp.Compare(a.Name, b.Name),
	)
}

// Put adds d, in place of the one under its key. Cost: that of copying the longest list that d is in, of all that have
// one of its labels.
func (ds *Destinations) Put(d *Destination) {
	ds.Delete(d.Key)
	ds.byKey.Set(ds.edit, d.Key, d)
	ds.byKind[d.Kind].Put(ds.edit, d, compareIdentity)
	if len(ds.byIdentity.Get(d.identity)) > 0 {
		ds.doubles++
	}
	ds.byIdentity.Put(ds.edit, d.identity, d, compareDestinations)
	ds.byName.Put(ds.edit, d.identity.Name, d, compareDestinations)
	for k, v := range d.Labels {
		ds.byLabel.Put(ds.edit, label{d.Kind, k, v}, d, compareDestinations)
	}
}

// Delete removes the destination under key, if there is one.
func (ds *Destinations) Delete(key resource.Key) {
	d, ok := ds.byKey.Get(key)
	if !ok {
		return
	}
	ds.byKey.Delete(ds.edit, key)
	ds.byKind[d.Kind].Delete(ds.edit, d, compareIdentity)
	if len(ds.byIdentity.Get(d.identity)) > 1 {
		ds.doubles--
	}
	ds.byIdentity.Delete(ds.edit, d.identity, d, compareDestinations)
	ds.byName.Delete(ds.edit, d.identity.Name, d, compareDestinations)
	for k, v := range d.Labels {
		ds.byLabel.Delete(ds.edit, label{d.Kind, k, v}, d, compareDestinations)
	}
}

// Get returns the destination under key, nil if there is none.
func (ds *Destinations) Get(key resource.Key) *Destination {
	d, _ := ds.byKey.Get(key)
	return d
}

// Len returns how many destinations there are.
func (ds *Destinations) Len() int { return ds.byKey.Len() }

// all returns the destinations of a kind, ascending by zone, namespace and name.
func (ds *Destinations) all(kind string) []*Destination { return ds.byKind[kind].Items() }

// called returns the destinations of any kind that word stands for, and the section that it names: a KRI, the storage
// name, or the name that the author gave, alone or as name.namespace. The order is that of answers.
func (ds *Destinations) called(mesh, word string) (found []*Destination, section string) {
	add := func(d *Destination) {
		if !slices.Contains(found, d) {
			found = append(found, d)
		}
	}
	if id, part, err := resource.ParseKRI(word); err == nil {
		section = part
		for _, d := range ds.byIdentity.Get(id) {
			add(d)
		}
	}
	for _, kind := range DestinationKinds {
		if d := ds.Get(resource.Key{Kind: kind, Mesh: mesh, Name: word}); d != nil {
			add(d)
		}
	}
	for _, d := range ds.byName.Get(word) {
		add(d)
	}
	for i, c := range word {
		if c == '.' {
			for _, d := range ds.byName.Get(word[:i]) {
				if d.identity.Namespace == word[i+1:] {
					add(d)
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b *Destination) int {
		return cmp.Or(cmp.Compare(slices.Index(shownKinds, a.Kind), slices.Index(shownKinds, b.Kind)), compareIdentity(a, b))
	})
	return found, section
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

// query is what a `to` targetRef of some policy looks for.
type query struct {
	kind    string
	labels  map[string]string // if there are any: everything that has them
	id      resource.Identity // otherwise the one resource with this identity
	port    uint32            // number of a port, 0 for none
	section string            // name of a port
}

// queryOf returns what a `to` targetRef of p means.
//
// A name means one resource; labels mean every resource of the kind that has them, in all zones and namespaces,
// whoever wrote the policy. A MeshService name of the form name_namespace_svc_port is read as labels and a port.
func queryOf(p *Policy, ref TargetRef) query {
	q := query{kind: string(ref.Kind), labels: ref.Labels, section: ref.SectionName}
	if name, namespace, n, ok := legacyName(ref.Name); ok && ref.Kind == kindService && ref.SectionName == "" {
		q.labels = map[string]string{resource.LabelNamespace: namespace, resource.LabelDisplayName: name}
		q.port = n
	}
	if len(q.labels) == 0 {
		q.id = identityOf(p, ref)
	}
	return q
}

// resolve returns what q finds, ascending by name.
func (ds *Destinations) resolve(q query) []target {
	var found []*Destination
	if len(q.labels) > 0 {
		found = ds.withLabels(q.kind, q.labels)
	} else if same := ds.byIdentity.Get(q.id); len(same) > 0 {
		found = same[:1]
	}
	targets := make([]target, 0, len(found))
	for _, d := range found {
		if section, ok := d.section(q.port, q.section); ok {
			targets = append(targets, target{d, section})
		}
	}
	return targets
}

// targets returns what q finds as rules know it. A rule is for an identity: of several resources that have the same one,
// which documents on one plane can claim, the first stands for all.
func (ds *Destinations) targets(q query) []target {
	found := ds.resolve(q)
	if ds.doubles == 0 {
		return found
	}
	all := make([]target, 0, len(found))
	for _, t := range found {
		t.dest = ds.first(t.dest)
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

// first returns the first destination with the identity of d, d itself if it is none of ds.
func (ds *Destinations) first(d *Destination) *Destination {
	if ds.doubles > 0 {
		if same := ds.byIdentity.Get(d.identity); len(same) > 0 {
			return same[0]
		}
	}
	return d
}

// finds says whether d, a first one, is among the targets of q, and which section of it.
func (ds *Destinations) finds(q query, d *Destination) (section string, ok bool) {
	switch {
	case q.kind != d.Kind:
		return "", false
	case len(q.labels) == 0:
		if q.id != d.identity {
			return "", false
		}
		return d.section(q.port, q.section)
	case ds.doubles == 0:
		return d.labelled(q)
	}
	for _, same := range ds.byIdentity.Get(d.identity) {
		if section, ok := same.labelled(q); ok {
			return section, ok
		}
	}
	return "", false
}

// labelled says whether d has the labels that q asks for, and the section that it asks for.
func (d *Destination) labelled(q query) (section string, ok bool) {
	if !containsLabels(d.Labels, q.labels) {
		return "", false
	}
	return d.section(q.port, q.section)
}

// withLabels returns the resources of kind that have all of wanted, which is not empty.
func (ds *Destinations) withLabels(kind string, wanted map[string]string) []*Destination {
	var rarest []*Destination
	first := true
	for k, v := range wanted {
		if list := ds.byLabel.Get(label{kind, k, v}); first || len(list) < len(rarest) {
			rarest, first = list, false
		}
	}
	if len(wanted) == 1 {
		return rarest
	}
	var all []*Destination
	for _, d := range rarest {
		if containsLabels(d.Labels, wanted) {
			all = append(all, d)
		}
	}
	return all
}

// containsLabels says whether all of wanted are among have. Unlike in hasLabels a missing label is not the empty one.
func containsLabels(have, wanted map[string]string) bool {
	for k, v := range wanted {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
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
