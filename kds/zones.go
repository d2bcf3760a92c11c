package kds

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"

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
	from    resource.Revision // flips are known since then
	lost    int               // and since this number
	flips   []zoneFlip        // ascending
}

// zoneFlip is a Zone that came, went, or was enabled or disabled.
type zoneFlip struct {
	rev    resource.Revision // it happened by then
	change int               // the number of the answer that was the first to know it
	zone   string
}

// maxFlips is how many flips are remembered.
const maxFlips = 10_000

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
	if !z.read {
		z.from = reached
	}
	var flipped map[string]bool
	if z.read && next != nil {
		flipped = differing(z.enabled, next)
	}
	if !z.read || len(flipped) > 0 {
		z.changes++
		for zone := range flipped {
			z.flips = append(z.flips, zoneFlip{reached, z.changes, zone})
		}
		if n := len(z.flips) - maxFlips; n > maxFlips {
			z.from, z.lost, z.flips = z.flips[n-1].rev, z.flips[n-1].change, append([]zoneFlip{}, z.flips[n:]...)
		}
		z.enabled = next
	}
	z.rev, z.read = reached, true
	return z.enabled, z.changes, z.rev, nil
}

// differing returns the zones that one of the two maps has and the other has not, or otherwise.
func differing(a, b map[string]bool) map[string]bool {
	out := map[string]bool{}
	for zone, enabled := range a {
		if other, known := b[zone]; !known || other != enabled {
			out[zone] = true
		}
	}
	for zone := range b {
		if _, known := a[zone]; !known {
			out[zone] = true
		}
	}
	return out
}

// flippedSince returns the zones that came, went or were switched after rev, and maybe some more; known is false if
// nobody can tell.
func (z *zones) flippedSince(ctx context.Context, rev resource.Revision) (flipped map[string]bool, known bool, err error) {
	if _, _, _, err := z.current(ctx); err != nil {
		return nil, false, err
	}
	flipped = map[string]bool{}
	z.mu.Lock()
	from := z.from
	for _, f := range slices.Backward(z.flips) {
		if f.rev <= rev {
			break
		}
		flipped[f.zone] = true
	}
	z.mu.Unlock()
	if rev >= from {
		return flipped, true, nil
	}
	list, _, err := z.store.Since(ctx, "Zone", rev)
	if errors.Is(err, resource.ErrCompacted) {
		return nil, false, nil
	}
	for _, c := range list {
		flipped[c.Resource.Name] = true
	}
	return flipped, err == nil, err
}

// since returns the zones that came, went or were switched after the answer with the number change, and maybe some more.
// nil: nobody can tell. It costs what there are of them.
func (z *zones) since(change int) map[string]bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	if change < z.lost {
		return nil
	}
	flipped := map[string]bool{}
	for _, f := range slices.Backward(z.flips) {
		if f.change <= change {
			break
		}
		flipped[f.zone] = true
	}
	return flipped
}

// follow returns the map after the changes since z.rev, nil if there are none.
func (z *zones) follow(ctx context.Context) (map[string]bool, resource.Revision, error) {
	list, reached, err := z.store.Since(ctx, "Zone", z.rev)
	if err != nil || len(list) == 0 {
		return nil, reached, err
	}
	next := maps.Clone(z.enabled)
	for _, c := range list {
		if c.Deleted {
			delete(next, c.Resource.Name)
		} else {
			next[c.Resource.Name], _ = resource.ZoneEnabled(c.Resource)
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
			next[r.Name], _ = resource.ZoneEnabled(r)
		}
		return nil
	})
	return next, reached, err
}
