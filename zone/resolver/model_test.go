package resolver_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// TestRulesForResourcesAreThoseFoldedByHand computes the outbound rules for real resources a second time, from the
// documents, sentence by sentence and without any index, and compares.
func TestRulesForResourcesAreThoseFoldedByHand(t *testing.T) {
	t.Parallel()
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		m := randomStore(t)
		r := resolver.New(resolver.Config{Source: m})
		var services []resource.Resource
		identities := map[resource.Identity]bool{}
		for _, kind := range policy.DestinationKinds {
			for _, s := range m.all(kind) {
				services = append(services, s)
				identities[s.Identity()] = true
			}
		}
		if len(identities) < len(services) {
			return // two resources that no zone could hold
		}
		for _, dp := range m.all("Dataplane") {
			rules, err := r.Rules(t.Context(), dp.Mesh, dp.Name)
			require.NoError(t, err)
			i := slices.IndexFunc(rules.Rules, func(r policy.TypeRules) bool { return r.Type == "MeshTimeout" })
			if i < 0 {
				continue
			}
			inForce, err := r.Policies(t.Context(), dp.Mesh, dp.Name)
			require.NoError(t, err)
			var matched []resource.Resource
			for _, p := range inForce.Policies {
				for _, one := range m.all("MeshTimeout") {
					if p.Type == "MeshTimeout" && one.Identity().KRI("") == p.KRI && selectedAs(p, one) {
						matched = append(matched, one)
					}
				}
			}
			if slices.ContainsFunc(matched, func(p resource.Resource) bool {
				return slices.IndexFunc(matched, func(q resource.Resource) bool { return q.Identity() == p.Identity() && q.Name != p.Name }) >= 0
			}) {
				continue // the answer cannot tell two policies of one identity apart
			}
			got := map[string]string{}
			for _, rule := range rules.Rules[i].ToResourceRules {
				conf, err := json.Marshal(rule.Conf[0])
				require.NoError(t, err)
				origin := make([]string, len(rule.Origin))
				for i, o := range rule.Origin {
					origin[i] = fmt.Sprintf("%s#%d", o.ResourceMeta.Name, o.RuleIndex)
				}
				got[rule.ResourceMeta.Type+" "+rule.ResourceMeta.Name+" "+rule.ResourceSectionName] = fmt.Sprintf("%s <- %s", conf, strings.Join(origin, " < "))
			}
			require.Equal(t, byHand(t, matched, services), got, "%s", dp.Name)
			compared++
		}
	})
	require.Greater(t, compared, 100)
}

// selectedAs says whether an answer about a policy in force is about this resource.
func selectedAs(p policy.PolicyInForce, r resource.Resource) bool {
	return p.Role == r.Role() && r.Labels[resource.LabelEffect] != "shadow"
}

// handItem is one `to` item and its policy.
type handItem struct {
	resource.Resource
	top, to policy.TargetRef
	index   int
	conf    json.RawMessage
}

type handPort struct {
	Name string
	Port int
}

