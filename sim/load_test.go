package sim_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

// Every mistake has a place, says what was found and what is allowed, and names the nearest word.
func TestMistakesInAScenarioAreNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "x.yaml: it is empty",
		"zones: [a":                 "x.yaml:1: not valid YAML: did not find expected ',' or ']'",
		"zones: {}\n---\nzones: {}": "x.yaml:2:1: want one document, found another",
		"zone: {}":                  `x.yaml:1:1: zone: unknown field "zone", want one of scenario, seed, mesh, folder, include, resources, zones, policies, expect, steps, invariants; did you mean zones?`,
		"seed: soon":                `x.yaml:1:7: seed: found the text "soon", want a whole number from 0 to`,
		"zones: {}\nzones: {}":      "x.yaml:2:1: zones: is there twice: on line 1, column 1, too",
		"zones:\n  East_1: {}":      `x.yaml:2:3: zones.East_1: found the zone name "East_1", want a DNS name of at most 63: lower case letters`,
		"zones:\n  global: {}":      "no zone can be called \"global\" here",
		"zones:\n  a: {proxys: {}}": `x.yaml:2:7: zones.a.proxys: unknown field "proxys", want one of version, without, include, resources, services, proxies; did you mean proxies?`,
		"zones:\n  a: {without: x}": `x.yaml:2:16: zones.a.without: unknown feature "x", want one of zone-token`,
		"zones:\n  a: {services: {s: {port: 0}}}":                                                                     "zones.a.services.s.port: found the number 0, want a whole number from 1 to 65535",
		"zones:\n  a: {services: {s: {protocol: htp}}}":                                                               `unknown protocol "htp", want one of http, http2, grpc, kafka, tcp, tls; did you mean http?`,
		"zones: {a: {}}\npolicies:\n  b/x: {kind: MeshTimeout}":                                                       `x.yaml:3:3: policies.b/x: unknown zone "b", want one of a, global`,
		"zones: {a: {}}\npolicies:\n  x: {kind: MeshTimeout}":                                                         `found the key "x", want zone/namespace/name, zone/name, or global/name, with @mesh at the end if it is in another mesh`,
		"resources: [{type: Mesh, name: shop}]\npolicies:\n  global/x@shob: {kind: MeshTimeout}":                      `x.yaml:3:3: policies.global/x@shob: unknown mesh "shob", want one of default, shop; did you mean shop?`,
		"resources: [{type: Mesh, name: shop}]\npolicies:\n  global/x@shop: {kind: MeshRetry, mesh: default, to: []}": `x.yaml:3:42: policies.global/x@shop.mesh: found "default", but the key says "shop"`,
		"zones: {a: {}}\npolicies:\n  a/x: {}":                                                                        "x.yaml:3:3: policies.a/x.kind: must be given",
		"zones: {a: {}}\npolicies:\n  a/x: {kind: MeshTimeot}":                                                        "did you mean MeshTimeout?",
		"zones: {a: {}}\npolicies:\n  a/x:\n    kind: MeshTimeout\n    to: [{Mesh: , default: {htp: {}}}]":            "x.yaml:5:29: policies.a/x.spec.to[0].default.htp: unknown field; did you mean http?",
		"resources:\n  - type: MeshTimeout\n    name: x\n    mesh: default\n    spec:\n      to: 7":                   "x.yaml:6:7: resources[0].spec.to: found the number 7, want a list",
		"include: nothing/*.yaml":              `x.yaml:1:10: include: "nothing/*.yaml" names no manifest (.yaml, .yml or .json) below .`,
		"folder: nowhere":                      "x.yaml:1:9: folder: found no folder global or zones in nowhere",
		"expect: [{roles: {}}]":                `unknown field "roles", want one of id, role, synced`,
		"expect: [{}]":                         "found 0 expectations in one item, want one of role, synced, effective, matches, warnings",
		"expect: [{stale: {}}]":                `unknown field "stale"`,
		"expect: [{role: {global/x: system}}]": `unknown policy "global/x"`,
		"policies: {global/x: {kind: MeshRetry, to: []}}\nexpect: [{role: {global/x: producr}}]":  "did you mean producer?",
		"policies: {global/x: {kind: MeshRetry, to: []}}\nexpect: [{synced: {policy: global/x}}]": "nothing is expected: want to, only or notTo",
		"resources:\n- {type: MeshPassthrough, name: x, mesh: m, spec: {default: {passthroughMode: All}}}\n- {type: MeshPassthrough, name: x, mesh: n, spec: {default: {passthroughMode: All}}}\n" +
			"expect: [{role: {global/x: system}}]": `x.yaml:4:18: expect[0].role.global/x: "global/x" is in several meshes, write one of global/x@m, global/x@n`,
		"expect: [{effective: {proxy: a/b/c, type: MeshRetry}}]": `unknown zone "a" in "a/b/c", want one of global`,
		"steps: [{at: -1s}]":                                   `x.yaml:1:14: steps[0].at: found the text "-1s", want a duration`,
		"steps: [{at: 2s}, {at: 1s}]":                          "steps[1].at: found 1s, but the step before is at 2s",
		"zones: {a: {}}\nsteps: [{partition: a, heal: a}]":     "found 2 things that happen in one step, want one",
		"zones: {a: {}}\nsteps: [{partition: b}]":              `x.yaml:2:21: steps[0].partition: unknown zone "b", want one of a`,
		"zones: {a: {}, a: {}}":                                "x.yaml:1:16: zones.a: is there twice: on line 1, column 9, too",
		"include: [load_tset.yaml, testdata/x]":                `x.yaml:1:27: include[1]: "testdata/x" names no manifest`,
		"zones: {a: {}}\nsteps:\n- partition: [a,\n    b]":     `x.yaml:4:5: steps[0].partition[1]: unknown zone "b", want one of a`,
		"zones: {a: {}}\nexpect: [{id: x, role: {}}]":          "x.yaml:2:10: expect[0]: nothing is expected: it names no policy",
		"expect: [{role: {global/x: system}, id: y}]":          `unknown policy "global/x": there is none`,
		"zones: {east: {}}\nexpect: [{matches: {esat/x: []}}]": `x.yaml:2:21: expect[0].matches.esat/x: unknown zone "esat" in "esat/x", want one of east, global; did you mean east?`,
		"zones: {a: {proxies: {w: {}}}}\nexpect: [{effective: {proxy: [a/w, a/v], type: MeshRetry, set: {a: 1}}}]":                           `x.yaml:2:36: expect[0].effective.proxy[1]: no proxy is called "a/v"; did you mean a/w?`,
		"zones: {a: {proxies: {w: {}}}}\nexpect: [{effective: {proxy: a/w, type: MeshTimeout, to: mesh, set: {idleTimout: 1s}}}]":            `x.yaml:2:70: expect[0].effective.set.idleTimout: unknown setting of a MeshTimeout "idleTimout", want one of connectionTimeout, http.`,
		"zones: {a: {proxies: {w: {}}}}\nexpect: [{effective: {proxy: a/w, type: MeshTimeout, to: mesh, set: {http: {requestTimout: 1s}}}}]": `expect[0].effective.set.http: unknown setting of a MeshTimeout "http.requestTimout"`,
		"zones: {a: {proxies: {w: {}}}}\nexpect: [{effective: {proxy: a/w, type: MeshTimeout, to: b/kv, set: {idleTimeout: 1s}}}]":           `unknown zone "b" in "b/kv", want one of a, global`,
		"policies: {global/x: {kind: MeshRetry, to: []}}\nexpect: [{warnings: {global/x: [no-effect, unresolvd]}}]":                          `x.yaml:2:44: expect[0].warnings.global/x[1]: unknown warning "unresolvd", want one of`,
		gatewayWith + "expect: [{effective: {proxy: a/e, type: MeshTimeout, listener: shop.exmple, to: mesh, set: {idleTimeout: 1s}}}]":      `effective.listener: unknown listener "shop.exmple", want one of 80, shop.example:443`,
		gatewayWith + "expect: [{effective: {proxy: a/e, type: MeshTimeout, listener: 80, inbound: 80, set: {idleTimeout: 1s}}}]":            "effective.inbound: excludes listener",
		"invariants: [no-ghosts]": "unknown invariant \"no-ghosts\"",
	} {
		_, err := sim.Parse("x.yaml", ".", []byte(text))
		if assert.Error(t, err, text) {
			assert.Contains(t, err.Error(), want, text)
			assert.NotRegexp(t, `must have[^$]*unknown policy`, err.Error(), "what follows from another mistake is not one")
		}
	}
}

