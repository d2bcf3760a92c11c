package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/meridian-mesh/meridian/auth"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// Making a key takes a tenth of a second: the tests share two.
var firstPEM, secondPEM = sync.OnceValue(newPEM), sync.OnceValue(newPEM)

func newPEM() []byte {
	data, err := auth.NewSigningKey()
	if err != nil {
		panic(err)
	}
	return data
}

func parsed(t testing.TB, data []byte) *rsa.PrivateKey {
	t.Helper()
	key, err := resource.ParseSigningKey(data)
	require.NoError(t, err)
	return key
}

func openStore(t testing.TB) *bolt.Store {
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

func putSecret(t testing.TB, st *bolt.Store, name string, data []byte) {
	t.Helper()
	spec, err := proto.Marshal(&systemv1.Secret{Data: wrapperspb.Bytes(data)})
	require.NoError(t, err)
	_, err = st.Apply(t.Context(), resource.Put(resource.Resource{Key: resource.Key{Kind: "GlobalSecret", Name: name}, Spec: spec}))
	require.NoError(t, err)
}

func removeSecret(t testing.TB, st *bolt.Store, name string) {
	t.Helper()
	_, err := st.Apply(t.Context(), resource.Delete(resource.Key{Kind: "GlobalSecret", Name: name}))
	require.NoError(t, err)
}

// part returns the header (0) or the claims (1) of a token.
func part(t testing.TB, token string, i int) map[string]any {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(data, &m))
	return m
}

func issueZone(t testing.TB, ring *auth.Keyring, zone string, validFor time.Duration) string {
	t.Helper()
	token, err := ring.IssueZone(t.Context(), zone, []string{auth.ScopeZone}, validFor)
	require.NoError(t, err)
	return token
}

func authenticate(t testing.TB, ring *auth.Keyring, token string) (string, error) {
	t.Helper()
	zone, _, err := ring.AuthenticateZone(t.Context(), token, nil, nil)
	return zone, err
}

func TestTokensHaveTheHeaderAndClaimsOfKuma(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	putSecret(t, st, "zone-token-signing-key-1", firstPEM())
	putSecret(t, st, "user-token-signing-key", secondPEM())
	ring := auth.NewKeyring(st, nil, nil)
	before := time.Now().Truncate(time.Second)

	token := issueZone(t, ring, "east", 24*time.Hour)
	assert.Equal(t, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "1"}, part(t, token, 0))
	claims := part(t, token, 1)
	assert.Equal(t, "east", claims["Zone"])
	assert.Equal(t, []any{"cp"}, claims["Scope"])
	assert.Len(t, claims["jti"], 36)
	iat := int64(claims["iat"].(float64))
	assert.GreaterOrEqual(t, iat, before.Unix())
	assert.EqualValues(t, iat-5*60, claims["nbf"])
	assert.EqualValues(t, iat+24*60*60, claims["exp"])
	zone, err := authenticate(t, ring, token)
	require.NoError(t, err)
	assert.Equal(t, "east", zone)

	token, err = ring.IssueUser(t.Context(), "john", []string{"ops"}, time.Hour)
	require.NoError(t, err)
	assert.Equal(t, "0", part(t, token, 0)["kid"], "the bare name is serial 0")
	name, groups, err := ring.AuthenticateUser(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, "john", name)
	assert.Equal(t, []string{"ops"}, groups)
}

