package kds

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	firstWait   = 200 * time.Millisecond
	longestWait = 30 * time.Second
	waitFactor  = 2
	healthyTime = time.Minute // a connection that lived this long starts the backoff anew

	// A Kuma global makes the Zone when GlobalToZoneSync opens, and ends the other stream if that brings something before. So
	// the zone waits for the first response, but not for long: a global that has nothing at all to say says nothing.
	joinTime = time.Second

	defaultHealthInterval = 5 * time.Minute // Kuma's

	// Kuma's global looks into a zone's configuration for the type of its store: all but kubernetes are alike to it, and
	// without one the zone's proxies cannot be inspected.
	defaultSettings = `{"mode":"zone","environment":"universal","store":{"type":"memory"}}`
)

// ClientConfig is what a Client needs.
type ClientConfig struct {
	Zone       string // this zone's name, a DNS name
	Address    string // of global: grpcs://HOST:PORT, or grpc://HOST:PORT for plain text
	CAFile     string // PEM, verifies global's certificate; read at every dial; "": the system's roots
	SkipVerify bool   // do not verify global's certificate

	// How the zone proves who it is. The files are read at every dial, so that a new token needs no restart.
	Token     string // "": none, or that of TokenFile
	TokenFile string // holds the token, and maybe white space around it
	CertFile  string // PEM, shown to global; with KeyFile
	KeyFile   string

	Store    Store                         // the zone's
	Validate func(resource.Resource) error // judges what global sent, after decoding; nil accepts all
	Version  string                        // of this program, as global sees it; "": dev
	Instance string                        // names this process; "": the host's name and a random part
	Settings string                        // this zone's configuration as JSON, shown by global; "": the least that Kuma needs

	Tuning

	// Envoy answers what global asks about the Envoy of a proxy, in 10 s; nil: there is none to ask.
	Envoy func(ctx context.Context, q EnvoyQuestion) ([]byte, error)

	// Without are features that the zone does not announce, as if it were an older build: those of kds/scope, and of the
	// extensions. For tests and simulations.
	Without []string
	Dialer  func(ctx context.Context, address string) (net.Conn, error) // for tests; nil: TCP
	Log     hclog.Logger                                                // nil discards
}

// Check says everything that is wrong with the configuration, and with the files that it names.
func (c ClientConfig) Check() error {
	var caErr error
	if c.CAFile != "" {
		_, caErr = readCA(c.CAFile)
	}
	_, tokenErr := c.token()
	_, certErr := c.certificate()
	return errors.Join(c.checkNames(), caErr, tokenErr, certErr)
}

// checkNames says what is wrong with the configuration and will remain so.
func (c ClientConfig) checkNames() error {
	_, addressErr := hostPort(c.Address)
	var nameErr error
	if !resource.ValidZoneName(c.Zone) {
		nameErr = fmt.Errorf("zone name %q is not a DNS name: a-z, 0-9, - and dots, at most 63", c.Zone)
	}
	return errors.Join(nameErr, addressErr)
}

// token returns the token of the zone, "" if it has none.
func (c ClientConfig) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	data, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("token of the zone: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("token of the zone: %s is empty", c.TokenFile)
	}
	return token, nil
}

// certificate returns what the zone shows to global, nil if it has none.
func (c ClientConfig) certificate() (*tls.Certificate, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate of the zone, %s: %w", c.CertFile, err)
	}
	return &cert, nil
}

// Link is how the connection to global is.
type Link struct {
	Address      string
	Connected    bool      // global has been heard on the current connection
	Since        time.Time // when Connected became what it is
	LastReceived time.Time // when anything came from global; zero: never
	LastError    error     // why the last connection ended, nil before the first end
	Generation   int       // how many connections there have been

	Sync PeerStatus // how far the sync has got
}

// Client is the zone end of KDS. Run it once; its other methods may be called from any goroutine.
type Client struct {
	cfg   ClientConfig
	log   hclog.Logger
	stats counters
	cache *cache
	node  *structpb.Struct // for a Kuma global
	ours  *structpb.Struct // for a Meridian global

	catalog *catalog
	ledger  *ledger
	account *account // that of global

	heartbeat atomic.Pointer[heartbeat] // of the connection that was dialled last; nil: none yet
	oracle    atomic.Pointer[oracle]    // nil: there is no connection to a Meridian global

	mu   sync.Mutex // guards link
	link Link
}

