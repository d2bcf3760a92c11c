package kds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/meridian-mesh/meridian/internal/mutation"
	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	// defaultChunkBytes is how large a response to a Meridian peer gets, give or take one resource.
	defaultChunkBytes = 1 << 20
)

// feed is what one Meridian peer has been told of one kind: where an offer keeps what the peer holds, a feed keeps up to
// which revision, and asks the catalog for the rest.
type feed struct {
	kind   string
	across bool // the scope of resources of the kind depends on Zone resources

	told  resource.Revision // the peer has been told all up to here, and base and queue say what is next
	queue []resource.Key    // to look at, in this order
	base  resource.Revision // what the peer holds is from then: told when the queue was made
	next  resource.Revision // told, when the queue is done
	list  *complete         // the queue is a snapshot; nil: it is what has changed

	flipped map[string]bool       // zones that came, went or were switched since told
	later   map[string]bool       // and since the queue was made
	forced  map[resource.Key]bool // to be offered even if unchanged
	started bool                  // the first response is out
	recheck bool                  // rejected resources may be due

	inFlight string // nonce of the response that has no answer yet, "" if there is none
	streak   streak
	items    map[string]sentRef
}

// complete is a snapshot that is being sent.
type complete struct {
	since   resource.Revision // what is older the peer holds already, and it is only named. 0: nothing is
	flipped map[string]bool   // but of these zones nothing is certain
	across  bool              // nor of any other zone
	begun   bool              // the first part is out
}

// sentRef is one resource of the response in flight.
type sentRef struct {
	key    resource.Key
	id     resource.Identity
	digest digest
	rev    resource.Revision
}

// snapshot makes the next responses a complete list.
func (f *feed) snapshot(c *complete) { f.list, f.queue, f.started = c, nil, false }

// subscribe takes the first request of a kind.
func (s *sender) subscribe(ctx context.Context, d resource.Descriptor, m *discovery.DeltaDiscoveryRequest) error {
	var from syncv1.Resume
	if err := readDetail(m, &from); err != nil {
		return err
	}
	f := &feed{kind: d.Kind, across: s.zones != nil && d.Flow.Has(resource.AcrossZones), recheck: true}
	v, err := s.catalog.view(ctx)
	if err != nil {
		return err
	}
	if _, err := s.readZones(ctx); err != nil { // what flips from now on, flip tells
		return err
	}
	rev := resource.Revision(from.Revision)
	run, ours := strings.CutPrefix(from.Epoch, history(s.store.Epoch(), s.to.to, d.Kind))
	switch {
	case !ours || rev == 0 || !s.catalog.shares(run, rev):
		f.snapshot(&complete{})
		rev = 0
	default:
		if isBroken(FaultForgetMissed) {
			rev = max(rev, s.store.Revision())
		}
		f.told = rev
		known := true
		if f.across {
			if f.flipped, known, err = s.zones.flippedSince(ctx, rev); err != nil {
				return err
			}
		}
		if !known || rev < v.from {
			f.snapshot(&complete{since: rev, flipped: f.flipped, across: !known})
			f.flipped = nil
		}
	}
	s.account.resumed(d.Kind, rev)
	s.recall(f, from.Rejected)
	s.feeds = append(s.feeds, f)
	s.log.Debug("subscribed", "kind", d.Kind, "from", rev, "snapshot", f.list != nil)
	return nil
}

// recall notes what the peer says it has refused before.
func (s *sender) recall(f *feed, list []*syncv1.Rejection) {
	if len(list) == 0 {
		return
	}
	names := map[string]bool{}
	for _, r := range list {
		names[r.Name] = true
	}
	keys := s.catalog.named(f.kind, names)
	s.account.with(f.kind, true, func(l *lane) {
		for _, r := range list {
			key, found := keys[r.Name]
			if !found || l.rejected[key] != nil || len(r.Digest) != len(digest{}) {
				continue
			}
			it, _ := s.catalog.lookup(key, 0)
			if it == nil {
				continue
			}
			l.reject(key, &rejection{
				id: it.identity(key), name: r.Name, digest: digest(r.Digest), rev: it.version, version: r.Version, code: r.Code, reason: r.Reason,
				at: time.Now(), withheld: true,
			})
		}
	})
}

// token is what this side calls the state of its store towards the peer, as far as a kind goes.
func (s *sender) token(kind string) string {
	return history(s.store.Epoch(), s.to.to, kind) + s.catalog.run()
}

func (s *sender) feedOf(kind string) *feed {
	for _, f := range s.feeds {
		if f.kind == kind {
			return f
		}
	}
	return nil
}

