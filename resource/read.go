package resource

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// ReadOptions says how strict Read is. The zero value refuses everything that is not understood.
type ReadOptions struct {
	// Lenient drops unknown fields silently, as Kuma does.
	Lenient bool
	// AsStored takes documents for a dump of a store: the name and the labels stay exactly as written, nothing but the
	// shape is checked, unknown fields are dropped, of duplicate fields the last wins, and the stream is cut as Kuma's
	// loader of test resources cuts it.
	AsStored bool
	// Positions keeps what Document.LineOf needs, which is larger than the document.
	Positions bool

	// The rest limits one document; 0 means the default.

	MaxBytes int // its size; 1 MiB
	MaxDepth int // how deep objects and lists are nested; 64
	MaxItems int // its fields and items on all levels, aliases expanded; 50,000
}

func (o ReadOptions) limits() limits {
	return limits{bytes: cmp.Or(o.MaxBytes, 1<<20), depth: cmp.Or(o.MaxDepth, 64), items: cmp.Or(o.MaxItems, 50_000)}
}

// Document is one resource and where it was read.
type Document struct {
	Source   string // the file
	Index    int    // of the document within the source, from 1; empty documents count
	Line     int    // of its first line within the source, from 1
	Resource Resource

	node *node // nil without ReadOptions.Positions
	form form
}

// LineOf returns the line of a field, a path in the Universal form as in Violation, or, as far as the path leads, of what
// it is missing in; the first line of the document if it was read without ReadOptions.Positions.
func (doc Document) LineOf(field string) int {
	if doc.node == nil || field == "" {
		return doc.Line
	}
	if doc.form == kubernetes {
		d, _ := LookupKind(doc.Resource.Kind)
		field = kubernetesField(field, d, doc.node.last("spec") != nil)
	}
	return doc.node.find(field)
}

// kubernetesField returns the path in the Kubernetes form of a field of the Universal form.
func kubernetesField(field string, d Descriptor, hasSpec bool) string {
	switch {
	case field == labelField(LabelNamespace):
		return "metadata.namespace"
	case field == "name" || strings.HasPrefix(field, "labels["):
		return "metadata." + field
	case field != "mesh" && field != "spec" && d.Message != "" && hasSpec:
		return "spec." + field
	}
	return field
}

// Read returns the resources of a source: YAML or JSON, any number of documents, each in the Universal or in the
// Kubernetes form. source is a name for messages, "" for a request.
//
// The documents come in the order of the source and in canonical form: defaults are filled in, specs are in the
// encoding of Resource.Spec. A document without a mesh belongs to mesh default, and the label kuma.io/mesh says so. If
// it has a namespace (metadata.namespace, or the label) its name becomes StorageName and the labels say the namespace
// and the display name; a document whose display name differs from its name carries a storage name already.
//
// Errors: one *InvalidError for each bad document, with all its violations, joined (errors.Join); the good documents
// are returned with it.
func (s Schemas) Read(source string, data []byte, o ReadOptions) ([]Document, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r := reader{schemas: s, o: o, shapes: map[documentKind]*shape{}}
	var docs []Document
	var bad []*InvalidError
	index := 0
	for _, c := range split(data, o.AsStored) {
		nodes, err := c.parse(o.limits())
		if err != nil {
			index++
			se, _ := errors.AsType[*syntaxError](err)
			v := Violation{Line: se.line, Reason: se.reason}
			if _, ok := errors.AsType[*sizeError](err); ok {
				v.Code = CodeTooLarge
			}
			bad = append(bad, &InvalidError{Source: source, Index: index, Violations: []Violation{v}})
			continue
		}
		for _, n := range nodes {
			index++
			if n == nil {
				continue
			}
			resource, form, violations := r.document(n)
			if len(violations) > 0 {
				bad = append(bad, &InvalidError{Source: source, Index: index, Key: resource.Key, Violations: violations})
				continue
			}
			doc := Document{Source: source, Index: index, Line: n.line, Resource: resource, form: form}
			if o.Positions {
				doc.node = n
			}
			docs = append(docs, doc)
		}
	}
	errs := make([]error, len(bad))
	for i, e := range bad {
		if errs[i] = e; index == 1 {
			e.Index = 0
		}
	}
	return docs, errors.Join(errs...)
}

