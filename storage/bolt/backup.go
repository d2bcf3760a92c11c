package bolt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"go.etcd.io/bbolt"

	"github.com/meridian-mesh/meridian/resource"
)

// ErrExists says that there is a file where a new one was to be made.
var ErrExists = errors.New("there is a file already")

// Snapshot is a store as it was at one moment, for as long as it is open. What is written meanwhile goes on beside it, in
// pages of their own: the file of the store grows by them.
type Snapshot struct {
	store    *Store
	tx       *bbolt.Tx
	revision resource.Revision
}

// Snapshot returns the store as it is now. The caller closes it.
func (s *Store) Snapshot(ctx context.Context) (*Snapshot, error) {
	tx, err := s.begin(ctx, false)
	if err != nil {
		return nil, err
	}
	rev, err := s.metaNumber(tx, metaRevision)
	if err != nil {
		s.end(tx)
		return nil, err
	}
	return &Snapshot{s, tx, resource.Revision(rev)}, nil
}

// Revision returns the revision of the snapshot.
func (p *Snapshot) Revision() resource.Revision { return p.revision }

// Path returns the file of the store.
func (p *Snapshot) Path() string { return p.store.path }

// Size returns how many bytes WriteTo writes.
func (p *Snapshot) Size() int64 { return p.tx.Size() }

// WriteTo writes a file that Open, Verify and Restore take. It reads the disk at the pace of w.
func (p *Snapshot) WriteTo(w io.Writer) (n int64, err error) {
	defer p.store.trap(&err, debug.SetPanicOnFault(true))
	if n, err = p.tx.WriteTo(w); err != nil {
		return n, fmt.Errorf("store %s: copy: %w", p.store.path, err)
	}
	return n, nil
}

// Close gives the pages back. It is called once.
func (p *Snapshot) Close() { p.store.end(p.tx) }

// Report is what is in the file of a store, or in a backup.
type Report struct {
	File      string            `json:"file"`
	Owner     string            `json:"owner"` // global, or zone NAME
	Epoch     string            `json:"epoch"`
	Revision  resource.Revision `json:"revision"`
	Forgotten resource.Revision `json:"forgotten"` // deletes up to this revision are
	Resources map[string]int    `json:"resources"` // by kind
	Deletes   int               `json:"deletes"`   // that are remembered
	Bytes     int64             `json:"bytes"`     // of the file
}

// Verify reads a whole file, which nobody may have open as a store: every page, every checksum, and every record as far
// as it can be decoded. Errors, all naming the file: ErrInUse, ErrNewerFormat, resource.ErrDamaged, also for a file that is
// no store at all.
func Verify(path string) (Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return Report{}, err
	}
	defer release(f)
	if err := lock(f, syscall.LOCK_SH); err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", path, err)
	}
	return verify(f, path)
}

func verify(f *os.File, path string) (Report, error) {
	r := Report{File: path, Resources: map[string]int{}}
	found, err := check(f, func(k []byte, e entry) error {
		key, ok := decodeKey(k)
		if !ok {
			return damaged("a record under the key %q", k)
		}
		if !e.live {
			r.Deletes++
			return nil
		}
		if _, err := e.resource(key); err != nil {
			return damaged("%s: %v", key, err)
		}
		r.Resources[key.Kind]++
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return Report{}, err
	}
	r.Owner, r.Epoch, r.Revision, r.Forgotten, r.Bytes = found.owner, found.epoch, found.revision, found.compacted, info.Size()
	return r, nil
}

// Copy makes a backup of the store in the file from, which no process may have open; Snapshot is for one that does.
// Errors: ErrExists, and those of Verify.
func Copy(from, to string) (Report, error) {
	f, err := os.Open(from)
	if err != nil {
		return Report{}, err
	}
	defer release(f)
	if err := lock(f, syscall.LOCK_SH); err != nil {
		return Report{}, fmt.Errorf("copy %s: %w", from, err)
	}
	if _, err := verify(f, from); err != nil {
		return Report{}, err
	}
	return Receive(f, to)
}

// Receive makes a backup of what a Snapshot wrote. There is a file to only when all of it has come, was verified and is on
// disk; what an interrupted Receive leaves is called to+".part", and the next one takes that over. Errors: ErrExists, and
// those of Verify.
func Receive(from io.Reader, to string) (Report, error) {
	return install(from, to, false, "", nil)
}

// Restore makes the store in the file path out of a backup. It draws a new epoch: whoever remembers revisions that the lost
// store gave out after the backup must not take them for those that this one will give out. force has it replace a store
// that is there already, which no process may have open. Killed at any moment, it leaves what was there or what was to come.
// kind is what the backup must be of, global or zone; "": anything. Errors: ErrExists; ErrOwner for a backup of another kind,
// or of another control plane than the store that is there, as far as that can be read; those of Verify about the backup.
func Restore(backup, path, kind string, force bool) (Report, error) {
	f, err := os.Open(backup)
	if err != nil {
		return Report{}, err
	}
	defer release(f)
	if err := lock(f, syscall.LOCK_SH); err != nil {
		return Report{}, fmt.Errorf("restore %s: %w", backup, err)
	}
	report, err := verify(f, backup)
	if err != nil {
		return Report{}, err
	}
	if found, _, _ := strings.Cut(report.Owner, " "); kind != "" && report.Owner != "" && found != kind {
		return Report{}, fmt.Errorf("restore %s: %w: it is a backup of %s, and this makes the store of a %s control plane", backup, ErrOwner, report.Owner, kind)
	}
	return install(f, path, force, report.Owner, renew)
}

// renew draws a new epoch for the store in f. bbolt takes the lock of f, and gives it back.
func renew(f *os.File) error {
	same, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), 0, &bbolt.Options{
		NoStatistics: true, FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, _ int, _ os.FileMode) (*os.File, error) { return os.NewFile(uintptr(same), name), nil },
	})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(metaEpoch, seal(metaEpoch, []byte(rand.Text())))
	})
	return errors.Join(err, db.Close())
}

