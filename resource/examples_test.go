package resource_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protowire"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// example returns the example of a kind, which sets every field that the kind has.
func example(t testing.TB, kind string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "examples", kind+".yaml"))
	require.NoError(t, err)
	return data
}

func TestTheExampleOfEveryKindSurvivesEveryForm(t *testing.T) {
	t.Parallel()
	schemas := resource.BaseSchemas()
	files, err := filepath.Glob("testdata/examples/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, len(schemas), "one example for each kind")
	for kind := range schemas {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			readBack := func(doc []byte, o resource.ReadOptions) resource.Resource {
				docs, err := schemas.Read(kind+".yaml", doc, o)
				require.NoError(t, err)
				require.Len(t, docs, 1)
				return docs[0].Resource
			}
			r := readBack(example(t, kind), resource.ReadOptions{})
			require.Equal(t, kind, r.Kind)
			require.NoError(t, schemas.Validate(r))
			for _, write := range []func(resource.Resource) ([]byte, error){resource.ToJSON, resource.ToKubernetes} {
				doc, err := write(r)
				require.NoError(t, err)
				assert.Equal(t, r, readBack(doc, resource.ReadOptions{}), "%s", doc)
				asYAML, err := resource.ToYAML(doc)
				require.NoError(t, err)
				assert.Equal(t, r, readBack(asYAML, resource.ReadOptions{}), "%s", asYAML)
			}
			stored, err := resource.ToJSON(r)
			require.NoError(t, err)
			assert.Equal(t, r, readBack(stored, resource.ReadOptions{AsStored: true}), "%s", stored)
		})
	}
}

func TestTheExampleOfEveryKindSetsEveryField(t *testing.T) {
	t.Parallel()
	instead := []string{ // of what the example has
		"Dataplane_Networking.Gateway", "ExternalExtension.Config", "ExternalExtension.Type", "GeneratorSelector.MeshExternalService",
		"GeneratorSelector.MeshMultiZoneService", "MeshExternalService.Extension", "MeshGateway_Listener.CrossMesh",
		"Dataplane_Networking_Gateway.Tags", "Dataplane_Networking_Gateway.Type", "MeshGatewayRoute_TcpRoute.Rules",
		"MeshGatewayRoute_TcpRoute_Rule.Backends", "TrafficRoute_LoadBalancer_LeastRequest.ChoiceCount",
	}
	schemas := resource.BaseSchemas()
	for kind := range schemas {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var doc map[string]any
			require.NoError(t, yaml.Unmarshal(example(t, kind), &doc))
			root, ok := schemas.Fields(kind)
			require.True(t, ok)
			values := []any{doc}
			if d, _ := resource.LookupKind(kind); d.Message == "" {
				values = []any{doc["spec"]}
			}
			set := map[string]bool{} // by field of the Go type
			var walk func(info resource.FieldInfo, values []any)
			walk = func(info resource.FieldInfo, values []any) {
				for _, f := range info.Fields() {
					var inner []any
					for _, v := range values {
						if m, _ := v.(map[string]any); m[f.Name] != nil {
							inner = append(inner, m[f.Name])
						}
					}
					if name := f.Declared.Type + "." + f.Declared.Field; f.OneOf == "" && !slices.Contains(instead, name) {
						set[name] = set[name] || len(inner) > 0
					}
					walk(f, inner)
				}
				if elem, ok := info.Elem(); ok {
					var inner []any
					for _, v := range values {
						switch v := v.(type) {
						case []any:
							inner = append(inner, v...)
						case map[string]any:
							inner = slices.AppendSeq(inner, maps.Values(v))
						}
					}
					walk(elem, inner)
				}
			}
			walk(root, values)
			require.NotEmpty(t, set)
			for name, ok := range set {
				assert.True(t, ok, name)
			}
		})
	}
}

func TestFieldsOfANewerVersionStayInTheSpec(t *testing.T) {
	t.Parallel()
	r := read(t, "type: Zone\nname: x\nenabled: false", resource.ReadOptions{})
	r.Spec = protowire.AppendTag(r.Spec, 999, protowire.BytesType)
	r.Spec = protowire.AppendString(r.Spec, "newer")
	spec := slices.Clone(r.Spec)
	require.NoError(t, testSchemas().Validate(r))
	doc, err := resource.ToJSON(r)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type": "Zone", "name": "x", "enabled": false}`, string(doc), "a document cannot show them")
	assert.Equal(t, spec, r.Spec)
	zone, err := resource.Spec[*systemv1.Zone](r)
	require.NoError(t, err)
	assert.NotEmpty(t, zone.ProtoReflect().GetUnknown())
	assert.False(t, r.SameContent(read(t, string(doc), resource.ReadOptions{})), "whoever writes the document over it loses them")

	svc := read(t, "type: MeshService\nname: x\nspec: {}\nstatus: {newer: [1, {a: null}]}", resource.ReadOptions{})
	assert.Equal(t, `{"newer":[1,{"a":null}]}`, string(svc.Status))
	svc.Spec = []byte(`{"newer":true}`)
	require.NoError(t, testSchemas().Validate(svc))
	doc, err = resource.ToJSON(svc)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type": "MeshService", "mesh": "default", "name": "x", "labels": {"kuma.io/mesh": "default"}, "spec": {"newer": true}, "status": {"newer": [1, {"a": null}]}}`, string(doc))
}

// TestNoDocumentMakesReadingPanic puts values of every kind in the place of every value of the examples, and takes every
// value out: rules must do with whatever the shapes leave of a document.
func TestNoDocumentMakesReadingPanic(t *testing.T) {
	t.Parallel()
	schemas := resource.BaseSchemas()
	for kind := range schemas {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var doc any
			require.NoError(t, yaml.Unmarshal(example(t, kind), &doc))
			refused := 0
			try := func() {
				data, err := json.Marshal(doc)
				require.NoError(t, err)
				docs, err := schemas.Read("", data, resource.ReadOptions{})
				if err != nil {
					refused++
					return
				}
				_, err = resource.ToJSON(docs[0].Resource)
				require.NoError(t, err, "%s", data)
			}
			var walk func(v any)
			walk = func(v any) {
				others := []any{nil, "x", -1, []any{}, []any{"x"}, []any{map[string]any{}}, map[string]any{}, map[string]any{"x": "y"}}
				switch v := v.(type) {
				case map[string]any:
					for key, inner := range v {
						for _, other := range others {
							v[key] = other
							try()
						}
						delete(v, key)
						try()
						v[key] = inner
						walk(inner)
					}
				case []any:
					for i, inner := range v {
						for _, other := range others {
							v[i] = other
							try()
						}
						v[i] = inner
						walk(inner)
					}
				}
			}
			walk(doc)
			assert.Positive(t, refused)
		})
	}
}
