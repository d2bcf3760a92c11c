package kds

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// receiver subscribes to kinds on one stream and writes what comes into a store.
type receiver struct {
	stream     receiveStream
	store      Store
	source     source
	kinds      []resource.Descriptor
	metadata   *structpb.Struct // about this side
	identifier string           // what the other side should call itself
	validate   func(resource.Resource) error
	heard      func()          // called for every response; may be nil
	summoned   func(EnvoyView) // opens a stream; may be nil
	stats      *counters
	account    *account
	catalog    *catalog // of what comes from zones, on global; nil on a zone
	guard      Guard
	most       int    // resources that may come from the zone, on global; 0: any number
	extended   bool   // from a Meridian peer
	version    string // of this program
	log        hclog.Logger

	dialect     string                 // see syncv1.Progress
	zoneCreated *timestamppb.Timestamp // likewise
	fence       []resource.Op          // part of every batch, on global: the zone is the one that has joined
	inlets      map[string]*inlet
	answered    map[string]bool // kinds whose first response has been answered
	warned      bool            // of a wrong identifier
}

// run receives until the stream or ctx ends, and returns why.
func (r *receiver) run(ctx context.Context, readers *sync.WaitGroup) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.answered = map[string]bool{}
	// Not buffered: as long as a response is not stored, the transport holds back the next.
	responses := make(chan *discovery.DeltaDiscoveryResponse)
	pull(readers, r.stream, end, func(m *discovery.DeltaDiscoveryResponse) error {
		select {
		case responses <- m:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err := r.subscribe(ctx); err != nil {
		return err
	}
	defer r.lastSave(ctx)
	save, impatient := newTimer(), newTimer()
	defer save.Stop()
	defer impatient.Stop()
	for {
		r.expect(impatient)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-impatient.C:
			return fmt.Errorf("%w: subscriptions have no answer", errStalled)
		case <-save.C:
			if err := r.saveAll(ctx); err != nil {
				return err
			}
		case m := <-responses:
			if err := r.response(ctx, m); err != nil {
				return err
			}
			if in := r.inlets[m.TypeUrl]; in != nil && in.dirty {
				save.Reset(progressDelay)
			}
		}
	}
}

// response takes one response and answers it.
func (r *receiver) response(ctx context.Context, m *discovery.DeltaDiscoveryResponse) error {
	if r.heard != nil {
		r.heard()
	}
	if view, is := summoned(m); is && r.summoned != nil {
		r.summoned(view)
		return nil
	}
	answer, err := r.take(ctx, m)
	if err != nil {
		return err
	}
	r.answered[m.TypeUrl] = true
	if err := r.stream.Send(answer); err != nil {
		return sendError(ctx, err)
	}
	return nil
}

// subscribe asks for all kinds.
func (r *receiver) subscribe(ctx context.Context) error {
	r.dialect = r.source.zone
	if err := r.loadProgress(ctx); err != nil {
		return fmt.Errorf("read progress: %w", err)
	}
	for i, d := range r.kinds {
		metadata := r.metadata
		switch {
		case !r.extended: // Kuma's say it each time
		case i == 0:
			metadata = withLevels(metadata)
		default: // a Meridian sender reads that of the first request
			metadata = nil
		}
		request := &discovery.DeltaDiscoveryRequest{
			Node: &core.Node{Id: r.source.zone, Metadata: metadata}, TypeUrl: d.Kind, ResourceNamesSubscribe: []string{"*"},
		}
		if r.extended {
			var err error
			if request.ErrorDetail, err = detail(r.inlets[d.Kind].resume()); err != nil {
				return err
			}
		}
		if err := r.stream.Send(request); err != nil {
			return sendError(ctx, err)
		}
	}
	return nil
}

// newTimer returns a timer that is not running.
func newTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// expect sets the timer to when the patience with a Meridian sender ends: it answers every subscription, and finishes
// what it has begun. A Kuma sender may have nothing to say.
func (r *receiver) expect(impatient *time.Timer) {
	waiting := len(r.answered) < len(r.kinds)
	for _, in := range r.inlets {
		waiting = waiting || in.names != nil
	}
	if waiting && r.extended && r.account.ledger.stall > 0 {
		impatient.Reset(2 * r.account.ledger.stall)
	} else {
		impatient.Stop()
	}
}

// lastSave writes down what the timer has not, when the stream ends. If that fails, a little is sent twice.
func (r *receiver) lastSave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := r.saveAll(ctx); err != nil {
		r.log.Debug("progress not written", "err", err)
	}
}

