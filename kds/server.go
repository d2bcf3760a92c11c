package kds

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// maxCalls is how many calls one connection may have open: a zone makes six.
const maxCalls = 128

// readBuffer is what each connection has, in bytes, to read with: most say little for most of the time. What is larger than
// the buffer is read past it.
const readBuffer = 1 << 10

// stopTime is how long Serve lets streams end by themselves before it cuts the connections.
const stopTime = 3 * time.Second

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Store    Store                         // global's
	Validate func(resource.Resource) error // judges what a zone sent, after decoding; nil accepts all
	Version  string                        // of this program, as zones see it; "": dev
	Instance string                        // names this process; "": the host's name and a random part
	TLS      *tls.Config                   // nil: plain text. At least TLS 1.2 is used in any case

	// Authenticate returns the zone that a caller's credential proves: a token ("": none), a client certificate and
	// those that TLS has verified it by (nil: none), or both. If the credential ceases to hold before release is called, lapsed is called with
	// the reason, once; it may be nil. nil: zones are believed who they are.
	Authenticate func(ctx context.Context, token string, chain []*x509.Certificate, lapsed func(error)) (zone string, release func(), err error)

	HealthInterval  time.Duration // asked of zones between two health checks; 0: they choose, in Kuma 5 min
	InsightInterval time.Duration // least time between two writes of a ZoneInsight while its counters change; 0: 10 s
	Subscriptions   int           // how many a ZoneInsight keeps; 0: 10

	Tuning
	MaxStreams   int // that one connection of a zone may have open; 0: 16. A zone opens five
	MaxLists     int // complete lists that are sent at once, to so many zones; the others wait for their turn. 0: 16
	MaxResources int // that one zone may have here, of all kinds; 0: 100,000, below 0: any number

	Log hclog.Logger // nil discards
}

// Server is the global end of KDS. Its methods may be called from any goroutine.
type Server struct {
	cfg   ServerConfig
	log   hclog.Logger
	stats counters
	cache *cache
	zones *zones
	node  *structpb.Struct // for Kuma zones
	ours  *structpb.Struct // for Meridian zones

	catalog *catalog
	ledger  *ledger
	links   links
	envoys  *envoyLines

	admission *admission

	refusals, handshakes refusalLog

	readers sync.WaitGroup // goroutines that receive

	mu       sync.Mutex                       // guards what follows
	streams  map[string]map[*session]struct{} // by zone
	stopping bool
}

// session is one open sync stream.
type session struct {
	zone       string
	conn       *connection
	end        context.CancelCauseFunc
	release    func() // the credential
	token      bool   // the call carried one
	extensions []string
	log        hclog.Logger
}

// NewServer returns a server that is not yet serving.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	cfg.Version = cmp.Or(cfg.Version, "dev")
	cfg.Instance = cmp.Or(cfg.Instance, instanceName())
	cfg.InsightInterval = cmp.Or(cfg.InsightInterval, 10*time.Second)
	cfg.Subscriptions = cmp.Or(cfg.Subscriptions, 10)
	cfg.Tuning = cfg.withDefaults()
	cfg.MaxStreams = cmp.Or(cfg.MaxStreams, 16)
	cfg.MaxLists = cmp.Or(cfg.MaxLists, 16)
	cfg.MaxResources = cmp.Or(cfg.MaxResources, 100_000)
	s := &Server{
		cfg: cfg, log: cfg.Log.Named("kds"), zones: &zones{store: cfg.Store}, streams: map[string]map[*session]struct{}{},
		node: nodeMetadata(cfg.Version, cfg.Instance, "", scope.Announced),
		ours: nodeMetadata(cfg.Version, cfg.Instance, "", slices.Concat(scope.Announced, offered)),
	}
	s.cache = newCache("", &s.stats)
	s.catalog = newCatalog(cfg.Store, s.cache, toZone)
	s.ledger = newLedger(cfg.StallTime, s.log)
	s.admission = newAdmission(cfg.MaxLists)
	s.links.zone = map[string]*link{}
	s.envoys = newEnvoyLines()
	return s
}

// Stats returns what the server has done so far.
func (s *Server) Stats() Stats {
	stats := s.stats.snapshot()
	stats.Lists, stats.ListsWaiting, stats.MostLists = s.admission.usage()
	return stats
}

// Status returns how the sync with each zone is, by name: of those that there is a Zone for, and of those that are connected.
func (s *Server) Status(ctx context.Context) ([]PeerStatus, error) {
	list, err := s.status(ctx, false)
	if err != nil {
		return nil, err
	}
	return list, lags(ctx, s.cfg.Store, list)
}

