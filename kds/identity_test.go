package kds_test

import (
	"cmp"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/meridian-mesh/meridian/kds"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
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

func (d *door) authenticate(_ context.Context, token string, chain []*x509.Certificate, lapsed func(error)) (string, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	zone, ok := d.tokens[token]
	switch {
	case chain != nil && token == "":
		zone = chain[0].DNSNames[0]
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
		refusals := []codes.Code{codes.Unauthenticated, codes.PermissionDenied}
		for _, credential := range []string{"", "Bearer wrong", "Bearer secret-of-west", "secret-of-west"} {
			p := g.peer("east")
			if credential != "" {
				p.ctx = metadata.AppendToOutgoingContext(p.ctx, "authorization", credential)
			}
			calls := 0
			for _, service := range []grpc.ServiceDesc{meshv1.KDSSyncService_ServiceDesc, meshv1.GlobalKDSService_ServiceDesc} {
				for _, method := range service.Methods {
					calls++
					err := p.conn.Invoke(p.ctx, "/"+service.ServiceName+"/"+method.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
					assert.Contains(t, refusals, status.Code(err), "%s with %q", method.MethodName, credential)
				}
				for i := range service.Streams {
					calls++
					desc := &service.Streams[i]
					stream, err := p.conn.NewStream(p.ctx, desc, "/"+service.ServiceName+"/"+desc.StreamName)
					require.NoError(t, err)
					err = stream.RecvMsg(&emptypb.Empty{})
					assert.Contains(t, refusals, status.Code(err), "%s with %q", desc.StreamName, credential)
				}
			}
			require.Equal(t, 6, calls, "the calls of Kuma's KDS")
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

func TestATokenThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t, guarded(newDoor(map[string]string{"new": "east"})))
		file := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		z := g.zone("east", func(cfg *kds.ClientConfig) { cfg.TokenFile = file })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.ErrorContains(t, z.client.Status().LastError, "is empty")

		require.NoError(t, os.WriteFile(file, []byte("new"), 0o600))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.True(t, z.client.Status().Connected)
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

// Whatever a zone says of itself, global goes by the credential.
func TestForgedFieldsAreCorrectedAndCounted(t *testing.T) {
	marshal := func(m proto.Message) string {
		spec, err := proto.Marshal(m)
		require.NoError(t, err)
		return string(spec)
	}
	tags := func(zone string) map[string]string {
		return map[string]string{"kuma.io/service": "web", resource.LabelZone: zone}
	}
	dataplane := func(zone string) string {
		return marshal(&meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
			Address: "10.0.0.1",
			Inbound: []*meshv1.Dataplane_Networking_Inbound{{Port: 80, Tags: tags(zone)}, {Port: 81, Tags: map[string]string{"kuma.io/service": "x"}}},
		}})
	}
	gateway := func(zone string) string {
		return marshal(&meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
			Address: "10.0.0.1", Gateway: &meshv1.Dataplane_Networking_Gateway{Tags: tags(zone)},
		}})
	}
	ingress := func(zone, serviceZone string) string {
		return marshal(&meshv1.ZoneIngress{Zone: zone, AvailableServices: []*meshv1.ZoneIngress_AvailableService{{Tags: tags(serviceZone)}}})
	}
	egress := func(zone string) string { return marshal(&meshv1.ZoneEgress{Zone: zone}) }
	// named returns a resource of east as its wire name and display name say, with other labels on top.
	named := func(r resource.Resource, labels ...string) resource.Resource {
		r = fromZone(r, "east")
		for i := 0; i < len(labels); i += 2 {
			r.Labels[labels[i]] = labels[i+1]
		}
		return r
	}
	messages := map[string]proto.Message{"Dataplane": &meshv1.Dataplane{}, "ZoneIngress": &meshv1.ZoneIngress{}, "ZoneEgress": &meshv1.ZoneEgress{}}
	honest := named(consumer("c", "demo"))
	for name, c := range map[string]struct {
		sent   resource.Resource
		forged bool
		label  [2]string // that is stored
		spec   string    // that is stored; "": as sent
	}{
		"nothing":                 {sent: honest},
		"zone":                    {sent: named(consumer("c", "demo"), resource.LabelZone, "west"), forged: true, label: [2]string{resource.LabelZone, "east"}},
		"origin":                  {sent: named(consumer("c", "demo"), resource.LabelOrigin, "global"), forged: true, label: [2]string{resource.LabelOrigin, "zone"}},
		"role":                    {sent: named(consumer("c", "demo"), resource.LabelRole, "producer"), forged: true, label: [2]string{resource.LabelRole, "consumer"}},
		"role system":             {sent: named(consumer("c", "demo"), resource.LabelRole, "system"), label: [2]string{resource.LabelRole, "system"}},
		"mesh":                    {sent: named(consumer("c", "demo"), resource.LabelMesh, "other"), forged: true, label: [2]string{resource.LabelMesh, "default"}},
		"an ingress's own zone":   {sent: named(made("ZoneIngress", "", "zi", ingress("east", "east")))},
		"an ingress without zone": {sent: named(made("ZoneIngress", "", "zi", ingress("", "east"))), spec: ingress("east", "east")},
		"an ingress's zone":       {sent: named(made("ZoneIngress", "", "zi", ingress("west", "east"))), forged: true, spec: ingress("east", "east")},
		"an ingress's services":   {sent: named(made("ZoneIngress", "", "zi", ingress("east", "west"))), forged: true, spec: ingress("east", "east")},
		"an egress's zone":        {sent: named(made("ZoneEgress", "", "ze", egress("west"))), forged: true, spec: egress("east")},
		"a proxy's own zone":      {sent: named(made("Dataplane", "default", "dp", dataplane("east")))},
		"a proxy's zone":          {sent: named(made("Dataplane", "default", "dp", dataplane("west"))), forged: true, spec: dataplane("east")},
		"a gateway's zone":        {sent: named(made("Dataplane", "default", "dp", gateway("west"))), forged: true, spec: gateway("east")},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t, guarded(newDoor(map[string]string{"secret": "east"})))
				p := g.peer("east")
				p.ctx = metadata.AppendToOutgoingContext(p.ctx, "authorization", "Bearer secret")
				require.Nil(t, p.up().send(c.sent.Kind, nil, c.sent).ErrorDetail)
				synctest.Wait()
				stored := get(t, g.store, c.sent.Key)
				if c.label[0] != "" {
					assert.Equal(t, c.label[1], stored.Labels[c.label[0]])
				}
				spec := cmp.Or(c.spec, string(c.sent.Spec))
				if m, ok := messages[c.sent.Kind]; ok { // maps marshal in any order
					want, got := m.ProtoReflect().New().Interface(), m.ProtoReflect().New().Interface()
					require.NoError(t, proto.Unmarshal([]byte(spec), want))
					require.NoError(t, proto.Unmarshal(stored.Spec, got))
					assert.True(t, proto.Equal(want, got), "%v", got)
				} else {
					assert.Equal(t, spec, string(stored.Spec))
				}
				assert.Equal(t, c.forged, g.server.Stats().Forged == 1, "counted %d", g.server.Stats().Forged)
			})
		})
	}
}

