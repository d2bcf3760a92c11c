package sim

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
)

// expectations reads a list of expectations, of a step or of the scenario.
func (l *loader) expectations(n *yaml.Node, path string, step bool) []Expectation {
	var all []Expectation
	for i, item := range l.list(n, path) {
		all = append(all, l.expectation(item, fmt.Sprintf("%s[%d]", path, i), step)...)
	}
	return all
}

// expectation reads one item; it is several expectations if it speaks of several policies.
func (l *loader) expectation(n *yaml.Node, path string, step bool) []Expectation {
	var all []Expectation
	id, kinds := path, 0
	one := func(kind ExpectationKind, n *yaml.Node, read func(e *Expectation)) {
		e := Expectation{Kind: kind, Pos: l.pos(n)}
		read(&e)
		all = append(all, e)
	}
	kind := func(name ExpectationKind, read func(n *yaml.Node, path string)) (f struct {
		name string
		read func(n *yaml.Node, path string)
	}) {
		f.name = string(name)
		f.read = func(n *yaml.Node, path string) {
			kinds++
			read(n, path)
		}
		return f
	}
	known := fields{
		{"id", func(n *yaml.Node, p string) { id = l.text(n, p) }},
		kind(ExpectRole, func(n *yaml.Node, p string) {
			for _, e := range l.entries(n, p) {
				one(ExpectRole, e.at, func(x *Expectation) {
					x.Policy, x.Role = l.named(e.key, e.at, e.path), l.word(e.value, e.path, "role", roles)
				})
			}
		}),
		kind(ExpectSynced, func(n *yaml.Node, p string) { one(ExpectSynced, n, func(x *Expectation) { l.synced(x, n, p) }) }),
		kind(ExpectEffective, func(n *yaml.Node, p string) {
			one(ExpectEffective, n, func(x *Expectation) { l.effective(x, n, p) })
		}),
		kind(ExpectMatches, func(n *yaml.Node, p string) {
			for _, e := range l.entries(n, p) {
				one(ExpectMatches, e.at, func(x *Expectation) {
					x.Policy, x.Proxies = l.named(e.key, e.at, e.path), l.proxyPatterns(e.value, e.path)
				})
			}
		}),
		kind(ExpectWarnings, func(n *yaml.Node, p string) {
			for _, e := range l.entries(n, p) {
				one(ExpectWarnings, e.at, func(x *Expectation) {
					x.Policy = l.named(e.key, e.at, e.path)
					x.Codes = l.wordsOf(e.value, e.path, "warning", warningCodes())
				})
			}
		}),
	}
	if step {
		known = append(known,
			kind(ExpectChanged, func(n *yaml.Node, p string) { one(ExpectChanged, n, func(x *Expectation) { l.changed(x, n, p) }) }),
			kind(ExpectStale, func(n *yaml.Node, p string) {
				one(ExpectStale, n, func(x *Expectation) {
					found := l.object(n, p, fields{
						{"zone", func(n *yaml.Node, p string) { x.Zone = l.zone(n, p) }},
						{"policy", func(n *yaml.Node, p string) { x.Policy = l.named(l.text(n, p), n, p) }},
					})
					l.required(n, p, found, "zone", "policy")
				})
			}),
			kind(ExpectConverged, func(n *yaml.Node, p string) {
				one(ExpectConverged, n, func(x *Expectation) { x.Within = l.duration(n, p) })
			}),
			kind(ExpectNoGhosts, func(n *yaml.Node, p string) {
				one(ExpectNoGhosts, n, func(x *Expectation) { x.Zone = l.zone(n, p) })
			}),
		)
	}
	problems := len(l.problems)
	l.object(n, path, known)
	switch {
	case len(l.problems) > problems || n.Kind != yaml.MappingNode:
	case kinds == 1 && len(all) == 0:
		l.bad(n, path, "nothing is expected: it names no policy")
	case kinds != 1:
		var names []string
		for _, f := range known[1:] {
			names = append(names, f.name)
		}
		l.bad(n, path, "found %d expectations in one item, want one of %s", kinds, strings.Join(names, ", "))
	}
	for i := range all {
		if all[i].ID = id; len(all) > 1 {
			all[i].ID = fmt.Sprintf("%s.%s", id, all[i].Policy)
		}
	}
	return all
}

