package resource

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
)

// Identity names a resource the same way on every control plane of a federation.
type Identity struct {
	Kind, Mesh, Zone, Namespace, Name string
}

// KRI returns the identity as one word that any command accepts:
// kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>. Empty parts stay empty.
func (id Identity) KRI(section string) string {
	d, _ := LookupKind(id.Kind)
	return strings.Join([]string{"kri", d.kriShort(), id.Mesh, id.Zone, id.Namespace, id.Name, section}, "_")
}

func (id Identity) String() string { return id.KRI("") }

func (d Descriptor) kriShort() string { return cmp.Or(d.Short, strings.ToLower(d.Kind)) }

// ParseKRI is the inverse of Identity.KRI. The error says which part is wrong.
func ParseKRI(s string) (id Identity, section string, err error) {
	parts := strings.Split(s, "_")
	if len(parts) != 7 || parts[0] != "kri" {
		return Identity{}, "", fmt.Errorf("KRI %q: want kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>", s)
	}
	for _, d := range Kinds {
		if d.kriShort() == parts[1] {
			id = Identity{Kind: d.Kind, Mesh: parts[2], Zone: parts[3], Namespace: parts[4], Name: parts[5]}
			if id.Name == "" {
				return Identity{}, "", fmt.Errorf("KRI %q: the name is empty", s)
			}
			return id, parts[6], nil
		}
	}
	return Identity{}, "", fmt.Errorf("KRI %q: no kind has the short name %q", s, parts[1])
}

const (
	hashAlphabet  = "bcdfghjklmnpqrstvwxz2456789"
	hashSuffix    = 1 + 16 // "-" and 16 characters
	maxNameLength = 253
)

// WireName returns the name that r has on the control planes it is synced to: its display name, cut to fit, and 16
// characters of a hash over mesh, display name, zone and namespace. The same on every hop, since those labels travel.
// Source: the KDS contract of Kuma 2.10, hashed names.
func WireName(r Resource) string {
	base := r.Display()
	h := fnv.New64a()
	for _, part := range []string{r.Mesh, base, r.Labels[LabelZone], r.Labels[LabelNamespace]} {
		h.Write([]byte(part))
	}
	digits := hex.EncodeToString(h.Sum(nil))
	suffix := make([]byte, 0, hashSuffix)
	suffix = append(suffix, '-')
	for i := range len(digits) {
		suffix = append(suffix, hashAlphabet[int(digits[i])%len(hashAlphabet)])
	}
	return base[:min(len(base), maxNameLength-hashSuffix)] + string(suffix)
}