const gatewayWith = `resources: [{type: MeshGateway, mesh: default, name: e, selectors: [{match: {kuma.io/service: e}}], conf: {listeners: [{port: 80, protocol: HTTP}, {port: 443, protocol: HTTP, hostname: shop.example}]}}]
zones: {a: {resources: [{type: Dataplane, mesh: default, name: e, networking: {address: 192.0.2.1, gateway: {type: BUILTIN, tags: {kuma.io/service: e}}}}]}}
`

func TestAnIncludeThatMatchesNothingNamesTheNearest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "global", "shop"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "global", "shop", "timeouts.yaml"), []byte("type: Mesh\nname: default\n"), 0o600))
	for pattern, hint := range map[string]string{
		"gobal/shop/*.yaml":          "; did you mean global?",
		"global/shpo/**":             "; did you mean global/shop?",
		"global/shop/timeoust.yaml":  "; did you mean global/shop/timeouts.yaml?",
		"global/*.yaml":              "",
		"global/shop/something.yaml": "",
	} {
		_, err := sim.Parse("x.yaml", dir, []byte("include: ["+pattern+"]"))
		assert.EqualError(t, err, fmt.Sprintf("x.yaml:1:11: include[0]: %q names no manifest (.yaml, .yml or .json) below %s%s", pattern, dir, hint))
	}
}

