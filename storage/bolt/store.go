package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
)

// Conditions of Open.
var (
	ErrInUse       = errors.New("another process has it open")
	ErrNewerFormat = errors.New("written by a newer version of this program")
	ErrOwner       = errors.New("the store of another control plane")
)

const (
	mapBytes  = 1 << 30  // of address space, not of memory: until the file is larger, growing it waits for no reader
	fewBytes  = 16 << 20 // the same without fsyncs: simulations have many stores, and small ones
	growBytes = 4 << 20  // that the file grows by at a time; each time costs an fsync
)

// Options of Open. The zero value is for production.
type Options struct {
	Owner  string           // whose store it is, for ever: global, or zone NAME; "": whoever opens it
	NoSync bool             // skip every fsync: a crash of the machine may then damage the file. For simulations and tests
	Log    hclog.Logger     // nil discards
	Now    func() time.Time // gives Created and Modified; default time.Now
	Fate   func() Fate      // decides each commit's; nil: the disk does. For simulations and tests
}

// Store is a storage.Store in one file.
type Store struct {
	path  string
	epoch string
	now   func() time.Time
	db    *bbolt.DB
	file  *os.File // the one that db works on

	turn   chan struct{} // holds a token while somebody writes
	commit func(*bbolt.Tx) error

	mu       sync.Mutex // guards the rest; never held during I/O
	queue    []*batch   // waiting for a turn, oldest first
	revision resource.Revision
	advanced chan struct{} // closed and replaced after each commit
	closed   bool
	fault    error // why the store has stopped; nil while it works
	stuck    bool  // bbolt has panicked, and may hold a lock of its own
}

var _ storage.Store = (*Store)(nil)

// Open opens the store in the file path. If there is no such file it is made; its folder must exist.
//
// Open reads and checks the whole file: 0.1 s for 100,000 policies, 120 MB, that are in the page cache.
//
// Errors, all naming the file: ErrInUse, at once, when another process or another Store of this one has it;
// ErrNewerFormat, with both format numbers; ErrOwner, with both owners; resource.ErrDamaged, also for a file that is no store
// at all.
func Open(path string, o Options) (*Store, error) {
	st, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return st, nil
}

func open(path string, o Options) (*Store, error) {
	start := time.Now()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, o); err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	// The lock comes before the check: a file that another process is writing to would look damaged.
	if err := lock(file, syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	if replaced, err := replacedBy(path, file); err != nil || replaced {
		release(file)
		if err != nil {
			return nil, err
		}
		return open(path, o) // Restore was faster
	}
	found, err := check(file, nil)
	if err == nil && found.owner != "" && o.Owner != "" && found.owner != o.Owner {
		err = fmt.Errorf("%w: it is that of %s, not of %s", ErrOwner, found.owner, o.Owner)
	}
	if err != nil {
		release(file)
		return nil, err
	}
	options := bboltOptions(o)
	// bbolt locks the same open file once more, which flock grants.
	options.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return file, nil }
	db, err := bbolt.Open(path, 0, options)
	if err != nil {
		release(file)
		return nil, err
	}
	db.AllocSize = growBytes
	if found.owner == "" && o.Owner != "" {
		if err := db.Update(func(tx *bbolt.Tx) error { return claim(tx, o.Owner) }); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	st := &Store{
		path: path, epoch: found.epoch, now: o.Now, db: db, file: file,
		turn: make(chan struct{}, 1), commit: (*bbolt.Tx).Commit,
		revision: found.revision, advanced: make(chan struct{}),
	}
	if st.now == nil {
		st.now = time.Now
	}
	if o.Fate != nil {
		st.commit = func(tx *bbolt.Tx) error { return st.fated(tx, o.Fate()) }
	}
	if o.Log != nil {
		o.Log.Info("store opened", "file", path, "epoch", found.epoch, "rev", found.revision, "resources", found.live,
			"took", time.Since(start))
	}
	return st, nil
}

// replacedBy says whether path has become another file since it was opened.
func replacedBy(path string, file *os.File) (bool, error) {
	mine, err := file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(mine, there), err
}

// lock takes the lock of a file, how is LOCK_EX or LOCK_SH, or returns ErrInUse at once.
func lock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return ErrInUse
	case err != nil:
		return fmt.Errorf("lock: %w", err)
	}
	return nil
}

