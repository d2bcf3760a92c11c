package resolver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/resource"
)

// Source is the part of a store that a Resolver follows; storage.Store has the promises.
type Source interface {
	View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error
	Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error)
	Advanced(rev resource.Revision) <-chan struct{}
	Revision() resource.Revision
}

// Config is what a Resolver needs.
type Config struct {
	Source Source       // required
	Log    hclog.Logger // nil discards
	Memory int64        // bytes, roughly, that remembered parts of answers may take besides the index; 0: 352 MiB
}

// Resolver answers questions about one store. Its methods may be called from any number of goroutines.
type Resolver struct {
	src Source
	log hclog.Logger

	now  atomic.Pointer[snapshot] // nil: nothing was read yet
	memo *memo

	// follow is held while the store is read and the next snapshot is made.
	follow sync.Mutex
	logged map[resource.Key]resource.Revision // see edit; guarded by follow
}

// New returns a Resolver with an empty index; the first question, or Run, fills it.
func New(cfg Config) *Resolver {
	log := cfg.Log
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Resolver{src: cfg.Source, log: log.Named("resolver"), memo: newMemo(cfg.Memory), logged: map[resource.Key]resource.Revision{}}
}

// Hold returns a Resolver that stays with what the store has now, whatever comes later, also when the store is closed. The two share what
// they remember, and all that does not change.
//
// Errors: what the store says.
func (r *Resolver) Hold(ctx context.Context) (*Resolver, error) {
	now, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	held := &Resolver{src: still(now.rev), log: r.log, memo: r.memo, logged: map[resource.Key]resource.Revision{}}
	held.now.Store(now)
	return held, nil
}

// still is a Source at a revision that has been read, and never moves on.
type still resource.Revision

func (s still) Revision() resource.Revision { return resource.Revision(s) }

func (still) Advanced(resource.Revision) <-chan struct{} { return nil }

func (s still) Since(context.Context, string, resource.Revision) ([]resource.Change, resource.Revision, error) {
	return nil, s.Revision(), nil
}

func (still) View(context.Context, string, func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	return resource.ErrClosed
}

// restTime is how long Run lets changes gather while they come one after another: each step copies the lists that it
// changes. Questions do not wait for Run.
const restTime = 20 * time.Millisecond

// Run keeps the index up to date until ctx ends. It returns nil then, and an error if the store cannot be read.
func (r *Resolver) Run(ctx context.Context) error {
	for {
		begun := time.Now()
		now, err := r.current(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.src.Advanced(now.rev):
		}
		rest := restTime - time.Since(begun)
		if rest <= 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// current returns the index at the revision that the store has now, or a later one. It waits for nobody if that is
// there already.
func (r *Resolver) current(ctx context.Context) (*snapshot, error) {
	want := r.src.Revision()
	if now := r.now.Load(); now != nil && now.rev >= want {
		return now, nil
	}
	r.follow.Lock()
	defer r.follow.Unlock()
	now := r.now.Load()
	if now != nil && now.rev >= want {
		return now, nil // someone else did it in the meantime
	}
	if now == nil {
		return r.load(ctx)
	}
	changes, upTo, err := r.src.Since(ctx, "", now.rev)
	if errors.Is(err, resource.ErrCompacted) {
		return r.load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("follow the store from revision %d: %w", now.rev, err)
	}
	e := begin(*now, upTo, r.logged, r.log)
	for _, c := range changes {
		if c.Deleted {
			e.delete(c.Resource.Key)
			delete(r.logged, c.Resource.Key)
		} else {
			e.put(c.Resource)
		}
	}
	r.now.Store(&e.next)
	return &e.next, nil
}

// load builds the index anew. It holds follow.
func (r *Resolver) load(ctx context.Context) (*snapshot, error) {
	var e *edit
	err := r.src.View(ctx, "", func(at resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		e = begin(snapshot{meshes: map[string]*index{}}, at, r.logged, r.log)
		e.load = true
		for res, err := range all {
			if err != nil {
				return err
			}
			e.put(res)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	r.now.Store(&e.next)
	return &e.next, nil
}
