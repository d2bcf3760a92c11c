package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshTLS(t *testing.T) {
	t.Parallel()
	const d = "spec.rules[0].default"
	rules := func(conf string) string { return "{rules: [{default: " + conf + "}]}" }
	testSpecs(t, "MeshTLS", map[string]specCase{
		"nothing":                {"{}", nil},
		"all of it":              {rules("{mode: Permissive, tlsVersion: {min: TLS12, max: TLS13}, tlsCiphers: [ECDHE-ECDSA-AES128-GCM-SHA256, ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-ECDSA-CHACHA20-POLY1305, ECDHE-RSA-AES128-GCM-SHA256, ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-CHACHA20-POLY1305]}"), nil},
		"one version":            {rules("{tlsVersion: {min: TLS13, max: TLS13}}"), nil},
		"no upper bound":         {rules("{tlsVersion: {min: TLS13}}"), nil},
		"no lower bound":         {rules("{tlsVersion: {max: TLS10}}"), nil},
		"nulls":                  {rules("{mode: null, tlsVersion: {min: TLS13, max: null}, tlsCiphers: null}"), nil},
		"a mode of some proxies": {"{targetRef: {kind: MeshSubset, tags: {a: b}}, from: [{targetRef: {kind: Mesh}, default: {mode: Strict}}]}", nil},
		"a mode of one inbound":  {"{targetRef: {kind: Dataplane, sectionName: http}, rules: [{default: {mode: Strict}}]}", nil},

		"a version for some proxies": {"{targetRef: {kind: Dataplane, name: x}, rules: [{default: {tlsVersion: {min: TLS13, max: TLS12}, tlsCiphers: [ECDHE-RSA-AES256-GCM-SHA384]}}]}", below(d, ".tlsCiphers", ".tlsVersion")},
		"a minimum above":            {rules("{tlsVersion: {min: TLS13, max: TLS12}}"), below(d, ".tlsVersion.min")},
		"unknown words":              {rules("{mode: STRICT, tlsVersion: {min: TLS14, max: '1.3'}, tlsCiphers: [RC4]}"), below(d, ".mode", ".tlsVersion.min", ".tlsVersion.max", ".tlsCiphers[0]")},
		"rules and from":             {"{from: [{targetRef: {kind: MeshSubset, tags: {a: b}}, default: {tlsVersion: {min: TLS13, max: TLS12}}}], rules: [{default: {mode: Permissive}}]}", []string{"spec", "spec.from[0].targetRef.kind", "spec.from[0].default.tlsVersion.min"}},
		"to":                         {"{to: []}", []string{"spec.to"}},
		"a service at the top":       {"{targetRef: {kind: MeshService, name: a}}", []string{"spec.targetRef.kind"}},
		"a gateway at the top":       {"{targetRef: {kind: MeshGateway, name: a}}", []string{"spec.targetRef.kind"}},
	})
}

func TestMeshTLSVersionsGetTheirDefault(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshTLS", "{rules: [{default: {tlsVersion: {min: TLS13}}}, {default: {tlsVersion: {}}}, {default: {mode: Strict}}]}")
	assert.JSONEq(t, `{"rules":[{"default":{"tlsVersion":{"min":"TLS13","max":"TLSAuto"}}},{"default":{"tlsVersion":{"min":"TLSAuto","max":"TLSAuto"}}},{"default":{"mode":"Strict"}}]}`, got)
}
