package sim_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

// twins is a federation of two meshes in which everything of one has the name of something of the other.
const twins = `
resources: [{type: Mesh, name: canary}]
zones:
  east:
    services: {kv: {namespace: shop}, kv@canary: {namespace: shop}}
    proxies: {web: {namespace: shop}, web@canary: {namespace: shop}}
  west:
    proxies: {batch: {namespace: jobs}, batch@canary: {namespace: jobs}}
policies:
  global/slow: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 9s}}]}
  global/slow@canary: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 8s}}]}
  east/shop/kv: {kind: MeshTimeout, to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]}
  east/shop/kv@canary: {kind: MeshTimeout, to: [{MeshService: {labels: {kuma.io/display-name: kv}}, default: {http: {requestTimeout: 2s}}}]}
expect:
  - role: {east/shop/kv: producer, east/shop/kv@canary: consumer}
  - synced: {policy: east/shop/kv, only: [global, west]}
  - synced: {policy: east/shop/kv@canary, only: global}
  - effective: {proxy: west/jobs/batch, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 1s}, from: east/shop/kv}
  - effective: {proxy: west/jobs/batch@canary, type: MeshTimeout, to: east/shop/kv@canary, set: {connectionTimeout: 8s, http.requestTimeout: null}}
  - effective: {proxy: west/jobs/batch@canary, type: MeshTimeout, to: mesh, set: {connectionTimeout: 8s}, from: global/slow@canary}
  - effective: {proxy: east/shop/web@canary, type: MeshTimeout, to: east/shop/kv@canary, set: {http.requestTimeout: 2s}, from: east/shop/kv@canary}
  - matches: {global/slow: ["east/**", west/jobs/batch], global/slow@canary: ["*/**@canary"], east/shop/kv@canary: ["east/shop/*@canary"]}
  - warnings: {east/shop/kv@canary: []}
steps:
  - apply: {east/shop/kv@canary: {to.0.default.http.requestTimeout: 5s}}
    expect:
      - changed: {proxies: ["east/shop/*@canary"], types: [MeshTimeout]}
      - effective: {proxy: east/shop/web, type: MeshTimeout, to: east/shop/kv, set: {http.requestTimeout: 1s}}
  - delete: global/slow
    expect:
      - changed: {proxies: ["*/**"]}
      - effective: {proxy: "*/**@canary", type: MeshTimeout, to: mesh, set: {connectionTimeout: 8s}}
`

func ran(t *testing.T, s *sim.Scenario) *sim.Result {
	t.Helper()
	result, err := sim.Run(context.Background(), s, sim.Options{})
	require.NoError(t, err)
	for _, o := range result.Expectations {
		assert.Equal(t, sim.Passed, o.Status, "%+v", o)
	}
	assert.Equal(t, sim.Passed, result.Status)
	return result
}

func TestKeysSayInWhichMeshAResourceIs(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	result := ran(t, loaded(t, twins))
	assert.Equal(t, []string{"west/jobs/batch"}, result.Proxies("west/**"))
	assert.Equal(t, []string{"west/jobs/batch@canary"}, result.Proxies("west/**@can*"))
	assert.Len(t, result.Proxies(""), 6)

	rows, err := result.Policies(ctx)
	require.NoError(t, err)
	var keys []string
	for _, row := range rows {
		keys = append(keys, row.Policy)
	}
	assert.Equal(t, []string{"global/slow", "global/slow@canary", "east/shop/kv", "east/shop/kv@canary"}, keys)
	synced, err := result.Sync("east/shop/kv@canary")
	require.NoError(t, err)
	assert.False(t, synced[2].Has)

	kri, err := result.Destination("east/shop/kv@canary:80")
	require.NoError(t, err)
	assert.Equal(t, "kri_msvc_canary_east_shop_kv_80", kri)
	answers, err := result.Effective(ctx, sim.Query{Proxy: "west/**@canary", To: "east/shop/kv@canary"})
	require.NoError(t, err)
	require.Len(t, answers, 1)
	assert.Equal(t, "west/jobs/batch@canary", answers[0].Proxy)
}

// A key without a mesh is of the mesh of the scenario; of another mesh if the scenario's has none, and only one other has.
func TestKeyWithoutAMeshIsOfTheScenarios(t *testing.T) {
	t.Parallel()
	const two = `
mesh: prod
resources: [{type: Mesh, name: a}, {type: Mesh, name: b}]
zones: {east: {proxies: {web: {namespace: shop}, api@a: {namespace: shop}, db@a: {namespace: shop}, db@b: {namespace: shop}}}}
policies:
  global/x: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
  global/x@default: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
  global/y@a: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
  global/z@a: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
  global/z@b: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 1s}}]}
`
	result := ran(t, loaded(t, two+"expect: [{role: {global/x: system, global/x@prod: system, global/y: system}}, {matches: {global/x: [\"*/**\"], global/y: [east/shop/*@a]}}]"))
	assert.Equal(t, "global/y@a", strings.TrimPrefix(result.Expectations[2].Subject, "MeshTimeout "))
	assert.Equal(t, []string{"east/shop/web"}, result.Proxies("east/**"))
	assert.Equal(t, []string{"east/shop/api@a"}, result.Proxies("east/shop/api"))
	assert.Equal(t, []string{"east/shop/db@a", "east/shop/db@b"}, result.Proxies("east/shop/db"))
	_, err := result.Sync("global/z")
	assert.ErrorContains(t, err, `"global/z" is in several meshes, write one of global/z@a, global/z@b`)
	for text, want := range map[string]string{
		"expect: [{role: {global/z: system}}]":                      `"global/z" is in several meshes, write one of global/z@a, global/z@b`,
		"expect: [{matches: {global/x: [east/shop/db]}}]":           `"east/shop/db" is in several meshes, write one of east/shop/db@a, east/shop/db@b`,
		"expect: [{role: {global/x@c: system}}]":                    `unknown policy "global/x@c", want one of global/x, global/x@default, global/y@a, global/z@a, global/z@b; did you mean global/x?`,
		"steps: [{delete: global/z}]":                               `steps[0].delete: "global/z" is in several meshes`,
		"steps: [{apply: {global/z: {to.0.default: null}}}]":        `"global/z" is in several meshes`,
		"steps: [{apply: {global/z@c: {kind: MeshRetry, to: []}}}]": `unknown mesh "c", want one of default, prod, a, b`,
	} {
		_, err := sim.Parse("x.yaml", ".", []byte(two+text))
		assert.ErrorContains(t, err, want, text)
	}
}

