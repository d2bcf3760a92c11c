package zone_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/test/bufconn"

	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/global"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone"
)

func call(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// running runs a plane until the returned function is called, which reports its error.
func running(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		assert.NoError(t, <-ended)
	}
}

const policyBody = `{"type":"MeshTimeout","mesh":"default","name":"t","spec":{"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"1s"}}]}}`

func TestAZoneAndItsGlobalProveThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, err := global.Open(global.Config{Config: control.Config{DataDir: dir, NoSync: true}, KDSAddr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer g.Close()
	defer running(t, g.Run)()

	issue := httptest.NewRequest("POST", "/tokens/zone", strings.NewReader(`{"zone":"east","scope":["cp"]}`))
	issue.RemoteAddr, issue.Host = "127.0.0.1:1", "localhost"
	issue.Header.Set("Content-Type", "application/json")
	token := httptest.NewRecorder()
	g.Handler().ServeHTTP(token, issue)
	require.Equal(t, http.StatusOK, token.Code, token.Body)
	z, err := zone.Open(zone.Config{
		Config: control.Config{DataDir: t.TempDir(), NoSync: true},
		Name:   "east",
		Global: g.KDSURL(),
		TLSCA:  filepath.Join(dir, "kds.crt"),
		Token:  token.Body.String(),
	})
	require.NoError(t, err)
	defer z.Close()
	assert.Equal(t, http.StatusNotFound, call(z.Handler(), "GET", "/meshes/default", "").Code, "meshes come from global")
	defer running(t, z.Run)()

	require.Equal(t, http.StatusOK, call(z.Handler(), "GET", "/meshes/default?wait=30s", "").Code)
	require.Equal(t, http.StatusCreated, call(g.Handler(), "PUT", "/meshes/default/meshtimeouts/t", policyBody).Code)
	require.Equal(t, http.StatusOK, call(z.Handler(), "GET", "/meshes/default/meshtimeouts/kri_mt_default___t_?wait=30s", "").Code)
	assert.True(t, z.Link().Connected)
	for path, handler := range map[string]http.Handler{
		"/meshes/default/secrets/dataplane-token-signing-key-default-1": z.Handler(), // its proxies' tokens are verified there
		"/global-secrets/zone-token-signing-public-key-1":               z.Handler(),
		"/global-secrets/zone-token-signing-key-1":                      g.Handler(),
	} {
		r := httptest.NewRequest("GET", path+"?wait=30s", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
		a := httptest.NewRecorder()
		handler.ServeHTTP(a, r)
		assert.Equal(t, http.StatusOK, a.Code, "%s: %s", path, a.Body)
	}
	of := func(h http.Handler) any {
		var index struct{ ClusterID string }
		require.NoError(t, json.Unmarshal(call(h, "GET", "/", "").Body.Bytes(), &index))
		return index.ClusterID
	}
	assert.NotEmpty(t, of(g.Handler()))
	assert.Equal(t, of(g.Handler()), of(z.Handler()), "one name of the federation")
	assert.Empty(t, call(z.Handler(), "GET", "/", "").Header().Get("Meridian-Stale-Since"))
}

func TestADataDirectoryBelongsToOneZoneForEver(t *testing.T) {
	t.Parallel()
	config := zone.Config{Name: "east", Config: control.Config{DataDir: t.TempDir(), NoSync: true}}
	z, err := zone.Open(config)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, call(z.Handler(), "PUT", "/meshes/default/meshtimeouts/t", policyBody).Code)
	require.NoError(t, z.Close())
	for _, global := range []string{"", "grpc://global:5685"} {
		renamed := config
		renamed.Name, renamed.Global = "west", global
		_, err = zone.Open(renamed)
		require.Error(t, err)
		assert.ErrorContains(t, err, "east")
		assert.ErrorContains(t, err, "west")
	}
	z, err = zone.Open(config)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, call(z.Handler(), "GET", "/meshes/default/meshtimeouts/t", "").Code, "nothing was lost by trying")
	require.NoError(t, z.Close())
}