// answer is the ACK of a response, or the NACK with what is wrong.
func (r *receiver) answer(m *discovery.DeltaDiscoveryResponse, rejected []error, verdicts *syncv1.Answer) (*discovery.DeltaDiscoveryRequest, error) {
	a := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: r.source.zone}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce}
	if r.extended {
		var err error
		if a.ErrorDetail, err = detail(verdicts); err != nil {
			return nil, err
		}
	}
	if len(rejected) > 0 {
		a.ResourceNamesSubscribe = []string{"*"}
		if a.ErrorDetail == nil {
			a.ErrorDetail = &rpc.Status{}
		}
		a.ErrorDetail.Message = reasons(rejected) // Kuma leaves the code 0
	}
	return a, nil
}

// maxListed is how many rejections an answer lists.
const maxListed = 1000

// take stores what is valid in one response and returns the answer. The error ends the stream.
func (r *receiver) take(ctx context.Context, m *discovery.DeltaDiscoveryResponse) (*discovery.DeltaDiscoveryRequest, error) {
	if got := m.GetControlPlane().GetIdentifier(); got != r.identifier && !r.warned {
		r.warned = true
		r.log.Warn("peer calls itself by another name, which is ignored", "identifier", got, "want", r.identifier)
	}
	inlet, size := r.inlets[m.TypeUrl], proto.Size(m)
	if inlet == nil {
		return nil, fmt.Errorf("%w: response of kind %q, which nobody asked for", errProtocol, m.TypeUrl)
	}
	var frame *syncv1.Frame
	if r.extended {
		var err error
		if frame, err = takeFrame(m); err != nil {
			return nil, err
		}
	}
	in, rejected, err := r.read(m, *inlet.kind)
	if err != nil {
		return nil, err
	}
	in.complete = frame == nil && !r.answered[m.TypeUrl]
	if frame != nil {
		if err := inlet.part(in, frame); err != nil {
			return nil, err
		}
	}
	applied, refused, err := r.write(ctx, inlet, in, frame, rejected)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", m.TypeUrl, err)
	}
	rejected = append(rejected, refused...)
	r.stats.applied.Add(uint64(applied))
	r.stats.rejected.Add(uint64(len(rejected)))
	for _, err := range rejected {
		r.log.Warn("resource rejected", "kind", m.TypeUrl, "nonce", m.Nonce, "code", rejectionCode(err), "err", err)
	}
	held := 0
	r.account.with(m.TypeUrl, false, func(l *lane) {
		l.messages++
		l.bytes += uint64(size)
		l.moved = l.moved || len(m.Resources)+len(m.RemovedResources) > 0
		for _, err := range rejected {
			r.account.refused(rejectionCode(err), false, 1)
		}
		l.more = int32(len(inlet.rejected))
		if l.held != nil {
			held = len(l.held.keys)
		}
		if frame.GetRevision() > 0 {
			rev := resource.Revision(frame.Revision)
			l.offered, l.acked = rev, rev
			if held == 0 {
				l.applied = rev
			}
		}
	})
	r.log.Debug("response stored", "kind", m.TypeUrl, "nonce", m.Nonce, "complete", in.complete, "applied", applied, "rejected", len(rejected), "held", held)
	verdicts := &syncv1.Answer{Held: uint32(held)}
	for _, rej := range r.rejections(in, rejected) {
		if len(verdicts.Rejected) < maxListed {
			verdicts.Rejected = append(verdicts.Rejected, rej)
		} else {
			verdicts.More++
		}
	}
	return r.answer(m, rejected, verdicts)
}