func TestNamesOfOthersAreRefusedWhateverFieldTheyAreIn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(map[string]string{"secret": "evil", "secret-of-east": "east"})
		g := startGlobal(t, guarded(d))
		east := g.zone("east", func(cfg *kds.ClientConfig) { cfg.Token = "secret-of-east" })
		put(t, east.store, producer("p", "demo"))
		put(t, g.store, timeout("all", meshWide))
		synctest.Wait()
		before := list(t, g.store, "MeshTimeout")
		require.Len(t, before, 2)

		p := g.peer("evil")
		p.ctx = metadata.AppendToOutgoingContext(p.ctx, "authorization", "Bearer secret")
		p.node.Id = "east" // says that it is east where nobody asks for a credential
		u := p.up()
		theirs := fromZone(producer("p", "demo"), "east") // with all their labels, and their name
		unnamed := theirs
		unnamed.Labels = nil
		display := fromZone(timeout("mine", consumes), "evil") // its own name, and the display name of another
		display.Labels[resource.LabelDisplayName] = "all"
		ofGlobal := timeout("all", consumes)
		for _, forged := range []resource.Resource{theirs, unnamed, display, ofGlobal} {
			a := u.send("MeshTimeout", nil, forged)
			require.NotNil(t, a.ErrorDetail, "%v", forged)
			assert.Contains(t, a.ErrorDetail.Message, "MeshTimeout default/"+forged.Name)
		}
		assert.Nil(t, u.send("MeshTimeout", []string{theirs.Name + ".default", "all.default"}).ErrorDetail)
		synctest.Wait()
		assert.Equal(t, before, list(t, g.store, "MeshTimeout"))
		assert.EqualValues(t, 4, g.server.Stats().Rejected)
		assert.EqualValues(t, 2, g.server.Stats().Forged, "the removals")
		assert.True(t, east.client.Status().Connected)
	})
}
