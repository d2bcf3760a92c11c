package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// check collects what is wrong with one policy.
type check struct {
	violations []resource.Violation
}

func (c *check) report(at, format string, args ...any) {
	c.violations = append(c.violations, resource.Violation{Field: at, Reason: fmt.Sprintf(format, args...)})
}

// validate returns what is wrong with a policy whose spec has the right shape. Which kinds its top-level targetRef may
// have depends on the policy's role, so r carries its labels.
func (t Type) validate(r resource.Resource, _ any) []resource.Violation {
	c := &check{}
	p, err := Parse(r)
	if err != nil {
		c.report("spec", "%v", err)
		return c.violations
	}
	role, err := roleFor(r)
	if err != nil {
		c.report("spec.to", "%v", err)
	}
	top := t.matrix.top
	if role != resource.RoleSystem {
		top = slices.DeleteFunc(slices.Clone(top), func(k RefKind) bool { return slices.Contains(t.matrix.systemTop, k) })
	}
	c.targetRef("spec.targetRef", p.Target, top, refOptions{
		dataplaneSection: len(p.From) > 0 || len(p.Rules) > 0,
		listenerTags:     t.matrix.listenerTags,
		because:          because(p.Target.Kind, t.matrix.systemTop, role),
	})
	t.lists(c, p)

	to, from := t.matrix.to, p.From
	if atGateway(p) {
		to = t.matrix.toAtGateway
		if len(from) > 0 && t.matrix.noFromAtGateway {
			c.report("spec.from", "must not be given with a top-level targetRef of kind %s", p.Target.Kind)
			from = nil
		}
	}
	for i, it := range from {
		at := fmt.Sprintf("spec.from[%d]", i)
		c.targetRef(at+".targetRef", it.Target, t.matrix.from, refOptions{})
		t.conf(c, at+".default", it, p)
	}
	for i, it := range p.To {
		at := fmt.Sprintf("spec.to[%d]", i)
		c.targetRef(at+".targetRef", it.Target, to, refOptions{})
		t.conf(c, at+".default", it, p)
	}
	for i, it := range p.Rules {
		t.conf(c, fmt.Sprintf("spec.rules[%d].default", i), it, p)
	}
	return c.violations
}

func atGateway(p *Policy) bool { return p.Target.Kind == kindGateway || p.Target.Kind == kindHTTPRoute }

func because(kind RefKind, systemOnly []RefKind, role string) string {
	if role == resource.RoleSystem || !slices.Contains(systemOnly, kind) {
		return ""
	}
	return fmt.Sprintf(" (%s is for policies of role system, this one is of role %s)", kind, role)
}

// oneList is the rule that a policy has `rules`, or `to` and `from`, and one of them at least.
func oneList(c *check, p *Policy) {
	switch peers := len(p.To) + len(p.From); {
	case peers == 0 && len(p.Rules) == 0:
		c.report("spec", "one of to, from, rules must be given")
	case peers > 0 && len(p.Rules) > 0:
		c.report("spec", "rules must not be given together with to or from")
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
		reason := fmt.Sprintf("found %q, want one of %s%s", ref.Kind, strings.Join(words, ", "), o.because)
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

// gives says whether the author gave one of the fields of a conf, be it as a null.
func gives(conf any, fields ...string) bool {
	members, _ := conf.(map[string]any)
	return slices.ContainsFunc(fields, func(f string) bool { _, ok := members[f]; return ok })
}

// confOf returns the conf of an item in its Go type. Its shape has been checked, so there is nothing to fail.
func confOf[C any](item Item) C {
	var conf C
	data, err := json.Marshal(item.Conf)
	if err == nil {
		err = json.Unmarshal(data, &conf)
	}
	if err != nil {
		panic(fmt.Sprintf("policy: the schema let a conf pass that is no %T: %v", conf, err))
	}
	return conf
}

// duration checks the range of a duration that may be left out.
func (c *check) duration(at string, d *resource.Duration, zero zeroRule) {
	switch {
	case d == nil:
	case *d < 0:
		c.report(at, "found %v, want a duration that is not negative", *d)
	case *d == 0 && zero == zeroRefused:
		c.report(at, "found %v, want a duration above 0", *d)
	}
}

type zeroRule bool

const (
	zeroAllowed zeroRule = true
	zeroRefused zeroRule = false
)
