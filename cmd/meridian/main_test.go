package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/contexts"
	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/zone"
)

// TestMain keeps the contexts of whoever runs the tests out of them, and is the command line over a broken protocol where it is asked to be.
func TestMain(m *testing.M) {
	os.Setenv(contexts.Variable, filepath.Join(os.TempDir(), "meridian-no-such-folder", "contexts.yaml"))
	if fault := os.Getenv(faulty); fault != "" {
		kds.Break(kds.Fault(fault))
		os.Exit(config.Run(context.Background(), command(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// meridian runs the command line in this process.
func meridian(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut strings.Builder
	cmd := command()
	cmd.SetIn(strings.NewReader(stdin))
	code = config.Run(t.Context(), cmd, args, &out, &errOut)
	return code, out.String(), errOut.String()
}

// newZone returns the address of a zone that stands alone.
func newZone(t *testing.T) (address string, handler http.Handler) {
	t.Helper()
	z, err := zone.Open(zone.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true, NoKeys: true}, Name: "east"})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- z.Run(ctx) }()
	server := httptest.NewServer(z.Handler())
	t.Cleanup(func() {
		server.Close()
		stop()
		assert.NoError(t, <-ended)
		assert.NoError(t, z.Close())
	})
	return server.URL, z.Handler()
}

const web = `type: Dataplane
mesh: default
name: web
labels: {k8s.kuma.io/namespace: shop}
networking:
  address: 192.0.2.1
  inbound: [{name: http, port: 8080, tags: {kuma.io/service: web, app: web}}]
`

const backend = `type: MeshService
mesh: default
name: backend
labels: {k8s.kuma.io/namespace: shop}
spec:
  selector: {dataplaneTags: {app: backend}}
  ports: [{name: http, port: 80, targetPort: 8080, appProtocol: http}]
`

const producer = `apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata: {name: slow, namespace: shop}
spec:
  to:
    - targetRef: {kind: MeshService, name: backend}
      default: {http: {requestTimeout: 1s}}
`

func apply(t *testing.T, address string, docs ...string) {
	t.Helper()
	code, _, stderr := meridian(t, strings.Join(docs, "---\n"), "--address", address, "apply", "-f", "-")
	require.Equal(t, 0, code, stderr)
}

func TestApplySaysWhatBecameOfEachDocument(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	apply(t, address, web, backend)
	code, stdout, stderr := meridian(t, producer, "--address", address, "apply", "-f", "-", "--dry-run")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `^meshtimeout slow\.shop created \(dry run\) +producer\n$`, stdout)
	code, stdout, stderr = meridian(t, producer, "--address", address, "apply", "-f", "-")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, "meshtimeout slow.shop created  producer  matches 1 proxy\n", stdout)
	_, stdout, _ = meridian(t, producer, "--address", address, "apply", "-f", "-")
	assert.Equal(t, "meshtimeout slow.shop unchanged  producer  matches 1 proxy\n", stdout)
	_, stdout, _ = meridian(t, strings.Replace(producer, "1s", "2s", 1), "--address", address, "apply", "-f", "-")
	assert.Equal(t, "meshtimeout slow.shop updated  producer  matches 1 proxy\n", stdout)
}

func TestApplyTellsEveryErrorOfEveryFileAndSendsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.yaml":       producer,
		"b.yml":        strings.ReplaceAll(producer, "requestTimeout: 1s", "requestTimeout: soon"),
		"sub/c.json":   `{"type":"MeshTimeuot","name":"x"}`,
		"sub/note.txt": "not a document",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	unreachable := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) }))
	defer unreachable.Close()
	code, stdout, stderr := meridian(t, "", "--address", unreachable.URL, "apply", "-f", dir)
	assert.Equal(t, 2, code)
	assert.Empty(t, stdout)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	require.Len(t, lines, 3, stderr)
	assert.Contains(t, lines[0], filepath.Join(dir, "b.yml")+":7: MeshTimeout default/slow.shop: spec.to[0].default.http.requestTimeout: ")
	assert.Contains(t, lines[1], filepath.Join(dir, "sub/c.json")+":1: ")
	assert.Contains(t, lines[1], "did you mean MeshTimeout?")
	assert.Equal(t, "meridian: 2 bad documents, nothing was done", lines[2])
}

