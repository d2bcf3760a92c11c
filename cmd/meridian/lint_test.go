package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim/lint"
)

const proxyOnly = `type: Dataplane
name: web
networking:
  address: 192.0.2.1
  inbound: [{port: 80, tags: {kuma.io/service: web}}]
`

func TestLintExitCodes(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{
		"good/a.yaml": proxyOnly, "old/a.yaml": oldSubset, "bad/a.yaml": badField, "empty/README.md": "no documents",
		"fed/global/a.yaml": oldSubset, "fed/zones/east/a.yaml": proxyOnly,
		"wrong/zones/East/a.yaml": proxyOnly, "comment/a.yaml": "# nothing\n",
	})
	for name, c := range map[string]struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string
	}{
		"clean":                    {args: []string{dir + "/good", "--zone", "east"}, stdout: "0 errors and 0 warnings in 1 document\n"},
		"warnings":                 {args: []string{dir + "/old"}, stdout: dir + "/old/a.yaml:4:3: warning MZ0402: MeshTimeout default/old: spec.targetRef: "},
		"warnings that count":      {args: []string{dir + "/old", "--fail-on", "warn"}, code: 4, stdout: "MZ0402", stderr: "and --fail-on is warn"},
		"errors":                   {args: []string{dir + "/bad"}, code: 1, stdout: "a.yaml:9:11: error MZ0005: ", stderr: "1 error and 0 warnings in 1 document"},
		"errors before warnings":   {args: []string{dir + "/bad", dir + "/old", "--fail-on", "warn"}, code: 1, stderr: "1 error and 1 warning in 2 documents"},
		"no such path":             {args: []string{dir + "/none"}, code: 2, stderr: "no such file or folder"},
		"no path":                  {code: 2, stderr: "requires at least 1 arg"},
		"an unknown word":          {args: []string{dir, "--fail-on", "warning"}, code: 2, stderr: "known: error, warn"},
		"no document":              {args: []string{dir + "/empty"}, code: 5, stderr: "no document in"},
		"no document in a file":    {args: []string{dir + "/comment"}, code: 5, stderr: "no document in"},
		"standard input":           {args: []string{"-"}, stdin: oldSubset, stdout: "<stdin>:4:3: warning MZ0402"},
		"a proxy on global":        {args: []string{"-"}, stdin: proxyOnly, code: 1, stdout: "MZ0007"},
		"a proxy in its zone":      {args: []string{"-", "--zone", "east"}, stdin: proxyOnly, stdout: "0 errors and 0 warnings"},
		"a federation":             {args: []string{dir + "/fed"}, stdout: "0 errors and 2 warnings in 2 documents"},
		"a federation and a zone":  {args: []string{dir + "/fed", "--zone", "east"}, code: 2, stderr: "leave --zone out"},
		"a federation and a file":  {args: []string{dir + "/fed", dir + "/old"}, stdout: "0 errors and 3 warnings in 3 documents"},
		"a folder that is no zone": {args: []string{dir + "/wrong"}, code: 2, stderr: "which is no name of a zone"},
		"a zone that is none":      {args: []string{dir + "/old", "--zone", "East"}, code: 2, stderr: "no DNS name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := meridian(t, c.stdin, append([]string{"lint"}, c.args...)...)
			assert.Equal(t, c.code, code, stdout+stderr)
			assert.Contains(t, stdout, c.stdout)
			assert.Contains(t, stderr, c.stderr)
		})
	}
}

const scenarioOfTwo = `scenario: two zones
include: global/*.yaml
zones:
  east:
    services:
      cart: {namespace: shop}
  west: {}
policies:
  east/shop/fast: {kind: MeshTimeout, to: [{MeshService: cart, default: {idleTimeout: 1s}}]}
  east/shop/default:
    kind: MeshTimeout
    to: [{Mesh: , default: {idleTimeout: 1m}}]
  # meridian:ignore MZ0101 the service comes next week
  east/shop/early:
    kind: MeshTimeout
    to: [{MeshService: wishes, default: {idleTimeout: 1s}}]
  west/shop/late:
    kind: MeshTimeout
    to: [{MeshService: {labels: {app: nothing}}, default: {idleTimeout: 1s}}]
`