var roles = []string{resource.RoleProducer, resource.RoleConsumer, resource.RoleWorkloadOwner, resource.RoleSystem}

func warningCodes() []string {
	var codes []string
	for _, c := range resource.WarningCodes {
		codes = append(codes, string(c))
	}
	return codes
}

// required reports the fields that are not among those found.
func (l *loader) required(n *yaml.Node, path string, found map[string]*yaml.Node, names ...string) {
	for _, name := range names {
		if found[name] == nil && n.Kind == yaml.MappingNode {
			l.bad(n, join(path, name), "must be given")
		}
	}
}

// named checks that a key names one document of the scenario, of a kind if it begins with one: "MeshTimeout east/shop/kv".
func (l *loader) named(key string, n *yaml.Node, path string) string {
	kind, rest, ok := strings.Cut(key, " ")
	if !ok {
		kind, rest = "", key
	}
	byKey := map[string][]string{} // kinds
	for _, d := range l.known() {
		desc, _ := resource.LookupKind(d.Resource.Kind)
		if kind == "" && !desc.Policy || kind != "" && d.Resource.Kind != kind {
			continue
		}
		if key := d.Key(); !slices.Contains(byKey[key], d.Resource.Kind) {
			byKey[key] = append(byKey[key], d.Resource.Kind)
		}
	}
	keys := sortedKeys(byKey)
	found, several := meant(l.scenario.Mesh, rest, keys)
	switch kinds := byKey[found]; {
	case found == "" && l.broken[canonical(l.scenario.Mesh, rest)]:
	case found == "" && len(several) == 0 && l.elsewhere(rest, n, path):
	case len(several) > 0:
		l.bad(n, path, "%s", ambiguous(rest, several))
	case len(kinds) == 1:
		return kinds[0] + " " + found
	case len(kinds) > 1:
		l.bad(n, path, "%q names resources of the kinds %s: write %q", rest, strings.Join(kinds, ", "), kinds[0]+" "+rest)
	case len(keys) > 12:
		reason := fmt.Sprintf("no policy is called %q", key)
		if near := resource.Nearest(rest, keys); near != "" {
			reason += "; did you mean " + near + "?"
		}
		l.bad(n, path, "%s", reason)
	default:
		l.unknown(n, path, kindOrPolicy(kind), rest, keys)
	}
	return key
}

// elsewhere reports a key or a pattern of a plane that is not there.
func (l *loader) elsewhere(key string, n *yaml.Node, path string) bool {
	zone, _, ok := strings.Cut(key, "/")
	known := append(l.zoneNames(), globalPlane)
	if !ok || strings.ContainsAny(zone, `*?[\\`) || slices.Contains(known, zone) {
		return false
	}
	reason := fmt.Sprintf("unknown zone %q in %q, want one of %s", zone, key, strings.Join(known, ", "))
	if near := resource.Nearest(zone, known); near != "" {
		reason += "; did you mean " + near + "?"
	}
	l.bad(n, path, "%s", reason)
	return true
}

func kindOrPolicy(kind string) string {
	if kind == "" {
		return "policy"
	}
	return kind
}

// known returns every document of the scenario, also those that steps write.
func (l *loader) known() []Document {
	all := l.scenario.all()
	if l.into != nil {
		all = append(all, *l.into...)
	}
	for _, s := range l.scenario.Steps {
		all = append(all, s.Action.Documents...)
	}
	return all
}

// zone reads the name of a zone.
func (l *loader) zone(n *yaml.Node, path string) string {
	return l.word(n, path, "zone", l.zoneNames())
}

// plane reads the name of a zone, or global as "".
func (l *loader) plane(n *yaml.Node, path string) string {
	if word := l.word(n, path, "control plane", append(l.zoneNames(), globalPlane)); word != globalPlane {
		return word
	}
	return ""
}

