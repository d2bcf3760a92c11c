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
	// Validate returns what is wrong with a spec of the right shape; spec is of Spec's type and holds r.Spec. Fields are
	// paths from the top of the Universal document: spec.to[0].targetRef, networking.address. nil: nothing more to check.
	//
	// It is also called for a document with fields of the wrong shape, to find all that is wrong at once: those fields are
	// then absent, even required ones, and a list has an empty item in the place of a bad one. What it says about them, or
	// below them, is dropped. So is a reason that misses something above them; such a reason has one of the phrases
	// "must be given", "must have", "must not be empty", "at least one", "has no ".
	Validate func(r Resource, spec any) []Violation
	// Warn returns what is accepted all the same, for Kuma accepts it, but will hardly do what its author wants. spec is
	// valid. nil: nothing.
	Warn func(r Resource, spec any) []Violation
}

// Schemas holds the schema of every kind that can be read, by kind.
type Schemas map[string]Schema

// BaseSchemas returns every kind that is no policy with targetRef. Of the kinds from before targetRef the shape alone is
// checked: they are carried, never interpreted.
func BaseSchemas() Schemas {
	return Schemas{
		"CircuitBreaker":       {Spec: func() any { return &meshv1.CircuitBreaker{} }},
		"Config":               {Spec: func() any { return &systemv1.Config{} }},
		"Dataplane":            {Spec: func() any { return &meshv1.Dataplane{} }, Validate: validateDataplane, Warn: warnDataplane},
		"DataplaneInsight":     {Spec: func() any { return &meshv1.DataplaneInsight{} }},
		"ExternalService":      {Spec: func() any { return &meshv1.ExternalService{} }},
		"FaultInjection":       {Spec: func() any { return &meshv1.FaultInjection{} }},
		"GlobalSecret":         {Spec: func() any { return &systemv1.Secret{} }, Validate: validateSecret},
		"HealthCheck":          {Spec: func() any { return &meshv1.HealthCheck{} }},
		"HostnameGenerator":    {Spec: func() any { return &HostnameGenerator{} }, Validate: validateHostnameGenerator},
		"Mesh":                 {Spec: func() any { return &meshv1.Mesh{} }, Validate: validateMesh},
		"MeshExternalService":  {Spec: func() any { return &MeshExternalService{} }, Validate: validateMeshExternalService},
		"MeshGateway":          {Spec: func() any { return &meshv1.MeshGateway{} }, Validate: validateMeshGateway},
		"MeshGatewayRoute":     {Spec: func() any { return &meshv1.MeshGatewayRoute{} }},
		"MeshInsight":          {Spec: func() any { return &meshv1.MeshInsight{} }},
		"MeshMultiZoneService": {Spec: func() any { return &MeshMultiZoneService{} }, Validate: validateMeshMultiZoneService, Warn: warnMeshMultiZoneService},
		"MeshService":          {Spec: func() any { return &MeshService{} }, Validate: validateMeshService, Warn: warnMeshService},
		"ProxyTemplate":        {Spec: func() any { return &meshv1.ProxyTemplate{} }},
		"RateLimit":            {Spec: func() any { return &meshv1.RateLimit{} }},
		"Retry":                {Spec: func() any { return &meshv1.Retry{} }},
		"Secret":               {Spec: func() any { return &systemv1.Secret{} }, Validate: validateSecret},
		"ServiceInsight":       {Spec: func() any { return &meshv1.ServiceInsight{} }},
		"Timeout":              {Spec: func() any { return &meshv1.Timeout{} }},
		"TrafficLog":           {Spec: func() any { return &meshv1.TrafficLog{} }},
		"TrafficPermission":    {Spec: func() any { return &meshv1.TrafficPermission{} }},
		"TrafficRoute":         {Spec: func() any { return &meshv1.TrafficRoute{} }},
		"TrafficTrace":         {Spec: func() any { return &meshv1.TrafficTrace{} }},
		"VirtualOutbound":      {Spec: func() any { return &meshv1.VirtualOutbound{} }},
		"Zone":                 {Spec: func() any { return &systemv1.Zone{} }},
		"ZoneEgress":           {Spec: func() any { return &meshv1.ZoneEgress{} }, Validate: validateZoneEgress},
		"ZoneEgressInsight":    {Spec: func() any { return &meshv1.ZoneEgressInsight{} }},
		"ZoneIngress":          {Spec: func() any { return &meshv1.ZoneIngress{} }, Validate: validateZoneIngress},
		"ZoneIngressInsight":   {Spec: func() any { return &meshv1.ZoneIngressInsight{} }},
		"ZoneInsight":          {Spec: func() any { return &systemv1.ZoneInsight{} }},
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

// Warnings returns what a valid resource says that will hardly do what its author wants: of a kind from before targetRef
// that it has no effect here, and what the schema of its kind warns of. nil if there is nothing.
func (s Schemas) Warnings(r Resource) []string { return Texts(s.Advice(r)) }

// Advice is Warnings with codes and fields.
func (s Schemas) Advice(r Resource) []Warning {
	var warnings []Warning
	if instead, ok := successors[r.Kind]; ok {
		text := fmt.Sprintf("%s is deprecated: it is kept and passed on, but has no effect here; use %s", r.Kind, instead)
		warnings = append(warnings, Warning{WarnDeprecatedKind, "", text})
	}
	schema := s[r.Kind]
	if schema.Warn == nil {
		return warnings
	}
	spec := schema.Spec()
	if decodeSpec(r.Spec, spec) != nil {
		return warnings // validation says so
	}
	for _, v := range schema.Warn(r, spec) {
		warnings = append(warnings, Warning{WarnDoubtfulValue, v.Field, v.Field + ": " + v.Reason})
	}
	return warnings
}

// successors are the kinds to use instead of those from before targetRef.
var successors = map[string]string{
	"CircuitBreaker":    "MeshCircuitBreaker",
	"ExternalService":   "MeshExternalService",
	"FaultInjection":    "MeshFaultInjection",
	"HealthCheck":       "MeshHealthCheck",
	"MeshGatewayRoute":  "MeshHTTPRoute or MeshTCPRoute",
	"ProxyTemplate":     "MeshProxyPatch",
	"RateLimit":         "MeshRateLimit",
	"Retry":             "MeshRetry",
	"Timeout":           "MeshTimeout",
	"TrafficLog":        "MeshAccessLog",
	"TrafficPermission": "MeshTrafficPermission",
	"TrafficRoute":      "MeshHTTPRoute or MeshTCPRoute",
	"TrafficTrace":      "MeshTrace",
	"VirtualOutbound":   "HostnameGenerator",
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
