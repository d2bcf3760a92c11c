package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func TestSurveySaysOfAllPoliciesWhatEffectSaysOfEach(t *testing.T) {
	t.Parallel()
	m := guide(t)
	m.apply(resource.Put(documents(t, "{type: MeshTimeout, name: nowhere, mesh: default, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: nobody}}, to: [{targetRef: {kind: MeshService, labels: {app: nothing}}, default: {idleTimeout: 1s}}]}}")[0]))
	r := resolver.New(resolver.Config{Source: m})
	got, want := surveyAndEffects(t, r, m)
	require.Greater(t, len(want), 2)
	assert.Equal(t, want, got)

	survey, err := r.Survey(t.Context(), "default")
	require.NoError(t, err)
	assert.Len(t, survey.Unresolved[resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "nowhere"}], 2)
	_, err = r.Survey(t.Context(), "nope")
	require.ErrorIs(t, err, resource.ErrNotFound)
}

// TestSurveySaysWhatEffectSaysOfRandomFederations is the same for what nobody has thought of.
func TestSurveySaysWhatEffectSaysOfRandomFederations(t *testing.T) {
	t.Parallel()
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		m.apply(puts(documents(t, federation))...)
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			m.apply(drawChange(t, m))
		}
		r := resolver.New(resolver.Config{Source: m})
		if _, err := r.Survey(context.Background(), "default"); err != nil {
			return // the Mesh was deleted
		}
		if twoOfOneIdentity(m) {
			return // neither answer tells them apart
		}
		got, want := surveyAndEffects(t, r, m)
		require.Equal(t, want, got)
		compared++
	})
	require.Greater(t, compared, 20)
}

// twoOfOneIdentity says whether the store has two policies of one identity, which no zone could hold.
func twoOfOneIdentity(m *memory) bool {
	seen := map[resource.Identity]bool{}
	for key, c := range m.last {
		if _, isPolicy := policy.LookupType(key.Kind); isPolicy && !c.Deleted {
			if seen[c.Resource.Identity()] {
				return true
			}
			seen[c.Resource.Identity()] = true
		}
	}
	return false
}

// surveyAndEffects returns what a survey says, and what Effect says of each policy that is in force: who wins and who is
// masked, on which proxies, and which references find nothing. Both are said to everybody, once.
func surveyAndEffects(t require.TestingT, r *resolver.Resolver, m *memory) (got, want map[string]bool) {
	ctx := context.Background()
	survey, err := r.Survey(ctx, "default")
	require.NoError(t, err)
	got, want = map[string]bool{}, map[string]bool{}
	for _, place := range survey.Places {
		require.NotEmpty(t, place.Groups)
		for _, g := range place.Groups {
			require.NotEmpty(t, g.Proxies)
			for _, px := range g.Proxies {
				for _, f := range place.Fields {
					got[fmt.Sprintf("%s: %s %s[%d] %s wins", px.Identity().KRI(""), f.Origin.KRI, f.Origin.List, f.Origin.Item, f.Path)] = true
					for _, l := range f.Losers {
						path := strings.TrimSuffix(f.Path+"."+l.Path, ".")
						got[fmt.Sprintf("%s: %s %s[%d] %s is masked by %s of %s", px.Identity().KRI(""), l.Origin.KRI, l.Origin.List, l.Origin.Item, path, l.By, f.Origin.KRI)] = true
					}
				}
			}
		}
	}
	for key, warnings := range survey.Unresolved {
		got[fmt.Sprintf("%s: %v", key, warnings)] = true
	}
	for key, c := range m.last {
		if _, isPolicy := policy.LookupType(key.Kind); !isPolicy || c.Deleted {
			continue
		}
		effect, err := r.Effect(ctx, key.Kind, key.Mesh, key.Name, policy.Everything)
		if errors.Is(err, resource.ErrNotFound) {
			continue // it does not parse
		}
		require.NoError(t, err)
		if len(effect.Unresolved) > 0 {
			want[fmt.Sprintf("%s: %v", key, effect.Unresolved)] = true
		}
		if c.Resource.Labels["kuma.io/effect"] == "shadow" {
			continue
		}
		for _, e := range effect.Effects {
			for _, place := range e.Places {
				for _, px := range e.Dataplanes {
					for _, w := range place.Wins {
						want[fmt.Sprintf("%s: %s %s[%d] %s wins", px.KRI, effect.Policy.KRI, place.List, w.Item, w.Path)] = true
					}
					for _, k := range place.Masked {
						want[fmt.Sprintf("%s: %s %s[%d] %s is masked by %s of %s", px.KRI, effect.Policy.KRI, place.List, k.Item, k.Path, k.By, k.Winner.KRI)] = true
					}
				}
			}
		}
	}
	return got, want
}
