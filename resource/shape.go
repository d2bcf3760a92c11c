package resource

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// shape says what a value of a document may look like. A tree of shapes is built once per kind, from the Go struct or
// the protobuf message of its spec, and is what documents are checked against. Shapes may be recursive; they are never
// modified once built.
type shape struct {
	kind shapeKind

	fields []field        // of an object, in the order of declaration
	names  map[string]int // every accepted spelling of a field, to its index in fields
	elem   *shape         // of a list, and of the values of a map

	min      int64    // of an int
	max      uint64   // of an int
	quotable bool     // an int or number may be given as a text (the JSON form of protobuf)
	seconds  bool     // a duration is written in seconds (the JSON form of protobuf)
	words    []string // of an enum
	secret   bool     // no message shows the value
	goName   GoName   // the Go type of the value, if it has a name
}

type shapeKind uint8

const (
	shapeObject shapeKind = iota
	shapeMap
	shapeList
	shapeText
	shapeInt
	shapeNumber
	shapeBool
	shapeEnum
	shapeDuration
	shapeTime
	shapeBytes       // base64
	shapeIntOrString // 15 or "15%"
	shapeAny
)

// field is one field of an object. required, patch and byDef come from the struct tag `check`.
type field struct {
	name     string
	shape    *shape
	required bool
	patch    bool   // an explicit null below it removes a field (RFC 7396), and is kept
	byDef    any    // the value that the field gets when its object is given without it; nil: none
	oneof    string // of the fields with one such word at most one may be given; "": no such rule
	goName   GoName // the field of the Go type, which has the doc comment
}

// want says what a value of the shape looks like, for "want ...".
func (s *shape) want() string {
	switch s.kind {
	case shapeObject, shapeMap:
		return "an object"
	case shapeList:
		return "a list"
	case shapeText:
		return "a text"
	case shapeInt:
		if s.max >= math.MaxInt64 {
			return strings.TrimSuffix("a whole number from "+strconv.FormatInt(s.min, 10), " from "+strconv.FormatInt(math.MinInt64, 10))
		}
		return fmt.Sprintf("a whole number from %d to %d", s.min, s.max)
	case shapeNumber:
		return "a number"
	case shapeBool:
		return "true or false"
	case shapeEnum:
		if len(s.words) == 1 {
			return s.words[0]
		}
		return "one of " + strings.Join(s.words, ", ")
	case shapeDuration:
		return "a duration such as 5s, 250ms or 1h30m"
	case shapeTime:
		return "a time such as 2026-01-02T15:04:05Z"
	case shapeBytes:
		return "a text in base64"
	case shapeIntOrString:
		return "a whole number or a text"
	}
	return "any value"
}

func (s *shape) fieldNames() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// object adds the fields to an empty object shape.
func (s *shape) object(fields []field) {
	s.kind, s.fields, s.names = shapeObject, fields, make(map[string]int, len(fields))
	for i, f := range fields {
		s.names[f.name] = i
	}
}

// shapes remembers the shape of each type: reflect.Type or protoreflect.FullName to *shape.
var shapes sync.Map

// shapeOf returns the shape of a pointer to a struct, or of a protobuf message. It panics on a type that documents
// cannot hold: such a type is a mistake in this program.
func shapeOf(spec any) *shape {
	if m, ok := spec.(proto.Message); ok {
		name := m.ProtoReflect().Descriptor().FullName()
		if s, ok := shapes.Load(name); ok {
			return s.(*shape)
		}
		s, _ := shapes.LoadOrStore(name, messageShape(m.ProtoReflect().Descriptor()))
		return s.(*shape)
	}
	t := reflect.TypeOf(spec).Elem()
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s, _ := shapes.LoadOrStore(t, structShapes{}.of(t))
	return s.(*shape)
}

// enum is a named string type with a closed list of words.
type enum interface{ Enum() []string }

