package resolver

import (
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestACacheKeepsWhatWasUsedLastWithinItsLimit(t *testing.T) {
	t.Parallel()
	c := cache[int, int]{most: 20}
	computed := 0
	get := func(k int) int {
		return c.get(k, func() (int, int) { computed++; return k * k, 1 })
	}
	for k := range 100 {
		require.Equal(t, k*k, get(k))
		require.Equal(t, 49, get(7), "asked for all the time")
		require.LessOrEqual(t, len(c.young)+len(c.old), c.most)
	}
	assert.Equal(t, 100, computed, "each once")
	get(0)
	assert.Equal(t, 101, computed, "forgotten")
	assert.Equal(t, 1, c.get(-1, func() (int, int) { return 1, 1000 }), "what costs more than all that is allowed")
}

func TestEqualListsAreSortedOnce(t *testing.T) {
	t.Parallel()
	m := newMemo(0)
	a, b := &policy.Policy{}, &policy.Policy{}
	times := 0
	bBeforeA := func(ps []*policy.Policy) {
		times++
		slices.SortFunc(ps, func(p, q *policy.Policy) int {
			return map[*policy.Policy]int{a: 2, b: 1}[p] - map[*policy.Policy]int{a: 2, b: 1}[q]
		})
	}
	given := []*policy.Policy{a, b}
	first, cost := m.sort(given, bBeforeA)
	assert.Equal(t, 4*policyCost, cost, "before and after")
	assert.True(t, first[0] == b && first[1] == a)
	assert.True(t, given[0] == a && given[1] == b, "as it was")
	second, cost := m.sort([]*policy.Policy{a, b}, bBeforeA)
	assert.Same(t, &first[0], &second[0])
	assert.Zero(t, cost)
	assert.Equal(t, 1, times)
	other, cost := m.sort([]*policy.Policy{b, a}, bBeforeA)
	assert.NotSame(t, &first[0], &other[0])
	assert.Equal(t, 2*policyCost, cost, "it was in order")
	none, cost := m.sort(nil, bBeforeA)
	assert.Empty(t, none)
	assert.Zero(t, cost)
}

// empty is a Source of a mesh and nothing else.
type empty struct{}

func (empty) Revision() resource.Revision { return 1 }

func (empty) Advanced(resource.Revision) <-chan struct{} { return nil }

func (empty) Since(context.Context, string, resource.Revision) ([]resource.Change, resource.Revision, error) {
	return nil, 1, nil
}

func (empty) View(_ context.Context, _ string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	return fn(1, func(yield func(resource.Resource, error) bool) {
		yield(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "default"}}, nil)
	})
}

func TestAQuestionDoesNotWaitForALaterChange(t *testing.T) {
	t.Parallel()
	r := New(Config{Source: empty{}})
	_, err := r.Rules(t.Context(), "default", "x")
	require.ErrorIs(t, err, resource.ErrNotFound)
	r.follow.Lock() // as if a change that came later was being applied
	defer r.follow.Unlock()
	_, err = r.Rules(t.Context(), "default", "x")
	require.ErrorContains(t, err, "Dataplane default/x")
}