func TestLintReadsScenarios(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{
		"a.scenario.yaml": scenarioOfTwo, "global/old.yaml": "# meridian:ignore MZ0402 for zones of 2.8\n" + strings.Replace(oldSubset, "app: web", "app: cart", 1),
		"k8s/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart}\n",
	})
	code, stdout, stderr := meridian(t, "", "lint", dir+"/a.scenario.yaml")
	require.Zero(t, code, stderr)
	file := dir + "/a.scenario.yaml"
	assert.Contains(t, stdout, file+":12:11: warning MZ0201: MeshTimeout default/default.shop: spec.to[0].targetRef: ")
	assert.Contains(t, stdout, file+":19:11: warning MZ0101: MeshTimeout default/late.shop: spec.to[0].targetRef: ")
	assert.Contains(t, stdout, "0 errors and 2 warnings in 7 documents")

	// The folder is that scenario, and its manifests without it: what the comment suppresses there it need not here.
	code, stdout, stderr = meridian(t, "", "lint", dir)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "0 errors and 2 warnings in 7 documents")

	code, _, stderr = meridian(t, "", "lint", file, "--zone", "east")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "leave --zone out")

	// The simulator makes the mesh of a scenario if nobody has written it.
	other := "mesh: other\nresources: [{type: Mesh, name: default}]\nzones: {east: {proxies: {web: {}}}}\n"
	require.NoError(t, os.WriteFile(file, []byte(other), 0o600))
	code, stdout, _ = meridian(t, "", "lint", file, "--fail-on", "warn")
	assert.Zero(t, code, stdout)

	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(scenarioOfTwo, "zones:", "zone:", 1)), 0o600))
	code, _, stderr = meridian(t, "", "lint", file)
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, file+":3:1: zone: unknown field")
}

// What steps write is linted, too: each finding once, with the step after which it is there.
func TestLintLooksAtAScenarioAfterEveryStep(t *testing.T) {
	t.Parallel()
	const text = `include: global/*.yaml
zones:
  east:
    services: {cart: {namespace: shop}}
policies:
  # meridian:ignore MZ0101 the service comes later
  east/shop/early: {kind: MeshTimeout, to: [{MeshService: later, default: {idleTimeout: 7s}}]}
  east/shop/fast: {kind: MeshTimeout, to: [{MeshService: cart, default: {connectionTimeout: 1s}}]}
steps:
  - partition: east
  - apply:
      east/shop/default:
        kind: MeshTimeout
        to:
          - {Mesh: , default: {connectionTimeout: 1m}}
  - apply: {east/shop/default: {to.0.default.connectionTimeout: 2m}}
  - delete: MeshTimeout global/kept
  - apply: global/kept
  - apply: {global/kept: {targetRef: {kind: Dataplane, labels: {app: nobody}}}}
  - addZone:
      west:
        proxies: {web: {namespace: front}}
        resources:
          - {type: MeshTimeout, name: lost, labels: {k8s.kuma.io/namespace: front}, spec: {targetRef: {kind: Dataplane, labels: {app: no}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}
    expect: [{nothing: that, lint: reads}]
  - removeZone: west
`
	dir := writeFiles(t, map[string]string{
		"a.scenario.yaml":  text,
		"global/kept.yaml": "type: MeshTimeout\nname: kept\nmesh: default\nspec: {targetRef: {kind: MeshSubset, tags: {app: cart}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1m}}]}\n",
	})
	file := dir + "/a.scenario.yaml"
	code, stdout, stderr := meridian(t, "", "lint", file)
	require.Zero(t, code, stderr)
	var found []string
	for line := range strings.Lines(stdout) {
		if rest, ok := strings.CutPrefix(line, dir+"/"); ok {
			place, _, _ := strings.Cut(rest, ": MeshTimeout")
			if _, step, ok := strings.Cut(rest, "(after "); ok {
				place += " " + strings.TrimSuffix(step, ")\n")
			}
			found = append(found, place)
		}
	}
	assert.Equal(t, []string{
		"global/kept.yaml:4:8: warning MZ0402",
		"a.scenario.yaml:15:14: warning MZ0201 steps[1]",
		"a.scenario.yaml:19:27: warning MZ0103 steps[5]",
		"a.scenario.yaml:24:92: warning MZ0103 steps[6]",
	}, found, stdout)

	_, stdout, _ = meridian(t, "", "lint", file, "-o", "json")
	var r lintReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	assert.Equal(t, "steps[1]", r.Findings[1].Step)
	assert.Empty(t, r.Findings[0].Step)

	// A step that cannot be is a mistake in the scenario; nothing is said of steps over manifests that are not valid.
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(text, "east/shop/default: {to.0.", "east/shop/defalt: {to.0.", 1)), 0o600))
	code, _, stderr = meridian(t, "", "lint", file)
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, file+":16:13: steps[2].apply.east/shop/defalt: unknown policy")
	require.NoError(t, os.WriteFile(dir+"/global/kept.yaml", []byte(badField), 0o600))
	code, stdout, stderr = meridian(t, "", "lint", file)
	assert.Equal(t, 1, code, stderr)
	assert.Contains(t, stdout, "MZ0005")
	assert.NotContains(t, stdout, "(after ")
}

