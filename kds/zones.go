package kds

import (
	"context"
	"errors"
	"iter"
	"maps"
	"sync"

	"google.golang.org/protobuf/proto"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// zones follows the Zone resources of global's store, once for all its sessions.
type zones struct {
	store Store

	mu      sync.Mutex // guards what follows
	enabled map[string]bool
	rev     resource.Revision
	changes int // how often enabled changed
	read    bool
}

// current returns which zones there are and whether each is enabled, as of a revision that is not older than the store's
// was at the call, and a number that grows when the answer changes. The map is not modified later.
func (z *zones) current(ctx context.Context) (enabled map[string]bool, changes int, rev resource.Revision, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.read && z.store.Revision() <= z.rev {
		return z.enabled, z.changes, z.rev, nil
	}
	var next map[string]bool
	var reached resource.Revision
	if z.read {
		next, reached, err = z.follow(ctx)
	}
	if !z.read || errors.Is(err, resource.ErrCompacted) {
		next, reached, err = z.list(ctx)
	}
	if err != nil {
		return nil, 0, 0, err
	}
	if !z.read || !maps.Equal(next, z.enabled) {
		z.enabled = next
		z.changes++
	}
	z.rev, z.read = reached, true
	return z.enabled, z.changes, z.rev, nil
}

func (z *zones) follow(ctx context.Context) (map[string]bool, resource.Revision, error) {
	list, reached, err := z.store.Since(ctx, "Zone", z.rev)
	if err != nil || len(list) == 0 {
		return z.enabled, reached, err
	}
	next := maps.Clone(z.enabled)
	for _, c := range list {
		if c.Deleted {
			delete(next, c.Resource.Name)
		} else {
			next[c.Resource.Name] = zoneEnabled(c.Resource)
		}
	}
	return next, reached, nil
}

func (z *zones) list(ctx context.Context) (map[string]bool, resource.Revision, error) {
	next := map[string]bool{}
	var reached resource.Revision
	err := z.store.View(ctx, "Zone", func(rev resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		reached = rev
		for r, err := range list {
			if err != nil {
				return err
			}
			next[r.Name] = zoneEnabled(r)
		}
		return nil
	})
	return next, reached, err
}

// zoneEnabled says whether a Zone is enabled: it is unless it says otherwise. One that cannot be read is not.
func zoneEnabled(r resource.Resource) bool {
	var z systemv1.Zone
	if err := proto.Unmarshal(r.Spec, &z); err != nil {
		return false
	}
	return z.Enabled == nil || z.Enabled.Value
}
