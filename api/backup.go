package api

import (
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// Snapshot is a store at one moment, as a file.
type Snapshot interface {
	io.WriterTo
	Size() int64 // of what WriteTo writes
	Revision() resource.Revision
	Path() string // of the store
	Close()
}

// Headers of a backup: the revision that it holds, and the file of the store that it is of.
const (
	revisionHeader = "Meridian-Revision"
	storeHeader    = "Meridian-Store"
)

// backup answers an administrator with a copy of the store. One that is cut short is shorter than announced.
func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	if err := administrator(r, "back up the store"); err != nil {
		return err
	}
	snapshot, err := s.Backup(r.Context())
	if err != nil {
		return err
	}
	defer snapshot.Close()
	path, err := filepath.Abs(snapshot.Path())
	if err != nil {
		return err
	}
	rev := strconv.FormatUint(uint64(snapshot.Revision()), 10)
	for name, value := range map[string]string{
		"Content-Type": "application/octet-stream", "Content-Length": strconv.FormatInt(snapshot.Size(), 10),
		"Content-Disposition": `attachment; filename="` + filepath.Base(path) + "." + rev + `"`,
		revisionHeader:        rev, storeHeader: path,
	} {
		w.Header().Set(name, value)
	}
	n, err := snapshot.WriteTo(&patient{w, http.NewResponseController(w)})
	if err != nil { // the answer has begun
		s.Log.Warn("backup broke off", "rev", rev, "bytes", n, "err", err)
		panic(http.ErrAbortHandler)
	}
	s.Log.Info("backup sent", "rev", rev, "bytes", n, "to", r.RemoteAddr)
	return nil
}

// patience is how long a reader may take for one piece: a snapshot keeps pages of the store from being used again.
const patience = time.Minute

// patient gives its reader new time for each piece.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (p *patient) Write(piece []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(patience)) // not every ResponseWriter has one
	return p.w.Write(piece)
}
