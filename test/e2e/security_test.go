package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// regexpReady finds the address of the REST API over TLS in what a plane prints.
var regexpReady = regexp.MustCompile(` https=(\S+)`)

// printed returns what the plane has printed so far.
func (p *plane) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.lines.String()
}

// logs waits until the plane has printed the text.
func (p *plane) logs(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.printed(), text) }, settle, 10*time.Millisecond, "%s prints %q", p.name, text)
}

func tokenID(t testing.TB, token string) string {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	var claims struct{ Jti string }
	require.NoError(t, json.Unmarshal(data, &claims))
	return claims.Jti
}

func secretDoc(name string, data []byte) string {
	return fmt.Sprintf(`{"type":"GlobalSecret","name":%q,"data":%q}`, name, base64.StdEncoding.EncodeToString(data))
}

func TestAZoneJoinsWithItsTokenOnlyAndIsOutWhenItIsRevoked(t *testing.T) {
	t.Parallel()
	global := newGlobal(t)
	w := newLink(t, global)
	dial := []string{"--global", "grpcs://" + w.Addr(), "--tls-ca", filepath.Join(global.dir, "kds.crt")}
	tokenFile := global.zoneToken("east")
	east := newZone(t, "east", w, append(dial, "--zone-token-file", tokenFile)...)
	east.await("/meshes/default")

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"none":  {nil, "neither a zone token nor a client certificate"},
		"wrong": {[]string{"--zone-token", "not-a-token"}, "it is not a JSON Web Token"},
		"east":  {[]string{"--zone-token-file", tokenFile}, "its credential is of zone"},
	} {
		zone := newZone(t, "with-"+name, nil, append(dial, c.args...)...)
		zone.logs(c.want)
		global.logs(c.want)
		assert.Empty(t, zone.names("/meshes"))
	}
	assert.Equal(t, []string{"east"}, global.names("/zones"), "no Zone is made for who was refused")

	token, err := os.ReadFile(tokenFile)
	require.NoError(t, err)
	global.put("/global-secrets/zone-token-revocations", secretDoc("zone-token-revocations", []byte(tokenID(t, string(token)))))
	east.logs("is revoked")
	global.logs("is revoked")
	require.Eventually(t, func() bool {
		_, stdout, _ := east.cli("zones")
		return strings.Contains(stdout, "Disconnected")
	}, settle, 10*time.Millisecond)
	global.put(timeoutPath("later", ""), timeoutDoc("later", "", "1s"))

	fresh, err := os.ReadFile(global.zoneToken("east"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(tokenFile, fresh, 0o600))
	east.await(wirePath("later", "", "")) // without a restart
	for _, p := range []*plane{global, east} {
		for _, secret := range [][]byte{token, fresh} {
			assert.NotContains(t, p.printed(), strings.Split(string(secret), ".")[2], "no log shows a token")
		}
	}
}

func TestASigningKeyIsRotatedWithTheCommandLine(t *testing.T) {
	t.Parallel()
	global := newGlobal(t)
	w := newLink(t, global)
	east := newZone(t, "east", w)
	east.await("/meshes/default")

	dir := t.TempDir()
	code, key, stderr := meridian(t, nil, "generate", "signing-key", "--format", "pem")
	require.Zero(t, code, stderr)
	keyFile := filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(keyFile, []byte(key), 0o600))
	global.put("/global-secrets/zone-token-signing-key-2", secretDoc("zone-token-signing-key-2", []byte(key)))
	code, _, body, err := global.request(t.Context(), http.MethodPut, "/global-secrets/zone-token-signing-key-3", secretDoc("zone-token-signing-key-3", []byte("no key")))
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, code)
	assert.Contains(t, body, "private RSA key in PEM")

	code, offline, stderr := meridian(t, nil, "generate", "zone-token", "--zone", "west", "--valid-for", "1h", "--signing-key-path", keyFile, "--kid", "2")
	require.Zero(t, code, stderr)
	west := newZone(t, "west", w, "--global", "grpcs://"+w.Addr(), "--tls-ca", filepath.Join(global.dir, "kds.crt"), "--zone-token", strings.TrimSpace(offline))
	west.await("/meshes/default")

	code, _, stderr = global.cli("delete", "global-secret", "zone-token-signing-key-1")
	require.Zero(t, code, stderr)
	east.logs(`it is signed with the key \"1\"; known 2`)
	_, stdout, _ := west.cli("zones")
	assert.Contains(t, stdout, "Connected", "the other zone stays")
}

func TestTheCertificateOfGlobalIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	dir := t.TempDir()
	certFile, keyFile := ca.issue(dir, "server", nil)
	global := newGlobal(t, "--tls-cert", certFile, "--tls-key", keyFile)
	shown := func() *x509.Certificate {
		conn, err := tls.Dial("tcp", hostOf(t, global.process.KDS()), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		require.NoError(t, err)
		defer conn.Close()
		assert.GreaterOrEqual(t, conn.ConnectionState().Version, uint16(tls.VersionTLS12))
		return conn.ConnectionState().PeerCertificates[0]
	}
	before := shown()
	east := newZone(t, "east", newLink(t, global), "--global", global.process.KDS(), "--tls-ca", ca.file, "--zone-token-file", global.zoneToken("east"))
	east.await("/meshes/default")

	ca.issue(dir, "server", nil) // over the old files
	assert.NotEqual(t, before.SerialNumber, shown().SerialNumber)
	global.logs("certificate file has changed and was read again")
	_, stdout, _ := east.cli("zones")
	assert.Contains(t, stdout, "Connected", "open connections stay")
	_, err := tls.Dial("tcp", hostOf(t, global.process.KDS()), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, NextProtos: []string{"h2"}})
	require.Error(t, err, "TLS 1.1")
}

func TestAClientCertificateProvesAZone(t *testing.T) {
	t.Parallel()
	ca, strangers := newAuthority(t), newAuthority(t)
	global := newGlobal(t, "--tls-client-ca", ca.file)
	dial := []string{"--global", global.process.KDS(), "--tls-ca", filepath.Join(global.dir, "kds.crt")}
	zone := func(name string, of *authority, uri string, more ...string) *plane {
		id, err := url.Parse(uri)
		require.NoError(t, err)
		certFile, keyFile := of.issue(t.TempDir(), "client", id)
		return newZone(t, name, nil, append(append(dial, "--tls-cert", certFile, "--tls-key", keyFile), more...)...)
	}
	zone("east", ca, "spiffe://corp.example/zone/east").await("/meshes/default")
	zone("both", ca, "spiffe://corp.example/zone/both", "--zone-token-file", global.zoneToken("both")).await("/meshes/default")
	newZone(t, "token", nil, append(dial, "--zone-token-file", global.zoneToken("token"))...).await("/meshes/default")
	zone("south", ca, "spiffe://corp.example/zone/east").logs("its credential is of zone")
	zone("north", ca, "spiffe://corp.example/zone/north", "--zone-token-file", global.zoneToken("east")).logs("and the token of zone")
	zone("west", strangers, "spiffe://corp.example/zone/west").logs("no link to global")
	global.logs("tls handshake failed")
	assert.ElementsMatch(t, []string{"east", "both", "token"}, global.names("/zones"))
}

