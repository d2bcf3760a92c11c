package global

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/metrics"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/storage/bolt"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

const (
	storeFile = "global.db"

	// selfMade is the name of the certificate, kds.crt, that a global control plane makes for itself in its data directory.
	// Zones get it as --tls-ca.
	selfMade = "kds"

	// keptDeletes is how many revisions a zone or a reader may be behind and still learn of deletes one by one.
	keptDeletes = 10_000
)

// Config is everything a global control plane can be told. The command's flags fill it in, tests do so directly.
type Config struct {
	DataDir  string // directory of the store and of the self-made certificate; made with mode 0700 if missing. Required
	HTTPAddr string // HOST:PORT of the REST API, port 0: any free one; "": no listener, only Handler
	KDSAddr  string // HOST:PORT of the KDS server, port 0: any free one; "": no listener
	TLSCert  string // PEM file, certificate of the KDS server; "": self-made, kds.crt in DataDir
	TLSKey   string // PEM file, its key; with TLSCert only
	Insecure bool   // serve KDS in plain text; without TLSCert only

	TLSClientCA string // PEM file: zones may prove themselves by client certificates that it vouches for
	KDSAuth     string // KDSAuthToken or KDSAuthNone; "": none if Insecure, else token

	HTTPSAddr   string // HOST:PORT of the REST API over TLS, port 0: any free one; "": no listener
	HTTPTLSCert string // PEM file, certificate of the REST API; "": that of the KDS server
	HTTPTLSKey  string // PEM file, its key; with HTTPTLSCert only

	ReadOnly        bool   // nothing is written through the REST API
	AnonymousWrites string // "true" or "false": who has no token may write; "": as long as the REST API listens on loopback only
	NoLocalAdmin    bool   // requests from this machine are not an administrator's

	MaxDocumentBytes int64 // of one document that somebody writes; 0: 1 MiB

	Sync             kds.Tuning
	MaxZoneStreams   int // that one connection of a zone may have open; 0: 16
	MaxLists         int // complete lists that are sent to zones at once; 0: 16
	MaxZoneResources int // that one zone may have here; 0: 100,000, below 0: any number

	Version string       // of the program; "": dev
	Log     hclog.Logger // nil discards

	// For tests and simulations.

	HTTPListener, KDSListener net.Listener     // used instead of listening on HTTPAddr and KDSAddr; closed by Close
	NoSync                    bool             // see bolt.Options
	NoKeys                    bool             // make no signing keys for a new store, which takes long: no tokens are issued
	Now                       func() time.Time // nil: time.Now
	Fate                      func() bolt.Fate // see bolt.Options
}

// What a zone has to show.
const (
	KDSAuthToken = "token" // a zone token, or, with TLSClientCA, a client certificate
	KDSAuthNone  = "none"  // nothing: whoever reaches the KDS server is the zone that it says it is
)

// Validate returns everything that is wrong with c, joined, in the words of the command's flags.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir must be given"))
	}
	if c.MaxDocumentBytes < 0 {
		errs = append(errs, fmt.Errorf("--max-document-bytes %d: want 0 (1 MiB) or more", c.MaxDocumentBytes))
	}
	if c.MaxLists < 0 {
		errs = append(errs, fmt.Errorf("--sync-max-lists %d: want 0 (16) or more", c.MaxLists))
	}
	if c.MaxZoneStreams < 0 {
		errs = append(errs, fmt.Errorf("--max-zone-streams %d: want 0 (16) or more", c.MaxZoneStreams))
	}
	errs = append(errs, c.Sync.Check(func(setting string) string { return "--sync-" + setting }))
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert and --tls-key must be given together"))
	}
	if c.Insecure && c.TLSCert != "" {
		errs = append(errs, errors.New("--insecure excludes --tls-cert and --tls-key"))
	}
	switch c.KDSAuth {
	case "", KDSAuthToken, KDSAuthNone:
	default:
		errs = append(errs, fmt.Errorf("--kds-auth %q: want token or none", c.KDSAuth))
	}
	if c.TLSClientCA != "" && (c.Insecure || c.KDSAuth == KDSAuthNone) {
		errs = append(errs, errors.New("--tls-client-ca excludes --insecure and --kds-auth none"))
	}
	if (c.HTTPTLSCert == "") != (c.HTTPTLSKey == "") || c.HTTPTLSCert != "" && c.HTTPSAddr == "" {
		errs = append(errs, errors.New("--http-tls-cert and --http-tls-key must be given together, and with --https-addr"))
	}
	switch c.AnonymousWrites {
	case "", "true", "false":
	default:
		errs = append(errs, fmt.Errorf("--anonymous-writes %q: want true or false", c.AnonymousWrites))
	}
	errs = append(errs, checkAddr("--http-addr", c.HTTPAddr), checkAddr("--https-addr", c.HTTPSAddr), checkAddr("--kds-addr", c.KDSAddr))
	return errors.Join(errs...)
}