// part notes what a response of a Meridian peer is part of.
func (i *inlet) part(in *intake, frame *syncv1.Frame) error {
	first := frame.Snapshot == syncv1.Snapshot_SNAPSHOT_FIRST || frame.Snapshot == syncv1.Snapshot_SNAPSHOT_WHOLE
	in.complete = frame.Snapshot == syncv1.Snapshot_SNAPSHOT_LAST || frame.Snapshot == syncv1.Snapshot_SNAPSHOT_WHOLE
	switch {
	case first:
		i.names = &nameSet{keys: map[resource.Key]bool{}, kept: map[nameHash]bool{}}
		if i.record != nil && !frame.Continues {
			i.unprogressed() // with the first part of another history the copy is neither the old nor the new
		}
	case frame.Snapshot == syncv1.Snapshot_SNAPSHOT_NONE:
		i.names = nil // the sender has begun something else
		return nil
	case i.names == nil:
		return fmt.Errorf("%w: kind %s: a part of a snapshot without its beginning", errProtocol, in.kind.Kind)
	}
	for _, v := range in.valid {
		i.names.keys[v.Key] = true
	}
	for key := range in.invalid {
		i.names.keys[key] = true
	}
	for kept := range slices.Chunk(frame.Kept, nameHashBytes) {
		i.names.kept[nameHash(kept)] = true
	}
	in.named = i.names
	return nil
}

// rejections are the reasons as they travel and are remembered.
func (r *receiver) rejections(in *intake, errs []error) []*syncv1.Rejection {
	list := make([]*syncv1.Rejection, 0, len(errs))
	for _, err := range errs {
		bad, ok := errors.AsType[*resource.InvalidError](err)
		if !ok {
			continue
		}
		d := in.digests[bad.Key]
		list = append(list, &syncv1.Rejection{
			Name: wireKey(bad.Key), Code: rejectionCode(err), Reason: oneLine(err), Digest: d[:], Version: r.version,
		})
	}
	return list
}

// read decodes and validates a response.
func (r *receiver) read(m *discovery.DeltaDiscoveryResponse, d resource.Descriptor) (*intake, []error, error) {
	in := &intake{kind: d, invalid: map[resource.Key]bool{}, digests: map[resource.Key]digest{}}
	var rejected []error
	for _, w := range m.Resources {
		got, err := decode(d, w)
		if errors.Is(err, errProtocol) {
			return nil, nil, err
		}
		code := codeMalformed
		if err == nil {
			code = codeForbidden
			var forged []string
			if got, forged, err = r.source.correct(got, d); len(forged) > 0 {
				r.stats.forged.Add(1)
				r.log.Warn("resource claims what its sender cannot decide; corrected", "kind", d.Kind, "key", got.Key.String(), "fields", forged)
			}
		}
		if err == nil && r.validate != nil {
			code = codeInvalid
			err = r.validate(r.source.judged(got))
		}
		if err != nil {
			if _, ok := errors.AsType[*resource.InvalidError](err); !ok {
				err = invalid(got.Key, "", "%v", err)
			}
			in.invalid[got.Key] = true
			sum := sha256.Sum256(w.GetResource().GetValue())
			in.digests[got.Key] = digest(sum[:len(digest{})])
			rejected = append(rejected, &rejectedError{code, err})
			continue
		}
		in.valid = append(in.valid, got)
	}
	for _, name := range m.RemovedResources {
		in.removed = append(in.removed, removedKey(d.Kind, name))
	}
	return in, rejected, nil
}

// write brings the store to what in says, in one batch together with the record of it, and again if somebody else wrote
// meanwhile. It returns how many resources it wrote and deleted.
func (r *receiver) write(ctx context.Context, inlet *inlet, in *intake, frame *syncv1.Frame, rejected []error) (applied int, refused []error, err error) {
	for range maxTries {
		stored, err := r.stored(ctx, in)
		if err != nil {
			return 0, nil, err
		}
		ops, deletes, owned, refused := r.source.plan(in, stored)
		ops, refused, err = r.admitted(ctx, ops, refused)
		if err != nil {
			return 0, nil, err
		}
		var held *heldDeletes
		switch {
		case in.complete && r.guard.holds(len(deletes), owned):
			held = &heldDeletes{keys: map[resource.Key]resource.Revision{}, of: owned, since: time.Now()}
			for _, op := range deletes {
				held.keys[op.Resource.Key] = *op.Expect
			}
		default:
			ops = append(ops, deletes...)
		}
		applied = len(ops)
		if inlet.remember(r, in, frame, append(slices.Clone(rejected), refused...), held); len(ops) > 0 {
			record, err := inlet.save(r.source.peerName())
			if err != nil {
				return 0, nil, err
			}
			if isBroken(FaultAckUnstored) {
				ops = nil
			}
			rev, err := r.store.Apply(ctx, slices.Concat(ops, record, r.fence)...)
			if err = r.fenced(ctx, err); errors.Is(err, resource.ErrConflict) || errors.Is(err, resource.ErrNotFound) {
				continue
			}
			if err != nil {
				inlet.dirty = false // it speaks of what is not stored: the end of the stream must not save it
				return 0, nil, err
			}
			inlet.saved(rev)
		}
		for _, key := range r.source.notOwned(in, stored) {
			r.stats.forged.Add(1)
			r.log.Warn("peer wants a resource removed that is not its own; ignored", "kind", key.Kind, "key", key.String(), "owner", ownerOf(stored[key]))
		}
		if in.complete {
			inlet.names = nil
			r.account.hold(in.kind.Kind, held)
			if held != nil {
				r.log.Error("a complete list would delete too much; confirm it, or repair the sender", "kind", in.kind.Kind,
					"deletes", len(held.keys), "of", owned)
			}
		}
		return applied, refused, nil
	}
	inlet.dirty = false
	return 0, nil, fmt.Errorf("%d attempts: %w", maxTries, resource.ErrConflict)
}