const apiVersion = "kuma.io/v1alpha1"

// form is one of the two ways to write the metadata of a document.
type form uint8

const (
	universal form = iota
	kubernetes
)

// The headers of the two forms. mesh belongs to both.
type (
	universalHeader struct {
		Type             string            `json:"type"`
		Mesh             string            `json:"mesh"`
		Name             string            `json:"name"`
		Labels           map[string]string `json:"labels"`
		CreationTime     any               `json:"creationTime"`
		ModificationTime any               `json:"modificationTime"`
	}
	kubernetesHeader struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Mesh       string `json:"mesh"`
		Metadata   struct {
			Name        string            `json:"name"`
			Namespace   string            `json:"namespace"`
			Labels      map[string]string `json:"labels"`
			Annotations any               `json:"annotations"`

			// What a cluster adds to the objects that it gives out.
			CreationTimestamp          any `json:"creationTimestamp"`
			DeletionGracePeriodSeconds any `json:"deletionGracePeriodSeconds"`
			DeletionTimestamp          any `json:"deletionTimestamp"`
			Finalizers                 any `json:"finalizers"`
			Generation                 any `json:"generation"`
			ManagedFields              any `json:"managedFields"`
			OwnerReferences            any `json:"ownerReferences"`
			ResourceVersion            any `json:"resourceVersion"`
			SelfLink                   any `json:"selfLink"`
			UID                        any `json:"uid"`
		} `json:"metadata"`
	}
)

var headers = [...]*shape{universal: shapeOf(&universalHeader{}), kubernetes: shapeOf(&kubernetesHeader{})}

func (f form) header() *shape { return headers[f] }

// owns says whether a field tells this form from the other.
func (f form) owns(name string) bool {
	_, ok := headers[f].names[name]
	return ok && name != "mesh"
}

// kindField is the field that names the kind.
func (f form) kindField() string {
	if f == kubernetes {
		return "kind"
	}
	return "type"
}

// formOf tells the form of a document by its fields; a reason says why it cannot.
func formOf(n *node) (f form, reason string) {
	var found [2]bool
	for _, e := range n.entries {
		found[universal] = found[universal] || universal.owns(e.key)
		found[kubernetes] = found[kubernetes] || kubernetes.owns(e.key)
	}
	switch {
	case found[universal] && found[kubernetes]:
		return universal, fmt.Sprintf("mixes two forms: %s of the Universal form with %s of the Kubernetes form", n.owned(universal), n.owned(kubernetes))
	case found[kubernetes]:
		return kubernetes, ""
	case found[universal]:
		return universal, ""
	}
	return universal, "want type and name (Universal form), or apiVersion, kind and metadata (Kubernetes form)"
}

// owned lists the fields that belong to one form alone.
func (n *node) owned(f form) string {
	var names []string
	for _, e := range n.entries {
		if f.owns(e.key) && !slices.Contains(names, e.key) {
			names = append(names, e.key)
		}
	}
	return strings.Join(names, ", ")
}

// reader reads the documents of one source.
type reader struct {
	schemas Schemas
	o       ReadOptions
	shapes  map[documentKind]*shape
}

type documentKind struct {
	kind string
	form form
}

// shape returns the shape of a whole document.
func (r *reader) shape(d Descriptor, f form) *shape {
	key := documentKind{d.Kind, f}
	if s, ok := r.shapes[key]; ok {
		return s
	}
	fields := slices.Clone(f.header().fields)
	spec := shapeOf(r.schemas[d.Kind].Spec())
	anything := &shape{kind: shapeAny}
	switch {
	case d.Message == "":
		fields = append(fields, field{name: "spec", shape: spec, required: true})
	case f == kubernetes:
		fields = append(fields, field{name: "spec", shape: spec})
		fields = append(fields, spec.fields...)
	default:
		fields = append(fields, spec.fields...)
	}
	if d.Status || f == kubernetes {
		fields = append(fields, field{name: "status", shape: anything})
	}
	s := &shape{}
	s.object(fields)
	if d.Message != "" {
		for name, i := range spec.names {
			s.names[name] = s.names[spec.fields[i].name]
		}
	}
	r.shapes[key] = s
	return s
}