// answered takes the answer of a Meridian peer.
func (s *sender) answered(f *feed, m *discovery.DeltaDiscoveryRequest) error {
	if m.ResponseNonce == "" || m.ResponseNonce != f.inFlight {
		s.stats.stale.Add(1)
		s.log.Debug("request with a nonce that is not in flight", "kind", f.kind, "nonce", m.ResponseNonce)
		return nil
	}
	var a syncv1.Answer
	if err := readDetail(m, &a); err != nil {
		return err
	}
	items := f.items
	f.inFlight, f.items = "", nil
	if f.list == nil && len(f.queue) == 0 {
		s.pace.answered(&f.streak, s.store.Revision() > f.told)
	}
	s.account.with(f.kind, true, func(l *lane) {
		l.heldThere = int32(a.Held)
		for _, r := range a.Rejected {
			ref, sent := items[r.Name]
			if !sent {
				continue // nobody else's
			}
			delete(items, r.Name)
			s.account.refused(r.Code, true, 1)
			l.reject(ref.key, &rejection{
				id: ref.id, name: r.Name, digest: ref.digest, rev: ref.rev, version: s.account.version, code: r.Code, reason: r.Reason, at: time.Now(),
			})
		}
		s.account.refused(codeOther, true, int(a.More))
		if l.more += int32(a.More); a.More > 0 {
			return // of the others nothing is certain
		}
		for _, ref := range items {
			delete(l.rejected, ref.key)
		}
	})
	s.account.settled(f.kind)
	nacked := len(a.Rejected) > 0
	s.insight.settled(f.kind, nacked)
	if !nacked {
		s.stats.acks.Add(1)
		return nil
	}
	s.stats.nacks.Add(1)
	for _, r := range a.Rejected {
		s.log.Warn("resource rejected by peer", "kind", f.kind, "name", r.Name, "nonce", m.ResponseNonce, "code", r.Code, "err", r.Reason)
	}
	return nil
}

