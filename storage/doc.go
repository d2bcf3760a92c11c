// Package storage says what a control plane needs of the place where it keeps its resources: a revisioned log with
// compare-and-set. Store is that contract; storage/bolt keeps it in one file, and storage/storagetest proves it of any
// implementation.
//
// Every batch of writes gets the next revision, a number that counts the commits. A reader that remembers the revision
// it has seen can always ask what has changed since, and can wait until something has; it gets each key once, as it is
// now, so a slow reader never has a backlog and there is no buffer to overflow. Deletes stay in the log as tombstones
// until Compact forgets them; a reader who was away for longer is told (resource.ErrCompacted) and starts over from a
// View. A loop that follows a store is
//
//	for {
//		more := st.Advanced(rev)
//		changes, upTo, err := st.Since(ctx, "", rev)
//		if err != nil {
//			return err
//		}
//		apply(changes)
//		rev = upTo
//		select {
//		case <-more:
//		case <-ctx.Done():
//			return nil
//		}
//	}
//
// An epoch goes with the revisions: a random word, drawn when a store is created. A peer that remembers epoch and
// revision notices when it meets a different store at the old address.
//
// Invariants:
//   - Revisions are dense, grow by one with every commit, and are never reused within an epoch.
//   - A reader sees whole batches only, and all batches up to some revision.
//   - A write that was acknowledged survives the death of the process and of the machine.
//
// The store does not know what it keeps: names, labels and specs are validated by its callers. Nothing in the contract
// needs a file: it can be kept by a client of etcd as well.
package storage
