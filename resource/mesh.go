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

func validateMesh(r Resource, spec any) []Violation {
	mesh := spec.(*meshv1.Mesh)
	var p problems
	p.mtls(r.Name, mesh.GetMtls())
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
	for i, b := range mesh.GetLogging().GetBackends() {
		logging = append(logging, backend{b.GetName(), b.GetType()})
		p.loggingConf(fmt.Sprintf("logging.backends[%d].conf", i), b)
	}
	for i, b := range mesh.GetTracing().GetBackends() {
		tracing = append(tracing, backend{b.GetName(), b.GetType()})
		at := fmt.Sprintf("tracing.backends[%d]", i)
		if s := b.GetSampling(); s != nil && (s.GetValue() < 0 || s.GetValue() > 100) {
			p.add(at+".sampling", "found %v, want a percentage from 0 to 100", s.GetValue())
		}
		p.tracingConf(at+".conf", b)
	}
	for i, b := range mesh.GetMetrics().GetBackends() {
		metrics = append(metrics, backend{b.GetName(), b.GetType()})
		if b.GetType() == "prometheus" {
			p.prometheusConf(fmt.Sprintf("metrics.backends[%d].conf", i), b.GetConf())
		}
	}
	p.backends("logging", logging, "defaultBackend", mesh.GetLogging().GetDefaultBackend(), "file", "tcp")
	p.backends("tracing", tracing, "defaultBackend", mesh.GetTracing().GetDefaultBackend(), "datadog", "zipkin")
	p.backends("metrics", metrics, "enabledBackend", mesh.GetMetrics().GetEnabledBackend(), "prometheus")
	return p
}

// expiration is a lifetime of a certificate: one unit, from milliseconds to years.
var expiration = regexp.MustCompile(`^(0|[0-9]+(y|w|d|h|m|s|ms))$`)

func (p *problems) mtls(mesh string, mtls *meshv1.Mesh_Mtls) {
	if n := len(mtls.GetBackends()); n > 1 {
		p.add("mtls.backends", "has %d backends, want at most 1", n)
	}
	var backends []backend
	for i, b := range mtls.GetBackends() {
		backends = append(backends, backend{b.GetName(), b.GetType()})
		at := fmt.Sprintf("mtls.backends[%d]", i)
		switch life := b.GetDpCert().GetRotation().GetExpiration(); {
		case b.GetDpCert() == nil || expiration.MatchString(life):
		case life == "":
			p.add(at+".dpCert.rotation.expiration", "must be given with dpCert: a whole number and a unit, such as 24h")
		default:
			p.add(at+".dpCert.rotation.expiration", "found %q, want a whole number and one of y, w, d, h, m, s, ms, such as 24h", cut(life))
		}
		if !mtls.GetSkipValidation() {
			p.authority(at, mesh, b)
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
		p.selectorTag(at, key, tags[key])
	}
}

func (p *problems) selectorTag(at, key, value string) {
	field := at + "[" + strconv.Quote(cut(key)) + "]"
	if !tagKey.MatchString(key) {
		p.add(field, `the key is %q: want letters, digits, ".", "_", "-", ":" and "/"`, cut(key))
	} else if !selectorValue.MatchString(value) {
		p.add(field, `found %q: want letters, digits, ".", "_", "-", ":" and "/", or "*" alone`, cut(value))
	}
}