func TestAZoneServesAndWritesWithoutItsGlobal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine is left
		wire := bufconn.Listen(1 << 16)
		z, err := zone.Open(zone.Config{
			Config: control.Config{DataDir: t.TempDir(), NoSync: true, HTTPListener: bufconn.Listen(1 << 16)},
			Name:   "east",
			Global: "grpc://global:5685",
			Dialer: func(ctx context.Context, address string) (net.Conn, error) {
				assert.Equal(t, "global:5685", address)
				return wire.DialContext(ctx)
			},
		})
		require.NoError(t, err)
		defer z.Close()
		started := time.Now().UTC()
		stop := running(t, z.Run)
		defer stop()
		h := z.Handler()
		a := call(h, "GET", "/readyz", "")
		assert.Equal(t, http.StatusOK, a.Code, "ready without global")
		assert.Equal(t, started.Format(time.RFC3339), a.Header().Get("Meridian-Stale-Since"))

		g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true}, KDSListener: wire, Insecure: true})
		require.NoError(t, err)
		defer g.Close()
		stopGlobal := running(t, g.Run)
		require.Equal(t, http.StatusOK, call(h, "GET", "/meshes/default?wait=2m", "").Code)
		synctest.Wait()
		a = call(h, "GET", "/status/global", "")
		assert.Empty(t, a.Header().Get("Meridian-Stale-Since"))
		var link struct{ Connected bool }
		require.NoError(t, json.Unmarshal(a.Body.Bytes(), &link))
		assert.True(t, link.Connected)

		lost := time.Now().UTC()
		stopGlobal()
		synctest.Wait()
		time.Sleep(time.Hour)
		a = call(h, "PUT", "/meshes/default/meshtimeouts/t", policyBody)
		assert.Equal(t, http.StatusCreated, a.Code, "its own writes go on")
		assert.Equal(t, lost.Format(time.RFC3339), a.Header().Get("Meridian-Stale-Since"))
		assert.Equal(t, http.StatusOK, call(h, "GET", "/meshes/default", "").Code)
	})
}

func TestAZoneThatStandsAlone(t *testing.T) {
	t.Parallel()
	c := zone.Config{Config: control.Config{DataDir: t.TempDir(), HTTPAddr: "127.0.0.1:0", NoSync: true}, Name: "east"}
	z, err := zone.Open(c)
	require.NoError(t, err)
	stop := running(t, z.Run)
	assert.Regexp(t, `^http://127\.0\.0\.1:[1-9]\d*$`, z.URL())
	assert.Equal(t, http.StatusOK, call(z.Handler(), "GET", "/meshes/default", "").Code)
	assert.Equal(t, http.StatusOK, call(z.Handler(), "GET", "/zones/east", "").Code)
	assert.Equal(t, http.StatusNotFound, call(z.Handler(), "GET", "/status/global", "").Code)
	assert.Equal(t, http.StatusOK, call(z.Handler(), "DELETE", "/meshes/default", "").Code, "it owns everything")
	stop()
	require.NoError(t, z.Close())
	require.NoError(t, z.Close(), "twice")

	z, err = zone.Open(c)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNotFound, call(z.Handler(), "GET", "/meshes/default", "").Code, "deleted stays deleted")
	require.NoError(t, z.Close())

	c.Name = "west"
	_, err = zone.Open(c)
	require.Error(t, err)
	assert.ErrorContains(t, err, c.DataDir)
	assert.ErrorContains(t, err, "it is that of zone east, not of zone west")
}

