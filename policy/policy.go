package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/meridian-mesh/meridian/resource"
)

// Policy is a stored policy, parsed. It is immutable: share it freely.
type Policy struct {
	resource.Resource
	Target          TargetRef // the top-level targetRef; kind Mesh if the document has none
	To, From, Rules []Item
	Default         *Item // of the types that configure the proxy as a whole; nil if there is none

	kind, origin, role int // rank of the top-level kind, of the origin and of the role: the bigger wins
	shadow             bool
	display            string
	kri                string // of Identity
	reach              reach
	tags               tagList // Target as tags of an inbound
	meta               Meta
}

// Item is one element of a list of a policy.
type Item struct {
	Target TargetRef // zero in `rules` and `default`
	// Conf is decoded JSON as it was written: numbers are json.Number, explicit nulls are kept. Of an item of a route it
	// is made from the rules, see route.go.
	Conf  any
	plain any     // Conf without the nulls: what the item comes to alone
	tags  tagList // Target as tags of a peer
	query query   // Target as what it looks for; of `to` alone

	// Of a MeshHTTPRoute:
	routes    []routeRule // weakest first, which is last written first
	hostnames []string
}

// document is what all types of policy have in common.
type document struct {
	TargetRef *TargetRef `json:"targetRef"`
	To        []struct {
		TargetRef TargetRef `json:"targetRef"`
		Default   any       `json:"default"`
		// Of routes, instead of a default:
		Rules     json.RawMessage `json:"rules"`
		Hostnames json.RawMessage `json:"hostnames"`
	} `json:"to"`
	From []struct {
		TargetRef TargetRef `json:"targetRef"`
		Default   any       `json:"default"`
	} `json:"from"`
	Rules []struct {
		Default any `json:"default"`
	} `json:"rules"`
	Default any `json:"default"`
}

func decode(spec []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(spec))
	d.UseNumber()
	return d.Decode(into)
}

// Parse returns a policy of any type that has a targetRef. It checks the JSON types of what all policies have in
// common, and nothing else: a stored policy was validated when it was written.
func Parse(r resource.Resource) (*Policy, error) {
	var doc document
	if err := decode(r.Spec, &doc); err != nil {
		return nil, fmt.Errorf("parse %s: %w", r.Key, err)
	}
	p := &Policy{Resource: r, Target: TargetRef{Kind: kindMesh}, display: r.Display(), kri: r.Identity().KRI(""), meta: metaOf(r)}
	if doc.TargetRef != nil {
		p.Target = *doc.TargetRef
	}
	t, _ := LookupType(r.Kind)
	for i, it := range doc.To {
		if t.item == nil {
			p.To = append(p.To, newItem(it.TargetRef, it.Default))
			continue
		}
		made, err := t.item(it.TargetRef, it.Rules, it.Hostnames)
		if err != nil {
			return nil, fmt.Errorf("parse %s: to[%d]: %w", r.Key, i, err)
		}
		p.To = append(p.To, made)
	}
	for _, it := range doc.From {
		p.From = append(p.From, newItem(it.TargetRef, it.Default))
	}
	for _, it := range doc.Rules {
		p.Rules = append(p.Rules, newItem(TargetRef{}, it.Default))
	}
	if t.Single || doc.Default != nil {
		it := newItem(TargetRef{}, doc.Default) // without a default it says nothing, but it configures the proxy
		p.Default = &it
	}
	for i := range p.To {
		p.To[i].query = queryOf(p, p.To[i].Target)
	}
	p.shadow = r.Labels[resource.LabelEffect] == "shadow"
	p.kind, p.origin, p.role = strength[p.Target.Kind], originRank(r.Origin()), roleRank(r.Role())
	p.reach = reachOf(r)
	if p.tags = tagsOf(p.Target); p.Target.Kind == kindGateway { // its tags are those of a listener
		p.tags = tagsOf(TargetRef{Kind: kindSubset, Tags: p.Target.Tags})
	}
	return p, nil
}

func newItem(ref TargetRef, conf any) Item {
	if conf == nil {
		conf = map[string]any{}
	}
	return Item{Target: ref, Conf: conf, plain: mergePatch(nil, conf), tags: tagsOf(ref)}
}

// Shadow says whether the policy is only a trial: it matches, and is left out of every answer.
func (p *Policy) Shadow() bool { return p.shadow }

// Meta is how an answer names a resource.
type Meta struct {
	Type   string            `json:"type"`
	Mesh   string            `json:"mesh"` // "" for kinds of global scope
	Name   string            `json:"name"` // the storage name
	Labels map[string]string `json:"labels"`

	encoded json.RawMessage // nil: not yet
}

func metaOf(r resource.Resource) Meta {
	m := Meta{Type: r.Kind, Mesh: r.Mesh, Name: r.Name, Labels: r.Labels}
	if m.Labels == nil {
		m.Labels = map[string]string{} // {} in JSON, never null
	}
	m.encoded, _ = m.MarshalJSON() // of strings: there is no error
	return m
}

// Routed returns the name of the MeshHTTPRoute that the policy is for, "" if it is for none.
func (p *Policy) Routed() string {
	if onRoute(p) {
		return p.Target.Name
	}
	return ""
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}