// What is recorded of a gateway is about each of its listeners, too, and a step that changes one listener alone changes something.
func TestListenersOfAGatewayAreRecordedAndPlanned(t *testing.T) {
	t.Parallel()
	const timeouts = `
policies:
  global/all: {kind: MeshTimeout, to: [{Mesh: , default: {idleTimeout: 1m}}]}
  global/zz-shop: {kind: MeshTimeout, MeshGateway: {name: e, tags: {at: shop}}, to: [{Mesh: , default: {idleTimeout: 1s}}]}
  global/edge: {kind: MeshTimeout, MeshGateway: e, to: [{Mesh: , default: {connectionTimeout: 3s}}]}
`
	text := strings.Replace(gatewayWith, "hostname: shop.example", "hostname: shop.example, tags: {at: shop}", 1) + timeouts
	s := loaded(t, text+`expect:
  - effective: {proxy: a/e, type: MeshTimeout, listener: 80, to: mesh, set: {idleTimeout: 1m}, from: global/all}
  - effective: {proxy: a/e, type: MeshTimeout, listener: shop.example, to: mesh, set: {idleTimeout: 1s}, from: global/zz-shop}
steps:
  - apply: {global/edge: {targetRef: {kind: MeshGateway, name: e, tags: {at: shop}}}}
    expect:
      - changed: {proxies: [a/e], types: [MeshTimeout]}
      - effective: {proxy: a/e, type: MeshTimeout, listener: 80, to: mesh, set: {connectionTimeout: null}}
`)
	ran(t, s)
	s = loaded(t, text)
	var err error
	s.Expect, err = ran(t, s).Observed(context.Background())
	require.NoError(t, err)
	expanded, err := sim.Expand(s)
	require.NoError(t, err)
	again := loaded(t, string(expanded))
	at := map[string]bool{}
	for _, x := range again.Expect {
		at[x.Listener] = true
	}
	assert.Equal(t, map[string]bool{"": true, "80": true, "shop.example:443": true}, at)
	ran(t, again)

	narrow := strings.Replace(text, "MeshGateway: e,", "MeshGateway: {name: e, tags: {at: shop}},", 1)
	plan, err := sim.Plan(context.Background(), loaded(t, text), loaded(t, narrow), sim.Options{})
	require.NoError(t, err)
	require.Len(t, plan.Changes, 1)
	assert.Equal(t, []any{"listener 80 kri_m____default_", "connectionTimeout", nil}, []any{plan.Changes[0].Place, plan.Changes[0].Path, plan.Changes[0].After})
}

func TestRecordOfTwoMeshesWithTheSameNamesIsAScenarioThatPasses(t *testing.T) {
	t.Parallel()
	s := loaded(t, twins[:strings.Index(twins, "expect:")])
	var text []byte
	require.NoError(t, sim.While(s, func(ask sim.Ask) (err error) {
		recorded, err := sim.Record(context.Background(), "now", func(ctx context.Context, path string) (int, []byte, error) {
			status, body, err := ask(ctx, path)
			assert.Contains(t, []int{http.StatusOK, http.StatusNotFound, http.StatusForbidden}, status, path)
			return status, body, err
		}, true)
		if err != nil {
			return err
		}
		text, err = sim.Expand(recorded)
		return err
	}))
	again, err := sim.Parse("recorded.scenario.yaml", ".", text)
	require.NoError(t, err, "%s", text)
	assert.True(t, slices.ContainsFunc(again.Expect, func(x sim.Expectation) bool { return x.From == "MeshTimeout east/shop/kv@canary" }), "%s", text)
	assert.Equal(t, len(s.Documents), len(again.Documents)-1, "and the Mesh default")
	ran(t, again)
}

func TestPlanNamesResourcesByTheirMesh(t *testing.T) {
	t.Parallel()
	before := twins[:strings.Index(twins, "expect:")]
	plan, err := sim.Plan(context.Background(), loaded(t, before), loaded(t, strings.Replace(before, "requestTimeout: 2s", "requestTimeout: 3s", 1)), sim.Options{})
	require.NoError(t, err)
	require.Len(t, plan.Documents, 1)
	assert.Equal(t, "MeshTimeout east/shop/kv@canary", plan.Documents[0].Document)
	require.Len(t, plan.Changes, 2)
	for _, c := range plan.Changes {
		assert.Contains(t, []string{"east/shop/kv-0@canary", "east/shop/web@canary"}, c.Proxy)
		assert.Equal(t, []string{"shop", "east/shop/kv@canary", "east/shop/kv@canary"}, []string{c.Namespace, c.BeforeFrom, c.AfterFrom})
	}
}
