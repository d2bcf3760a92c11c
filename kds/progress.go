package kds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	// progressDelay is how long a receiver waits before it writes down progress that came without a change to store.
	progressDelay = time.Second
	// maxRemembered is how many rejections of a kind a receiver remembers.
	maxRemembered = 200
)

func progressKey(kind, peer string) resource.Key {
	return resource.Key{Kind: resource.KindSyncProgress, Name: kind + "." + peer}
}

// inlet is what a receiver knows of one kind.
type inlet struct {
	kind     *resource.Descriptor
	version  resource.Revision // of the record in the store, 0: there is none
	record   *syncv1.Progress  // as it is, or ought to be, in the store; nil: none
	dirty    bool              // the store does not have it yet
	names    *nameSet          // of the snapshot that is arriving; nil: none is
	rejected map[string]*syncv1.Rejection
}

// peerName names the other side in the keys of records.
func (s source) peerName() string {
	if s.onGlobal {
		return s.zone
	}
	return globalIdentifier
}

// loadProgress reads how far each kind has got.
func (r *receiver) loadProgress(ctx context.Context) error {
	r.inlets = map[string]*inlet{}
	if r.source.onGlobal {
		zone, err := r.store.Get(ctx, resource.Key{Kind: "Zone", Name: r.source.zone})
		if err != nil && !errors.Is(err, resource.ErrNotFound) {
			return err
		}
		if err == nil {
			r.zoneCreated = timestamppb.New(zone.Created)
		}
		epoch, err := r.store.Get(ctx, epochKey(r.source.zone))
		if errors.Is(err, resource.ErrNotFound) {
			return errZoneGone
		}
		if err != nil {
			return err
		}
		if !isBroken(FaultNoFence) {
			r.fence = []resource.Op{resource.Check(epoch.Key, epoch.Version)}
		}
	}
	for i, d := range r.kinds {
		in := &inlet{kind: &r.kinds[i]}
		r.inlets[d.Kind] = in
		stored, err := r.store.Get(ctx, progressKey(d.Kind, r.source.peerName()))
		if errors.Is(err, resource.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		in.version = stored.Version
		record := &syncv1.Progress{}
		if err := proto.Unmarshal(stored.Spec, record); err != nil {
			r.log.Warn("record of progress cannot be read, starting anew", "kind", d.Kind, "err", err)
			continue
		}
		if record.Dialect != r.dialect || !proto.Equal(record.ZoneCreated, r.zoneCreated) {
			continue // what is stored is not what that record is about
		}
		in.record = record
		for _, rej := range record.Rejected {
			in.refused(rej)
		}
	}
	return nil
}

// epochKey is where it is written that a zone has joined. The record is written once, with or after the Zone, and goes with
// it; so its version is the number of the epoch, and whoever depends on it cannot write for a zone that is gone.
func epochKey(zone string) resource.Key {
	return resource.Key{Kind: resource.KindSyncEpoch, Name: zone}
}

// fenced returns errZoneGone if a batch failed with err because the zone has been deleted, otherwise err.
func (r *receiver) fenced(ctx context.Context, err error) error {
	if len(r.fence) == 0 || !errors.Is(err, resource.ErrConflict) && !errors.Is(err, resource.ErrNotFound) {
		return err
	}
	_, checkErr := r.store.Apply(ctx, r.fence...)
	if errors.Is(checkErr, resource.ErrConflict) {
		return errZoneGone
	}
	return err
}

// resume is what the subscription of a kind says.
func (in *inlet) resume() *syncv1.Resume {
	if in.record == nil {
		return &syncv1.Resume{}
	}
	return &syncv1.Resume{Epoch: in.record.Epoch, Revision: in.record.Revision, Rejected: in.record.Rejected}
}

// noted brings the rejections up to date with one response.
func (in *inlet) noted(got *intake, rejected []*syncv1.Rejection) (changed bool) {
	if len(in.rejected) == 0 && len(rejected) == 0 {
		return false
	}
	drop := func(key resource.Key) {
		if in.rejected[wireKey(key)] != nil {
			delete(in.rejected, wireKey(key))
			changed = true
		}
	}
	for _, v := range got.valid {
		drop(v.Key)
	}
	for _, key := range got.removed {
		drop(key)
	}
	for _, rej := range rejected {
		if in.rejected[rej.Name] != nil || len(in.rejected) < maxRemembered {
			in.refused(rej)
			changed = true
		}
	}
	return changed
}

func (in *inlet) refused(rej *syncv1.Rejection) {
	if in.rejected == nil {
		in.rejected = map[string]*syncv1.Rejection{}
	}
	in.rejected[rej.Name] = rej
}

// progressed sets what the record is to say.
func (r *receiver) progressed(in *inlet, epoch string, rev uint64) {
	in.record = &syncv1.Progress{Epoch: epoch, Revision: rev, Dialect: r.dialect, ZoneCreated: r.zoneCreated}
	for _, name := range slices.Sorted(maps.Keys(in.rejected)) {
		in.record.Rejected = append(in.record.Rejected, in.rejected[name])
	}
	in.dirty = true
}

// unprogressed says that nothing can be vouched for.
func (in *inlet) unprogressed() {
	in.record = nil
	in.dirty = in.version != 0
}

// save returns the op that writes the record down, if it has to be written.
func (in *inlet) save(peer string) ([]resource.Op, error) {
	key := progressKey(in.kind.Kind, peer)
	switch {
	case !in.dirty:
		return nil, nil
	case in.record == nil:
		return []resource.Op{resource.Delete(key)}, nil
	}
	spec, err := deterministic.Marshal(in.record)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return []resource.Op{resource.Put(resource.Resource{Key: key, Spec: spec})}, nil
}

// saved notes that the batch with the op of save is in the store as rev.
func (in *inlet) saved(rev resource.Revision) {
	if in.dirty {
		in.dirty, in.version = false, rev
		if in.record == nil {
			in.version = 0
		}
	}
}

// saveAll writes down all progress that came without something to store.
func (r *receiver) saveAll(ctx context.Context) error {
	var ops []resource.Op
	for _, d := range r.kinds {
		op, err := r.inlets[d.Kind].save(r.source.peerName())
		if err != nil {
			return err
		}
		ops = append(ops, op...)
	}
	if len(ops) == 0 {
		return nil
	}
	rev, err := r.store.Apply(ctx, append(ops, r.fence...)...)
	if err != nil {
		return fmt.Errorf("store progress: %w", r.fenced(ctx, err))
	}
	for _, in := range r.inlets {
		in.saved(rev)
	}
	return nil
}
