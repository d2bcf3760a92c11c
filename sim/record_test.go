package sim_test

import (
	"context"
	"fmt"
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

// shopWithGateway has what control planes add something to: tags of a gateway, labels, the Mesh that global makes.
const shopWithGateway = `
resources:
  - {type: MeshGateway, mesh: default, name: edge, selectors: [{match: {kuma.io/service: edge}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}
zones:
  east:
    services: {kv: {namespace: shop, port: 6379}}
    proxies: {web: {namespace: shop, count: 2}}
    resources:
      - {type: Dataplane, mesh: default, name: edge-1, networking: {address: 192.0.2.1, gateway: {type: BUILTIN, tags: {kuma.io/service: edge}}}}
  west:
    proxies: {batch: {namespace: jobs}, report: {namespace: jobs}}
  north:
    without: [producer-policy-flow]
    proxies: {far: {namespace: jobs}}
policies:
  global/gateways: {kind: MeshTimeout, MeshGateway: edge, to: [{Mesh: , default: {idleTimeout: 9s}}]}
  east/shop/kv-timeout: {kind: MeshTimeout, to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]}
  west/jobs/patient:
    kind: MeshTimeout
    Dataplane: {labels: {app: batch}}
    to: [{MeshService: {labels: {k8s.kuma.io/service-name: kv}}, default: {http: {requestTimeout: 3s}}}]
`

// recorded returns the scenario of a federation that runs, written and read again.
func recorded(t *testing.T, s *sim.Scenario) *sim.Scenario {
	t.Helper()
	var text []byte
	require.NoError(t, sim.While(s, func(ask sim.Ask) error {
		now, err := sim.Record(context.Background(), "now", ask, false)
		if err == nil {
			text, err = sim.Expand(now)
		}
		return err
	}))
	return loaded(t, string(text))
}

func TestPlanOfALiveFederationComparesDocumentsAsTheyAreStored(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", "../examples/gateways.scenario.yaml", "../examples/guide.scenario.yaml"} {
		written := loaded(t, shopWithGateway)
		if file != "" {
			all, err := sim.Load(file)
			require.NoError(t, err)
			written = all[0]
		}
		live := recorded(t, written)
		for what, head := range map[string]*sim.Scenario{"recorded": recorded(t, written), "as it was written": written} {
			for _, base := range []*sim.Scenario{nil, head} {
				plan, err := sim.Plan(context.Background(), live, sim.Overlay(live, base, head), sim.Options{})
				require.NoError(t, err)
				assert.Empty(t, plan.Documents, "%s %s", file, what)
				assert.Empty(t, plan.Zones, "%s %s", file, what)
				assert.False(t, plan.Changed())
			}
		}
	}
}

func TestPlanOfALiveFederationSaysWhatOneChangedPolicyDoes(t *testing.T) {
	t.Parallel()
	live := recorded(t, loaded(t, shopWithGateway))
	head := loaded(t, strings.Replace(shopWithGateway, "requestTimeout: 1s", "requestTimeout: 2s", 1))
	plan, err := sim.Plan(context.Background(), live, sim.Overlay(live, nil, head), sim.Options{})
	require.NoError(t, err)
	require.Len(t, plan.Documents, 1)
	change := plan.Documents[0]
	assert.Equal(t, "MeshTimeout east/shop/kv-timeout", change.Document)
	assert.Equal(t, []sim.FieldDiff{{Path: "spec.to[0].default.http.requestTimeout", Before: "1s", After: "2s"}}, change.Fields)
	require.Len(t, change.Zones, 3)
	east, north, west := change.Zones[0], change.Zones[1], change.Zones[2]
	assert.Equal(t, []any{4, 0}, []any{east.Changed, east.Unchanged}, "the gateway, too")
	assert.Equal(t, []any{sim.CellNotSent, "lacks-producer-policy-flow"}, []any{north.State, string(north.Rule)})
	assert.Equal(t, []any{1, 1}, []any{west.Changed, west.Unchanged})
	assert.Equal(t, []string{"west/jobs/patient"}, west.By)
	var lines []string
	for _, c := range plan.Changes {
		lines = append(lines, fmt.Sprint(c.Proxy, " ", c.Path, " ", c.Before, " -> ", c.After))
	}
	assert.Equal(t, []string{
		"east/edge-1 http.requestTimeout 1s -> 2s", "east/edge-1 http.requestTimeout 1s -> 2s", "east/shop/kv-0 http.requestTimeout 1s -> 2s", "east/shop/web-0 http.requestTimeout 1s -> 2s",
		"east/shop/web-1 http.requestTimeout 1s -> 2s", "west/jobs/report http.requestTimeout 1s -> 2s",
	}, lines)
}
