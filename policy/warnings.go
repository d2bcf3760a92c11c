package policy

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/meridian-mesh/meridian/resource"
)

var dns1035 = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Warnings returns what a valid resource does that its author should know: deprecated ways of saying things, and
// things that will have no effect. r carries the labels that it is stored with; the warnings of RoleOf are among
// them. nil if there are none.
func Warnings(r resource.Resource) []string { return resource.Texts(Advice(r)) }

// Advice is Warnings with codes and fields.
func Advice(r resource.Resource) []resource.Warning {
	var warnings []resource.Warning
	warn := func(code resource.WarningCode, field, format string, args ...any) {
		warnings = append(warnings, resource.Warning{Code: code, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	switch r.Kind {
	case kindMesh, kindService, kindMultiZone, kindExternal:
		if name := r.Display(); !dns1035.MatchString(name) {
			warn(resource.WarnNoHostName, "name", "name %q is no DNS label (at most 63 of a-z, 0-9 and -, beginning with a letter): it cannot be part of a host name", name)
		}
		return warnings
	}
	t, ok := LookupType(r.Kind)
	if !ok {
		return nil
	}
	sp := t.spec()
	if err := json.Unmarshal(r.Spec, sp); err != nil {
		return nil // validation says so
	}
	if _, more, err := RoleOf(r.Kind, r.Namespace(), r.Spec); err == nil {
		for _, text := range more {
			warn(resource.WarnFromAndTo, "spec.from", "%s", text)
		}
	}
	c := newCheck(t, r)
	c.warn = warn
	sp.validate(c)
	return warnings
}
