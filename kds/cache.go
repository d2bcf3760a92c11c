package kds

import (
	"sync"
	"sync/atomic"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// Bounds of one of the two generations of the cache.
const (
	cacheEntries = 2048
	cacheBytes   = 8 << 20
)

// cache holds what was read out of, and made of, the resources that changed lately, for all sessions of one control
// plane: a change is inspected and marshalled once, however many zones get it. It is bounded: what has not been asked
// for during one whole generation is forgotten.
type cache struct {
	zone  string // the sending zone, "" on global
	stats *counters

	mu         sync.Mutex // guards what follows
	young, old map[cacheKey]*cacheEntry
	youngBytes int
}

type cacheKey struct {
	key     resource.Key
	version resource.Revision
	variant variant
}

type cacheEntry struct {
	inspectOnce, encodeOnce sync.Once
	subject                 scope.Subject
	encoding                encoding
	err                     error
	unread                  bool // err is why the resource could not be read
}

func newCache(zone string, stats *counters) *cache {
	return &cache{zone: zone, stats: stats, young: map[cacheKey]*cacheEntry{}}
}

func (c *cache) entry(r resource.Resource, v variant) *cacheEntry {
	return c.lookup(cacheKey{r.Key, r.Version, v})
}

func (c *cache) lookup(k cacheKey) *cacheEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.young[k]
	if e != nil {
		return e
	}
	if e = c.old[k]; e == nil {
		e = &cacheEntry{}
	}
	if len(c.young) >= cacheEntries || c.youngBytes >= cacheBytes {
		c.old, c.young, c.youngBytes = c.young, map[cacheKey]*cacheEntry{}, 0
	}
	c.young[k] = e
	return e
}

// drop forgets e, which came to nothing.
func (c *cache) drop(k cacheKey, e *cacheEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, generation := range []map[cacheKey]*cacheEntry{c.young, c.old} {
		if generation[k] == e {
			delete(generation, k)
		}
	}
}

func (e *cacheEntry) inspect(r resource.Resource) scope.Subject {
	e.inspectOnce.Do(func() { e.subject = scope.Inspect(r) })
	return e.subject
}

func (c *cache) encode(e *cacheEntry, r resource.Resource, v variant) (encoding, error) {
	e.encodeOnce.Do(func() { c.marshal(e, r, v) })
	if e.unread { // by somebody else; here it is
		e = &cacheEntry{}
		c.marshal(e, r, v)
	}
	return e.encoding, e.err
}

// load returns the encoding of one version of a resource, which it reads only if it is not known. An error of read is for
// its caller alone: what ends one session is nothing that the others know of the resource.
func (c *cache) load(key resource.Key, version resource.Revision, v variant, read func() (resource.Resource, error)) (encoding, error) {
	k := cacheKey{key, version, v}
	for {
		e, mine := c.lookup(k), false
		e.encodeOnce.Do(func() {
			mine = true
			r, err := read()
			if err != nil {
				e.err, e.unread = err, true
				c.drop(k, e)
				return
			}
			c.marshal(e, r, v)
		})
		if mine || !e.unread {
			return e.encoding, e.err
		}
	}
}

func (c *cache) marshal(e *cacheEntry, r resource.Resource, v variant) {
	var m resource.Resource
	if m, e.err = mapped(r, v, c.zone); e.err != nil {
		return
	}
	if e.encoding, e.err = encode(m); e.err != nil {
		return
	}
	e.encoding.modified = r.Modified
	n := len(e.encoding.wire.Resource.Value)
	c.stats.marshals.Add(1)
	c.stats.marshalledBytes.Add(uint64(n))
	c.mu.Lock()
	c.youngBytes += n
	c.mu.Unlock()
}

// Stats counts what a server or client has done since it was made.
type Stats struct {
	Marshals        uint64 // resources marshalled
	MarshalledBytes uint64 // their size
	ResponsesSent   uint64
	ResourcesSent   uint64 // changed and removed ones, in all responses
	BytesSent       uint64 // the size of all responses, before compression
	Acks            uint64 // got for responses sent
	Nacks           uint64
	StaleNonces     uint64 // requests ignored because of their nonce
	Rejected        uint64 // resources received that were not stored
	Applied         uint64 // writes and deletes stored
	Lists           int    // complete lists that are being sent, of a server: to so many zones
	ListsWaiting    int    // and zones that wait for their turn
	MostLists       int    // the most that there ever were at once
	Refused         uint64 // calls without a credential of the zone that they were for
	Forged          uint64 // resources, and removals, that claimed what is not their sender's: corrected, or ignored
}

type counters struct {
	marshals, marshalledBytes, responses, resources, bytes, acks, nacks, stale, rejected, applied, refused, forged atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Marshals: c.marshals.Load(), MarshalledBytes: c.marshalledBytes.Load(), ResponsesSent: c.responses.Load(),
		ResourcesSent: c.resources.Load(), BytesSent: c.bytes.Load(), Acks: c.acks.Load(), Nacks: c.nacks.Load(),
		StaleNonces: c.stale.Load(), Rejected: c.rejected.Load(), Applied: c.applied.Load(), Refused: c.refused.Load(),
		Forged: c.forged.Load(),
	}
}