func TestDefaultPoliciesAreMadeWhereMeshesAre(t *testing.T) {
	t.Parallel()
	open := func(c zone.Config) *zone.Zone {
		c.Config = control.Config{DataDir: t.TempDir(), NoSync: true, NoKeys: true, DefaultPolicies: true}
		c.Name = "east"
		z, err := zone.Open(c)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, z.Close()) })
		return z
	}
	alone := open(zone.Config{}).Handler()
	assert.Equal(t, http.StatusCreated, call(alone, "PUT", "/meshes/shop", `{"type":"Mesh","name":"shop"}`).Code)
	assert.Equal(t, http.StatusOK, call(alone, "GET", "/meshes/default/meshtimeouts/mesh-gateways-timeout-all-default", "").Code)
	assert.Equal(t, http.StatusOK, call(alone, "GET", "/meshes/shop/meshretries/mesh-retry-all-shop", "").Code)

	joined := open(zone.Config{Global: "grpc://127.0.0.1:1"})
	err := joined.Store().View(t.Context(), "", func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			require.NoError(t, err)
			assert.Equal(t, "Zone east", r.Key.String(), "meshes and what they start with come from global")
		}
		return nil
	})
	require.NoError(t, err)
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	ok := zone.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true}, Name: "east"}
	for name, c := range map[string]struct {
		change func(*zone.Config)
		want   string
	}{
		"no name":          {func(c *zone.Config) { c.Name = "" }, "--name must be given"},
		"not a DNS name":   {func(c *zone.Config) { c.Name = "East.1" }, `--name "East.1"`},
		"too long":         {func(c *zone.Config) { c.Name = strings.Repeat("a", 64) }, "at most 63"},
		"no directory":     {func(c *zone.Config) { c.DataDir = "" }, "--data-dir"},
		"no scheme":        {func(c *zone.Config) { c.Global = "host:5685" }, "want grpcs://HOST:PORT"},
		"no port":          {func(c *zone.Config) { c.Global = "grpcs://host" }, "want grpcs://HOST:PORT"},
		"CA in plain text": {func(c *zone.Config) { c.Global, c.TLSCA = "grpc://host:1", "x" }, "--tls-ca"},
		"CA and none":      {func(c *zone.Config) { c.Global, c.TLSCA, c.TLSSkipVerify = "grpcs://host:1", "x", true }, "--tls-skip-verify excludes"},
		"no such CA":       {func(c *zone.Config) { c.Global, c.TLSCA = "grpcs://host:1", "none.crt" }, "none.crt"},
		"no such feature":  {func(c *zone.Config) { c.Without = []string{"verdicts"} }, `--act-without "verdicts": want features of the sync: `},
		"no port in addr":  {func(c *zone.Config) { c.HTTPAddr = "localhost" }, "--http-addr: want HOST:PORT"},
	} {
		config := ok
		c.change(&config)
		_, err := zone.Open(config)
		require.Error(t, err, name)
		assert.ErrorContains(t, err, c.want, name)
	}
	z, err := zone.Open(ok)
	require.NoError(t, err, "no refusal left a lock or half a store behind")
	require.NoError(t, z.Close())
}

func TestAZoneServesItsAPIOverTLSWithACertificateOfItsOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	z, err := zone.Open(zone.Config{Config: control.Config{DataDir: dir, HTTPSAddr: "127.0.0.1:0", NoSync: true, NoKeys: true}, Name: "east"})
	require.NoError(t, err)
	defer z.Close()
	defer running(t, z.Run)()
	data, err := os.ReadFile(filepath.Join(dir, "api.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(data))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(z.SecureURL() + "/meshes/default")
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Empty(t, z.URL())
}

func TestZoneTokensAreIssuedByWhoHasNoGlobal(t *testing.T) {
	t.Parallel()
	for global, code := range map[string]int{"": http.StatusOK, "grpc://127.0.0.1:1": http.StatusNotFound} {
		z, err := zone.Open(zone.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true}, Name: "east", Global: global})
		require.NoError(t, err)
		defer z.Close()
		for path, c := range map[string]struct {
			body string
			code int
		}{
			"/tokens/zone": {`{"zone":"east","scope":["ingress"]}`, code},
			"/tokens/user": {`{"name":"jane","validFor":"1h"}`, http.StatusOK},
		} {
			r := httptest.NewRequest("POST", path, strings.NewReader(c.body))
			r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			z.Handler().ServeHTTP(w, r)
			assert.Equal(t, c.code, w.Code, "%s with global %q: %s", path, global, w.Body)
		}
	}
}
