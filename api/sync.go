package api

import (
	"context"
	"net/http"

	"github.com/meridian-mesh/meridian/resource"
)

// Sync is what the API asks of the sync with other control planes. Its answers are any values that are JSON.
type Sync struct {
	Status func(ctx context.Context) (any, error)                      // how it is with each peer
	Of     func(ctx context.Context, r resource.Resource) (any, error) // what has become of a resource at each peer
	// Confirm carries out the deletes of a kind that came from a peer and are held back, and says how many that were. On
	// a zone the peer is global and zone is "". resource.ErrNotFound: nothing is held.
	Confirm func(ctx context.Context, zone, kind string) (int, error)
	// Retry offers a peer again what it has rejected. resource.ErrNotFound: it has not.
	Retry func(zone string, id resource.Identity) error
}

// syncStatus answers with how the sync with each peer is.
func (s *server) syncStatus(w http.ResponseWriter, r *http.Request) error {
	peers, err := s.Sync.Status(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"peers": peers})
}

// syncOf answers with what has become of one resource at each peer.
func (s *server) syncOf(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	res, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	peers, err := s.Sync.Of(r.Context(), res)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"kri": res.Identity().String(), "peers": peers})
}

// syncConfirm carries out deletes that are held back: ?kind= and, on global, ?zone=.
func (s *server) syncConfirm(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if _, known := resource.LookupKind(q.Get("kind")); !known {
		return badParameter("Invalid parameter", "kind", "want a kind, such as MeshTimeout")
	}
	deleted, err := s.Sync.Confirm(r.Context(), q.Get("zone"), q.Get("kind"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]int{"deleted": deleted})
}

// syncRetry offers a peer again what it has rejected: ?kri= and, on global, ?zone=.
func (s *server) syncRetry(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	id, _, err := resource.ParseKRI(q.Get("kri"))
	if err != nil {
		return badParameter("Invalid parameter", "kri", err.Error())
	}
	if err := s.Sync.Retry(q.Get("zone"), id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct{}{})
}
