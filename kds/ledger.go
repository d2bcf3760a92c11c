package kds

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// Bounds of what is remembered of one kind of one peer.
const (
	maxRejections = 1000
	keptHops      = 16
)

// ledger is what a control plane knows of its peers, longer than a stream lasts: how far each has got, and what it has
// refused. It is kept in memory: after a restart a peer says itself how far it is and what it has refused.
type ledger struct {
	stall time.Duration
	begun time.Time
	log   hclog.Logger
	bell  bell // rings when anything is known anew

	mu    sync.Mutex // guards peers; never held together with that of a peer
	peers map[string]*account
}

func newLedger(stall time.Duration, log hclog.Logger) *ledger {
	return &ledger{stall: stall, begun: time.Now(), log: log, peers: map[string]*account{}}
}

// account returns that of a peer.
func (l *ledger) account(zone string) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.peers[zone]
	if a == nil {
		a = &account{ledger: l, zone: zone, since: l.begun}
		l.peers[zone] = a
	}
	return a
}

// status returns that of the named peers, and of those that are connected besides, by name. brief: without their kinds.
func (l *ledger) status(brief bool, zones ...string) []PeerStatus {
	l.mu.Lock()
	known := maps.Clone(l.peers)
	l.mu.Unlock()
	named := make(map[string]bool, len(zones))
	for _, zone := range zones {
		named[zone] = true
		if known[zone] == nil {
			known[zone] = &account{ledger: l, zone: zone, since: l.begun}
		}
	}
	list := make([]PeerStatus, 0, len(known))
	for _, zone := range slices.Sorted(maps.Keys(known)) {
		if s := known[zone].status(brief); named[zone] || s.State != Offline && s.State != Unknown {
			list = append(list, s)
		}
	}
	return list
}

// peek returns how the sync with a peer is, and when it was heard last, if that is known.
func (l *ledger) peek(zone string) (State, time.Time) {
	l.mu.Lock()
	a := l.peers[zone]
	l.mu.Unlock()
	if a == nil {
		return Unknown, time.Time{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	state, _ := a.state()
	return state, a.live.last()
}

// account is what is known of one peer.
type account struct {
	ledger *ledger
	zone   string

	mu       sync.Mutex // guards what follows
	open     int        // streams
	heard    bool       // one was ever open
	since    time.Time  // open became, or ceased to be, 0
	instance string
	version  string
	extended bool
	features *scope.Features // nil: never announced
	levels   *scope.Levels   // announced with them; another pointer, other levels
	lanes    lanes
	watching bool            // a timer looks after what is waiting
	warned   bool            // that it is stalled
	recycled time.Time       // when its streams were ended last for being stalled
	recycle  func(error)     // ends the streams that are open
	wake     chan<- struct{} // the session that sends; nil: none
	live     *heartbeat      // of the connection that was opened last; nil: not known
	cause    string          // why the first of the streams that are ending did
	ends     map[string]uint64
	refusals map[refusal]uint64
}

type laneKey struct {
	kind string
	sent bool
}

// lanes are those of one peer, by laneNumber; nil where nothing has travelled. It is what there is most of when many
// zones are connected, so it is no map.
type lanes []*lane

// laneNumbers gives each kind that travels two numbers: the first for what is received, the next for what is sent.
var laneNumbers = func() map[string]int {
	numbers := map[string]int{}
	for _, d := range resource.Kinds {
		if d.FromGlobal() || d.FromZone() {
			numbers[d.Kind] = 2 * len(numbers)
		}
	}
	return numbers
}()

func laneNumber(k laneKey) (n int, travels bool) {
	n, travels = laneNumbers[k.kind]
	if k.sent {
		n++
	}
	return n, travels
}

// get returns the lane of k, nil if nothing has travelled.
func (l lanes) get(k laneKey) *lane {
	n, travels := laneNumber(k)
	if !travels || l == nil {
		return nil
	}
	return l[n]
}

// all are the lanes that there are, those that send first, each by kind.
func (l lanes) all() iter.Seq2[laneKey, *lane] {
	return func(yield func(laneKey, *lane) bool) {
		for _, sent := range []bool{true, false} {
			for _, kind := range laneKinds {
				if found := l.get(laneKey{kind, sent}); found != nil && !yield(laneKey{kind, sent}, found) {
					return
				}
			}
		}
	}
}

var laneKinds = slices.Sorted(maps.Keys(laneNumbers))

// lane is one kind in one direction.
type lane struct {
	offered, acked, applied resource.Revision
	inFlight                resource.Revision // what acked is once the response in flight is answered
	messages, bytes         uint64
	waiting                 time.Time // zero: nothing to wait for
	rejected                map[resource.Key]*rejection
	more                    int32  // rejections that were too many to list
	heldThere               int32  // deletes that the peer holds back
	forgot                  bool   // there were responses earlier than hops
	moved                   bool   // a response had a resource, or a removal
	hops                    []hop  // the last responses, oldest first
	oldest                  int64  // when the oldest change in the response in flight was committed, Unix ns; 0: none was
	delays                  *Delay // from a commit to its answer; nil: none yet
	held                    *heldDeletes
}

// hop is one response: how far it reached, and when it was sent and answered.
type hop struct {
	rev            resource.Revision
	sent, answered int64 // Unix ns; answered 0: not yet
}

// rejection is a resource that the receiver refused.
type rejection struct {
	id           resource.Identity
	name         string // on the wire
	digest       digest
	rev          resource.Revision
	version      string // of the receiver's program
	code, reason string
	at           time.Time
	withheld     bool // it was due again, and kept back
	retry        bool // somebody asked to offer it again
}

// digest is that of a resource as it is sent.
type digest [16]byte

// meridian says whether the peer was a Meridian when it was heard last.
func (a *account) meridian() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.extended
}

// opened notes that a stream is open; recycle ends all streams of the peer. live tells when the peer was heard last; nil:
// nobody listens for that.
func (a *account) opened(recycle func(error), live *heartbeat) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == 0 {
		a.since = time.Now()
	}
	a.open++
	a.heard, a.recycle, a.live = true, recycle, live
	a.watch()
	a.ledger.bell.ring()
}

