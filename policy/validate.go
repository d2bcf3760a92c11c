package policy

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// check walks one policy. It collects what is wrong with it and, if asked, what its author should know.
type check struct {
	resource.Resource
	t          Type
	role       string
	top        TargetRef       // kind Mesh if the document has none
	nulls      map[string]bool // paths of the explicit nulls
	violations []resource.Violation
	warn       func(code resource.WarningCode, field, format string, args ...any) // never nil
}

func newCheck(t Type, r resource.Resource) *check {
	return &check{Resource: r, t: t, top: TargetRef{Kind: kindMesh}, nulls: nullsOf(r.Spec), warn: func(resource.WarningCode, string, string, ...any) {}}
}

// nullsOf returns the paths at which a spec has explicit nulls; nil if there are none, which is cheap to find out.
func nullsOf(spec []byte) map[string]bool {
	if !bytes.Contains(spec, []byte("null")) {
		return nil
	}
	var tree any
	if err := decode(spec, &tree); err != nil {
		return nil
	}
	nulls := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case nil:
			nulls[at] = true
		case map[string]any:
			for name, m := range v {
				walk(at+"."+name, m)
			}
		case []any:
			for i, m := range v {
				walk(item(at, i), m)
			}
		}
	}
	walk("spec", tree)
	return nulls
}

func (c *check) report(at, format string, args ...any) {
	c.violations = append(c.violations, resource.Violation{Field: at, Reason: fmt.Sprintf(format, args...)})
}

// oneOf reports that one of the fields of the object at at must be given. given says whether one has a value; a null
// counts too, since it says something: that weaker policies' values are removed.
func (c *check) oneOf(at string, given bool, fields ...string) bool {
	for _, f := range fields {
		given = given || c.nulls[at+"."+f]
	}
	if !given {
		c.report(at, "one of %s must be given", strings.Join(fields, ", "))
	}
	return given
}

// validate returns what is wrong with a policy. Which kinds its top-level targetRef may have depends on the policy's
// role, so r carries its labels. s is the spec of r.
func (t Type) validate(r resource.Resource, s any) []resource.Violation {
	c := newCheck(t, r)
	s.(spec).validate(c)
	return c.violations
}

// target checks the top-level targetRef, and what follows from the role. inbound says whether the policy has lists
// about traffic that comes in, which a section of a Dataplane can narrow.
func (c *check) target(ref *TargetRef, inbound bool) {
	role, err := roleFor(c.Resource)
	if c.role = role; err != nil {
		c.report("spec.to", "%v", err)
	}
	if ref == nil {
		return
	}
	m := c.t.matrix
	c.top = *ref
	o := refOptions{dataplaneSection: inbound, listenerTags: m.listenerTags}
	top := m.top
	if role != resource.RoleSystem && slices.Contains(m.systemTop, ref.Kind) {
		top = slices.DeleteFunc(slices.Clone(top), func(k RefKind) bool { return slices.Contains(m.systemTop, k) })
		o.because = fmt.Sprintf(" (%s is for policies of role system, this one is of role %s)", ref.Kind, role)
	}
	c.targetRef("spec.targetRef", c.top, top, o)
	switch ref.Kind {
	case kindService:
		c.warn(resource.WarnDeprecatedTargetRef, "spec.targetRef", "spec.targetRef: kind MeshService is deprecated at the top of a policy: use MeshSubset with the tag %s", serviceTag)
	case kindSubset:
		c.warn(resource.WarnDeprecatedTargetRef, "spec.targetRef", "spec.targetRef: kind MeshSubset is deprecated at the top of a policy: use Dataplane with labels")
	}
}

// includesGateway says whether the top-level targetRef can select a gateway.
func (c *check) includesGateway() bool {
	switch c.top.Kind {
	case kindGateway, kindHTTPRoute:
		return true
	case kindMesh, kindSubset:
		return len(c.top.ProxyTypes) == 0 || slices.Contains(c.top.ProxyTypes, ProxyGateway)
	}
	return false
}

// atGateway says whether the top-level targetRef selects listeners of a gateway, in a type that can.
func (c *check) atGateway() bool {
	return (c.top.Kind == kindGateway || c.top.Kind == kindHTTPRoute) && slices.Contains(c.t.matrix.top, c.top.Kind)
}

// have says which lists a policy has: the numbers of their items.
func (c *check) have(to, from, rules int) {
	has := map[string]bool{"to": to > 0, "from": from > 0, "rules": rules > 0}
	need := c.t.matrix.need
	switch {
	case len(need) == 0 || slices.ContainsFunc(need, func(list string) bool { return has[list] }):
	case len(need) == 1:
		c.report("spec."+need[0], "must have at least one item")
	default:
		c.report("spec", "one of %s must be given", strings.Join(need, ", "))
	}
	if rules > 0 && to+from > 0 {
		c.report("spec", "rules must not be given together with %s", c.peerLists())
	}
	if from > 0 && c.t.Rules {
		c.warn(resource.WarnDeprecatedFrom, "spec.from", "spec.from is deprecated: use spec.rules")
	}
}

