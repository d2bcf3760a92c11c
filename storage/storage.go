package storage

import (
	"context"
	"io"
	"iter"

	"github.com/meridian-mesh/meridian/resource"
)

// Store is a revisioned log of resources. All methods may be called from any number of goroutines at once.
// Every implementation passes storagetest.Run, which states each promise below as a test.
//
// After Close, methods with an error result return resource.ErrClosed. Any method that reads may return an error that
// wraps resource.ErrDamaged and names what is damaged. Resources share no memory with the store.
type Store interface {
	// Apply runs ops as one batch, in order, and returns the revision that it created: one more than the last.
	// When Apply returns nil the batch is on disk, and when it returns an error nothing of the batch is: a crash in
	// the middle leaves all of it or none. No ops: nothing is written and the current revision is returned.
	// Batches of concurrent callers may share one disk write; each keeps its own revision and its own fate.
	// A batch of checks alone writes nothing either. A later op of a batch sees what the earlier ones did. A put sets Version and Modified, and Created if there was
	// no such resource.
	//
	// Errors: resource.ErrConflict (an op's expectation does not hold), resource.ErrNotFound (a delete of nothing),
	// *resource.InvalidError (a key or label that is not UTF-8 or has a NUL in it, a key without kind or name), each
	// naming the key; resource.ErrClosed; ctx's; or what the disk said, after which the store goes on working. Only
	// if a disk fails so badly that nobody can tell whether the batch is on it does the error say so, and then the
	// store has stopped: every later call fails.
	Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error)

	// Get returns one resource, or resource.ErrNotFound.
	Get(ctx context.Context, key resource.Key) (resource.Resource, error)

	// View calls fn with one consistent snapshot: its revision, and the resources of kind ("": of every kind) in key
	// order. The sequence may be run more than once, and ends with fn. fn must not block, write, or call the store
	// otherwise: it holds a read transaction. An error of the sequence (resource.ErrDamaged) is its last element.
	// View returns the error of fn as it is.
	View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error

	// Since returns, per key of kind ("": of every kind), the latest change after rev in order of revision, deletes
	// included (with their time in Modified, but for those of files from before that was written down), and the revision up to which that is complete. Since(0) of a store that was never compacted is
	// everything that is or was in it.
	//
	// Errors: resource.ErrCompacted: deletes after rev have been forgotten; read a View and go on from its revision.
	Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error)

	// Advanced returns a channel that is closed once there is something after rev, or the store is closed. It carries
	// no data, and spurious wake-ups are allowed.
	Advanced(rev resource.Revision) <-chan struct{}

	// Revision returns the revision of the last commit. What it covers, every later read sees.
	Revision() resource.Revision

	// Epoch returns a random word that was drawn when the store was created. Two stores with the same epoch share
	// their history; revisions of different epochs mean nothing to each other.
	Epoch() string

	// Compact forgets the deletes up to and including rev. Live resources are never forgotten, and the revision of
	// the store stays as it is.
	Compact(ctx context.Context, rev resource.Revision) error

	// Close waits for the transactions that run. It may be called twice.
	io.Closer
}
