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
// kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>. Empty parts stay empty. Only the mesh may hold "_" (meshes from
// before Kuma restricted their names do); elsewhere, where no valid name has it, it is written %5F, so that every
// identity has a word of its own.
func (id Identity) KRI(section string) string {
	short := strings.ToLower(id.Kind)
	if d, ok := LookupKind(id.Kind); ok {
		short = d.kriShort()
	}
	return "kri_" + kriEscape.Replace(short) + "_" + strings.ReplaceAll(id.Mesh, "%", "%25") + "_" + kriEscape.Replace(id.Zone) + "_" +
		kriEscape.Replace(id.Namespace) + "_" + kriEscape.Replace(id.Name) + "_" + kriEscape.Replace(section)
}

var (
	kriEscape   = strings.NewReplacer("%", "%25", "_", "%5F")
	kriUnescape = strings.NewReplacer("%25", "%", "%5F", "_")
)

func (id Identity) String() string { return id.KRI("") }

// kriShort returns the word for the kind in KRIs.
func (d Descriptor) kriShort() string { return cmp.Or(d.Short, strings.ToLower(d.Kind)) }

// ParseKRI is the inverse of Identity.KRI. The error says which part is wrong.
func ParseKRI(s string) (id Identity, section string, err error) {
	parts := strings.Split(s, "_")
	n := len(parts)
	if n < 7 || parts[0] != "kri" {
		return Identity{}, "", fmt.Errorf("KRI %q: want kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>", cut(s))
	}
	shorts := make([]string, len(Kinds))
	for i, d := range Kinds {
		if shorts[i] = d.kriShort(); shorts[i] == parts[1] {
			id.Kind = d.Kind
		}
	}
	if id.Kind == "" {
		hint := ""
		if near := Nearest(parts[1], shorts); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return Identity{}, "", fmt.Errorf("KRI %q: no kind has the short name %q%s", cut(s), cut(parts[1]), hint)
	}
	id.Mesh = kriUnescape.Replace(strings.Join(parts[2:n-4], "_"))
	id.Zone, id.Namespace = kriUnescape.Replace(parts[n-4]), kriUnescape.Replace(parts[n-3])
	id.Name, section = kriUnescape.Replace(parts[n-2]), kriUnescape.Replace(parts[n-1])
	if id.Name == "" {
		return Identity{}, "", fmt.Errorf("KRI %q: the name is empty", cut(s))
	}
	return id, section, nil
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