// planeList reads one name or several.
func (l *loader) planeList(n *yaml.Node, path string) []string {
	if n.Kind == yaml.ScalarNode {
		return []string{l.plane(n, path)}
	}
	var all []string
	for i, item := range l.list(n, path) {
		all = append(all, l.plane(item, fmt.Sprintf("%s[%d]", path, i)))
	}
	return all
}

func (l *loader) synced(x *Expectation, n *yaml.Node, path string) {
	found := l.object(n, path, fields{
		{"policy", func(n *yaml.Node, p string) { x.Policy = l.named(l.text(n, p), n, p) }},
		{"to", func(n *yaml.Node, p string) { x.To = l.planeList(n, p) }},
		{"only", func(n *yaml.Node, p string) { x.To, x.Only = l.planeList(n, p), true }},
		{"notTo", func(n *yaml.Node, p string) {
			if n.Kind != yaml.MappingNode {
				for _, zone := range l.planeList(n, p) {
					x.NotTo = append(x.NotTo, NotTo{Zone: zone})
				}
				return
			}
			for _, e := range l.entries(n, p) {
				x.NotTo = append(x.NotTo, NotTo{l.plane(e.at, e.path), l.word(e.value, e.path, "rule", ruleIDs())})
			}
		}},
	})
	l.required(n, path, found, "policy")
	if found["to"] != nil && found["only"] != nil {
		l.bad(found["only"], join(path, "only"), "excludes to")
	}
	if found["to"] == nil && found["only"] == nil && found["notTo"] == nil && n.Kind == yaml.MappingNode {
		l.bad(n, path, "nothing is expected: want to, only or notTo")
	}
}

func ruleIDs() []string {
	var ids []string
	for _, r := range scope.Rules() {
		ids = append(ids, string(r))
	}
	return ids
}

func (l *loader) effective(x *Expectation, n *yaml.Node, path string) {
	found := l.object(n, path, fields{
		{"proxy", func(n *yaml.Node, p string) { x.Proxies = l.proxyPatterns(n, p) }},
		{"type", func(n *yaml.Node, p string) { x.Type = l.word(n, p, "kind of policy", policyKinds()) }},
		{"to", func(n *yaml.Node, p string) { x.Destination = l.destination(n, p) }},
		{"inbound", func(n *yaml.Node, p string) { x.Inbound = l.text(n, p) }},
		{"listener", func(n *yaml.Node, p string) { x.Listener = l.listener(n, p) }},
		{"from", func(n *yaml.Node, p string) {
			if x.From = l.text(n, p); x.From != "" {
				x.From = l.named(x.From, n, p)
			}
		}},
		{"set", func(n *yaml.Node, p string) {
			x.Set = map[string]any{}
			for _, e := range l.entries(n, p) {
				x.Set[e.key] = l.value(e.value, e.path)
			}
			if len(x.Set) == 0 {
				l.bad(n, p, "nothing is expected: want fields and values, such as {http.requestTimeout: 1s}")
			}
		}},
	})
	l.required(n, path, found, "proxy", "type", "set")
	if set := child(n, "set"); set != nil {
		l.settings(x, set, join(path, "set"))
	}
	if found["to"] != nil && found["inbound"] != nil {
		l.bad(found["inbound"], join(path, "inbound"), "excludes to")
	}
	if found["listener"] != nil && found["inbound"] != nil {
		l.bad(found["inbound"], join(path, "inbound"), "excludes listener, which without to is about what it takes")
	}
}

// listener reads the port, the host, or both of a listener of some MeshGateway.
func (l *loader) listener(n *yaml.Node, path string) string {
	var known, names []string
	for _, d := range l.known() {
		if d.Resource.Kind != "MeshGateway" {
			continue
		}
		gateway, err := policy.ParseGateway(d.Resource)
		if err != nil {
			continue // its control plane refuses it
		}
		for _, one := range gateway.Listeners() {
			names = append(names, one.String())
			known = append(known, one.String(), one.Hostname, fmt.Sprint(one.Port))
		}
	}
	word := l.text(n, path)
	if word != "" && !slices.Contains(known, word) {
		slices.Sort(names)
		l.unknown(n, path, "listener", word, slices.Compact(names))
	}
	return word
}

