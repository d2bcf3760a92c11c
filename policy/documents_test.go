package policy_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// specCase is a spec and the fields of its violations, each as often as it is reported; none means that it is valid.
type specCase struct {
	spec   string
	fields []string
}

// testSpecs reads each spec as a document of a kind.
func testSpecs(t *testing.T, kind string, cases map[string]specCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, fields, err := readSpec(kind, "", c.spec)
			assert.ElementsMatch(t, c.fields, fields, "%s\n%v", c.spec, err)
		})
	}
}

// readSpec reads one document and returns it, or the fields of its violations.
func readSpec(kind, labels, spec string) (resource.Resource, []string, error) {
	docs, err := policy.Schemas().Read("", []byte("{type: "+kind+", name: x, mesh: default, labels: {"+labels+"}, spec: "+spec+"}"), resource.ReadOptions{})
	if err == nil {
		return docs[0].Resource, nil, nil
	}
	invalid, ok := errors.AsType[*resource.InvalidError](err)
	if !ok {
		return resource.Resource{}, []string{"no InvalidError"}, err
	}
	var fields []string
	for _, v := range invalid.Violations {
		fields = append(fields, v.Field)
	}
	return resource.Resource{}, fields, err
}

// canonical returns the spec of a valid document as it is stored.
func canonical(t *testing.T, kind, spec string) string {
	t.Helper()
	r, _, err := readSpec(kind, "", spec)
	require.NoError(t, err)
	return string(r.Spec)
}

// warningsOf returns the warnings of a valid document.
func warningsOf(t *testing.T, kind, spec string) []string {
	t.Helper()
	r, _, err := readSpec(kind, "", spec)
	require.NoError(t, err)
	return policy.Warnings(r)
}

// confs puts confs into `to` items for the whole mesh.
func confs(confs ...string) string {
	spec := "{to: ["
	for _, c := range confs {
		spec += "{targetRef: {kind: Mesh}, default: " + c + "}, "
	}
	return spec + "]}"
}

// below puts a path before each field.
func below(at string, fields ...string) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = at + f
	}
	return all
}
