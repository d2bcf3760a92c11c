package catalog

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Sources are the texts that the model is made of.
type Sources struct {
	// Comments are doc comments, by package, type and field: policy.MeshTimeout, policy.MeshTimeout.To.
	Comments map[string]string
	// Examples are documents, as YAML, by kind.
	Examples map[string]string
}

// Kind is everything that can be said about one kind.
type Kind struct {
	resource.Descriptor
	Purpose string
	Spec    Field           // the spec as a whole
	Policy  *policy.Support // nil: no policy with targetRef
	Type    policy.Type     // if Policy is not nil
	Example []Example
}

// Example is one document.
type Example struct {
	Role string // of a policy
	YAML string
}

// Field is one field of a spec, or what stands in a list or a map.
type Field struct {
	resource.FieldInfo
	Path string // from the spec: to[].default.http; "" for the spec itself
	Doc  string // what the field means; may be empty

	kind *Kind
	src  *Sources
}

// All returns every kind that has a schema, by name.
func All() []Kind { return generated.All() }

// Lookup returns a kind by its name. The error names the nearest one.
func Lookup(kind string) (Kind, error) {
	k, ok := generated.lookup(kind)
	if !ok {
		return Kind{}, fmt.Errorf("unknown kind %q%s", kind, didYouMean(kind, generated.names()))
	}
	return k, nil
}

// All returns every kind that has a schema, by name.
func (src *Sources) All() []Kind {
	var all []Kind
	for _, name := range src.names() {
		k, _ := src.lookup(name)
		all = append(all, k)
	}
	return all
}

func (src *Sources) names() []string {
	schemas := policy.Schemas()
	var names []string
	for _, d := range resource.Kinds {
		if _, ok := schemas[d.Kind]; ok {
			names = append(names, d.Kind)
		}
	}
	return names
}

func (src *Sources) lookup(kind string) (Kind, bool) {
	info, ok := policy.Schemas().Fields(kind)
	if !ok {
		return Kind{}, false
	}
	k := &Kind{Example: src.examples(kind)}
	k.Descriptor, _ = resource.LookupKind(kind)
	k.Spec = Field{FieldInfo: info, kind: k, src: src}
	k.Purpose = strings.TrimSpace(specSentence.ReplaceAllString(src.comment(info.Of), ""))
	if rest, ok := strings.CutPrefix(k.Purpose, info.Of.Type+" "); ok {
		k.Purpose = kind + " " + rest // Secret is the message of GlobalSecret, too
	}
	k.Spec.Doc = k.Purpose
	if t, ok := policy.LookupType(kind); ok {
		support := t.Support()
		k.Policy, k.Type = &support, t
	}
	return *k, true
}

// specSentence is what the comments of messages say to readers of the code.
var specSentence = regexp.MustCompile(`\s+It is\s+the\s+spec\s+of\s[^.]*\.`)

// examples returns the documents of a kind's example file.
func (src *Sources) examples(kind string) []Example {
	var all []Example
	for _, text := range strings.Split(src.Examples[kind], "\n---\n") {
		if text = strings.TrimSpace(strings.TrimPrefix(text, "---\n")); text == "" {
			continue
		}
		docs, err := policy.Schemas().Read(kind+".yaml", []byte(text), resource.ReadOptions{})
		if err != nil || len(docs) != 1 {
			continue // a test says so
		}
		r := docs[0].Resource
		role, _, _ := policy.RoleOf(r.Kind, r.Namespace(), r.Spec)
		all = append(all, Example{role, text + "\n"})
	}
	return all
}

// Key is the name under which Sources has the comment of a Go type or field.
func Key(n resource.GoName) string {
	const module = "github.com/meridian-mesh/meridian/"
	key := strings.TrimPrefix(n.Package, module) + "." + n.Type
	if n.Field != "" {
		key += "." + n.Field
	}
	return key
}

func (src *Sources) comment(n resource.GoName) string {
	if n.Package == "" {
		return ""
	}
	return src.Comments[Key(n)]
}

