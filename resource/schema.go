package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
)

// Schema says what the spec of one kind looks like and what else must hold.
type Schema struct {
	// Spec returns a pointer to the zero spec: of a struct with json tags (and check tags, see the package comment) for
	// a kind whose spec is JSON, or a protobuf message.
	Spec func() any
	// Validate returns what is wrong with a spec that has the right shape; spec is of Spec's type and holds r.Spec.
	// Fields are paths from the top of the Universal document: spec.to[0].targetRef, networking.address. nil: nothing
	// more to check.
	Validate func(r Resource, spec any) []Violation
}

// Schemas holds the schema of every kind that can be read, by kind.
type Schemas map[string]Schema

// BaseSchemas returns the kinds that are not policies: Mesh, Zone, ZoneInsight, Dataplane, MeshService.
func BaseSchemas() Schemas {
	return Schemas{
		"Dataplane":   {Spec: func() any { return &meshv1.Dataplane{} }, Validate: validateDataplane},
		"Mesh":        {Spec: func() any { return &meshv1.Mesh{} }, Validate: validateMesh},
		"MeshService": {Spec: func() any { return &MeshService{} }, Validate: validateMeshService},
		"Zone":        {Spec: func() any { return &systemv1.Zone{} }},
		"ZoneInsight": {Spec: func() any { return &systemv1.ZoneInsight{} }},
	}
}

// Validate checks the spec of a resource that did not come from a document, if its kind has a schema. Unknown fields
// are accepted: a newer peer may have sent them. For the metadata see ValidateMeta.
//
// Errors: *InvalidError with every violation.
func (s Schemas) Validate(r Resource) error {
	schema, ok := s[r.Kind]
	if !ok {
		return nil
	}
	spec := schema.Spec()
	if err := decodeSpec(r.Spec, spec); err != nil {
		return &InvalidError{Key: r.Key, Violations: []Violation{{Field: "spec", Reason: err.Error()}}}
	}
	if schema.Validate == nil {
		return nil
	}
	if violations := schema.Validate(r, spec); len(violations) > 0 {
		return &InvalidError{Key: r.Key, Violations: violations}
	}
	return nil
}

// Spec returns the decoded spec of r: T is a struct (MeshService), or a protobuf message (*meshv1.Dataplane).
// Unknown fields are ignored.
func Spec[T any](r Resource) (T, error) {
	var spec T
	into := any(&spec)
	if m, ok := any(spec).(proto.Message); ok {
		m = m.ProtoReflect().New().Interface()
		spec, into = m.(T), m
	}
	if err := decodeSpec(r.Spec, into); err != nil {
		return spec, fmt.Errorf("spec of %v: %w", r.Key, err)
	}
	return spec, nil
}

// decodeSpec decodes the canonical encoding of a spec.
func decodeSpec(data []byte, into any) error {
	if m, ok := into.(proto.Message); ok {
		return proto.Unmarshal(data, m)
	}
	return json.Unmarshal(data, into)
}

// Duration is a time.Duration that documents write in Go's notation: "5s", "1h30m".
type Duration time.Duration

// String returns Go's notation.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns Go's notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText, and accepts everything that time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// IntOrString is a whole number or a text, whichever the author wrote: a port by number or by name, 15 or "2.5".
type IntOrString struct {
	Text  string // "" when it is a number
	Int   int32
	IsInt bool
}

// String returns the text, or the number in decimal.
func (v IntOrString) String() string {
	if v.IsInt {
		return strconv.Itoa(int(v.Int))
	}
	return v.Text
}

// MarshalJSON returns a JSON number or string.
func (v IntOrString) MarshalJSON() ([]byte, error) {
	if v.IsInt {
		return json.Marshal(v.Int)
	}
	return json.Marshal(v.Text)
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (v *IntOrString) UnmarshalJSON(data []byte) error {
	*v = IntOrString{}
	if json.Unmarshal(data, &v.Text) == nil {
		return nil
	}
	v.IsInt = true
	if err := json.Unmarshal(data, &v.Int); err != nil {
		return errors.New("want a whole number or a text")
	}
	return nil
}