// install makes the file to out of what comes, once all is there, changed by change, and verified. What comes is owner's.
func install(from io.Reader, to string, force bool, owner string, change func(*os.File) error) (Report, error) {
	fail := func(err error) (Report, error) { return Report{}, fmt.Errorf("write %s: %w", to, err) }
	// Nobody may have the store open that is replaced, nor open it before it is.
	switch old, err := os.OpenFile(to, os.O_RDWR, 0); {
	case err == nil && !force:
		old.Close()
		return fail(ErrExists)
	case err == nil:
		defer release(old)
		if err := lock(old, syscall.LOCK_EX); err != nil {
			return fail(err)
		}
		// A damaged store is one more reason to restore.
		if there, err := check(old, nil); err == nil && there.owner != "" && owner != "" && there.owner != owner {
			return fail(fmt.Errorf("%w: the store there is that of %s, the backup of %s", ErrOwner, there.owner, owner))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fail(err)
	}
	part := to + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	defer release(f)
	if err := lock(f, syscall.LOCK_EX); err != nil {
		return fail(fmt.Errorf("%s: %w", part, err))
	}
	done := false
	defer func() {
		if !done {
			os.Remove(part)
		}
	}()
	if err := f.Truncate(0); err != nil {
		return fail(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		return fail(err)
	}
	if change != nil {
		if _, err := check(f, nil); err != nil { // before bbolt touches it
			return fail(err)
		}
		if err := errors.Join(change(f), lock(f, syscall.LOCK_EX)); err != nil {
			return fail(err)
		}
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	report, err := verify(f, to)
	if err != nil {
		return fail(err)
	}
	if force {
		err = os.Rename(part, to)
	} else if err = os.Link(part, to); errors.Is(err, fs.ErrExist) {
		err = ErrExists
	}
	if err != nil {
		return fail(err)
	}
	done = true
	if !force {
		if err := os.Remove(part); err != nil {
			return fail(err)
		}
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fail(err)
	}
	return report, nil
}

// Files are the backups of the stores in data directories.
type Files struct {
	Name string // of the store's file there
	Kind string // of control plane: global or zone
}

// Path returns the file of the store in a data directory.
func (f Files) Path(dataDir string) string { return filepath.Join(dataDir, f.Name) }

// Backup is Copy of the store in a data directory.
func (f Files) Backup(dataDir, to string) (Report, error) { return Copy(f.Path(dataDir), to) }

// Receive is Receive.
func (f Files) Receive(from io.Reader, to string) (Report, error) { return Receive(from, to) }

// Verify is Verify.
func (f Files) Verify(file string) (Report, error) { return Verify(file) }

// Restore is Restore to a data directory, which is made with mode 0700 if it is missing.
func (f Files) Restore(backup, dataDir string, force bool) (Report, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return Report{}, err
	}
	return Restore(backup, f.Path(dataDir), f.Kind, force)
}
