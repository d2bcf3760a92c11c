package sim_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

func TestDifferencesAreInWhatIsExpectedInForceAndSent(t *testing.T) {
	t.Parallel()
	const text = `
zones: {east: {proxies: {web: {namespace: shop}}}}
policies:
  global/slow: {kind: MeshTimeout, to: [{Mesh: {}, default: {connectionTimeout: 9s}}]}
expect:
  - effective: {proxy: east/shop/web, type: MeshTimeout, to: mesh, set: {connectionTimeout: 9s}}
`
	run := func(text string) sim.Answers {
		s, err := sim.Parse("a.scenario.yaml", ".", []byte(text))
		require.NoError(t, err)
		r, err := sim.Run(context.Background(), s, sim.Options{})
		require.NoError(t, err)
		answers, err := r.Answers(context.Background())
		require.NoError(t, err)
		return answers
	}
	is := run(text)
	assert.Empty(t, is.Differences(run(text)))
	some := is.Differences(run(strings.Replace(text, "9s}}]", "8s}}]", 1)))
	assert.Equal(t, []string{
		"east/shop/web MeshTimeout kri_m____default_ connectionTimeout: 9s from global/slow, and 8s from global/slow",
	}, some)
	more := is.Differences(run(strings.Replace(text, "{east: {proxies: {web: {namespace: shop}}}}", "{east: {proxies: {web: {namespace: shop}}}, west: {}}", 1)))
	require.Len(t, more, 2)
	assert.Contains(t, more[1], "MeshTimeout global/slow on west: none, and ")
	assert.Contains(t, more[0], "MeshTimeout global/slow: ")
}