// Fields returns the fields of an object; for a list or a map of objects those of its items.
func (f Field) Fields() []Field {
	at, path := f.object()
	infos := at.FieldInfo.Fields()
	fields := make([]Field, len(infos))
	for i, info := range infos {
		fields[i] = Field{FieldInfo: info, Path: strings.TrimPrefix(path+"."+info.Name, "."), kind: f.kind, src: f.src}
	}
	for i, field := range fields {
		fields[i].Doc = describe(field, fields)
	}
	return fields
}

// object goes through lists and maps to what is in them.
func (f Field) object() (at Field, path string) {
	path = f.Path
	for {
		elem, ok := f.FieldInfo.Elem()
		if !ok {
			return f, path
		}
		if f.FieldInfo.Type == "map" {
			path += "[KEY]"
		} else {
			path += "[]"
		}
		f.FieldInfo = elem
	}
}

// Find returns the field at a path of names such as spec.to.default.http. It goes through lists and maps by itself:
// "[0]", "[]" and "spec." may be left out. The error names the nearest field of the last object on the way.
func (k Kind) Find(path string) (Field, error) {
	at := k.Spec
	path = brackets.ReplaceAllString(path, "")
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '.' })
	if len(names) > 0 && names[0] == "spec" && !slices.ContainsFunc(at.Fields(), func(f Field) bool { return f.Name == "spec" }) {
		names = names[1:]
	}
	for _, name := range names {
		fields := at.Fields()
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			known := make([]string, len(fields))
			for i, f := range fields {
				known[i] = f.Name
			}
			where := k.Kind + at.shownPath()
			if len(known) == 0 {
				return Field{}, fmt.Errorf("%s has no fields, so there is no %q", where, name)
			}
			return Field{}, fmt.Errorf("%s has no field %q%s", where, name, didYouMean(name, known))
		}
		at = fields[i]
	}
	return at, nil
}

var brackets = regexp.MustCompile(`\[[^\]]*\]`)

// shownPath is the path in a Universal document, with a dot before it; "" for the spec of a kind that has it at the top.
func (f Field) shownPath() string {
	path := f.Path
	if f.kind.Message == "" {
		path = strings.TrimSuffix("spec."+path, ".")
	}
	if path == "" {
		return ""
	}
	return "." + path
}