// document reads one document. Of a bad one the resource has what is known of its key.
func (r *reader) document(n *node) (Resource, form, []Violation) {
	if n.kind != nodeObject {
		return Resource{}, universal, []Violation{{Line: n.line, Reason: "found " + n.describe() + ", want an object with type and name, or apiVersion, kind and metadata"}}
	}
	f, reason := formOf(n)
	if reason != "" {
		return Resource{}, f, []Violation{{Line: n.line, Reason: reason}}
	}
	if f == kubernetes {
		if v := n.last("apiVersion"); v == nil {
			return Resource{}, f, []Violation{{Line: n.line, Field: "apiVersion", Reason: "must be given: want " + apiVersion}}
		} else if v.kind != nodeText || v.text != apiVersion {
			bad := Violation{Line: v.line, Field: "apiVersion", Reason: "found " + v.describe() + ", want " + apiVersion}
			if v.kind == nodeText && !strings.HasPrefix(v.text, "kuma.io/") {
				bad.Code = CodeForeign
			}
			return Resource{}, f, []Violation{bad}
		}
	}
	c := &checker{dropUnknown: r.o.Lenient || r.o.AsStored, lastWins: r.o.AsStored}
	d, known := r.kind(c, n, f)
	var value map[string]any
	if known {
		value = c.object(r.shape(d, f), n, nil, false)
	} else {
		c.dropUnknown = true // of an unknown kind only the header can be checked
		value = c.object(f.header(), n, nil, false)
	}
	doc := document{checker: c, node: n, form: f, d: d, value: value}
	res := doc.meta(known, r.o.AsStored)
	if known {
		doc.spec(&res, r.schemas[d.Kind], r.o.AsStored)
	}
	return res, f, c.sorted()
}

// kind returns the row of the document's kind; known is false, and the reason reported, if it cannot be read.
func (r *reader) kind(c *checker, n *node, f form) (d Descriptor, known bool) {
	at := (*path)(nil).field(f.kindField())
	v := n.last(f.kindField())
	switch {
	case v == nil || v.kind == nodeText && v.text == "":
		c.report(n.line, at, "must be given")
		return d, false
	case v.kind != nodeText:
		return d, false // the shape of the header reports it
	}
	d, ok := LookupKind(v.text)
	if !ok {
		names := make([]string, len(Kinds))
		for i, k := range Kinds {
			names[i] = k.Kind
		}
		reason := fmt.Sprintf("unknown kind %q", cut(v.text))
		if near := Nearest(v.text, names); near != "" {
			reason += "; did you mean " + near + "?"
		}
		c.report(v.line, at, "%s", reason)
		return Descriptor{Kind: v.text}, false
	}
	if _, ok := r.schemas[d.Kind]; !ok {
		c.report(v.line, at, "%s is not supported yet", d.Kind)
		return d, false
	}
	return d, true
}

// document is one document whose shape has been checked.
type document struct {
	*checker
	node  *node
	form  form
	d     Descriptor
	value map[string]any // the whole document
}