// settings checks that the values that are expected are of fields which the type of policy has.
func (l *loader) settings(x *Expectation, set *yaml.Node, path string) {
	kind, err := catalog.Lookup(x.Type)
	if err != nil {
		return // it is reported already
	}
	known := sortedKeys(kind.Settings())
	if len(known) == 0 {
		return // fields of routes are named after what they match
	}
	for _, name := range sortedKeys(x.Set) {
		leaves := map[string]any{}
		flat(name, x.Set[name], leaves)
		for _, leaf := range sortedKeys(leaves) {
			if slices.ContainsFunc(known, func(field string) bool { return within(leaf, field) || within(field, leaf) }) {
				continue
			}
			at := keyNode(set, name)
			if len(known) > 30 {
				reason := fmt.Sprintf("a %s has no setting %q", x.Type, leaf)
				if near := resource.Nearest(leaf, known); near != "" {
					reason += "; did you mean " + near + "?"
				}
				l.bad(at, join(path, name), "%s", reason)
				continue
			}
			l.unknown(at, join(path, name), "setting of a "+x.Type, leaf, known)
		}
	}
}

// within says whether a path is another one, or leads below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// proxyPatterns reads patterns of proxies; each must name one that is there.
func (l *loader) proxyPatterns(n *yaml.Node, path string) []string {
	words := l.words(n, path)
	patterns := make([]string, len(words))
	var keys []string
	for _, d := range l.known() {
		if d.Resource.Kind == "Dataplane" {
			keys = append(keys, d.Key())
		}
	}
	for i, e := range words {
		pattern, n, path := e.key, e.at, e.path
		found, several := meantPattern(l.scenario.Mesh, pattern, keys)
		if len(several) > 0 {
			l.bad(n, path, "%s", ambiguous(pattern, several))
		}
		patterns[i] = found
		if found != "" || len(several) > 0 || l.elsewhere(pattern, n, path) {
			continue
		}
		reason := fmt.Sprintf("no proxy is called %q", pattern)
		if near := resource.Nearest(pattern, keys); near != "" {
			reason += "; did you mean " + near + "?"
		} else if len(keys) > 0 && len(keys) <= 12 {
			reason += ", want one of " + strings.Join(keys, ", ")
		}
		l.bad(n, path, "%s", reason)
	}
	return patterns
}

// destination reads mesh, or the key of a service.
func (l *loader) destination(n *yaml.Node, path string) string {
	word := l.text(n, path)
	key, section, _ := strings.Cut(word, ":")
	if word == "mesh" || word == "" {
		return word
	}
	var keys []string
	for _, d := range l.known() {
		if slices.Contains(destinationKinds, d.Resource.Kind) {
			keys = append(keys, d.Key())
		}
	}
	found, several := meant(l.scenario.Mesh, key, keys)
	switch {
	case len(several) > 0:
		l.bad(n, path, "%s", ambiguous(key, several))
	case found == "" && l.elsewhere(key, n, path):
	case found == "":
		l.unknown(n, path, "service", key, append(keys, "mesh"))
	case section != "":
		return found + ":" + section
	default:
		return found
	}
	return word
}

var destinationKinds = []string{"MeshService", "MeshMultiZoneService", "MeshExternalService"}

func (l *loader) changed(x *Expectation, n *yaml.Node, path string) {
	if n.Kind == yaml.ScalarNode && n.Value == "nothing" {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.bad(n, path, "found %s, want nothing, or an object with proxies", describe(n))
		return
	}
	found := l.object(n, path, fields{
		{"proxies", func(n *yaml.Node, p string) { x.Proxies = l.proxyPatterns(n, p) }},
		{"types", func(n *yaml.Node, p string) {
			x.Types = l.wordsOf(n, p, "kind of policy", policyKinds())
		}},
	})
	l.required(n, path, found, "proxies")
}
