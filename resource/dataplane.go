package resource

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

// Tags of a Dataplane that the control planes read. The names are Kuma's.
const (
	TagService  = "kuma.io/service"
	TagProtocol = "kuma.io/protocol"
	TagZone     = "kuma.io/zone"
)

// problems collects violations.
type problems []Violation

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, Violation{Field: field, Reason: fmt.Sprintf(format, args...)})
}

const mustBeGiven = "must be given"

// word reports a word that is none of those allowed.
func (p *problems) word(at, found string, allowed []string) {
	reason := fmt.Sprintf("found %q, want %s", cut(found), (&shape{kind: shapeEnum, words: allowed}).want())
	if near := Nearest(found, allowed); near != "" {
		reason += "; did you mean " + near + "?"
	}
	p.add(at, "%s", reason)
}

func validateDataplane(_ Resource, spec any) []Violation {
	dp := spec.(*meshv1.Dataplane)
	var p problems
	net := dp.GetNetworking()
	if net == nil {
		p.add("networking", mustBeGiven)
		return p
	}
	p.address("networking.address", net.GetAddress())
	gateway := net.GetGateway()
	builtin := gateway.GetType() == meshv1.Dataplane_Networking_Gateway_BUILTIN
	switch {
	case gateway == nil && len(net.GetInbound()) == 0:
		p.add("networking", "has no inbound: want at least one, or a gateway")
	case gateway != nil && len(net.GetInbound()) > 0:
		p.add("networking.inbound", "must not be given with networking.gateway")
	case gateway == nil:
		for i, in := range net.GetInbound() {
			p.inbound(fmt.Sprintf("networking.inbound[%d]", i), in, net.GetAddress())
		}
	}
	if gateway != nil {
		p.tags("networking.gateway.tags", gateway.GetTags(), "tcp")
	}
	switch {
	case builtin && len(net.GetOutbound()) > 0:
		p.add("networking.outbound", "must not be given with a builtin gateway")
	case !builtin:
		for i, out := range net.GetOutbound() {
			p.outbound(fmt.Sprintf("networking.outbound[%d]", i), out)
		}
	}
	p.admin(net)
	for i, ref := range net.GetTransparentProxying().GetReachableBackends().GetRefs() {
		at := fmt.Sprintf("networking.transparentProxying.reachableBackends.refs[%d]", i)
		p.backend(at, ref.GetKind(), ref.GetName(), ref.GetLabels())
		switch name, labels := ref.GetName(), len(ref.GetLabels()) > 0; {
		case name != "" && labels:
			p.add(at+".labels", "must not be given with name")
		case name != "" && !dnsSubdomain.MatchString(name):
			p.add(at+".name", "found %q: %s", cut(name), wantName)
		case ref.GetNamespace() != "" && labels:
			p.add(at+".labels", "must not be given with namespace")
		}
	}
	if m := dp.GetMetrics(); m != nil {
		p.metricsBackend("metrics", m)
	}
	if dp.GetProbes() != nil && builtin {
		p.add("probes", "must not be given with a builtin gateway")
	} else if probes := dp.GetProbes(); probes != nil {
		p.port("probes.port", probes.GetPort())
		for i, e := range probes.GetEndpoints() {
			at := fmt.Sprintf("probes.endpoints[%d]", i)
			p.port(at+".inboundPort", e.GetInboundPort())
			p.urlPath(at+".inboundPath", e.GetInboundPath())
			p.urlPath(at+".path", e.GetPath())
		}
	}
	return p
}

func (p *problems) inbound(at string, in *meshv1.Dataplane_Networking_Inbound, proxyAddress string) {
	p.port(at+".port", in.GetPort())
	if in.GetServicePort() != 0 {
		p.port(at+".servicePort", in.GetServicePort())
	}
	p.ip(at+".address", in.GetAddress())
	p.ip(at+".serviceAddress", in.GetServiceAddress())
	listen := in.GetAddress()
	if listen == "" {
		listen = proxyAddress
	}
	servicePort := in.GetServicePort()
	if servicePort == 0 {
		servicePort = in.GetPort()
	}
	if in.GetServiceAddress() != "" && in.GetServiceAddress() == listen && servicePort == in.GetPort() {
		p.add(at+".serviceAddress", "with servicePort it is the address that the proxy itself listens on: want another address or port")
	}
	p.tags(at+".tags", in.GetTags(), protocols...)
	if probe := in.GetServiceProbe(); probe != nil {
		for _, d := range []struct {
			name  string
			given bool
			value int64
		}{
			{"interval", probe.GetInterval() != nil, int64(probe.GetInterval().AsDuration())},
			{"timeout", probe.GetTimeout() != nil, int64(probe.GetTimeout().AsDuration())},
			{"unhealthyThreshold", probe.GetUnhealthyThreshold() != nil, int64(probe.GetUnhealthyThreshold().GetValue())},
			{"healthyThreshold", probe.GetHealthyThreshold() != nil, int64(probe.GetHealthyThreshold().GetValue())},
		} {
			if d.given && d.value <= 0 {
				p.add(at+".serviceProbe."+d.name, "must be greater than zero")
			}
		}
	}
}

