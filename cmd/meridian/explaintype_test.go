package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/catalog"
	"github.com/meridian-mesh/meridian/resource"
)

func TestExplainTypeOfAField(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := meridian(t, "", "explain-type", "mt.to.default.connectionTimeout")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, `KIND     MeshTimeout
FIELD    spec.to[].default.connectionTimeout
TYPE     duration
DEFAULT  5s

  connectionTimeout limits setting up a TCP connection, TLS included. Above 0. Default: 5s.
`, stdout)
	_, stdout, _ = meridian(t, "", "explain-type", "MeshTimeout.spec.to.targetRef.kind", "-o", "json")
	var e catalog.Explanation
	require.NoError(t, json.Unmarshal([]byte(stdout), &e))
	assert.Equal(t, "spec.to[].targetRef.kind", e.Path)
	assert.ElementsMatch(t, []string{"Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService"}, e.Words)
	assert.True(t, e.Required)
}

func TestExplainTypeOfAKindHasItsMatrixAndAnExample(t *testing.T) {
	t.Parallel()
	_, stdout, _ := meridian(t, "", "explain-type", "meshretries")
	for _, want := range []string{"KIND     MeshRetry\n", "\nSELECTS\n  spec.targetRef ", "(role system)", "\nFIELDS\n", "\nEXAMPLE\n  apiVersion: kuma.io/v1alpha1\n"} {
		assert.Contains(t, stdout, want)
	}
	for _, d := range resource.Kinds {
		if _, ok := policy.Schemas()[d.Kind]; ok {
			code, _, stderr := meridian(t, "", "explain-type", d.Kind)
			assert.Equal(t, 0, code, stderr)
		}
	}
}

func TestExplainTypeNamesTheNearest(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"meshretyr":                    `unknown kind "meshretyr"; did you mean meshretry?`,
		"MeshRetry.to.default.htpp":    `MeshRetry.spec.to[].default has no field "htpp"; did you mean http?`,
		"MeshRetry.to.targetRef.kind.": "",
	} {
		code, _, stderr := meridian(t, "", "explain-type", arg)
		assert.Equal(t, want == "", code == 0, stderr)
		assert.Contains(t, stderr, want)
		if want != "" {
			assert.Equal(t, 2, code)
		}
	}
}

func TestGetDoesNotPrintSecrets(t *testing.T) {
	t.Parallel()
	const data = "bm90IGEgc2VjcmV0"
	address, _ := newZone(t)
	apply(t, address, "type: Secret\nmesh: default\nname: s\ndata: "+data+"\n", "type: GlobalSecret\nname: g\ndata: "+data+"\n")
	for _, args := range [][]string{
		{"secrets", "-o", "yaml"}, {"secret", "s", "-o", "json"}, {"secrets", "-o", "wide"}, {"global-secrets", "-o", "json"},
		{"global-secret", "g", "-o", "yaml", "--format", "kubernetes"},
	} {
		code, stdout, stderr := meridian(t, "", append([]string{"--address", address, "get"}, args...)...)
		require.Equal(t, 0, code, stderr)
		assert.NotContains(t, stdout, data, "%v", args)
		if args[len(args)-1] != "wide" {
			assert.Contains(t, stdout, "redacted", "%v", args)
			_, stdout, _ = meridian(t, "", append([]string{"--address", address, "get", "--show-secrets"}, args...)...)
			assert.Contains(t, stdout, data, "%v", args)
		}
	}
	_, stdout, _ := meridian(t, "", "--address", address, "get", "secret", "s", "-o", "yaml")
	code, _, stderr := meridian(t, stdout, "--address", address, "apply", "-f", "-")
	assert.Equal(t, 2, code, "what get printed must not replace the secret")
	assert.Contains(t, stderr, "data: found redacted")
}

func TestApplyWarnsOfReferencesAndRoles(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	declared := strings.Replace(producer, "{name: slow,", "{name: slow, labels: {kuma.io/policy-role: consumer},", 1)
	code, _, stderr := meridian(t, declared, "--address", address, "apply", "-f", "-", "--strict-role")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `labels["kuma.io/policy-role"]: declares the role consumer`)
	code, _, stderr = meridian(t, declared, "--address", address, "apply", "-f", "-")
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stderr, `meshtimeout slow.shop: warning: labels["kuma.io/policy-role"]: declares the role consumer`)
	assert.Contains(t, stderr, "meshtimeout slow.shop: warning: spec.to[0].targetRef: there is no MeshService backend in namespace shop of east now")
}
