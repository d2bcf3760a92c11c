package zone

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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
	storeFile = "zone.db"

	// keptDeletes is how many revisions a reader may be behind and still learn of deletes one by one.
	keptDeletes = 10_000
)

// Config is everything a zone can be told. The command's flags fill it in, tests do so directly.
type Config struct {
	Name          string // of the zone: a DNS label, at most 63 characters. Required
	Global        string // grpcs://HOST:PORT of the global control plane, grpc://HOST:PORT in plain text; "": stand alone
	TLSCA         string // PEM file, certificates that global may show; "": the system's
	TLSSkipVerify bool   // accept any certificate of global
	Token         string // proves to global that this is the zone
	TokenFile     string // holds the token, in place of Token; read at every connect
	TLSCert       string // PEM file, a client certificate that proves the same, alone or beside the token; read at every connect
	TLSKey        string // PEM file, its key; with TLSCert only
	DataDir       string // directory of the store; made with mode 0700 if missing. Required
	HTTPAddr      string // HOST:PORT of the REST API, port 0: any free one; "": no listener, only Handler

	MaxDocumentBytes int64 // of one document that somebody writes; 0: 1 MiB

	HTTPSAddr   string // HOST:PORT of the REST API over TLS, port 0: any free one; "": no listener
	HTTPTLSCert string // PEM file, certificate of the REST API; "": self-made, api.crt in DataDir
	HTTPTLSKey  string // PEM file, its key; with HTTPTLSCert only

	ReadOnly        bool   // nothing is written through the REST API
	AnonymousWrites string // "true" or "false": who has no token may write; "": as long as the REST API listens on loopback only
	NoLocalAdmin    bool   // requests from this machine are not an administrator's

	Sync kds.Tuning

	Version string       // of the program; "": dev
	Log     hclog.Logger // nil discards

	// For tests and simulations.

	HTTPListener net.Listener                                                // used instead of listening on HTTPAddr; closed by Close
	Dialer       func(ctx context.Context, address string) (net.Conn, error) // reaches global; nil: TCP
	NoSync       bool                                                        // see bolt.Options
	NoKeys       bool                                                        // make no signing keys for a new store, which takes long: no tokens are issued
	Without      []string                                                    // features that are not announced, as an older build would not: see kds.ClientConfig
	Now          func() time.Time                                            // nil: time.Now
	Fate         func() bolt.Fate                                            // see bolt.Options
}

// Validate returns everything that is wrong with c, joined, in the words of the command's flags.
func (c Config) Validate() error {
	var errs []error
	switch {
	case c.Name == "":
		errs = append(errs, errors.New("--name must be given: the name of the zone"))
	case !resource.ValidZoneName(c.Name):
		errs = append(errs, fmt.Errorf(`--name %q: want at most 63 lower case letters, digits and "-", a letter or digit first and last`, c.Name))
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("--data-dir must be given"))
	}
	if c.MaxDocumentBytes < 0 {
		errs = append(errs, fmt.Errorf("--max-document-bytes %d: want 0 (1 MiB) or more", c.MaxDocumentBytes))
	}
	errs = append(errs, c.Sync.Check(func(setting string) string { return "--sync-" + setting }))
	if _, _, err := net.SplitHostPort(c.HTTPAddr); c.HTTPAddr != "" && err != nil {
		errs = append(errs, fmt.Errorf("--http-addr: want HOST:PORT: %w", err))
	}
	scheme := ""
	if c.Global != "" {
		u, err := url.Parse(c.Global)
		if err != nil || u.Scheme != "grpcs" && u.Scheme != "grpc" || u.Port() == "" || u.Hostname() == "" || u.Path != "" {
			errs = append(errs, fmt.Errorf("--global %q: want grpcs://HOST:PORT, or grpc://HOST:PORT in plain text", c.Global))
		} else {
			scheme = u.Scheme
		}
	}
	if (c.TLSCA != "" || c.TLSSkipVerify) && (c.Global == "" || scheme == "grpc") {
		errs = append(errs, errors.New("--tls-ca and --tls-skip-verify are for --global grpcs://…"))
	}
	if c.TLSCA != "" && c.TLSSkipVerify {
		errs = append(errs, errors.New("--tls-skip-verify excludes --tls-ca"))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") || c.TLSCert != "" && scheme != "grpcs" {
		errs = append(errs, errors.New("--tls-cert and --tls-key must be given together, and are for --global grpcs://…"))
	}
	if c.Token != "" && c.TokenFile != "" {
		errs = append(errs, errors.New("--zone-token excludes --zone-token-file"))
	}
	if (c.Token != "" || c.TokenFile != "") && c.Global == "" {
		errs = append(errs, errors.New("--zone-token and --zone-token-file are for --global"))
	}
	if _, _, err := net.SplitHostPort(c.HTTPSAddr); c.HTTPSAddr != "" && err != nil {
		errs = append(errs, fmt.Errorf("--https-addr: want HOST:PORT: %w", err))
	}
	if (c.HTTPTLSCert == "") != (c.HTTPTLSKey == "") || c.HTTPTLSCert != "" && c.HTTPSAddr == "" {
		errs = append(errs, errors.New("--http-tls-cert and --http-tls-key must be given together, and with --https-addr"))
	}
	switch c.AnonymousWrites {
	case "", "true", "false":
	default:
		errs = append(errs, fmt.Errorf("--anonymous-writes %q: want true or false", c.AnonymousWrites))
	}
	return errors.Join(errs...)
}

