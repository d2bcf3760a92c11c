package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// Known is what the references of a policy may find: the resources of its mesh. All fields are only read.
type Known struct {
	Destinations *Destinations
	Proxies      iter.Seq[*Proxy] // required
	Around       Surroundings
}

// References says whether a policy has a reference that could fail to find something: a cheap question to ask before
// Unresolved.
func References(p *Policy) bool {
	if p.Target.Kind != kindMesh || strings.Contains(string(p.Spec), `"backendRef`) {
		return true
	}
	return slices.ContainsFunc(p.To, func(it Item) bool { return slices.Contains(DestinationKinds, string(it.Target.Kind)) })
}

// Unresolved returns, in the order of the document, one warning for each reference of a policy that finds nothing in
// any of known: the top-level targetRef, those of `to`, and the backendRefs of routes. p carries the labels that it is
// stored with. A reference that cannot ever find anything is the business of Warnings, not of this function.
// Cost: O(proxies) for the top-level targetRef, that of a lookup for each other.
func Unresolved(p *Policy, known ...Known) []string { return resource.Texts(Dangling(p, known...)) }

// Dangling is Unresolved with codes and fields.
func Dangling(p *Policy, known ...Known) []resource.Warning {
	var warnings []resource.Warning
	add := func(code resource.WarningCode, at, reason, hint string) {
		warnings = append(warnings, resource.Warning{Code: code, Field: at, Text: at + ": " + reason + " now, so it has no effect" + hint})
	}
	warn := func(at, reason, hint string) { add(resource.WarnUnresolved, at, reason, hint) }
	if !slices.ContainsFunc(known, func(k Known) bool { return k.selects(p) }) {
		add(resource.WarnSelectsNoProxy, "spec.targetRef", "selects no proxy", "")
	}
	for i, it := range p.To {
		if slices.Contains(DestinationKinds, string(it.Target.Kind)) && !neverResolves(p, it.Target) {
			if reason, hint := missing(p, it.Target, 0, known); reason != "" {
				warn(fmt.Sprintf("spec.to[%d].targetRef", i), reason, hint)
			}
		}
	}
	for _, ref := range backendRefs(p.Spec) {
		byTag := ref.Kind == kindService && ref.Port == 0 // from before MeshServices: the name is a tag
		if slices.Contains(DestinationKinds, string(ref.Kind)) && !byTag {
			if reason, hint := missing(p, ref.TargetRef, ref.Port, known); reason != "" {
				warn(ref.at, reason, hint)
			}
		}
	}
	return warnings
}

// neverResolves says whether a `to` targetRef names a MeshService in a policy without a zone: Warnings says so.
func neverResolves(p *Policy, ref TargetRef) bool {
	_, _, _, legacy := legacyName(ref.Name)
	return p.Zone() == "" && ref.Kind == kindService && ref.Name != "" && (!legacy || ref.SectionName != "")
}

// selects says whether the top-level targetRef of p selects any proxy. One for the whole mesh always does.
func (k Known) selects(p *Policy) bool {
	if p.Target.Kind == kindMesh {
		return true
	}
	for px := range k.Proxies {
		if Matches(p, px, k.Around) {
			return true
		}
	}
	return false
}

// missing says why a reference to a destination finds nothing, and what may have been meant; port is that of a
// backendRef, 0: none. reason "": it finds something.
func missing(p *Policy, ref TargetRef, port uint32, known []Known) (reason, hint string) {
	var names, sections []string
	whole := ref
	whole.SectionName = ""
	for _, k := range known {
		for _, t := range k.Destinations.resolve(queryOf(p, whole)) {
			if _, ok := t.dest.section(port, ref.SectionName); ok {
				return "", ""
			}
			for _, p := range t.dest.ports {
				sections = append(sections, p.section())
			}
		}
		for _, d := range k.Destinations.all(string(ref.Kind)) {
			names = append(names, d.identity.Name)
		}
	}
	if len(sections) > 0 {
		slices.Sort(sections)
		wanted := ref.SectionName
		if port != 0 {
			wanted = fmt.Sprint(port)
		}
		sections = slices.Compact(sections)
		return fmt.Sprintf("%s has no port %s, only %s,", refNoun(p, ref), wanted, strings.Join(sections, ", ")), didYouMean(wanted, sections)
	}
	return "there is no " + refNoun(p, ref), didYouMean(ref.Name, names)
}

// refNoun says in words what a reference to a destination looks for.
func refNoun(p *Policy, ref TargetRef) string {
	if len(ref.Labels) > 0 {
		var pairs []string
		for _, k := range slices.Sorted(maps.Keys(ref.Labels)) {
			pairs = append(pairs, k+"="+ref.Labels[k])
		}
		return fmt.Sprintf("%s with %s", ref.Kind, strings.Join(pairs, ", "))
	}
	id := identityOf(p, ref)
	noun := fmt.Sprintf("%s %s", ref.Kind, id.Name)
	if id.Namespace != "" {
		noun += " in namespace " + id.Namespace
	}
	return noun + " of " + cmp.Or(id.Zone, "global")
}

func didYouMean(word string, known []string) string {
	if near := resource.Nearest(word, known); near != "" && near != word {
		return "; did you mean " + near + "?"
	}
	return ""
}

// placedRef is a backendRef and where it stands.
type placedRef struct {
	at string
	TargetRef
	Port uint32 `json:"port"`
}

// backendRefs returns every backendRef of a spec, in the order of the document.
func backendRefs(spec []byte) []placedRef {
	var doc any
	if json.Unmarshal(spec, &doc) != nil {
		return nil
	}
	var found []placedRef
	add := func(at string, v any) {
		ref := placedRef{at: at}
		if data, err := json.Marshal(v); err == nil && json.Unmarshal(data, &ref) == nil {
			found = append(found, ref)
		}
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				here := at + "." + key
				list, _ := v[key].([]any)
				switch key {
				case "backendRef":
					add(here, v[key])
				case "backendRefs":
					for i, item := range list {
						add(fmt.Sprintf("%s[%d]", here, i), item)
					}
				default:
					walk(here, v[key])
				}
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", at, i), item)
			}
		}
	}
	walk("spec", doc)
	return found
}
