package resource

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const maxLabelLength = 63 // of a DNS label, of the value of a label, and of the name part of its key

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	meshName     = regexp.MustCompile(`^[0-9a-z._-]+$`)
	labelWord    = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
)

const (
	wantName = `want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`
	wantWord = `want letters, digits, "-", "_" and ".", a letter or digit first and last`
)

// ValidateMeta returns what is wrong with the name, mesh and labels of r. Fields are name, mesh and labels["key"].
// What depends on the control plane (who may write, which zone) is not checked here.
// Source: the metadata rules of Kuma 2.10.
func ValidateMeta(r Resource, d Descriptor) []Violation {
	var out []Violation
	add := func(field, format string, args ...any) {
		out = append(out, Violation{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	switch {
	case r.Name == "":
		add("name", "must be given")
	case len(r.Name) > maxNameLength:
		add("name", "has %d characters, want at most %d", len(r.Name), maxNameLength)
	case !dnsSubdomain.MatchString(r.Name):
		add("name", "found %q: %s", cut(r.Name), wantName)
	case r.Kind == "Mesh" && len(r.Name) > maxLabelLength:
		add("name", "has %d characters, want at most %d for a mesh", len(r.Name), maxLabelLength)
	}
	switch {
	case d.Scope == ScopeGlobal && r.Mesh != "":
		add("mesh", "found %q, but a %s belongs to no mesh", cut(r.Mesh), d.Kind)
	case d.Scope == ScopeGlobal:
	case r.Mesh == "":
		add("mesh", "must be given")
	case len(r.Mesh) > maxNameLength:
		add("mesh", "has %d characters, want at most %d", len(r.Mesh), maxNameLength)
	case !meshName.MatchString(r.Mesh):
		add("mesh", "found %q: want lower case letters, digits, \"-\", \"_\" and \".\"", cut(r.Mesh))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
		field := `labels[` + strconv.Quote(cut(key)) + `]`
		if reason := badLabelKey(key); reason != "" {
			add(field, "%s", reason)
		} else if reason := badLabelValue(key, r.Labels[key], r); reason != "" {
			add(field, "%s", reason)
		}
	}
	return out
}

// badLabelKey says what is wrong with the key of a label: prefix/name, the prefix a DNS name and optional.
func badLabelKey(key string) string {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	}
	switch {
	case ok && (len(prefix) > maxNameLength || !dnsSubdomain.MatchString(prefix)):
		return fmt.Sprintf("the key has the prefix %q: want a DNS name such as kuma.io", cut(prefix))
	case len(name) > maxLabelLength:
		return fmt.Sprintf("the key has %d characters, want at most %d", len(name), maxLabelLength)
	case !labelWord.MatchString(name):
		return fmt.Sprintf("the key is %q: %s", cut(name), wantWord)
	}
	return ""
}

func badLabelValue(key, value string, r Resource) string {
	switch key {
	case LabelMesh:
		if value == r.Mesh {
			return "" // old names of meshes are no label values
		}
	case LabelDisplayName: // a name, which may be longer than other labels
		if len(value) > maxNameLength || !dnsSubdomain.MatchString(value) {
			return fmt.Sprintf("found %q: %s", cut(value), wantName)
		}
		return ""
	case LabelOrigin:
		if value != OriginGlobal && value != OriginZone {
			return fmt.Sprintf("found %q, want one of %s, %s", cut(value), OriginGlobal, OriginZone)
		}
	case LabelZone:
		if !dnsSubdomain.MatchString(value) {
			return fmt.Sprintf("found %q: %s", cut(value), wantName)
		}
	case LabelNamespace:
		if !isDNSLabel(value) {
			return fmt.Sprintf(`found %q: want at most %d lower case letters, digits and "-", a letter or digit first and last`, cut(value), maxLabelLength)
		}
	}
	switch {
	case len(value) > maxLabelLength:
		return fmt.Sprintf("the value has %d characters, want at most %d", len(value), maxLabelLength)
	case value != "" && !labelWord.MatchString(value):
		return fmt.Sprintf("found %q: %s", cut(value), wantWord)
	}
	return ""
}

func isDNSLabel(s string) bool { return len(s) <= maxLabelLength && dnsLabel.MatchString(s) }
