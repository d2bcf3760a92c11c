package resource

import (
	"fmt"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

func validateZoneIngress(_ Resource, spec any) []Violation {
	in := spec.(*meshv1.ZoneIngress)
	net := in.GetNetworking()
	var p problems
	p.zoneProxy(net.GetAddress(), net.GetPort(), net.GetAdmin())
	switch address, port := net.GetAdvertisedAddress(), net.GetAdvertisedPort(); {
	case address == "" && port == 0:
	case address == "":
		p.add("networking.advertisedAddress", "must be given with advertisedPort")
		p.port("networking.advertisedPort", port)
	case port == 0:
		p.address("networking.advertisedAddress", address)
		p.add("networking.advertisedPort", "must be given with advertisedAddress")
	default:
		p.address("networking.advertisedAddress", address)
		p.port("networking.advertisedPort", port)
	}
	for i, service := range in.GetAvailableServices() {
		p.tags(fmt.Sprintf("availableServices[%d].tags", i), service.GetTags())
	}
	return p
}

func validateZoneEgress(_ Resource, spec any) []Violation {
	net := spec.(*meshv1.ZoneEgress).GetNetworking()
	var p problems
	p.zoneProxy(net.GetAddress(), net.GetPort(), net.GetAdmin())
	return p
}

// zoneProxy checks where a proxy of a zone listens.
func (p *problems) zoneProxy(address string, port uint32, admin *meshv1.EnvoyAdmin) {
	if address != "" {
		p.address("networking.address", address)
	}
	p.port("networking.port", port)
	if port != 0 && admin.GetPort() == port {
		p.add("networking.admin.port", "is networking.port too: want another")
	}
}
