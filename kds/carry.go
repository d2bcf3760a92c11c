package kds

import (
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// Carry returns r as to stores it when from sends it: under its name on the wire, with the labels that the receiver
// gives it. Whether from sends it at all is scope.Decide's business. r is not modified; it shares r's spec where the spec
// stays the same.
//
// Errors: *resource.InvalidError if to would reject it; that it cannot be sent.
func Carry(r resource.Resource, from, to scope.Peer) (resource.Resource, error) {
	d, _ := resource.LookupKind(r.Kind)
	v, at := toGlobal, source{zone: from.Zone, onGlobal: true}
	if to.Zone != "" {
		at = source{zone: to.Zone}
		if v = toZone; !to.Features.HashedNames {
			v = toPlainZone
		}
	}
	sent, err := mapped(r, v, from.Zone)
	if err != nil {
		return r, err
	}
	return at.claim(sent, d)
}
