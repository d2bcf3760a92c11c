package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

const dialect = "https://json-schema.org/draft/2020-12/schema"

// object is a JSON object; encoding/json writes its keys in order.
type object = map[string]any

// Schema returns the JSON Schema (draft 2020-12) of the documents of the kind, in both forms. It says what the shape of
// a document is and which words are allowed where; what depends on several fields together is left to validation.
func (k Kind) Schema() []byte {
	b := builder{kind: &k, defs: object{}}
	spec := b.value(k.Spec, false)
	b.defs["spec"] = spec
	forms := []any{object{"$ref": "#/$defs/universal"}, object{"$ref": "#/$defs/kubernetes"}}
	b.defs["universal"], b.defs["kubernetes"] = b.universal(), b.kubernetes()
	return encode(object{
		"$schema": dialect, "title": k.Kind, "description": oneLine(k.Purpose), "oneOf": forms, "$defs": b.defs,
	})
}

// Index returns the JSON Schema of every document: that of the kind it is of. It refers to the schemas of the kinds as
// files beside it.
func (src *Sources) Index() []byte {
	var kinds []any
	for _, name := range src.names() {
		kinds = append(kinds, object{"$ref": name + ".json"})
	}
	return encode(object{
		"$schema": dialect, "title": "Meridian", "description": "Any document that a control plane reads, in either form.", "oneOf": kinds,
	})
}

func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("catalog: a schema does not encode: %v", err)) // texts, numbers, maps and lists
	}
	return b.Bytes()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// builder builds the schema of one kind. Objects with a Go type of their own become definitions, so that a type that
// stands in many places is there once.
type builder struct {
	kind   *Kind
	defs   object
	inside []resource.GoName // the types around the value: one of them again is recursion
}

func (b *builder) universal() object {
	props := object{
		"type": object{"const": b.kind.Kind}, "name": nameSchema("as its author writes it"), "labels": labels(),
		"creationTime": object{"type": "string"}, "modificationTime": object{"type": "string"},
	}
	if b.kind.Scope == resource.ScopeMesh {
		props["mesh"] = object{"type": "string", "default": resource.DefaultMesh}
	}
	required := []any{"type", "name"}
	if b.kind.Message == "" {
		props["spec"], required = object{"$ref": "#/$defs/spec"}, append(required, "spec")
	} else {
		spec := b.defs["spec"].(object)
		maps.Copy(props, spec["properties"].(object))
	}
	if b.kind.Status {
		props["status"] = object{"type": "object"}
	}
	form := object{"type": "object", "properties": props, "required": required, "additionalProperties": false}
	if b.kind.Message != "" {
		if rules, ok := b.defs["spec"].(object)["allOf"]; ok {
			form["allOf"] = rules
		}
	}
	return form
}

func (b *builder) kubernetes() object {
	metadata := object{
		"name": nameSchema("as its author writes it"), "labels": labels(),
		"annotations": object{"type": "object"}, "creationTimestamp": true, "deletionTimestamp": true,
		"deletionGracePeriodSeconds": true, "finalizers": true, "generation": true, "managedFields": true,
		"ownerReferences": true, "resourceVersion": true, "selfLink": true, "uid": true,
		"namespace": object{"type": "string"},
	}
	props := object{
		"apiVersion": object{"const": "kuma.io/v1alpha1"}, "kind": object{"const": b.kind.Kind},
		"metadata": object{"type": "object", "properties": metadata, "required": []any{"name"}, "additionalProperties": false},
		"spec":     object{"$ref": "#/$defs/spec"}, "status": true,
	}
	required := []any{"apiVersion", "kind", "metadata"}
	if b.kind.Scope == resource.ScopeMesh {
		props["mesh"] = object{"type": "string"}
	}
	if b.kind.Message == "" {
		required = append(required, "spec")
	}
	return object{"type": "object", "properties": props, "required": required, "additionalProperties": false}
}

func nameSchema(what string) object {
	return object{"type": "string", "minLength": 1, "maxLength": 253, "description": "The name of the resource, " + what + "."}
}

