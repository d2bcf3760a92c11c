package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
)

// batch is one call of Apply.
type batch struct {
	ops  []resource.Op
	rev  resource.Revision
	err  error
	done chan struct{} // closed once rev and err are set
}

// Apply commits ops as one batch. A caller that gives up (ctx) while its batch waits for a turn has written nothing;
// once the batch is being written Apply waits for its fate.
func (s *Store) Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, op := range ops {
		if err := checkOp(op); err != nil {
			return 0, err
		}
	}
	if len(ops) == 0 {
		return s.Revision(), s.working()
	}
	b := &batch{ops: ops, done: make(chan struct{})}
	if err := s.enqueue(b); err != nil {
		return 0, err
	}
	select {
	case s.turn <- struct{}{}:
		s.writeQueue() // writes b, unless the one before us has
		<-s.turn
	case <-ctx.Done():
		if s.withdraw(b) {
			return 0, ctx.Err()
		}
	case <-b.done:
	}
	<-b.done
	return b.rev, b.err
}

func (s *Store) enqueue(b *batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.down(); err != nil {
		return err
	}
	s.queue = append(s.queue, b)
	return nil
}

// withdraw takes b out of the queue, and says whether it was still there.
func (s *Store) withdraw(b *batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, b)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// writeQueue writes everything that is queued and tells each caller. The caller has the turn.
func (s *Store) writeQueue() {
	// Those whose batches the last turn wrote are waking up now. Let them queue their next ones first: of 64 writers 44
	// then share a transaction, otherwise 32.
	runtime.Gosched()
	s.mu.Lock()
	batches := s.queue
	s.queue = nil
	s.mu.Unlock()
	if len(batches) == 0 {
		return
	}
	rev, err := s.write(batches)
	if err == nil {
		s.publish(rev)
	}
	for _, b := range batches {
		if err != nil && b.err == nil {
			b.rev, b.err = 0, err
		}
		close(b.done)
	}
}

// write writes batches in one transaction and returns the last revision. Each batch gets its revision or its error; the
// error of write itself is that of all batches which have none of their own.
func (s *Store) write(batches []*batch) (rev resource.Revision, err error) {
	tx, err := s.begin(context.Background(), true)
	if err != nil {
		return 0, err
	}
	defer s.trap(&err, debug.SetPanicOnFault(true))
	before := s.Revision()
	rev = before
	now := s.now().UTC()
	for _, b := range batches {
		writes, err := s.decide(tx, b.ops, rev+1)
		if err != nil {
			b.err = err
			continue
		}
		if len(writes) == 0 { // only checks
			b.rev = rev
			continue
		}
		rev++
		b.rev = rev
		if err := put(tx, writes, rev, now); err != nil {
			return 0, errors.Join(fmt.Errorf("store %s: %w", s.path, err), tx.Rollback())
		}
	}
	if rev == before {
		return rev, tx.Rollback()
	}
	if err := tx.Bucket(bucketMeta).Put(metaRevision, sealNumber(metaRevision, uint64(rev))); err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	if err := s.commit(tx); err != nil {
		return 0, s.settle(err, metaRevision, uint64(rev))
	}
	return rev, nil
}

// settle finds out what became of a commit that failed with err and was to set key to want. Usually it left nothing,
// and the store goes on. If the commit record is in the file, and only its fsync has failed, nobody can say whether it
// is on disk: the store stops, since going on could bring back what its callers were told has failed.
func (s *Store) settle(err error, key []byte, want uint64) error {
	err = fmt.Errorf("store %s: commit: %w", s.path, err)
	tx, beginErr := s.begin(context.Background(), false)
	if beginErr != nil {
		return s.stop(errors.Join(err, beginErr))
	}
	defer s.end(tx)
	n, readErr := s.metaNumber(tx, key)
	if readErr != nil {
		return s.stop(errors.Join(err, readErr))
	}
	if n == want {
		return s.stop(fmt.Errorf("%w: it may or may not be on disk; restart to find out", err))
	}
	return err
}

// write is what a batch makes of one key in the end.
type write struct {
	key      []byte
	resource resource.Resource
	live     bool
	changed  bool              // false: it was only looked at
	version  resource.Revision // 0 while there is no resource
	created  time.Time         // zero: by this batch
	stored   []byte            // log position of what is in the file now, nil if nothing is
}

// decide says what ops, as revision rev, do to the state in tx, and writes nothing: one write per key, in the order of
// their first ops.
func (s *Store) decide(tx *bbolt.Tx, ops []resource.Op, rev resource.Revision) ([]*write, error) {
	writes := make([]*write, 0, len(ops))
	byKey := make(map[resource.Key]*write, len(ops))
	for _, op := range ops {
		key := op.Resource.Key
		w := byKey[key]
		if w == nil {
			w = &write{key: encodeKey(key)}
			e, found, err := s.lookup(tx, key, w.key)
			if err != nil {
				return nil, err
			}
			if found {
				w.stored = e.position
			}
			if found && e.live {
				old, err := s.decode(key, e)
				if err != nil {
					return nil, err
				}
				w.live, w.version, w.created = true, old.Version, old.Created
			}
			byKey[key] = w
			writes = append(writes, w)
		}
		if op.Expect != nil && *op.Expect != w.version {
			return nil, fmt.Errorf("%s: expected version %d, found %d: %w", key, *op.Expect, w.version, resource.ErrConflict)
		}
		if op.Check {
			continue
		}
		w.changed = true
		if !op.Delete {
			w.live, w.version, w.resource = true, rev, op.Resource
			continue
		}
		if !w.live {
			return nil, fmt.Errorf("delete %s: %w", key, resource.ErrNotFound)
		}
		w.live, w.version, w.created = false, 0, time.Time{}
	}
	return slices.DeleteFunc(writes, func(w *write) bool { return !w.changed }), nil
}

// put makes writes part of tx, as revision rev. Its errors are those of the transaction as a whole.
func put(tx *bbolt.Tx, writes []*write, rev resource.Revision, now time.Time) error {
	res, log := tx.Bucket(bucketRes), tx.Bucket(bucketLog)
	for i, w := range writes {
		e := entry{position: position(rev, i), live: w.live}
		var err error
		switch {
		case !w.live:
			e.record, err = encodeTombstone(now)
		case w.created.IsZero():
			e.record, err = encodeRecord(w.resource, now, now)
		default:
			e.record, err = encodeRecord(w.resource, w.created, now)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", w.key, err)
		}
		if w.stored != nil {
			if err := log.Delete(w.stored); err != nil {
				return err
			}
		}
		if err := errors.Join(res.Put(w.key, e.seal(w.key)), log.Put(e.position, w.key)); err != nil {
			return err
		}
	}
	return nil
}
