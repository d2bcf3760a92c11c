package resource

import (
	"fmt"
	"slices"
)

// MeshMultiZoneService is one service made of the MeshServices of several zones.
type MeshMultiZoneService struct {
	// Selector selects the MeshServices.
	Selector MultiZoneSelector `json:"selector" check:"required"`
	// Ports are those under which clients reach it. At least one.
	Ports []MultiZonePort `json:"ports" check:"required"`
}

// MultiZoneSelector selects the parts of a MeshMultiZoneService.
type MultiZoneSelector struct {
	// MeshService selects MeshServices of the same mesh, in all zones.
	MeshService MultiZoneLabels `json:"meshService" check:"required"`
}

// MultiZoneLabels selects by labels.
type MultiZoneLabels struct {
	// MatchLabels are labels that a MeshService has, all of them. At least one.
	MatchLabels map[string]string `json:"matchLabels" check:"required"`
}

// MultiZonePort is one port of a MeshMultiZoneService.
type MultiZonePort struct {
	// Name is what a sectionName refers to. Default: the port in decimal.
	Name *string `json:"name,omitempty"`
	// Port is where clients connect to.
	Port uint32 `json:"port" check:"required"`
	// AppProtocol is what is spoken on the port: grpc, http, http2, kafka or tcp.
	AppProtocol string `json:"appProtocol,omitempty" check:"default=tcp"`
}

// servedProtocols are the protocols of services that clients find by name.
var servedProtocols = []string{"grpc", "http", "http2", "kafka", "tcp"}

func validateMeshMultiZoneService(_ Resource, spec any) []Violation {
	svc := spec.(*MeshMultiZoneService)
	var p problems
	if len(svc.Selector.MeshService.MatchLabels) == 0 {
		p.add("spec.selector.meshService.matchLabels", "must have at least one label")
	}
	if len(svc.Ports) == 0 {
		p.add("spec.ports", "must have at least one port")
	}
	for i, port := range svc.Ports {
		at := fmt.Sprintf("spec.ports[%d]", i)
		if port.Name != nil && *port.Name == "" {
			p.add(at+".name", "must not be empty; leave it out to name the port by its number")
		}
		if !slices.Contains(servedProtocols, port.AppProtocol) {
			p.word(at+".appProtocol", port.AppProtocol, servedProtocols)
		}
	}
	return p
}

// warnMeshMultiZoneService says what Kuma takes without a word.
func warnMeshMultiZoneService(_ Resource, spec any) []Violation {
	var p problems
	for i, port := range spec.(*MeshMultiZoneService).Ports {
		p.port(fmt.Sprintf("spec.ports[%d].port", i), port.Port)
	}
	return p
}
