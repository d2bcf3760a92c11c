package kds

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// maxReasons bounds the text of a NACK: it travels in one small message.
const maxReasons = 16 << 10

// source is where a stream's resources come from and go to. It decides what the stream may write. Its methods do no I/O.
type source struct {
	zone     string // the zone at the other end; on a zone, itself
	onGlobal bool   // the receiver is the global control plane
}

// claim returns r with what the sender must not decide: on global the zone and the origin, everywhere the role. The error
// is an *InvalidError: the sender has no right to such a resource.
func (s source) claim(r resource.Resource, d resource.Descriptor) (resource.Resource, error) {
	claimed, _, err := s.correct(r, d)
	return claimed, err
}

// correct is claim that also returns the fields in which the sender said what is not so: they are overwritten.
func (s source) correct(r resource.Resource, d resource.Descriptor) (_ resource.Resource, forged []string, err error) {
	said := r.Labels
	labels := maps.Clone(said)
	if labels == nil {
		labels = map[string]string{}
	}
	r.Labels = labels
	if labels[resource.LabelMesh] != "" {
		labels[resource.LabelMesh] = r.Mesh
	}
	if s.onGlobal {
		labels[resource.LabelZone], labels[resource.LabelOrigin] = s.zone, resource.OriginZone
		if want := resource.WireName(r); r.Name != want {
			// Anything else could take a name that belongs to global or to another zone.
			return r, nil, invalid(r.Key, "name", "want %s, from its mesh, display name, zone %s and namespace", want, s.zone)
		}
		if r.Spec, forged, err = s.withZone(r); err != nil {
			return r, nil, err
		}
	} else {
		if d.Flow.Has(resource.ProvidedByZone) && labels[resource.LabelOrigin] != resource.OriginGlobal {
			return r, nil, invalid(r.Key, `labels["kuma.io/origin"]`, "is %q, want global from the global control plane", labels[resource.LabelOrigin])
		}
		labels[resource.LabelOrigin] = resource.OriginGlobal
	}
	if d.TargetRef && !s.mayBeSystem(r) {
		role, _, err := policy.RoleOf(r.Kind, r.Namespace(), r.Spec)
		if err != nil {
			return r, nil, invalid(r.Key, "spec", "%v", err)
		}
		if labels[resource.LabelRole] != "" || role != resource.RoleSystem { // a missing label says system
			labels[resource.LabelRole] = role
		}
	}
	for _, label := range []string{resource.LabelZone, resource.LabelOrigin, resource.LabelMesh, resource.LabelRole} {
		if was, ok := said[label]; ok && was != labels[label] {
			forged = append(forged, fmt.Sprintf("labels[%q]", label))
		}
	}
	return r, forged, nil
}

// mayBeSystem says whether the role that r claims is system and can stand: which namespace is the system's is up to the
// control plane that has it, and a policy that says so goes nowhere but where it is. From another zone nothing but
// producer policies come.
func (s source) mayBeSystem(r resource.Resource) bool {
	return r.Labels[resource.LabelRole] == resource.RoleSystem && (s.onGlobal || r.Zone() == "")
}

// judged returns r as it is to be validated: validation computes the role of what has a namespace.
func (s source) judged(r resource.Resource) resource.Resource {
	if d, _ := resource.LookupKind(r.Kind); d.TargetRef && s.mayBeSystem(r) {
		r.Labels = maps.Clone(r.Labels)
		delete(r.Labels, resource.LabelNamespace)
	}
	return r
}

// withZone returns r's spec with the zone of the stream wherever the spec says in which zone something is, and the fields
// in which it said another.
func (s source) withZone(r resource.Resource) (spec []byte, forged []string, err error) {
	var m proto.Message
	switch r.Kind {
	case "Dataplane":
		m = &meshv1.Dataplane{}
	case "ZoneIngress":
		m = &meshv1.ZoneIngress{}
	case "ZoneEgress":
		m = &meshv1.ZoneEgress{}
	default:
		return r.Spec, nil, nil
	}
	if err := proto.Unmarshal(r.Spec, m); err != nil {
		return nil, nil, invalid(r.Key, "spec", "%v", err)
	}
	changed := false
	field := func(zone *string, path string) {
		if *zone == s.zone {
			return
		}
		if *zone != "" {
			forged = append(forged, path)
		}
		*zone, changed = s.zone, true
	}
	tag := func(tags map[string]string, path string) {
		if zone, ok := tags[resource.LabelZone]; ok { // who gives none says nothing
			field(&zone, path+`.tags["kuma.io/zone"]`)
			tags[resource.LabelZone] = zone
		}
	}
	switch m := m.(type) {
	case *meshv1.Dataplane:
		for i, inbound := range m.GetNetworking().GetInbound() {
			tag(inbound.Tags, fmt.Sprintf("networking.inbound[%d]", i))
		}
		tag(m.GetNetworking().GetGateway().GetTags(), "networking.gateway")
	case *meshv1.ZoneIngress:
		field(&m.Zone, "zone")
		for i, service := range m.AvailableServices {
			tag(service.Tags, fmt.Sprintf("availableServices[%d]", i))
		}
	case *meshv1.ZoneEgress:
		field(&m.Zone, "zone")
	}
	if !changed {
		return r.Spec, nil, nil
	}
	spec, err = deterministic.Marshal(m)
	return spec, forged, err
}