func TestATokenThatDoesNotCountSaysWhy(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	putSecret(t, st, "zone-token-signing-key-1", firstPEM())
	putSecret(t, st, "user-token-signing-key-1", firstPEM()) // so that only the claims tell the uses apart
	ring := auth.NewKeyring(st, nil, nil)
	now := time.Now()
	ours, theirs := auth.Signer{Key: parsed(t, firstPEM()), Serial: "1"}, auth.Signer{Key: parsed(t, secondPEM()), Serial: "1"}
	made := func(s auth.Signer, zone string, scope []string, validFor time.Duration, at time.Time) string {
		token, err := s.Zone(zone, scope, validFor, at)
		require.NoError(t, err)
		return token
	}
	cp := []string{auth.ScopeZone}
	good := made(ours, "east", cp, time.Hour, now)
	user, err := ours.User("john", nil, time.Hour, now)
	require.NoError(t, err)
	parts := strings.Split(good, ".")
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"Zone": "east", "Scope": cp, "exp": now.Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	// The public key is no secret: a token that it "signs" as if it were a password must not pass.
	symmetric := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"Zone": "east", "Scope": cp, "exp": now.Add(time.Hour).Unix()})
	symmetric.Header["kid"] = "1"
	hmac, err := symmetric.SignedString(x509.MarshalPKCS1PublicKey(&ours.Key.PublicKey))
	require.NoError(t, err)
	endless := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"Zone": "east", "Scope": cp})
	endless.Header["kid"] = "1"
	forever, err := endless.SignedString(ours.Key)
	require.NoError(t, err)

	for name, c := range map[string]struct{ token, want string }{
		"none":                 {"", "neither a zone token nor a client certificate"},
		"no token at all":      {"hello", "not a JSON Web Token"},
		"another's key":        {made(theirs, "east", cp, time.Hour, now), "its signature is not of a zone-token key"},
		"another's serial":     {made(auth.Signer{Key: ours.Key, Serial: "7"}, "east", cp, time.Hour, now), `signed with the key "7"; known 1`},
		"changed claims":       {parts[0] + "." + strings.Split(made(ours, "west", cp, time.Hour, now), ".")[1] + "." + parts[2], "its signature is not"},
		"not signed":           {unsigned, "its signature is not"},
		"signed as a password": {hmac, "its signature is not"},
		"expired":              {made(ours, "east", cp, time.Hour, now.Add(-2*time.Hour)), "it expired at 20"},
		"from the future":      {made(ours, "east", cp, time.Hour, now.Add(time.Hour)), "compare the clocks"},
		"for ever":             {forever, "it never expires"},
		"no zone":              {made(ours, "", cp, time.Hour, now), "it names no zone"},
		"a user's":             {user, "it names no zone"},
		"an ingress's":         {made(ours, "east", []string{"ingress", "egress"}, time.Hour, now), `its scope is "ingress,egress", want "cp"`},
	} {
		_, err := authenticate(t, ring, c.token)
		require.ErrorContains(t, err, c.want, name)
		if c.token != "" {
			require.ErrorIs(t, err, auth.ErrToken, name)
			assert.NotContains(t, err.Error(), c.token, name)
		}
	}
	_, _, err = ring.AuthenticateUser(t.Context(), good)
	require.ErrorContains(t, err, "it names no user")
	_, err = authenticate(t, ring, good)
	require.NoError(t, err)
}

func TestANewSerialSignsAndTheOldOneVerifiesUntilItIsRemoved(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	ring := auth.NewKeyring(st, nil, nil)
	_, err := ring.IssueZone(t.Context(), "east", nil, time.Hour)
	require.ErrorIs(t, err, auth.ErrNoKey)
	putSecret(t, st, "zone-token-signing-key-9", firstPEM())
	old := issueZone(t, ring, "east", time.Hour)
	putSecret(t, st, "zone-token-signing-key-10", secondPEM())
	young := issueZone(t, ring, "east", time.Hour)
	assert.Equal(t, "9", part(t, old, 0)["kid"])
	assert.Equal(t, "10", part(t, young, 0)["kid"], "numbers, not words")
	for _, token := range []string{old, young} {
		_, err := authenticate(t, ring, token)
		require.NoError(t, err)
	}
	removeSecret(t, st, "zone-token-signing-key-9")
	_, err = authenticate(t, ring, old)
	require.ErrorIs(t, err, auth.ErrToken)
	_, err = authenticate(t, ring, young)
	require.NoError(t, err)
	putSecret(t, st, "zone-token-signing-key-11", []byte("not a key"))
	assert.Equal(t, "10", part(t, issueZone(t, ring, "east", time.Hour), 0)["kid"], "one that is no good does not sign")
	require.NoError(t, st.Compact(t.Context(), st.Revision()))
	putSecret(t, st, "zone-token-revocations", []byte("x, "+part(t, young, 1)["jti"].(string)+",y"))
	_, err = authenticate(t, ring, young)
	require.ErrorContains(t, err, "is revoked", "also when the keys were read anew")
}