// States is Status without the kinds: of many zones these are much to send.
func (s *Server) States(ctx context.Context) ([]PeerStatus, error) { return s.status(ctx, true) }

func (s *Server) status(ctx context.Context, brief bool) ([]PeerStatus, error) {
	enabled, _, _, err := s.zones.current(ctx)
	if err != nil {
		return nil, err
	}
	return s.ledger.status(brief, slices.Collect(maps.Keys(enabled))...), nil
}

// Stalled says whether a zone is connected and makes no progress.
func (s *Server) Stalled(zone string) bool {
	state, _ := s.ledger.peek(zone)
	return state == Stalled
}

// Heard returns when anything came last from a zone that is connected: zero if it is not, or if that is not known.
func (s *Server) Heard(zone string) time.Time {
	state, at := s.ledger.peek(zone)
	if state == Offline {
		return time.Time{}
	}
	return at
}

// Await returns what has become of each of list, resources of this store, in each zone (or in those that are named), by
// name: as soon as all of that is settled, or else after wait.
func (s *Server) Await(ctx context.Context, list []resource.Resource, zones []string, wait time.Duration) ([]Fate, error) {
	subjects := make([]scope.Subject, len(list))
	for i, r := range list {
		subjects[i] = scope.Inspect(r)
	}
	return await(ctx, &s.ledger.bell, len(list), wait, func(i int, open []string) ([]Verdict, error) {
		if open == nil {
			open = zones
		}
		return s.verdicts(ctx, list[i], subjects[i], open)
	})
}

// Trace returns the way of r, a resource of this store, as far as this control plane knows it.
func (s *Server) Trace(ctx context.Context, r resource.Resource) ([]Hop, error) {
	list, err := s.SyncOf(ctx, r)
	if err != nil {
		return nil, err
	}
	way := arrival(r, "")
	for _, v := range list {
		way = append(way, s.ledger.account(v.Zone).hops(r, "", v)...)
	}
	return way, nil
}

// SyncOf returns what has become of r, a resource of this store, in each zone, by name.
func (s *Server) SyncOf(ctx context.Context, r resource.Resource) ([]Verdict, error) {
	return s.verdicts(ctx, r, scope.Inspect(r), nil)
}

// verdicts is SyncOf for some zones, or all; subject is that of r.
func (s *Server) verdicts(ctx context.Context, r resource.Resource, subject scope.Subject, zones []string) ([]Verdict, error) {
	enabled, _, _, err := s.zones.current(ctx)
	if err != nil {
		return nil, err
	}
	if len(zones) == 0 {
		zones = slices.Collect(maps.Keys(enabled))
	}
	zones = slices.Compact(slices.Sorted(slices.Values(zones)))
	list := make([]Verdict, 0, len(zones))
	for _, zone := range zones {
		if _, known := enabled[zone]; !known {
			continue
		}
		a := s.ledger.account(zone)
		v, err := a.syncOf(r, subject, scope.Peer{Zones: enabled}, a.peer(), s.cache)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// Retry has a resource that a zone has rejected offered to it again, unchanged: now if the zone is connected, or else
// when it is. resource.ErrNotFound: the zone has not rejected it.
func (s *Server) Retry(zone string, id resource.Identity) error {
	return s.ledger.account(zone).retryOne(id)
}

// Confirm carries out the deletes of a kind that a zone has asked for and that were held back, and returns how many
// resources it deleted. resource.ErrNotFound: nothing is held.
func (s *Server) Confirm(ctx context.Context, zone, kind string) (int, error) {
	return s.ledger.account(zone).confirm(ctx, s.cfg.Store, kind)
}

// Register adds the services to a gRPC server of the caller's. Serve does that, and more, by itself.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	meshv1.RegisterKDSSyncServiceServer(r, syncService{server: s})
	meshv1.RegisterGlobalKDSServiceServer(r, globalService{server: s})
	syncv1.RegisterKnowledgeServiceServer(r, knowledgeService{server: s})
}

// Serve serves zones on listener until ctx ends, and returns when the last stream has ended. It closes listener. nil: it
// was asked to stop. A Server serves once.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	stale := s.CloseStale(ctx)
	if ctx.Err() != nil {
		return nil // asked to stop before it began
	}
	if errors.Is(stale, resource.ErrDamaged) || errors.Is(stale, resource.ErrClosed) {
		return fmt.Errorf("close subscriptions of an earlier run: %w", stale)
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(s.cfg.acceptBytes()), grpc.MaxSendMsgSize(s.cfg.MaxMessageBytes), grpc.MaxConcurrentStreams(maxCalls),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.ReadBufferSize(readBuffer), grpc.WaitForHandlers(true), grpc.StatsHandler(connectionTags{}),
	}
	if s.cfg.TLS != nil {
		config := s.cfg.TLS.Clone()
		config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
		options = append(options, grpc.Creds(handshakes{credentials.NewTLS(config), s.log, &s.handshakes}))
	}
	server := grpc.NewServer(options...)
	s.Register(server)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var failure error
	if stale != nil { // a full disk is no reason to let zones wait
		s.log.Warn("subscriptions of an earlier run not closed, trying again", "err", stale)
		wg.Go(func() { s.closeStaleLater(ctx) })
	}
	wg.Go(func() {
		defer stop()
		if err := server.Serve(heardListener{listener}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			failure = fmt.Errorf("serve KDS on %s: %w", listener.Addr(), err)
		}
	})
	s.log.Info("kds server is listening", "address", listener.Addr().String(), "tls", s.cfg.TLS != nil)
	<-ctx.Done()
	s.endStreams(errStopping)
	// A stream whose peer has stopped reading does not end by itself.
	cut := time.AfterFunc(stopTime, server.Stop)
	server.GracefulStop()
	cut.Stop()
	wg.Wait()
	s.readers.Wait()
	return failure
}