var (
	enumType        = reflect.TypeFor[enum]()
	durationType    = reflect.TypeFor[Duration]()
	timeType        = reflect.TypeFor[time.Time]()
	intOrStringType = reflect.TypeFor[IntOrString]()
	rawType         = reflect.TypeFor[json.RawMessage]()
)

// structShapes builds the shapes of Go types; the map ends recursion.
type structShapes map[reflect.Type]*shape

func (b structShapes) of(t reflect.Type) *shape {
	if t.Kind() == reflect.Pointer {
		return b.of(t.Elem())
	}
	if s, ok := b[t]; ok {
		return s
	}
	s := &shape{goName: goType(t)}
	b[t] = s
	switch {
	case t == durationType:
		s.kind = shapeDuration
	case t == timeType:
		s.kind = shapeTime
	case t == intOrStringType:
		s.kind = shapeIntOrString
	case t == rawType:
		s.kind = shapeAny
	case t.Implements(enumType):
		s.kind, s.words = shapeEnum, reflect.Zero(t).Interface().(enum).Enum()
	default:
		b.plain(s, t)
	}
	return s
}

func (b structShapes) plain(s *shape, t reflect.Type) {
	switch t.Kind() {
	case reflect.String:
		s.kind = shapeText
	case reflect.Bool:
		s.kind = shapeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		s.kind, s.min, s.max = shapeInt, -1<<(t.Bits()-1), 1<<(t.Bits()-1)-1
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.kind, s.max = shapeInt, 1<<t.Bits()-1
	case reflect.Float32, reflect.Float64:
		s.kind = shapeNumber
	case reflect.Interface:
		s.kind = shapeAny
	case reflect.Map:
		s.kind, s.elem = shapeMap, b.of(t.Elem())
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			s.kind = shapeBytes
			return
		}
		s.kind, s.elem = shapeList, b.of(t.Elem())
	case reflect.Struct:
		s.object(b.structFields(t))
	default:
		panic(fmt.Sprintf("resource: no document can hold a %v", t))
	}
}

func (b structShapes) structFields(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case name == "-" || !sf.IsExported() && !sf.Anonymous:
			continue
		case sf.Anonymous && name == "": // its fields stand in the object itself, as encoding/json has it
			inner := sf.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			fields = append(fields, b.structFields(inner)...)
			continue
		case name == "":
			name = sf.Name
		}
		f := field{name: name, shape: b.of(sf.Type), goName: goType(t)}
		f.goName.Field = sf.Name
		if tag := sf.Tag.Get("check"); tag != "" {
			f.tag(tag)
		}
		fields = append(fields, f)
	}
	return fields
}

// goType returns the name of a type, without the types that a generic one is made for.
func goType(t reflect.Type) GoName {
	name, _, _ := strings.Cut(t.Name(), "[")
	return GoName{Package: t.PkgPath(), Type: name}
}

// tag reads the struct tag `check`: words separated by commas, of required, patch, secret, min=, max= (of an int) and
// default= (of a text, enum, int or bool).
func (f *field) tag(tag string) {
	for word := range strings.SplitSeq(tag, ",") {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "required":
			f.required = true
		case "patch":
			f.patch = true
		case "secret":
			f.shape = f.shape.copy()
			f.shape.secret = true
		case "min":
			f.shape = f.shape.copy()
			f.shape.min, err = strconv.ParseInt(value, 10, 64)
		case "max":
			f.shape = f.shape.copy()
			f.shape.max, err = strconv.ParseUint(value, 10, 64)
		case "default":
			switch f.shape.kind {
			case shapeInt:
				f.byDef, err = strconv.ParseInt(value, 10, 64)
			case shapeBool:
				f.byDef, err = strconv.ParseBool(value)
			default:
				f.byDef = value
			}
		default:
			err = fmt.Errorf("unknown word")
		}
		if err != nil {
			panic(fmt.Sprintf("resource: field %s: check:%q: %v", f.name, tag, err))
		}
	}
}

func (s *shape) copy() *shape {
	c := *s
	return &c
}
