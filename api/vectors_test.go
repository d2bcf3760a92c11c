package api_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// vector is one document, and what becomes of it on a zone that stands alone.
type vector struct {
	Rule     string
	Doc      object
	Status   int
	Kuma     int      // Kuma's status where it is of another class; docs/divergence.md says why
	Fields   []string // of the violations, ordered
	Warnings int      // at least
}

func TestEveryRuleOfTheCatalogue(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../policy/testdata/vectors/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	p := newPlane(t, alone).local()
	good, bad := map[string]int{}, map[string]int{}
	rules := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var vectors []vector
		require.NoError(t, yaml.Unmarshal(data, &vectors), file)
		require.NotEmpty(t, vectors, file)
		for _, v := range vectors {
			require.NotEmpty(t, v.Rule)
			assert.False(t, rules[v.Rule], "twice: %s", v.Rule)
			rules[v.Rule] = true
			kind := v.Doc["type"].(string)
			d, ok := resource.LookupKind(kind)
			require.True(t, ok, kind)
			path := "/" + d.Plural + "/" + v.Doc["name"].(string)
			if d.Scope == resource.ScopeMesh {
				mesh, ok := v.Doc["mesh"].(string)
				if !ok {
					mesh = resource.DefaultMesh
				}
				path = "/meshes/" + mesh + path
			}
			a := p.call("PUT", path, v.Doc)
			if !assert.Equal(t, v.Status, a.Code, "%s: %s\n%s", file, v.Rule, a.Body) {
				continue
			}
			switch v.Status {
			case 201:
				good[kind]++
				warnings, _ := a.doc["warnings"].([]any)
				assert.GreaterOrEqual(t, len(warnings), v.Warnings, v.Rule)
			default:
				bad[kind]++
				assert.Equal(t, v.Fields, a.fields(t), "%s: %s\n%s", file, v.Rule, a.Body)
			}
			assert.Equal(t, filepath.Base(file) == "deviations.yaml", v.Kuma != 0 && v.Kuma/100 != v.Status/100, v.Rule)
		}
	}
	for kind := range policy.Schemas() {
		d, _ := resource.LookupKind(kind)
		if d.SystemManaged || d.Legacy || d.Plural == "" {
			continue
		}
		assert.NotZero(t, good[kind], "no document of kind %s is accepted", kind)
		if kind != "Zone" && kind != "GlobalSecret" { // Zone has no rules, GlobalSecret those of Secret
			assert.NotZero(t, bad[kind], "no document of kind %s is refused", kind)
		}
	}
}
