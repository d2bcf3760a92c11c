package resource

import "slices"

// FieldInfo describes one field of the documents of a kind: what its value looks like, and what is below it. It is a
// view of what Read checks documents against.
type FieldInfo struct {
	Name string // as documents write it; "" for the items of a list and the values of a map
	// Type is one word: object, map, list, text, integer, number, boolean, enum, duration, time, base64,
	// integer-or-text, any.
	Type     string
	Required bool
	Default  any      // string, bool or int64; nil: none. Filled in when the object around the field is given
	Enum     []string // the allowed words of an enum
	Min      int64    // of an integer
	Max      uint64   // of an integer
	Patch    bool     // a value for merging (RFC 7396): below it an explicit null removes a field
	OneOf    string   // of the fields of an object with the same word at most one may be given; "": no such rule
	Secret   bool     // no message shows the value

	// Declared is the field of a Go struct that this is, and Of the Go type of the value, as far as there are such: their
	// doc comments describe the field. A field of a message that is one of several has a struct of its own, DataSource_File.
	Declared, Of GoName

	shape *shape
}

// GoName is a Go type with a name, or a field of a struct.
type GoName struct {
	Package string // the import path; "" if the type has no name, or one of the language
	Type    string // without the types that a generic one is made for
	Field   string // "" for the type itself
}

// Fields returns the fields of the spec of a kind: of an object named spec or, if the kind is a protobuf message, those
// that stand at the top of a Universal document and below spec in the Kubernetes form. ok is false if the kind has no
// schema.
func (s Schemas) Fields(kind string) (info FieldInfo, ok bool) {
	schema, ok := s[kind]
	if !ok {
		return FieldInfo{}, false
	}
	return fieldInfo(field{name: "spec", shape: shapeOf(schema.Spec()), required: true}), true
}

// Fields returns the fields of an object, in the order of declaration; nil for what is no object. Objects may hold
// objects of their own type.
func (f FieldInfo) Fields() []FieldInfo {
	if f.shape == nil || f.shape.kind != shapeObject {
		return nil
	}
	infos := make([]FieldInfo, len(f.shape.fields))
	for i, inner := range f.shape.fields {
		infos[i] = fieldInfo(inner)
	}
	return infos
}

// Elem returns what the items of a list or the values of a map look like; ok is false for anything else.
func (f FieldInfo) Elem() (elem FieldInfo, ok bool) {
	if f.shape == nil || f.shape.elem == nil {
		return FieldInfo{}, false
	}
	return fieldInfo(field{shape: f.shape.elem}), true
}

var shapeWords = [...]string{
	shapeObject: "object", shapeMap: "map", shapeList: "list", shapeText: "text", shapeInt: "integer", shapeNumber: "number",
	shapeBool: "boolean", shapeEnum: "enum", shapeDuration: "duration", shapeTime: "time", shapeBytes: "base64",
	shapeIntOrString: "integer-or-text", shapeAny: "any",
}

func fieldInfo(f field) FieldInfo {
	info := FieldInfo{
		Name: f.name, Type: shapeWords[f.shape.kind], Required: f.required, Default: f.byDef, Enum: slices.Clone(f.shape.words),
		Min: f.shape.min, Max: f.shape.max, Patch: f.patch, OneOf: f.oneof, Secret: f.shape.secret, Declared: f.goName, shape: f.shape,
	}
	if f.shape.goName.Package != "" {
		info.Of = f.shape.goName
	}
	return info
}
