package global_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
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
)

func get(t *testing.T, h http.Handler, path string) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code
}

func remove(t *testing.T, h http.Handler, path string) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("DELETE", path, nil))
	return w.Code
}

func TestRunServesUntilItIsAskedToStopAndLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine is left
		web := bufconn.Listen(1 << 16)
		g, err := global.Open(global.Config{
			Config: control.Config{DataDir: t.TempDir(), HTTPListener: web, NoSync: true}, KDSListener: bufconn.Listen(1 << 16), Insecure: true,
		})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()

		// A connection for each request: a server that goes on to the next request on one sets a read deadline and takes it
		// back, and one of bufconn may strike after it was taken back, which looks as if the client had gone.
		transport := &http.Transport{
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return web.DialContext(ctx) },
			DisableKeepAlives: true,
		}
		client := http.Client{Transport: transport}
		resp, err := client.Get("http://global/readyz")
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode)

		// A client that waits for something is answered at once when the process stops.
		waited := make(chan int, 1)
		go func() {
			resp, err := client.Get("http://global/meshes/none?wait=5m")
			if err == nil {
				resp.Body.Close()
				waited <- resp.StatusCode
			}
			close(waited)
		}()
		synctest.Wait()
		start := time.Now()
		stop()
		assert.NoError(t, <-ended)
		assert.Less(t, time.Since(start), 5*time.Second)
		assert.Equal(t, http.StatusServiceUnavailable, <-waited)

		assert.NoError(t, g.Close())
		assert.NoError(t, g.Close(), "twice")
	})
}

func TestAFailingPartEndsRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		web := bufconn.Listen(1 << 16)
		g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), HTTPListener: web, NoSync: true}})
		require.NoError(t, err)
		defer g.Close()
		ended := make(chan error, 1)
		go func() { ended <- g.Run(context.Background()) }()
		synctest.Wait()
		web.Close()
		assert.Error(t, <-ended)
	})
}

func TestTheDefaultMeshIsMadeOnce(t *testing.T) {
	t.Parallel()
	c := global.Config{Config: control.Config{DataDir: filepath.Join(t.TempDir(), "new"), NoSync: true}}
	g, err := global.Open(c)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, get(t, g.Handler(), "/meshes/default"))
	assert.Equal(t, http.StatusOK, remove(t, g.Handler(), "/meshes/default"))
	require.NoError(t, g.Close())
	info, err := os.Stat(c.DataDir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	g, err = global.Open(c)
	require.NoError(t, err)
	defer g.Close()
	assert.Equal(t, http.StatusNotFound, get(t, g.Handler(), "/meshes/default"), "deleted stays deleted")
}

func TestTheCertificateIsMadeOnceAndFitsThisMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := global.Config{Config: control.Config{DataDir: dir, NoSync: true}, KDSAddr: "127.0.0.1:0"}
	var made []byte
	for range 2 {
		g, err := global.Open(c)
		require.NoError(t, err)
		require.NoError(t, g.Close())
		data, err := os.ReadFile(filepath.Join(dir, "kds.crt"))
		require.NoError(t, err)
		if made != nil {
			assert.Equal(t, made, data, "the second start takes what the first made")
		}
		made = data
	}
	info, err := os.Stat(filepath.Join(dir, "kds.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	block, _ := pem.Decode(made)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	host, err := os.Hostname()
	require.NoError(t, err)
	for _, name := range []string{"localhost", "127.0.0.1", host} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		assert.NoError(t, err, name)
	}
	assert.Greater(t, time.Until(cert.NotAfter), 9*365*24*time.Hour)
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	inUse := t.TempDir()
	open, err := global.Open(global.Config{Config: control.Config{DataDir: inUse, NoSync: true}})
	require.NoError(t, err)
	defer open.Close()
	for name, c := range map[string]struct {
		config global.Config
		want   string
	}{
		"no directory":         {global.Config{}, "--data-dir must be given"},
		"a file, no directory": {global.Config{Config: control.Config{DataDir: file}}, "not a directory"},
		"directory in use":     {global.Config{Config: control.Config{DataDir: inUse}}, "another process has it open"},
		"half a certificate":   {global.Config{Config: control.Config{DataDir: t.TempDir()}, TLSCert: "a"}, "--tls-cert and --tls-key must be given together"},
		"no such certificate":  {global.Config{Config: control.Config{DataDir: t.TempDir()}, TLSCert: "a.crt", TLSKey: "a.key"}, "a.crt"},
		"certificate in vain":  {global.Config{Config: control.Config{DataDir: t.TempDir()}, TLSCert: "a", TLSKey: "b", Insecure: true}, "--insecure excludes"},
		"no such proof":        {global.Config{Config: control.Config{DataDir: t.TempDir()}, KDSAuth: "password"}, `--kds-auth "password": want token or none`},
		"client CA in vain":    {global.Config{Config: control.Config{DataDir: t.TempDir()}, TLSClientCA: "a", KDSAuth: "none"}, "--tls-client-ca excludes"},
		"no such client CA":    {global.Config{Config: control.Config{DataDir: t.TempDir(), NoKeys: true, NoSync: true}, TLSClientCA: "a.pem"}, "client CA a.pem"},
		"maybe anonymous":      {global.Config{Config: control.Config{DataDir: t.TempDir(), AnonymousWrites: "maybe"}}, `--anonymous-writes "maybe"`},
		"half an API key":      {global.Config{Config: control.Config{DataDir: t.TempDir(), HTTPTLSCert: "a"}}, "--http-tls-cert and --http-tls-key"},
		"no port":              {global.Config{Config: control.Config{DataDir: t.TempDir(), HTTPAddr: "localhost"}}, "--http-addr: want HOST:PORT"},
		"port in use":          {global.Config{Config: control.Config{DataDir: t.TempDir(), HTTPAddr: taken.Addr().String(), NoSync: true}}, "--http-addr: listen"},
		"KDS port in use":      {global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true}, KDSAddr: taken.Addr().String()}, "--kds-addr: listen"},
	} {
		_, err := global.Open(c.config)
		require.Error(t, err, name)
		assert.ErrorContains(t, err, c.want, name)
	}
	err = global.Config{Config: control.Config{HTTPAddr: "x"}, TLSKey: "k"}.Validate()
	for _, want := range []string{"--data-dir", "--http-addr", "--tls-cert"} {
		assert.ErrorContains(t, err, want, "all problems at once")
	}
}

