package kds

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/types/known/structpb"

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
	heard      func() // called for every response; may be nil
	stats      *counters
	log        hclog.Logger

	answered map[string]bool // kinds whose first response has been answered
	warned   bool            // of a wrong identifier
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
	for _, d := range r.kinds {
		err := r.stream.Send(&discovery.DeltaDiscoveryRequest{
			Node: &core.Node{Id: r.source.zone, Metadata: r.metadata}, TypeUrl: d.Kind, ResourceNamesSubscribe: []string{"*"},
		})
		if err != nil {
			return sendError(ctx, err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-responses:
			if r.heard != nil {
				r.heard()
			}
			rejected, err := r.take(ctx, m)
			if err != nil {
				return err
			}
			r.answered[m.TypeUrl] = true
			if err := r.stream.Send(r.answer(m, rejected)); err != nil {
				return sendError(ctx, err)
			}
		}
	}
}

// answer is the ACK of a response, or the NACK with what is wrong.
func (r *receiver) answer(m *discovery.DeltaDiscoveryResponse, rejected []error) *discovery.DeltaDiscoveryRequest {
	a := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: r.source.zone}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce}
	if len(rejected) > 0 {
		a.ResourceNamesSubscribe = []string{"*"}
		a.ErrorDetail = &rpc.Status{Message: reasons(rejected)} // Kuma leaves the code 0
	}
	return a
}

// take stores what is valid in one response and returns why the rest is not. The error ends the stream.
func (r *receiver) take(ctx context.Context, m *discovery.DeltaDiscoveryResponse) (rejected []error, err error) {
	if got := m.GetControlPlane().GetIdentifier(); got != r.identifier && !r.warned {
		r.warned = true
		r.log.Warn("peer calls itself by another name, which is ignored", "identifier", got, "want", r.identifier)
	}
	in, rejected, err := r.read(m)
	if err != nil {
		return nil, err
	}
	applied, refused, err := r.write(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", m.TypeUrl, err)
	}
	rejected = append(rejected, refused...)
	r.stats.applied.Add(uint64(applied))
	r.stats.rejected.Add(uint64(len(rejected)))
	for _, err := range rejected {
		r.log.Warn("resource rejected", "kind", m.TypeUrl, "nonce", m.Nonce, "err", err)
	}
	r.log.Debug("response stored", "kind", m.TypeUrl, "nonce", m.Nonce, "first", in.complete, "applied", applied, "rejected", len(rejected))
	return rejected, nil
}

// read decodes and validates a response.
func (r *receiver) read(m *discovery.DeltaDiscoveryResponse) (*intake, []error, error) {
	var d resource.Descriptor
	for _, k := range r.kinds {
		if k.Kind == m.TypeUrl {
			d = k
		}
	}
	if d.Kind == "" {
		return nil, nil, fmt.Errorf("%w: response of kind %q, which nobody asked for", errProtocol, m.TypeUrl)
	}
	in := &intake{kind: d, complete: !r.answered[d.Kind], invalid: map[resource.Key]bool{}}
	var rejected []error
	for _, w := range m.Resources {
		got, err := decode(d, w)
		if errors.Is(err, errProtocol) {
			return nil, nil, err
		}
		if err == nil {
			got, err = r.source.claim(got, d)
		}
		if err == nil && r.validate != nil {
			err = r.validate(got)
		}
		if err != nil {
			in.invalid[got.Key] = true
			rejected = append(rejected, err)
			continue
		}
		in.valid = append(in.valid, got)
	}
	for _, name := range m.RemovedResources {
		in.removed = append(in.removed, removedKey(d.Kind, name))
	}
	return in, rejected, nil
}

// write brings the store to what in says, in one batch, and again if somebody else wrote meanwhile.
func (r *receiver) write(ctx context.Context, in *intake) (applied int, refused []error, err error) {
	for range maxTries {
		stored, err := r.stored(ctx, in)
		if err != nil {
			return 0, nil, err
		}
		ops, refused := r.source.plan(in, stored)
		if len(ops) == 0 {
			return 0, refused, nil
		}
		_, err = r.store.Apply(ctx, ops...)
		if err == nil {
			return len(ops), refused, nil
		}
		if !errors.Is(err, resource.ErrConflict) && !errors.Is(err, resource.ErrNotFound) {
			return 0, nil, err
		}
	}
	return 0, nil, fmt.Errorf("%d attempts: %w", maxTries, resource.ErrConflict)
}

// stored reads what the plan has to compare with.
func (r *receiver) stored(ctx context.Context, in *intake) (map[resource.Key]resource.Resource, error) {
	have := map[resource.Key]resource.Resource{}
	if in.complete {
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
	for _, key := range in.touched() {
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

// kindsFor returns the rows of the table that a side subscribes to.
func kindsFor(onGlobal bool) (kinds []resource.Descriptor) {
	for _, d := range resource.Kinds {
		if onGlobal && d.FromZone() || !onGlobal && d.FromGlobal() {
			kinds = append(kinds, d)
		}
	}
	return kinds
}