// endStreams ends all streams, and those that come later.
func (s *Server) endStreams(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, list := range s.streams {
		for open := range list {
			open.end(reason)
		}
	}
}

// stream runs one stream of a zone and returns its status. Most streams wait in run for most of their time, so neither here
// nor there is anything large on the stack: what begins and what ends a stream has functions of its own.
func (s *Server) stream(ctx context.Context, name string, run func(ctx context.Context, open *session) error) error {
	ctx, open, err := s.begin(ctx, name)
	if open == nil {
		return toStatus(err)
	}
	if err == nil {
		err = run(ctx, open)
		s.ledger.account(open.zone).closed(err)
	}
	return s.finish(ctx, open, err)
}

// begin makes a stream one of its zone. With an error that is not about who calls there is a session, which finish ends.
func (s *Server) begin(ctx context.Context, name string) (context.Context, *session, error) {
	ctx, end := context.WithCancelCause(ctx)
	zone, md, release, err := s.caller(ctx, end)
	if err != nil {
		end(nil)
		return ctx, nil, err
	}
	open := &session{
		zone: zone, conn: connectionOf(ctx), end: end, release: release, log: s.log.With("zone", zone, "stream", name),
		token: hasToken(md), extensions: md[metaExtensions],
	}
	s.mu.Lock()
	if s.stopping {
		end(errStopping)
	}
	streams := 1
	for other := range s.streams[zone] {
		if other.conn == open.conn {
			streams++
		}
	}
	if streams > s.cfg.MaxStreams {
		end(fmt.Errorf("%w: zone %q would have %d streams open, and %d are allowed", errLimit, zone, streams, s.cfg.MaxStreams))
	}
	s.add(open)
	s.mu.Unlock()
	open.log.Info("stream opened", "version", md.Get(metaVersion))
	err = context.Cause(ctx)
	if err == nil && (name != downName || len(md[metaInstance]) == 1) {
		err = s.links.wait(ctx, open, strings.Join(md[metaInstance], ""))
	}
	if err == nil {
		err = s.join(ctx, zone)
	}
	if err == nil {
		s.ledger.account(zone).opened(func(reason error) { s.endZone(zone, reason) }, open.conn.pulse())
	}
	return ctx, open, err
}

// finish takes a stream out, and returns its status.
func (s *Server) finish(ctx context.Context, open *session, err error) error {
	defer open.end(nil)
	defer open.release()
	s.mu.Lock()
	s.remove(open)
	s.mu.Unlock()
	s.links.leave(open)
	if errors.Is(err, errZoneGone) {
		s.endZone(open.zone, errZoneGone)
	}
	switch code(err) {
	case codes.OK:
		open.log.Debug("stream closed", "why", err)
	case codes.AlreadyExists:
		s.refused(ctx, open.zone, err)
	case codes.Unauthenticated:
		open.log.Warn("stream ended, the zone's credential does not hold any more", "err", err)
	case codes.Canceled, codes.Unavailable, codes.DeadlineExceeded:
		open.log.Info("stream ended", "err", err)
	default:
		// A Kuma zone does not notice when only one of its streams is gone.
		open.log.Error("stream failed, the zone has to reconnect", "err", err)
		s.endZone(open.zone, errLinkLost)
	}
	return toStatus(err)
}