// Zone is the control plane of a zone.
type Zone struct {
	cfg      Config
	log      hclog.Logger
	store    *bolt.Store
	resolver *resolver.Resolver
	handler  http.Handler
	client   *kds.Client // nil: stands alone
	keys     *auth.Keyring
	http     net.Listener // nil: none
	https    net.Listener // nil: none
}

// Open opens the store, makes what a new one lacks, and listens. It starts nothing and dials nobody.
func Open(c Config) (_ *Zone, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Version = cmp.Or(c.Version, "dev")
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	log := c.Log.With("zone", c.Name)
	z := &Zone{cfg: c, log: log, http: c.HTTPListener}
	defer func() {
		if err != nil {
			z.Close()
		}
	}()
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, err
	}
	if z.store, err = bolt.Open(filepath.Join(c.DataDir, storeFile), bolt.Options{Owner: "zone " + c.Name, NoSync: c.NoSync, Log: log.Named("store"), Now: c.Now, Fate: c.Fate}); err != nil {
		return nil, err
	}
	plane := resource.Plane{Zone: c.Name, Federated: c.Global != ""}
	if err := prepare(z.store, plane); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", c.DataDir, err)
	}
	if !c.NoKeys {
		uses := []auth.Use{auth.UserTokens} // those of zones are global's
		if !plane.Federated {
			uses = append(uses, auth.ZoneTokens)
		}
		if err := auth.MakeKeys(context.Background(), z.store, time.Now(), uses...); err != nil {
			return nil, err
		}
	}
	z.keys = auth.NewKeyring(z.store, nil, log)
	if err := z.listen(); err != nil {
		return nil, err
	}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	instance := hostname + "-" + rand.Text()[:4]
	schemas := policy.Schemas()
	z.resolver = resolver.New(resolver.Config{Source: z.store, Log: log})
	serve := api.Config{
		Store: z.store, Resolver: z.resolver, MaxBody: c.MaxDocumentBytes, MaxSynced: c.Sync.MaxStoredBytes(),
		Backup: func(ctx context.Context) (api.Snapshot, error) { return z.store.Snapshot(ctx) },
		Effective: func(ctx context.Context, mesh, dp string, f policy.Filter) (any, error) {
			return z.resolver.Effective(ctx, mesh, dp, f)
		},
		Policies: func(ctx context.Context, mesh, dp string) (any, error) { return z.resolver.Policies(ctx, mesh, dp) },
		Effect: func(ctx context.Context, kind, mesh, name string, page policy.Page) (any, []string, error) {
			answer, err := z.resolver.Effect(ctx, kind, mesh, name, page)
			return answer, nil, err
		},
		Envoy: func(_ context.Context, proxy resource.Resource, _ api.EnvoyQuestion) ([]byte, error) {
			return nil, noEnvoy(proxy.Key)
		},
		Plane: plane, Schemas: schemas,
		Access: api.Access{
			User: z.keys.AuthenticateUser, RemoteOnly: c.NoLocalAdmin, ReadOnly: c.ReadOnly,
			KnownUsersOnly: c.AnonymousWrites == "false" || c.AnonymousWrites == "" && (api.Beyond(z.http) || api.Beyond(z.https)),
			AnybodyWrites:  c.AnonymousWrites == "true",
		},
		Tokens:  &api.Tokens{Zone: z.keys.IssueZone, User: z.keys.IssueUser},
		Version: c.Version, Instance: instance, Hostname: hostname, Log: log.Named("api"),
	}
	if plane.Federated {
		serve.Tokens.Zone = func(context.Context, string, []string, time.Duration) (string, error) { return "", auth.ErrNoKey }
		if strings.HasPrefix(c.Global, "grpc:") && (c.Token != "" || c.TokenFile != "") {
			log.Warn("the zone token travels in plain text: whoever sees it can be this zone", "address", c.Global)
		}
		link := kds.ClientConfig{
			Zone: c.Name, Address: c.Global, CAFile: c.TLSCA, SkipVerify: c.TLSSkipVerify, Store: z.store,
			Token: c.Token, TokenFile: c.TokenFile, CertFile: c.TLSCert, KeyFile: c.TLSKey,
			Validate: schemas.Validate, Version: c.Version, Instance: instance, Without: c.Without, Tuning: c.Sync,
			Dialer: c.Dialer, Log: c.Log, // it adds the zone
			Envoy: func(ctx context.Context, q kds.EnvoyQuestion) ([]byte, error) {
				if _, err := z.store.Get(ctx, q.Proxy); err != nil {
					return nil, fmt.Errorf("%s: %w", q.Proxy, err)
				}
				return nil, noEnvoy(q.Proxy)
			},
		}
		if err := link.Check(); err != nil {
			return nil, err
		}
		z.client = kds.NewClient(link)
		serve.Link = z.Link
		serve.Sync = &api.Sync{
			Status: func(ctx context.Context) (any, error) { return z.syncStatus(ctx) },
			Of: func(ctx context.Context, list []resource.Resource, peers []string, wait time.Duration) ([]any, []bool, error) {
				fates, err := z.client.Await(ctx, list, peers, wait)
				of, settled := kds.Fates(fates)
				return of, settled, err
			},
			Trace:   func(ctx context.Context, r resource.Resource) (any, error) { return z.client.Trace(ctx, r) },
			Confirm: func(ctx context.Context, _, kind string) (int, error) { return z.client.Confirm(ctx, kind) },
			Retry:   func(_ string, id resource.Identity) error { return z.client.Retry(id) },
		}
	}
	shown := metrics.Source{Store: z.store, Mode: "zone", Version: c.Version}
	if z.client != nil {
		shown.Status, shown.Stats = z.syncStatus, z.client.Stats
	}
	serve.Metrics = metrics.Handler(shown)
	z.handler = api.New(serve)
	return z, nil
}

