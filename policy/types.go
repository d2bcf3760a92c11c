package policy

import (
	"encoding/json"
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

// Type is one type of policy.
type Type struct {
	Kind string
	// Which lists its documents have. A type with both From and Rules says the same in either: its `from` items mean
	// all clients. Single is one `default`, for the proxy as a whole.
	To, From, Rules, Single bool
	// Egress says that a zone egress has confs of this type: see OnEgress.
	Egress bool

	matrix matrix
	spec   func() spec

	// What follows is nil in all types but the routes.

	// item makes an item of `to` of what stands in place of its `default`: JSON, nil if it is not given.
	item func(ref TargetRef, rules, hostnames json.RawMessage) (Item, error)
	// merge returns the confs that entries come to, the last one winning. nil: one, by merge.
	merge func(entries []Entry) []any
	// traceable returns the entry with a conf of which every field can have its own origin.
	traceable func(e Entry) Entry
}

// spec is a pointer to the spec of one type of policy.
type spec interface {
	// validate reports everything that the shape cannot say. It must do with what any document leaves behind: a field
	// that has a wrong value is reported already, and is zero here.
	validate(c *check)
}

// matrix is what each targetRef of a type may select, and which lists a policy of the type must have.
type matrix struct {
	top          []RefKind
	systemTop    []RefKind // of top, those that only a policy of role system may select
	listenerTags bool      // a MeshGateway at the top may be narrowed by tags of its listeners
	to           []RefKind
	// toAtGateway takes the place of to where the top-level targetRef is a MeshGateway or, if the type takes that at
	// the top, a MeshHTTPRoute. nil: it makes no difference.
	toAtGateway     []RefKind
	from            []RefKind
	noFromAtGateway bool // there is no `from` with such a top-level targetRef
	// split types have `to` only where the top-level targetRef can select a gateway, and `from` and `rules` only where
	// it cannot: a gateway limits what leaves it, any other proxy what enters it.
	split bool
	// need names the lists of which one must have an item. Empty: a policy without any is a valid one that says nothing.
	need []string
}

// Types is every type of policy that is resolved, in the order of an answer.
var Types = []Type{
	meshHTTPRoute,
	meshTCPRoute,
	meshTLS,
	meshLoadBalancingStrategy,
	meshPassthrough,
	meshAccessLog,
	meshTrace,
	meshFaultInjection,
	meshRateLimit,
	meshTimeout,
	meshTrafficPermission,
	meshHealthCheck,
	meshCircuitBreaker,
	meshRetry,
	meshMetric,
	meshProxyPatch,
}

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
		schemas[t.Kind] = resource.Schema{Spec: func() any { return t.spec() }, Validate: t.validate}
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