func TestACredentialThatCeasesToHoldEndsWhatRestsOnIt(t *testing.T) {
	t.Parallel()
	pem := firstPEM() // outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		putSecret(t, st, "zone-token-signing-key-1", pem)
		ring := auth.NewKeyring(st, nil, nil)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- ring.Run(ctx) }()

		open := func(token string, cert ...*x509.Certificate) (<-chan error, func()) {
			ended := make(chan error, 2)
			_, release, err := ring.AuthenticateZone(t.Context(), token, cert, func(err error) { ended <- err })
			require.NoError(t, err)
			return ended, release
		}
		revoked, expiring, other := issueZone(t, ring, "east", time.Hour), issueZone(t, ring, "west", time.Minute), issueZone(t, ring, "north", time.Hour)
		one, _ := open(revoked)
		two, _ := open(expiring)
		three, release := open(other)
		left, leave := open(revoked)
		leave()
		certified, _ := open("", &x509.Certificate{Subject: pkix.Name{CommonName: "south"}, NotAfter: time.Now().Add(30 * time.Minute)})

		putSecret(t, st, "zone-token-revocations", []byte(part(t, revoked, 1)["jti"].(string)))
		synctest.Wait()
		require.Len(t, one, 1)
		require.ErrorContains(t, <-one, "is revoked")
		assert.Empty(t, two)
		assert.Empty(t, left, "it had ended before")

		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, two, 1)
		require.ErrorContains(t, <-two, "expired at")

		removeSecret(t, st, "zone-token-signing-key-1")
		synctest.Wait()
		require.Len(t, three, 1)
		require.ErrorContains(t, <-three, `signed with the key "1"; known is no zone-token key`)
		release() // after the end it does nothing

		assert.Empty(t, certified, "a certificate does not rest on the keys")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.ErrorContains(t, <-certified, "expired at")
		assert.Empty(t, one, "nothing ends twice")
		stop()
		require.NoError(t, <-stopped)
	})
}

func TestTheFirstKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	putSecret(t, st, "zone-token-signing-key-3", firstPEM())
	for range 2 {
		require.NoError(t, auth.MakeKeys(t.Context(), st, time.Now(), auth.ZoneTokens, auth.UserTokens))
	}
	ring := auth.NewKeyring(st, nil, nil)
	assert.Equal(t, "3", part(t, issueZone(t, ring, "east", time.Hour), 0)["kid"], "there was one")
	admin, err := st.Get(t.Context(), resource.Key{Kind: "GlobalSecret", Name: "admin-user-token"})
	require.NoError(t, err)
	secret, err := resource.Spec[*systemv1.Secret](admin)
	require.NoError(t, err)
	name, groups, err := ring.AuthenticateUser(t.Context(), string(secret.GetData().GetValue()))
	require.NoError(t, err)
	assert.Equal(t, auth.Admin, name)
	assert.Equal(t, []string{auth.Admin}, groups)
	assert.EqualValues(t, 2, st.Revision(), "the key, then one batch with the other key and the token")
}

func TestEachMeshHasTheKeyOfItsProxiesTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t)
		write := func(ops ...resource.Op) {
			_, err := st.Apply(t.Context(), ops...)
			require.NoError(t, err)
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		mesh := func(name string) resource.Resource {
			return resource.Resource{Key: resource.Key{Kind: "Mesh", Name: name}}
		}
		secret := func(mesh, name string) resource.Resource {
			return resource.Resource{Key: resource.Key{Kind: "Secret", Mesh: mesh, Name: name}}
		}
		keys := func() (keys []string) {
			require.NoError(t, st.View(t.Context(), "Secret", func(_ resource.Revision, list iter.Seq2[resource.Resource, error]) error {
				for r := range list {
					keys = append(keys, r.Mesh+"/"+r.Name)
				}
				return nil
			}))
			return keys
		}
		write(resource.Put(mesh("default")), resource.Put(mesh("own")), resource.Put(secret("own", "dataplane-token-signing-key-own-4")))
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- auth.MakeMeshKeys(ctx, st, nil) }()
		write(resource.Put(mesh("new")))
		assert.Equal(t, []string{"default/dataplane-token-signing-key-default-1", "new/dataplane-token-signing-key-new-1", "own/dataplane-token-signing-key-own-4"}, keys())
		made, err := st.Get(t.Context(), resource.Key{Kind: "Secret", Mesh: "new", Name: "dataplane-token-signing-key-new-1"})
		require.NoError(t, err)
		spec, err := resource.Spec[*systemv1.Secret](made)
		require.NoError(t, err)
		_, err = resource.ParseSigningKey(spec.GetData().GetValue())
		require.NoError(t, err)
		assert.Empty(t, made.Labels)

		write(resource.Delete(mesh("new").Key), resource.Delete(made.Key))
		write(resource.Put(mesh("default")))
		assert.Equal(t, []string{"default/dataplane-token-signing-key-default-1", "own/dataplane-token-signing-key-own-4"}, keys())
		rev := st.Revision()
		time.Sleep(time.Hour)
		assert.Equal(t, rev, st.Revision())
		stop()
		require.NoError(t, <-stopped)
	})
}

