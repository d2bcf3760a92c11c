package resource

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

func validateMesh(_ Resource, spec any) []Violation {
	mesh := spec.(*meshv1.Mesh)
	var p problems
	p.mtls(mesh.GetMtls())
	if mesh.GetRouting().GetZoneEgress() && mesh.GetMtls().GetEnabledBackend() == "" {
		p.add("routing.zoneEgress", "needs mtls.enabledBackend: an egress serves encrypted traffic only")
	}
	for _, rules := range []struct {
		name string
		list []*meshv1.Mesh_DataplaneProxyConstraints_Rules
	}{
		{"requirements", mesh.GetConstraints().GetDataplaneProxy().GetRequirements()},
		{"restrictions", mesh.GetConstraints().GetDataplaneProxy().GetRestrictions()},
	} {
		for i, rule := range rules.list {
			p.selector(fmt.Sprintf("constraints.dataplaneProxy.%s[%d].tags", rules.name, i), rule.GetTags())
		}
	}
	var logging, tracing, metrics []backend
	for _, b := range mesh.GetLogging().GetBackends() {
		logging = append(logging, backend{b.GetName(), b.GetType()})
	}
	for i, b := range mesh.GetTracing().GetBackends() {
		tracing = append(tracing, backend{b.GetName(), b.GetType()})
		if s := b.GetSampling(); s != nil && (s.GetValue() < 0 || s.GetValue() > 100) {
			p.add(fmt.Sprintf("tracing.backends[%d].sampling", i), "found %v, want a percentage from 0 to 100", s.GetValue())
		}
	}
	for _, b := range mesh.GetMetrics().GetBackends() {
		metrics = append(metrics, backend{b.GetName(), b.GetType()})
	}
	p.backends("logging", logging, "defaultBackend", mesh.GetLogging().GetDefaultBackend(), "file", "tcp")
	p.backends("tracing", tracing, "defaultBackend", mesh.GetTracing().GetDefaultBackend(), "datadog", "zipkin")
	p.backends("metrics", metrics, "enabledBackend", mesh.GetMetrics().GetEnabledBackend(), "prometheus")
	return p
}

// expiration is a lifetime of a certificate: one unit, from milliseconds to years.
var expiration = regexp.MustCompile(`^(0|[0-9]+(y|w|d|h|m|s|ms))$`)

func (p *problems) mtls(mtls *meshv1.Mesh_Mtls) {
	if n := len(mtls.GetBackends()); n > 1 {
		p.add("mtls.backends", "has %d backends, want at most 1", n)
	}
	var backends []backend
	for i, b := range mtls.GetBackends() {
		backends = append(backends, backend{b.GetName(), b.GetType()})
		if life := b.GetDpCert().GetRotation(); life != nil && !expiration.MatchString(life.GetExpiration()) {
			p.add(fmt.Sprintf("mtls.backends[%d].dpCert.rotation.expiration", i),
				"found %q, want a whole number and one of y, w, d, h, m, s, ms, such as 24h", cut(life.GetExpiration()))
		}
	}
	p.backends("mtls", backends, "enabledBackend", mtls.GetEnabledBackend(), "builtin", "provided")
}

// backend is what the backends for certificates, logs, traces and metrics have in common.
type backend struct{ name, kind string }

// backends checks a list of backends: names are given and unique, types are known, and chosen, if not "", is one of them.
func (p *problems) backends(at string, list []backend, chosenField, chosen string, types ...string) {
	names := map[string]int{}
	for i, b := range list {
		field := fmt.Sprintf("%s.backends[%d]", at, i)
		if first, ok := names[b.name]; b.name == "" {
			p.add(field+".name", mustBeGiven)
		} else if ok {
			p.add(field+".name", "%q is the name of %s.backends[%d] too", cut(b.name), at, first)
		} else {
			names[b.name] = i
		}
		if !slices.Contains(types, b.kind) {
			p.add(field+".type", "found %q, want %s", cut(b.kind), (&shape{kind: shapeEnum, words: types}).want())
		}
	}
	if _, ok := names[chosen]; !ok && chosen != "" {
		known := slices.Sorted(maps.Keys(names))
		reason := fmt.Sprintf("there is no backend %q", cut(chosen))
		if near := Nearest(chosen, known); near != "" {
			reason += "; did you mean " + near + "?"
		} else if len(known) > 0 {
			reason += ", only " + strings.Join(known, ", ")
		}
		p.add(at+"."+chosenField, "%s", reason)
	}
}

var selectorValue = regexp.MustCompile(`^([a-zA-Z0-9._:/-]+|\*)$`)

// selector checks tags that select proxies: a value may be "*".
func (p *problems) selector(at string, tags map[string]string) {
	if len(tags) == 0 {
		p.add(at, "must have at least one tag")
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		field := at + "[" + strconv.Quote(cut(key)) + "]"
		if !tagKey.MatchString(key) {
			p.add(field, `the key is %q: want letters, digits, ".", "_", "-", ":" and "/"`, cut(key))
		} else if !selectorValue.MatchString(tags[key]) {
			p.add(field, `found %q: want letters, digits, ".", "_", "-", ":" and "/", or "*" alone`, cut(tags[key]))
		}
	}
}