// add makes open one of the streams of its zone. The caller holds mu.
func (s *Server) add(open *session) {
	if s.streams[open.zone] == nil {
		s.streams[open.zone] = map[*session]struct{}{}
	}
	s.streams[open.zone][open] = struct{}{}
}

// remove takes it out. The caller holds mu.
func (s *Server) remove(open *session) {
	if delete(s.streams[open.zone], open); len(s.streams[open.zone]) == 0 {
		delete(s.streams, open.zone)
	}
}

// endZone ends all streams of a zone.
func (s *Server) endZone(zone string, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for open := range s.streams[zone] {
		open.end(reason)
	}
}

func toStatus(err error) error {
	if errors.Is(err, errUnneeded) {
		return nil
	}
	return status.Error(code(err), err.Error())
}

// The two services are types of their own: a method of both could not have two meanings.
type (
	syncService struct {
		meshv1.UnimplementedKDSSyncServiceServer
		server *Server
	}
	globalService struct {
		meshv1.UnimplementedGlobalKDSServiceServer
		server *Server
	}
)

// GlobalToZoneSync sends a zone what it is to have.
func (g syncService) GlobalToZoneSync(stream grpc.BidiStreamingServer[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]) error {
	s := g.server
	return s.stream(stream.Context(), downName, func(ctx context.Context, open *session) error {
		sender := s.sender(stream, open)
		defer sender.insight.end(ctx)
		return sender.run(ctx, &s.readers)
	})
}

func (s *Server) sender(stream sendStream, open *session) *sender {
	zone := open.zone
	return &sender{
		stream: stream, store: s.cfg.Store, identifier: globalIdentifier, zones: s.zones, stats: &s.stats, log: open.log,
		insight: &subscription{server: s, zone: zone, token: open.token},
		account: s.ledger.account(zone), catalog: s.catalog, tuning: s.cfg.Tuning, turn: s.admission.turn(zone),
		to:         audience{to: scope.Peer{Zone: zone}, variant: toZone, cache: s.cache, largest: s.cfg.MaxResourceBytes()},
		summonable: s.envoys.summonable, identify: func(instance string) error {
			_, err := s.links.claim(open, instance)
			return err
		},
	}
}

// ZoneToGlobalSync takes what was written in a zone.
func (g syncService) ZoneToGlobalSync(stream grpc.BidiStreamingServer[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]) error {
	s := g.server
	return s.stream(stream.Context(), upName, func(ctx context.Context, open *session) error {
		return s.receiver(stream, open).run(ctx, &s.readers)
	})
}

func (s *Server) receiver(stream receiveStream, open *session) *receiver {
	zone := open.zone
	r := &receiver{
		stream: stream, store: s.cfg.Store, source: source{zone: zone, onGlobal: true}, kinds: kindsFor(true),
		metadata: s.node, identifier: zone, validate: s.cfg.Validate, stats: &s.stats, log: open.log,
		account: s.ledger.account(zone), catalog: s.catalog, guard: s.cfg.Guard, version: s.cfg.Version, most: s.cfg.MaxResources,
	}
	if extended(open.extensions) {
		r.extended, r.metadata = true, s.ours
	}
	return r
}

// HealthCheck records that a zone is alive and says when to call again.
func (g globalService) HealthCheck(ctx context.Context, _ *meshv1.ZoneHealthCheckRequest) (*meshv1.ZoneHealthCheckResponse, error) {
	s := g.server
	zone, md, release, err := s.caller(ctx, nil)
	if err != nil {
		return nil, toStatus(err)
	}
	defer release()
	if meridianZone(md) {
		header := metadata.MD{metaExtensions: offered}
		if err := grpc.SetHeader(ctx, header); err != nil {
			return nil, toStatus(err)
		}
	}
	err = s.updateInsight(ctx, zone, func(in *systemv1.ZoneInsight) bool {
		in.HealthCheck = &systemv1.HealthCheck{Time: timestamppb.Now()}
		return true
	})
	if err != nil && !errors.Is(err, resource.ErrNotFound) { // it may come before the streams have made the Zone
		s.log.Warn("health check not recorded", "zone", zone, "err", err)
		return nil, toStatus(err)
	}
	return &meshv1.ZoneHealthCheckResponse{Interval: durationpb.New(s.cfg.HealthInterval)}, nil
}

// instanceName returns the host's name and a random part.
func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + uuid.NewString()[:4]
}