// NewClient returns a client that has not dialled yet.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	cfg.Version = cmp.Or(cfg.Version, "dev")
	cfg.Instance = cmp.Or(cfg.Instance, instanceName())
	cfg.Settings = cmp.Or(cfg.Settings, defaultSettings)
	cfg.Tuning = cfg.withDefaults()
	announced := without(scope.Announced, cfg.Without)
	c := &Client{
		cfg: cfg, log: cfg.Log.Named("kds").With("zone", cfg.Zone), link: Link{Address: cfg.Address, Since: time.Now()},
		node: nodeMetadata(cfg.Version, cfg.Instance, cfg.Settings, announced),
		ours: nodeMetadata(cfg.Version, cfg.Instance, cfg.Settings, slices.Concat(announced, without(offered, cfg.Without))),
	}
	c.cache = newCache(cfg.Zone, &c.stats)
	c.catalog = newCatalog(cfg.Store, c.cache, toGlobal)
	c.ledger = newLedger(cfg.StallTime, c.log)
	c.account = c.ledger.account("")
	return c
}

// without returns names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

// Stats returns what the client has done so far.
func (c *Client) Stats() Stats { return c.stats.snapshot() }

// Status returns how the link is now.
func (c *Client) Status() Link {
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	link.Sync = c.account.status(false)
	if heard := link.Sync.Heard; heard.After(link.LastReceived) && !link.LastReceived.IsZero() {
		link.LastReceived = heard
	}
	return link
}

// SyncStatus returns how the sync with global is, with how far it lags behind.
func (c *Client) SyncStatus(ctx context.Context) (PeerStatus, error) {
	list := []PeerStatus{c.account.status(false)}
	err := lags(ctx, c.cfg.Store, list)
	return list[0], err
}

// SyncOf returns what has become of r, a resource of this store, on global.
func (c *Client) SyncOf(_ context.Context, r resource.Resource) ([]Verdict, error) {
	v, err := c.account.syncOf(r, scope.Inspect(r), scope.Peer{Zone: c.cfg.Zone}, c.account.peer(), c.cache)
	if err != nil {
		return nil, err
	}
	return []Verdict{v}, nil
}

// Retry has a resource that global has rejected offered to it again, unchanged. resource.ErrNotFound: it has not rejected it.
func (c *Client) Retry(id resource.Identity) error { return c.account.retryOne(id) }

// Confirm carries out the deletes of a kind that came from global and were held back, and returns how many resources it
// deleted. resource.ErrNotFound: nothing is held.
func (c *Client) Confirm(ctx context.Context, kind string) (int, error) {
	return c.account.confirm(ctx, c.cfg.Store, kind)
}

