package policy

import (
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// Type is one type of policy.
type Type struct {
	Kind string
	// Which lists its documents have. A type with both From and Rules says the same in either: its `from` items mean
	// all clients. Single is one `default`, for the proxy as a whole.
	To, From, Rules, Single bool

	matrix matrix
	spec   func() any // a pointer to the zero spec
	lists  func(c *check, p *Policy)
	conf   func(c *check, at string, item Item, p *Policy)
}

// matrix is what each targetRef of a type may select. "At a gateway" means that the top-level targetRef is a
// MeshGateway or a MeshHTTPRoute.
type matrix struct {
	top             []RefKind
	systemTop       []RefKind // of top, those that only a policy of role system may select
	listenerTags    bool      // a MeshGateway at the top may be narrowed by tags of its listeners
	to, toAtGateway []RefKind
	from            []RefKind
	noFromAtGateway bool
}

// Types is every type of policy that is resolved, in the order of an answer.
var Types = []Type{meshTimeout, meshTrafficPermission}

// LookupType returns the type of a kind.
func LookupType(kind string) (Type, bool) {
	i := slices.IndexFunc(Types, func(t Type) bool { return t.Kind == kind })
	if i < 0 {
		return Type{}, false
	}
	return Types[i], true
}

// Schemas returns the schema of every kind that can be read: the base kinds and the types of policy.
func Schemas() resource.Schemas {
	schemas := resource.BaseSchemas()
	for _, t := range Types {
		schemas[t.Kind] = resource.Schema{Spec: t.spec, Validate: t.validate}
	}
	return schemas
}

// Peer is an item of `to` or `from`: what is selected, and its conf.
type Peer[C any] struct {
	// TargetRef selects the destinations (to) or the clients (from). Required.
	TargetRef TargetRef `json:"targetRef" check:"required"`
	// Default is the conf; an explicit null removes what weaker policies gave.
	Default C `json:"default,omitzero" check:"patch"`
}

// Rule is an item of `rules`: a conf for traffic that comes in, whoever the client is.
type Rule[C any] struct {
	// Default is the conf; an explicit null removes what weaker policies gave.
	Default C `json:"default,omitzero" check:"patch"`
}
