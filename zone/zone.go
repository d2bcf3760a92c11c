package zone

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/metrics"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
)

const storeFile = "zone.db"

// Config is everything a zone can be told. The command's flags fill it in, tests do so directly.
type Config struct {
	control.Config // HTTPTLSCert "": self-made, api.crt in DataDir

	Name          string // of the zone: a DNS name, at most 63 characters. Required
	Global        string // grpcs://HOST:PORT of the global control plane, grpc://HOST:PORT in plain text; "": stand alone
	TLSCA         string // PEM file, certificates that global may show; "": the system's
	TLSSkipVerify bool   // accept any certificate of global
	Token         string // proves to global that this is the zone
	TokenFile     string // holds the token, in place of Token; read at every connect
	TLSCert       string // PEM file, a client certificate that proves the same, alone or beside the token; read at every connect
	TLSKey        string // PEM file, its key; with TLSCert only

	// For tests and simulations.

	Dialer  func(ctx context.Context, address string) (net.Conn, error) // reaches global; nil: TCP
	Without []string                                                    // features that are not announced, as an older build would not: see kds.ClientConfig
}

// Validate returns everything that is wrong with c, joined, in the words of the command's flags.
func (c Config) Validate() error {
	errs := []error{c.Config.Validate()}
	switch {
	case c.Name == "":
		errs = append(errs, errors.New("--name must be given: the name of the zone"))
	case !resource.ValidZoneName(c.Name):
		errs = append(errs, fmt.Errorf(`--name %q: want a DNS name of at most 63: lower case letters, digits, "-" and dots, a letter or digit first and last`, c.Name))
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
	for _, name := range c.Without {
		if known := Features(); !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("--act-without %q: want features of the sync: %s", name, strings.Join(known, ", ")))
		}
	}
	return errors.Join(errs...)
}

// Features returns what Config.Without may name.
func Features() []string {
	return append(slices.Clone(scope.Announced), kds.FeatureVerdicts, kds.FeatureResume)
}

// Zone is the control plane of a zone.
type Zone struct {
	*control.Plane
	client *kds.Client // nil: stands alone
}

// Open opens the store, makes what a new one lacks, and listens. It starts nothing and dials nobody.
func Open(c Config) (_ *Zone, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	log := c.Log.With("zone", c.Name)
	plane := resource.Plane{Zone: c.Name, Federated: c.Global != ""}
	keys := []auth.Use{auth.UserTokens}
	if !plane.Federated {
		keys = append(keys, auth.ZoneTokens) // in a federation those are global's
	}
	z := &Zone{}
	if z.Plane, err = control.Open(c.Config, control.Role{
		Owner: "zone " + c.Name, StoreFile: storeFile, Prepare: func(st storage.Store) error { return prepare(st, plane, c.Config) },
		Keys: keys, Meshes: !plane.Federated, SelfMade: "api", Log: log,
	}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			z.Close()
		}
	}()
	serve := api.Config{
		Effective: func(ctx context.Context, mesh, dp string, f policy.Filter) (any, error) {
			return z.Resolver().Effective(ctx, mesh, dp, f)
		},
		Policies: func(ctx context.Context, mesh, dp string) (any, error) { return z.Resolver().Policies(ctx, mesh, dp) },
		Effect: func(ctx context.Context, kind, mesh, name string, page policy.Page) (any, []string, error) {
			answer, err := z.Resolver().Effect(ctx, kind, mesh, name, page)
			return answer, nil, err
		},
		Envoy: func(_ context.Context, proxy resource.Resource, _ api.EnvoyQuestion) ([]byte, error) {
			return nil, noEnvoy(proxy.Key)
		},
		Plane: plane, Tokens: &api.Tokens{Zone: z.Keys.IssueZone, User: z.Keys.IssueUser},
	}
	shown := metrics.Source{Store: z.Store(), Mode: "zone", Version: z.Version}
	if plane.Federated {
		serve.Tokens.Zone = func(context.Context, string, []string, time.Duration) (string, error) { return "", auth.ErrNoKey }
		if strings.HasPrefix(c.Global, "grpc:") && (c.Token != "" || c.TokenFile != "") {
			log.Warn("the zone token travels in plain text: whoever sees it can be this zone", "address", c.Global)
		}
		link := kds.ClientConfig{
			Zone: c.Name, Address: c.Global, CAFile: c.TLSCA, SkipVerify: c.TLSSkipVerify, Store: z.Store(),
			Token: c.Token, TokenFile: c.TokenFile, CertFile: c.TLSCert, KeyFile: c.TLSKey,
			Validate: z.Schemas.Validate, Version: z.Version, Instance: z.Instance, Without: c.Without, Tuning: c.Sync,
			Dialer: c.Dialer, Log: c.Log, // it adds the zone
			Envoy: func(ctx context.Context, q kds.EnvoyQuestion) ([]byte, error) {
				if _, err := z.Store().Get(ctx, q.Proxy); err != nil {
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
		shown.Status, shown.Stats = z.syncStatus, z.client.Stats
	}
	serve.Metrics = metrics.Handler(shown)
	z.Serve(serve)
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

// prepare gives a new store the Zone of this plane, and its first mesh if there is no global control plane to send one.
// The error says that the store belongs to another zone.
func prepare(st storage.Store, plane resource.Plane, c control.Config) error {
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
		mesh, err := c.FirstMesh()
		if err != nil {
			return err
		}
		ops = append(ops, mesh...)
	}
	_, err = st.Apply(ctx, ops...)
	return err
}

// Run serves until ctx ends, and returns nil then; or until a part fails, and returns why. A global control plane that
// cannot be reached is no failure.
func (z *Zone) Run(ctx context.Context) error {
	if z.client == nil {
		return z.Plane.Run(ctx)
	}
	return z.Plane.Run(ctx, z.client.Run)
}

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