// release closes a file and gives up its lock at once: by itself that would end with the last mapping of the file and
// with the last child process that was just being started.
func release(file *os.File) {
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	_ = file.Close()
}

// The list of free pages is written with each commit: leaving it out (NoFreelistSync) makes a commit 5 µs faster of 70
// without the fsyncs, and in return Open, and every commit that fails, walks the whole tree to find the free pages.
func bboltOptions(o Options) *bbolt.Options {
	size := mapBytes
	if o.NoSync {
		size = fewBytes
	}
	return &bbolt.Options{
		NoSync:          o.NoSync,
		NoGrowSync:      o.NoSync,
		NoStatistics:    true,
		FreelistType:    bbolt.FreelistMapType, // the other kind searches the list for every page it gives out
		InitialMmapSize: size,
	}
}

// claim writes down whose store it is.
func claim(tx *bbolt.Tx, owner string) error {
	return tx.Bucket(bucketMeta).Put(metaOwner, seal(metaOwner, []byte(owner)))
}

// emptyFile returns what bbolt makes of an empty file.
var emptyFile = sync.OnceValues(func() ([]byte, error) {
	tmp, err := os.CreateTemp("", "meridian-empty-*.db")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	tmp.Close()
	db, err := bbolt.Open(tmp.Name(), 0o600, bboltOptions(Options{NoSync: true}))
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(tmp.Name())
})

// create makes an empty store under another name and links it to path, so that there is never half a store at path,
// and never two for two processes that come at the same time.
func create(path string, o Options) error {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.CreateTemp(dir, base+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if o.NoSync { // or else bbolt syncs the pages that it begins with
		pages, err := emptyFile()
		if _, writeErr := tmp.Write(pages); err != nil || writeErr != nil {
			tmp.Close()
			return errors.Join(err, writeErr)
		}
	}
	tmp.Close()
	db, err := bbolt.Open(tmp.Name(), 0o600, bboltOptions(o))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketRes, bucketLog} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if o.Owner != "" {
			if err := claim(tx, o.Owner); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(
			meta.Put(metaFormat, sealNumber(metaFormat, format)),
			meta.Put(metaEpoch, seal(metaEpoch, []byte(rand.Text()))),
			meta.Put(metaRevision, sealNumber(metaRevision, 0)),
			meta.Put(metaCompacted, sealNumber(metaCompacted, 0)),
		)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if o.NoSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close waits for the transactions that run and gives the file back. Callers that wait in Apply, and channels of
// Advanced, are woken. It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.down() == nil {
		close(s.advanced)
	}
	s.closed = true
	s.mu.Unlock()

	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	stuck := s.stuck
	s.mu.Unlock()
	if stuck {
		// Its Close would wait for that lock. The mapping is left behind.
		release(s.file)
		return nil
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}

// Revision returns the revision of the last commit, also after Close.
func (s *Store) Revision() resource.Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// Epoch returns the word that was drawn when the file was made.
func (s *Store) Epoch() string { return s.epoch }

var passed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Advanced returns a channel that is closed once there is something after rev, and when the store is closed.
func (s *Store) Advanced(rev resource.Revision) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revision > rev || s.down() != nil {
		return passed
	}
	return s.advanced
}

func (s *Store) publish(rev resource.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = rev
	if s.down() == nil {
		close(s.advanced)
		s.advanced = make(chan struct{})
	}
}

// Get returns one resource. Errors: resource.ErrNotFound, resource.ErrDamaged, resource.ErrClosed.
func (s *Store) Get(ctx context.Context, key resource.Key) (r resource.Resource, err error) {
	tx, err := s.begin(ctx, false)
	if err != nil {
		return resource.Resource{}, err
	}
	defer s.end(tx)
	defer s.trap(&err, debug.SetPanicOnFault(true))
	e, found, err := s.lookup(tx, key, encodeKey(key))
	if err != nil {
		return resource.Resource{}, err
	}
	if !found || !e.live {
		return resource.Resource{}, fmt.Errorf("%s: %w", key, resource.ErrNotFound)
	}
	return s.decode(key, e)
}

