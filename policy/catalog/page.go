package catalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// HasPage says whether the kind has a page of the reference. Kinds that are carried and never interpreted have none.
func (k Kind) HasPage() bool { return !k.Legacy }

// PageName is the file name of the kind's page.
func (k Kind) PageName() string { return strings.ToLower(k.Kind) + ".md" }

const generatedNote = "<!-- Written by make docs from the Go types. Change those. -->\n"

// Page returns the page of the reference for the kind, as Markdown.
func (k Kind) Page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# %s\n\n%s\n\n", generatedNote, k.Kind, oneLine(k.Purpose))
	k.pageFacts(&b)
	k.pageMatrix(&b)
	k.pageFields(&b)
	k.pageExamples(&b)
	return b.Bytes()
}

func (k Kind) pageFacts(b *bytes.Buffer) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(b, "| %s | %s |\n", name, fmt.Sprintf(format, args...))
	}
	b.WriteString("| | |\n|---|---|\n")
	if k.Plural != "" {
		path := "/" + k.Plural + "/{name}"
		if k.Scope == resource.ScopeMesh {
			path = "/meshes/{mesh}" + path
		}
		row("REST", "`%s`", path)
		names := slices.DeleteFunc([]string{k.Singular, k.Plural, k.Short}, func(s string) bool { return s == "" })
		row("command line", "`%s`", strings.Join(slices.Compact(names), "`, `"))
	}
	scope := "the control plane"
	if k.Scope == resource.ScopeMesh {
		scope = "a mesh"
	}
	row("belongs to", "%s", scope)
	row("written", "%s", k.writtenWhere())
	row("goes", "%s", k.goesWhere())
	if k.AdminOnly {
		row("access", "administrators alone")
	}
	row("schema", "[%s.json](../../schemas/%s.json)", k.Kind, k.Kind)
	b.WriteString("\n")
}

func (k Kind) writtenWhere() string {
	switch global, zone := k.Flow.Has(resource.ProvidedByGlobal), k.Flow.Has(resource.ProvidedByZone); {
	case k.SystemManaged:
		return "by the control planes alone"
	case global && zone:
		return "on global and in zones"
	case global:
		return "on global"
	case zone:
		return "in zones"
	}
	return "nowhere"
}

func (k Kind) goesWhere() string {
	var ways []string
	if k.Flow.Has(resource.ProvidedByGlobal | resource.ConsumedByZone) {
		ways = append(ways, "from global to the zones")
	}
	if k.FromZone() {
		ways = append(ways, "from zones to global")
	}
	if k.Flow.Has(resource.AcrossZones) {
		across := "from zone to zone"
		if k.TargetRef {
			across += " (role producer)"
		}
		ways = append(ways, across)
	}
	if len(ways) == 0 {
		return "nowhere: it stays on the control plane"
	}
	return strings.Join(ways, ", ")
}

func (k Kind) pageMatrix(b *bytes.Buffer) {
	if k.Policy == nil {
		return
	}
	b.WriteString("## What it selects\n\n| targetRef | when | kinds |\n|---|---|---|\n")
	for _, p := range k.Places() {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.Path, p.When, strings.Join(p.Kinds, ", "))
	}
	b.WriteString("\n")
	if k.Policy.ListenerTags && contains(k.Policy.Top, "MeshGateway") {
		b.WriteString("A MeshGateway may be narrowed by the tags of its listeners. ")
	}
	if len(k.Policy.Need) > 0 {
		fmt.Fprintf(b, "At least one item of %s must be given. ", orList(k.Policy.Need))
	}
	b.WriteString("Without a top-level targetRef a policy is for the whole mesh.\n\n")
}

func orList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "`" + w + "`"
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

// pageFields writes the table of all fields. The items of `from` that look like those of `to` are not told twice.
func (k Kind) pageFields(b *bytes.Buffer) {
	b.WriteString("## Fields\n\n| field | type | default | meaning |\n|---|---|---|---|\n")
	told := map[resource.GoName]string{} // where the fields of a Go type are in the table
	rows := 0
	var write func(f Field)
	write = func(f Field) {
		for _, inner := range f.Fields() {
			rows++
			name := "`" + strings.TrimPrefix(inner.shownPath(), ".") + "`"
			at, path := inner.object()
			meaning := cell(inner.Meaning())
			if inner.Required {
				meaning = strings.TrimSpace("**Required.** " + meaning)
			}
			elsewhere, same := told[at.Of]
			plain := at.Of.Package != "" && !strings.HasSuffix(path, "[]")
			if same && plain && len(at.FieldInfo.Fields()) > 0 {
				meaning = strings.TrimSpace(meaning + " Fields as of `" + elsewhere + "`.")
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, cell(inner.TypeWords()), cell(inner.DefaultWords()), meaning)
			if same && plain {
				continue
			}
			if plain {
				told[at.Of] = strings.TrimPrefix(inner.shownPath(), ".")
			}
			write(inner)
		}
	}
	write(k.Spec)
	if rows == 0 {
		b.WriteString("| | | | It has no fields. |\n")
	}
	b.WriteString("\n")
}

// cell escapes what would end a cell of a table.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s) }

var roleTitles = map[string]string{
	resource.RoleSystem: "A system policy", resource.RoleProducer: "A producer policy", resource.RoleConsumer: "A consumer policy",
	resource.RoleWorkloadOwner: "A workload owner's policy",
}

func (k Kind) pageExamples(b *bytes.Buffer) {
	if len(k.Example) == 0 {
		return
	}
	b.WriteString("## Examples\n\n")
	for _, e := range k.Example {
		if title := roleTitles[e.Role]; title != "" {
			fmt.Fprintf(b, "%s:\n\n", title)
		}
		fmt.Fprintf(b, "```yaml\n%s```\n\n", e.YAML)
	}
	b.Truncate(b.Len() - 1)
}

// PageIndex returns the page that leads to the pages of the kinds.
func (src *Sources) PageIndex() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s# Kinds\n\nEvery kind of resource. `meridian explain-type KIND` says the same on a terminal; the JSON Schemas for editors\nare in [schemas](../../schemas), [meridian.json](../../schemas/meridian.json) for documents of any kind.\n", generatedNote)
	var legacy []string
	for _, group := range []struct {
		title string
		has   func(Kind) bool
	}{
		{"Policies", func(k Kind) bool { return k.TargetRef }},
		{"Resources", func(k Kind) bool { return !k.TargetRef && !k.SystemManaged }},
		{"Written by control planes", func(k Kind) bool { return k.SystemManaged }},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| kind | short | purpose |\n|---|---|---|\n", group.title)
		for _, k := range src.All() {
			switch {
			case !group.has(k):
			case k.HasPage():
				fmt.Fprintf(&b, "| [%s](%s) | %s | %s |\n", k.Kind, k.PageName(), k.Short, cell(firstSentence(oneLine(k.Purpose))))
			case k.Legacy:
				legacy = append(legacy, k.Kind)
			}
		}
	}
	if len(legacy) > 0 {
		fmt.Fprintf(&b, "\n## From before targetRef\n\n%s are stored, synced and listed, so that a federation with Kuma loses nothing, and never interpreted.\n", strings.Join(legacy, ", "))
	}
	return b.Bytes()
}

func firstSentence(s string) string {
	if first, _, ok := strings.Cut(s, ". "); ok {
		return first + "."
	}
	return s
}
