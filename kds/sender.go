package kds

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// maxPending is how many requests of a peer may wait to be read. A peer has at most a subscription and an answer per
// kind under way; one that exceeds this does not speak the protocol. The limit must not block the reader: the peer may
// be waiting for us to read before it reads itself.
var maxPending = 4 * len(resource.Kinds)

// mailbox is a queue between two goroutines that takes no room while it is empty.
type mailbox[T any] struct {
	ready chan struct{} // has a value while there is something to take
	most  int

	mu   sync.Mutex // guards list
	list []*T
}

func newMailbox[T any](most int) *mailbox[T] {
	return &mailbox[T]{ready: make(chan struct{}, 1), most: most}
}

// put adds m, and says whether there was room.
func (b *mailbox[T]) put(m *T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.list) == b.most {
		return false
	}
	b.list = append(b.list, m)
	b.ring()
	return true
}

// take returns what came first; the caller has received from ready.
func (b *mailbox[T]) take() *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.list[0]
	b.list[0] = nil
	if b.list = b.list[1:]; len(b.list) > 0 {
		b.ring()
	} else {
		b.list = nil
	}
	return m
}

func (b *mailbox[T]) ring() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// sender follows a store and tells one peer, on one stream. Everything but stream.Recv happens on the goroutine of run.
type sender struct {
	stream     sendStream
	store      Store
	identifier string // what this side calls itself
	to         audience
	zones      *zones        // nil on a zone
	insight    *subscription // nil on a zone
	heard      func()        // called for every request; may be nil
	stats      *counters
	account    *account
	catalog    *catalog
	tuning     Tuning
	turn       *turn // to send complete lists; nil: always
	summonable func(zone string) (<-chan EnvoyView, func())
	identify   func(instance string) error // told once who the peer is; the error ends the stream. May be nil
	log        hclog.Logger

	started    bool     // the first request has come
	extended   bool     // to a Meridian peer
	offers     []*offer // in the order of the subscriptions, to a Kuma peer
	feeds      []*feed  // the same, to a Meridian peer
	nonce      uint64
	zoneState  int             // the zones' change count that offers and feeds know
	knownZones map[string]bool // the zones that feeds know
	pace       pace
	leave      func()            // the catalog; nil: not joined
	woken      resource.Revision // of the store, when it woke the session last
	summons    <-chan EnvoyView  // what the peer is to open; nil: nothing, ever
	unsummon   func()            // nil with summons
}

// run serves the stream until it or ctx ends, and returns why.
func (s *sender) run(ctx context.Context, readers *sync.WaitGroup) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	inbox := newMailbox[discovery.DeltaDiscoveryRequest](maxPending)
	pull(readers, s.stream, end, func(m *discovery.DeltaDiscoveryRequest) error {
		if !inbox.put(m) {
			return fmt.Errorf("%w: %d requests without waiting for a response", errProtocol, maxPending)
		}
		return nil
	})
	wake := make(chan struct{}, 1)
	defer s.account.wakeable(wake)()
	defer s.pace.end()
	defer s.turn.end()
	defer func() {
		if s.leave != nil {
			s.leave()
		}
		if s.unsummon != nil {
			s.unsummon()
		}
	}()
	for {
		more, err := s.send(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-more:
			if err := works(ctx, s.store, s.woken); err != nil {
				return err
			}
			s.woken = s.store.Revision()
		case <-s.turn.due():
		case <-s.pace.over():
			s.pace.end()
		case <-wake:
			for _, f := range s.feeds {
				f.recheck = true
			}
			s.retryOffers()
		case <-s.insight.due():
			s.insight.flush(ctx)
		case view := <-s.summons:
			if err := s.stream.Send(summons(view)); err != nil {
				return sendError(ctx, err)
			}
		case <-inbox.ready:
			if err := s.request(ctx, inbox.take()); err != nil {
				return err
			}
		}
	}
}

// send sends what is due. The channel wakes when there is more; it is nil when first something else must happen.
func (s *sender) send(ctx context.Context) (<-chan struct{}, error) {
	switch {
	case s.pace.resting():
		return nil, nil
	case s.extended:
		return s.sendFeeds(ctx)
	}
	return s.sendWhatIsDue(ctx)
}

