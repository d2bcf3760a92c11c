package sim_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

// Every kind of expectation fails when what it expects is not so, and says what is.
func TestEveryKindOfExpectationBites(t *testing.T) {
	t.Parallel()
	const faster = "steps:\n- apply: {east/shop/kv-timeout: {to.0.default.http.requestTimeout: 2s}}\n"
	bites := map[sim.ExpectationKind]string{
		sim.ExpectRole:      "expect: [{role: {east/shop/kv-timeout: consumer}}]",
		sim.ExpectSynced:    "expect: [{synced: {policy: west/jobs/patient, to: east}}, {synced: {policy: east/shop/kv-timeout, only: global}}, {synced: {policy: west/jobs/patient, notTo: {east: zone-disabled}}}]",
		sim.ExpectEffective: "expect: [{effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 1s}}}, {effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 3s}, from: east/shop/kv-timeout}}, {effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: null}}}]",
		sim.ExpectMatches:   "expect: [{matches: {west/jobs/patient: [west/jobs/report]}}, {matches: {west/jobs/patient: []}}]",
		sim.ExpectWarnings:  "expect: [{warnings: {west/jobs/patient: [unresolved]}}]",
		sim.ExpectChanged:   faster + "  expect: [{changed: nothing}, {changed: {proxies: [\"east/**\"]}}, {changed: {proxies: [\"*/**\"], types: [MeshRetry]}}]",
		sim.ExpectStale:     faster + "  expect: [{stale: {zone: west, policy: east/shop/kv-timeout}}]",
		sim.ExpectConverged: "steps:\n- partition: west\n- apply: {east/shop/kv-timeout: {to.0.default.http.requestTimeout: 2s}}\n  expect: [{convergedWithin: 2s}]\n- heal: all",
		sim.ExpectNoGhosts:  "steps:\n- expect: [{noGhosts: east}]",
	}
	for kind, text := range bites {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			result, err := sim.Run(context.Background(), loaded(t, shop+text), sim.Options{})
			require.NoError(t, err)
			require.NotEmpty(t, result.Expectations)
			for _, o := range result.Expectations {
				assert.Equal(t, kind, o.Kind)
				assert.Equal(t, sim.Failed, o.Status, "%+v", o)
				assert.NotEmpty(t, o.Want)
				assert.NotEmpty(t, o.Got)
				assert.NotEqual(t, o.Want, o.Got)
			}
		})
	}
}
