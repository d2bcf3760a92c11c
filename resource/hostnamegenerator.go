package resource

import (
	"strings"
	"text/template"
)

// HostnameGenerator gives services names in DNS.
type HostnameGenerator struct {
	// Selector selects the services. One of its fields is given.
	Selector GeneratorSelector `json:"selector,omitzero"`
	// Template makes the host name: a Go template with .Name, .DisplayName, .Namespace, .Mesh, .Zone and the function
	// label, as in {{ label "app" }}.
	Template string `json:"template,omitempty"`
}

// GeneratorSelector selects the services of one kind.
type GeneratorSelector struct {
	// MeshService selects MeshServices.
	MeshService *GeneratorLabels `json:"meshService,omitempty"`
	// MeshExternalService selects MeshExternalServices.
	MeshExternalService *GeneratorLabels `json:"meshExternalService,omitempty"`
	// MeshMultiZoneService selects MeshMultiZoneServices.
	MeshMultiZoneService *GeneratorLabels `json:"meshMultiZoneService,omitempty"`
}

// GeneratorLabels selects by labels.
type GeneratorLabels struct {
	// MatchLabels are labels that a service has, all of them. Default: every service of the kind.
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}

func validateHostnameGenerator(_ Resource, spec any) []Violation {
	g := spec.(*HostnameGenerator)
	var p problems
	given := 0
	for _, labels := range []*GeneratorLabels{g.Selector.MeshService, g.Selector.MeshExternalService, g.Selector.MeshMultiZoneService} {
		if labels != nil {
			given++
		}
	}
	const kinds = "meshService, meshExternalService, meshMultiZoneService"
	switch {
	case given == 0:
		p.add("spec.selector", "one of %s must be given", kinds)
	case given > 1:
		p.add("spec.selector", "has %d of %s, want one", given, kinds)
	}
	if g.Template == "" {
		p.add("spec.template", mustBeGiven)
	} else if _, err := ParseHostnameTemplate(g.Template); err != nil {
		p.add("spec.template", "is no Go template: %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	return p
}

// ParseHostnameTemplate parses the template of a HostnameGenerator. Whoever executes it replaces the function label.
func ParseHostnameTemplate(text string) (*template.Template, error) {
	label := func(string) (string, error) { return "", nil }
	return template.New("template").Funcs(template.FuncMap{"label": label}).Parse(text)
}