func (p *problems) outbound(at string, out *meshv1.Dataplane_Networking_Outbound) {
	p.port(at+".port", out.GetPort())
	p.ip(at+".address", out.GetAddress())
	ref := out.GetBackendRef()
	switch {
	case ref != nil && len(out.GetTags()) > 0:
		p.add(at+".backendRef", "must not be given with tags")
	case ref != nil:
		p.backend(at+".backendRef", ref.GetKind(), ref.GetName(), ref.GetLabels())
		if ref.GetKind() != "MeshExternalService" {
			p.port(at+".backendRef.port", ref.GetPort())
		}
	case out.GetTags()[TagService] == "":
		p.add(at+".tags", "want a backendRef, or the tag %s", TagService)
	default:
		p.tags(at+".tags", out.GetTags())
	}
}

// admin checks that the port of Envoy's own admin API is free on the loopback address.
func (p *problems) admin(net *meshv1.Dataplane_Networking) {
	port := net.GetAdmin().GetPort()
	if port == 0 {
		return
	}
	const loopback = "127.0.0.1"
	for i, in := range net.GetInbound() {
		local := in.GetAddress() == loopback || in.GetAddress() == "" && net.GetAddress() == loopback
		if local && in.GetPort() == port {
			p.add("networking.admin.port", "is the port of networking.inbound[%d] on %s too", i, loopback)
		}
	}
	for i, out := range net.GetOutbound() {
		if (out.GetAddress() == "" || out.GetAddress() == loopback) && out.GetPort() == port {
			p.add("networking.admin.port", "is the port of networking.outbound[%d] on %s too", i, loopback)
		}
	}
}

// backend checks a reference to a service, by name or by labels.
func (p *problems) backend(at, kind, name string, labels map[string]string) {
	kinds := []string{"MeshExternalService", "MeshMultiZoneService", "MeshService"}
	if !slices.Contains(kinds, kind) {
		p.word(at+".kind", kind, kinds)
	}
	if name == "" && len(labels) == 0 {
		p.add(at+".name", "must be given, or labels")
	}
}

// warnDataplane says what Kuma takes without a word.
func warnDataplane(_ Resource, spec any) []Violation {
	net := spec.(*meshv1.Dataplane).GetNetworking()
	var p problems
	for i, out := range net.GetOutbound() {
		at, ref := fmt.Sprintf("networking.outbound[%d].backendRef", i), out.GetBackendRef()
		if name := ref.GetName(); name != "" && len(ref.GetLabels()) > 0 {
			p.add(at+".labels", "has no effect beside name")
		} else if name != "" && !dnsSubdomain.MatchString(name) {
			p.add(at+".name", "found %q, which no resource can have as its name", cut(name))
		}
	}
	for i, ref := range net.GetTransparentProxying().GetReachableBackends().GetRefs() {
		if port := ref.GetPort(); port != nil {
			p.port(fmt.Sprintf("networking.transparentProxying.reachableBackends.refs[%d].port", i), port.GetValue())
		}
	}
	if port := net.GetAdmin().GetPort(); port > maxPort {
		p.port("networking.admin.port", port)
	}
	return p
}

const maxPort = 65535

func (p *problems) port(at string, port uint32) {
	if port < 1 || port > maxPort {
		p.add(at, "found %d, want a port from 1 to %d", port, maxPort)
	}
}

// ip checks an address that may be absent.
func (p *problems) ip(at, address string) {
	if _, err := netip.ParseAddr(address); address != "" && err != nil {
		p.add(at, "found %q, want an IP address", cut(address))
	}
}

// address checks the address under which others reach a proxy.
func (p *problems) address(at, address string) {
	ip, err := netip.ParseAddr(address)
	switch {
	case address == "":
		p.add(at, mustBeGiven)
	case err == nil && ip.IsUnspecified():
		p.add(at, "found %s, which no other proxy can reach: want the address of this proxy", address)
	case !isHost(address):
		p.add(at, wantHost, cut(address))
	}
}

// numeric is what looks like an IPv4 address and, since it did not parse, is none.
var numeric = regexp.MustCompile(`^[0-9.]+$`)

func (p *problems) urlPath(at, path string) {
	if !strings.HasPrefix(path, "/") {
		p.add(at, `found %q, want a path that begins with "/"`, cut(path))
	}
}

// protocols are the values of TagProtocol.
var protocols = []string{"grpc", "http", "http2", "kafka", "mysql", "tcp", "tls"}

var (
	tagKey   = regexp.MustCompile(`^[a-zA-Z0-9._:/-]+$`)
	tagValue = regexp.MustCompile(`^[a-zA-Z0-9._:-]+$`)
)

// tags checks the tags that identify a proxy: TagService is among them, and the protocol is an allowed one.
func (p *problems) tags(at string, tags map[string]string, allowed ...string) {
	if _, ok := tags[TagService]; !ok {
		p.add(at+"["+strconv.Quote(TagService)+"]", mustBeGiven)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value, field := tags[key], at+"["+strconv.Quote(cut(key))+"]"
		switch {
		case !tagKey.MatchString(key):
			p.add(field, `the key is %q: want letters, digits, ".", "_", "-", ":" and "/"`, cut(key))
		case value == "":
			p.add(field, "the value must not be empty")
		case !tagValue.MatchString(value):
			p.add(field, `found %q: want letters, digits, ".", "_", "-" and ":"`, cut(value))
		case key == TagProtocol && len(allowed) > 0 && !slices.Contains(allowed, value):
			p.word(field, value, allowed)
		}
	}
}
