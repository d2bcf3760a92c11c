package bolt

import "go.etcd.io/bbolt"

var (
	Seal       = seal
	SealNumber = sealNumber
)

const Format = format

// SetCommit replaces how a transaction of bbolt is committed, to play a disk that fails.
func (s *Store) SetCommit(f func(*bbolt.Tx) error) { s.commit = f }
