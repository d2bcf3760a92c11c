// Package bolt is the embedded store: a revisioned log of resources in one bbolt file. It keeps the contract of
// storage.Store, which says what the methods promise; this page says how, and what is only true here.
//
//	st, err := bolt.Open("/var/lib/meridian/store.db", bolt.Options{})
//	if err != nil {
//		return err // names the file, and what to do about it
//	}
//	defer st.Close()
//	rev, err := st.Apply(ctx, resource.Put(timeout), resource.Delete(old).If(7))
//
// The file has three buckets. Values of the first two start with a crc32c of their key and content; a log entry is right
// if its record has its position.
//
//	meta  format, owner, epoch, revision of the last commit, revision of the newest forgotten delete
//	res   kind, mesh and name, NUL between them -> log position, live or deleted, storev1.Record
//	log   revision and place in the batch (the log position) -> the key in res
//
// A log position belongs to exactly one record and a record to exactly one position: writing a key removes the entry
// that it had. So the log never outgrows the resources and tombstones that there are, Since reads just the changes it
// returns, and Compact has only tombstones to forget.
//
// Writers share commits without a goroutine of the store: they queue, and whoever gets the turn writes what is queued
// then, all batches in one bbolt transaction with its two fsyncs. Each batch is first decided against the transaction,
// without writing, so that one that fails leaves nothing behind for its neighbours.
//
// Invariants:
//   - A file at the path is complete from the first moment: it is made under another name and then linked.
//   - Open reads the whole file before bbolt maps it (check.go) and refuses one with anything wrong in it. bbolt itself
//     trusts its pages: it would crash on some damage, and answer wrongly on other.
//   - An unreadable commit record (a bbolt meta page) is damage. bbolt would go back to the commit before without a
//     word, and then give out the same revision twice.
//   - When it cannot be known whether a commit is on disk, or when bbolt fails where it never should, the store stops:
//     every later call says why. What is on disk is then found out by opening it again.
//
// A backup is such a file too: Snapshot and Copy make one, Restore makes a store of it under a new epoch, and Verify reads
// either from end to end.
//
// One process at a time has the file (flock), so this package needs a Unix. The file is mapped into memory up to 1 GiB;
// beyond that a long View delays a commit that makes the file grow.
package bolt
