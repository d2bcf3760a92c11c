package sim_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

func TestOverlayIsTheChangeAndNothingElse(t *testing.T) {
	t.Parallel()
	parse := func(text string) *sim.Scenario {
		s, err := sim.Parse("a.scenario.yaml", ".", []byte(text))
		require.NoError(t, err)
		return s
	}
	const policy = "{kind: MeshTimeout, to: [{Mesh: {}, default: {connectionTimeout: 9s}}]}"
	live := parse(`
zones: {east: {proxies: {web: {namespace: shop}}}}
policies: {global/kept: ` + policy + `, global/changed: ` + policy + `, global/dropped: ` + policy + `}
`)
	base := parse(`
policies: {global/changed: ` + policy + `, global/dropped: ` + policy + `, global/never-there: ` + policy + `}
`)
	head := parse(`
zones: {north: {}}
policies: {global/changed: ` + strings.Replace(policy, "9s", "8s", 1) + `, global/added: ` + policy + `}
`)
	keys := func(s *sim.Scenario) []string {
		var all []string
		for _, d := range s.Documents {
			all = append(all, d.Key())
		}
		return all
	}
	with := sim.Overlay(live, base, head)
	assert.Equal(t, []string{"east/shop/web", "global/kept", "global/changed", "global/added"}, keys(with))
	assert.Contains(t, string(with.Documents[2].Resource.Spec), "8s")
	assert.Len(t, with.Zones, 2)
	assert.Equal(t, []string{"east/shop/web", "global/kept", "global/changed", "global/dropped", "global/added"}, keys(sim.Overlay(live, nil, head)))
	assert.Len(t, live.Documents, 4, "the arguments stay as they are")
}

func TestRecordNeedsGlobal(t *testing.T) {
	t.Parallel()
	_, err := sim.Record(context.Background(), "x", func(context.Context, string) (int, []byte, error) {
		return http.StatusOK, []byte(`{"mode": "zone", "zone": "east"}`), nil
	}, true)
	assert.ErrorContains(t, err, "the control plane of a zone")
}
