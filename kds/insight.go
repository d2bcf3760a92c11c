package kds

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// lastWords is how long writing down that a stream ended may take: its own context is over by then.
const lastWords = 5 * time.Second

// maxTries bounds the attempts of one compare-and-set.
const maxTries = 20

// subscription is the record of one GlobalToZoneSync stream in the ZoneInsight of its zone. It belongs to the goroutine
// of its session; the methods of a nil subscription do nothing.
type subscription struct {
	server *Server
	zone   string
	token  bool                      // the call carried an authorization
	record *systemv1.KDSSubscription // but for the counters
	counts []counted                 // by kind, in the order in which they were sent first
	timer  *time.Timer               // runs while there are counters to write, else nil
}

// counted is a KDSServiceStats of one kind: of 1,000 zones with 41 kinds each the messages themselves would be much.
type counted struct {
	kind                    string
	sent, settled, rejected uint64
}

// begin records that the stream is open. node is that of its first request.
func (s *subscription) begin(ctx context.Context, node *core.Node) {
	if s == nil {
		return
	}
	fields := node.GetMetadata().GetFields()
	s.record = &systemv1.KDSSubscription{
		Id: uuid.NewString(), GlobalInstanceId: s.server.cfg.Instance, ZoneInstanceId: fields["control-plane-id"].GetStringValue(),
		ConnectTime: timestamppb.Now(), Config: fields["config"].GetStringValue(), AuthTokenProvided: s.token,
		Status: &systemv1.KDSSubscriptionStatus{},
	}
	if v := fields["version"].GetStructValue().GetFields()["kumaCp"].GetStructValue().GetFields(); v != nil {
		text := func(key string) string { return v[key].GetStringValue() }
		s.record.Version = &systemv1.Version{KumaCp: &systemv1.KumaCpVersion{
			Version: text("version"), GitTag: text("gitTag"), GitCommit: text("gitCommit"), BuildDate: text("buildDate"),
			KumaCpGlobalCompatible: compatible(text("version"), s.server.cfg.Version),
		}}
	}
	s.write(ctx, true)
}

func (s *subscription) sent(kind string) { s.count(kind, func(c *counted) { c.sent++ }) }

func (s *subscription) settled(kind string, rejected bool) {
	s.count(kind, func(c *counted) {
		if c.settled++; rejected {
			c.rejected++
		}
	})
}

func (s *subscription) count(kind string, add func(*counted)) {
	if s == nil || s.record == nil {
		return
	}
	i := slices.IndexFunc(s.counts, func(c counted) bool { return c.kind == kind })
	if s.counts == nil {
		s.counts = make([]counted, 0, len(fromGlobal))
	}
	if i < 0 {
		i = len(s.counts)
		s.counts = append(s.counts, counted{kind: kind})
	}
	add(&s.counts[i])
	s.record.Status.LastUpdateTime = timestamppb.Now()
	if s.timer == nil {
		s.timer = time.NewTimer(s.server.cfg.InsightInterval)
	}
}

// withCounts returns the record with its counters.
func (s *subscription) withCounts() *systemv1.KDSSubscription {
	record := proto.CloneOf(s.record)
	status := record.Status
	status.Total, status.Stat = &systemv1.KDSServiceStats{}, map[string]*systemv1.KDSServiceStats{}
	for _, c := range s.counts {
		of := &systemv1.KDSServiceStats{
			ResponsesSent: c.sent, ResponsesAcknowledged: c.settled - c.rejected, ResponsesRejected: c.rejected,
		}
		status.Stat[c.kind] = of
		status.Total.ResponsesSent += of.ResponsesSent
		status.Total.ResponsesAcknowledged += of.ResponsesAcknowledged
		status.Total.ResponsesRejected += of.ResponsesRejected
	}
	return record
}

// due returns a channel that fires when counters are to be written, nil while none have changed.
func (s *subscription) due() <-chan time.Time {
	if s == nil || s.timer == nil {
		return nil
	}
	return s.timer.C
}

func (s *subscription) flush(ctx context.Context) { s.write(ctx, false) }

// end records that the stream is over.
func (s *subscription) end(ctx context.Context) {
	if s == nil || s.record == nil {
		return
	}
	s.record.DisconnectTime = timestamppb.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	s.write(ctx, false)
}