func checkAddr(flag, addr string) error {
	if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
		return fmt.Errorf("%s: want HOST:PORT: %w", flag, err)
	}
	return nil
}

// Global is a global control plane.
type Global struct {
	cfg      Config
	log      hclog.Logger
	store    *bolt.Store
	resolver *resolver.Resolver
	handler  http.Handler
	kds      *kds.Server
	keys     *auth.Keyring
	http     net.Listener // nil: none
	https    net.Listener // nil: none
	sync     net.Listener // nil: none
}

// Open opens the store, makes what a new one lacks, and listens. It starts nothing.
func Open(c Config) (_ *Global, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Version = cmp.Or(c.Version, "dev")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	g := &Global{cfg: c, log: c.Log, http: c.HTTPListener, sync: c.KDSListener}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	if g.store, err = bolt.Open(filepath.Join(c.DataDir, storeFile), bolt.Options{Owner: "global", NoSync: c.NoSync, Log: c.Log.Named("store"), Now: c.Now, Fate: c.Fate}); err != nil {
		return nil, err
	}
	if err := makeDefaultMesh(g.store); err != nil {
		return nil, err
	}
	if !c.NoKeys {
		if err := auth.MakeKeys(context.Background(), g.store, c.Now(), auth.ZoneTokens, auth.UserTokens); err != nil {
			return nil, err
		}
	}
	var clientCA *auth.ClientCA // nil: none
	if c.TLSClientCA != "" {
		if clientCA, err = auth.OpenClientCA(c.TLSClientCA, c.Log); err != nil {
			return nil, err
		}
	}
	g.keys = auth.NewKeyring(g.store, clientCA, c.Log)
	if err := g.listen(); err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	instance := hostname + "-" + rand.Text()[:4]
	schemas := policy.Schemas()
	g.resolver = resolver.New(resolver.Config{Source: g.store, Log: c.Log})
	server := kds.ServerConfig{Store: g.store, Validate: schemas.Validate, Version: c.Version, Instance: instance, Log: c.Log,
		Tuning: c.Sync, MaxLists: c.MaxLists, MaxStreams: c.MaxZoneStreams, MaxResources: c.MaxZoneResources}
	if server.TLS, err = g.kdsTLS(clientCA); err != nil {
		return nil, err
	}
	if c.KDSAuth == KDSAuthToken || c.KDSAuth == "" && !c.Insecure {
		server.Authenticate = g.keys.AuthenticateZone
	}
	g.kds = kds.NewServer(server)
	seen := &views{store: g.store, at: g.kds.Vantage, own: g.resolver}
	g.handler = api.New(api.Config{
		Store: g.store, Resolver: g.resolver,
		Effective: seen.effective, Policies: seen.policies, Effect: seen.effect,
		Metrics: metrics.Handler(metrics.Source{Store: g.store, Status: g.kds.Status, Stats: g.kds.Stats, Mode: "global", Version: c.Version}),
		Schemas: schemas,
		MaxBody: c.MaxDocumentBytes, MaxSynced: c.Sync.MaxStoredBytes(),
		Backup: func(ctx context.Context) (api.Snapshot, error) { return g.store.Snapshot(ctx) },
		Sync: &api.Sync{
			Status: func(ctx context.Context) (any, error) { return g.kds.Status(ctx) },
			States: func(ctx context.Context) (any, error) { return g.kds.States(ctx) },
			Of: func(ctx context.Context, list []resource.Resource, zones []string, wait time.Duration) ([]any, []bool, error) {
				fates, err := g.kds.Await(ctx, list, zones, wait)
				of, settled := kds.Fates(fates)
				return of, settled, err
			},
			Trace: func(ctx context.Context, r resource.Resource) (any, error) { return g.kds.Trace(ctx, r) },
			Heard: g.kds.Heard, Stalled: g.kds.Stalled,
			Confirm: g.kds.Confirm, Retry: g.kds.Retry,
			Drain: func(ctx context.Context, zone string) (any, error) { return g.kds.Drain(ctx, zone) },
		},
		Envoy: func(ctx context.Context, proxy resource.Resource, q api.EnvoyQuestion) ([]byte, error) {
			return g.kds.AskEnvoy(ctx, proxy, kds.EnvoyQuestion{View: kds.EnvoyView(q.View), IncludeEDS: q.IncludeEDS, JSON: q.JSON})
		},
		Access: api.Access{
			User: g.keys.AuthenticateUser, RemoteOnly: c.NoLocalAdmin, ReadOnly: c.ReadOnly,
			KnownUsersOnly: c.AnonymousWrites == "false" || c.AnonymousWrites == "" && (api.Beyond(g.http) || api.Beyond(g.https)),
			AnybodyWrites:  c.AnonymousWrites == "true",
		},
		Tokens:  &api.Tokens{Zone: g.keys.IssueZone, User: g.keys.IssueUser},
		Version: c.Version, Instance: instance, Hostname: hostname, Log: c.Log.Named("api"),
	})
	return g, nil
}