func TestACertificateNamesItsZone(t *testing.T) {
	t.Parallel()
	ring := auth.NewKeyring(openStore(t), nil, nil)
	for name, c := range map[string]struct {
		common     string
		uris       []string
		zone, want string
	}{
		"URI":             {"anything", []string{"spiffe://corp.example/zone/east"}, "east", ""},
		"common name":     {"east", nil, "east", ""},
		"other URIs":      {"east", []string{"spiffe://corp.example/ns/x/sa/y"}, "", "none is spiffe://DOMAIN/zone/NAME"},
		"two zones":       {"", []string{"spiffe://a/zone/east", "spiffe://a/zone/west"}, "", `two zones, "east" and "west"`},
		"nothing":         {"", nil, "", "neither a URI"},
		"another scheme":  {"", []string{"https://a/zone/east"}, "", "none is spiffe"},
		"below the zone":  {"", []string{"spiffe://a/zone/east/x"}, "", "none is spiffe"},
		"and another URI": {"", []string{"spiffe://a/x", "spiffe://a/zone/east"}, "east", ""},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.common}, NotAfter: time.Now().Add(time.Hour)}
		for _, text := range c.uris {
			uri, err := url.Parse(text)
			require.NoError(t, err)
			cert.URIs = append(cert.URIs, uri)
		}
		zone, _, err := ring.AuthenticateZone(t.Context(), "", []*x509.Certificate{cert}, nil)
		assert.Equal(t, c.zone, zone, name)
		if c.want != "" {
			require.ErrorIs(t, err, auth.ErrCertificate, name)
			require.ErrorContains(t, err, c.want, name)
		} else {
			require.NoError(t, err, name)
		}
	}
}

func TestATokenAndACertificateMustAgree(t *testing.T) {
	t.Parallel()
	st := openStore(t)
	putSecret(t, st, "zone-token-signing-key-1", firstPEM())
	ring := auth.NewKeyring(st, nil, nil)
	token := issueZone(t, ring, "east", time.Hour)
	cert := func(zone string) []*x509.Certificate {
		return []*x509.Certificate{{Subject: pkix.Name{CommonName: zone}, NotAfter: time.Now().Add(time.Hour)}}
	}
	zone, _, err := ring.AuthenticateZone(t.Context(), token, cert("east"), nil)
	require.NoError(t, err)
	assert.Equal(t, "east", zone)
	_, _, err = ring.AuthenticateZone(t.Context(), token, cert("west"), nil)
	require.ErrorContains(t, err, `of zone "west", and the token of zone "east"`)
	_, _, err = ring.AuthenticateZone(t.Context(), "bad", cert("east"), nil)
	require.ErrorIs(t, err, auth.ErrToken, "a bad token is not made up for by a good certificate")
}

func TestACertificateFileIsReadAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, err := auth.SelfMade(dir, "kds", time.Now())
	require.NoError(t, err)
	cert, err := auth.OpenCertificate(certFile, keyFile, nil)
	require.NoError(t, err)
	config := cert.ServerConfig(nil)
	shown := func() []byte {
		c, err := config.GetCertificate(&tls.ClientHelloInfo{})
		require.NoError(t, err)
		return c.Certificate[0]
	}
	first := shown()
	assert.Equal(t, first, shown())

	otherCert, otherKey, err := auth.SelfMade(t.TempDir(), "kds", time.Now())
	require.NoError(t, err)
	replace := func(from, to string) {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to, data, 0o600))
	}
	replace(otherCert, certFile)
	assert.Equal(t, first, shown(), "the key is not replaced yet")
	replace(otherKey, keyFile)
	second := shown()
	assert.NotEqual(t, first, second)
	require.NoError(t, os.Remove(certFile))
	assert.Equal(t, second, shown(), "a missing file does not end the service")

	_, err = auth.OpenCertificate(certFile, keyFile, nil)
	require.True(t, errors.Is(err, os.ErrNotExist), "but at the start it does: %v", err)
	require.ErrorContains(t, err, certFile)
}

