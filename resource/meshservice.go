package resource

import (
	"fmt"
	"slices"
)

// MeshService is a service of one zone: which proxies serve it, and on which ports.
type MeshService struct {
	State      MeshServiceState      `json:"state,omitempty" check:"default=Unavailable"`
	Selector   MeshServiceSelector   `json:"selector,omitzero"`
	Ports      []MeshServicePort     `json:"ports,omitempty"`
	Identities []MeshServiceIdentity `json:"identities,omitempty"`
}

// MeshServiceState says whether any proxy of the service is healthy.
type MeshServiceState string

const (
	MeshServiceAvailable   MeshServiceState = "Available"
	MeshServiceUnavailable MeshServiceState = "Unavailable"
)

// Enum returns the allowed words.
func (MeshServiceState) Enum() []string {
	return []string{string(MeshServiceAvailable), string(MeshServiceUnavailable)}
}

// MeshServiceSelector selects the proxies of a service: one by name, or else all that have an inbound with the tags.
// Neither selects nothing.
type MeshServiceSelector struct {
	// DataplaneTags are tags that an inbound has, all of them.
	DataplaneTags map[string]string `json:"dataplaneTags,omitempty"`
	// DataplaneRef names a Dataplane; then the tags do not count.
	DataplaneRef *DataplaneRef `json:"dataplaneRef,omitempty"`
}

// DataplaneRef names a Dataplane of the same mesh.
type DataplaneRef struct {
	// Name is the storage name of the Dataplane.
	Name string `json:"name,omitempty"`
}

// MeshServicePort is one port of a service. Name "" stands for the port in decimal.
type MeshServicePort struct {
	// Name is what sectionName in a policy refers to. Default: the port in decimal.
	Name string `json:"name,omitempty"`
	// Port of the service, from 1 to 65535.
	Port       uint32      `json:"port" check:"required"`
	TargetPort IntOrString `json:"targetPort,omitzero"` // the port or the name of the inbound behind it
	// AppProtocol is what the port speaks: grpc, http, http2, kafka, mysql, tcp or tls.
	AppProtocol string `json:"appProtocol,omitempty" check:"default=tcp"`
}

// MeshServiceIdentity is a name that the proxies of a service can prove.
type MeshServiceIdentity struct {
	Type MeshServiceIdentityType `json:"type" check:"required"`
	// Value is the name.
	Value string `json:"value" check:"required"`
}

// MeshServiceIdentityType says what kind of name a MeshServiceIdentity holds.
type MeshServiceIdentityType string

// Enum returns the allowed words.
func (MeshServiceIdentityType) Enum() []string { return []string{"ServiceTag"} }

func validateMeshService(r Resource, _ any) []Violation {
	var p problems
	p.hostNamePart(r)
	return p
}

// warnMeshService says what Kuma takes without a word.
func warnMeshService(_ Resource, spec any) []Violation {
	var p problems
	for i, port := range spec.(*MeshService).Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		p.port(at+".port", port.Port)
		if port.AppProtocol != "" && !slices.Contains(protocols, port.AppProtocol) {
			p.word(at+".appProtocol", port.AppProtocol, protocols)
		}
	}
	return p
}

// hostNamePart checks the length of a name that becomes a part of host names.
func (p *problems) hostNamePart(r Resource) {
	if name := r.Display(); len(name) > maxLabelLength {
		p.add("name", "has %d characters, want at most %d: it becomes a part of host names", len(name), maxLabelLength)
	}
}