// noEnvoy is the answer to every question about the Envoy of a proxy: none gets its configuration from this control plane.
func noEnvoy(proxy resource.Key) error {
	return fmt.Errorf("%s: no Envoy of this proxy is connected to this control plane", proxy)
}

// syncStatus returns how the sync with the only peer is.
func (z *Zone) syncStatus(ctx context.Context) ([]kds.PeerStatus, error) {
	global, err := z.client.SyncStatus(ctx)
	return []kds.PeerStatus{global}, err
}

// listen takes the addresses.
func (z *Zone) listen() (err error) {
	if z.http == nil && z.cfg.HTTPAddr != "" {
		if z.http, err = net.Listen("tcp", z.cfg.HTTPAddr); err != nil {
			return fmt.Errorf("--http-addr: %w", err)
		}
	}
	if z.cfg.HTTPSAddr == "" {
		return nil
	}
	certFile, keyFile := z.cfg.HTTPTLSCert, z.cfg.HTTPTLSKey
	if certFile == "" {
		if certFile, keyFile, err = auth.SelfMade(z.cfg.DataDir, "api", time.Now()); err != nil {
			return err
		}
	}
	cert, err := auth.OpenCertificate(certFile, keyFile, z.log)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", z.cfg.HTTPSAddr)
	if err != nil {
		return fmt.Errorf("--https-addr: %w", err)
	}
	z.https = tls.NewListener(l, cert.ServerConfig(nil))
	return nil
}

