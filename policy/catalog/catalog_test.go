package catalog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
)

func lookup(t *testing.T, kind string) catalog.Kind {
	t.Helper()
	k, err := catalog.Lookup(kind)
	require.NoError(t, err)
	return k
}

func TestEveryKindWithASchemaIsDescribed(t *testing.T) {
	t.Parallel()
	schemas := policy.Schemas()
	all := catalog.All()
	require.Len(t, all, len(schemas))
	for _, k := range all {
		assert.Contains(t, schemas, k.Kind)
		assert.NotEmpty(t, k.Purpose, "%s has no doc comment on its Go type", k.Kind)
		assert.Equal(t, k.TargetRef, k.Policy != nil, k.Kind)
		if k.Legacy || k.SystemManaged {
			continue // nobody writes the fields here
		}
		var walk func(f catalog.Field, depth int)
		walk = func(f catalog.Field, depth int) {
			for _, inner := range f.Fields() {
				assert.NotEmpty(t, inner.Doc, "%s.%s has no doc comment", k.Kind, inner.Path)
				if depth < 12 {
					walk(inner, depth+1)
				}
			}
		}
		walk(k.Spec, 0)
	}
}

func TestKindsThatPeopleWriteHaveExamples(t *testing.T) {
	t.Parallel()
	for _, k := range catalog.All() {
		if k.Legacy || k.SystemManaged || k.Plural == "" {
			continue
		}
		var roles []string
		for _, e := range k.Example {
			roles = append(roles, e.Role)
		}
		assert.NotEmpty(t, roles, "%s: write policy/testdata/examples/%s.yaml or resource/testdata/examples/%s.yaml", k.Kind, k.Kind, k.Kind)
		switch {
		case k.Policy == nil:
		case k.Type.To && !k.Policy.Split:
			assert.Contains(t, roles, resource.RoleProducer, k.Kind)
			assert.Contains(t, roles, resource.RoleConsumer, k.Kind)
		default:
			assert.Contains(t, roles, resource.RoleWorkloadOwner, k.Kind)
		}
	}
}

// exampleFiles returns the files of examples of all kinds.
func exampleFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, dir := range []string{"../testdata/examples", "../../resource/testdata/examples"} {
		found, err := filepath.Glob(dir + "/*.yaml")
		require.NoError(t, err)
		require.NotEmpty(t, found, dir)
		files = append(files, found...)
	}
	return files
}

func TestEveryExampleIsValidAndWithoutWarnings(t *testing.T) {
	t.Parallel()
	for _, file := range exampleFiles(t) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		docs, err := policy.Schemas().Read(file, data, resource.ReadOptions{})
		require.NoError(t, err)
		for _, doc := range docs {
			r := doc.Resource
			assert.Equal(t, strings.TrimSuffix(filepath.Base(file), ".yaml"), r.Kind)
			d, _ := resource.LookupKind(r.Kind)
			role, _, err := policy.RoleOf(r.Kind, r.Namespace(), r.Spec)
			require.NoError(t, err)
			r.Labels = resource.ComputeLabels(r, d, resource.Plane{Zone: "east"}, role)
			if !d.Legacy { // of which there always is one
				assert.Empty(t, append(policy.Warnings(r), policy.Schemas().Warnings(r)...), "%s: %s", file, r.Key)
			}
		}
		k := lookup(t, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		assert.Len(t, k.Example, len(docs), "%s: make docs", file)
	}
}

func TestFindGoesThroughLists(t *testing.T) {
	t.Parallel()
	k := lookup(t, "MeshTimeout")
	for _, path := range []string{"spec.to[0].default.http", "spec.to[].default.http", "spec.to.default.http", "to.default.http"} {
		f, err := k.Find(path)
		require.NoError(t, err)
		assert.Equal(t, "to[].default.http", f.Path)
		assert.Equal(t, "object", f.TypeWords())
	}
	f, err := k.Find("to.default.connectionTimeout")
	require.NoError(t, err)
	assert.Equal(t, "duration", f.TypeWords())
	assert.Equal(t, "5s", f.DefaultWords())
	assert.Equal(t, "connectionTimeout limits setting up a TCP connection, TLS included. Above 0.", f.Meaning())
	f, err = lookup(t, "Dataplane").Find("networking.inbound.tags")
	require.NoError(t, err)
	assert.Equal(t, "map of text", f.TypeWords())
}

