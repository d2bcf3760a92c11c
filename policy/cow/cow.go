package cow

import (
	"hash/maphash"
	"iter"
	"maps"
	"slices"
)

// Edit is the right to change in place. A nil Edit gives no such right: everything is copied.
type Edit struct{ _ byte } // not empty: two of them must be at two addresses

// NewEdit returns a new right, for nothing that exists already.
func NewEdit() *Edit { return &Edit{} }

func (e *Edit) owns(by *Edit) bool { return e != nil && e == by }

// parts is into how many a Map is cut: a change copies one of them, and 2 kB.
const parts = 256

var seed = maphash.MakeSeed()

// Map is a map. The zero value is empty.
type Map[K comparable, V any] struct {
	root *root[K, V]
}

type root[K comparable, V any] struct {
	by    *Edit
	n     int
	parts [parts]*part[K, V]
}

type part[K comparable, V any] struct {
	by *Edit
	m  map[K]V
}

func partOf[K comparable](k K) int { return int(maphash.Comparable(seed, k) % parts) }

// Get returns the value under k, or the zero value.
func (m Map[K, V]) Get(k K) (v V, ok bool) {
	if m.root == nil {
		return v, false
	}
	p := m.root.parts[partOf(k)]
	if p == nil {
		return v, false
	}
	v, ok = p.m[k]
	return v, ok
}

// Len returns how many keys there are.
func (m Map[K, V]) Len() int {
	if m.root == nil {
		return 0
	}
	return m.root.n
}

// All returns all keys and values, in no order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root == nil {
			return
		}
		for _, p := range m.root.parts {
			if p == nil {
				continue
			}
			for k, v := range p.m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// own returns the part that k belongs to, which e may change.
func (m *Map[K, V]) own(e *Edit, k K) *part[K, V] {
	switch {
	case m.root == nil:
		m.root = &root[K, V]{by: e}
	case !e.owns(m.root.by):
		r := *m.root
		r.by = e
		m.root = &r
	}
	i := partOf(k)
	switch p := m.root.parts[i]; {
	case p == nil:
		m.root.parts[i] = &part[K, V]{by: e, m: map[K]V{}}
	case !e.owns(p.by):
		m.root.parts[i] = &part[K, V]{by: e, m: maps.Clone(p.m)}
	}
	return m.root.parts[i]
}

// Set puts v under k.
func (m *Map[K, V]) Set(e *Edit, k K, v V) {
	p := m.own(e, k)
	before := len(p.m)
	p.m[k] = v
	m.root.n += len(p.m) - before
}

// Delete removes what is under k, if anything is.
func (m *Map[K, V]) Delete(e *Edit, k K) {
	if _, ok := m.Get(k); ok {
		delete(m.own(e, k).m, k)
		m.root.n--
	}
}

// List is values in the ascending order of a comparison, each once. The zero value is empty.
type List[V any] struct {
	by    *Edit
	items []V
}

// Items returns the values. They must not be changed.
func (l List[V]) Items() []V { return l.items }

// Put inserts v, in place of the value that is equal to it in the order. Values that come in order cost no search.
func (l *List[V]) Put(e *Edit, v V, compare func(a, b V) int) {
	i, same := len(l.items), false
	if i > 0 && compare(l.items[i-1], v) >= 0 {
		i, same = slices.BinarySearchFunc(l.items, v, compare)
	}
	if !e.owns(l.by) {
		const room = 8 // leaves an eighth of the list free, and that much is wasted of one that never changes again
		l.items, l.by = append(make([]V, 0, len(l.items)+1+len(l.items)/room), l.items...), e
	}
	if same {
		l.items[i] = v
	} else {
		l.items = slices.Insert(l.items, i, v)
	}
}

// Delete removes the value that is equal to v in the order, if there is one.
func (l *List[V]) Delete(e *Edit, v V, compare func(a, b V) int) {
	i, ok := slices.BinarySearchFunc(l.items, v, compare)
	if !ok {
		return
	}
	if !e.owns(l.by) {
		l.items, l.by = slices.Clone(l.items), e
	}
	l.items = slices.Delete(l.items, i, i+1)
}

// Lists is a Map of Lists. The zero value is empty.
type Lists[K comparable, V any] struct {
	m Map[K, *List[V]]
}

// Get returns the values under k, nil for none. They must not be changed.
func (ls Lists[K, V]) Get(k K) []V {
	if l, ok := ls.m.Get(k); ok {
		return l.items
	}
	return nil
}

// All returns all keys and their values, in no order of the keys.
func (ls Lists[K, V]) All() iter.Seq2[K, []V] {
	return func(yield func(K, []V) bool) {
		for k, l := range ls.m.All() {
			if !yield(k, l.items) {
				return
			}
		}
	}
}

// Put inserts v into the list under k, as List.Put.
func (ls *Lists[K, V]) Put(e *Edit, k K, v V, compare func(a, b V) int) {
	l, ok := ls.m.Get(k)
	if !ok || !e.owns(l.by) {
		l = ls.copied(l)
		l.Put(e, v, compare)
		ls.m.Set(e, k, l)
		return
	}
	l.Put(e, v, compare) // made under e, and so is the part of the map that it is in
}

// Delete removes v from the list under k, as List.Delete.
func (ls *Lists[K, V]) Delete(e *Edit, k K, v V, compare func(a, b V) int) {
	l, ok := ls.m.Get(k)
	if !ok {
		return
	}
	l = ls.copied(l)
	l.Delete(e, v, compare)
	if len(l.items) == 0 {
		ls.m.Delete(e, k)
	} else {
		ls.m.Set(e, k, l)
	}
}

func (ls *Lists[K, V]) copied(l *List[V]) *List[V] {
	if l == nil {
		return &List[V]{}
	}
	c := *l
	return &c
}
