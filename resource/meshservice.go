package resource

import "fmt"

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
	DataplaneTags map[string]string `json:"dataplaneTags,omitempty"`
	DataplaneRef  *DataplaneRef     `json:"dataplaneRef,omitempty"`
}

// DataplaneRef names a Dataplane of the same mesh.
type DataplaneRef struct {
	Name string `json:"name,omitempty"`
}

// MeshServicePort is one port of a service. Name "" stands for the port in decimal.
type MeshServicePort struct {
	Name        string      `json:"name,omitempty"`
	Port        uint32      `json:"port" check:"required,min=1,max=65535"`
	TargetPort  IntOrString `json:"targetPort,omitzero"` // the port or the name of the inbound behind it
	AppProtocol string      `json:"appProtocol,omitempty" check:"default=tcp"`
}

// MeshServiceIdentity is a name that the proxies of a service can prove.
type MeshServiceIdentity struct {
	Type  MeshServiceIdentityType `json:"type" check:"required"`
	Value string                  `json:"value" check:"required"`
}

// MeshServiceIdentityType says what kind of name a MeshServiceIdentity holds.
type MeshServiceIdentityType string

// Enum returns the allowed words.
func (MeshServiceIdentityType) Enum() []string { return []string{"ServiceTag"} }

func validateMeshService(r Resource, _ any) []Violation {
	if name := r.Display(); len(name) > maxLabelLength {
		return []Violation{{Field: "name", Reason: fmt.Sprintf("has %d characters, want at most %d: it becomes a part of host names", len(name), maxLabelLength)}}
	}
	return nil
}
