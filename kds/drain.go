package kds

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// Drain says how far the other zones have let go of what a zone wrote.
type Drain struct {
	Zone      string         `json:"zone"`
	State     ZoneState      `json:"state"`
	Connected bool           `json:"connected"` // its control plane
	Withdrawn map[string]int `json:"withdrawn"` // resources of it that other zones are not to have any more, by kind; none while it is enabled
	Waiting   []DrainWait    `json:"waiting"`   // zones that may still have some
	Safe      bool           `json:"safe"`      // to delete it: drained, and not connected
}

// ZoneState is what a zone takes part in.
type ZoneState string

const (
	ZoneEnabled  ZoneState = "enabled"
	ZoneDisabled ZoneState = "disabled" // nothing of it is for other zones
	ZoneDraining ZoneState = "draining" // disabled, and other zones may still have something of it
	ZoneDrained  ZoneState = "drained"  // and none has
)

// DrainWait is a zone that has not said yet that it has let go.
type DrainWait struct {
	Zone  string    `json:"zone"`
	State State     `json:"state"`
	Since time.Time `json:"since"` // State
	Kinds []string  `json:"kinds"` // that are open
}

// Drain returns how far the draining of a zone is. It costs as much as there are zones. resource.ErrNotFound: there is no
// such Zone.
func (s *Server) Drain(ctx context.Context, zone string) (Drain, error) {
	d := Drain{Zone: zone, State: ZoneEnabled, Withdrawn: map[string]int{}, Waiting: []DrainWait{}}
	made, err := s.cfg.Store.Get(ctx, resource.Key{Kind: "Zone", Name: zone})
	if err != nil {
		return d, err
	}
	own := s.ledger.account(zone).status(true)
	d.Connected = own.State == Online || own.State == Stalled
	if enabled, err := resource.ZoneEnabled(made); enabled || err != nil {
		return d, err
	}
	if _, err := s.catalog.view(ctx); err != nil {
		return d, err
	}
	for _, k := range crossing {
		if n := len(s.catalog.fromZones(k.Kind, map[string]bool{zone: true})); n > 0 {
			d.Withdrawn[k.Kind] = n
		}
	}
	others, _, _, err := s.zones.current(ctx)
	if err != nil {
		return d, err
	}
	for _, other := range slices.Sorted(maps.Keys(others)) {
		if other == zone {
			continue
		}
		wait, err := s.holdsFrom(ctx, other, made.Version)
		if err != nil {
			return d, err
		}
		if wait != nil {
			d.Waiting = append(d.Waiting, *wait)
		}
	}
	switch draining := made.Labels[resource.LabelZoneState] == resource.ZoneDraining; {
	case draining && len(d.Waiting) > 0:
		d.State = ZoneDraining
	case draining:
		d.State = ZoneDrained
	default:
		d.State = ZoneDisabled
	}
	d.Safe = len(d.Waiting) == 0 && !d.Connected
	return d, nil
}

var crossing = kindsWith(func(d resource.Descriptor) bool { return d.Flow.Has(resource.AcrossZones) })

// holdsFrom returns of which kinds zone has not been told yet all that happened up to rev, nil if it has been told all of
// them or was never here.
func (s *Server) holdsFrom(ctx context.Context, zone string, rev resource.Revision) (*DrainWait, error) {
	_, err := s.cfg.Store.Get(ctx, epochKey(zone))
	if errors.Is(err, resource.ErrNotFound) { // created beforehand
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	status := s.ledger.account(zone).status(false)
	told := map[string]bool{}
	for _, k := range status.Kinds {
		told[k.Kind] = k.Sent && k.Applied >= rev || told[k.Kind]
	}
	wait := &DrainWait{Zone: zone, State: status.State, Since: status.Since}
	for _, k := range crossing {
		if !told[k.Kind] {
			wait.Kinds = append(wait.Kinds, k.Kind)
		}
	}
	if len(wait.Kinds) == 0 {
		return nil, nil
	}
	return wait, nil
}
