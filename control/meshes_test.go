package control_test

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// recorded returns the specs of the policies that a new global control plane of Kuma 2.10.11 sent, by kind and name there.
func recorded(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("../kds/testdata/kuma-global.jsonl")
	require.NoError(t, err)
	defer f.Close()
	specs := map[string]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			Event, Type string
			Resources   []struct {
				Labels map[string]string
				Spec   json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		if m.Event != "response" || !slices.Contains([]string{"MeshTimeout", "MeshCircuitBreaker", "MeshRetry"}, m.Type) {
			continue
		}
		for _, r := range m.Resources {
			if r.Labels[resource.LabelZone] == "" { // else it is that of a zone
				specs[m.Type+" "+r.Labels[resource.LabelDisplayName]] = string(r.Spec)
			}
		}
	}
	require.NoError(t, lines.Err())
	return specs
}

func TestTheDefaultPoliciesAreThoseThatKumaWasSeenToMake(t *testing.T) {
	t.Parallel()
	ops, err := control.Config{DefaultPolicies: true}.FirstMesh()
	require.NoError(t, err)
	specs := recorded(t)
	want := []string{
		"MeshCircuitBreaker mesh-circuit-breaker-all-default", "MeshRetry mesh-retry-all-default",
		"MeshTimeout mesh-gateways-timeout-all-default", "MeshTimeout mesh-timeout-all-default",
	}
	require.Subset(t, slices.Collect(maps.Keys(specs)), want)
	assert.Equal(t, resource.Key{Kind: "Mesh", Name: "default"}, ops[0].Resource.Key)
	var got []string
	for _, op := range ops[1:] {
		r := op.Resource
		name := r.Kind + " " + r.Name
		got = append(got, name)
		assert.JSONEq(t, specs[name], string(r.Spec), name)
		assert.Equal(t, "default", r.Mesh)
		assert.Empty(t, r.Labels, "what Kuma's control planes make by themselves has none")

		// Who exports one and applies it again leaves the spec as it is.
		doc := `{"type":"` + r.Kind + `","mesh":"default","name":"` + r.Name + `","spec":` + string(r.Spec) + `}`
		docs, err := policy.Schemas().Read("", []byte(doc), resource.ReadOptions{})
		require.NoError(t, err)
		assert.Equal(t, string(docs[0].Resource.Spec), string(r.Spec), name)
	}
	assert.Equal(t, want, got)
}

func TestAMeshGetsNoPoliciesUnlessTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	ops, err := control.Config{}.FirstMesh()
	require.NoError(t, err)
	assert.Len(t, ops, 1)
}