// sendFeeds sends one response for each kind that has something to tell and nothing in flight. The channel wakes when
// there is more; it is nil when first an answer must come.
func (s *sender) sendFeeds(ctx context.Context) (<-chan struct{}, error) {
	idle := false
	for _, f := range s.feeds {
		idle = idle || f.inFlight == ""
	}
	if !idle {
		return nil, nil
	}
	if s.leave == nil {
		s.leave = s.catalog.join()
	}
	v, err := s.catalog.view(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.readZones(ctx); err != nil { // after the catalog, so that every Zone is known that it has reached
		return nil, err
	}
	for _, f := range s.feeds {
		if f.inFlight != "" || f.list != nil && !s.turn.ask() {
			continue
		}
		if err := s.tell(ctx, f, v); err != nil {
			return nil, err
		}
	}
	if !slices.ContainsFunc(s.feeds, func(f *feed) bool { return f.list != nil }) {
		s.turn.done()
	}
	return s.catalog.advanced(v), nil
}

// tell sends the next response of a kind, if there is anything to say.
func (s *sender) tell(ctx context.Context, f *feed, v view) error {
	if len(f.queue) == 0 && (f.list == nil || !f.list.begun) {
		s.gather(f, v)
	}
	out := &batch{limit: s.tuning.ChunkBytes, most: s.tuning.MaxResourceBytes()}
	kept := []byte(nil)
	for len(f.queue) > 0 && out.fits() {
		err := s.consider(ctx, f, f.queue[0], out, &kept)
		if errors.Is(err, errMoved) {
			if _, err := s.catalog.view(ctx); err != nil {
				return err
			}
			continue
		}
		if errors.Is(err, errFull) {
			break
		}
		if err != nil {
			return err
		}
		f.queue = f.queue[1:]
	}
	if f.list == nil && !s.catalog.reachesBack(f.base) {
		f.snapshot(&complete{since: f.base, flipped: f.flipped}) // departures were forgotten meanwhile
		return s.tell(ctx, f, v)
	}
	out.close()
	f.streak.found(!out.empty())
	done := len(f.queue) == 0
	if done {
		f.queue, f.flipped, f.later, f.forced = nil, f.later, nil, nil
	}
	if done && f.started && f.list == nil && out.empty() {
		f.items, f.told = nil, f.next
		s.account.current(f.kind, f.told)
		if len(f.flipped) > 0 {
			return s.tell(ctx, f, v)
		}
		return nil
	}
	frame := &syncv1.Frame{Epoch: s.token(f.kind), Kept: kept}
	if f.list != nil {
		frame.Snapshot, frame.Continues = f.list.part(done), f.list.since > 0
		f.list.begun = true
	}
	reached := f.told
	if done {
		frame.Revision, reached = uint64(f.next), f.next
		f.told, f.list = f.next, nil
	}
	switch {
	case isBroken(FaultNoMarker) && frame.Snapshot == syncv1.Snapshot_SNAPSHOT_WHOLE:
		frame.Snapshot = syncv1.Snapshot_SNAPSHOT_NONE
	case isBroken(FaultNoMarker) && frame.Snapshot == syncv1.Snapshot_SNAPSHOT_LAST:
		frame.Snapshot = syncv1.Snapshot_SNAPSHOT_NEXT
	case isBroken(FaultEarlyMarker) && frame.Snapshot != syncv1.Snapshot_SNAPSHOT_NONE:
		frame.Snapshot = syncv1.Snapshot_SNAPSHOT_WHOLE
	case isBroken(FaultDropTombstone):
		out.removed = nil
	}
	f.started = true
	f.inFlight = strconv.FormatUint(s.nonce+1, 10)
	if err := s.post(ctx, f.kind, out, frame, reached); err != nil {
		return err
	}
	s.insight.sent(f.kind)
	return nil
}

// part says which part of the snapshot the next response is.
func (c *complete) part(last bool) syncv1.Snapshot {
	switch {
	case last && !c.begun:
		return syncv1.Snapshot_SNAPSHOT_WHOLE
	case last:
		return syncv1.Snapshot_SNAPSHOT_LAST
	case !c.begun:
		return syncv1.Snapshot_SNAPSHOT_FIRST
	}
	return syncv1.Snapshot_SNAPSHOT_NEXT
}

// gather makes the next queue.
func (s *sender) gather(f *feed, v view) {
	f.next = v.rev
	if f.list == nil && f.told < v.from {
		f.snapshot(&complete{since: f.told, flipped: f.flipped})
	}
	var due []resource.Key
	if f.recheck {
		f.recheck = false
		if due = s.account.due(f.kind); len(due) > 0 {
			f.forced = map[resource.Key]bool{}
		}
		for _, key := range due {
			f.forced[key] = true
		}
	}
	if f.list != nil {
		f.base = v.rev
		f.queue = s.catalog.all(f.kind)
		return
	}
	f.base = f.told
	keys, ok := v.after(f.kind, f.told)
	if !ok {
		keys = s.catalog.after(f.kind, f.told)
	}
	if len(f.flipped) > 0 {
		keys = append(keys, s.catalog.fromZones(f.kind, f.flipped)...)
	}
	keys = append(keys, due...)
	f.queue = keys
}

// consider puts what is to be said of one resource into out, or, in a snapshot, its name into kept.
func (s *sender) consider(ctx context.Context, f *feed, key resource.Key, out *batch, kept *[]byte) error {
	it, left := s.catalog.lookup(key, f.base)
	send := false
	if it != nil {
		var rule scope.RuleID
		send, rule = it.subject.Decide(s.to.from, s.to.to)
		send = send || rule == scope.NotProducer && mutation.SendConsumer.Load()
	}
	if !send {
		s.account.forget(key)
		if f.list == nil {
			s.withdraw(f, it, left, out)
		}
		return nil
	}
	keep := func() {
		if f.list != nil {
			h := hashName(it.name)
			*kept = append(*kept, h[:]...)
			out.bytes += len(h)
		}
	}
	flipped := f.flipped[it.subject.From()]
	switch {
	case f.list != nil && it.version <= f.list.since && !f.list.uncertain(it.subject.From()) && !f.forced[key]:
		keep()
		return nil
	case f.list == nil && it.changed <= f.base && len(left) == 0 && !flipped && !f.forced[key]:
		return nil // a write without a difference
	}
	e, err := s.catalog.encoding(ctx, key, it)
	if errors.Is(err, errMoved) || errors.Is(err, resource.ErrClosed) || err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		s.report(err)
		if f.list == nil {
			s.withdraw(f, it, left, out)
		}
		return nil
	}
	ref := sentRef{key: key, id: it.identity(key), digest: e.digest, rev: it.version}
	if e.bytes > out.most {
		s.report(&oversizeError{ref, it.name, e.bytes, out.most})
		keep()
		return nil
	}
	if s.account.quarantined(key, e.digest) {
		keep()
		return nil
	}
	if e.name != it.name {
		return fmt.Errorf("%s: it is called %q and was expected to be %q", key, e.name, it.name)
	}
	if !out.room(e.bytes) {
		return errFull
	}
	out.add(e)
	if f.list == nil && it.version > f.base { // in a snapshot, or when a zone is switched on, it is not news
		out.news(e.modified)
	}
	if f.items == nil {
		f.items = map[string]sentRef{}
	}
	f.items[e.name] = ref
	if f.list == nil {
		for _, d := range left {
			if d.name != it.name && d.subject.MayReach(s.to.from, s.to.to) {
				out.remove(d.name)
			}
		}
	}
	return nil
}

func (c *complete) uncertain(zone string) bool { return c.flipped[zone] || c.across && zone != "" }

// withdraw removes from the peer what it may hold of a resource that is not for it any more.
func (s *sender) withdraw(f *feed, it *item, left []departure, out *batch) {
	var names []string
	if it != nil && f.flipped[it.subject.From()] && it.subject.MayReach(s.to.from, s.to.to) {
		names = append(names, it.name)
	}
	for _, d := range left {
		if d.subject.MayReach(s.to.from, s.to.to) {
			names = append(names, d.name)
			out.news(d.at)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		out.remove(name)
	}
}