// request takes one subscription, ACK or NACK.
func (s *sender) request(ctx context.Context, m *discovery.DeltaDiscoveryRequest) error {
	if s.heard != nil {
		s.heard()
	}
	if !s.started { // only the first request of a stream carries the features
		s.started = true
		node := m.GetNode()
		names := announced(node)
		features := scope.ParseFeatures(names)
		s.extended = extended(names)
		if s.extended {
			levels, err := levelsOf(node)
			if err != nil {
				return err
			}
			s.to.to.Levels = levels
		}
		if s.to.from.Zone == "" {
			s.to.to.Features = features
			if !features.HashedNames {
				s.to.variant, s.extended = toPlainZone, false
			}
		}
		if s.identify != nil {
			if err := s.identify(instanceOf(node)); err != nil {
				return err
			}
		}
		if s.extended && s.summonable != nil && slices.Contains(names, FeatureSummons) {
			s.summons, s.unsummon = s.summonable(s.to.to.Zone)
		}
		s.account.introduce(instanceOf(node), programVersion(node), s.extended, &features, s.to.to.Levels)
		s.insight.begin(ctx, m.GetNode())
	}
	o, f := s.offerOf(m.TypeUrl), s.feedOf(m.TypeUrl)
	switch {
	case f != nil:
		return s.answered(f, m)
	case o != nil:
		s.settle(o, m)
		return nil
	case m.ResponseNonce != "" || m.ErrorDetail != nil && !s.extended:
		s.stats.stale.Add(1)
		return nil
	}
	d, known := resource.LookupKind(m.TypeUrl)
	switch {
	case !known && s.extended:
		return s.post(ctx, m.TypeUrl, &batch{}, &syncv1.Frame{Epoch: s.token(m.TypeUrl), Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, 0)
	case !known: // a kind of a later version: the peer waits for an answer, and is told that there is nothing
		return s.post(ctx, m.TypeUrl, &batch{}, nil, 0)
	case s.extended && s.catalog.has(d.Kind):
		return s.subscribe(ctx, d, m)
	case s.extended:
		return s.post(ctx, m.TypeUrl, &batch{}, &syncv1.Frame{Epoch: s.token(m.TypeUrl), Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, 0)
	}
	s.account.resumed(d.Kind, 0)
	s.offers = append(s.offers, newOffer(d))
	return nil
}

// settle takes an answer of a Kuma peer.
func (s *sender) settle(o *offer, m *discovery.DeltaDiscoveryRequest) {
	items := o.items
	if m.ResponseNonce == o.inFlight {
		s.pace.answered(&o.streak, s.store.Revision() > o.rev)
	}
	switch reason := m.GetErrorDetail().GetMessage(); o.settle(m.ResponseNonce, m.ErrorDetail != nil) {
	case acked:
		s.stats.acks.Add(1)
		s.insight.settled(o.kind, false)
		s.account.judged(o.kind, items, "")
	case nacked:
		s.stats.nacks.Add(1)
		s.insight.settled(o.kind, true)
		s.account.judged(o.kind, items, reason)
		s.log.Warn("response rejected by peer", "kind", o.kind, "nonce", m.ResponseNonce, "err", reason)
	case stale:
		s.stats.stale.Add(1)
		s.log.Debug("request with a nonce that is not in flight", "kind", o.kind, "nonce", m.ResponseNonce)
	}
}

// retryOffers offers again to a Kuma peer what somebody asked for.
func (s *sender) retryOffers() {
	for _, o := range s.offers {
		for _, key := range s.account.due(o.kind) {
			if item, had := o.sent[key]; had {
				item.digest, item.version = digest{}, 0
				o.sent[key] = item
				o.scan = true
			}
		}
	}
}

func (s *sender) offerOf(kind string) *offer {
	for _, o := range s.offers {
		if o.kind == kind {
			return o
		}
	}
	return nil
}

// sendWhatIsDue sends one response for each kind that has something to tell and nothing in flight. The channel wakes when
// there is more; it is nil when first an answer must come.
func (s *sender) sendWhatIsDue(ctx context.Context) (<-chan struct{}, error) {
	var ready []*offer
	low, logged := ^resource.Revision(0), false
	for _, o := range s.offers {
		if o.inFlight == "" && (!o.first || s.turn.ask()) {
			ready = append(ready, o)
			if !o.scan {
				low, logged = min(low, o.rev), true
			}
		}
	}
	if len(ready) == 0 {
		return nil, nil
	}
	changes, reached, err := map[string][]resource.Change(nil), low, error(nil)
	if logged && s.store.Revision() > low {
		changes, reached, err = s.changes(ctx, low)
		if errors.Is(err, resource.ErrCompacted) {
			for _, o := range ready {
				o.scan = true
			}
		} else if err != nil {
			return nil, err
		}
	}
	// After the log, so that what is decided now knows every Zone that the log has reached.
	wait, err := s.readZones(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range ready {
		out := o.newBatch(s.tuning)
		if o.scan {
			if err := s.scan(ctx, o, out); err != nil {
				return nil, err
			}
		} else {
			for _, c := range changes[o.kind] {
				s.report(o.change(c, &s.to, out))
			}
			o.rev = max(o.rev, reached)
		}
		out.close()
		o.streak.found(!out.empty())
		if !o.first && out.empty() {
			wait = min(wait, o.rev)
			s.account.current(o.kind, o.rev)
			continue
		}
		o.posted(strconv.FormatUint(s.nonce+1, 10), out)
		reached := o.rev
		if out.more {
			reached = 0 // only who has the rest as well holds all up to there
		}
		if err := s.post(ctx, o.kind, out, nil, reached); err != nil {
			return nil, err
		}
		s.insight.sent(o.kind)
	}
	if !slices.ContainsFunc(s.offers, func(o *offer) bool { return o.first }) {
		s.turn.done()
	}
	return s.store.Advanced(wait), nil
}

// changes returns what happened after rev, by kind, and the revision that reaches.
func (s *sender) changes(ctx context.Context, rev resource.Revision) (map[string][]resource.Change, resource.Revision, error) {
	list, reached, err := s.store.Since(ctx, "", rev)
	if err != nil {
		return nil, rev, err
	}
	byKind := map[string][]resource.Change{}
	for _, c := range list {
		byKind[c.Resource.Kind] = append(byKind[c.Resource.Kind], c)
	}
	return byKind, reached, nil
}

// readZones brings what the session knows of zones up to date and returns the revision of that. When a zone came, went or
// was switched, the scope of everything that crosses zones is decided anew.
func (s *sender) readZones(ctx context.Context) (resource.Revision, error) {
	if s.zones == nil {
		return ^resource.Revision(0), nil
	}
	enabled, changes, rev, err := s.zones.current(ctx)
	if err != nil {
		return 0, err
	}
	if _, known := enabled[s.to.to.Zone]; !known {
		return 0, errZoneGone
	}
	s.to.from.Zones = enabled
	if changes != s.zoneState {
		flipped := s.zones.since(s.zoneState)
		s.zoneState = changes
		for _, o := range s.offers {
			o.scan = o.scan || o.across
		}
		if s.knownZones != nil && flipped == nil {
			flipped = differing(s.knownZones, enabled)
		}
		if s.knownZones != nil {
			s.flip(s.catalog.sources(flipped))
		}
		s.knownZones = enabled
	}
	return rev, nil
}

// flip notes that the scope of what comes from zones is to be decided anew.
func (s *sender) flip(zones map[string]bool) {
	if len(zones) == 0 {
		return
	}
	for _, f := range s.feeds {
		switch {
		case !f.across:
		case f.list != nil || len(f.queue) > 0: // parts may have been decided already: once more when it is done
			f.later = merged(f.later, zones)
		default:
			f.flipped = merged(f.flipped, zones)
		}
	}
}

func merged(a, b map[string]bool) map[string]bool {
	m := map[string]bool{}
	maps.Copy(m, a)
	maps.Copy(m, b)
	return m
}

// scan compares all resources of the kind with what the peer has.
func (s *sender) scan(ctx context.Context, o *offer, out *batch) error {
	return s.store.View(ctx, o.kind, func(rev resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		o.beginScan(rev)
		for r, err := range list {
			if err != nil {
				return err
			}
			s.report(o.offer(r, &s.to, out))
		}
		o.endScan(out)
		return nil
	})
}

// report logs that one resource could not be encoded, or is too large. It is kept back; the others go on.
func (s *sender) report(err error) {
	if err == nil {
		return
	}
	s.log.Error("resource kept back", "err", err)
	if large, ok := errors.AsType[*oversizeError](err); ok {
		s.account.with(large.ref.key.Kind, true, func(l *lane) {
			l.reject(large.ref.key, &rejection{
				id: large.ref.id, name: large.name, digest: large.ref.digest, rev: large.ref.rev, version: s.account.version,
				code: codeTooLarge, reason: large.Error(), at: time.Now(),
			})
		})
	}
}

// oversizeError says that a resource fits into no message.
type oversizeError struct {
	ref         sentRef
	name        string
	size, limit int
}

func (e *oversizeError) Error() string {
	return fmt.Sprintf("%s: %d bytes, and a message takes %d", e.ref.key, e.size, e.limit)
}

// post sends one response under the next nonce. frame is nil for a Kuma peer. Who has taken it knows all up to rev.
func (s *sender) post(ctx context.Context, kind string, b *batch, frame *syncv1.Frame, rev resource.Revision) error {
	s.nonce++
	m := &discovery.DeltaDiscoveryResponse{
		TypeUrl: kind, Nonce: strconv.FormatUint(s.nonce, 10), Resources: b.resources, RemovedResources: b.removed,
		ControlPlane: &core.ControlPlane{Identifier: s.identifier},
	}
	if frame != nil {
		if err := putFrame(m, frame); err != nil {
			return err
		}
	}
	size := proto.Size(m)
	if size > s.tuning.MaxMessageBytes {
		return fmt.Errorf("%s: %d resources are %d bytes, and a peer takes %d in one response", kind, len(b.resources), size, s.tuning.MaxMessageBytes)
	}
	if s.feedOf(kind) != nil || s.offerOf(kind) != nil {
		s.account.posting(kind, rev, size, len(b.resources)+len(b.removed) > 0, b.oldest)
	}
	if err := s.stream.Send(m); err != nil {
		return sendError(ctx, err)
	}
	s.stats.responses.Add(1)
	s.stats.resources.Add(uint64(len(b.names) + len(b.removed)))
	s.stats.bytes.Add(uint64(size))
	s.log.Debug("response sent", "kind", kind, "nonce", m.Nonce, "changed", len(b.names), "removed", len(b.removed), "bytes", size)
	return nil
}
