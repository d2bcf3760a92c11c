package global

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/metrics"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
)

const (
	storeFile = "global.db"

	// selfMade is the name of the certificate, kds.crt, that a global control plane makes for itself in its data directory.
	// Zones get it as --tls-ca.
	selfMade = "kds"
)

// Config is everything a global control plane can be told. The command's flags fill it in, tests do so directly.
type Config struct {
	control.Config // HTTPTLSCert "": TLSCert, or else the self-made one

	KDSAddr  string // HOST:PORT of the KDS server, port 0: any free one; "": no listener
	TLSCert  string // PEM file, certificate of the KDS server; "": self-made, kds.crt in DataDir
	TLSKey   string // PEM file, its key; with TLSCert only
	Insecure bool   // serve KDS in plain text; without TLSCert only

	TLSClientCA string // PEM file: zones may prove themselves by client certificates that it vouches for
	KDSAuth     string // KDSAuthToken or KDSAuthNone; "": none if Insecure, else token

	MaxZoneStreams   int // that one connection of a zone may have open; 0: 16
	MaxLists         int // complete lists that are sent to zones at once; 0: 16
	MaxZoneResources int // that one zone may have here; 0: 100,000, below 0: any number

	KDSListener net.Listener // for tests and simulations: used instead of listening on KDSAddr; closed by Close
}

// What a zone has to show.
const (
	KDSAuthToken = "token" // a zone token, or, with TLSClientCA, a client certificate
	KDSAuthNone  = "none"  // nothing: whoever reaches the KDS server is the zone that it says it is
)

// Validate returns everything that is wrong with c, joined, in the words of the command's flags.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate(), control.CheckAddr("--kds-addr", c.KDSAddr)}
	if c.MaxLists < 0 {
		errs = append(errs, fmt.Errorf("--sync-max-lists %d: want 0 (16) or more", c.MaxLists))
	}
	if c.MaxZoneStreams < 0 {
		errs = append(errs, fmt.Errorf("--max-zone-streams %d: want 0 (16) or more", c.MaxZoneStreams))
	}
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
	return errors.Join(errs...)
}

// Global is a global control plane.
type Global struct {
	*control.Plane
	cfg  Config
	kds  *kds.Server
	sync net.Listener // nil: none
}

// Open opens the store, makes what a new one lacks, and listens. It starts nothing.
func Open(c Config) (_ *Global, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	if c.HTTPTLSCert == "" {
		c.HTTPTLSCert, c.HTTPTLSKey = c.TLSCert, c.TLSKey
	}
	var clientCA *auth.ClientCA // nil: none
	if c.TLSClientCA != "" {
		if clientCA, err = auth.OpenClientCA(c.TLSClientCA, c.Log); err != nil {
			return nil, err
		}
	}
	g := &Global{cfg: c, sync: c.KDSListener}
	if g.Plane, err = control.Open(c.Config, control.Role{
		Owner: "global", StoreFile: storeFile, Prepare: func(st storage.Store) error { return prepare(st, c.Config) }, Keys: []auth.Use{auth.ZoneTokens, auth.UserTokens},
		Meshes: true, ClientCA: clientCA, SelfMade: selfMade, Log: c.Log,
	}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	server := kds.ServerConfig{Store: g.Store(), Validate: g.Schemas.Validate, Version: g.Version, Instance: g.Instance, Log: c.Log,
		Tuning: c.Sync, MaxLists: c.MaxLists, MaxStreams: c.MaxZoneStreams, MaxResources: c.MaxZoneResources}
	if !c.Insecure {
		cert, err := g.Certificate(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, err
		}
		server.TLS = cert.ServerConfig(clientCA)
	}
	if g.sync == nil && c.KDSAddr != "" {
		if g.sync, err = net.Listen("tcp", c.KDSAddr); err != nil {
			return nil, fmt.Errorf("--kds-addr: %w", err)
		}
	}
	if c.KDSAuth == KDSAuthToken || c.KDSAuth == "" && !c.Insecure {
		server.Authenticate = g.Keys.AuthenticateZone
	}
	g.kds = kds.NewServer(server)
	seen := &views{store: g.Store(), at: g.kds.Vantage, own: g.Resolver()}
	g.Serve(api.Config{
		Effective: seen.effective, Policies: seen.policies, Effect: seen.effect,
		Metrics: metrics.Handler(metrics.Source{Store: g.Store(), Status: g.kds.Status, Stats: g.kds.Stats, Mode: "global", Version: g.Version}),
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
		Tokens: &api.Tokens{Zone: g.Keys.IssueZone, User: g.Keys.IssueUser},
	})
	return g, nil
}

// prepare gives a store that was never written to its first mesh, and the federation its name.
func prepare(st storage.Store, c control.Config) error {
	if st.Revision() > 0 {
		return nil
	}
	ops, err := c.FirstMesh()
	if err != nil {
		return err
	}
	name, err := proto.Marshal(&systemv1.Config{Config: uuid.NewString()})
	if err != nil {
		return err
	}
	id := resource.Resource{Key: resource.Key{Kind: "Config", Name: resource.ClusterID}, Spec: name}
	_, err = st.Apply(context.Background(), append(ops, resource.Put(id))...)
	return err
}

// Run serves until ctx ends, and returns nil then; or until a part fails, and returns why.
func (g *Global) Run(ctx context.Context) error {
	if g.sync == nil {
		return g.Plane.Run(ctx)
	}
	return g.Plane.Run(ctx, func(ctx context.Context) error { return g.kds.Serve(ctx, g.sync) })
}

// Close gives back the store and the listeners. It may be called twice, but not while Run runs.
func (g *Global) Close() error {
	if g.sync != nil {
		g.sync.Close() // Run has closed it already when it ran
	}
	return g.Plane.Close()
}

// KDSURL returns the address of the KDS server as a zone on this machine writes it, "" without a listener.
func (g *Global) KDSURL() string {
	if g.cfg.Insecure {
		return api.URL("grpc", g.sync)
	}
	return api.URL("grpcs", g.sync)
}