// admitted returns ops without the resources that the zone may not have besides what it has, and refused with those.
func (r *receiver) admitted(ctx context.Context, ops []resource.Op, refused []error) ([]resource.Op, []error, error) {
	if r.most <= 0 || r.catalog == nil || len(ops) == 0 {
		return ops, refused, nil
	}
	if _, err := r.catalog.view(ctx); err != nil {
		return nil, nil, err
	}
	has := r.catalog.count(r.source.zone)
	kept := ops[:0]
	for _, op := range ops {
		if *op.Expect == 0 {
			if has++; has > r.most {
				refused = append(refused, &rejectedError{codeTooMany, invalid(op.Resource.Key, "",
					"is one too many: zone %q has %d resources here, all that it may have", r.source.zone, r.most)})
				continue
			}
		}
		kept = append(kept, op)
	}
	return kept, refused, nil
}

// remember sets what the record is to say once in is stored.
func (i *inlet) remember(r *receiver, in *intake, frame *syncv1.Frame, rejected []error, held *heldDeletes) {
	changed := i.noted(in, r.rejections(in, rejected))
	left := 0
	if held != nil {
		left = len(held.keys)
	} else if !in.complete {
		left = r.account.release(in.kind.Kind, in.touched())
	}
	switch {
	case frame == nil || left > 0: // the copy is not what the sender thinks it is
		if i.record != nil || i.version != 0 {
			i.unprogressed()
		}
	case frame.Revision > 0:
		if i.record == nil || i.record.Revision != frame.Revision || i.record.Epoch != frame.Epoch || changed {
			r.progressed(i, frame.Epoch, frame.Revision)
		}
	case changed && i.record != nil:
		r.progressed(i, i.record.Epoch, i.record.Revision)
	}
}

// stored reads what the plan has to compare with.
func (r *receiver) stored(ctx context.Context, in *intake) (map[resource.Key]resource.Resource, error) {
	have := map[resource.Key]resource.Resource{}
	keys := in.touched()
	switch {
	case in.complete && r.catalog != nil:
		if _, err := r.catalog.view(ctx); err != nil {
			return nil, err
		}
		keys = append(keys, r.catalog.fromZones(in.kind.Kind, map[string]bool{r.source.zone: true})...)
	case in.complete:
		err := r.store.View(ctx, in.kind.Kind, func(_ resource.Revision, list iter.Seq2[resource.Resource, error]) error {
			for got, err := range list {
				if err != nil {
					return err
				}
				have[got.Key] = got
			}
			return nil
		})
		return have, err
	}
	for _, key := range keys {
		got, err := r.store.Get(ctx, key)
		if errors.Is(err, resource.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		have[key] = got
	}
	return have, nil
}

// kindsFor returns the rows of the table that a side subscribes to. It is shared and not modified.
func kindsFor(onGlobal bool) []resource.Descriptor {
	if onGlobal {
		return fromZones
	}
	return fromGlobal
}

var (
	fromZones  = kindsWith(resource.Descriptor.FromZone)
	fromGlobal = kindsWith(resource.Descriptor.FromGlobal)
)

func kindsWith(flow func(resource.Descriptor) bool) (kinds []resource.Descriptor) {
	for _, d := range resource.Kinds {
		if flow(d) {
			kinds = append(kinds, d)
		}
	}
	return kinds
}
