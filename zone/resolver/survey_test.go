package resolver_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func TestSurveySaysOfAllPoliciesWhatEffectSaysOfEach(t *testing.T) {
	t.Parallel()
	m := guide(t)
	m.apply(resource.Put(documents(t, "{type: MeshTimeout, name: nowhere, mesh: default, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: nobody}}, to: [{targetRef: {kind: MeshService, labels: {app: nothing}}, default: {idleTimeout: 1s}}]}}")[0]))
	r := resolver.New(resolver.Config{Source: m})
	survey, err := r.Survey(t.Context(), "default")
	require.NoError(t, err)

	got, want := map[string]bool{}, map[string]bool{}
	asked := map[resource.Key]bool{}
	for _, g := range survey.Groups {
		assert.NotEmpty(t, g.Proxies)
		for _, fields := range g.Places {
			for _, f := range fields {
				got[fmt.Sprintf("%s %s[%d] %s wins", f.Origin.KRI, f.Origin.List, f.Origin.Item, f.Path)] = true
				for _, l := range f.Losers {
					got[fmt.Sprintf("%s %s[%d] %s is masked by %s of %s", l.Origin.KRI, l.Origin.List, l.Origin.Item, f.Path, l.By, f.Origin.KRI)] = true
				}
			}
		}
		for _, p := range g.Policies {
			if asked[p.Key] {
				continue
			}
			asked[p.Key] = true
			effect, err := r.Effect(t.Context(), p.Kind, p.Mesh, p.Name, policy.Everything)
			require.NoError(t, err)
			assert.ElementsMatch(t, effect.Unresolved, survey.Unresolved[p.Key])
			for _, e := range effect.Effects {
				for _, place := range e.Places {
					for _, w := range place.Wins {
						want[fmt.Sprintf("%s %s[%d] %s wins", effect.Policy.KRI, place.List, w.Item, w.Path)] = true
					}
					for _, k := range place.Masked {
						want[fmt.Sprintf("%s %s[%d] %s is masked by %s of %s", effect.Policy.KRI, place.List, k.Item, k.Path, k.By, k.Winner.KRI)] = true
					}
				}
			}
		}
	}
	require.Greater(t, len(asked), 2)
	assert.Equal(t, want, got)
	assert.Len(t, survey.Unresolved[resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "nowhere"}], 2)

	_, err = r.Survey(t.Context(), "nope")
	require.ErrorIs(t, err, resource.ErrNotFound)
}