func didYouMean(word string, known []string) string {
	if near := resource.Nearest(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	if len(known) > 30 {
		return ""
	}
	return "; known: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// describe returns the comment of a field, or else of its type, in terms of the names that documents use.
func describe(f Field, siblings []Field) string {
	doc := f.src.comment(f.Declared)
	if doc == "" {
		at, _ := f.object()
		return f.src.comment(at.Of)
	}
	if rest, ok := strings.CutPrefix(doc, f.Declared.Field+" "); ok {
		doc = f.Name + " " + rest
	}
	names := map[string]string{}
	var values []string // of the field that says which of the others counts: "for type RingHash" is not about ringHash
	for _, s := range siblings {
		if s.Name == "type" {
			values = s.Enum
		}
		if _, kind := resource.LookupKind(s.Declared.Field); !kind { // Mesh is a mesh
			names[s.Declared.Field] = s.Name
		}
	}
	var b strings.Builder
	end := 0
	for _, at := range words.FindAllStringIndex(doc, -1) {
		word := doc[at[0]:at[1]]
		if slices.Contains(values, word) && beforeValue.MatchString(doc[:at[0]]) {
			continue
		}
		if name, ok := names[word]; ok && (innerCapital(word) || !startsSentence(doc[:at[0]])) {
			b.WriteString(doc[end:at[0]] + name)
			end = at[1]
		}
	}
	return b.String() + doc[end:]
}

var words = regexp.MustCompile(`\w+`)

// innerCapital tells RequestTimeout, which is a name wherever it stands, from To and Default, which are words, too.
func innerCapital(name string) bool {
	_, first := utf8.DecodeRuneInString(name)
	return strings.ContainsFunc(name[first:], unicode.IsUpper)
}

// beforeValue is what stands before a value of the field type: "type", or "types A, B and".
var beforeValue = regexp.MustCompile(`\btypes?\s+(\w+,\s+)*(\w+\s+(and|or)\s+)?$`)

// startsSentence says whether a word after before has its capital from where it stands.
func startsSentence(before string) bool {
	before = strings.TrimRight(before, " \n")
	return before == "" || strings.HasSuffix(before, ".")
}

// TypeWords says in words what a value looks like: "list of objects", "one of A, B", "integer, 1 to 65535".
func (f Field) TypeWords() string {
	elem := Field{kind: f.kind, src: f.src}
	var inner bool
	elem.FieldInfo, inner = f.FieldInfo.Elem()
	switch f.FieldInfo.Type {
	case "list":
		if inner {
			return "list of " + elem.TypeWords()
		}
	case "map":
		if inner {
			return "map of " + elem.TypeWords()
		}
	case "enum":
		words := slices.Clone(f.allowedWords())
		if len(words) == 1 {
			return words[0]
		}
		return "one of " + strings.Join(words, ", ")
	case "integer":
		return "integer" + rangeWords(f.Min, f.Max)
	}
	return f.FieldInfo.Type
}

// typeBounds are the bounds of Go's types: not worth telling.
var (
	typeMin = []int64{math.MinInt8, math.MinInt16, math.MinInt32, math.MinInt64}
	typeMax = []uint64{math.MaxInt8, math.MaxInt16, math.MaxInt32, math.MaxInt64, math.MaxUint8, math.MaxUint16, math.MaxUint32, math.MaxUint64}
)

func rangeWords(low int64, high uint64) string {
	lowest, highest := slices.Contains(typeMin, low), slices.Contains(typeMax, high)
	if low == 0 && slices.Contains(typeMax[4:], high) {
		lowest = true // unsigned
	}
	switch {
	case lowest && highest:
		return ""
	case highest:
		return fmt.Sprintf(", at least %d", low)
	case lowest:
		return fmt.Sprintf(", at most %d", high)
	}
	return fmt.Sprintf(", %d to %d", low, high)
}

// allowedWords returns the words of an enum, fewer where the policy type allows fewer: of the kinds of a targetRef.
func (f Field) allowedWords() []string {
	if f.kind.Policy == nil {
		return f.Enum
	}
	var kinds []policy.RefKind
	switch f.Path {
	case "targetRef.kind":
		kinds = f.kind.Policy.Top
	case "to[].targetRef.kind":
		kinds = slices.Concat(f.kind.Policy.To, f.kind.Policy.ToAtGateway)
	case "from[].targetRef.kind":
		kinds = f.kind.Policy.From
	default:
		return f.Enum
	}
	return slices.DeleteFunc(slices.Clone(f.Enum), func(word string) bool { return !slices.Contains(kinds, policy.RefKind(word)) })
}

var statedDefault = regexp.MustCompile(`Default: ((?:[^.]|\.\S)*)\.(?:\s|$)`)

// DefaultWords returns the default: the value that is filled in, or what the comment says happens without the field.
func (f Field) DefaultWords() string {
	if f.Default != nil {
		return fmt.Sprint(f.Default)
	}
	if m := statedDefault.FindStringSubmatch(strings.ReplaceAll(f.Doc, "\n", " ")); m != nil {
		return m[1]
	}
	return ""
}

// Meaning returns the comment in one line, without the sentences that DefaultWords and Required stand for.
func (f Field) Meaning() string {
	doc := strings.TrimSpace(statedDefault.ReplaceAllString(oneLine(f.Doc), ""))
	if f.Required {
		doc = strings.TrimSpace(strings.TrimSuffix(doc, "Required."))
	}
	return doc
}

// Settings returns the fields that items of a policy set, by path: those of their `default`, but for what is in lists and maps. It is empty
// for routes, whose fields are named after what their rules match, and for what is no policy.
func (k Kind) Settings() map[string]Field {
	fields := map[string]Field{}
	for _, place := range []string{"to.default", "rules.default", "from.default", "default"} {
		if conf, err := k.Find(place); err == nil {
			conf.settings(fields, "")
		}
	}
	return fields
}

func (f Field) settings(to map[string]Field, path string) {
	inner := f.Fields()
	_, many := f.FieldInfo.Elem()
	if path != "" && (many || len(inner) == 0) {
		to[path] = f
		return
	}
	for _, field := range inner {
		field.settings(to, strings.TrimPrefix(path+"."+field.Name, "."))
	}
}