// text returns the text at a path of field names, "" if there is none.
func (doc *document) text(path ...string) string {
	v := any(doc.value)
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// meta fills in the key and the labels.
func (doc *document) meta(known, asStored bool) Resource {
	name, namespace, metadata := doc.text("name"), "", doc.value
	if doc.form == kubernetes {
		metadata, _ = doc.value["metadata"].(map[string]any)
		name, namespace = doc.text("metadata", "name"), doc.text("metadata", "namespace")
	}
	res := Resource{Key: Key{Kind: doc.d.Kind, Name: name}}
	written, _ := metadata["labels"].(map[string]any)
	for key, value := range written {
		if res.Labels == nil {
			res.Labels = make(map[string]string, len(written)+3)
		}
		res.Labels[key] = value.(string)
	}
	res.Mesh = doc.text("mesh")
	switch {
	case doc.d.Scope == ScopeMesh:
		res.Mesh = cmp.Or(res.Mesh, res.Labels[LabelMesh], DefaultMesh)
	case asStored:
		res.Mesh = ""
	}
	if asStored {
		if name == "" {
			doc.invalid(Violation{Field: "name", Reason: "must be given"}, doc.violations)
		}
		return res
	}
	if res.Labels == nil {
		res.Labels = map[string]string{}
	}
	for _, same := range [][2]string{{LabelMesh, res.Mesh}, {LabelNamespace, namespace}} {
		label, ok := res.Labels[same[0]]
		if ok && same[1] != "" && label != same[1] {
			doc.invalid(Violation{Field: labelField(same[0]), Reason: fmt.Sprintf("found %q, but the document says %q elsewhere", cut(label), cut(same[1]))}, doc.violations)
		}
	}
	if doc.d.Scope == ScopeMesh {
		res.Labels[LabelMesh] = res.Mesh
	}
	if namespace != "" {
		res.Labels[LabelNamespace] = namespace
	}
	if display := doc.text("metadata", "annotations", LabelDisplayName); display != "" && res.Labels[LabelDisplayName] == "" {
		res.Labels[LabelDisplayName] = display
	}
	namespace = res.Labels[LabelNamespace]
	if known {
		for _, v := range ValidateMeta(res, doc.d) {
			doc.invalid(v, doc.violations)
		}
		if namespace != "" && !doc.d.namespaced() {
			doc.invalid(Violation{Field: labelField(LabelNamespace), Reason: fmt.Sprintf("found %q, but a %s belongs to no namespace", cut(namespace), doc.d.Kind)}, doc.violations)
		}
	} else if name == "" {
		doc.invalid(Violation{Field: "name", Reason: "must be given"}, doc.violations)
	}
	if display := res.Labels[LabelDisplayName]; name != "" && namespace != "" && (display == "" || display == name) {
		res.Labels[LabelDisplayName] = cmp.Or(display, strings.TrimSuffix(name, "."+namespace))
		if res.Name = StorageName(name, namespace); len(res.Name) > maxNameLength && len(name) <= maxNameLength {
			doc.invalid(Violation{Field: "name", Reason: fmt.Sprintf("has %d characters with the namespace, want at most %d", len(res.Name), maxNameLength)}, doc.violations)
		}
	}
	if len(res.Labels) == 0 {
		res.Labels = nil
	}
	return res
}

// namespaced says whether resources of the kind may live in a namespace.
func (d Descriptor) namespaced() bool { return d.Scope == ScopeMesh || d.Plugin || d.Proxy }

func labelField(key string) string { return "labels[" + strconv.Quote(cut(key)) + "]" }

// invalid reports a violation whose field is a path in the Universal form, under the name that the field has in the
// document, unless it follows from one of those given.
func (doc *document) invalid(v Violation, known []Violation) {
	namespace := labelField(LabelNamespace)
	if doc.form == kubernetes {
		switch {
		case v.Field == namespace && doc.text("metadata", "namespace") != "":
			v.Field = "metadata.namespace"
		case v.Field == labelField(LabelDisplayName) && doc.text("metadata", "labels", LabelDisplayName) == "":
			v.Field = "metadata.annotations[" + strconv.Quote(LabelDisplayName) + "]"
		case v.Field == namespace:
			v.Field = "metadata." + v.Field
		default:
			v.Field = kubernetesField(v.Field, doc.d, doc.value["spec"] != nil)
		}
	}
	if doc.full() || doc.follows(v, known) { // follows costs more, and a hostile document has many
		return
	}
	v.Line = doc.node.find(v.Field)
	doc.violations = append(doc.violations, v)
}

// specIsSound says whether nothing was reported outside the header.
func (doc *document) specIsSound() bool {
	for _, v := range doc.violations {
		name, _, _ := strings.Cut(v.Field, ".")
		name, _, _ = strings.Cut(name, "[")
		if _, ok := doc.form.header().names[name]; !ok {
			return false
		}
	}
	return true
}

// spec fills in spec and status, and checks what the shape cannot say. Of a document whose shape is not sound this is
// what was left of it, good enough to look for more violations.
func (doc *document) spec(res *Resource, schema Schema, asStored bool) {
	sound := doc.specIsSound()
	if _, given := doc.value["spec"]; !given && doc.d.Message == "" {
		return
	}
	spec, validate := schema.Spec(), schema.Validate != nil && !asStored
	var err error
	if m, ok := spec.(proto.Message); ok {
		res.Spec, err = doc.message(m)
	} else if res.Spec = compactJSON(doc.value["spec"]); validate {
		err = json.Unmarshal(res.Spec, spec)
	}
	if err != nil {
		if sound {
			doc.invalid(Violation{Field: "spec", Reason: err.Error()}, nil)
		}
		return
	}
	if status := doc.value["status"]; status != nil && doc.d.Status {
		res.Status = compactJSON(status)
	}
	if !validate {
		return
	}
	known := slices.Clone(doc.violations)
	for _, v := range schema.Validate(*res, spec) {
		doc.invalid(v, known)
	}
}

// message decodes into m the fields that stand under spec or beside the header, and returns the encoding of m.
func (doc *document) message(m proto.Message) ([]byte, error) {
	fields := map[string]any{}
	for _, f := range shapeOf(m).fields {
		if v, ok := doc.value[f.name]; ok {
			fields[f.name] = v
		}
	}
	under, _ := doc.value["spec"].(map[string]any)
	for name := range under {
		if _, ok := fields[name]; ok {
			return nil, fmt.Errorf("%s stands here and at the top level: give it once", name)
		}
	}
	maps.Copy(fields, under)
	if err := protojson.Unmarshal(compactJSON(fields), m); err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// compactJSON encodes a canonical value: sorted keys, no white space.
func compactJSON(v any) []byte { return appendJSON(nil, v) }

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for i, key := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSON(b, key), ':')
			b = appendJSON(b, v[key])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	case string:
		if isPlainText(v) {
			return append(append(append(b, '"'), v...), '"')
		}
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case nil:
		return append(b, "null"...)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("resource: a canonical value does not encode: %v", err)) // finite numbers, texts, maps, lists
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// isPlainText says whether a text stands in JSON as it is.
func isPlainText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// find returns the line of the field at a path (a.b[0]["c"]), or, as far as the path leads, of what it is missing in.
func (n *node) find(field string) int {
	line := n.line
	for field != "" {
		var next *node
		switch {
		case strings.HasPrefix(field, `["`):
			quoted, err := strconv.QuotedPrefix(field[1:])
			if err != nil {
				return line
			}
			key, _ := strconv.Unquote(quoted)
			field = strings.TrimPrefix(field[1+len(quoted):], "]")
			line, next = n.entryLine(line, func(k string) bool { return k == key })
		case strings.HasPrefix(field, "["):
			index, rest, _ := strings.Cut(field[1:], "]")
			i, err := strconv.Atoi(index)
			field = rest
			if err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
				line = next.line
			}
		default:
			field = strings.TrimPrefix(field, ".")
			end := strings.IndexAny(field, ".[")
			if end < 0 {
				end = len(field)
			}
			name := spelling(field[:end])
			field = field[end:]
			line, next = n.entryLine(line, func(k string) bool { return spelling(k) == name })
		}
		if next == nil {
			return line
		}
		n = next
	}
	return line
}

// entryLine returns the line and value of the last entry whose key matches, or the line given and nil.
func (n *node) entryLine(line int, match func(key string) bool) (int, *node) {
	for _, e := range slices.Backward(n.entries) {
		if match(e.key) {
			return e.line, e.value
		}
	}
	return line, nil
}

// spelling makes redirect_port_inbound and redirectPortInbound equal.
func spelling(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
