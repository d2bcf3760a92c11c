package kds

import (
	"errors"
	"slices"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/meridian-mesh/meridian/internal/mutation"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// softShare of what a message takes is where a response is closed and the rest left for the next one. A first response
// has to be complete and knows no limit but that of the transport.
const softShare = 0.8

// errFull says that a resource has to wait for the next response.
var errFull = errors.New("response is full")

// audience is who a session talks to: what the decisions depend on besides the resource.
type audience struct {
	from, to scope.Peer
	variant  variant
	cache    *cache
	largest  int // what one resource may weigh; 0: anything
}

// offer is what one peer has been told of one kind. Its methods do no I/O.
type offer struct {
	kind     string
	across   bool              // the scope of resources of the kind depends on Zone resources
	rev      resource.Revision // the peer has been told everything up to here
	scan     bool              // next time compare all resources with sent, rather than read the log
	first    bool              // nothing was sent yet; the first response goes out even if it is empty
	inFlight string            // nonce of the response that has no answer yet, "" if there is none
	streak   streak
	items    []sentRef // of that response

	sent  map[resource.Key]sentItem
	scans uint32 // marks what the current scan has seen
}

// sentItem is what the peer holds under one key of ours, if it accepted it. One that it rejected is here too: nothing is
// offered twice without a change.
type sentItem struct {
	name    string
	digest  digest
	version resource.Revision
	seen    uint32
}

func newOffer(d resource.Descriptor) *offer {
	return &offer{
		kind: d.Kind, across: d.Flow.Has(resource.AcrossZones), scan: true, first: true, sent: map[resource.Key]sentItem{},
	}
}

// batch is the content of one response.
type batch struct {
	resources []*discovery.Resource
	names     []string  // of resources
	items     []sentRef // of resources
	removed   []string
	bytes     int
	limit     int       // from here on nothing more is put in; 0: none
	most      int       // the bytes of resources never exceed this; 0: they may
	more      bool      // something did not fit
	oldest    time.Time // when the oldest of the changes was committed; zero: there is none, or it is not known
}

// news notes that a change that was put in, be it a delete, was committed then; zero: not known.
func (b *batch) news(committed time.Time) {
	if !committed.IsZero() && (b.oldest.IsZero() || committed.Before(b.oldest)) {
		b.oldest = committed
	}
}

func (b *batch) empty() bool { return len(b.resources)+len(b.removed) == 0 }

// fits says whether there is room for one more, and remembers if there was not.
func (b *batch) fits() bool {
	if b.limit > 0 && b.bytes >= b.limit {
		b.more = true
	}
	return !b.more
}

// room says whether a resource of that size can be put in, and remembers if not. The first one always can.
func (b *batch) room(bytes int) bool {
	if b.most > 0 && len(b.resources) > 0 && b.bytes+bytes > b.most {
		b.more = true
	}
	return !b.more
}

func (b *batch) remove(name string) {
	b.removed = append(b.removed, name)
	b.bytes += len(name) + 4 // and its tag and length
}

func (b *batch) add(e encoding) {
	b.resources = append(b.resources, e.wire)
	b.names = append(b.names, e.name)
	b.bytes += e.bytes
}

// close leaves out removals of names that are sent: two keys of ours can follow each other under one wire name.
func (b *batch) close() {
	if len(b.resources) > 0 && len(b.removed) > 0 {
		slices.Sort(b.names)
		b.removed = slices.DeleteFunc(b.removed, func(name string) bool {
			_, found := slices.BinarySearch(b.names, name)
			return found
		})
	}
}

// newBatch returns the batch to fill next for o.
func (o *offer) newBatch(t Tuning) *batch {
	if o.first {
		return &batch{}
	}
	return &batch{limit: int(softShare * float64(t.MaxMessageBytes)), most: t.MaxResourceBytes()}
}

// change takes a change that is newer than o.rev.
func (o *offer) change(c resource.Change, to *audience, out *batch) error {
	if c.Revision <= o.rev {
		return nil
	}
	said := len(out.resources) + len(out.removed)
	var err error
	if c.Deleted {
		o.withdraw(c.Resource.Key, out)
	} else {
		err = o.offer(c.Resource, to, out)
	}
	if len(out.resources)+len(out.removed) > said {
		out.news(c.Resource.Modified)
	}
	return err
}

// offer puts r into out if the peer is to have it and does not yet, and its removal if the peer has it and is not to.
// The error is about r alone (it cannot be encoded); r then counts as out of scope.
func (o *offer) offer(r resource.Resource, to *audience, out *batch) error {
	item, had := o.sent[r.Key]
	unchanged := had && item.version == r.Version
	if unchanged && (!o.across || to.from.Zone != "" || resource.Plane{}.Local(r.Labels)) {
		o.keep(r.Key, item) // nothing that decided about it has changed either
		return nil
	}
	entry := to.cache.entry(r, to.variant)
	if send, rule := entry.inspect(r).Decide(to.from, to.to); !send && !(rule == scope.NotProducer && mutation.SendConsumer.Load()) {
		o.withdraw(r.Key, out)
		return nil
	}
	if unchanged {
		o.keep(r.Key, item)
		return nil
	}
	e, err := to.cache.encode(entry, r, to.variant)
	if err != nil {
		o.withdraw(r.Key, out)
		return err
	}
	if had && item.digest == e.digest {
		item.version = r.Version
		o.keep(r.Key, item)
		return nil
	}
	if to.largest > 0 && e.bytes > to.largest {
		if had {
			o.keep(r.Key, item)
		}
		return &oversizeError{sentRef{key: r.Key, id: r.Identity(), digest: e.digest, rev: r.Version}, e.name, e.bytes, to.largest}
	}
	if !out.fits() || !out.room(e.bytes) {
		if had {
			o.keep(r.Key, item)
		}
		return nil
	}
	if had && item.name != e.name {
		out.remove(item.name)
	}
	out.add(e)
	out.items = append(out.items, sentRef{key: r.Key, id: r.Identity(), digest: e.digest, rev: r.Version})
	o.keep(r.Key, sentItem{name: e.name, digest: e.digest, version: r.Version})
	return nil
}

func (o *offer) keep(key resource.Key, item sentItem) {
	item.seen = o.scans
	o.sent[key] = item
}

// withdraw removes from the peer what it has under key.
func (o *offer) withdraw(key resource.Key, out *batch) {
	item, had := o.sent[key]
	switch {
	case !had:
	case out.fits():
		out.remove(item.name)
		delete(o.sent, key)
	default:
		o.keep(key, item)
	}
}

// beginScan and endScan frame the offers of a complete list, as of rev.
func (o *offer) beginScan(rev resource.Revision) {
	o.scans++
	o.rev, o.scan = rev, false
}

func (o *offer) endScan(out *batch) {
	for key, item := range o.sent {
		if item.seen != o.scans {
			o.withdraw(key, out)
		}
	}
}

// posted notes that out was sent under nonce.
func (o *offer) posted(nonce string, out *batch) {
	o.inFlight, o.first, o.items = nonce, false, out.items
	if out.more {
		o.scan = true
	}
}

// answer is what a request with a nonce meant.
type answer int

const (
	stale answer = iota // about no response that is in flight
	acked
	nacked
)

// settle takes the peer's word on the response in flight. A NACK settles it like an ACK: what was rejected is offered
// again when it changes, or on the next stream.
func (o *offer) settle(nonce string, rejected bool) answer {
	switch {
	case nonce == "" || nonce != o.inFlight:
		return stale
	case rejected:
		o.inFlight, o.items = "", nil
		return nacked
	}
	o.inFlight, o.items = "", nil
	return acked
}