func TestAnUnknownPathNamesTheNearest(t *testing.T) {
	t.Parallel()
	_, err := catalog.Lookup("MeshTimout")
	assert.EqualError(t, err, `unknown kind "MeshTimout"; did you mean MeshTimeout?`)
	for path, want := range map[string]string{
		"spec.to.default.htp":            `MeshTimeout.spec.to[].default has no field "htp"; did you mean http?`,
		"too":                            `MeshTimeout.spec has no field "too"; did you mean to?`,
		"xyz":                            `MeshTimeout.spec has no field "xyz"; known: from, rules, targetRef, to`,
		"to.default.idleTimeout.seconds": `MeshTimeout.spec.to[].default.idleTimeout has no fields, so there is no "seconds"`,
	} {
		_, err := lookup(t, "MeshTimeout").Explain(path)
		assert.EqualError(t, err, want)
	}
}

func TestATargetRefTakesTheKindsOfItsPlace(t *testing.T) {
	t.Parallel()
	k := lookup(t, "MeshTimeout")
	kinds := func(path string) []string {
		e, err := k.Explain(path)
		require.NoError(t, err)
		return slices.Sorted(slices.Values(e.Words))
	}
	assert.Equal(t, []string{"Mesh", "MeshExternalService", "MeshMultiZoneService", "MeshService"}, kinds("to.targetRef.kind"))
	assert.Equal(t, []string{"Mesh"}, kinds("from.targetRef.kind"))
	assert.Contains(t, kinds("targetRef.kind"), "MeshHTTPRoute")

	places := k.Places()
	require.Len(t, places, 5)
	assert.Equal(t, "role system", places[0].When)
	assert.NotContains(t, places[1].Kinds, "MeshGateway", "not for the other roles")
	e, err := k.Explain("to.targetRef")
	require.NoError(t, err)
	assert.Len(t, e.Selects, 2, "those of the place alone")
	assert.Nil(t, lookup(t, "Mesh").Places())
}

func TestExplanationsAreForPeople(t *testing.T) {
	t.Parallel()
	for _, k := range catalog.All() {
		e, err := k.Explain("")
		require.NoError(t, err)
		var b strings.Builder
		require.NoError(t, e.Write(&b))
		assert.True(t, strings.HasPrefix(b.String(), "KIND     "+k.Kind+"\n"), b.String())
		for line := range strings.Lines(b.String()) {
			assert.Equal(t, strings.TrimRight(line, " \n"), strings.TrimRight(line, "\n"))
		}
	}
}

// What items of the examples set is in Settings, or below something that is.
func TestSettingsHaveWhatTheExamplesSet(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, k := range catalog.All() {
		settings := k.Settings()
		if k.Policy == nil || len(settings) == 0 {
			continue
		}
		var walk func(path string, v any)
		walk = func(path string, v any) {
			if _, ok := settings[path]; ok {
				seen++
				return
			}
			inner, ok := v.(map[string]any)
			require.True(t, ok, "%s: %s is no setting", k.Kind, path)
			for name, v := range inner {
				walk(strings.TrimPrefix(path+"."+name, "."), v)
			}
		}
		for _, e := range k.Example {
			var doc struct {
				Spec map[string]any `yaml:"spec"`
			}
			require.NoError(t, yaml.Unmarshal([]byte(e.YAML), &doc))
			for _, list := range []string{"to", "from", "rules"} {
				items, _ := doc.Spec[list].([]any)
				for _, item := range items {
					walk("", item.(map[string]any)["default"])
				}
			}
			if conf, ok := doc.Spec["default"]; ok {
				walk("", conf)
			}
		}
	}
	assert.Greater(t, seen, 50)
}

func TestCommentsNameFieldsAndTypesAsDocumentsWriteThem(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"to.default.loadBalancer.ringHash":                         "ringHash is for type RingHash.",
		"to.default.loadBalancer.maglev.hashPolicies.connection":   "connection is for types Connection and SourceIP.",
		"to.default.localityAwareness.crossZone.failoverThreshold": "failoverThreshold is when they take over.",
	} {
		f, err := lookup(t, "MeshLoadBalancingStrategy").Find(path)
		require.NoError(t, err)
		assert.Equal(t, want, f.Doc)
	}
}
