package sim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/planes"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	scenarios, err := sim.Load("../examples")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(scenarios), 8)
	for _, s := range scenarios {
		if strings.Contains(s.File, "failing") {
			continue
		}
		t.Run(s.File, func(t *testing.T) {
			t.Parallel()
			result, err := sim.Run(context.Background(), s, sim.Options{})
			require.NoError(t, err)
			assert.Empty(t, result.Problem)
			for _, o := range result.Expectations {
				assert.Equal(t, sim.Passed, o.Status, "%+v", o)
			}
			for _, i := range result.Invariants {
				assert.Equal(t, sim.Passed, i.Status, "%+v", i)
			}
			assert.Equal(t, sim.Passed, result.Status)
			rows, err := result.Policies(context.Background())
			require.NoError(t, err)
			assert.Len(t, rows, result.Counts.Policies)
		})
	}
}

func loaded(t *testing.T, text string) *sim.Scenario {
	t.Helper()
	s, err := sim.Parse("test.scenario.yaml", ".", []byte(text))
	require.NoError(t, err)
	return s
}

const shop = `
zones:
  east:
    services: {kv: {namespace: shop, port: 6379, count: 2}}
    proxies: {web: {namespace: shop, count: 2}}
  west:
    proxies: {batch: {namespace: jobs}, report: {namespace: jobs}}
policies:
  east/shop/kv-timeout:
    kind: MeshTimeout
    to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]
  west/jobs/patient:
    kind: MeshTimeout
    Dataplane: {labels: {app: batch}}
    to: [{MeshService: {labels: {k8s.kuma.io/service-name: kv}}, default: {http: {requestTimeout: 3s}}}]
`

func TestPlanSaysWhatChangesAndWhatIsMasked(t *testing.T) {
	t.Parallel()
	plan, err := sim.Plan(context.Background(), loaded(t, shop), loaded(t, strings.Replace(shop, "requestTimeout: 1s", "requestTimeout: 2s", 1)), sim.Options{})
	require.NoError(t, err)
	require.Len(t, plan.Documents, 1)
	change := plan.Documents[0]
	assert.Equal(t, "MeshTimeout east/shop/kv-timeout", change.Document)
	assert.Equal(t, sim.Updated, change.Action)
	assert.Equal(t, "producer", change.Role)
	assert.Equal(t, []sim.FieldDiff{{Path: "spec.to[0].default.http.requestTimeout", Before: "1s", After: "2s"}}, change.Fields)
	require.Len(t, change.Zones, 2)
	east, west := change.Zones[0], change.Zones[1]
	assert.Equal(t, []any{4, 0, map[string]int{"shop": 4}}, []any{east.Changed, east.Unchanged, east.Namespaces})
	assert.Equal(t, []any{1, 1, []string{"west/jobs/patient"}}, []any{west.Changed, west.Unchanged, west.By})
	var proxies []string
	for _, c := range plan.Changes {
		assert.Equal(t, []any{"1s", "2s", "http.requestTimeout"}, []any{c.Before, c.After, c.Path})
		proxies = append(proxies, c.Proxy)
	}
	assert.Equal(t, []string{"east/shop/kv-0", "east/shop/kv-1", "east/shop/web-0", "east/shop/web-1", "west/jobs/report"}, proxies)
}

func TestPlanOfTheSameIsNothing(t *testing.T) {
	t.Parallel()
	plan, err := sim.Plan(context.Background(), loaded(t, shop), loaded(t, shop), sim.Options{})
	require.NoError(t, err)
	assert.Empty(t, plan.Documents)
	assert.False(t, plan.Changed())
}

func TestPlanOfAddedAndRemovedPoliciesAndZones(t *testing.T) {
	t.Parallel()
	base, head := loaded(t, shop), loaded(t, shop)
	without := slices.DeleteFunc(slices.Clone(head.Documents), func(d sim.Document) bool { return d.Key() == "west/jobs/patient" })
	head.Documents = without
	there, err := sim.Plan(context.Background(), base, head, sim.Options{})
	require.NoError(t, err)
	back, err := sim.Plan(context.Background(), head, base, sim.Options{})
	require.NoError(t, err)
	require.Len(t, there.Changes, 1)
	require.Len(t, back.Changes, 1)
	assert.Equal(t, []any{"3s", "1s", "west/jobs/patient", "east/shop/kv-timeout"},
		[]any{there.Changes[0].Before, there.Changes[0].After, there.Changes[0].BeforeFrom, there.Changes[0].AfterFrom})
	assert.Equal(t, []any{"1s", "3s"}, []any{back.Changes[0].Before, back.Changes[0].After})

	head = loaded(t, shop)
	head.Zones[1].Without = []string{"producer-policy-flow"}
	skew, err := sim.Plan(context.Background(), base, head, sim.Options{})
	require.NoError(t, err)
	assert.Equal(t, []sim.ZoneChange{{Zone: "west", Action: sim.Updated}}, skew.Zones)
	require.Len(t, skew.Changes, 1)
	assert.Equal(t, []any{"west/jobs/report", "1s", nil}, []any{skew.Changes[0].Proxy, skew.Changes[0].Before, skew.Changes[0].After})
}