func TestAddressesAreWhatAClientHereWouldWrite(t *testing.T) {
	t.Parallel()
	g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), HTTPAddr: "127.0.0.1:0", NoSync: true}, KDSAddr: ":0"})
	require.NoError(t, err)
	defer g.Close()
	assert.Regexp(t, `^http://127\.0\.0\.1:[1-9]\d*$`, g.URL())
	assert.Regexp(t, `^grpcs://127\.0\.0\.1:[1-9]\d*$`, g.KDSURL(), "a wildcard address is not one to connect to")
	plain, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true}, KDSAddr: "127.0.0.1:0", Insecure: true})
	require.NoError(t, err)
	defer plain.Close()
	assert.Regexp(t, `^grpc://127\.0\.0\.1:[1-9]\d*$`, plain.KDSURL())
	assert.Empty(t, plain.URL())
}

func TestADocumentOverTheConfiguredSizeIsRefusedWithBothSizes(t *testing.T) {
	t.Parallel()
	g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), MaxDocumentBytes: 200, NoSync: true}, Insecure: true})
	require.NoError(t, err)
	defer g.Close()
	body := `{"type": "Mesh", "name": "big", "skipCreatingInitialPolicies": ["` + strings.Repeat("x", 200) + `"]}`
	request := httptest.NewRequest(http.MethodPut, "/meshes/big", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	g.Handler().ServeHTTP(answer, request)
	assert.Equal(t, http.StatusRequestEntityTooLarge, answer.Code, "%s", answer.Body)
	assert.Contains(t, answer.Body.String(), "200")
}

func TestWritingBeyondThisMachineTakesAToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config global.Config
		code   int // of a write by a stranger
	}{
		{global.Config{}, http.StatusCreated}, // nobody listens
		{global.Config{Config: control.Config{HTTPAddr: "127.0.0.1:0"}}, http.StatusCreated},
		{global.Config{Config: control.Config{HTTPAddr: ":0"}}, http.StatusForbidden},
		{global.Config{Config: control.Config{HTTPAddr: "127.0.0.1:0", HTTPSAddr: ":0"}}, http.StatusForbidden},
		{global.Config{Config: control.Config{HTTPAddr: ":0", AnonymousWrites: "true"}}, http.StatusCreated},
		{global.Config{Config: control.Config{HTTPAddr: "127.0.0.1:0", AnonymousWrites: "false"}}, http.StatusForbidden},
	} {
		config := c.config
		config.DataDir, config.NoSync, config.NoKeys = t.TempDir(), true, true
		g, err := global.Open(config)
		require.NoError(t, err)
		defer g.Close()
		request := httptest.NewRequest(http.MethodPut, "/meshes/m", strings.NewReader(`{"type":"Mesh","name":"m"}`))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		g.Handler().ServeHTTP(answer, request)
		assert.Equal(t, c.code, answer.Code, "%+v: %s", c.config, answer.Body)
	}
}