// listen takes the addresses.
func (g *Global) listen() error {
	for _, l := range []struct {
		flag, addr string
		into       *net.Listener
	}{
		{"--http-addr", g.cfg.HTTPAddr, &g.http}, {"--https-addr", g.cfg.HTTPSAddr, &g.https}, {"--kds-addr", g.cfg.KDSAddr, &g.sync},
	} {
		if *l.into != nil || l.addr == "" {
			continue
		}
		var err error
		if *l.into, err = net.Listen("tcp", l.addr); err != nil {
			return fmt.Errorf("%s: %w", l.flag, err)
		}
	}
	if g.https == nil {
		return nil
	}
	cert, err := g.certificate(g.cfg.HTTPTLSCert, g.cfg.HTTPTLSKey)
	if err != nil {
		return err
	}
	g.https = tls.NewListener(g.https, cert.ServerConfig(nil))
	return nil
}

// kdsTLS returns how the KDS server is encrypted; nil: it is not.
func (g *Global) kdsTLS(clientCA *auth.ClientCA) (*tls.Config, error) {
	if g.cfg.Insecure {
		return nil, nil
	}
	cert, err := g.certificate("", "")
	if err != nil {
		return nil, err
	}
	return cert.ServerConfig(clientCA), nil
}

// certificate reads a certificate; "": the configured one, or else the self-made one of the data directory.
func (g *Global) certificate(certFile, keyFile string) (cert *auth.Certificate, err error) {
	if certFile == "" {
		certFile, keyFile = g.cfg.TLSCert, g.cfg.TLSKey
	}
	if certFile == "" {
		if certFile, keyFile, err = auth.SelfMade(g.cfg.DataDir, selfMade, g.cfg.Now()); err != nil {
			return nil, err
		}
	}
	return auth.OpenCertificate(certFile, keyFile, g.log)
}

// makeDefaultMesh gives a store that was never written to its first mesh.
func makeDefaultMesh(st storage.Store) error {
	if st.Revision() > 0 {
		return nil
	}
	mesh := resource.Resource{Key: resource.Key{Kind: "Mesh", Name: resource.DefaultMesh}, Spec: []byte{}}
	_, err := st.Apply(context.Background(), resource.Put(mesh))
	return err
}

// Run serves until ctx ends, and returns nil then; or until a part fails, and returns why.
func (g *Global) Run(ctx context.Context) error {
	parts := []func(context.Context) error{
		g.resolver.Run, g.keys.Run,
		func(ctx context.Context) error { return storage.Trim(ctx, g.store, keptDeletes, g.log) },
	}
	for _, l := range []net.Listener{g.http, g.https} {
		if l != nil {
			parts = append(parts, func(ctx context.Context) error { return api.Serve(ctx, l, g.handler, g.log) })
		}
	}
	if g.sync != nil {
		parts = append(parts, func(ctx context.Context) error { return g.kds.Serve(ctx, g.sync) })
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

// Close gives back the store and the listeners. It may be called twice, but not while Run runs.
func (g *Global) Close() error {
	var errs []error
	for _, l := range []net.Listener{g.http, g.https, g.sync} {
		if l != nil {
			l.Close() // Run has closed it already when it ran
		}
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	return errors.Join(errs...)
}

// Handler returns the REST API. It may be called without a listener, while Run runs.
func (g *Global) Handler() http.Handler { return g.handler }

// Store returns the store, for what the REST API does not do: simulations, backups, benchmarks.
func (g *Global) Store() storage.Store { return g.store }

// Resolver returns what answers the questions of the REST API, for who needs the answers as values: simulations.
func (g *Global) Resolver() *resolver.Resolver { return g.resolver }

// URL returns the address of the REST API as a client on this machine writes it, "" without a listener.
func (g *Global) URL() string { return api.URL("http", g.http) }

// SecureURL returns the address of the REST API over TLS as a client on this machine writes it, "" without a listener.
func (g *Global) SecureURL() string { return api.URL("https", g.https) }

// KDSURL returns the address of the KDS server as a zone on this machine writes it, "" without a listener.
func (g *Global) KDSURL() string {
	if g.cfg.Insecure {
		return api.URL("grpc", g.sync)
	}
	return api.URL("grpcs", g.sync)
}