func TestTheRESTAPIBeyondThisMachine(t *testing.T) {
	t.Parallel()
	// A request from this machine that is not taken for an administrator's stands for one from another machine.
	global := newGlobal(t, "--localhost-is-admin=false", "--https-addr", "0.0.0.0:0")
	ca := filepath.Join(global.dir, "kds.crt")
	https := regexpReady.FindStringSubmatch(global.printed())[1]
	as := func(token string, args ...string) (int, string, string) {
		return meridian(t, []string{"MERIDIAN_ADDRESS=" + https, "MERIDIAN_TLS_CA=" + ca, "MERIDIAN_TOKEN=" + token}, args...)
	}
	file := filepath.Join(t.TempDir(), "t.yaml")
	require.NoError(t, os.WriteFile(file, []byte(timeoutDoc("x", "", "1s")), 0o600))

	code, _, stderr := as("", "get", "meshes")
	require.Zero(t, code, stderr)
	code, _, stderr = as("", "apply", "-f", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `Access Denied: user "mesh-system:anonymous/mesh-system:unauthenticated" cannot write`)
	code, _, stderr = as("nonsense", "get", "meshes")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "Invalid authentication data")
	code, _, stderr = as("", "generate", "zone-token", "--zone", "east", "--valid-for", "1h")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "run it on the machine of the control plane, or with --token of an administrator")

	// The administrator's token is in the store, for those who can read it there: here a stand-in for them.
	global.stop()
	key := filepath.Join(t.TempDir(), "key.pem")
	_, pemKey, _ := meridian(t, nil, "generate", "signing-key", "--format", "pem")
	require.NoError(t, os.WriteFile(key, []byte(pemKey), 0o600))
	global.args = append(global.args, "--localhost-is-admin")
	global.start()
	global.put("/global-secrets/user-token-signing-key-2", secretDoc("user-token-signing-key-2", []byte(pemKey)))
	code, admin, stderr := global.cli("api", "/global-secrets/admin-user-token")
	require.Zero(t, code, stderr)
	var secret struct{ Data []byte }
	require.NoError(t, json.Unmarshal([]byte(admin), &secret))
	global.stop()
	global.args = global.args[:len(global.args)-1]
	global.start()
	https = regexpReady.FindAllStringSubmatch(global.printed(), -1)[0][1]
	code, jane, stderr := as(string(secret.Data), "generate", "user-token", "--name", "jane", "--group", "ops", "--valid-for", "1h")
	require.Zero(t, code, stderr)
	jane = strings.TrimSpace(jane)
	code, stdout, stderr := as(jane, "apply", "-f", file)
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "created")
	code, _, stderr = as(jane, "get", "global-secrets")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `user "jane/ops,mesh-system:authenticated" cannot access the resource of type "GlobalSecret"`)
	_, offline, _ := meridian(t, nil, "generate", "user-token", "--name", "root", "--group", "mesh-system:admin", "--valid-for", "1h", "--signing-key-path", key, "--kid", "2")
	code, _, stderr = as(strings.TrimSpace(offline), "get", "global-secrets")
	require.Zero(t, code, stderr)

	// A backup has all secrets in it.
	saved, tokenFile := filepath.Join(t.TempDir(), "saved"), filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(tokenFile, []byte(offline), 0o600))
	backup := []string{"backup", saved, "--http-addr", global.url()[len("http://"):]}
	for _, token := range []string{"", jane} {
		code, _, stderr = global.tool(append(backup, "--token", token)...)
		assert.Equal(t, 1, code)
		assert.Contains(t, stderr, "Access Denied")
		assert.NoFileExists(t, saved)
	}
	code, _, stderr = global.tool(append(backup, "--token", "@"+tokenFile)...)
	require.Zero(t, code, stderr)
	code, _, stderr = global.tool("verify", "--http-addr", global.url()[len("http://"):], "--token", strings.TrimSpace(offline))
	require.Zero(t, code, stderr)
}

func TestAReadOnlyPlaneRefusesWritesAndStillSyncs(t *testing.T) {
	t.Parallel()
	global := newGlobal(t)
	w := newLink(t, global)
	east := newZone(t, "east", w, "--read-only", "--global", "grpcs://"+w.Addr(), "--tls-ca", filepath.Join(global.dir, "kds.crt"), "--zone-token-file", global.zoneToken("east"))
	east.await("/meshes/default")
	code, _, body, err := east.request(t.Context(), http.MethodPut, timeoutPath("x", ""), timeoutDoc("x", "", "1s"))
	require.NoError(t, err)
	assert.Equal(t, http.StatusMethodNotAllowed, code)
	assert.Contains(t, body, "read-only")
	global.put(timeoutPath("y", ""), timeoutDoc("y", "", "1s"))
	east.await(wirePath("y", "", ""))
}

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SerialNumber: big.NewInt(1),
	}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	require.NoError(t, err)
	a.file = filepath.Join(t.TempDir(), "ca.crt")
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate for 127.0.0.1, or with id one of a client, to dir/NAME.crt and dir/NAME.key.
func (a *authority) issue(dir, name string, id *url.URL) (certFile, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: serial, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if id != nil {
		template.URIs, template.ExtKeyUsage = []*url.URL{id}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	writePEM(a.t, keyFile, "PRIVATE KEY", keyDER)
	writePEM(a.t, certFile, "CERTIFICATE", der)
	return certFile, keyFile
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}))
	require.NoError(t, os.WriteFile(file, b.Bytes(), 0o600))
}

func hostOf(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Host
}
