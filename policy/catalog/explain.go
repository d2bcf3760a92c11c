package catalog

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Explanation is what explain-type says about one field, or about a kind as a whole.
type Explanation struct {
	Kind     string   `json:"kind"`
	Path     string   `json:"path"` // spec.to[].default.http
	Type     string   `json:"type"`
	Required bool     `json:"required,omitempty"`
	Default  string   `json:"default,omitempty"`
	Words    []string `json:"enum,omitempty"`
	Minimum  *int64   `json:"minimum,omitempty"`
	Maximum  *uint64  `json:"maximum,omitempty"`
	Doc      string   `json:"description,omitempty"`

	// Selects says, for each place of a targetRef, which kinds it takes. Only of a kind as a whole and of targetRefs.
	Selects []Place `json:"selects,omitempty"`
	Fields  []Row   `json:"fields,omitempty"`
	Example string  `json:"example,omitempty"` // YAML; only of a kind as a whole
}

// Row is one field below the one that is explained.
type Row struct {
	Name     string `json:"name"`
	Path     string `json:"path"`
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"`
	Default  string `json:"default,omitempty"`
	Doc      string `json:"description,omitempty"` // in one line, without the default
}

// Place is one place where a policy has a targetRef.
type Place struct {
	Path  string   `json:"path"` // spec.targetRef, spec.to[].targetRef
	When  string   `json:"when"` // of which policies; "" for all
	Kinds []string `json:"kinds"`
}

// Explain returns what there is to say about a path of the kind; see Find.
func (k Kind) Explain(path string) (Explanation, error) {
	f, err := k.Find(path)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{
		Kind: k.Kind, Path: strings.TrimPrefix(f.shownPath(), "."), Type: f.TypeWords(), Required: f.Required && f.Path != "",
		Default: f.DefaultWords(), Doc: f.Doc,
	}
	switch f.FieldInfo.Type {
	case "enum":
		e.Type, e.Words = "enum", f.allowedWords()
	case "integer":
		e.Minimum, e.Maximum = &f.Min, &f.Max
	}
	for _, inner := range f.Fields() {
		e.Fields = append(e.Fields, inner.row())
	}
	places := k.Places()
	switch {
	case f.Path == "":
		e.Selects = places
		if len(k.Example) > 0 {
			e.Example = k.Example[0].YAML
		}
	case k.Policy != nil:
		for _, p := range places {
			if strings.HasPrefix(e.Path+".", p.Path+".") {
				e.Selects = append(e.Selects, p)
			}
		}
	}
	return e, nil
}

func (f Field) row() Row {
	return Row{
		Name: f.Name, Path: strings.TrimPrefix(f.shownPath(), "."), Type: f.TypeWords(), Required: f.Required,
		Default: f.DefaultWords(), Doc: f.Meaning(),
	}
}

// Places returns what each targetRef of a policy may select; nil for another kind.
func (k Kind) Places() []Place {
	if k.Policy == nil {
		return nil
	}
	s := k.Policy
	atGateway := "the top-level targetRef is a MeshGateway or MeshHTTPRoute"
	if !contains(s.Top, "MeshHTTPRoute") {
		atGateway = "the top-level targetRef is a MeshGateway"
	}
	var places []Place
	add := func(path, when string, kinds []policy.RefKind) {
		p := Place{Path: path, When: when}
		for _, kind := range kinds {
			p.Kinds = append(p.Kinds, string(kind))
		}
		places = append(places, p)
	}
	if len(s.SystemTop) == 0 {
		add("spec.targetRef", "", s.Top)
	} else {
		var others []policy.RefKind
		for _, kind := range s.Top {
			if !contains(s.SystemTop, kind) {
				others = append(others, kind)
			}
		}
		add("spec.targetRef", "role "+resource.RoleSystem, s.Top)
		add("spec.targetRef", "every other role", others)
	}
	if k.Type.To {
		when := ""
		if s.Split {
			when = "the top-level targetRef can select a gateway"
		}
		add("spec.to[].targetRef", when, s.To)
		if s.ToAtGateway != nil {
			add("spec.to[].targetRef", atGateway, s.ToAtGateway)
		}
	}
	if k.Type.From {
		when := ""
		switch {
		case s.Split:
			when = "the top-level targetRef cannot select a gateway"
		case s.NoFromAtGateway:
			when = "not if " + atGateway
		}
		add("spec.from[].targetRef", when, s.From)
	}
	return places
}

func contains(kinds []policy.RefKind, kind policy.RefKind) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// Write prints the explanation for people.
func (e Explanation) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "KIND     %s\n", e.Kind)
	if e.Path != "" && e.Path != "spec" {
		fmt.Fprintf(&b, "FIELD    %s\n", e.Path)
	}
	kind := e.Type
	if len(e.Words) > 0 {
		kind = "one of " + strings.Join(e.Words, ", ")
	}
	if e.Required {
		kind += " (required)"
	}
	fmt.Fprintf(&b, "TYPE     %s\n", kind)
	if e.Default != "" {
		fmt.Fprintf(&b, "DEFAULT  %s\n", e.Default)
	}
	if e.Doc != "" {
		fmt.Fprintf(&b, "\n%s\n", indent(wrap(e.Doc, 110)))
	}
	if len(e.Selects) > 0 {
		b.WriteString("\nSELECTS\n")
		rows := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, p := range e.Selects {
			fmt.Fprintf(rows, "  %s\t%s\t%s\n", p.Path, strings.Join(p.Kinds, ", "), parenthesis(p.When))
		}
		rows.Flush()
	}
	if len(e.Fields) > 0 {
		b.WriteString("\nFIELDS\n")
		for _, f := range e.Fields {
			fmt.Fprintf(&b, "  %s  <%s>%s%s\n", f.Name, f.Type, when(f.Required, "  required"), when(f.Default != "", "  default: "+f.Default))
			if f.Doc != "" {
				fmt.Fprintf(&b, "%s\n", indent(indent(wrap(f.Doc, 106))))
			}
		}
	}
	if e.Example != "" {
		fmt.Fprintf(&b, "\nEXAMPLE\n%s", indent(e.Example))
	}
	_, err := io.WriteString(w, trimLines(b.String()))
	return err
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

func when(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func indent(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "")
}

// wrap breaks a comment into lines of at most width characters. Paragraphs stay; a line that begins with white space
// stays as it is.
func wrap(text string, width int) string {
	var out []string
	line := ""
	flush := func() {
		if line != "" {
			out = append(out, line)
		}
		line = ""
	}
	for raw := range strings.Lines(text) {
		raw = strings.TrimRight(raw, "\n")
		if raw == "" || raw != strings.TrimLeft(raw, " \t") {
			flush()
			out = append(out, strings.ReplaceAll(raw, "\t", "  "))
			continue
		}
		for word := range strings.FieldsSeq(raw) {
			if line != "" && len(line)+1+len(word) > width {
				flush()
			}
			line = strings.TrimLeft(line+" "+word, " ")
		}
	}
	flush()
	return cmp.Or(strings.Join(out, "\n"), text)
}
