package sim_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/sim"
)

var update = flag.Bool("update", false, "write docs/schemas/scenario.json")

const schemaFile = "../docs/schemas/scenario.json"

func TestSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	if *update {
		require.NoError(t, os.WriteFile(schemaFile, sim.Schema(), 0o600))
	}
	got, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	assert.Equal(t, string(sim.Schema()), string(got), "go test ./sim -run Schema -args -update")
}

func TestExamplesFollowTheSchemaAndMistakesDoNot(t *testing.T) {
	t.Parallel()
	path, err := filepath.Abs(schemaFile)
	require.NoError(t, err)
	schema, err := jsonschema.NewCompiler().Compile(path)
	require.NoError(t, err)
	valid := func(text []byte) error {
		var doc any
		require.NoError(t, yaml.Unmarshal(text, &doc))
		asJSON, err := json.Marshal(doc)
		require.NoError(t, err)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
		require.NoError(t, err)
		return schema.Validate(value)
	}
	scenarios, err := sim.Load("../examples")
	require.NoError(t, err)
	for _, s := range scenarios {
		text, err := os.ReadFile(s.File)
		require.NoError(t, err)
		assert.NoError(t, valid(text), s.File)
	}
	for _, text := range []string{
		"zone: {}", "zones: {a: {proxys: {}}}", "zones: {a: {without: [x]}}", "expect: [{roles: {}}]", "expect: [{role: {global/x: producr}}]",
		"steps: [{partitions: a}]", "policies: {global/x: {}}", "invariants: [x]",
	} {
		assert.Error(t, valid([]byte(text)), text)
	}
}

// The schema has the fields that the reader takes: its own words for a field that it does not know are compared with the schema.
func TestSchemaHasTheFieldsOfTheReader(t *testing.T) {
	t.Parallel()
	var root map[string]any
	require.NoError(t, json.Unmarshal(sim.Schema(), &root))
	allowed := regexp.MustCompile(`unknown field "nothing", want one of ([^;\n]*)`)
	for text, path := range map[string]string{
		"nothing: x":                                                    "properties",
		"zones: {a: {nothing: x}}":                                      "$defs/zone/properties",
		"zones: {a: {services: {s: {nothing: x}}}}":                     "$defs/service/properties",
		"zones: {a: {proxies: {s: {nothing: x}}}}":                      "$defs/proxy/properties",
		"policies: {global/x: {nothing: x}}":                            "$defs/policy/properties",
		"expect: [{nothing: x}]":                                        "properties/expect/items/properties",
		"expect: [{synced: {nothing: x}}]":                              "properties/expect/items/properties/synced/properties",
		"expect: [{effective: {nothing: x}}]":                           "properties/expect/items/properties/effective/properties",
		"steps: [{nothing: x}]":                                         "properties/steps/items/properties",
		"steps: [{expect: [{nothing: x}]}]":                             "properties/steps/items/properties/expect/items/properties",
		"steps: [{expect: [{stale: {nothing: x}}]}]":                    "properties/steps/items/properties/expect/items/properties/stale/properties",
		"zones: {a: {}}\nsteps: [{skew: {a: {nothing: x}}}]":            "properties/steps/items/properties/skew/additionalProperties/properties",
		"steps: [{addZone: {b: {nothing: x}}}]":                         "$defs/zone/properties",
		"steps: [{apply: {global/x: {kind: MeshTimeout, nothing: x}}}]": "$defs/policy/properties",
	} {
		_, err := sim.Parse("x.yaml", ".", []byte(text))
		require.Error(t, err, text)
		found := allowed.FindStringSubmatch(err.Error())
		require.NotNil(t, found, "%s: %s", text, err)
		at := root
		for _, step := range strings.Split(path, "/") {
			next, ok := at[step].(map[string]any)
			require.True(t, ok, "%s: %s", path, step)
			at = next
		}
		assert.ElementsMatch(t, strings.Split(found[1], ", "), slices.Collect(maps.Keys(at)), text)
	}
}
