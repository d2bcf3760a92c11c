package main

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const explainMesh = "testdata/explain/mesh.yaml"

func requireGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestExplainSaysItInWords runs explain over testdata/explain/mesh.yaml; the first line of a golden file has the
// arguments.
func TestExplainSaysItInWords(t *testing.T) {
	t.Parallel()
	for name, args := range map[string]string{
		"destination":     "web --to cart",
		"field":           "web --to cart --field requestTimeout",
		"section":         "web --to kri_msvc_default_east_shop_cart_admin --field http",
		"whole-mesh":      "web --to pay",
		"item-and-name":   "web --to pay --field idleTimeout",
		"nobody-set-it":   "web --to pay --type mt --field http.streamIdleTimeout",
		"no-such-policy":  "web --to pay --type meshretry",
		"nothing-for-any": "web.first --from 9090 --type mt",
		"inbounds":        "web",
		"client":          "web --from http,app=shop",
		"the-proxy":       "web --type meshtrace --field spec.default.sampling.overall",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := meridian(t, "", append(append([]string{"explain"}, strings.Fields(args)...), "-f", explainMesh, "--as-stored")...)
			require.Equal(t, 0, code, stderr)
			assert.Empty(t, stderr)
			requireGolden(t, "testdata/explain/"+name+".txt", "$ meridian explain "+args+"\n"+stdout)
		})
	}
}

func TestExplainForPrograms(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := meridian(t, "", "explain", "web", "--to", "cart", "--field", "http.requestTimeout", "-f", explainMesh, "--as-stored", "-o", "json")
	require.Equal(t, 0, code, stderr)
	var e explanation
	require.NoError(t, json.Unmarshal([]byte(stdout), &e))
	assert.Equal(t, "kri_dp_default_east_first_web_", e.Dataplane.KRI)
	require.Len(t, e.Answers, 2, "the service, and its port that has an item of its own")
	a := e.Answers[0]
	assert.Equal(t, "kri_msvc_default_east_shop_cart_", a.Destination.KRI)
	assert.Equal(t, stateSet, a.State)
	assert.Equal(t, "3s", a.Value)
	assert.Equal(t, "consumer-timeout", a.Origin.Name)
	assert.Equal(t, "producer-timeout", a.Losers[0].Origin.Name)
	assert.Equal(t, policy.ByRole, a.Losers[0].By)
	assert.Equal(t, "a consumer's word counts more than a producer's", a.Losers[0].Because)
	_, yaml, _ := meridian(t, "", "explain", "web", "--to", "cart", "-f", explainMesh, "--as-stored", "-o", "yaml")
	assert.Contains(t, yaml, "because: a consumer's word counts more than a producer's\n")
}

func TestExplainNamesTheNearest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"web --to carts", 1, `no destination of the mesh goes by "carts"; did you mean cart?; known: cart.shop, pay`},
		{"wev --to cart", 1, `nearest: "web" (namespace "first", zone "east", kri_dp_default_east_first_web_)`},
		{"web --from htp", 1, `dataplane "web": it has no inbound "htp"; did you mean http?`},
		{"web --to cart --type meshtimeot", 2, "did you mean meshtimeout?"},
		{"web --to cart --type meshservice", 2, "MeshService is no policy that is resolved"},
		{"web --to cart --field requestTimeuot", 2, `no field "requestTimeuot" in the settings of a policy; did you mean http.requestTimeout?; --type KIND lists`},
		{"web --to cart --type mt --field timeout", 2, "; known: connectionTimeout, http.maxConnectionDuration, "},
		{"web --type meshretry", 2, "a MeshRetry is about traffic to a destination: say which with --to"},
		{"web --to cart --type mtp", 2, "a MeshTrafficPermission has no say there: leave --to and --from out"},
		{"web --as-stored", 2, "--as-stored needs -f"},
	} {
		args := append([]string{"explain"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--as-stored") {
			args = append(args, "-f", explainMesh, "--as-stored")
		}
		code, stdout, stderr := meridian(t, "", args...)
		assert.Equal(t, c.code, code, c.args)
		assert.Empty(t, stdout, c.args)
		assert.Contains(t, stderr, c.want, c.args)
	}
}

func TestEveryComparatorHasWords(t *testing.T) {
	t.Parallel()
	roles := []string{resource.RoleSystem, resource.RoleProducer, resource.RoleConsumer, resource.RoleWorkloadOwner}
	for _, by := range []policy.Comparator{policy.ByKind, policy.ByOrigin, policy.ByRole, policy.ByToKind, policy.BySection, policy.ByName, policy.ByItem} {
		for _, role := range roles {
			words := because(policy.Origin{Name: "a", Role: role}, policy.Loser{Origin: policy.Origin{Name: "b", Role: role}, By: by})
			assert.NotEqual(t, string(by), words)
			assert.NotContains(t, words, "  ", "a role without words")
		}
	}
}