// View calls fn with one consistent snapshot. fn must not call the store: a commit or Close that waits for this
// transaction would make it wait for itself.
func (s *Store) View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	tx, err := s.begin(ctx, false)
	if err != nil {
		return err
	}
	defer s.end(tx)
	rev, err := s.metaNumber(tx, metaRevision)
	if err != nil {
		return err
	}
	return fn(resource.Revision(rev), func(yield func(resource.Resource, error) bool) {
		prefix := keyPrefix(kind)
		next, first := tx.Bucket(bucketRes).Cursor(), true
		// Only the work with bbolt is trapped: a panic of the caller's loop is not ours.
		step := func() (r resource.Resource, ok bool, err error) {
			defer s.trap(&err, debug.SetPanicOnFault(true))
			for {
				var k, v []byte
				if first {
					k, v = next.Seek(prefix)
					first = false
				} else {
					k, v = next.Next()
				}
				if k == nil || !bytes.HasPrefix(k, prefix) {
					return resource.Resource{}, false, nil
				}
				key, ok := decodeKey(k)
				if !ok {
					return resource.Resource{}, false, s.damaged("a record under the key %q", k)
				}
				e, err := unsealEntry(k, v)
				if err != nil {
					return resource.Resource{}, false, s.damaged("%s: %v", key, err)
				}
				if e.live {
					r, err := s.decode(key, e)
					return r, err == nil, err
				}
			}
		}
		for {
			r, ok, err := step()
			if err != nil {
				yield(resource.Resource{}, err)
				return
			}
			if !ok || !yield(r, nil) {
				return
			}
		}
	})
}

// Since returns the latest change per key after rev. Cost: the changes of all kinds after rev, whatever kind is asked
// for; not the size of the store.
func (s *Store) Since(ctx context.Context, kind string, rev resource.Revision) (changes []resource.Change, upTo resource.Revision, err error) {
	tx, err := s.begin(ctx, false)
	if err != nil {
		return nil, 0, err
	}
	defer s.end(tx)
	defer s.trap(&err, debug.SetPanicOnFault(true))
	last, err := s.metaNumber(tx, metaRevision)
	if err != nil {
		return nil, 0, err
	}
	compacted, err := s.metaNumber(tx, metaCompacted)
	if err != nil {
		return nil, 0, err
	}
	if rev < resource.Revision(compacted) {
		return nil, 0, fmt.Errorf("changes after revision %d: deletes up to %d are forgotten: %w", rev, compacted, resource.ErrCompacted)
	}
	prefix := keyPrefix(kind)
	c := tx.Bucket(bucketLog).Cursor()
	for pos, k := c.Seek(position(rev+1, 0)); pos != nil; pos, k = c.Next() {
		if !bytes.HasPrefix(k, prefix) {
			continue
		}
		key, ok := decodeKey(k)
		if !ok {
			return nil, 0, s.damaged("the key %q in the log", k)
		}
		e, found, err := s.lookup(tx, key, k)
		if err != nil {
			return nil, 0, err
		}
		if !found || !bytes.Equal(e.position, pos) {
			return nil, 0, s.damaged("%s: record and log disagree", key)
		}
		change := resource.Change{Revision: e.revision(), Deleted: !e.live, Resource: resource.Resource{Key: key}}
		if e.live {
			if change.Resource, err = s.decode(key, e); err != nil {
				return nil, 0, err
			}
		} else if change.Resource.Modified, err = e.deleted(); err != nil {
			return nil, 0, s.damaged("%s: %v", key, err)
		}
		changes = append(changes, change)
	}
	return changes, resource.Revision(last), nil
}