// write stores the record. That it failed is no reason to end a stream that otherwise works.
func (s *subscription) write(ctx context.Context, isNew bool) {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	now := s.withCounts()
	err := s.server.updateInsight(ctx, s.zone, func(in *systemv1.ZoneInsight) bool {
		s.server.nameStreams(in, s.zone)
		return record(in, now, isNew, s.server.cfg.Subscriptions)
	})
	if now.DisconnectTime != nil { // by a newer stream
		s.record.DisconnectTime = now.DisconnectTime
	}
	if err != nil {
		s.server.log.Warn("zone insight not written", "zone", s.zone, "err", err)
	}
}

// nameStreams notes in in which of the streams for questions to Envoys this instance holds, or can have opened. It goes with what is written
// anyway: a zone that is connected answers something soon.
func (s *Server) nameStreams(in *systemv1.ZoneInsight, zone string) {
	streams := &systemv1.EnvoyAdminStreams{}
	if in.EnvoyAdminStreams != nil {
		streams = in.EnvoyAdminStreams
	}
	for view, id := range map[EnvoyView]*string{
		EnvoyConfig: &streams.ConfigDumpGlobalInstanceId, EnvoyStats: &streams.StatsGlobalInstanceId, EnvoyClusters: &streams.ClustersGlobalInstanceId,
	} {
		if s.envoys.reach(envoyKey{zone, view}) {
			*id, in.EnvoyAdminStreams = s.cfg.Instance, streams
		}
	}
}

// record puts sub into in, and says whether that changed it. A new one ends those before it that are still open, and of
// all the last keep stay. One that was ended by a newer stream stays ended, and one that was dropped stays away.
func record(in *systemv1.ZoneInsight, sub *systemv1.KDSSubscription, isNew bool, keep int) bool {
	if isNew {
		for _, old := range in.Subscriptions {
			if old.DisconnectTime == nil {
				old.DisconnectTime = sub.ConnectTime
			}
		}
		in.Subscriptions = append(in.Subscriptions, sub)
		in.Subscriptions = in.Subscriptions[max(0, len(in.Subscriptions)-keep):]
		return true
	}
	for i, old := range in.Subscriptions {
		if old.Id == sub.Id {
			if sub.DisconnectTime == nil {
				sub.DisconnectTime = old.DisconnectTime
			}
			in.Subscriptions[i] = sub
			return true
		}
	}
	return false
}

