package policy

import (
	"fmt"
	"regexp"

	"github.com/meridian-mesh/meridian/resource"
)

var dns1035 = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Warnings returns what a valid resource does that its author should know: deprecated ways of saying things, and
// things that will have no effect. r carries the labels that it is stored with; the warnings of RoleOf are among
// them. nil if there are none.
func Warnings(r resource.Resource) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	switch r.Kind {
	case kindMesh, kindService, kindMultiZone, kindExternal:
		if name := r.Display(); !dns1035.MatchString(name) {
			warn("name %q is no DNS label (at most 63 of a-z, 0-9 and -, beginning with a letter): it cannot be part of a host name", name)
		}
		return warnings
	}
	t, ok := LookupType(r.Kind)
	if !ok {
		return nil
	}
	p, err := Parse(r)
	if err != nil {
		return nil // validation says so
	}
	if _, more, err := RoleOf(r.Kind, r.Namespace(), r.Spec); err == nil {
		warnings = more
	}
	switch p.Target.Kind {
	case kindService:
		warn("spec.targetRef: kind MeshService is deprecated at the top of a policy: use MeshSubset with the tag %s", serviceTag)
	case kindSubset:
		warn("spec.targetRef: kind MeshSubset is deprecated at the top of a policy: use Dataplane with labels")
	}
	if len(p.From) > 0 && t.Rules {
		warn("spec.from is deprecated: use spec.rules")
	}
	for i, it := range p.From {
		if it.Target.Kind == kindService {
			warn("spec.from[%d].targetRef: kind MeshService is deprecated: use MeshSubset with the tag %s", i, serviceTag)
		}
	}
	for i, it := range p.To {
		if p.Zone() == "" && it.Target.Kind == kindService && it.Target.Name != "" {
			if _, _, _, legacy := legacyName(it.Target.Name); !legacy || it.Target.SectionName != "" {
				warn("spec.to[%d].targetRef: a name is looked up in the zone of the policy, and this one has no zone: MeshService %q is found in none; use labels", i, it.Target.Name)
			}
		}
	}
	return warnings
}
