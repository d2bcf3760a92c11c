package policy

import (
	"net/netip"
	"strings"
)

var meshPassthrough = Type{
	Kind: "MeshPassthrough", Single: true,
	matrix: matrix{top: []RefKind{kindMesh, kindSubset, kindDataplane}},
	spec:   func() spec { return &MeshPassthrough{} },
}

// MeshPassthrough says what outside the mesh the proxies let applications connect to. It has no effect on builtin
// gateways, and on proxies that are not transparent.
type MeshPassthrough struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// Default is the conf; an explicit null removes what weaker policies gave.
	Default PassthroughConf `json:"default,omitzero" check:"patch"`
}

// PassthroughConf is the conf of a MeshPassthrough.
type PassthroughConf struct {
	// PassthroughMode says how much passes. Default: Matched.
	PassthroughMode PassthroughMode `json:"passthroughMode,omitempty"`
	// AppendMatch is what passes in mode Matched; the lists of all policies come together.
	AppendMatch []PassthroughMatch `json:"appendMatch,omitzero"`
}

// PassthroughMode says how much passes.
type PassthroughMode string

// Enum returns the allowed words. Matched lets pass what AppendMatch lists.
func (PassthroughMode) Enum() []string { return []string{"All", "Matched", "None"} }

// PassthroughMatch is one destination outside the mesh. Of several with one port, those with protocols grpc, http and
// http2 must have the same protocol, and none may say what another one says.
type PassthroughMatch struct {
	// Type says what Value is. Required.
	Type PassthroughType `json:"type" check:"required"`
	// Value is a host name, of which the first part may be *, or * alone; an IP address; or a range of them such as
	// 10.0.0.0/8. Required.
	Value string `json:"value" check:"required"`
	// Port of the destination. 1 to 65535. Required with protocol mysql, and with grpc, http and http2 for a host name
	// with *. Default: every port.
	Port *uint32 `json:"port,omitempty" check:"min=1,max=65535"`
	// Protocol of the traffic. A host name needs one that says the host: grpc, http, http2 or tls. Default: tcp.
	Protocol PassthroughProtocol `json:"protocol,omitempty" check:"default=tcp"`
}

// PassthroughType is a way to name a destination.
type PassthroughType string

const (
	PassthroughDomain PassthroughType = "Domain"
	PassthroughIP     PassthroughType = "IP"
	PassthroughCIDR   PassthroughType = "CIDR"
)

// Enum returns the allowed words.
func (PassthroughType) Enum() []string {
	return []string{string(PassthroughDomain), string(PassthroughIP), string(PassthroughCIDR)}
}

// PassthroughProtocol is a protocol that passes.
type PassthroughProtocol string

const (
	PassthroughTCP   PassthroughProtocol = "tcp"
	PassthroughTLS   PassthroughProtocol = "tls"
	PassthroughGRPC  PassthroughProtocol = "grpc"
	PassthroughHTTP  PassthroughProtocol = "http"
	PassthroughHTTP2 PassthroughProtocol = "http2"
	PassthroughMySQL PassthroughProtocol = "mysql"
)

// Enum returns the allowed words.
func (PassthroughProtocol) Enum() []string {
	return []string{
		string(PassthroughTCP), string(PassthroughTLS), string(PassthroughGRPC), string(PassthroughHTTP), string(PassthroughHTTP2), string(PassthroughMySQL),
	}
}

// requests says whether the protocol carries HTTP requests.
func (p PassthroughProtocol) requests() bool {
	return p == PassthroughGRPC || p == PassthroughHTTP || p == PassthroughHTTP2
}

func (s *MeshPassthrough) validate(c *check) {
	c.target(s.TargetRef, false)
	type same struct {
		port     uint32
		protocol PassthroughProtocol
		value    string
	}
	first := map[same]int{}                       // the index of the match that said it first
	protocols := map[uint32]PassthroughProtocol{} // of the first match with the port
	for i, m := range s.Default.AppendMatch {
		at := item("spec.default.appendMatch", i)
		m.validate(c, at)
		key := same{protocol: m.Protocol, value: m.Value}
		if m.Port != nil {
			key.port = *m.Port
			other, ok := protocols[key.port]
			if !ok {
				protocols[key.port] = m.Protocol
			} else if other != m.Protocol && m.Protocol.requests() {
				c.report(at+".port", "found %d with protocol %s, but another match has it with %s: want one protocol for a port", key.port, m.Protocol, other)
			}
		}
		if j, ok := first[key]; ok {
			c.report(at+".value", "found %q with the same port and protocol as appendMatch[%d]", m.Value, j)
		} else {
			first[key] = i
		}
	}
}

func (m PassthroughMatch) validate(c *check, at string) {
	wildcard := false
	switch m.Type {
	case PassthroughDomain:
		wildcard = strings.HasPrefix(m.Value, "*")
		_, err := netip.ParseAddr(m.Value)
		switch {
		case err == nil:
			c.report(at+".value", "found %q, want a host name; for an IP address use type %s", m.Value, PassthroughIP)
		case m.Value != "*" && !hostName.MatchString(strings.TrimPrefix(m.Value, "*.")):
			c.report(at+".value", "found %q, want a host name such as example.com or *.example.com, or *", m.Value)
		}
		if m.Protocol == PassthroughTCP || m.Protocol == PassthroughMySQL {
			c.report(at+".protocol", "found %s, want one of grpc, http, http2, tls: %s does not say which host it is for", m.Protocol, m.Protocol)
		}
	case PassthroughIP:
		if _, err := netip.ParseAddr(m.Value); err != nil {
			c.report(at+".value", "found %q, want an IP address such as 10.1.2.3", m.Value)
		}
	case PassthroughCIDR:
		if _, err := netip.ParsePrefix(m.Value); err != nil {
			c.report(at+".value", "found %q, want a range of IP addresses such as 10.0.0.0/8", m.Value)
		}
	}
	switch {
	case m.Port != nil:
	case m.Protocol == PassthroughMySQL:
		c.report(at+".port", "must be given with protocol %s", m.Protocol)
	case wildcard && m.Protocol.requests():
		c.report(at+".port", "must be given with protocol %s and a host name with *", m.Protocol)
	}
}
