package resolver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

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
}

// Resolver answers questions about one store. Its methods may be called from any number of goroutines.
type Resolver struct {
	src Source
	log hclog.Logger

	// follow is held while the store is read, mu while the index is changed or read; follow is taken first. So
	// questions about what is indexed already never wait for the disk.
	follow sync.Mutex
	mu     sync.RWMutex
	loaded bool              // guarded by mu; set under both
	rev    resource.Revision // what the index shows; guarded by mu, set under both
	meshes meshes            // guarded by mu
}

// New returns a Resolver with an empty index; the first question, or Run, fills it.
func New(cfg Config) *Resolver {
	log := cfg.Log
	if log == nil {
		log = hclog.NewNullLogger()
	}
	log = log.Named("resolver")
	return &Resolver{src: cfg.Source, log: log, meshes: newMeshes(log)}
}

// Run keeps the index up to date until ctx ends. It returns nil then, and an error if the store cannot be read.
func (r *Resolver) Run(ctx context.Context) error {
	for {
		if err := r.catchUp(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		_, rev := r.at()
		select {
		case <-ctx.Done():
			return nil
		case <-r.src.Advanced(rev):
		}
	}
}

func (r *Resolver) at() (loaded bool, rev resource.Revision) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.loaded, r.rev
}

// catchUp brings the index to the revision that the store has now, or a later one.
func (r *Resolver) catchUp(ctx context.Context) error {
	want := r.src.Revision()
	if loaded, rev := r.at(); loaded && rev >= want {
		return nil
	}
	r.follow.Lock()
	defer r.follow.Unlock()
	loaded, rev := r.at()
	if loaded && rev >= want {
		return nil // someone else did it in the meantime
	}
	if !loaded {
		return r.load(ctx)
	}
	changes, upTo, err := r.src.Since(ctx, "", rev)
	if errors.Is(err, resource.ErrCompacted) {
		return r.load(ctx)
	}
	if err != nil {
		return fmt.Errorf("follow the store from revision %d: %w", rev, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range changes {
		if c.Deleted {
			r.meshes.delete(c.Resource.Key)
			delete(r.meshes.logged, c.Resource.Key)
		} else {
			r.meshes.put(c.Resource)
		}
	}
	r.rev = upTo
	return nil
}

// load builds the index anew. It holds follow.
func (r *Resolver) load(ctx context.Context) error {
	fresh := newMeshes(r.log)
	fresh.logged = r.meshes.logged // touched under follow alone
	var rev resource.Revision
	err := r.src.View(ctx, "", func(at resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		rev = at
		for res, err := range all {
			if err != nil {
				return err
			}
			fresh.put(res)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meshes, r.rev, r.loaded = fresh, rev, true
	return nil
}

// read calls fn with the index at the store's revision of now, or later. fn must not keep what it is given.
func (r *Resolver) read(ctx context.Context, fn func(rev resource.Revision, m meshes) error) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fn(r.rev, r.meshes)
}
