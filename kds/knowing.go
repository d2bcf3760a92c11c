package kds

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// bell wakes those who wait for something to be known anew. While nobody waits, to ring it costs one atomic read.
type bell struct{ waiting atomic.Pointer[chan struct{}] }

// wait returns a channel that is closed at the next ring.
func (b *bell) wait() <-chan struct{} {
	for {
		if ch := b.waiting.Load(); ch != nil {
			return *ch
		}
		ch := make(chan struct{})
		if b.waiting.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

func (b *bell) ring() {
	if b.waiting.Load() == nil {
		return
	}
	if ch := b.waiting.Swap(nil); ch != nil {
		close(*ch)
	}
}

// heartbeat is when a connection brought its last byte. Both ends send keepalive pings every 15 s, so of one that lives
// that is never much longer ago.
type heartbeat struct{ at atomic.Int64 } // Unix ns

func (h *heartbeat) beat() { h.at.Store(time.Now().UnixNano()) }

// last returns when; zero if nobody listens.
func (h *heartbeat) last() time.Time {
	if h == nil {
		return time.Time{}
	}
	return time.Unix(0, h.at.Load())
}

// heardConn is a connection with a heartbeat. Its remote address carries that to who sees only the address.
type heardConn struct {
	net.Conn
	heartbeat *heartbeat
}

type heardAddr struct {
	net.Addr
	heartbeat *heartbeat
}

func listenTo(conn net.Conn) *heardConn {
	c := &heardConn{conn, &heartbeat{}}
	c.heartbeat.beat()
	return c
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heartbeat.beat()
	}
	return n, err
}

func (c *heardConn) RemoteAddr() net.Addr { return heardAddr{c.Conn.RemoteAddr(), c.heartbeat} }

// heardListener accepts connections with heartbeats.
type heardListener struct{ net.Listener }

func (l heardListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return listenTo(conn), nil
}

// heardCredentials gives the connections that a client dials a heartbeat, which it keeps at at. The dialer stays gRPC's, for
// the sake of proxies and of TCP's own timeout.
type heardCredentials struct {
	credentials.TransportCredentials
	at *atomic.Pointer[heartbeat]
}

func (c heardCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	heard := listenTo(conn)
	c.at.Store(heard.heartbeat)
	return c.TransportCredentials.ClientHandshake(ctx, authority, heard)
}

func (c heardCredentials) Clone() credentials.TransportCredentials {
	return heardCredentials{c.TransportCredentials.Clone(), c.at}
}

// Causes of the end of a connection.
const (
	causeClosed      = "closed"      // by the peer, cleanly
	causeUnavailable = "unavailable" // cut, refused by the network, or no answer to a keepalive ping
	causeStalled     = "stalled"     // recycled for lack of progress
	causeReplaced    = "replaced"    // the same control plane connected anew
	causeRefused     = "refused"     // a credential or a name that is not accepted
	causeProtocol    = "protocol"    // the peer said what it may not say
	causeStopping    = "stopping"    // one of the two was stopped
	causeDeleted     = "deleted"     // the Zone was deleted
	causeFailed      = "failed"      // anything else: a failure of one of the two
)

// Causes are all that PeerStatus.Ends counts by.
func Causes() []string {
	return []string{causeClosed, causeUnavailable, causeStalled, causeReplaced, causeRefused, causeProtocol, causeStopping, causeDeleted, causeFailed}
}

// causeOf returns which of Causes err is.
func causeOf(err error) string {
	switch {
	case err == nil, errors.Is(err, errClosed):
		return causeClosed
	case errors.Is(err, errStalled):
		return causeStalled
	case errors.Is(err, errReplaced):
		return causeReplaced
	case errors.Is(err, errSecondZone), errors.Is(err, errUnauthenticated), errors.Is(err, errWrongZone), errors.Is(err, errLimit):
		return causeRefused
	case errors.Is(err, errZoneGone):
		return causeDeleted
	case errors.Is(err, errProtocol):
		return causeProtocol
	case errors.Is(err, errStopping):
		return causeStopping
	case errors.Is(err, context.Canceled): // of a stream of a server: the transport is gone
		return causeUnavailable
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return causeUnavailable
	case codes.Canceled:
		return causeClosed
	case codes.AlreadyExists, codes.Unauthenticated, codes.PermissionDenied, codes.ResourceExhausted:
		return causeRefused
	case codes.InvalidArgument, codes.Unimplemented:
		return causeProtocol
	}
	return causeFailed
}

// Codes are all that Refusals counts by: the codes of docs/protocol.md, and other for what a later peer may say.
func Codes() []string {
	return []string{codeMalformed, codeForbidden, codeInvalid, codeOccupied, codeDuplicate, codeTooLarge, codeTooMany, codeUnclear, codeOther}
}

const codeOther = "other"

// refusal is one code in one direction.
type refusal struct {
	code string
	sent bool // by this side
}

// Refusals are how often resources were refused.
type Refusals struct {
	Code  string `json:"code"`
	Sent  bool   `json:"sent"` // by this side to the peer, which refused; false: the other way
	Count uint64 `json:"count"`
}

// refused counts n refusals. The caller holds mu.
func (a *account) refused(code string, sent bool, n int) {
	if n == 0 {
		return
	}
	if !slices.Contains(Codes(), code) {
		code = codeOther
	}
	if a.refusals == nil {
		a.refusals = map[refusal]uint64{}
	}
	a.refusals[refusal{code, sent}] += uint64(n)
}

// listRefusals returns the counts, in the order of Codes. The caller holds mu.
func (a *account) listRefusals() (list []Refusals) {
	for _, sent := range []bool{true, false} {
		for _, code := range Codes() {
			if n := a.refusals[refusal{code, sent}]; n > 0 {
				list = append(list, Refusals{code, sent, n})
			}
		}
	}
	return list
}

// DelayBounds are the upper bounds of the buckets of a Delay; the last bucket has none. They are few: each is a series for
// every type of every zone.
var DelayBounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2500 * time.Millisecond,
	10 * time.Second, time.Minute, 10 * time.Minute,
}