func TestApplyTellsTheServersErrorsByFile(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	file := filepath.Join(t.TempDir(), "p.yaml")
	elsewhere := strings.Replace(producer, "{name: slow,", "{labels: {kuma.io/mesh: payments}, name: slow,", 1)
	require.NoError(t, os.WriteFile(file, []byte(backend+"---\n"+elsewhere), 0o600))

	code, stdout, stderr := meridian(t, "", "--address", address, "apply", "-f", file)
	assert.Equal(t, 2, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, file+":9: document 2: MeshTimeout payments/slow.shop: Failed to retrieve Mesh: Not found")
	assert.Contains(t, stderr, "1 bad document, nothing was done")
	_, stdout, _ = meridian(t, "", "--address", address, "get", "meshservices")
	assert.NotContains(t, stdout, "backend")

	code, stdout, stderr = meridian(t, "", "--address", address, "apply", "--keep-going", "-f", file)
	assert.Equal(t, 2, code)
	assert.Equal(t, "meshservice backend.shop created\n", stdout)
	assert.Contains(t, stderr, "meridian: 1 bad document left out")
}

func TestApplyOfNothingIsAMistake(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, args := range [][]string{{"apply"}, {"apply", "-f", empty}, {"apply", "-f", filepath.Join(empty, "none.yaml")}, {"apply", "-f", "-"}} {
		code, _, stderr := meridian(t, "# nothing\n", args...)
		assert.Equal(t, 2, code, "%v", args)
		assert.NotEmpty(t, stderr)
	}
}

func TestGetShowsAuthorsNames(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	apply(t, address, web, backend, producer)
	for _, kind := range []string{"meshtimeout", "meshtimeouts", "mt", "MeshTimeout"} {
		code, stdout, stderr := meridian(t, "", "--address", address, "get", kind)
		require.Equal(t, 0, code, stderr)
		assert.Regexp(t, `^NAME +NAMESPACE +ZONE +ROLE +AGE\nslow +shop +east +producer +\d+s\n$`, stdout)
	}
	const kri = "kri_mt_default_east_shop_slow_"
	for _, name := range []string{"slow", "slow.shop", kri} {
		code, stdout, stderr := meridian(t, "", "--address", address, "get", "mt", name, "-o", "wide")
		require.Equal(t, 0, code, stderr)
		assert.Regexp(t, `\nslow .* slow\.shop +`+kri+`\n$`, stdout)
	}
	code, _, stderr := meridian(t, "", "--address", address, "get", "mt", "slo")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `"slow"`, "the nearest name")
	code, _, stderr = meridian(t, "", "--address", address, "get", "mt", "--mesh", "defualt")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `mesh "defualt" not found; did you mean default?`)
	_, stdout, _ := meridian(t, "", "--address", address, "get", "mt", "-A", "-m", "other")
	assert.Regexp(t, `^MESH +NAME .*\ndefault +slow `, stdout)
}

func TestWhatGetPrintsCanBeApplied(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	apply(t, address, web, backend, producer)
	for _, form := range []string{"universal", "kubernetes"} {
		for _, kind := range []string{"dataplanes", "meshservices", "meshtimeouts"} {
			code, yaml, stderr := meridian(t, "", "--address", address, "get", kind, "-o", "yaml", "--format", form)
			require.Equal(t, 0, code, stderr)
			code, stdout, stderr := meridian(t, yaml, "--address", address, "apply", "-f", "-")
			require.Equal(t, 0, code, "%s\n%s", stderr, yaml)
			assert.Contains(t, stdout, " unchanged", "%s", yaml)
			assert.Equal(t, form == "kubernetes", strings.Contains(yaml, "apiVersion: kuma.io/v1alpha1"))
		}
	}
}

func TestDeleteLooksBeforeItDeletes(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	apply(t, address, web, backend, producer)
	code, stdout, _ := meridian(t, "", "--address", address, "delete", "meshtimeout", "slow", "fast")
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout, "one name is wrong: nothing is deleted")
	code, stdout, stderr := meridian(t, "", "--address", address, "delete", "meshtimeout", "slow")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, "meshtimeout slow.shop deleted\n", stdout)
	code, stdout, stderr = meridian(t, web+"---\n"+backend, "--address", address, "delete", "-f", "-")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, "meshservice backend.shop deleted\ndataplane web.shop deleted\n", stdout)
}

