package catalog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
)

// compile returns a schema of docs/schemas by its file name, as an editor finds it.
func compile(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	path, err := filepath.Abs(filepath.Join("../../docs/schemas", name))
	require.NoError(t, err)
	s, err := c.Compile(path)
	require.NoError(t, err)
	return s
}

// parsed returns a YAML or JSON document as the validator wants it.
func parsed(t *testing.T, doc []byte) any {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal(doc, &v))
	data, err := json.Marshal(v)
	require.NoError(t, err)
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	return v
}

func TestSchemasTakeEveryExampleInBothForms(t *testing.T) {
	t.Parallel()
	index := compile(t, "meridian.json")
	for _, file := range exampleFiles(t) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		s := compile(t, strings.TrimSuffix(filepath.Base(file), ".yaml")+".json")
		for text := range strings.SplitSeq(string(data), "\n---\n") {
			doc := parsed(t, []byte(text))
			assert.NoError(t, s.Validate(doc), "%s: %s", file, text)
			assert.NoError(t, index.Validate(doc), "%s: %s", file, text)
		}
		docs, err := policy.Schemas().Read(file, data, resource.ReadOptions{})
		require.NoError(t, err)
		for _, doc := range docs {
			for _, form := range []func(resource.Resource) ([]byte, error){resource.ToJSON, resource.ToKubernetes} {
				text, err := form(doc.Resource)
				require.NoError(t, err)
				assert.NoError(t, s.Validate(parsed(t, text)), "%s", text)
			}
		}
	}
}

func TestSchemasRefuseWhatReadersRefuse(t *testing.T) {
	t.Parallel()
	const to = "type: MeshTimeout\nname: x\nspec: {to: [{targetRef: {kind: %KIND}, default: %CONF}]}"
	doc := func(kind, conf string) string { return strings.NewReplacer("%KIND", kind, "%CONF", conf).Replace(to) }
	s := compile(t, "MeshTimeout.json")
	for text, good := range map[string]bool{
		doc("Mesh", "{idleTimeout: 1h5m}"):                    true,
		doc("Mesh", "{idleTimeout: null}"):                    true, // a null removes what weaker policies gave
		doc("Mesh", "{http: {requestTimeout: null}}"):         true,
		doc("Mesh", "{idleTimeout: 5}"):                       false,
		doc("Mesh", "{idleTimeout: soon}"):                    false,
		doc("Mesh", "{idleTimout: 5s}"):                       false,
		doc("Mesh", "{http: {requestTimeuot: 5s}}"):           false,
		doc("MeshSubset", "{idleTimeout: 5s}"):                false,
		doc("Dataplane", "{idleTimeout: 5s}"):                 false,
		"type: MeshTimeout\nname: x":                          false,
		"type: MeshTimeout\nspec: {}":                         false,
		"type: MeshRetry\nname: x\nspec: {}":                  false,
		"type: MeshTimeout\nname: x\nkind: y\nspec: {}":       false,
		"type: MeshTimeout\nname: x\nspec: {targetRef: null}": false,
		"type: MeshTimeout\nname: x\nspec: {to: [{}]}":        false,
		"type: MeshTimeout\nname: x\nspec: {bogus: 1}":        false,
		"kind: MeshTimeout\nmetadata: {name: x}\nspec: {}":    false,
		"apiVersion: kuma.io/v1alpha1\nkind: MeshTimeout\nmetadata: {name: x, namespace: shop}\nspec: {}": true,
		"apiVersion: kuma.io/v2\nkind: MeshTimeout\nmetadata: {name: x}\nspec: {}":                        false,
	} {
		err := s.Validate(parsed(t, []byte(text)))
		assert.Equal(t, good, err == nil, "%s: %v", text, err)
	}

	balancer := compile(t, "MeshLoadBalancingStrategy.json")
	for conf, good := range map[string]bool{"{type: RoundRobin, roundRobin: {}}": true, "{type: Random, random: {}}": true, "{type: Random, random: {a: 1}}": false} {
		text := "type: MeshLoadBalancingStrategy\nname: x\nspec: {to: [{targetRef: {kind: Mesh}, default: {loadBalancer: " + conf + "}}]}"
		err := balancer.Validate(parsed(t, []byte(text)))
		assert.Equal(t, good, err == nil, "%s: %v", text, err)
	}

	port := compile(t, "MeshExternalService.json")
	for text, good := range map[string]bool{"{port: 443}": true, "{port: 0}": false, "{port: 70000}": false, "{}": false} {
		err := port.Validate(parsed(t, []byte("type: MeshExternalService\nname: x\nspec: {match: "+text+"}")))
		assert.Equal(t, good, err == nil, "%s: %v", text, err)
	}
	assert.Error(t, compile(t, "meridian.json").Validate(parsed(t, []byte("type: Nothing\nname: x"))))
}

func TestEverySchemaCompiles(t *testing.T) {
	t.Parallel()
	for _, k := range catalog.All() {
		compile(t, k.Kind+".json")
	}
}