// updateInsight changes the ZoneInsight of a zone; it makes one if there is none, but not if the Zone itself is gone.
// change says whether it changed anything; it may be called several times.
func (s *Server) updateInsight(ctx context.Context, zone string, change func(*systemv1.ZoneInsight) bool) error {
	key := resource.Key{Kind: "ZoneInsight", Name: zone}
	for range maxTries {
		var fence []resource.Op
		r, err := s.cfg.Store.Get(ctx, key)
		if errors.Is(err, resource.ErrNotFound) {
			of, err := s.cfg.Store.Get(ctx, resource.Key{Kind: "Zone", Name: zone})
			if err != nil {
				return err
			}
			r, fence = resource.Resource{Key: key}, []resource.Op{resource.Check(of.Key, of.Version)}
		} else if err != nil {
			return err
		}
		var in systemv1.ZoneInsight
		if err := proto.Unmarshal(r.Spec, &in); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if !change(&in) {
			return nil
		}
		if r.Spec, err = deterministic.Marshal(&in); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if _, err = s.cfg.Store.Apply(ctx, append(fence, resource.Put(r).If(r.Version))...); !errors.Is(err, resource.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%s: %d attempts: %w", key, maxTries, resource.ErrConflict)
}

// CloseStale ends the subscriptions that a run of this control plane left open when it was killed: as of now, since
// nobody wrote down when. Serve calls it first; who serves by other means calls it before.
func (s *Server) CloseStale(ctx context.Context) error {
	return s.closeOpen(ctx, func(sub *systemv1.KDSSubscription) bool { return true })
}

// closeStaleLater does CloseStale beside open streams, again and again until it succeeds.
func (s *Server) closeStaleLater(ctx context.Context) {
	again := time.NewTicker(time.Minute)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		if s.closeOpen(ctx, func(sub *systemv1.KDSSubscription) bool { return sub.GlobalInstanceId != s.cfg.Instance }) == nil {
			return
		}
	}
}

// closeOpen ends those of the open subscriptions that are stale.
func (s *Server) closeOpen(ctx context.Context, stale func(*systemv1.KDSSubscription) bool) error {
	var open []string
	err := s.cfg.Store.View(ctx, "ZoneInsight", func(_ resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		for r, err := range list {
			if err != nil {
				return err
			}
			var in systemv1.ZoneInsight
			if err := proto.Unmarshal(r.Spec, &in); err != nil {
				return fmt.Errorf("%s: %w", r.Key, err)
			}
			for _, sub := range in.Subscriptions {
				if sub.DisconnectTime == nil && stale(sub) {
					open = append(open, r.Name)
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	now := timestamppb.Now()
	for _, zone := range open {
		err := s.updateInsight(ctx, zone, func(in *systemv1.ZoneInsight) (changed bool) {
			for _, sub := range in.Subscriptions {
				if sub.DisconnectTime == nil && stale(sub) {
					sub.DisconnectTime, changed = now, true
				}
			}
			return changed
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// join makes sure that there are a Zone and an epoch of a zone that connects. A zone that was deleted begins a new one, and
// nothing is known of it any more.
func (s *Server) join(ctx context.Context, zone string) error {
	key := resource.Key{Kind: "Zone", Name: zone}
	for range maxTries {
		_, err := s.cfg.Store.Get(ctx, epochKey(zone))
		joined := err == nil
		if !joined && !errors.Is(err, resource.ErrNotFound) {
			return err
		}
		var ops []resource.Op
		if !joined {
			s.ledger.account(zone).renew()
			ops = append(ops, resource.Put(resource.Resource{Key: epochKey(zone)}).If(0))
		}
		switch made, err := s.cfg.Store.Get(ctx, key); {
		case errors.Is(err, resource.ErrNotFound):
			spec, err := deterministic.Marshal(&systemv1.Zone{Enabled: wrapperspb.Bool(true)})
			if err != nil {
				return err
			}
			ops = append(ops, resource.Put(resource.Resource{Key: key, Spec: spec}).If(0))
		case err != nil:
			return err
		case joined:
			return nil
		default:
			ops = append(ops, resource.Check(key, made.Version))
		}
		rev, err := s.cfg.Store.Apply(ctx, ops...)
		if errors.Is(err, resource.ErrConflict) {
			continue // the other stream of the zone was faster
		}
		if err == nil {
			s.log.Info("zone joined", "zone", zone, "epoch", rev)
		}
		return err
	}
	return fmt.Errorf("%s: %d attempts: %w", key, maxTries, resource.ErrConflict)
}

// hasToken says whether a call carried a token.
func hasToken(md metadata.MD) bool { return len(md[metaCredential]) == 1 }

// compatible says whether a zone of version theirs can work with this control plane, of version ours: a Kuma within two
// minors of the 2.10 that we speak, a Meridian within two minors of this one, or anything that has no such version.
func compatible(theirs, ours string) bool {
	var major, minor, ourMajor, ourMinor int
	if n, _ := fmt.Sscanf(theirs, "%d.%d.", &major, &minor); n < 2 || strings.ContainsAny(theirs, "-+") {
		return true
	}
	if major == 2 && minor >= 8 && minor <= 12 {
		return true
	}
	n, _ := fmt.Sscanf(ours, "%d.%d.", &ourMajor, &ourMinor)
	return n == 2 && major == ourMajor && max(minor, ourMinor)-min(minor, ourMinor) <= 2
}

// nodeMetadata is what a control plane tells about itself in the first requests of a stream. settings is its
// configuration as JSON, which Kuma reads only of zones.
func nodeMetadata(version, instance, settings string, features []string) *structpb.Struct {
	names := make([]*structpb.Value, len(features))
	for i, f := range features {
		names[i] = structpb.NewStringValue(f)
	}
	text := structpb.NewStringValue
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"version": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"kumaCp": structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
				"version": text(version), "gitTag": text(version), "gitCommit": text("unknown"), "buildDate": text("unknown"),
			}}),
		}}),
		"config":           text(settings),
		"control-plane-id": text(instance),
		"features":         structpb.NewListValue(&structpb.ListValue{Values: names}),
	}}
}
