package policy

import "slices"

// BackendRef is one of the destinations that a route shares its traffic among.
type BackendRef struct {
	// The destination: of kind MeshService, MeshServiceSubset, MeshExternalService or MeshMultiZoneService. A MeshService
	// without a port is a name from before MeshServices, a value of the tag kuma.io/service.
	TargetRef
	// Weight is the share of the traffic, in proportion to the weights beside it. From 0. Default: 1.
	Weight *uint32 `json:"weight,omitempty" check:"default=1"`
	// Port of the destination. Required with kind MeshMultiZoneService.
	Port *uint32 `json:"port,omitempty"`
}

var (
	backendKinds = []RefKind{kindService, kindServiceSet, kindExternal, kindMultiZone}
	mirrorKinds  = []RefKind{kindService, kindServiceSet}
)

// unresolvedBackend is the name that the conversion of a Gateway API route gives a backend which it did not find. It is
// no name of a service, and means: answer with an error.
const unresolvedBackend = "kuma.io/unresolved-backend"

// backendRef checks a destination of a route. An unresolved one goes by the name of unresolvedBackend, if that is
// allowed here.
func (c *check) backendRef(at string, ref BackendRef, allowed []RefKind, unresolved bool) {
	target := ref.TargetRef
	if unresolved && target.Name == unresolvedBackend {
		target.Name = "unresolved-backend" // whose characters are those of a name
	}
	c.targetRef(at, target, allowed, refOptions{})
	if target.Kind == kindMultiZone && ref.Port == nil && slices.Contains(allowed, target.Kind) {
		c.report(at+".port", "must be given with kind %s", kindMultiZone)
	}
}
