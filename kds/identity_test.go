package kds_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/meridian-mesh/meridian/kds"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

// door proves zones by a list of tokens, or by the common name of a certificate's first DNS name.
type door struct {
	mu     sync.Mutex
	tokens map[string]string // to the zone; guarded by mu
	open   map[*func(error)]string
}

func newDoor(tokens map[string]string) *door {
	return &door{tokens: tokens, open: map[*func(error)]string{}}
}

func (d *door) authenticate(_ context.Context, token string, cert *x509.Certificate, lapsed func(error)) (string, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	zone, ok := d.tokens[token]
	switch {
	case cert != nil && token == "":
		zone = cert.DNSNames[0]
	case !ok:
		return "", nil, errors.New("that token opens no door")
	}
	if lapsed == nil {
		return zone, func() {}, nil
	}
	d.open[&lapsed] = token
	return zone, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.open, &lapsed)
	}, nil
}

// revoke makes a token worthless and ends what rests on it.
func (d *door) revoke(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tokens, token)
	for lapsed, of := range d.open {
		if of == token {
			(*lapsed)(errors.New("it was revoked"))
		}
	}
}

func (d *door) held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

func guarded(d *door) func(*kds.ServerConfig) {
	return func(c *kds.ServerConfig) { c.Authenticate = d.authenticate }
}