// policies returns the names of the policies of a mesh, as the REST API lists them.
func policies(t *testing.T, h http.Handler, mesh string) []string {
	t.Helper()
	names := []string{}
	for _, kind := range []string{"meshcircuitbreakers", "meshretries", "meshtimeouts"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/meshes/"+mesh+"/"+kind, nil))
		var list struct{ Items []struct{ Name string } }
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list))
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
	}
	return names
}

func put(t *testing.T, h http.Handler, path, body string) int {
	t.Helper()
	r := httptest.NewRequest("PUT", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestAMeshHasItsDefaultPoliciesFromItsFirstRevisionAndOnlyOnce(t *testing.T) {
	t.Parallel()
	all := func(mesh string) []string {
		return []string{"mesh-circuit-breaker-all-" + mesh, "mesh-retry-all-" + mesh, "mesh-gateways-timeout-all-" + mesh, "mesh-timeout-all-" + mesh}
	}
	c := global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true, NoKeys: true, DefaultPolicies: true}}
	g, err := global.Open(c)
	require.NoError(t, err)
	h := g.Handler()
	assert.EqualValues(t, 1, g.Store().Revision(), "one batch")
	assert.Equal(t, all("default"), policies(t, h, "default"))

	assert.Equal(t, http.StatusCreated, put(t, h, "/meshes/shop", `{"type":"Mesh","name":"shop"}`))
	assert.EqualValues(t, 2, g.Store().Revision(), "one batch")
	assert.Equal(t, all("shop"), policies(t, h, "shop"))
	assert.Equal(t, http.StatusOK, remove(t, h, "/meshes/shop/meshretries/mesh-retry-all-shop"))
	assert.Equal(t, http.StatusOK, remove(t, h, "/meshes/default/meshtimeouts/mesh-timeout-all-default"))
	assert.Equal(t, http.StatusOK, put(t, h, "/meshes/shop", `{"type":"Mesh","name":"shop","routing":{"localityAwareLoadBalancing":true}}`))
	assert.NotContains(t, policies(t, h, "shop"), "mesh-retry-all-shop", "an update of the mesh brings nothing back")
	require.NoError(t, g.Close())

	g, err = global.Open(c)
	require.NoError(t, err)
	defer g.Close()
	h = g.Handler()
	assert.NotContains(t, policies(t, h, "default"), "mesh-timeout-all-default", "deleted stays deleted")
	assert.NotContains(t, policies(t, h, "shop"), "mesh-retry-all-shop", "deleted stays deleted")

	assert.Equal(t, http.StatusOK, remove(t, h, "/meshes/shop"))
	assert.Equal(t, http.StatusCreated, put(t, h, "/meshes/shop", `{"type":"Mesh","name":"shop"}`))
	assert.Equal(t, all("shop"), policies(t, h, "shop"), "a new mesh of that name")
}

func TestAMeshSaysWhichDefaultPoliciesItDoesNotWant(t *testing.T) {
	t.Parallel()
	g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true, NoKeys: true, DefaultPolicies: true}})
	require.NoError(t, err)
	defer g.Close()
	h := g.Handler()
	for _, c := range []struct {
		skip string
		want []string
	}{
		{`["*"]`, []string{}},
		{`["MeshTimeout"]`, []string{"mesh-circuit-breaker-all-m0", "mesh-retry-all-m0"}},
		{`["MeshRetry","MeshCircuitBreaker"]`, []string{"mesh-gateways-timeout-all-m0", "mesh-timeout-all-m0"}},
		{`["MeshTimeout","*"]`, []string{}},
	} {
		require.Equal(t, http.StatusCreated, put(t, h, "/meshes/m0", `{"type":"Mesh","name":"m0","skipCreatingInitialPolicies":`+c.skip+`}`))
		assert.Equal(t, c.want, policies(t, h, "m0"), c.skip)
		require.Equal(t, http.StatusOK, remove(t, h, "/meshes/m0"))
	}
}

func TestMeshesHaveNoPoliciesByDefault(t *testing.T) {
	t.Parallel()
	g, err := global.Open(global.Config{Config: control.Config{DataDir: t.TempDir(), NoSync: true, NoKeys: true}})
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, http.StatusCreated, put(t, g.Handler(), "/meshes/shop", `{"type":"Mesh","name":"shop"}`))
	assert.Empty(t, policies(t, g.Handler(), "default"))
	assert.Empty(t, policies(t, g.Handler(), "shop"))
}