// authority is a CA, or a step on the way to one.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue returns what by signs; by nil: what signs itself.
func issue(t *testing.T, by *authority, template x509.Certificate) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.BasicConstraintsValid = true
	made := &authority{&template, key}
	if by == nil {
		by = made
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by.cert, key.Public(), by.key)
	require.NoError(t, err)
	made.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return made
}

func TestAnAuthorityThatIsTakenOutEndsWhatRestsOnIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := issue(t, nil, x509.Certificate{Subject: pkix.Name{CommonName: "first"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
		second := issue(t, nil, x509.Certificate{Subject: pkix.Name{CommonName: "second"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
		step := issue(t, second, x509.Certificate{Subject: pkix.Name{CommonName: "step"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign})
		client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		east := issue(t, first, x509.Certificate{Subject: pkix.Name{CommonName: "east"}, ExtKeyUsage: client})
		west := issue(t, step, x509.Certificate{Subject: pkix.Name{CommonName: "west"}, ExtKeyUsage: client})
		path := filepath.Join(t.TempDir(), "ca.pem")
		trust := func(list ...*authority) {
			var data []byte
			for _, a := range list {
				data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
			}
			require.NoError(t, os.WriteFile(path, data, 0o600))
		}
		trust(first, second)
		ca, err := auth.OpenClientCA(path, nil)
		require.NoError(t, err)
		ring := auth.NewKeyring(openStore(t), ca, nil)
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- ring.Run(ctx) }()
		chainOfEast, chainOfWest := []*x509.Certificate{east.cert, first.cert}, []*x509.Certificate{west.cert, step.cert, second.cert}
		open := func(chain []*x509.Certificate) <-chan error {
			ended := make(chan error, 2)
			_, _, err := ring.AuthenticateZone(t.Context(), "", chain, func(err error) { ended <- err })
			require.NoError(t, err)
			return ended
		}
		one, two := open(chainOfEast), open(chainOfWest)
		time.Sleep(time.Minute)
		require.NoError(t, os.Remove(path))
		time.Sleep(time.Minute)
		assert.Empty(t, one, "while there is no file, the one before holds")

		trust(second)
		_, _, err = ring.AuthenticateZone(t.Context(), "", chainOfEast, nil)
		require.ErrorIs(t, err, auth.ErrCertificate, "over a connection that is older")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Len(t, one, 1)
		require.ErrorIs(t, <-one, auth.ErrCertificate)
		assert.Empty(t, two, "who is still vouched for stays")

		three := open(chainOfWest)
		trust(first)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Len(t, two, 1)
		assert.Len(t, three, 1)
		stop()
		require.NoError(t, <-stopped)
	})
}

// Every reconnecting zone is one of these, six times over. The token is verified once.
func BenchmarkAuthenticateZone(b *testing.B) {
	st := openStore(b)
	putSecret(b, st, "zone-token-signing-key-1", firstPEM())
	ring := auth.NewKeyring(st, nil, nil)
	token := issueZone(b, ring, "east", time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		_, release, err := ring.AuthenticateZone(b.Context(), token, nil, func(error) {})
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

// BenchmarkThousandZonesReconnect has 1,000 zones make their six calls with a token each after a key was written, as when all
// come back at once.
func BenchmarkThousandZonesReconnect(b *testing.B) {
	st := openStore(b)
	putSecret(b, st, "zone-token-signing-key-1", firstPEM())
	ring := auth.NewKeyring(st, nil, nil)
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = issueZone(b, ring, fmt.Sprint("z", i), time.Hour)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		putSecret(b, st, "any", []byte("x"))
		b.StartTimer()
		for _, token := range tokens {
			for range 6 {
				_, release, err := ring.AuthenticateZone(b.Context(), token, nil, func(error) {})
				if err != nil {
					b.Fatal(err)
				}
				release()
			}
		}
	}
}
