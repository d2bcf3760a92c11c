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
	run := func(text string) *sim.Result {
		s, err := sim.Parse("a.scenario.yaml", ".", []byte(text))
		require.NoError(t, err)
		r, err := sim.Run(context.Background(), s, sim.Options{})
		require.NoError(t, err)
		return r
	}
	is := run(text)
	none, err := sim.Differences(context.Background(), is, run(text))
	require.NoError(t, err)
	assert.Empty(t, none)
	some, err := sim.Differences(context.Background(), is, run(strings.Replace(text, "9s}}]", "8s}}]", 1)))
	require.NoError(t, err)
	assert.Equal(t, []string{
		"east/shop/web MeshTimeout kri_m____default_ connectionTimeout: 9s from global/slow, and 8s from global/slow",
		"expect[0] east/shop/web -> mesh  MeshTimeout: passed: connectionTimeout = 9s, and failed: connectionTimeout = 8s from global/slow",
	}, some)
	gone, err := sim.Differences(context.Background(), is, run(strings.Replace(text, "{east: {proxies: {web: {namespace: shop}}}}", "{east: {proxies: {web: {namespace: shop}}}, west: {}}", 1)))
	require.NoError(t, err)
	require.Len(t, gone, 1)
	assert.Contains(t, gone[0], "MeshTimeout global/slow: ")
}
