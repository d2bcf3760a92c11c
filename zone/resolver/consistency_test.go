package resolver_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// TestEffectiveSaysWhatTheRulesSay asks a random federation for both answers about each proxy, and looks up in the rules
// what is in force in each place that the other answer has: it must be the same conf, and each field must come from an
// origin of the rule.
func TestEffectiveSaysWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	compared := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := randomStore(t)
		r := resolver.New(resolver.Config{Source: m})
		for _, dp := range m.all("Dataplane") {
			rules, err := r.Rules(t.Context(), dp.Mesh, dp.Name)
			require.NoError(t, err)
			effective, err := r.Effective(t.Context(), dp.Mesh, dp.Name, policy.Filter{})
			require.NoError(t, err)
			shown := map[string]policy.TypeRules{}
			for _, one := range rules.Rules {
				shown[one.Type] = one
			}
			named := map[string]int{} // several resources may claim one identity; a rule does not say which of them it is for
			for _, to := range effective.Destinations {
				named[to.KRI+to.Section]++
			}
			for _, to := range effective.Destinations {
				if named[to.KRI+to.Section] > 1 {
					continue
				}
				for _, kind := range []string{"MeshTimeout"} {
					rule := ruleOn(shown[kind].ToResourceRules, to)
					applied := appliedOf(to.Rules, kind)
					if _, ok := shown[kind]; !ok {
						continue // left out of the rules, as Kuma does when no inbound matches
					}
					if rule == nil {
						require.Empty(t, applied, "%s to %s", dp.Name, to.KRI)
						continue
					}
					requireSame(t, rule.Conf, origins(rule.Origin), applied, "%s to %s %s", dp.Name, to.KRI, to.Section)
					compared["to"]++
				}
			}
			for _, in := range effective.Inbounds {
				var want []policy.Applied
				for _, from := range shown["MeshTrafficPermission"].FromRules {
					if from.Inbound.Port == in.Port {
						for _, rule := range from.Rules {
							got := appliedWith(in.Rules, "MeshTrafficPermission", rule.Matchers)
							require.NotNil(t, got)
							want = append(want, *got)
							requireSame(t, []any{rule.Conf}, metaNames(rule.Origin), []policy.Applied{*got}, "%s on %d from %v", dp.Name, in.Port, rule.Matchers)
							compared["from"]++
						}
					}
				}
				require.Len(t, appliedOf(in.Rules, "MeshTrafficPermission"), len(want))
				for _, rules := range shown["MeshTimeout"].InboundRules {
					if rules.Inbound.Port == in.Port {
						rule := rules.Rules[0]
						requireSame(t, rule.Conf, origins(rule.Origin), appliedOf(in.Rules, "MeshTimeout"), "%s on %d", dp.Name, in.Port)
						compared["rules"]++
					}
				}
			}
			if rule := shown["MeshPassthrough"].ProxyRule; rule != nil {
				requireSame(t, []any{rule.Conf}, metaNames(rule.Origin), appliedOf(effective.Proxy, "MeshPassthrough"), "%s", dp.Name)
				compared["proxy"]++
			}
		}
	})
	for _, place := range []string{"to", "from", "rules", "proxy"} {
		require.Positive(t, compared[place], place)
	}
}

// randomStore returns a store with the federation and up to 25 random documents.
func randomStore(t *rapid.T) *memory {
	m := newMemory()
	m.apply(puts(documents(t, federation))...)
	for range rapid.IntRange(5, 25).Draw(t, "documents") {
		m.apply(resource.Put(documents(t, drawDocument(t))[0]))
	}
	return m
}

// all returns the resources of a kind, by name.
func (m *memory) all(kind string) []resource.Resource {
	var all []resource.Resource
	for _, key := range slices.SortedFunc(maps.Keys(m.last), resource.Key.Compare) {
		if c := m.last[key]; key.Kind == kind && !c.Deleted {
			all = append(all, c.Resource)
		}
	}
	return all
}

// ruleOn returns the rule for a destination: that of the section, or else of the resource, or else of the mesh.
func ruleOn(rules []policy.ResourceRule, to policy.EffectiveTo) *policy.ResourceRule {
	find := func(kri, section string) *policy.ResourceRule {
		for i, r := range rules {
			m := r.ResourceMeta
			id := resource.Resource{Key: resource.Key{Kind: m.Type, Mesh: m.Mesh, Name: m.Name}, Labels: m.Labels}.Identity()
			if r.ResourceSectionName == section && id.KRI(section) == kri {
				return &rules[i]
			}
		}
		return nil
	}
	if r := find(to.KRI, to.Section); r != nil {
		return r
	}
	if id, _, err := resource.ParseKRI(to.KRI); err == nil {
		if r := find(id.KRI(""), ""); r != nil {
			return r
		}
	}
	for i, r := range rules {
		if r.ResourceMeta.Type == "Mesh" {
			return &rules[i]
		}
	}
	return nil
}

func appliedOf(all []policy.Applied, kind string) (found []policy.Applied) {
	for _, a := range all {
		if a.Type == kind {
			found = append(found, a)
		}
	}
	return found
}

func appliedWith(all []policy.Applied, kind string, matchers []policy.Matcher) *policy.Applied {
	for _, a := range all {
		if a.Type == kind && slices.Equal(a.Matchers, matchers) {
			return &a
		}
	}
	return nil
}

func origins(all []policy.RuleOrigin) (names []string) {
	for _, o := range all {
		names = append(names, fmt.Sprintf("%s[%d]", nameOfMeta(o.ResourceMeta), o.RuleIndex))
	}
	return names
}

func metaNames(all []policy.Meta) (names []string) {
	for _, m := range all {
		names = append(names, nameOfMeta(m))
	}
	return names
}

func nameOfMeta(m policy.Meta) string {
	return resource.Resource{Key: resource.Key{Kind: m.Type, Mesh: m.Mesh, Name: m.Name}, Labels: m.Labels}.Identity().KRI("")
}

// requireSame requires that fields put together are the conf of a rule, and that each comes from one of its origins.
func requireSame(t *rapid.T, confs []any, origins []string, applied []policy.Applied, where string, args ...any) {
	where = fmt.Sprintf(where, args...)
	require.Len(t, confs, 1, where)
	built := map[string]any{}
	for _, a := range applied {
		for _, f := range a.Fields {
			from := []string{f.Origin.KRI, fmt.Sprintf("%s[%d]", f.Origin.KRI, f.Origin.Item)}
			require.True(t, slices.ContainsFunc(from, func(name string) bool { return slices.Contains(origins, name) }), "%s: %s is of %s, not of %v", where, f.Path, f.Origin.KRI, origins)
			if f.Value != nil {
				put(built, strings.Split(f.Path, "."), f.Value)
			}
		}
	}
	want, err := json.Marshal(confs[0])
	require.NoError(t, err)
	got, err := json.Marshal(built)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), where)
}

// put sets a value at a path of objects; name[2] is the next element of an array.
func put(in map[string]any, path []string, value any) {
	if len(path) > 1 {
		inner, ok := in[path[0]].(map[string]any)
		if !ok {
			inner = map[string]any{}
			in[path[0]] = inner
		}
		put(inner, path[1:], value)
		return
	}
	if name, _, ok := strings.Cut(path[0], "["); ok {
		list, _ := in[name].([]any)
		in[name] = append(list, value)
		return
	}
	in[path[0]] = value
}