// TestLintOfTheExamples is about false alarms, and about traps that the examples show on purpose: those say so.
func TestLintOfTheExamples(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := meridian(t, "", "lint", "../../examples", "--fail-on", "warn")
	assert.Zero(t, code, stderr)
	assert.Regexp(t, `^0 errors and 0 warnings in \d\d+ documents\n$`, stdout)
}

func TestLintSaysTheSameToPrograms(t *testing.T) {
	t.Parallel()
	dir := writeFiles(t, map[string]string{"a.yaml": oldSubset})
	file := filepath.Join(dir, "a.yaml")

	code, stdout, _ := meridian(t, "", "lint", dir, "-o", "json")
	require.Zero(t, code)
	var r lintReport
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.Len(t, r.Findings, 1)
	assert.Equal(t, []int{1, 0, 1}, []int{r.Documents, r.Errors, r.Warnings})
	assert.Equal(t, lint.DeprecatedTargetRef, r.Findings[0].Code)
	assert.Equal(t, "kri_mt_default___old_", r.Findings[0].Resource)

	_, stdout, _ = meridian(t, "", "lint", dir, "-o", "yaml")
	assert.Contains(t, stdout, "code: MZ0402")

	_, stdout, _ = meridian(t, "", "lint", dir, "-o", "github")
	assert.Contains(t, stdout, "::warning file="+file+",line=4,col=3,title=MeshTimeout default/old MZ0402::MeshTimeout default/old: spec.targetRef: kind MeshSubset")

	_, stdout, _ = meridian(t, "", "lint", dir, "-o", "sarif")
	var log sarifLog
	require.NoError(t, json.Unmarshal([]byte(stdout), &log))
	require.Len(t, log.Runs[0].Results, 1)
	result := log.Runs[0].Results[0]
	assert.Equal(t, "MZ0402", result.RuleID)
	assert.Equal(t, "MZ0402", log.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID)
	assert.Contains(t, log.Runs[0].Tool.Driver.Rules[result.RuleIndex].Help.Text, "docs/lint/MZ0402.md")
	assert.Equal(t, &sarifRegion{4, 3}, result.Locations[0].Physical.Region)

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	code, stdout, _ = meridian(t, "", "lint", dir, "-o", "json")
	assert.Equal(t, 5, code)
	assert.Empty(t, stdout)
}