// notOwned returns those of the resources that a response wants removed that are there and not the stream's.
func (s source) notOwned(in *intake, stored map[resource.Key]resource.Resource) (keys []resource.Key) {
	for _, key := range in.removed {
		if old, exists := stored[key]; exists && !s.owns(old, in.kind) {
			keys = append(keys, key)
		}
	}
	return keys
}

// owns says whether the stream may write over, or delete, a stored resource: on global what came from the same zone; on
// a zone what came from global, and everything of the kinds that only global provides.
func (s source) owns(r resource.Resource, d resource.Descriptor) bool {
	if s.onGlobal {
		return r.Origin() == resource.OriginZone && r.Zone() == s.zone
	}
	return !d.Flow.Has(resource.ProvidedByZone) || r.Origin() != "" && r.Origin() != resource.OriginZone
}

// intake is one response after decoding.
type intake struct {
	kind     resource.Descriptor
	complete bool // what is not named is gone
	valid    []resource.Resource
	invalid  map[resource.Key]bool // named, but not usable: the older copy stays
	removed  []resource.Key
	digests  map[resource.Key]digest // of what was sent, valid or not
	named    *nameSet                // by earlier parts of a snapshot; nil: there are none
}

// nameSet is what the parts of a snapshot have named so far.
type nameSet struct {
	keys map[resource.Key]bool
	kept map[nameHash]bool
}

func (n *nameSet) has(key resource.Key) bool {
	return n != nil && (n.keys[key] || n.kept[hashName(wireKey(key))])
}

// wireKey is how messages call a resource: <name>.<mesh>.
func wireKey(key resource.Key) string { return key.Name + "." + key.Mesh }

// touched returns the keys that the response names.
func (in *intake) touched() []resource.Key {
	keys := make([]resource.Key, 0, len(in.valid)+len(in.removed))
	for _, r := range in.valid {
		keys = append(keys, r.Key)
	}
	return append(keys, in.removed...)
}

// plan returns the batch that brings stored (what the store has of the kind if the response is complete, else of the keys
// it touches) to what the response says: puts, and deletes apart. owned is how many of stored are the stream's. refused
// has an error per resource that the stream may not write. Every op holds only if the store still has what stored says.
func (s source) plan(in *intake, stored map[resource.Key]resource.Resource) (ops, deletes []resource.Op, owned int, refused []error) {
	named := make(map[resource.Key]bool, len(in.valid))
	for _, r := range in.valid {
		if named[r.Key] {
			refused = append(refused, &rejectedError{codeDuplicate, invalid(r.Key, "", "is in the response twice")})
			continue
		}
		named[r.Key] = true
		old, exists := stored[r.Key]
		switch {
		case exists && !s.owns(old, in.kind):
			refused = append(refused, &rejectedError{codeOccupied, invalid(r.Key, "name", "belongs to %s", ownerOf(old))})
		case exists && old.SameContent(r):
		default:
			ops = append(ops, resource.Put(r).If(old.Version)) // version 0: there is none
		}
	}
	remove := in.removed
	if in.complete {
		remove = nil
		for key, old := range stored {
			if s.owns(old, in.kind) {
				owned++
				if !in.named.has(key) {
					remove = append(remove, key)
				}
			}
		}
	}
	for _, key := range remove {
		if old, exists := stored[key]; exists && !named[key] && !in.invalid[key] && s.owns(old, in.kind) {
			named[key] = true // once, should it be listed twice
			deletes = append(deletes, resource.Delete(key).If(old.Version))
		}
	}
	return ops, deletes, owned, refused
}

func ownerOf(r resource.Resource) string {
	if zone := r.Zone(); zone != "" && r.Origin() != resource.OriginGlobal {
		return `zone "` + zone + `"`
	}
	if r.Origin() == resource.OriginZone {
		return "this zone"
	}
	return "this control plane"
}

// reasons joins errors into the text of a NACK, one line each, as many as fit.
func reasons(errs []error) string {
	text := errors.Join(errs...).Error()
	if len(text) <= maxReasons {
		return text
	}
	const more = "\n(and more)"
	cut := strings.LastIndexByte(text[:maxReasons-len(more)], '\n')
	return text[:max(cut, 0)] + more
}
