package resolver_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares an answer, as JSON, with a file of testdata.
func golden(t *testing.T, file string, answer any) {
	t.Helper()
	got, err := json.MarshalIndent(answer, "", "  ")
	require.NoError(t, err)
	file = filepath.Join("testdata", file)
	if *update {
		require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
}

func TestEffectNamesWhatAPolicyWinsAndWhatMasksIt(t *testing.T) {
	t.Parallel()
	m := guide(t)
	m.apply(resource.Put(documents(t, "{type: MeshTimeout, name: nowhere, mesh: default, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: nobody}}, to: [{targetRef: {kind: MeshService, labels: {app: nothing}}, default: {idleTimeout: 1s}}]}}")[0]))
	r := resolver.New(resolver.Config{Source: m})
	producer, err := r.Effect(t.Context(), "MeshTimeout", "default", "producer-timeout.shop", policy.Everything)
	require.NoError(t, err)
	golden(t, "guide-effect.json", producer)

	effect, err := r.Effect(t.Context(), "MeshTrafficPermission", "default", "all", policy.Everything)
	require.NoError(t, err)
	require.Len(t, effect.Effects, 2, "the inbounds of two proxies have names")
	place := effect.Effects[0].Places[0]
	assert.Equal(t, "from", place.List)
	assert.Equal(t, uint32(8080), place.Port)
	assert.Equal(t, []policy.Win{{Item: 0, Path: "action", Value: "Allow"}}, place.Wins)

	effect, err = r.Effect(t.Context(), "MeshTimeout", "default", "nowhere", policy.Everything)
	require.NoError(t, err)
	assert.Empty(t, effect.Effects)
	assert.Len(t, effect.Unresolved, 2)

	_, err = r.Effect(t.Context(), "MeshTimeout", "default", "nope", policy.Everything)
	require.ErrorIs(t, err, resource.ErrNotFound)
	_, err = r.Effect(t.Context(), "MeshService", "default", "cart.shop", policy.Everything)
	require.ErrorIs(t, err, resource.ErrNotFound)
	_, err = r.Effect(t.Context(), "MeshTimeout", "nope", "nowhere", policy.Everything)
	require.ErrorIs(t, err, resource.ErrNotFound)
}

func TestEffectOfAShadowPolicyIsWhatItWouldHave(t *testing.T) {
	t.Parallel()
	m := guide(t)
	trial := timeout("trial", "1s")
	trial.Labels = map[string]string{resource.LabelEffect: "shadow"}
	m.apply(resource.Put(trial), resource.Put(timeout("z", "2s")))
	r := resolver.New(resolver.Config{Source: m})
	effect, err := r.Effect(t.Context(), "MeshTimeout", "default", "trial", policy.Everything)
	require.NoError(t, err)
	assert.True(t, effect.Shadow)
	var proxies []string
	for _, one := range effect.Effects {
		for _, dp := range one.Dataplanes {
			proxies = append(proxies, dp.Name+"."+dp.Namespace)
		}
		for _, place := range one.Places {
			assert.NotEmpty(t, place.Wins)
		}
	}
	assert.ElementsMatch(t, []string{"api.shop", "web.first", "web.second"}, proxies)

	effect, err = r.Effect(t.Context(), "MeshTimeout", "default", "z", policy.Everything)
	require.NoError(t, err)
	for _, one := range effect.Effects {
		for _, place := range one.Places {
			assert.Empty(t, place.Masked, "a trial masks nothing")
		}
	}
}

func TestPoliciesAreInOrderWithReasons(t *testing.T) {
	t.Parallel()
	m := guide(t)
	m.apply(
		resource.Put(documents(t, "{type: MeshTimeout, name: subset, mesh: default, labels: {kuma.io/origin: global}, spec: {targetRef: {kind: MeshSubset, tags: {kuma.io/service: web}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}")[0]),
		resource.Put(documents(t, "{type: MeshTimeout, name: section, mesh: default, spec: {targetRef: {kind: Dataplane, sectionName: http}, rules: [{default: {idleTimeout: 1s}}]}}")[0]),
	)
	r := resolver.New(resolver.Config{Source: m})
	answer, err := r.Policies(t.Context(), "default", "web.first")
	require.NoError(t, err)
	golden(t, "guide-policies.json", answer)
	_, err = r.Policies(t.Context(), "default", "nope")
	require.ErrorIs(t, err, resource.ErrNotFound)
}

func TestEffectiveFromNarrowsToAnInboundAndAClient(t *testing.T) {
	t.Parallel()
	m := stored(t, `{type: Mesh, name: default}
---
{type: Dataplane, name: web, mesh: default, networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: {kuma.io/service: web}}, {port: 81, tags: {kuma.io/service: web}}]}}
---
{type: MeshExternalService, name: bank, mesh: default, spec: {match: {type: HostnameGenerator, port: 80, protocol: http}, endpoints: [{address: a.example, port: 80}]}}
---
{type: MeshMultiZoneService, name: all, mesh: default, spec: {selector: {meshService: {matchLabels: {a: b}}}, ports: [{port: 80, name: http}]}}
---
{type: MeshTimeout, name: t, mesh: default, spec: {to: [{targetRef: {kind: MeshExternalService, name: bank}, default: {idleTimeout: 1s}}, {targetRef: {kind: MeshMultiZoneService, name: all, sectionName: http}, default: {idleTimeout: 2s}}]}}
---
{type: MeshTrafficPermission, name: p, mesh: default, spec: {from: [{targetRef: {kind: Mesh}, default: {action: Deny}}, {targetRef: {kind: MeshService, name: api}, default: {action: Allow}}]}}
`)
	r := resolver.New(resolver.Config{Source: m})
	ask := func(f policy.Filter) (ports []uint32, actions []any, to []string) {
		answer, err := r.Effective(t.Context(), "default", "web", f)
		require.NoError(t, err)
		for _, in := range answer.Inbounds {
			ports = append(ports, in.Port)
			for _, a := range in.Rules {
				actions = append(actions, a.Fields[0].Value)
			}
		}
		for _, d := range answer.Destinations {
			to = append(to, d.KRI)
		}
		return ports, actions, to
	}
	for _, c := range []struct {
		filter  policy.Filter
		ports   []uint32
		actions []any
		to      []string
	}{
		{policy.Filter{From: "http"}, []uint32{80}, []any{"Allow", "Deny"}, nil},
		{policy.Filter{From: "81"}, []uint32{81}, []any{"Allow", "Deny"}, nil},
		{policy.Filter{From: "http,kuma.io/service=api"}, []uint32{80}, []any{"Allow"}, nil},
		{policy.Filter{From: "kuma.io/service=other"}, []uint32{80, 81}, []any{"Deny", "Deny"}, nil},
		{policy.Filter{To: "bank"}, nil, nil, []string{"kri_extsvc_default___bank_"}},
		{policy.Filter{To: "all"}, nil, nil, []string{"kri_mzsvc_default___all_", "kri_mzsvc_default___all_http"}},
		{policy.Filter{To: "kri_mzsvc_default___all_http"}, nil, nil, []string{"kri_mzsvc_default___all_http"}},
		{policy.Filter{To: "bank", From: "81,kuma.io/service=api"}, []uint32{81}, []any{"Allow"}, []string{"kri_extsvc_default___bank_"}},
	} {
		ports, actions, to := ask(c.filter)
		assert.Equal(t, c.ports, ports, "%+v", c.filter)
		assert.Equal(t, c.actions, actions, "%+v", c.filter)
		assert.Equal(t, c.to, to, "%+v", c.filter)
	}
	_, err := r.Effective(t.Context(), "default", "web", policy.Filter{From: "grpc"})
	require.ErrorContains(t, err, "no such inbound")
}