// Run keeps the zone connected to global until ctx ends; then it returns nil. However a connection ends, also a clean
// end, it dials again: after 200 ms at first, then longer each time up to 30 s, each wait between half and one and a half
// of that. Files that cannot be read, or are being written, are such an end. The error is that of a zone or an address that
// is none.
func (c *Client) Run(ctx context.Context) error {
	if err := c.cfg.checkNames(); err != nil {
		return fmt.Errorf("kds client: %w", err)
	}
	waits := &backoff.ExponentialBackOff{
		InitialInterval: firstWait, MaxInterval: longestWait, Multiplier: waitFactor, RandomizationFactor: 0.5,
	}
	for ctx.Err() == nil {
		begun := time.Now()
		err := c.connect(ctx)
		c.ended(err)
		if ctx.Err() != nil {
			break
		}
		if time.Since(begun) >= healthyTime {
			waits.Reset()
		}
		wait := min(waits.NextBackOff(), longestWait)
		say := c.log.Warn
		switch status.Code(err) {
		case codes.AlreadyExists, codes.Unauthenticated, codes.PermissionDenied: // somebody has to do something
			say = c.log.Error
		}
		say("no link to global, will dial again", "address", c.cfg.Address, "wait", wait.Round(time.Millisecond).String(), "err", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// connect dials once, runs all calls on that connection until the first of them ends, and returns why it did.
func (c *Client) connect(ctx context.Context) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	token, err := c.cfg.token()
	if err != nil {
		return err
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, metaCredential, bearer+token)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, metaZone, c.cfg.Zone, metaProtocol, "v3", metaVersion, c.cfg.Version,
		metaFeatures, "zone-ping-health", metaFeatures, scope.FeatureHashedNames)
	health := meshv1.NewGlobalKDSServiceClient(conn)
	interval, features, err := c.greet(ctx, health)
	if err != nil {
		c.account.failed(err)
		return fmt.Errorf("HealthCheck: %w", err)
	}
	ours := extended(features)
	if ours {
		ctx = metadata.AppendToOutgoingContext(ctx, metaInstance, c.cfg.Instance)
		for _, f := range without(offered, c.cfg.Without) {
			ctx = metadata.AppendToOutgoingContext(ctx, metaExtensions, f)
		}
		md, _ := metadata.FromOutgoingContext(ctx)
		c.oracle.Store(&oracle{syncv1.NewKnowledgeServiceClient(conn), md})
		defer c.oracle.Store(nil)
	}
	ctx, end := context.WithCancelCause(ctx)
	c.account.opened(end, c.heartbeat.Load())
	defer func() { c.account.closed(context.Cause(ctx)) }()
	var calls, readers sync.WaitGroup
	run := func(name string, call func(context.Context) error) {
		calls.Go(func() {
			err := call(ctx)
			if status.Code(err) == codes.Unimplemented {
				err = fmt.Errorf("the address answers gRPC but not this call; is it a global control plane? %w", err)
			}
			end(fmt.Errorf("%s: %w", name, err))
		})
	}
	global := meshv1.NewKDSSyncServiceClient(conn)
	joined, join := context.WithTimeout(ctx, joinTime)
	defer join()
	if ours {
		join()
	}
	summoned := c.answers(features, &calls, func(view EnvoyView, summoned bool) {
		err := c.answer(ctx, view, health, &readers)
		if err != nil && !(summoned && errors.Is(err, errClosed)) {
			end(fmt.Errorf("%s: %w", envoyCalls[view].stream, err))
		}
	})
	run(downName, func(ctx context.Context) error { return c.receive(ctx, global, ours, join, summoned, &readers) })
	run(upName, func(ctx context.Context) error {
		<-joined.Done()
		return c.send(ctx, global, &readers)
	})
	run("HealthCheck", func(ctx context.Context) error { return c.healthChecks(ctx, health, interval) })
	calls.Wait()
	readers.Wait() // their streams ended with ctx
	return context.Cause(ctx)
}

// greet makes the first health check, which tells how long to wait for the next (0: global has none), and the features that
// a Meridian global has: only such a one hears of extensions.
func (c *Client) greet(ctx context.Context, global meshv1.GlobalKDSServiceClient) (interval time.Duration, features []string, err error) {
	var header metadata.MD
	answer, err := global.HealthCheck(ctx, &meshv1.ZoneHealthCheckRequest{}, grpc.Header(&header))
	if status.Code(err) == codes.Unimplemented {
		c.log.Info("global has no health checks", "err", err)
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	if !slices.Contains(c.cfg.Without, scope.FeatureHashedNames) {
		features = without(header[metaExtensions], c.cfg.Without)
	}
	return cmp.Or(answer.GetInterval().AsDuration(), defaultHealthInterval), features, nil
}

// receive takes what global sends; joined is called with every response, summoned with every summons.
func (c *Client) receive(ctx context.Context, global meshv1.KDSSyncServiceClient, ours bool, joined func(), summoned func(EnvoyView), readers *sync.WaitGroup) error {
	stream, err := global.GlobalToZoneSync(ctx)
	if err != nil {
		return err
	}
	session := &receiver{
		stream: stream, store: c.cfg.Store, source: source{zone: c.cfg.Zone}, kinds: kindsFor(false), metadata: c.node,
		identifier: globalIdentifier, validate: c.cfg.Validate, heard: func() { c.heard(); joined() }, stats: &c.stats, log: c.log.With("stream", downName),
		account: c.account, guard: c.cfg.Guard, version: c.cfg.Version, summoned: summoned,
	}
	if ours {
		session.extended, session.metadata = true, c.ours
	}
	return session.run(ctx, readers)
}

func (c *Client) send(ctx context.Context, global meshv1.KDSSyncServiceClient, readers *sync.WaitGroup) error {
	stream, err := global.ZoneToGlobalSync(ctx)
	if err != nil {
		return err
	}
	session := &sender{
		stream: stream, store: c.cfg.Store, identifier: c.cfg.Zone, heard: c.heard, stats: &c.stats, log: c.log.With("stream", upName),
		account: c.account, catalog: c.catalog, tuning: c.cfg.Tuning,
		to: audience{from: scope.Peer{Zone: c.cfg.Zone}, variant: toGlobal, cache: c.cache, largest: c.cfg.MaxResourceBytes()},
	}
	return session.run(ctx, readers)
}

// healthChecks calls at the interval that global asks for; 0: never.
func (c *Client) healthChecks(ctx context.Context, global meshv1.GlobalKDSServiceClient, interval time.Duration) error {
	if interval == 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	c.heard()
	for {
		timer := time.NewTimer(interval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		answer, err := global.HealthCheck(ctx, &meshv1.ZoneHealthCheckRequest{})
		if err != nil {
			return err
		}
		c.heard()
		if asked := answer.GetInterval().AsDuration(); asked > 0 {
			interval = asked
		}
	}
}

// heard notes that something came from global.
func (c *Client) heard() {
	now := time.Now()
	c.mu.Lock()
	first := !c.link.Connected
	if first {
		c.link.Connected, c.link.Since = true, now
		c.link.Generation++
	}
	c.link.LastReceived = now
	c.mu.Unlock()
	if first {
		c.log.Info("linked to global", "address", c.cfg.Address)
	}
}

// ended notes that the connection is over.
func (c *Client) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link.Connected {
		c.link.Connected, c.link.Since = false, time.Now()
	}
	c.link.LastError = err
}

// dial prepares a connection; the first call on it makes it.
func (c *Client) dial() (*grpc.ClientConn, error) {
	target, err := hostPort(c.cfg.Address)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if target.secure {
		config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.cfg.SkipVerify}
		if c.cfg.CAFile != "" {
			if config.RootCAs, err = readCA(c.cfg.CAFile); err != nil {
				return nil, err
			}
		}
		cert, err := c.cfg.certificate()
		if err != nil {
			return nil, err
		}
		if cert != nil {
			// Shown also if global asks for other CAs: its refusal says more than the lack of a certificate.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		}
		creds = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(heardCredentials{creds, &c.heartbeat}),
		grpc.WithUserAgent(fmt.Sprintf("kds/%s (%s; %s; Meridian)", c.cfg.Version, runtime.GOOS, runtime.GOARCH)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true}),
		// Not compressed: between data centres a policy is small, and gzip costs more time than it saves. Kuma's global
		// takes both.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.cfg.acceptBytes()), grpc.MaxCallSendMsgSize(c.cfg.MaxMessageBytes)),
	}
	if c.cfg.Dialer != nil {
		options = append(options, grpc.WithContextDialer(c.cfg.Dialer))
	}
	return grpc.NewClient("passthrough:///"+target.address, options...)
}

type target struct {
	address string // host:port
	secure  bool
}

func hostPort(address string) (target, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "grpc" && u.Scheme != "grpcs" || u.Hostname() == "" || u.Port() == "" {
		return target{}, fmt.Errorf("address of global is %q, want grpcs://HOST:PORT, or grpc://HOST:PORT for plain text", address)
	}
	return target{address: u.Host, secure: u.Scheme == "grpcs"}, nil
}

func readCA(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA of global: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("CA of global: %s holds no PEM certificate", file)
	}
	return pool, nil
}