func TestAPortThatNobodyNamesHasWhatItsServiceHas(t *testing.T) {
	t.Parallel()
	named := strings.Replace(shop, "to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}]",
		"to: [{MeshService: kv, default: {http: {requestTimeout: 1s}}}, {MeshService: {name: kv, sectionName: \"6379\"}, default: {http: {requestTimeout: 5s}}}]", 1)
	plan, err := sim.Plan(context.Background(), loaded(t, named), loaded(t, shop), sim.Options{})
	require.NoError(t, err)
	require.NotEmpty(t, plan.Changes)
	for _, c := range plan.Changes {
		assert.Equal(t, []any{"5s", "1s", "east/shop/kv-timeout"}, []any{c.Before, c.After, c.AfterFrom}, "%s %s", c.Proxy, c.Place)
		assert.True(t, strings.HasSuffix(c.Place, "_kv_6379"), c.Place)
	}
}

func TestExpandedScenarioIsTheSame(t *testing.T) {
	t.Parallel()
	s := loaded(t, shop+"expect: [{role: {east/shop/kv-timeout: producer}}]")
	text, err := sim.Expand(s)
	require.NoError(t, err)
	again, err := sim.Parse("expanded.scenario.yaml", ".", text)
	require.NoError(t, err, "%s", text)
	plan, err := sim.Plan(context.Background(), s, again, sim.Options{})
	require.NoError(t, err)
	assert.Empty(t, plan.Documents, "%s", text)
	assert.Len(t, again.Expect, 1)
}

func TestWhatIsObservedHoldsAgain(t *testing.T) {
	t.Parallel()
	s := loaded(t, shop)
	result, err := sim.Run(context.Background(), s, sim.Options{})
	require.NoError(t, err)
	s.Expect, err = result.Observed(context.Background())
	require.NoError(t, err)
	text, err := sim.Expand(s)
	require.NoError(t, err)
	again, err := sim.Parse("expanded.scenario.yaml", ".", text)
	require.NoError(t, err, "%s", text)
	assert.Greater(t, len(again.Expect), 5)
	result, err = sim.Run(context.Background(), again, sim.Options{})
	require.NoError(t, err)
	for _, o := range result.Expectations {
		assert.Equal(t, sim.Passed, o.Status, "%+v\n%s", o, text)
	}
}

// Every step that fuzzing plays can be pasted into a scenario file.
func TestFuzzedStepsAreStepsOfAFile(t *testing.T) {
	t.Parallel()
	s := loaded(t, shop)
	seen := map[sim.ActionKind]bool{}
	for seed := range uint64(20) {
		schedule := sim.Schedule(s, seed, 30)
		text := shop + "steps:\n"
		for _, step := range schedule {
			text += "  - " + step.String() + "\n"
		}
		read := loaded(t, text).Steps
		require.Len(t, read, len(schedule))
		for i, step := range schedule {
			seen[step.Action.Kind] = true
			require.Equal(t, step.String(), read[i].String())
			got := read[i].Action
			for n := range got.New {
				got.New[n].At = sim.Position{}
			}
			require.EqualValues(t, fmt.Sprint(step.At, step.Action), fmt.Sprint(read[i].At, got), step.String())
		}
	}
	for _, kind := range []sim.ActionKind{
		sim.ActionApply, sim.ActionDelete, sim.ActionPartition, sim.ActionStall, sim.ActionCutAfter, sim.ActionHeal, sim.ActionCrash,
		sim.ActionRestart, sim.ActionSkew,
	} {
		assert.True(t, seen[kind], kind)
	}
}

func TestFuzzHoldsOnASoundProtocol(t *testing.T) {
	t.Parallel()
	result, err := sim.Fuzz(context.Background(), loaded(t, shop), sim.FuzzOptions{First: 1, Seeds: 3})
	require.NoError(t, err)
	assert.Equal(t, 3, result.Seeds)
	assert.Nil(t, result.Failure, "%+v", result.Failure)
}

// A zone of an older build gets what it can take, under the names that it knows, also one that is upgraded, or goes back.
func TestAFederationConvergesWithZonesThatLackAFeature(t *testing.T) {
	t.Parallel()
	for _, feature := range planes.Features() {
		lacks := "{without: [" + feature + "]}"
		for name, text := range map[string]string{
			"from the start": strings.Replace(shop, "  west:\n", "  west:\n    without: ["+feature+"]\n", 1),
			"later":          shop + "steps: [{skew: {west: " + lacks + "}}, {at: 10m}, {skew: {west: {}}}, {at: 20m, skew: {west: " + lacks + "}}]\n",
		} {
			s := loaded(t, strings.Replace(text, "policies:\n", "policies:\n  global/all: {kind: MeshTimeout, to: [{Mesh: , default: {connectionTimeout: 9s}}]}\n", 1))
			result, err := sim.Run(context.Background(), s, sim.Options{})
			require.NoError(t, err)
			assert.Empty(t, result.Problem, "%s %s", feature, name)
			for _, i := range result.Invariants {
				assert.Empty(t, i.Reasons, "%s %s", feature, name)
			}
			assert.Len(t, result.Invariants, len(planes.Invariants()))
		}
	}
}