// Compact forgets the deletes up to and including rev. It makes no new revision. Since can reach back to the newest
// delete that was forgotten, so a Compact that finds none to forget costs no reader anything.
func (s *Store) Compact(ctx context.Context, rev resource.Revision) (err error) {
	// The search may be long, so it does not hold up writers.
	dead, err := s.tombstones(ctx, rev)
	if err != nil || len(dead) == 0 {
		return err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	tx, err := s.begin(ctx, true)
	if err != nil {
		return err
	}
	defer s.trap(&err, debug.SetPanicOnFault(true))
	res, log, meta := tx.Bucket(bucketRes), tx.Bucket(bucketLog), tx.Bucket(bucketMeta)
	var newest resource.Revision
	for _, t := range dead {
		if k := log.Get(t.position); !bytes.Equal(k, t.key) {
			continue // written again since
		}
		if err := errors.Join(res.Delete(t.key), log.Delete(t.position)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		newest = revisionAt(t.position)
	}
	if newest == 0 {
		return tx.Rollback()
	}
	if err := meta.Put(metaCompacted, sealNumber(metaCompacted, uint64(newest))); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := s.commit(tx); err != nil {
		return s.settle(err, metaCompacted, uint64(newest))
	}
	return nil
}

type tombstone struct{ position, key []byte }

// tombstones returns the deletes up to rev, oldest first.
func (s *Store) tombstones(ctx context.Context, rev resource.Revision) (dead []tombstone, err error) {
	tx, err := s.begin(ctx, false)
	if err != nil {
		return nil, err
	}
	defer s.end(tx)
	defer s.trap(&err, debug.SetPanicOnFault(true))
	compacted, err := s.metaNumber(tx, metaCompacted)
	if err != nil {
		return nil, err
	}
	res, c := tx.Bucket(bucketRes), tx.Bucket(bucketLog).Cursor()
	for pos, k := c.Seek(position(resource.Revision(compacted)+1, 0)); pos != nil && revisionAt(pos) <= rev; pos, k = c.Next() {
		e, err := unsealEntry(k, res.Get(k))
		if err != nil {
			return nil, s.damaged("the record of %q: %v", k, err)
		}
		if !e.live {
			dead = append(dead, tombstone{bytes.Clone(pos), bytes.Clone(k)})
		}
	}
	return dead, nil
}

// begin starts a transaction. The caller ends a reading one with end, a writing one with commit or Rollback.
func (s *Store) begin(ctx context.Context, write bool) (tx *bbolt.Tx, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.working(); err != nil {
		return nil, err
	}
	defer s.trap(&err, debug.SetPanicOnFault(true))
	tx, err = s.db.Begin(write)
	if err != nil {
		// Closed in between, or else bbolt has lost its mapping.
		if down := s.working(); down != nil {
			return nil, down
		}
		return nil, fmt.Errorf("store %s: %w", s.path, err)
	}
	if err := s.working(); err != nil { // stopped in between: what tx sees may never have been
		return nil, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

func (s *Store) end(tx *bbolt.Tx) {
	var err error // a fault here is the next caller's to see
	defer s.trap(&err, debug.SetPanicOnFault(true))
	err = tx.Rollback()
}

// down says why the store does not work. The caller holds mu.
func (s *Store) down() error {
	if s.closed {
		return resource.ErrClosed
	}
	return s.fault
}

func (s *Store) working() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down()
}

// stop makes every later call fail with err, and returns it.
func (s *Store) stop(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down() == nil {
		close(s.advanced)
	}
	if s.fault == nil {
		s.fault = err
	}
	return err
}

// trap, deferred around work with bbolt, turns a panic into an error and stops the store: the file was whole when it
// was opened, so something has cut it or written to it since, and bbolt may have stopped with a lock held.
// With debug.SetPanicOnFault a read beyond the end of the file panics too; before is that flag's earlier value.
func (s *Store) trap(err *error, before bool) {
	debug.SetPanicOnFault(before)
	if p := recover(); p != nil {
		s.mu.Lock()
		s.stuck = true
		s.mu.Unlock()
		*err = s.stop(s.damaged("%v", p))
	}
}

func damaged(what string, args ...any) error {
	return fmt.Errorf("%w (%s): restore the file from a backup", resource.ErrDamaged, fmt.Sprintf(what, args...))
}

func (s *Store) damaged(what string, args ...any) error {
	return fmt.Errorf("store %s: %w", s.path, damaged(what, args...))
}

func (s *Store) metaNumber(tx *bbolt.Tx, key []byte) (n uint64, err error) {
	defer s.trap(&err, debug.SetPanicOnFault(true))
	n, err = unsealNumber(key, tx.Bucket(bucketMeta).Get(key))
	if err != nil {
		return 0, s.damaged("%s: %v", key, err)
	}
	return n, nil
}

// lookup returns what is stored under k, the encoding of key: a resource or its tombstone.
func (s *Store) lookup(tx *bbolt.Tx, key resource.Key, k []byte) (e entry, found bool, err error) {
	v := tx.Bucket(bucketRes).Get(k)
	if v == nil {
		return entry{}, false, nil
	}
	if e, err = unsealEntry(k, v); err != nil {
		return entry{}, false, s.damaged("%s: %v", key, err)
	}
	return e, true, nil
}

func (s *Store) decode(key resource.Key, e entry) (resource.Resource, error) {
	r, err := e.resource(key)
	if err != nil {
		return resource.Resource{}, s.damaged("%s: %v", key, err)
	}
	return r, nil
}
