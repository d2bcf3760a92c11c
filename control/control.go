package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
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
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/storage/bolt"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// keptDeletes is how many revisions a peer or a reader may be behind and still learn of deletes one by one.
const keptDeletes = 10_000

// Role is what a control plane is, as far as the common part has to know.
type Role struct {
	Owner     string                    // of the store: global, or zone east
	StoreFile string                    // name of the store in the data directory
	Prepare   func(storage.Store) error // gives a new store what it has to have
	Keys      []auth.Use                // of the tokens that it issues
	Meshes    bool                      // are made here, and with each the key of its proxies' tokens, and its default policies
	ClientCA  *auth.ClientCA            // of the zones' certificates; nil: see auth.NewKeyring
	SelfMade  string                    // name of the certificate that it makes for itself, in the data directory
	Log       hclog.Logger
}

// Plane is the common part of a control plane.
type Plane struct {
	Keys     *auth.Keyring
	Schemas  resource.Schemas // of the kinds that it takes
	Version  string           // of the program
	Instance string           // of this process; another with every start

	cfg      Config
	role     Role
	hostname string
	store    *bolt.Store
	resolver *resolver.Resolver
	handler  http.Handler
	http     net.Listener // nil: none
	https    net.Listener // nil: none
}

// Open opens the store, makes what a new one lacks, and listens. It starts nothing. c must be valid.
func Open(c Config, role Role) (_ *Plane, err error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Plane{Schemas: policy.Schemas(), Version: cmp.Or(c.Version, "dev"), cfg: c, role: role, http: c.HTTPListener}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.hostname, err = os.Hostname(); err != nil {
		return nil, err
	}
	p.Instance = p.hostname + "-" + rand.Text()[:4]
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	p.store, err = bolt.Open(filepath.Join(c.DataDir, role.StoreFile),
		bolt.Options{Owner: role.Owner, NoSync: c.NoSync, Log: role.Log.Named("store"), Now: c.Now, Fate: c.Fate})
	if err != nil {
		return nil, err
	}
	if err := role.Prepare(p.store); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", c.DataDir, err)
	}
	if !c.NoKeys {
		if err := auth.MakeKeys(context.Background(), p.store, c.Now(), role.Keys...); err != nil {
			return nil, err
		}
	}
	p.Keys = auth.NewKeyring(p.store, role.ClientCA, role.Log)
	p.resolver = resolver.New(resolver.Config{Source: p.store, Log: role.Log})
	return p, p.listen()
}

// listen takes the addresses of the REST API.
func (p *Plane) listen() (err error) {
	if p.http == nil && p.cfg.HTTPAddr != "" {
		if p.http, err = net.Listen("tcp", p.cfg.HTTPAddr); err != nil {
			return fmt.Errorf("--http-addr: %w", err)
		}
	}
	if p.cfg.HTTPSAddr == "" {
		return nil
	}
	cert, err := p.Certificate(p.cfg.HTTPTLSCert, p.cfg.HTTPTLSKey)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", p.cfg.HTTPSAddr)
	if err != nil {
		return fmt.Errorf("--https-addr: %w", err)
	}
	p.https = tls.NewListener(l, cert.ServerConfig(nil))
	return nil
}

// Certificate reads a certificate; "": the self-made one.
func (p *Plane) Certificate(certFile, keyFile string) (_ *auth.Certificate, err error) {
	if certFile == "" {
		if certFile, keyFile, err = auth.SelfMade(p.cfg.DataDir, p.role.SelfMade, p.cfg.Now()); err != nil {
			return nil, err
		}
	}
	return auth.OpenCertificate(certFile, keyFile, p.role.Log)
}

// Serve makes the REST API out of what is particular to this control plane.
func (p *Plane) Serve(c api.Config) {
	c.Store, c.Resolver, c.Schemas, c.Log = p.store, p.resolver, p.Schemas, p.role.Log.Named("api")
	c.Version, c.Instance, c.Hostname = p.Version, p.Instance, p.hostname
	if p.role.Meshes && p.cfg.DefaultPolicies {
		c.InitialPolicies = initialPolicies
	}
	c.MaxBody, c.MaxSynced = p.cfg.MaxDocumentBytes, p.cfg.Sync.MaxStoredBytes()
	c.Backup = func(ctx context.Context) (api.Snapshot, error) { return p.store.Snapshot(ctx) }
	writes := p.cfg.AnonymousWrites
	c.Access = api.Access{
		User: p.Keys.AuthenticateUser, RemoteOnly: p.cfg.NoLocalAdmin, ReadOnly: p.cfg.ReadOnly,
		KnownUsersOnly: writes == "false" || writes == "" && (api.Beyond(p.http) || api.Beyond(p.https)),
		AnybodyWrites:  writes == "true",
	}
	p.handler = api.New(c)
}

// Run runs the common parts and the given ones until ctx ends, and returns nil then; or until one fails, and returns why.
func (p *Plane) Run(ctx context.Context, parts ...func(context.Context) error) error {
	parts = append(parts, p.resolver.Run, p.Keys.Run,
		func(ctx context.Context) error { return storage.Trim(ctx, p.store, keptDeletes, p.role.Log) })
	if p.role.Meshes && !p.cfg.NoKeys {
		parts = append(parts, func(ctx context.Context) error { return auth.MakeMeshKeys(ctx, p.store, p.role.Log) })
	}
	for _, l := range []net.Listener{p.http, p.https} {
		if l != nil {
			parts = append(parts, func(ctx context.Context) error { return api.Serve(ctx, l, p.handler, p.role.Log) })
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

// Close gives back the store and the listeners. It may be called twice, but not while Run runs.
func (p *Plane) Close() error {
	for _, l := range []net.Listener{p.http, p.https} {
		if l != nil {
			l.Close() // Run has closed it already when it ran
		}
	}
	if p.store == nil {
		return nil
	}
	return p.store.Close()
}

// Handler returns the REST API. It may be called without a listener, while Run runs.
func (p *Plane) Handler() http.Handler { return p.handler }

// Store returns the store, for what the REST API does not do: simulations, backups, benchmarks.
func (p *Plane) Store() storage.Store { return p.store }

// Resolver returns what answers the questions of the REST API, for who needs the answers as values: simulations.
func (p *Plane) Resolver() *resolver.Resolver { return p.resolver }

// URL returns the address of the REST API as a client on this machine writes it, "" without a listener.
func (p *Plane) URL() string { return api.URL("http", p.http) }

// SecureURL returns the address of the REST API over TLS as a client on this machine writes it, "" without a listener.
func (p *Plane) SecureURL() string { return api.URL("https", p.https) }
