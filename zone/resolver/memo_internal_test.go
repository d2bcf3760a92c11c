package resolver

import (
	"context"
	"iter"
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

func TestEqualListsAreOne(t *testing.T) {
	t.Parallel()
	m := newMemo(0)
	a, b := &policy.Policy{}, &policy.Policy{}
	first, cost := m.list([]*policy.Policy{a, b})
	assert.Equal(t, 2*policyCost, cost)
	second, cost := m.list([]*policy.Policy{a, b})
	assert.Same(t, &first[0], &second[0])
	assert.Zero(t, cost)
	other, _ := m.list([]*policy.Policy{b, a})
	assert.NotSame(t, &first[0], &other[0])
	none, cost := m.list(nil)
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
