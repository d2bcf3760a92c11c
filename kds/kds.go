package kds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // Kuma's zones compress every request
	"google.golang.org/grpc/status"

	"github.com/meridian-mesh/meridian/resource"
)

const (
	pingEvery   = 15 * time.Second // Kuma's, on both ends
	pingTimeout = 15 * time.Second
	minPing     = 5 * time.Second // pings more frequent than this end a connection; well under Kuma's 15 s

	upName   = "ZoneToGlobalSync"
	downName = "GlobalToZoneSync"

	globalIdentifier = "global"

	defaultStall = 30 * time.Second
)

// Keys of the call metadata.
const (
	metaZone     = "client-id"
	metaProtocol = "kds-version"
	metaVersion  = "version"
	metaFeatures = "features"
)

// Store is what a control plane needs of its storage. Promises: package storage.
type Store interface {
	Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error)
	Get(ctx context.Context, key resource.Key) (resource.Resource, error)
	View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error
	Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error)
	Advanced(rev resource.Revision) <-chan struct{}
	Revision() resource.Revision
	Epoch() string
}

// Conditions that end a stream. None of them is ever a NACK.
var (
	errUnneeded = errors.New("nobody has asked for a while") // the end of one stream, not of the connection
	errProtocol = errors.New("peer broke the protocol")
	errStopping = errors.New("control plane is stopping")
	errLinkLost = errors.New("another stream of this zone failed") // a Kuma zone reconnects only if we end them all
	errClosed   = errors.New("stream was closed by the peer")
	errStalled  = errors.New("peer makes no progress")
	errLimit    = errors.New("too much")
	errZoneGone = errors.New("the zone was deleted")
)

// code returns the gRPC code that a stream or call ends with because of err. Never Unimplemented, and OK only for a stream
// that a Meridian zone opened because it was asked to: a Kuma zone would not reconnect.
func code(err error) codes.Code {
	_, isInvalid := errors.AsType[*resource.InvalidError](err)
	switch {
	case errors.Is(err, errUnneeded):
		return codes.OK
	case errors.Is(err, errSecondZone):
		return codes.AlreadyExists
	case errors.Is(err, errLimit):
		return codes.ResourceExhausted
	case errors.Is(err, errReplaced), errors.Is(err, errStopping), errors.Is(err, errLinkLost), errors.Is(err, errStalled), errors.Is(err, errZoneGone), errors.Is(err, resource.ErrClosed):
		return codes.Unavailable
	case errors.Is(err, errUnauthenticated):
		return codes.Unauthenticated
	case errors.Is(err, errWrongZone):
		return codes.PermissionDenied
	case errors.Is(err, errProtocol), isInvalid:
		return codes.InvalidArgument
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, resource.ErrConflict):
		return codes.Aborted
	case errors.Is(err, resource.ErrNotFound):
		return codes.NotFound
	case errors.Is(err, resource.ErrCompacted):
		return codes.OutOfRange
	case errors.Is(err, resource.ErrDamaged):
		return codes.DataLoss
	}
	if c := status.Code(err); c == codes.Canceled || c == codes.Unavailable {
		return c // the transport's own words: the peer went away
	}
	return codes.Internal
}

// streamOf is one end of a sync stream, client or server.
type streamOf[Out, In any] interface {
	Send(*Out) error
	Recv() (*In, error)
}

type (
	sendStream    = streamOf[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]
	receiveStream = streamOf[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]
)

// pull receives from a stream and hands on, until either fails; then it ends the session with the reason. readers
// counts it: on the server Recv returns only after the handler has, so the session cannot wait for it.
func pull[Out, In any](readers *sync.WaitGroup, stream streamOf[Out, In], end context.CancelCauseFunc, handOn func(*In) error) {
	readers.Go(func() {
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				err = errClosed
			}
			if err == nil {
				err = handOn(m)
			}
			if err != nil {
				end(err)
				return
			}
		}
	})
}

// sendError returns why a Send failed. A client's Send says only EOF; the reason comes out of Recv, which fails too and
// ends ctx with it.
func sendError(ctx context.Context, err error) error {
	if errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return fmt.Errorf("send: %w", err)
}
