package resolver_test

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/meridian-mesh/meridian/resource"
)

// memory is a resolver.Source: a revisioned log in a map.
type memory struct {
	mu        sync.Mutex
	rev       resource.Revision
	compacted resource.Revision
	last      map[resource.Key]resource.Change
	log       []resource.Change // all of them, also those that last has no more
	advanced  chan struct{}
	views     int
}

func newMemory() *memory {
	return &memory{last: map[resource.Key]resource.Change{}, advanced: make(chan struct{})}
}

// apply commits ops as one batch.
func (m *memory) apply(ops ...resource.Op) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rev++
	for _, op := range ops {
		r := op.Resource
		r.Version = m.rev
		c := resource.Change{Revision: m.rev, Deleted: op.Delete, Resource: r}
		m.last[r.Key] = c
		m.log = append(m.log, c)
	}
	close(m.advanced)
	m.advanced = make(chan struct{})
}

// compact forgets all deletes.
func (m *memory) compact() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.compacted = m.rev
	maps.DeleteFunc(m.last, func(_ resource.Key, c resource.Change) bool { return c.Deleted })
}

func (m *memory) View(_ context.Context, _ string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views++
	return fn(m.rev, func(yield func(resource.Resource, error) bool) {
		for _, key := range slices.SortedFunc(maps.Keys(m.last), resource.Key.Compare) {
			if c := m.last[key]; !c.Deleted && !yield(c.Resource, nil) {
				return
			}
		}
	})
}

func (m *memory) Since(_ context.Context, _ string, rev resource.Revision) ([]resource.Change, resource.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rev < m.compacted {
		return nil, 0, resource.ErrCompacted
	}
	from, _ := slices.BinarySearchFunc(m.log, rev+1, func(c resource.Change, rev resource.Revision) int { return cmp.Compare(c.Revision, rev) })
	var changes []resource.Change
	for _, c := range m.log[from:] {
		if m.last[c.Resource.Key].Revision == c.Revision {
			changes = append(changes, c)
		}
	}
	return changes, m.rev, nil
}

func (m *memory) Advanced(rev resource.Revision) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rev > rev {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return m.advanced
}

func (m *memory) Revision() resource.Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rev
}