func TestExplainAndInspectWarnOfOldKnowledge(t *testing.T) {
	t.Parallel()
	address, handler := newZone(t)
	apply(t, address, web, backend, producer)
	for header, want := range map[string]string{
		"zone=east; state=online; revision=3; age=4s":       "",
		"zone=east; state=offline; revision=3; age=5m2s":    "warning: zone east is offline and was last heard of 5m2s ago: what has changed there since is not in this view\n",
		"zone=east; state=unknown; revision=3; age=unknown": "warning: zone east was never connected: what is there may not be in this view\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Meridian-Knowledge", header)
			handler.ServeHTTP(w, r)
		}))
		defer server.Close()
		for _, command := range []string{"explain web --to backend", "inspect dataplane web", "inspect policy mt slow"} {
			code, _, stderr := meridian(t, "", append([]string{"--address", server.URL}, strings.Fields(command)...)...)
			assert.Equal(t, 0, code)
			assert.Equal(t, want, stderr, command)
		}
	}
}

func TestInspectPolicySaysWhereItWinsAndLoses(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string, string) {
		return meridian(t, "", append([]string{"inspect", "policy"}, append(args, "-f", explainMesh, "--as-stored")...)...)
	}
	code, stdout, stderr := run("mt", "producer-timeout")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, `meshtimeout producer-timeout of shop (producer, zone east) configures 1 proxy

web.first (east)
  to cart.shop (east): connectionTimeout 2s loses by role to consumer-timeout of first (consumer, zone east)
  to cart.shop (east): http.requestTimeout 1s loses by role to consumer-timeout of first (consumer, zone east)
  to cart.shop:admin (east): connectionTimeout 2s loses by role to consumer-timeout of first (consumer, zone east)
  to cart.shop:admin (east): http.requestTimeout 8s loses by role to consumer-timeout of first (consumer, zone east)
  to cart.shop:admin (east): http.requestTimeout 1s loses by role to consumer-timeout of first (consumer, zone east)
`, stdout)
	_, stdout, _ = run("mt", "consumer-timeout")
	assert.Contains(t, stdout, "  to cart.shop (east): connectionTimeout is removed (null)\n  to cart.shop (east): http.requestTimeout 3s is in force\n")
	_, stdout, _ = run("mtp", "of-web")
	assert.Contains(t, stdout, "  inbound http :8080 from app=shop: action Allow is in force\n  inbound http :8080 from app=shop: action Deny loses by item to of-web of first")
	_, stdout, _ = run("meshtrace", "traces-of-web")
	assert.Contains(t, stdout, "  the proxy: sampling.overall 5 is in force\n")
	_, stdout, _ = run("mt", "trial")
	assert.Contains(t, stdout, "meshtimeout trial (system, zone east) is a trial (kuma.io/effect: shadow), never in force; it would configure 1 proxy\n")
	_, stdout, _ = run("mt", "some", "-o", "json")
	assert.Contains(t, stdout, `"effects": []`)
	_, stdout, _ = run("mt", "some")
	assert.Regexp(t, `^meshtimeout some \(system, global\) configures 0 proxies\n\n.*selects no proxy`, stdout)
	code, _, stderr = run("mt", "consumer-timeot")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `nearest: "consumer-timeout"`)
	code, _, stderr = run("dataplane", "web")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "Dataplane is no policy that selects proxies by targetRef")
}

func TestInspectOverFilesNeedsNoControlPlane(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{web, backend, producer}, "---\n")), 0o600))
	code, stdout, stderr := meridian(t, "", "inspect", "dataplane", "web", "--to", "backend", "-f", file)
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `meshtimeout http\.requestTimeout +1s +slow\.shop +producer`, stdout, "documents are applied: the role is computed")
	code, _, stderr = meridian(t, "", "inspect", "dataplane", "web", "-f", filepath.Join(t.TempDir(), "none"))
	assert.Equal(t, 2, code)
	assert.Regexp(t, `^meridian: .*/none: there is no such file or folder\n$`, stderr)
}

func TestZoneOfATableIsWhereItWasWritten(t *testing.T) {
	t.Parallel()
	timeout, _ := resource.LookupKind("MeshTimeout")
	insight, _ := resource.LookupKind("ZoneInsight")
	proxy, _ := resource.LookupKind("Dataplane")
	for _, c := range []struct {
		kind         resource.Descriptor
		zone, origin string
		onGlobal     bool
		want         string
	}{
		{timeout, "east", "zone", false, "east"},
		{timeout, "west", "global", false, "west"}, // synced to another zone
		{timeout, "", "global", false, "global"},
		{timeout, "", "", true, "global"},
		{timeout, "", "", false, "-"},
		{insight, "", "", true, "-"},
		{proxy, "", "", true, "-"},
	} {
		labels := map[string]string{resource.LabelZone: c.zone, resource.LabelOrigin: c.origin}
		assert.Equal(t, c.want, writtenAt(c.kind, resource.Resource{Labels: labels}, c.onGlobal), "%+v", c)
	}
}

func TestShellWord(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"bin/meridian": "bin/meridian", "/a b/meridian": "'/a b/meridian'", "it's": `'it'\''s'`, "": "''", "~x": "'~x'",
	} {
		assert.Equal(t, want, shellWord(word))
	}
}