// What a control plane refuses is a mistake in the file too.
func TestRefusedDocumentIsNamedByItsPlace(t *testing.T) {
	t.Parallel()
	s := loaded(t, "zones: {a: {}}\npolicies:\n  a/ns/x:\n    kind: MeshTimeout\n    mesh: other\n    to: [{Mesh: , default: {idleTimeout: 1s}}]")
	_, err := sim.Run(context.Background(), s, sim.Options{})
	require.Error(t, err)
	assert.ErrorContains(t, err, "test.scenario.yaml:3: MeshTimeout other/x.ns: zone a refuses it: ")
}

// folder returns a directory with these files, by path in it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// A folder of manifests is a scenario, whatever else is in it.
func TestFolderOfManifestsIsAScenario(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"global/mesh.yaml":                "apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata: {name: default}\n",
		"zones/east/shop/timeout.yaml":    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + policyOf("shop", "kv"),
		"zones/east/shop/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: kv}\nspec: {replicas: 3}\n",
		"zones/west/README.md":            "not a manifest",
	})
	scenarios, err := sim.Load(dir)
	require.NoError(t, err)
	require.Len(t, scenarios, 1)
	result, err := sim.Run(context.Background(), scenarios[0], sim.Options{})
	require.NoError(t, err)
	assert.Equal(t, sim.Counts{Zones: 2, Policies: 1}, result.Counts)
	rows, err := result.Sync("east/shop/kv")
	require.NoError(t, err)
	require.Len(t, rows, 3)
	assert.True(t, rows[2].Has, "%+v", rows)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "global/bad.yaml"), []byte("type: MeshTimeout\nname: x\nmesh: default\nspec: {too: []}\n"), 0o600))
	_, err = sim.Load(dir)
	require.Error(t, err)
	assert.ErrorContains(t, err, filepath.Join(dir, "global/bad.yaml")+":4: MeshTimeout default/x: spec.too: unknown field; did you mean to?")
}

func policyOf(namespace, service string) string {
	return "apiVersion: kuma.io/v1alpha1\nkind: MeshTimeout\nmetadata: {name: " + service + ", namespace: " + namespace + "}\n" +
		"spec: {to: [{targetRef: {kind: MeshService, name: " + service + "}, default: {idleTimeout: 1s}}]}\n"
}

// The failing example says what was wanted, what is there, who gave it, who decided, and what to do about it.
func TestFailedExpectationSaysWhy(t *testing.T) {
	t.Parallel()
	scenarios, err := sim.Load("../examples/failing")
	require.NoError(t, err)
	require.Len(t, scenarios, 1)
	result, err := sim.Run(context.Background(), scenarios[0], sim.Options{})
	require.NoError(t, err)
	assert.Equal(t, sim.Failed, result.Status)
	require.Len(t, result.Expectations, 4)
	assert.Equal(t, sim.Passed, result.Expectations[0].Status)

	web := result.Expectations[1]
	assert.Equal(t, []any{"expect[1]", sim.Failed, 26, "east/shop/web-2"}, []any{web.ID, web.Status, web.Line, web.Proxy})
	assert.Equal(t, "http.requestTimeout = 1s", web.Want)
	assert.Equal(t, "http.requestTimeout = 15s from global/web-2-is-slow on east/shop/web-2 (2 of 3 proxies are as wanted)", web.Got)
	assert.Equal(t, []sim.Candidate{
		{Policy: "east/shop/kv-timeout", Item: "to[0]", Role: "producer", Value: "1s"},
		{Policy: "global/web-2-is-slow", Item: "to[0]", Role: "system", Value: "15s", Wins: true},
	}, web.Candidates)
	assert.EqualValues(t, "kind", web.Comparator)
	assert.True(t, strings.HasPrefix(web.Hint, "the top-level targetRef is compared first"), web.Hint)

	batch := result.Expectations[2]
	assert.EqualValues(t, "origin", batch.Comparator)
	assert.Equal(t, "http.requestTimeout = 3s from west/jobs/patient", batch.Got)

	synced := result.Expectations[3]
	assert.Equal(t, "east: has it not", strings.Split(synced.Got, " (")[0])
	assert.Contains(t, synced.Hint, "not a producer policy")
}

// Whoever reads manifests himself learns which there are, even if they hold nothing that can be read.
func TestSourcesLeaveManifestsToTheCaller(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"a.scenario.yaml":      "include: global/*.yaml\nzones: {east: {services: {cart: {namespace: shop}}}}\nexpect: [{role: {global/slow: system}}]\n",
		"global/slow.yaml":     "type: MeshTimeout\nname: [",
		"zones/west/slow.yaml": "type: MeshTimeout\nname: [",
	})
	found, err := sim.Sources(dir)
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, []sim.Manifest{{File: filepath.Join(dir, "global/slow.yaml")}}, found[0].Manifests)
	require.Len(t, found[0].Documents, 2)
	assert.Equal(t, 2, found[0].Documents[0].Line)
	assert.Equal(t, dir, found[1].File)
	assert.Equal(t, []sim.Manifest{{File: filepath.Join(dir, "global/slow.yaml")}, {File: filepath.Join(dir, "zones/west/slow.yaml"), Plane: "west"}}, found[1].Manifests)

	found, err = sim.Sources(filepath.Join(dir, "global"))
	require.NoError(t, err)
	assert.Empty(t, found)
}
