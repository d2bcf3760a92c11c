package resource

import (
	"math"
	"reflect"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// messageShape returns the shape of the JSON form of a protobuf message: lowerCamelCase names (the names of the .proto
// are accepted too), wrappers as bare values, durations in seconds, enums by name.
func messageShape(d protoreflect.MessageDescriptor) *shape {
	return messageShapes{}.message(d)
}

// secretFields hold keys and passwords.
var secretFields = []protoreflect.FullName{
	"kuma.system.v1alpha1.DataSource.inline",
	"kuma.system.v1alpha1.DataSource.inlineString",
	"kuma.system.v1alpha1.Secret.data",
}

// goMessage returns the Go type of a message.
func goMessage(d protoreflect.MessageDescriptor) GoName {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return GoName{}
	}
	return goType(reflect.TypeOf(t.Zero().Interface()).Elem())
}

// goField returns the Go field of a message's field. One of a oneof has a type of its own around it.
func goField(message GoName, f protoreflect.FieldDescriptor) GoName {
	for word := range strings.SplitSeq(string(f.Name()), "_") {
		message.Field += strings.ToUpper(word[:1]) + word[1:]
	}
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		message.Type += "_" + message.Field
		if f.ContainingMessage().Messages().ByName(protoreflect.Name(message.Field)) != nil {
			message.Type += "_" // the name is taken
		}
	}
	return message
}

// messageShapes builds the shapes of messages; the map ends recursion.
type messageShapes map[protoreflect.FullName]*shape

func (b messageShapes) message(d protoreflect.MessageDescriptor) *shape {
	if s, ok := b[d.FullName()]; ok {
		return s
	}
	s := &shape{}
	b[d.FullName()] = s
	switch name := d.FullName(); name {
	case "google.protobuf.Duration":
		s.kind, s.seconds = shapeDuration, true
	case "google.protobuf.Timestamp":
		s.kind = shapeTime
	case "google.protobuf.Struct":
		s.kind, s.elem = shapeMap, &shape{kind: shapeAny}
	case "google.protobuf.ListValue":
		s.kind, s.elem = shapeList, &shape{kind: shapeAny}
	case "google.protobuf.Value", "google.protobuf.Any":
		s.kind = shapeAny
	default:
		if d.ParentFile().Path() == "google/protobuf/wrappers.proto" {
			*s = *b.value(d.Fields().ByName("value"))
			return s
		}
		s.goName = goMessage(d)
		fields := make([]field, d.Fields().Len())
		for i := range fields {
			f := d.Fields().Get(i)
			fields[i] = field{name: f.JSONName(), shape: b.field(f), goName: goField(s.goName, f)}
			if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
				fields[i].oneof = string(o.Name())
			}
			if slices.Contains(secretFields, f.FullName()) {
				fields[i].shape = fields[i].shape.copy()
				fields[i].shape.secret = true
			}
		}
		s.object(fields)
		for i := range fields {
			s.names[string(d.Fields().Get(i).Name())] = i
		}
	}
	return s
}

func (b messageShapes) field(f protoreflect.FieldDescriptor) *shape {
	switch {
	case f.IsMap():
		return &shape{kind: shapeMap, elem: b.value(f.MapValue())}
	case f.IsList():
		return &shape{kind: shapeList, elem: b.value(f)}
	}
	return b.value(f)
}

func (b messageShapes) value(f protoreflect.FieldDescriptor) *shape {
	integer := func(min int64, max uint64) *shape { return &shape{kind: shapeInt, min: min, max: max, quotable: true} }
	switch f.Kind() {
	case protoreflect.BoolKind:
		return &shape{kind: shapeBool}
	case protoreflect.StringKind:
		return &shape{kind: shapeText}
	case protoreflect.BytesKind:
		return &shape{kind: shapeBytes}
	case protoreflect.EnumKind:
		s := &shape{kind: shapeEnum}
		for i := range f.Enum().Values().Len() {
			s.words = append(s.words, string(f.Enum().Values().Get(i).Name()))
		}
		return s
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return &shape{kind: shapeNumber, quotable: true}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return integer(math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return integer(0, math.MaxUint32)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return integer(math.MinInt64, math.MaxInt64)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return integer(0, math.MaxUint64)
	}
	return b.message(f.Message())
}
