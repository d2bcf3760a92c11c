package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// RoleOf returns the role that a policy has by what it says and where it was written: "" for a kind without roles,
// resource.RoleSystem without a namespace or in the system namespace, otherwise
//
//   - RoleWorkloadOwner if it has no `to`;
//   - RoleProducer if every `to` item names a MeshService of the policy's own namespace;
//   - RoleConsumer if none does.
//
// A policy with both `from` and `to` is the workload owner's, and gets a warning: Kuma refuses it. A mixture of
// producer and consumer items is an error that names the items.
func RoleOf(kind, namespace string, spec []byte) (role string, warnings []string, err error) {
	if d, ok := resource.LookupKind(kind); !ok || !d.TargetRef {
		return "", nil, nil
	}
	if namespace == "" || namespace == resource.SystemNamespace {
		return resource.RoleSystem, nil, nil
	}
	var doc struct { // without the confs, which are most of a policy
		To []struct {
			TargetRef TargetRef `json:"targetRef"`
		} `json:"to"`
		From []struct{} `json:"from"`
	}
	if err := json.Unmarshal(spec, &doc); err != nil {
		return "", nil, fmt.Errorf("role of a %s: %w", kind, err)
	}
	if len(doc.To) == 0 {
		return resource.RoleWorkloadOwner, nil, nil
	}
	if len(doc.From) > 0 {
		return resource.RoleWorkloadOwner, []string{
			"a policy with both `from` and `to` is the workload owner's: it stays in its namespace and zone; Kuma refuses it, so write two policies",
		}, nil
	}
	var produced, consumed []string
	for i, it := range doc.To {
		at := fmt.Sprintf("to[%d]", i)
		if ref := it.TargetRef; ref.Kind == kindService && ref.Name != "" && (ref.Namespace == "" || ref.Namespace == namespace) {
			produced = append(produced, at)
		} else {
			consumed = append(consumed, at)
		}
	}
	switch {
	case len(consumed) == 0:
		return resource.RoleProducer, nil, nil
	case len(produced) == 0:
		return resource.RoleConsumer, nil, nil
	}
	return "", nil, fmt.Errorf("%w: %s name a MeshService of the policy's own namespace %s (producer), %s do not (consumer); write two policies",
		errMixedRoles, strings.Join(produced, ", "), namespace, strings.Join(consumed, ", "))
}

var errMixedRoles = errors.New("one policy cannot be both producer and consumer")

// roleFor returns the role that validation goes by: computed where there is a namespace to compute it from.
func roleFor(r resource.Resource) (string, error) {
	if ns := r.Namespace(); ns != "" {
		role, _, err := RoleOf(r.Kind, ns, r.Spec)
		return role, err
	}
	return r.Role(), nil
}

// RoleField is the field that a declared role stands in.
const RoleField = `labels["` + resource.LabelRole + `"]`

// DeclaredRole says what is wrong with the role that r's author declared in a label: "" if there is none, or it is
// role, the computed one. r carries the labels of its document.
func DeclaredRole(r resource.Resource, role string) string {
	declared, ok := r.Labels[resource.LabelRole]
	if !ok || role == "" || declared == role {
		return ""
	}
	return fmt.Sprintf("declares the role %s, but what the policy says and where it was written make it %s", declared, role)
}
