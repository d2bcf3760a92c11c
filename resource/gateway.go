package resource

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

func validateMeshGateway(_ Resource, spec any) []Violation {
	gw := spec.(*meshv1.MeshGateway)
	var p problems
	listeners := gw.GetConf().GetListeners()
	crossMesh := slices.ContainsFunc(listeners, (*meshv1.MeshGateway_Listener).GetCrossMesh)
	if len(gw.GetSelectors()) == 0 {
		p.add("selectors", "must have at least one selector")
	}
	for i, s := range gw.GetSelectors() {
		at := fmt.Sprintf("selectors[%d]", i)
		if p.selector(at+".match", s.GetMatch()); len(s.GetMatch()) > 0 && s.GetMatch()[TagService] == "" {
			p.add(at+".match["+strconv.Quote(TagService)+"]", mustBeGiven)
		}
		if i > 0 && crossMesh {
			p.add(at, "must not be given: a gateway with a crossMesh listener has one selector")
		}
	}
	p.listenerTags("tags", gw.GetTags())
	if gw.GetConf() == nil {
		p.add("conf", mustBeGiven)
	} else if len(listeners) == 0 {
		p.add("conf.listeners", "must have at least one listener")
	}
	for i, l := range listeners {
		p.listener(fmt.Sprintf("conf.listeners[%d]", i), l)
	}
	p.samePorts(listeners)
	return p
}

// tagsOfProxies are the tags that a listener cannot have.
var tagsOfProxies = []string{TagService, TagProtocol, TagZone, "kuma.io/external-service-name"}

func (p *problems) listenerTags(at string, tags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if slices.Contains(tagsOfProxies, key) {
			p.add(at+"["+strconv.Quote(key)+"]", "must not be given: a gateway cannot choose it")
		} else {
			p.selectorTag(at, key, tags[key])
		}
	}
}

// listenerHost is the host name of a listener: a name, "*" and a name, or "*" alone.
var listenerHost = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$`)

func (p *problems) listener(at string, l *meshv1.MeshGateway_Listener) {
	p.port(at+".port", l.GetPort())
	tls, https := l.GetTls(), l.GetProtocol() == meshv1.MeshGateway_Listener_HTTPS
	switch {
	case l.GetProtocol() == meshv1.MeshGateway_Listener_NONE:
		p.add(at+".protocol", "must be given: want one of TCP, TLS, HTTP, HTTPS")
	case https && l.GetCrossMesh():
		p.add(at+".protocol", "found HTTPS, which a crossMesh listener cannot have: the mesh encrypts its traffic")
	case https && tls == nil:
		p.add(at+".tls", "must be given with protocol HTTPS")
	case https && tls.GetMode() == meshv1.MeshGateway_TLS_PASSTHROUGH:
		p.add(at+".tls.mode", "found PASSTHROUGH, want TERMINATE with protocol HTTPS")
	}
	if host := l.GetHostname(); host != "" && (len(host) > maxNameLength || !listenerHost.MatchString(host)) {
		p.add(at+".hostname", `found %q, want a DNS name, "*." and a DNS name, or "*"`, cut(host))
	}
	p.listenerTags(at+".tags", l.GetTags())
	switch n := len(tls.GetCertificates()); {
	case tls == nil:
	case l.GetCrossMesh():
		p.add(at+".tls", "must not be given with crossMesh: the mesh encrypts its traffic")
	case tls.GetMode() == meshv1.MeshGateway_TLS_NONE:
		p.add(at+".tls.mode", "must be given: want one of TERMINATE, PASSTHROUGH")
	case tls.GetMode() == meshv1.MeshGateway_TLS_TERMINATE && n == 0:
		p.add(at+".tls.certificates", "must have at least one certificate with mode TERMINATE")
	case tls.GetMode() == meshv1.MeshGateway_TLS_TERMINATE && n > 2:
		p.add(at+".tls.certificates", "has %d certificates, want at most 2: one RSA and one ECDSA", n)
	}
}

// samePorts checks the listeners that share a port: they have one protocol, one limit of connections, and a host name
// each. The first of them sets what the others have to match.
func (p *problems) samePorts(listeners []*meshv1.MeshGateway_Listener) {
	type portHost struct {
		port uint32
		host string
	}
	first, hosts := map[uint32]int{}, map[portHost]int{}
	for i, l := range listeners {
		at := fmt.Sprintf("conf.listeners[%d]", i)
		host := portHost{l.GetPort(), cmp.Or(l.GetHostname(), "*")}
		if j, ok := hosts[host]; ok {
			p.add(at, "has the port and hostname of conf.listeners[%d]", j)
		} else {
			hosts[host] = i
		}
		j, ok := first[l.GetPort()]
		if !ok {
			first[l.GetPort()] = i
			continue
		}
		if have, want := l.GetProtocol(), listeners[j].GetProtocol(); have != want {
			p.add(at, "has protocol %s, but conf.listeners[%d] on the same port has %s", have, j, want)
		}
		if have, want := l.GetResources().GetConnectionLimit(), listeners[j].GetResources().GetConnectionLimit(); have != want {
			p.add(at+".resources.connectionLimit", "found %d, but conf.listeners[%d] on the same port has %d", have, j, want)
		}
	}
}