var (
	handKinds = []policy.RefKind{"", "Mesh", "Dataplane", "MeshSubset", "MeshGateway", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshServiceSubset", "MeshHTTPRoute"}
	handRoles = map[string]int{"system": 1, "producer": 2, "consumer": 3, "workload-owner": 4}
	handFrom  = map[string]int{"global": 1, "": 2, "zone": 3}
)

// compare orders two items, the weaker first.
func (a handItem) compare(b handItem) int {
	given := func(s string) int { return min(len(s), 1) }
	if c := cmp.Compare(slices.Index(handKinds, a.top.Kind), slices.Index(handKinds, b.top.Kind)); c != 0 {
		return c
	}
	if a.top.Kind == "Dataplane" {
		switch {
		case a.top.Name != "" && b.top.Labels != nil:
			return 1
		case a.top.Labels != nil && b.top.Name != "":
			return -1
		}
		if c := cmp.Compare(given(a.top.SectionName), given(b.top.SectionName)); c != 0 {
			return c
		}
	}
	section := 0
	if a.to.Kind == "MeshService" && b.to.Kind == "MeshService" {
		section = cmp.Compare(given(a.to.SectionName), given(b.to.SectionName))
	}
	return cmp.Or(
		cmp.Compare(handFrom[a.Origin()], handFrom[b.Origin()]),
		cmp.Compare(handRoles[a.Role()], handRoles[b.Role()]),
		cmp.Compare(slices.Index(handKinds, a.to.Kind), slices.Index(handKinds, b.to.Kind)),
		section,
		cmp.Compare(b.Display(), a.Display()),
	)
}

// resolves returns the section of a service that the item is about, ok is false if it is about none.
func (a handItem) resolves(s resource.Resource) (section string, ok bool) {
	ref, port := a.to, 0
	labels := ref.Labels
	if parts := strings.Split(ref.Name, "_"); ref.Kind == "MeshService" && ref.SectionName == "" && (len(parts) == 3 || len(parts) == 4) {
		labels = map[string]string{"k8s.kuma.io/namespace": parts[1], "kuma.io/display-name": parts[0]}
		if len(parts) == 4 {
			port, _ = strconv.Atoi(parts[3])
		}
	}
	switch {
	case string(ref.Kind) != s.Kind:
		return "", false
	case len(labels) > 0:
		for k, v := range labels {
			if got, ok := s.Labels[k]; !ok || got != v {
				return "", false
			}
		}
	case ref.Name != s.Display(), a.Zone() != s.Zone(), cmp.Or(ref.Namespace, a.Namespace()) != s.Namespace():
		return "", false
	}
	if s.Kind == "MeshExternalService" || port == 0 && ref.SectionName == "" {
		return "", true
	}
	var spec struct{ Ports []handPort }
	if json.Unmarshal(s.Spec, &spec) != nil {
		return "", false
	}
	for _, p := range spec.Ports {
		text := strconv.Itoa(p.Port)
		if port != 0 && p.Port == port || port == 0 && (p.Name == ref.SectionName || p.Name == "" && text == ref.SectionName) {
			return cmp.Or(p.Name, text), true
		}
	}
	return "", false
}

// byHand returns a text for each rule, by kind, name and section of what it is for.
func byHand(t *rapid.T, policies, services []resource.Resource) map[string]string {
	var all []handItem
	for _, p := range policies {
		var doc struct {
			TargetRef *policy.TargetRef
			To        []struct {
				TargetRef policy.TargetRef
				Default   json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal(p.Spec, &doc))
		top := policy.TargetRef{Kind: "Mesh"}
		if doc.TargetRef != nil {
			top = *doc.TargetRef
		}
		if top.Kind == "MeshHTTPRoute" {
			continue
		}
		for i, to := range doc.To {
			all = append(all, handItem{p, top, to.TargetRef, i, to.Default})
		}
	}
	slices.SortStableFunc(all, handItem.compare)
	rules := map[string]string{}
	fold := func(of string, applies func(handItem) bool) {
		conf, origin := []byte("{}"), []string{}
		for _, it := range all {
			if applies(it) {
				var err error
				conf, err = jsonpatch.MergePatch(conf, it.conf)
				require.NoError(t, err)
				origin = append(origin, fmt.Sprintf("%s#%d", it.Name, it.index))
			}
		}
		var sorted any
		require.NoError(t, json.Unmarshal(conf, &sorted))
		conf, err := json.Marshal(sorted)
		require.NoError(t, err)
		rules[of] = fmt.Sprintf("%s <- %s", conf, strings.Join(origin, " < "))
	}
	mesh := func(it handItem) bool { return it.to.Kind == "Mesh" }
	if slices.ContainsFunc(all, mesh) {
		fold("Mesh default ", mesh)
	}
	for _, s := range services {
		for _, it := range all {
			section, ok := it.resolves(s)
			if !ok {
				continue
			}
			fold(s.Kind+" "+s.Name+" "+section, func(it handItem) bool {
				other, ok := it.resolves(s)
				return mesh(it) || ok && (other == section || other == "")
			})
		}
	}
	return rules
}