// renew forgets what was known of an earlier zone of the name, unless streams are open.
func (a *account) renew() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == 0 {
		a.lanes = nil
	}
}

// closed notes that a stream has ended because of err. What ended the first stream of a connection ended the connection.
func (a *account) closed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cause == "" && !errors.Is(err, errUnneeded) {
		a.cause = causeOf(err)
	}
	if a.open--; a.open == 0 {
		a.since = time.Now()
		a.ended(a.cause)
		a.cause = ""
	}
	a.ledger.bell.ring()
}

// failed notes an attempt to connect that came to no stream.
func (a *account) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended(causeOf(err))
}

// ended counts the end of a connection. The caller holds mu.
func (a *account) ended(cause string) {
	if a.ends == nil {
		a.ends = map[string]uint64{}
	}
	a.ends[cause]++
}

// introduce notes what the peer says about itself.
func (a *account) introduce(instance, version string, extended bool, features *scope.Features, levels scope.Levels) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instance, a.version, a.extended = cmp.Or(instance, a.instance), cmp.Or(version, a.version), extended
	if features != nil {
		a.features = features
		if a.levels == nil || (levels == nil) != (*a.levels == nil) || !maps.Equal(*a.levels, levels) {
			a.levels = &levels
		}
	}
}

func (a *account) lane(kind string, sent bool) *lane {
	n, travels := laneNumber(laneKey{kind, sent})
	if !travels {
		return &lane{} // nobody asks about it
	}
	if a.lanes == nil {
		a.lanes = make(lanes, 2*len(laneNumbers))
	}
	if a.lanes[n] == nil {
		a.lanes[n] = &lane{}
	}
	return a.lanes[n]
}

// with calls fn with one lane, under the lock of the account.
func (a *account) with(kind string, sent bool, fn func(*lane)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fn(a.lane(kind, sent))
	a.watch()
	a.ledger.bell.ring()
}