// Delay counts how long changes took from their commit here until the peer had them. One observation is one response that
// the peer has answered, and as long as the oldest change in it took: a write, a delete, or a write that takes the resource
// out of the peer's scope. Complete lists count nothing, nor what a switched Zone brings or takes away, nor responses that
// say only how far the peer is.
type Delay struct {
	Counts [len(DelayBounds) + 1]uint64 // by bucket, not cumulated
	Sum    time.Duration
}

func (d *Delay) observe(took time.Duration) {
	i := 0
	for i < len(DelayBounds) && took > DelayBounds[i] {
		i++
	}
	d.Counts[i]++
	d.Sum += max(took, 0)
}

// maxBehind is how many revisions Status looks back to tell how long ago it was that a peer was up to date.
const maxBehind = 10_000

// news is a change, and when the first of it and those after it was committed.
type news struct {
	rev    resource.Revision
	oldest time.Time // zero: not known
}

// lags fills in how far what is sent lags behind the store.
func lags(ctx context.Context, st Store, peers []PeerStatus) error {
	now, rev := time.Now(), st.Revision()
	low := rev
	each := func(fn func(*KindStatus)) {
		for p := range peers {
			for k := range peers[p].Kinds {
				if ks := &peers[p].Kinds[k]; ks.Sent && ks.Applied < rev {
					fn(ks)
				}
			}
		}
	}
	each(func(ks *KindStatus) {
		if ks.Applied+maxBehind >= rev {
			low = min(low, ks.Applied)
		}
	})
	if low < rev {
		changes, _, err := st.Since(ctx, "", low)
		if errors.Is(err, resource.ErrCompacted) {
			low, changes = rev, nil
		} else if err != nil {
			return err
		}
		byKind := map[string][]news{} // ascending
		for _, c := range changes {
			byKind[c.Resource.Kind] = append(byKind[c.Resource.Kind], news{c.Revision, c.Resource.Modified})
		}
		for _, list := range byKind { // clocks may go back
			for i := len(list) - 2; i >= 0; i-- {
				if next := list[i+1].oldest; list[i].oldest.IsZero() || !next.IsZero() && next.Before(list[i].oldest) {
					list[i].oldest = next
				}
			}
		}
		each(func(ks *KindStatus) {
			if ks.Applied < low {
				return
			}
			list := byKind[ks.Kind]
			i, _ := slices.BinarySearchFunc(list, ks.Applied+1, func(c news, rev resource.Revision) int { return cmp.Compare(c.rev, rev) })
			if i == len(list) {
				return
			}
			ks.Lag = list[len(list)-1].rev - ks.Applied
			since := ks.Waiting
			if at := list[i].oldest; !at.IsZero() && (since.IsZero() || at.Before(since)) {
				since = at
			}
			if !since.IsZero() {
				ks.LagSeconds = max(now.Sub(since), 0).Seconds()
			}
		})
	}
	each(func(ks *KindStatus) {
		if ks.Applied >= low || ks.Lag > 0 {
			return
		}
		ks.Lag = rev - ks.Applied // too far behind to look: of all kinds, and since the last answer
		if !ks.Answered.IsZero() {
			ks.LagSeconds = max(now.Sub(ks.Answered), 0).Seconds()
		}
	})
	return nil
}

// Fate is what has become of one resource at each peer.
type Fate struct {
	Peers []Verdict
	// Settled: at no peer this will change by itself. Nothing is pending.
	Settled bool
}

