package bolt

import (
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"
)

// Fate is what becomes of a commit. Tests and simulations decide it; see Options.
type Fate int

const (
	Written   Fate = iota // it is in the file
	DiskFull              // nothing is: the disk takes no more
	KilledMid             // the process is killed: pages are in the file, the record that makes them count is not
	KilledEnd             // the process is killed: everything is in the file, but nobody has heard so
)

// errKilled is what a store says that was to be killed.
var errKilled = errors.New("killed in a commit")

// fated commits tx as fate says. After a kill the store has stopped, and the next one that is opened finds what the process
// left behind.
func (s *Store) fated(tx *bbolt.Tx, fate Fate) error {
	switch fate {
	case DiskFull:
		return errors.Join(syscall.ENOSPC, tx.Rollback())
	case KilledMid, KilledEnd:
		// Before the commit: nobody can have read, and told others, what a process did not live to read.
		killed := s.stop(fmt.Errorf("store %s: %w", s.path, errKilled))
		records := make([]byte, 2*s.db.Info().PageSize) // the old and the new commit record, in turns
		if _, err := s.file.ReadAt(records, 0); err != nil {
			return errors.Join(killed, err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return errors.Join(killed, err)
		}
		if fate == KilledMid {
			if _, err := s.file.WriteAt(records, 0); err != nil {
				return errors.Join(killed, err)
			}
		}
		return killed
	}
	return tx.Commit()
}