// peerLists names the lists of the type that have a targetRef.
func (c *check) peerLists() string {
	switch {
	case !c.t.To:
		return "from"
	case !c.t.From:
		return "to"
	}
	return "to or from"
}

// list says whether the items of a list that is not empty are worth a look: its type allows it beside this top-level
// targetRef.
func (c *check) list(name string) bool {
	switch m := c.t.matrix; {
	case name == "from" && m.noFromAtGateway && c.atGateway():
		c.report("spec.from", "must not be given with a top-level targetRef of kind %s", c.top.Kind)
	case m.split && name == "to" && !c.includesGateway():
		c.report("spec.to", "must not be given with a top-level targetRef that selects no gateway: use %s", c.inboundLists())
	case m.split && name != "to" && c.includesGateway():
		c.report("spec."+name, "must not be given with a top-level targetRef that can select a gateway: kind Mesh or MeshSubset with proxyTypes [Sidecar], or kind Dataplane, selects none")
	default:
		return true
	}
	return false
}

func (c *check) inboundLists() string {
	if c.t.Rules {
		return "rules"
	}
	return "from"
}

// toRef checks the targetRef of an item of `to` and returns the path of the item.
func (c *check) toRef(i int, ref TargetRef) string {
	at := item("spec.to", i)
	m := c.t.matrix
	kinds, o := m.to, refOptions{}
	switch {
	case c.atGateway() && m.toAtGateway != nil:
		kinds = m.toAtGateway
		if slices.Contains(m.to, ref.Kind) {
			o.because = fmt.Sprintf(" (with a top-level targetRef of kind %s)", c.top.Kind)
		}
	case ref.Kind == kindExternal && slices.Contains(kinds, kindService):
		o.because = " (a MeshExternalService is reached through a zone egress, which all clients share)"
	}
	c.targetRef(at+".targetRef", ref, kinds, o)
	if c.Zone() == "" && ref.Kind == kindService && ref.Name != "" {
		if _, _, _, legacy := legacyName(ref.Name); !legacy || ref.SectionName != "" {
			c.warn(resource.WarnGlobalByName, at+".targetRef", "%s.targetRef: a name is looked up in the zone of the policy, and this one has no zone: MeshService %q is found in none; use labels", at, ref.Name)
		}
	}
	return at
}

// fromRef checks the targetRef of an item of `from` and returns the path of the item.
func (c *check) fromRef(i int, ref TargetRef) string {
	at := item("spec.from", i)
	c.targetRef(at+".targetRef", ref, c.t.matrix.from, refOptions{})
	if ref.Kind == kindService {
		c.warn(resource.WarnDeprecatedTargetRef, at+".targetRef", "%s.targetRef: kind MeshService is deprecated: use MeshSubset with the tag %s", at, serviceTag)
	}
	return at
}

// checkLists checks a policy that has nothing but a targetRef and lists whose items all have the same conf. A type
// gives nil for the lists that it does not have. conf checks one conf; at is its path.
func checkLists[C any](c *check, target *TargetRef, to, from []Peer[C], rules []Rule[C], conf func(c *check, at string, conf *C)) {
	c.target(target, len(from)+len(rules) > 0)
	c.have(len(to), len(from), len(rules))
	if len(from) > 0 && c.list("from") {
		for i := range from {
			conf(c, c.fromRef(i, from[i].TargetRef)+".default", &from[i].Default)
		}
	}
	if len(to) > 0 && c.list("to") {
		for i := range to {
			conf(c, c.toRef(i, to[i].TargetRef)+".default", &to[i].Default)
		}
	}
	if len(rules) > 0 && c.list("rules") {
		for i := range rules {
			conf(c, item("spec.rules", i)+".default", &rules[i].Default)
		}
	}
}

type refOptions struct {
	dataplaneSection bool   // the policy has lists that a section of a Dataplane can narrow
	listenerTags     bool   // a MeshGateway may have tags
	because          string // why a kind that is allowed elsewhere is not allowed here
}

// refFields says which fields of a targetRef go with a kind, besides kind itself.
type refFields struct {
	name     nameRule
	labels   bool // labels, and with them namespace: they select resources
	tags     tagsRule
	section  bool
	types    bool // proxyTypes
	anything bool // nothing is checked
}

type nameRule uint8

const (
	noName nameRule = iota
	anyName
	nameOrLabels // exactly one of them
	mustName
)