// Fates returns what a REST API shows of fates.
func Fates(list []Fate) (of []any, settled []bool) {
	for _, f := range list {
		of, settled = append(of, f.Peers), append(settled, f.Settled)
	}
	return of, settled
}

func settled(list []Verdict) bool {
	return !slices.ContainsFunc(list, func(v Verdict) bool { return v.Outcome == Pending })
}

// pending returns the peers at which a resource is pending; nil: none.
func pending(list []Verdict) (peers []string) {
	for _, v := range list {
		if v.Outcome == Pending {
			peers = append(peers, v.Zone)
		}
	}
	return peers
}

// replaced returns list, by peer, with the verdicts of anew in place of those that were pending: a peer that is gone is left
// out.
func replaced(list, anew []Verdict) []Verdict {
	if list == nil {
		return anew
	}
	list = slices.Concat(slices.DeleteFunc(list, func(v Verdict) bool { return v.Outcome == Pending }), anew)
	slices.SortFunc(list, func(a, b Verdict) int { return cmp.Compare(a.Zone, b.Zone) })
	return list
}

// await returns the fates of n resources, by of, when all are settled, or else after wait. It asks again after something
// has become known, and never more than half of the time; and then of the peers that were pending, open: nil is all.
func await(ctx context.Context, b *bell, n int, wait time.Duration, of func(i int, open []string) ([]Verdict, error)) ([]Fate, error) {
	fates := make([]Fate, n)
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		known, begun, open := b.wait(), time.Now(), false
		for i := range fates {
			if fates[i].Settled {
				continue
			}
			list, err := of(i, pending(fates[i].Peers))
			if err != nil {
				return nil, err
			}
			list = replaced(fates[i].Peers, list)
			fates[i] = Fate{list, settled(list)}
			open = open || !fates[i].Settled
		}
		if !open || waiting.Err() != nil {
			return fates, nil
		}
		select {
		case <-waiting.Done():
		case <-time.After(time.Since(begun)):
		}
		select {
		case <-waiting.Done():
		case <-known:
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// Hop is one step on the way of a resource.
type Hop struct {
	Event    string            `json:"event"`              // written, received, sent, acked; or an Outcome
	Plane    string            `json:"plane"`              // where; "" is the global control plane
	Peer     string            `json:"peer,omitempty"`     // the other side: of received where from, of sent where to; "" is global
	Revision resource.Revision `json:"revision,omitempty"` // of the store of the plane that tells; of sent how far the response reached
	Time     time.Time         `json:"time,omitzero"`      // by the clock of the plane that tells; zero: not known (any more)
	Latest   bool              `json:"latest,omitempty"`   // it was then at the latest
	Code     string            `json:"code,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Rule     scope.RuleID      `json:"rule,omitempty"`
}

// Events of a Hop besides the Outcomes.
const (
	Written  = "written"
	Received = "received"
	Sent     = "sent"
	Acked    = "acked"
)

// arrival is the first hop: r came to be in the store of own.
func arrival(r resource.Resource, own string) []Hop {
	here := Hop{Event: Written, Plane: own, Revision: r.Version, Time: r.Modified}
	if (resource.Plane{Zone: own}).Local(r.Labels) {
		return []Hop{here}
	}
	here.Event = Received
	from := Hop{Event: Written, Plane: r.Zone()}
	if own != "" && r.Zone() != "" { // zones meet on global
		return []Hop{from, {Event: Received, Plane: "", Peer: r.Zone()}, here}
	}
	here.Peer = r.Zone()
	return []Hop{from, here}
}

// hops returns the way of r to the peer, whose verdict is v.
func (a *account) hops(r resource.Resource, own string, v Verdict) []Hop {
	last := Hop{Event: string(v.Outcome), Plane: a.zone, Time: v.Since, Code: v.Code, Reason: v.Reason, Rule: v.Rule}
	if v.Outcome == OutOfScope {
		return []Hop{last}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lanes.get(laneKey{r.Kind, true})
	if l == nil {
		return []Hop{last}
	}
	rev := r.Version
	if v.Revision > 0 {
		rev = v.Revision
	}
	h, exact := l.hop(rev)
	if h == nil {
		return []Hop{last}
	}
	list := []Hop{{Event: Sent, Plane: own, Peer: a.zone, Revision: h.rev, Time: time.Unix(0, h.sent), Latest: !exact}}
	if h.answered > 0 {
		list = append(list, Hop{Event: Acked, Plane: a.zone, Revision: h.rev, Time: time.Unix(0, h.answered), Latest: !exact})
	}
	if v.Outcome == Applied {
		last.Revision, last.Latest = v.Revision, !exact
	}
	return append(list, last)
}