func TestAZoneJoinsWithItsCredentialOnly(t *testing.T) {
	for name, c := range map[string]struct{ token, want string }{
		"its own":        {"secret-of-east", ""},
		"none":           {"", `zone "east": no valid credential: that token opens no door`},
		"wrong":          {"secret-of-nobody", "that token opens no door"},
		"another zone's": {"secret-of-west", `says that it is zone "east", its credential is of zone "west"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				d := newDoor(map[string]string{"secret-of-east": "east", "secret-of-west": "west"})
				g := startGlobal(t, guarded(d))
				put(t, g.store, timeout("a", meshWide))
				west := g.zone("west", func(cfg *kds.ClientConfig) { cfg.Token = "secret-of-west" })
				time.Sleep(10 * time.Second)
				z := g.zone("east", func(cfg *kds.ClientConfig) { cfg.Token = c.token })
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if c.want == "" {
					assert.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"))
					assert.Zero(t, g.server.Stats().Refused)
					return
				}
				err := z.client.Status().LastError
				require.ErrorContains(t, err, c.want)
				assert.Contains(t, []codes.Code{codes.Unauthenticated, codes.PermissionDenied}, status.Code(errors.Unwrap(err)))
				assert.NotContains(t, err.Error(), "secret", "no message shows a token")
				assert.Empty(t, names(t, z.store, "MeshTimeout"))
				assert.NotZero(t, g.server.Stats().Refused)
				assert.Equal(t, []string{"west"}, names(t, g.store, "Zone"), "no Zone is made for a caller that was refused")
				assert.True(t, west.client.Status().Connected, "and nobody else notices")
				assert.Equal(t, 1, west.client.Status().Generation)
			})
		})
	}
}

func TestAStrangerCannotEndTheStreamsOfAZone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(map[string]string{"secret-of-east": "east", "secret-of-west": "west"})
		g := startGlobal(t, guarded(d))
		east := g.zone("east", func(cfg *kds.ClientConfig) { cfg.Token = "secret-of-east" })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		held := d.held()
		require.NotZero(t, held, "its streams rest on its token")
		for _, credential := range []string{"", "Bearer wrong", "Bearer secret-of-west", "secret-of-west"} {
			p := g.peer("east")
			if credential != "" {
				p.ctx = metadata.AppendToOutgoingContext(p.ctx, "authorization", credential)
			}
			for _, call := range []func() error{
				func() error {
					_, err := meshv1.NewGlobalKDSServiceClient(p.conn).HealthCheck(p.ctx, &meshv1.ZoneHealthCheckRequest{})
					return err
				},
				func() error {
					stream, err := meshv1.NewKDSSyncServiceClient(p.conn).GlobalToZoneSync(p.ctx)
					require.NoError(t, err)
					_, err = stream.Recv()
					return err
				},
				func() error {
					stream, err := meshv1.NewKDSSyncServiceClient(p.conn).ZoneToGlobalSync(p.ctx)
					require.NoError(t, err)
					_, err = stream.Recv()
					return err
				},
			} {
				assert.Contains(t, []codes.Code{codes.Unauthenticated, codes.PermissionDenied}, status.Code(call()), credential)
			}
		}
		synctest.Wait()
		assert.True(t, east.client.Status().Connected)
		assert.Equal(t, 1, east.client.Status().Generation, "its connection is the first one still")
		assert.Equal(t, held, d.held(), "and nothing else rests on its token")
		twice := g.peer("east")
		twice.ctx = metadata.AppendToOutgoingContext(twice.ctx, "authorization", "Bearer secret-of-east", "authorization", "x")
		_, err := meshv1.NewGlobalKDSServiceClient(twice.conn).HealthCheck(twice.ctx, &meshv1.ZoneHealthCheckRequest{})
		assert.Equal(t, codes.Unauthenticated, status.Code(err), "two credentials are none")
	})
}

func TestARevokedTokenEndsTheStreamsAndANewOneNeedsNoRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(map[string]string{"old": "east", "new": "east"})
		g := startGlobal(t, guarded(d))
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o600))
		z := g.zone("east", func(cfg *kds.ClientConfig) { cfg.TokenFile = file })
		put(t, g.store, timeout("a", meshWide))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"))

		d.revoke("old")
		synctest.Wait()
		assert.False(t, z.client.Status().Connected)
		require.ErrorContains(t, z.client.Status().LastError, "it was revoked")
		assert.Zero(t, d.held())
		put(t, g.store, timeout("b", meshWide))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.ErrorContains(t, z.client.Status().LastError, "that token opens no door")
		assert.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"), "what it has it keeps, and gets no more")

		require.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"a", "b"}, names(t, z.store, "MeshTimeout"))
	})
}

func TestAClientCertificateIsACredential(t *testing.T) {
	server, serverCA := selfSigned(t, "global")
	east, eastCA := selfSigned(t, "east")
	stranger, _ := selfSigned(t, "east")
	pool := x509.NewCertPool()
	data, err := os.ReadFile(eastCA)
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(data))
	for name, c := range map[string]struct {
		zone string
		cert *tls.Certificate
		want string
	}{
		"its own":          {"east", &east, ""},
		"none":             {"east", nil, "no valid credential"},
		"another zone's":   {"west", &east, `says that it is zone "west", its credential is of zone "east"`},
		"of an unknown CA": {"east", &stranger, "Unavailable"}, // the words depend on who is faster
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t, guarded(newDoor(nil)), func(s *kds.ServerConfig) {
					s.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}
				})
				put(t, g.store, timeout("a", meshWide))
				z := g.zone(c.zone, func(cfg *kds.ClientConfig) {
					cfg.Address, cfg.CAFile = "grpcs://global:5685", serverCA
					if c.cert != nil {
						cfg.CertFile, cfg.KeyFile = writePair(t, c.cert)
					}
				})
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if c.want != "" {
					require.ErrorContains(t, z.client.Status().LastError, c.want)
					assert.Empty(t, names(t, z.store, "MeshTimeout"))
					return
				}
				assert.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"))
			})
		})
	}
}

// writePair writes a certificate and its key to files.
func writePair(t *testing.T, cert *tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return filepath.Join(dir, "cert"), filepath.Join(dir, "key")
}

func TestAZoneWithoutItsFilesSaysWhichIsMissing(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte(" \n"), 0o600))
	for want, c := range map[string]kds.ClientConfig{
		"token of the zone: open /no/token": {TokenFile: "/no/token"},
		"is empty":                          {TokenFile: empty},
		"certificate of the zone, /no/cert: open /no/cert": {CertFile: "/no/cert", KeyFile: "/no/key"},
	} {
		c.Zone, c.Address = "east", "grpcs://global:5685"
		require.ErrorContains(t, c.Check(), want)
	}
}
