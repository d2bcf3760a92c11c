package resolver

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// memo remembers the parts of answers. What is remembered is found by everything that it depends on, so it is never
// wrong, whichever snapshot a question reads; what no snapshot leads to any more is forgotten in time.
type memo struct {
	sites     cache[stateKey, *policy.Site]
	matched   cache[stateKey, *policy.Matched]
	lists     cache[uint64, sorted] // by hash of what was sorted: lists that several proxies have, once
	outbounds cache[outboundKey, *policy.OutboundPart]
	inbounds  cache[listKey, *policy.InboundPart]
}

// The most that is remembered of each, in bytes, roughly: doc.go says how the figures were found.
const (
	maxSites    = 32 << 20
	maxMatched  = 128 << 20
	maxLists    = 32 << 20 // which are also counted where they are used
	maxOutbound = 128 << 20
	maxInbound  = 32 << 20
	maxMemory   = maxSites + maxMatched + maxLists + maxOutbound + maxInbound

	siteCost    = 200
	matchedCost = 300
	ruleCost    = 1000 // half of it is JSON
	policyCost  = 8    // in a list
)

// newMemo returns a memo for that many bytes, 0: maxMemory.
func newMemo(bytes int64) *memo {
	share := func(of int64) int {
		if bytes == 0 {
			return int(of)
		}
		return int(of * (bytes >> 10) / (maxMemory >> 10))
	}
	m := &memo{}
	m.sites.most, m.matched.most, m.lists.most = share(maxSites), share(maxMatched), share(maxLists)
	m.outbounds.most, m.inbounds.most = share(maxOutbound), share(maxInbound)
	return m
}

// stateKey is one proxy, one type of policy, and the last revision at which something could have touched the answer.
type stateKey struct {
	px    *policy.Proxy
	at    int // in stamps
	since resource.Revision
}

// sorted is a list of policies before and after it was sorted.
type sorted struct{ from, to []*policy.Policy }

// listKey is a list of policies of one type that memo.sort returned: the address of its first element.
type listKey **policy.Policy

type outboundKey struct {
	policies listKey
	mesh     *policy.Mesh
	since    resource.Revision
}

// sort returns what by makes of ps, the same list for equal ones, and what it adds to what is remembered.
func (m *memo) sort(ps []*policy.Policy, by func([]*policy.Policy)) (_ []*policy.Policy, cost int) {
	if len(ps) == 0 {
		return nil, 0
	}
	var h maphash.Hash
	h.SetSeed(listSeed)
	for _, p := range ps {
		maphash.WriteComparable(&h, p)
	}
	fresh := func() (sorted, int) {
		l := sorted{from: slices.Clip(ps), to: slices.Clone(ps)}
		if by(l.to); slices.Equal(l.from, l.to) {
			l.from = l.to
			return l, len(ps) * policyCost
		}
		return l, 2 * len(ps) * policyCost
	}
	known := m.lists.get(h.Sum64(), func() (l sorted, _ int) {
		l, cost = fresh()
		return l, cost
	})
	if !slices.Equal(known.from, ps) { // the hashes are equal by chance
		known, cost = fresh()
	}
	return known.to, cost
}

var listSeed = maphash.MakeSeed()

// memory is the memo as questions about one proxy of one snapshot see it. It is a policy.Memo.
type memory struct {
	*memo
	ix *index
	px *proxy
}

func (m memory) state(at int) stateKey {
	return stateKey{m.px.Proxy, at, max(m.px.touched[at], m.ix.wide[at])}
}

func (m memory) Site(compute func() *policy.Site) *policy.Site {
	return m.sites.get(m.state(servedAt), func() (*policy.Site, int) { return compute(), 1 })
}

func (m memory) Matched(t policy.Type, compute func(policy.Sorting) *policy.Matched) *policy.Matched {
	return m.matched.get(m.state(typeIndex[t.Kind]), func() (*policy.Matched, int) {
		cost := matchedCost
		found := compute(func(ps []*policy.Policy, by func([]*policy.Policy)) []*policy.Policy {
			list, more := m.sort(ps, by)
			cost += more
			return list
		})
		return found, cost
	})
}

func (m memory) Outbound(t policy.Type, policies []*policy.Policy, compute func() *policy.OutboundPart) *policy.OutboundPart {
	key := outboundKey{&policies[0], m.ix.mesh, m.ix.resolved[typeIndex[t.Kind]]}
	return m.outbounds.get(key, func() (*policy.OutboundPart, int) {
		found := compute()
		return found, (1 + found.Rules()) * ruleCost
	})
}

func (m memory) Inbound(_ policy.Type, policies []*policy.Policy, compute func() *policy.InboundPart) *policy.InboundPart {
	return m.inbounds.get(&policies[0], func() (*policy.InboundPart, int) {
		found := compute()
		return found, (1 + found.Rules()) * ruleCost
	})
}

// cache keeps what was used last, in two generations: when the young one costs half of what is allowed, it becomes the
// old one, and what was in the old one and has not been asked for since is forgotten. Any number of goroutines may use
// it; two that miss one key at a time both compute, and go on with the value of the first.
type cache[K comparable, V any] struct {
	most int // total cost

	mu         sync.Mutex
	young, old map[K]cached[V] // guarded by mu
	cost       int             // of young; guarded by mu
}

type cached[V any] struct {
	value V
	cost  int
}

// get returns what is under k, or else what compute returns, with its cost.
func (c *cache[K, V]) get(k K, compute func() (V, int)) V {
	if found, ok := c.look(k); ok {
		return found
	}
	v, cost := compute()
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.young[k]; ok {
		return found.value
	}
	c.keep(k, cached[V]{v, cost})
	return v
}

func (c *cache[K, V]) look(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.young[k]; ok {
		return found.value, true
	}
	found, ok := c.old[k]
	if ok {
		delete(c.old, k)
		c.keep(k, found)
	}
	return found.value, ok
}

// keep adds to the young generation. It holds mu.
func (c *cache[K, V]) keep(k K, v cached[V]) {
	if c.cost += v.cost; c.young == nil || c.cost > c.most/2 {
		c.old, c.young, c.cost = c.young, map[K]cached[V]{}, v.cost
	}
	c.young[k] = v
}
