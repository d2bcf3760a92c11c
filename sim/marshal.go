package sim

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Expand returns the scenario as a file without shorthand and without includes: every document is there in full, and what is expected
// and what happens is as it was written. Loading it gives the same federation.
func Expand(s *Scenario) ([]byte, error) {
	root := mapping("scenario", s.Name)
	add := func(name string, n *yaml.Node) { root.Content = append(root.Content, scalar(name), n) }
	add("seed", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(s.Seed)})
	add("mesh", scalar(s.Mesh))
	byPlane := map[string]*yaml.Node{}
	for _, d := range s.Documents {
		text, err := resource.ToJSON(d.Resource)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Resource.Key, err)
		}
		n, err := nodeOf(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Resource.Key, err)
		}
		if byPlane[d.Plane] == nil {
			byPlane[d.Plane] = sequence()
		}
		byPlane[d.Plane].Content = append(byPlane[d.Plane].Content, n)
	}
	if n := byPlane[""]; n != nil {
		add("resources", n)
	}
	zones := mapping()
	for _, z := range s.Zones {
		zone := mapping()
		if z.Version != "" {
			zone.Content = append(zone.Content, mapping("version", z.Version).Content...)
		}
		if len(z.Without) > 0 {
			zone.Content = append(zone.Content, scalar("without"), textNodes(z.Without))
		}
		if n := byPlane[z.Name]; n != nil {
			zone.Content = append(zone.Content, scalar("resources"), n)
		}
		if len(zone.Content) == 0 {
			zone.Style = yaml.FlowStyle
		}
		zones.Content = append(zones.Content, scalar(z.Name), zone)
	}
	add("zones", zones)
	for _, name := range []string{"expect", "steps", "invariants"} {
		switch n := s.source[name]; {
		case n != nil:
			add(name, n)
		case name == "expect" && len(s.Expect) > 0:
			all := sequence()
			for _, x := range s.Expect {
				all.Content = append(all.Content, expectationNode(x))
			}
			add(name, all)
		}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// nodeOf returns a JSON document as YAML in block style.
func nodeOf(doc []byte) (*yaml.Node, error) {
	text, err := resource.ToYAML(doc)
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	return n.Content[0], nil
}

func textNodes(words []string) *yaml.Node {
	n := sequence()
	n.Style = yaml.FlowStyle
	for _, w := range words {
		n.Content = append(n.Content, scalar(w))
	}
	return n
}

// expectationNode writes an expectation of those that Observed makes.
func expectationNode(x Expectation) *yaml.Node {
	flow := func(n *yaml.Node) *yaml.Node {
		n.Style = yaml.FlowStyle
		return n
	}
	switch x.Kind {
	case ExpectRole:
		return mapping(string(x.Kind), flow(mapping(x.Policy, x.Role)))
	case ExpectSynced:
		names := make([]string, len(x.To))
		for i, name := range x.To {
			names[i] = planeName(name)
		}
		of := mapping("policy", x.Policy, "only", textNodes(names))
		if len(x.NotTo) > 0 {
			not := mapping()
			for _, n := range x.NotTo {
				not.Content = append(not.Content, mapping(planeName(n.Zone), n.Rule).Content...)
			}
			of.Content = append(of.Content, scalar("notTo"), flow(not))
		}
		return mapping(string(x.Kind), of)
	case ExpectMatches:
		return mapping(string(x.Kind), mapping(x.Policy, textNodes(x.Proxies)))
	case ExpectWarnings:
		return mapping(string(x.Kind), flow(mapping(x.Policy, textNodes(x.Codes))))
	case ExpectEffective:
		of := mapping("proxy", textNodes(x.Proxies), "type", x.Type)
		if x.Destination != "" {
			of.Content = append(of.Content, mapping("to", x.Destination).Content...)
		}
		if x.Inbound != "" {
			of.Content = append(of.Content, mapping("inbound", x.Inbound).Content...)
		}
		if x.Listener != "" {
			of.Content = append(of.Content, mapping("listener", x.Listener).Content...)
		}
		set := mapping()
		for _, path := range slices.Sorted(maps.Keys(x.Set)) {
			var v yaml.Node
			if err := v.Encode(x.Set[path]); err == nil {
				set.Content = append(set.Content, scalar(path), &v)
			}
		}
		of.Content = append(of.Content, scalar("set"), set)
		if x.From != "" {
			of.Content = append(of.Content, mapping("from", x.From).Content...)
		}
		return mapping(string(x.Kind), of)
	}
	return mapping()
}

// Observed returns expectations that hold in a result: the role and the warnings of every policy, which planes have it and why the others
// do not, and every value that is in force, with who gives it. Proxies with equal values share an expectation.
//
// It is how a federation of today becomes a test for tomorrow: set them as Scenario.Expect, and Expand it.
func (r *Result) Observed(ctx context.Context) ([]Expectation, error) {
	if r.state == nil {
		return nil, ErrNoState
	}
	var all []Expectation
	rows, err := r.Policies(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		ref := row.Type + " " + row.Policy
		if row.Role != "" {
			all = append(all, Expectation{Kind: ExpectRole, Policy: ref, Role: row.Role})
		}
		synced, err := r.Sync(ref)
		if err != nil {
			return nil, err
		}
		x := Expectation{Kind: ExpectSynced, Policy: ref, Only: true}
		for _, at := range synced {
			name := at.Plane
			if name == globalPlane {
				name = ""
			}
			switch {
			case at.Written:
			case at.Has:
				x.To = append(x.To, name)
			case at.Rule != "":
				x.NotTo = append(x.NotTo, NotTo{name, string(at.Rule)})
			}
		}
		all = append(all, x)
		if codes := codesOf(row.Warnings); len(codes) > 0 {
			all = append(all, Expectation{Kind: ExpectWarnings, Policy: ref, Codes: codes})
		}
	}
	values, err := r.state.observed(ctx)
	return append(all, values...), err
}

func codesOf(warnings []Warning) []string {
	codes := map[string]bool{}
	for _, w := range warnings {
		codes[string(w.Code)] = true
	}
	return sortedWords(codes)
}

// observed returns the values that are in force: one expectation for each place, type and policy that gives them.
func (s *state) observed(ctx context.Context) ([]Expectation, error) {
	services := map[string]string{} // keys by KRI
	for _, zone := range s.names {
		for _, r := range s.planes[zone].all {
			if slices.Contains(destinationKinds, r.Kind) && writtenOn(r, zone) {
				services[r.Identity().KRI("")] = keyOn(s.home, zone, r)
			}
		}
	}
	type group struct {
		expectation Expectation
		proxies     []string
	}
	groups := map[string]*group{}
	var order []string
	for _, px := range s.everyProxy() {
		a, err := s.planes[px.zone].resolver().Effective(ctx, px.Mesh, px.Name, policy.Filter{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", px.key, err)
		}
		note := func(to, inbound, listener string, rules []policy.Applied) {
			for _, rule := range rules {
				if len(rule.Matchers) > 0 {
					continue // an expectation cannot say which clients it is about
				}
				byOrigin := map[string]map[string]any{}
				for _, f := range rule.Fields {
					from := s.originKey(f.Origin)
					if byOrigin[from] == nil {
						byOrigin[from] = map[string]any{}
					}
					byOrigin[from][f.Path] = f.Value
				}
				for _, from := range slices.Sorted(maps.Keys(byOrigin)) {
					x := Expectation{Kind: ExpectEffective, Type: rule.Type, Destination: to, Inbound: inbound, Listener: listener, Set: byOrigin[from], From: rule.Type + " " + from}
					id := fmt.Sprint(x)
					if groups[id] == nil {
						groups[id] = &group{expectation: x}
						order = append(order, id)
					}
					groups[id].proxies = append(groups[id].proxies, px.key)
				}
			}
		}
		towards := func(all []policy.EffectiveTo, listener string) {
			for _, to := range all {
				key := "mesh"
				if to.Kind != "Mesh" {
					key = ""
					if id, _, err := resource.ParseKRI(to.KRI); err == nil {
						key = services[id.KRI("")]
					}
					if key == "" {
						continue
					}
					if to.Section != "" {
						key += ":" + to.Section
					}
				}
				note(key, "", listener, to.Rules)
			}
		}
		towards(a.Destinations, "")
		for _, from := range a.Inbounds {
			note("", fmt.Sprint(from.Port), "", from.Rules)
		}
		note("", "", "", a.Proxy)
		for _, l := range a.Listeners {
			towards(l.Destinations, l.String())
			for _, from := range l.Inbounds {
				note("", "", l.String(), from.Rules)
			}
		}
	}
	var all []Expectation
	for _, id := range order {
		x := groups[id].expectation
		x.Proxies = groups[id].proxies
		all = append(all, x)
	}
	return all, nil
}

// FromResources returns a scenario of what a federation holds: global's store has everything. What was written in a zone goes to that zone,
// by its label; what control planes write themselves (Zones, insights) is left out.
func FromResources(name string, all []resource.Resource) *Scenario {
	s := newLoader("", "").scenario
	s.Name = name
	zones := map[string]bool{}
	for _, r := range all {
		if r.Kind == "Zone" {
			zones[r.Name] = true
		}
		d, ok := resource.LookupKind(r.Kind)
		if !ok || d.SystemManaged || d.Plural == "" || r.Kind == "Zone" {
			continue
		}
		if r.Zone() != "" {
			zones[r.Zone()] = true
		}
		plane := r.Zone()
		r.Name = resource.StorageName(r.Display(), r.Namespace())
		s.Documents = append(s.Documents, Document{Document: resource.Document{Source: name, Resource: authored(r)}, Plane: plane, home: s.Mesh})
	}
	for _, zone := range sortedWords(zones) {
		s.Zones = append(s.Zones, Zone{Name: zone})
	}
	return s
}

// authored returns a resource with the labels that its author may have written: without those that a control plane computes.
func authored(r resource.Resource) resource.Resource {
	labels := map[string]string{}
	for k, v := range r.Labels {
		switch k {
		case resource.LabelOrigin, resource.LabelZone, resource.LabelRole, resource.LabelDisplayName, resource.LabelMesh, resource.LabelEnv, resource.LabelProxyType:
		default:
			labels[k] = v
		}
	}
	r.Labels, r.Status, r.Version = labels, nil, 0
	return r
}