// posting notes that a response that reaches rev is about to be sent, with resources or removals in it (moved) or without. oldest is when the oldest change in it was
// committed, zero if it brings none.
func (a *account) posting(kind string, rev resource.Revision, bytes int, moved bool, oldest time.Time) {
	a.with(kind, true, func(l *lane) {
		now := time.Now()
		l.messages++
		l.moved = l.moved || moved
		l.bytes += uint64(bytes)
		l.offered, l.inFlight = max(l.offered, rev), rev
		if l.waiting.IsZero() {
			l.waiting = now
		}
		if l.oldest = 0; !oldest.IsZero() {
			l.oldest = oldest.UnixNano()
		}
		if len(l.hops) == keptHops {
			copy(l.hops, l.hops[1:])
			l.hops, l.forgot = l.hops[:keptHops-1], true
		}
		l.hops = append(l.hops, hop{rev: rev, sent: now.UnixNano()})
	})
}

// settled notes that the response in flight was answered.
func (a *account) settled(kind string) {
	a.with(kind, true, func(l *lane) {
		a.turned(l.waiting)
		l.waiting = time.Time{}
		l.reach(l.inFlight)
		a.warned = false
		now := time.Now().UnixNano()
		if n := len(l.hops); n > 0 {
			l.hops[n-1].answered = now
		}
		if l.oldest > 0 {
			if l.delays == nil {
				l.delays = &Delay{}
			}
			l.delays.observe(time.Duration(now - l.oldest))
		}
	})
}

// turned notes that the peer has answered something that it was sent then. What it was sent later has only now come to its
// turn: a zone that has minutes to store a long list makes progress all the while. The caller holds mu.
func (a *account) turned(sent time.Time) {
	now := time.Now()
	for _, l := range a.lanes {
		if l != nil && !l.waiting.IsZero() && !l.waiting.Before(sent) {
			l.waiting = now
		}
	}
}

// current notes that there is nothing to tell up to rev, and nothing in flight.
func (a *account) current(kind string, rev resource.Revision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lane(kind, true)
	if rev > l.acked {
		a.ledger.bell.ring()
	}
	l.offered = max(l.offered, rev)
	l.acked = max(l.acked, rev)
	if l.heldThere == 0 {
		l.applied = l.acked
	}
}

// resumed notes what a peer holds that has just subscribed: it may be less than before.
func (a *account) resumed(kind string, rev resource.Revision) {
	a.with(kind, true, func(l *lane) {
		l.offered, l.acked, l.applied, l.inFlight = rev, rev, rev, rev
		l.hops = slices.DeleteFunc(l.hops, func(h hop) bool { return h.rev > rev || h.answered == 0 })
		l.forgot, l.heldThere = rev > 0, 0
	})
}

func (l *lane) reach(rev resource.Revision) {
	l.acked = max(l.acked, rev)
	if l.heldThere == 0 {
		l.applied = l.acked
	}
}

// reject notes that the peer refused a resource.
func (l *lane) reject(key resource.Key, r *rejection) {
	if l.rejected == nil {
		l.rejected = map[resource.Key]*rejection{}
	}
	if _, known := l.rejected[key]; !known && len(l.rejected) >= maxRejections {
		l.more++
		return
	}
	l.rejected[key] = r
}

// judged notes the answer of a Kuma peer: reason is "" for an ACK. A NACK does not say which resource it is about, unless
// there was only one.
func (a *account) judged(kind string, items []sentRef, reason string) {
	a.with(kind, true, func(l *lane) {
		for _, ref := range items {
			if reason == "" {
				delete(l.rejected, ref.key)
				continue
			}
			code := codeUnclear
			if len(items) == 1 {
				code = codeInvalid
			}
			a.refused(code, true, 1)
			l.reject(ref.key, &rejection{id: ref.id, digest: ref.digest, rev: ref.rev, version: a.version, code: code, reason: reason, at: time.Now()})
		}
	})
	a.settled(kind)
}

// quarantined says whether the peer has refused exactly this content and would refuse it again.
func (a *account) quarantined(key resource.Key, d digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lane(key.Kind, true)
	r := l.rejected[key]
	if r == nil || r.digest != d || r.version != a.version || r.retry {
		return false
	}
	r.withheld = true
	return true
}