func TestInspectSaysWhichPolicyIsInForce(t *testing.T) {
	t.Parallel()
	address, handler := newZone(t)
	apply(t, address, web, backend, producer)
	code, stdout, stderr := meridian(t, "", "--address", address, "inspect", "dataplane", "web", "--type", "mt", "--to", "backend")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `^DESTINATION +FIELD +VALUE +POLICY +ROLE +ZONE\n`+
		`backend\.shop \(east\) +meshtimeout http\.requestTimeout +1s +slow\.shop +producer +east\n$`, stdout)
	assert.Empty(t, stderr)

	since := time.Now().Add(-3 * time.Minute).UTC().Format(time.RFC3339)
	stale := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Meridian-Stale-Since", since)
		handler.ServeHTTP(w, r)
	}))
	defer stale.Close()
	code, stdout, stderr = meridian(t, "", "--address", stale.URL, "inspect", "dataplane", "web")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^anything else +- `, stdout)
	assert.Regexp(t, `(?m)^inbound http :8080 +- `, stdout)
	assert.Regexp(t, `without its global control plane for 3m\ds`, stderr)
}

func TestUnknownWordsNameTheNearest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"aplly", "did you mean apply?"},
		{"gte mt", "did you mean get?"},
		{"help sync staus", `unknown command "sync staus"`},
		{"sim matrix none", `required flag(s) "type" not set`},
		{"sim run none", "none: there is no such file or folder"},
		{"get mt --token @none", "--token: open none"},
		{"get mt --tls-ca none", "--tls-ca: open none"},
		{"get mt --tls-ca main.go", "main.go holds no PEM certificate"},
		{"generate zone-token --zone e --valid-for 1h --kid 1 --signing-key-path none", "--signing-key-path: open none"},
		{"get meshtimeuots", "did you mean meshtimeouts?"},
		{"get meshtimeouts --al-meshes", "did you mean --all-meshes?"},
		{"get meshtimeouts -o yml", "did you mean yaml?"},
		{"inspect dataplan x", "did you mean dataplane?"},
		{"get", "accepts between 1 and 2 arg(s), received 0"},
		{"get mt kri_nonsense", "KRI"},
		{"get mt kri_dp_default___x_", "is a Dataplane, not a MeshTimeout"},
		{"--address ftp://x get mt", "want http://HOST:PORT"},
	} {
		code, stdout, stderr := meridian(t, "", strings.Fields(c.args)...)
		assert.Equal(t, 2, code, c.args)
		assert.Empty(t, stdout, c.args)
		assert.Contains(t, stderr, c.want, c.args)
	}
}

func TestUnknownNamesAreAnsweredWithTheNearest(t *testing.T) {
	t.Parallel()
	address, _ := newZone(t)
	apply(t, address, producer)
	for args, want := range map[string]string{
		"get mt solw":             `nearest: "slow" (namespace "shop"`,
		"delete mt solw":          `nearest: "slow" (namespace "shop"`,
		"inspect policy mt slowe": `nearest: "slow" (namespace "shop"`,
		"get mt x -m defualt":     `mesh "defualt" not found; did you mean default?`,
		"zones disable east":      "is the control plane of zone east: ask the global one",
		"zones delete west":       "is the control plane of zone east: ask the global one",
	} {
		code, stdout, stderr := meridian(t, "", append([]string{"--address", address}, strings.Fields(args)...)...)
		assert.Equal(t, 1, code, args)
		assert.Empty(t, stdout, args)
		assert.Contains(t, stderr, want, args)
	}
	code, stdout, stderr := meridian(t, "", "--address", address, "api", "/none")
	assert.Equal(t, 1, code)
	assert.Equal(t, "404 page not found\nmeridian: GET /none: 404 Not Found\n", stdout+stderr, "what the API says is said once")
}

func TestDocumentsComeFromAnAddress(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/web.yaml":
			fmt.Fprint(w, web)
		case "/bad.yaml":
			fmt.Fprint(w, "a: [")
		default:
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	address, _ := newZone(t)
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/web.yaml":  {0, "dataplane web.shop created"},
		"/bad.yaml":  {2, site.URL + "/bad.yaml:1: not valid YAML"},
		"/none.yaml": {1, "GET " + site.URL + "/none.yaml: 404 Not Found"},
	} {
		code, stdout, stderr := meridian(t, "", "--address", address, "apply", "-f", site.URL+path)
		assert.Equal(t, want.code, code, path)
		assert.Contains(t, stdout+stderr, want.text, path)
	}
}

func TestNoAnswerSaysWhichAddress(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	code, _, stderr := meridian(t, "", "--address", server.URL, "get", "mt")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, server.URL+" does not answer (--address, MERIDIAN_ADDRESS): ")
}

func TestAPIOverFilesNeedsNoControlPlane(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join([]string{web, backend, producer}, "---\n")), 0o600))
	code, stdout, stderr := meridian(t, "", "api", "/meshes/default/meshtimeouts", "-f", file)
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, `"kuma.io/policy-role": "producer"`, "documents are applied: labels are computed")

	code, stdout, _ = meridian(t, "", "api", "/meshes/default/meshtimeouts", "-f", file, "--as-stored")
	assert.Equal(t, 1, code, "no mesh is in the file, and none is made")
	assert.Contains(t, stdout, `"status": 404`)
	mesh := filepath.Join(t.TempDir(), "default.yaml")
	require.NoError(t, os.WriteFile(mesh, []byte("type: Mesh\nname: default\n"), 0o600))
	code, stdout, stderr = meridian(t, "", "api", "/meshes/default/meshtimeouts", "-f", file, "-f", mesh, "--as-stored")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, `"name": "slow"`)
	assert.NotContains(t, stdout, "policy-role", "the labels are as written")
}

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 42*time.Second + 999*time.Millisecond: "42s", 5*time.Minute + 10*time.Second: "5m10s",
		3*time.Hour + 20*time.Minute: "3h20m", 4*24*time.Hour + 7*time.Hour: "4d7h",
	} {
		assert.Equal(t, want, age(now.Add(-d), now))
	}
	assert.Equal(t, "-", age(time.Time{}, now))
}

func TestZonesAreOnlineWhileASubscriptionIsOpen(t *testing.T) {
	t.Parallel()
	at := func(clock string) string { return "2026-01-02T" + clock + "Z" }
	for _, c := range []struct{ subscriptions, status, since string }{
		{`[{"connectTime":"` + at("01:00:00") + `"}]`, "Stalled", at("01:30:00")},
		{`[]`, "Offline", "0001-01-01T00:00:00Z"},
		{`[{"connectTime":"` + at("01:00:00") + `","disconnectTime":"` + at("02:00:00") + `"}]`, "Offline", at("02:00:00")},
		{`[{"connectTime":"` + at("01:00:00") + `","disconnectTime":"` + at("02:00:00") + `"},{"connectTime":"` + at("03:00:00") + `"}]`, "Online", at("03:00:00")},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				w.Write([]byte(`{"mode":"global"}`))
				return
			}
			if r.URL.Path == "/status/sync" {
				if c.status == "Stalled" {
					w.Write([]byte(`{"peers":[{"zone":"east","state":"stalled","since":"` + c.since + `"}]}`))
				} else {
					w.WriteHeader(http.StatusNotFound) // Kuma
				}
				return
			}
			w.Write([]byte(`{"items":[{"type":"ZoneOverview","name":"east","zone":{"enabled":false},"zoneInsight":{"subscriptions":` + c.subscriptions + `}}]}`))
		}))
		defer server.Close()
		since, err := time.Parse(time.RFC3339, c.since)
		require.NoError(t, err)
		code, stdout, stderr := meridian(t, "", "--address", server.URL, "zones")
		require.Equal(t, 0, code, stderr)
		ago := age(since, time.Now())
		assert.Regexp(t, `(?m)^east +`+c.status+` +`+ago[:len(ago)/2], stdout)
		assert.Contains(t, stdout, "false", "disabled")
	}
}

func TestAKindIsCalledAsPeopleLike(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"GlobalSecret", "global-secret", "global-secrets", "globalsecret", "GlobalSecrets"} {
		d, err := kindNamed(word)
		require.NoError(t, err, word)
		assert.Equal(t, "GlobalSecret", d.Kind, word)
	}
	_, err := kindNamed("-")
	assert.ErrorContains(t, err, "unknown kind")
}