// prepare gives a new store the Zone of this plane, and its first mesh if there is no global control plane to send one.
// The error says that the store belongs to another zone.
func prepare(st storage.Store, plane resource.Plane) error {
	ctx := context.Background()
	own := resource.Key{Kind: "Zone", Name: plane.Zone}
	_, err := st.Get(ctx, own)
	if err == nil || !errors.Is(err, resource.ErrNotFound) {
		return err
	}
	other := ""
	err = st.View(ctx, "Zone", func(_ resource.Revision, zones iter.Seq2[resource.Resource, error]) error {
		for r, err := range zones {
			if err != nil {
				return err
			}
			other = r.Name
		}
		return nil
	})
	if err != nil {
		return err
	}
	if other != "" {
		return fmt.Errorf("it belongs to zone %q, not to %q", other, plane.Zone)
	}
	ops := []resource.Op{resource.Put(resource.Resource{Key: own, Spec: []byte{}})}
	if !plane.Federated && st.Revision() == 0 {
		ops = append(ops, resource.Put(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: resource.DefaultMesh}, Spec: []byte{}}))
	}
	_, err = st.Apply(ctx, ops...)
	return err
}

// Run serves until ctx ends, and returns nil then; or until a part fails, and returns why. A global control plane that
// cannot be reached is no failure.
func (z *Zone) Run(ctx context.Context) error {
	parts := []func(context.Context) error{
		z.resolver.Run, z.keys.Run,
		func(ctx context.Context) error { return storage.Trim(ctx, z.store, keptDeletes, z.log) },
	}
	if z.client != nil {
		parts = append(parts, z.client.Run)
	}
	for _, l := range []net.Listener{z.http, z.https} {
		if l != nil {
			parts = append(parts, func(ctx context.Context) error { return api.Serve(ctx, l, z.handler, z.log) })
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	return group.Wait()
}

// Close gives back the store and the listener. It may be called twice, but not while Run runs.
func (z *Zone) Close() error {
	for _, l := range []net.Listener{z.http, z.https} {
		if l != nil {
			l.Close() // Run has closed it already when it ran
		}
	}
	if z.store == nil {
		return nil
	}
	return z.store.Close()
}

// Handler returns the REST API. It may be called without a listener, while Run runs.
func (z *Zone) Handler() http.Handler { return z.handler }

// Store returns the store, for what the REST API does not do: simulations, backups, benchmarks.
func (z *Zone) Store() storage.Store { return z.store }

// Resolver returns what answers the questions of the REST API, for who needs the answers as values: simulations.
func (z *Zone) Resolver() *resolver.Resolver { return z.resolver }

// URL returns the address of the REST API as a client on this machine writes it, "" without a listener.
func (z *Zone) URL() string { return api.URL("http", z.http) }

// SecureURL returns the address of the REST API over TLS as a client on this machine writes it, "" without a listener.
func (z *Zone) SecureURL() string { return api.URL("https", z.https) }

// Link returns the state of the connection to global. A zone that stands alone has none: the zero value.
func (z *Zone) Link() api.LinkStatus {
	if z.client == nil {
		return api.LinkStatus{}
	}
	l := z.client.Status()
	status := api.LinkStatus{Address: l.Address, Connected: l.Connected, Since: l.Since, LastReceived: l.LastReceived}
	if l.LastError != nil {
		status.LastError = l.LastError.Error()
	}
	return status
}