// forget notes that a resource is not for the peer any more.
func (a *account) forget(key resource.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lanes.get(laneKey{key.Kind, true}); l != nil {
		delete(l.rejected, key)
	}
}

// due returns the rejected resources of a kind that are to be offered although they have not changed: somebody asked, or
// the peer runs another version now.
func (a *account) due(kind string) (keys []resource.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.lanes.get(laneKey{kind, true}); l != nil {
		for key, r := range l.rejected {
			if r.retry || r.version != a.version {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// retry asks for another offer of what matches, and returns how many there are.
func (a *account) retry(match func(resource.Identity) bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, l := range a.lanes.all() {
		for _, r := range l.rejected {
			if match(r.id) {
				r.retry = true
				n++
			}
		}
	}
	if n > 0 && a.wake != nil {
		select {
		case a.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return n
}

// wakeable makes ch the way to wake the session that sends, until the returned function is called.
func (a *account) wakeable(ch chan<- struct{}) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wake = ch
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.wake == ch {
			a.wake = nil
		}
	}
}

// oldest returns since when the lane that waits longest does. The caller holds mu.
func (a *account) oldest() (oldest time.Time) {
	for _, l := range a.lanes {
		if l != nil && !l.waiting.IsZero() && (oldest.IsZero() || l.waiting.Before(oldest)) {
			oldest = l.waiting
		}
	}
	return oldest
}

// watch has a timer look at what is waiting, for as long as something is. The caller holds mu.
func (a *account) watch() {
	if a.watching || a.open == 0 || a.ledger.stall <= 0 {
		return
	}
	oldest := a.oldest()
	if oldest.IsZero() {
		return
	}
	a.watching = true
	next := a.ledger.stall - time.Since(oldest)
	if next <= 0 { // stalled already: when to end the streams?
		next = 2*a.ledger.stall - time.Since(a.progress(oldest))
	}
	time.AfterFunc(max(next, time.Millisecond), a.look)
}

// progress returns since when these streams have been waiting: a new stream gets the full time again.
func (a *account) progress(oldest time.Time) time.Time {
	for _, t := range []time.Time{a.since, a.recycled} {
		if t.After(oldest) {
			oldest = t
		}
	}
	return oldest
}

func (a *account) look() {
	a.mu.Lock()
	a.watching = false
	oldest, recycle := a.oldest(), func(error) {}
	if a.open > 0 && !oldest.IsZero() {
		if time.Since(oldest) >= a.ledger.stall && !a.warned {
			a.warned = true
			a.ledger.log.Warn("peer is stalled: no progress", "zone", a.zone, "waiting", time.Since(oldest).String())
		}
		if time.Since(a.progress(oldest)) >= 2*a.ledger.stall {
			recycle = a.recycle
			a.recycled = time.Now()
		}
	}
	a.watch()
	a.mu.Unlock()
	recycle(errStalled)
}

// state returns how the sync with the peer is, and since when. The caller holds mu.
func (a *account) state() (State, time.Time) {
	oldest := a.oldest()
	switch late := a.ledger.stall > 0 && !oldest.IsZero() && time.Since(oldest) >= a.ledger.stall; {
	case a.open > 0 && late:
		return Stalled, oldest.Add(a.ledger.stall)
	case a.open > 0:
		return Online, a.since
	case a.heard:
		return Offline, a.since
	}
	return Unknown, a.since
}

func (a *account) status(brief bool) PeerStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := PeerStatus{Zone: a.zone, Instance: a.instance, Version: a.version, Extended: a.extended, Heard: a.live.last()}
	s.State, s.Since = a.state()
	s.Ends, s.Refusals = maps.Clone(a.ends), a.listRefusals()
	if brief {
		return s
	}
	s.Kinds = make([]KindStatus, 0, len(a.lanes))
	for k, l := range a.lanes.all() {
		ks := KindStatus{
			Kind: k.kind, Sent: k.sent, Offered: l.offered, Acked: l.acked, Applied: l.applied, Messages: l.messages, Bytes: l.bytes, Moved: l.moved,
			Rejected: len(l.rejected) + int(l.more), Waiting: l.waiting,
			Stalled: s.State == Stalled && !l.waiting.IsZero() && time.Since(l.waiting) >= a.ledger.stall,
		}
		if l.delays != nil {
			delays := *l.delays
			ks.Delays = &delays
		}
		if n := len(l.hops); n > 0 && l.hops[n-1].answered > 0 {
			ks.Answered = time.Unix(0, l.hops[n-1].answered)
		}
		if l.held != nil {
			ks.Held = &Held{Deletes: len(l.held.keys), Of: l.held.of, Since: l.held.since}
		} else if l.heldThere > 0 {
			ks.Held = &Held{Deletes: int(l.heldThere)}
		}
		s.Kinds = append(s.Kinds, ks)
	}
	return s
}

// verdict returns what has become of r, which is in scope. digest returns that of r; it is asked for only if the peer has
// refused some state of r.
func (a *account) verdict(r resource.Resource, digest func() (digest, error)) (Verdict, error) {
	v := Verdict{Zone: a.zone, Outcome: Pending, Revision: r.Version}
	a.mu.Lock()
	_, refused := a.lanes.get(laneKey{r.Kind, true}).refused(r.Key)
	a.mu.Unlock()
	d, err := zeroDigest, error(nil)
	if refused {
		if d, err = digest(); err != nil {
			return v, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lanes.get(laneKey{r.Kind, true})
	if rej, _ := l.refused(r.Key); rej != nil && rej.digest == d && !rej.retry { // what is offered again is pending again
		v.Outcome, v.Revision, v.Since, v.Code, v.Reason = Rejected, rej.rev, rej.at, rej.code, rej.reason
		if rej.withheld {
			v.Outcome = Quarantined
		}
		return v, nil
	}
	if rej, _ := l.refused(r.Key); l == nil || r.Version > l.acked || rej != nil && rej.digest == d {
		v.State, v.StateSince = a.state()
		return v, nil
	}
	v.Outcome = Applied
	if h, _ := l.hop(r.Version); h != nil && h.answered > 0 {
		v.Since = time.Unix(0, h.answered)
	}
	return v, nil
}

var zeroDigest digest

// refused returns the rejection of the resource under key, whatever state of it that was about.
func (l *lane) refused(key resource.Key) (*rejection, bool) {
	if l == nil {
		return nil, false
	}
	r := l.rejected[key]
	return r, r != nil
}

// hop returns the response that brought what was written at rev, nil if that is not known. exact is false if an earlier
// one may have.
func (l *lane) hop(rev resource.Revision) (h *hop, exact bool) {
	for i := range l.hops {
		if l.hops[i].rev >= rev {
			return &l.hops[i], i > 0 || !l.forgot
		}
	}
	return nil, false
}

// peer returns the peer with what it has announced, or with what peers usually do.
func (a *account) peer() scope.Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := scope.Peer{Zone: a.zone, Features: scope.ParseFeatures(scope.Announced)}
	if a.features != nil {
		p.Features, p.Levels = *a.features, *a.levels
	}
	return p
}

// syncOf returns what has become of r at the peer.
func (a *account) syncOf(r resource.Resource, subject scope.Subject, from, to scope.Peer, c *cache) (Verdict, error) {
	if send, rule := subject.Decide(from, to); !send {
		v := Verdict{Zone: to.Zone, Outcome: OutOfScope, Revision: r.Version, Rule: rule}
		if rule == scope.LacksSchemaLevel {
			v.Reason = "peer lacks " + subject.Lacks(to)
		}
		return v, nil
	}
	v := toZone
	switch {
	case to.Zone == "":
		v = toGlobal
	case !to.Features.HashedNames:
		v = toPlainZone
	}
	verdict, err := a.verdict(r, func() (digest, error) {
		e, err := c.encode(c.entry(r, v), r, v)
		return e.digest, err
	})
	if err != nil {
		return Verdict{}, err
	}
	_, verdict.Rule = subject.Decide(from, to)
	return verdict, nil
}

func (a *account) retryOne(id resource.Identity) error {
	if a.retry(func(r resource.Identity) bool { return r == id }) == 0 {
		return fmt.Errorf("%s at zone %q: no rejection: %w", id, a.zone, resource.ErrNotFound)
	}
	return nil
}
