package kds

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// Guard keeps back deletes that look like an accident at the sender: a complete list that lacks too much of what the
// receiver holds. The zero value stands for the defaults.
type Guard struct {
	Share   float64 // of the resources of a kind that a list may delete, 0 to 1; 0: 0.5
	AtLeast int     // fewer deletes than this are never kept back; 0: 20
	Off     bool    // keep nothing back
}

func (g Guard) holds(deletes, of int) bool {
	share, least := g.Share, g.AtLeast
	if share == 0 {
		share = 0.5
	}
	if least == 0 {
		least = 20
	}
	return !g.Off && deletes >= least && float64(deletes) > share*float64(of)
}

// heldDeletes are deletes that wait for a confirmation.
type heldDeletes struct {
	keys  map[resource.Key]resource.Revision // the versions that are to be deleted
	of    int
	since time.Time
}

// hold replaces what is held of a kind that comes from the peer; nil: nothing is.
func (a *account) hold(kind string, h *heldDeletes) {
	a.with(kind, false, func(l *lane) { l.held = h })
}

// release returns how much is still held of a kind, after the named resources have been written or deleted otherwise.
func (a *account) release(kind string, keys []resource.Key) (left int) {
	a.with(kind, false, func(l *lane) {
		if l.held == nil {
			return
		}
		for _, key := range keys {
			delete(l.held.keys, key)
		}
		if left = len(l.held.keys); left == 0 {
			l.held = nil
		}
	})
	return left
}

// confirm deletes what is held of a kind, and returns how much that was. What was written again since it was held stays.
// resource.ErrNotFound: nothing is held.
func (a *account) confirm(ctx context.Context, st Store, kind string) (int, error) {
	var held *heldDeletes
	a.with(kind, false, func(l *lane) { held, l.held = l.held, nil })
	if held == nil {
		return 0, fmt.Errorf("held deletes of kind %s: %w", kind, resource.ErrNotFound)
	}
	for range maxTries {
		var ops []resource.Op
		for key, version := range held.keys {
			r, err := st.Get(ctx, key)
			if err != nil && !errors.Is(err, resource.ErrNotFound) {
				a.hold(kind, held)
				return 0, err
			}
			if err == nil && r.Version == version {
				ops = append(ops, resource.Delete(key).If(version))
			}
		}
		_, err := st.Apply(ctx, ops...)
		if err == nil {
			a.ledger.log.Warn("held deletes confirmed", "zone", a.zone, "kind", kind, "deletes", len(ops))
			return len(ops), nil
		}
		if !errors.Is(err, resource.ErrConflict) && !errors.Is(err, resource.ErrNotFound) {
			a.hold(kind, held)
			return 0, err
		}
	}
	a.hold(kind, held)
	return 0, fmt.Errorf("held deletes of kind %s: %d attempts: %w", kind, maxTries, resource.ErrConflict)
}