func labels() object {
	return object{"type": "object", "additionalProperties": object{"type": "string"}}
}

const durationPattern = `^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

// value returns the schema of a value; patch says that an explicit null below it removes a field.
func (b *builder) value(f Field, patch bool) object {
	switch f.FieldInfo.Type {
	case "object":
		return b.named(f, patch)
	case "map", "list":
		inner := f
		inner.FieldInfo, _ = f.FieldInfo.Elem()
		if f.FieldInfo.Type == "list" { // a merge replaces lists whole, so a null below one removes nothing
			inner.Path += "[]"
			return object{"type": "array", "items": b.value(inner, false)}
		}
		inner.Path += "[KEY]"
		return object{"type": "object", "additionalProperties": nullable(b.value(inner, patch), patch)}
	case "text":
		return object{"type": "string"}
	case "integer":
		s := object{"type": "integer", "minimum": f.Min}
		if f.Max < math.MaxInt64 {
			s["maximum"] = f.Max
		}
		if f.Min == math.MinInt64 {
			delete(s, "minimum")
		}
		if f.Max >= math.MaxInt64 && b.kind.Message != "" { // the JSON form of protobuf writes 64 bits as a text
			s["type"], s["pattern"] = []any{"integer", "string"}, "^-?[0-9]+$"
		}
		return s
	case "number":
		return object{"type": "number"}
	case "boolean":
		return object{"type": "boolean"}
	case "enum":
		return object{"enum": f.allowedWords()}
	case "duration":
		return object{"type": "string", "pattern": durationPattern}
	case "time":
		return object{"type": "string", "format": "date-time"}
	case "base64":
		return object{"type": "string", "contentEncoding": "base64"}
	case "integer-or-text":
		return object{"type": []any{"integer", "string"}}
	}
	return object{}
}

func nullable(s object, patch bool) object {
	if !patch || len(s) == 0 {
		return s
	}
	return object{"anyOf": []any{s, object{"type": "null"}}}
}

// named returns a reference to the definition of an object.
func (b *builder) named(f Field, patch bool) object {
	name := f.Of.Type
	if name == "" || slices.Contains(b.inside, f.Of) {
		return object{"type": "object"}
	}
	b.inside = append(b.inside, f.Of)
	s := b.object(f, patch)
	b.inside = b.inside[:len(b.inside)-1]
	if f.Path == "" {
		return s
	}
	// One Go type may have several shapes: a generic one, one with and without nulls, a targetRef in different places.
	for i := 1; ; i++ {
		key := name
		if i > 1 {
			key = fmt.Sprintf("%s%d", name, i)
		}
		if have, ok := b.defs[key]; !ok {
			b.defs[key] = s
		} else if !reflect.DeepEqual(have, s) {
			continue
		}
		return object{"$ref": "#/$defs/" + key}
	}
}

func (b *builder) object(f Field, patch bool) object {
	props := object{}
	var required []any
	alternatives := map[string][]string{}
	for _, inner := range f.Fields() {
		s := nullable(b.value(inner, patch || inner.Patch), patch)
		if len(s) > 0 && inner.Doc != "" {
			s["description"] = oneLine(inner.Doc)
		}
		if len(s) > 0 && inner.Default != nil {
			s["default"] = inner.Default
		}
		props[inner.Name] = s
		if inner.Required && inner.Default == nil {
			required = append(required, inner.Name)
		}
		if inner.OneOf != "" {
			alternatives[inner.OneOf] = append(alternatives[inner.OneOf], inner.Name)
		}
	}
	s := object{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	if rules := exclusive(alternatives); len(rules) > 0 {
		s["allOf"] = rules
	}
	return s
}

// exclusive returns rules by which at most one of each group of fields is given.
func exclusive(groups map[string][]string) []any {
	var rules []any
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		names := groups[group]
		for i, a := range names {
			for _, b := range names[i+1:] {
				rules = append(rules, object{"not": object{"required": []any{a, b}}})
			}
		}
	}
	return rules
}