type tagsRule uint8

const (
	noTags tagsRule = iota
	exactTags
	selectorTags // "*" is any value
)

var refRules = map[RefKind]refFields{
	kindMesh:       {types: true},
	kindSubset:     {tags: exactTags, types: true},
	kindDataplane:  {name: anyName, labels: true, section: true},
	kindService:    {name: nameOrLabels, labels: true, section: true},
	kindHTTPRoute:  {name: nameOrLabels, labels: true, section: true},
	kindExternal:   {name: nameOrLabels, labels: true},
	kindServiceSet: {name: mustName, tags: selectorTags},
	kindGateway:    {name: mustName, tags: selectorTags},
	kindMultiZone:  {anything: true}, // as Kuma has it
}

var (
	refName  = regexp.MustCompile(`^[0-9a-z.\-_]*$`)
	tagKey   = regexp.MustCompile(`^[a-zA-Z0-9.\-_:/]+$`)
	tagValue = regexp.MustCompile(`^[a-zA-Z0-9.\-_:]+$`)
	tagMatch = regexp.MustCompile(`^([a-zA-Z0-9.\-_:/]+|\*)$`)
)

// targetRef checks one targetRef against the kinds that its place allows, and its fields against its kind.
func (c *check) targetRef(at string, ref TargetRef, allowed []RefKind, o refOptions) {
	if !slices.Contains(allowed, ref.Kind) {
		words := make([]string, len(allowed))
		for i, k := range allowed {
			words[i] = string(k)
		}
		want := "one of " + strings.Join(words, ", ")
		if len(words) == 1 {
			want = words[0]
		}
		reason := fmt.Sprintf("found %q, want %s%s", ref.Kind, want, o.because)
		if near := resource.Nearest(string(ref.Kind), words); near != "" {
			reason += "; did you mean " + near + "?"
		}
		c.report(at+".kind", "%s", reason)
		return
	}
	rule := refRules[ref.Kind]
	if rule.anything {
		return
	}
	forbid := func(field string, given bool) {
		if given {
			c.report(at+"."+field, "must not be given with kind %s", ref.Kind)
		}
	}
	c.refName(at, ref, rule)
	forbid("mesh", ref.Mesh != "")
	switch {
	case rule.tags == noTags || ref.Kind == kindGateway && !o.listenerTags:
		forbid("tags", len(ref.Tags) > 0)
	default:
		c.tags(at+".tags", ref.Tags, rule.tags)
	}
	forbid("labels", !rule.labels && len(ref.Labels) > 0)
	forbid("namespace", !rule.labels && ref.Namespace != "")
	switch {
	case !rule.section:
		forbid("sectionName", ref.SectionName != "")
	case ref.Kind == kindDataplane && ref.SectionName != "" && !o.dataplaneSection:
		c.report(at+".sectionName", "names an inbound, so the policy must have rules or from")
	}
	switch {
	case !rule.types:
		forbid("proxyTypes", ref.ProxyTypes != nil)
	case ref.ProxyTypes != nil && len(ref.ProxyTypes) == 0:
		c.report(at+".proxyTypes", "must not be empty; leave it out to select all proxies")
	}
}

func (c *check) refName(at string, ref TargetRef, rule refFields) {
	if rule.name == noName {
		if ref.Name != "" {
			c.report(at+".name", "must not be given with kind %s, which selects without a name", ref.Kind)
		}
		return
	}
	switch {
	case rule.name == mustName && ref.Name == "":
		c.report(at+".name", "must be given with kind %s", ref.Kind)
	case rule.name == nameOrLabels && ref.Name == "" && len(ref.Labels) == 0:
		c.report(at+".name", "must be given with kind %s, or labels", ref.Kind)
	case rule.name != anyName && !refName.MatchString(ref.Name):
		c.report(at+".name", "found %q, want lower-case letters, digits, and - . _", ref.Name)
	}
	if rule.labels && len(ref.Labels) > 0 && (ref.Name != "" || ref.Namespace != "") {
		c.report(at+".labels", "must not be given together with name or namespace")
	}
}

func (c *check) tags(at string, tags map[string]string, rule tagsRule) {
	value, want := tagValue, "letters, digits, and - . _ :"
	if rule == selectorTags {
		value, want = tagMatch, `letters, digits, and - . _ : /, or "*" for any value`
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		here := at + "[" + strconv.Quote(k) + "]"
		if !tagKey.MatchString(k) {
			c.report(here, "the key %q must have letters, digits, and - . _ : / only, and at least one", k)
		}
		if v := tags[k]; !value.MatchString(v) {
			c.report(here, "found %q, want at least one of %s", v, want)
		}
	}
}
