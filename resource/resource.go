package resource

import (
	"bytes"
	"cmp"
	"maps"
	"strings"
	"time"
)

// Revision counts the commits of one store. It starts at 0 (an empty store), grows by one with every commit and is
// never reused. Revisions of two stores cannot be compared.
type Revision uint64

// Key names a resource within one store. Mesh is "" for kinds of global scope. Name is the storage and wire name:
// the author's name, or name.namespace, or, on a control plane that it was synced to, the hashed name of WireName.
type Key struct {
	Kind, Mesh, Name string
}

// String returns "Kind mesh/name", or "Kind name" for global scope: for logs and errors, not for parsing.
func (k Key) String() string {
	if k.Mesh == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Mesh + "/" + k.Name
}

// Compare orders keys by kind, mesh, name, bytewise: the order of every list.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Mesh, o.Mesh), cmp.Compare(k.Name, o.Name))
}

// Resource is one document as a control plane stores and sends it. It is a value: nobody modifies the maps and slices
// of a resource that came from, or went into, a store.
type Resource struct {
	Key
	Labels map[string]string
	// Spec is the canonical encoding of the kind (Descriptor.Message): deterministic protobuf bytes, or compact JSON.
	// Never nil; an empty JSON spec is {}.
	Spec []byte
	// Status is compact JSON. nil: the kind has no status, or it is not set.
	Status []byte

	// The rest is set by the store and ignored when written.

	Version  Revision  // the commit that wrote it last; 0 before the first
	Created  time.Time // UTC
	Modified time.Time // UTC
}

// Display returns the name that its author gave: the label kuma.io/display-name, or else the storage name.
func (r Resource) Display() string { return cmp.Or(r.Labels[LabelDisplayName], r.Name) }

// Namespace returns the namespace it was written in, "" if none.
func (r Resource) Namespace() string { return r.Labels[LabelNamespace] }

// Zone returns the zone it was written in, "" if it was written on the global control plane.
func (r Resource) Zone() string { return r.Labels[LabelZone] }

// Origin returns the label kuma.io/origin: OriginGlobal, OriginZone or "" (written here and not yet synced).
func (r Resource) Origin() string { return r.Labels[LabelOrigin] }

// Role returns the policy role; a missing label is RoleSystem.
func (r Resource) Role() string { return cmp.Or(r.Labels[LabelRole], RoleSystem) }

// Identity returns what stays the same on every control plane.
func (r Resource) Identity() Identity {
	return Identity{Kind: r.Kind, Mesh: r.Mesh, Zone: r.Zone(), Namespace: r.Namespace(), Name: r.Display()}
}

// SameContent says whether labels, spec and status are equal: writing o over r would change nothing.
func (r Resource) SameContent(o Resource) bool {
	return bytes.Equal(r.Spec, o.Spec) && bytes.Equal(r.Status, o.Status) && maps.Equal(r.Labels, o.Labels)
}

// Change is what happened last to one key: it was written (Resource is the whole of it), or deleted (its Key is set, and
// Modified is when that was; zero: not known).
type Change struct {
	Revision Revision
	Deleted  bool
	Resource Resource
}

// Op is one write of a batch: Put or Delete, with an optional expectation (If).
type Op struct {
	Delete   bool
	Check    bool     // writes nothing: the batch holds only if Expect does
	Resource Resource // of a delete or check only the Key counts
	// Expect is the version that the stored resource must have, 0: it must not exist. nil: anything goes.
	Expect *Revision
}

// Put writes r, whatever is stored under its key now.
func Put(r Resource) Op { return Op{Resource: r} }

// Delete removes the resource under key. A key that is not there fails the batch with ErrNotFound.
func Delete(key Key) Op { return Op{Delete: true, Resource: Resource{Key: key}} }

// Check makes a batch hold only if the stored version of key is v (0: there is none), and writes nothing.
func Check(key Key, v Revision) Op { return Op{Check: true, Resource: Resource{Key: key}}.If(v) }

// If returns op with the expectation that the stored version is v (0: that there is none).
func (op Op) If(v Revision) Op {
	op.Expect = &v
	return op
}

// StorageName returns the name under which a document of this name and namespace is stored: name.namespace, or the
// name alone when there is no namespace or the name ends in it already.
func StorageName(name, namespace string) string {
	if namespace == "" || strings.HasSuffix(name, "."+namespace) {
		return name
	}
	return name + "." + namespace
}
