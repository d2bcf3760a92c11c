package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

// Sync is what the API asks of the sync with other control planes. Its answers are any values that are JSON.
type Sync struct {
	Status func(ctx context.Context) (any, error) // how it is with each peer
	States func(ctx context.Context) (any, error) // the same without the types; nil: Status
	// Of returns what has become of each of list at each peer, or at those that are named ("" is global): as soon as all is
	// settled, or else after wait. settled says of which this holds.
	Of    func(ctx context.Context, list []resource.Resource, peers []string, wait time.Duration) (of []any, settled []bool, err error)
	Trace func(ctx context.Context, r resource.Resource) (any, error) // the way of a resource, hop by hop
	// Heard returns when anything came last from a zone over a connection that is open, on global; zero: it is not
	// connected, or that is not known. May be nil.
	Heard func(zone string) time.Time
	// Stalled says whether a zone is connected and makes no progress, on global. May be nil.
	Stalled func(zone string) bool
	// Confirm carries out the deletes of a kind that came from a peer and are held back, and says how many that were. On
	// a zone the peer is global and zone is "". resource.ErrNotFound: nothing is held.
	Confirm func(ctx context.Context, zone, kind string) (int, error)
	// Drain says how far the other zones have let go of what a zone wrote. nil: this is not global. resource.ErrNotFound:
	// there is no such Zone.
	Drain func(ctx context.Context, zone string) (any, error)
	// Retry offers a peer again what it has rejected. resource.ErrNotFound: it has not.
	Retry func(zone string, id resource.Identity) error
}

// syncStatus answers with how the sync with each peer is; ?brief=true: without the types.
func (s *server) syncStatus(w http.ResponseWriter, r *http.Request) error {
	ask := s.Sync.Status
	switch brief := r.URL.Query().Get("brief"); {
	case brief != "" && brief != "true" && brief != "false":
		return badParameter("Invalid parameter", "brief", "want true or false")
	case brief == "true" && s.Sync.States != nil:
		ask = s.Sync.States
	}
	peers, err := ask(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"peers": peers})
}

// fate is what has become of one resource.
type fate struct {
	KRI      string            `json:"kri"`
	Revision resource.Revision `json:"revision"` // of the resource in this store
	Written  time.Time         `json:"written"`  // when that was
	Settled  bool              `json:"settled"`  // nothing of it is pending
	Peers    any               `json:"peers"`
}

// syncOf answers with what has become of one resource at each peer, or at those of ?zones=: as soon as it is settled, or
// when ?wait= is over.
func (s *server) syncOf(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	peers, wait, err := s.syncQuery(r)
	if err != nil {
		return err
	}
	res, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	fates, err := s.fates(r.Context(), []resource.Resource{res}, peers, wait)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, fates[0])
}

// syncOfMany is syncOf of all resources that the body names.
func (s *server) syncOfMany(w http.ResponseWriter, r *http.Request) error {
	peers, wait, err := s.syncQuery(r)
	if err != nil {
		return err
	}
	body, err := readJSON(w, r, s.MaxBody*batchFactor)
	if err != nil {
		return err
	}
	var in struct {
		Resources []string `json:"resources"` // KRIs
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return &failure{title: "Bad Request", detail: err.Error(), err: errBadRequest}
	}
	list := make([]resource.Resource, len(in.Resources))
	for i, kri := range in.Resources {
		id, _, err := resource.ParseKRI(kri)
		if err != nil {
			return badParameter("Invalid body", fmt.Sprintf("resources[%d]", i), err.Error())
		}
		d, _ := resource.LookupKind(id.Kind)
		if err := allowed(d, r); err != nil {
			return err
		}
		if list[i], err = s.identified(r.Context(), d, id); err != nil {
			return err
		}
	}
	fates, err := s.fates(r.Context(), list, peers, wait)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"resources": fates})
}

// identified is find for an identity. What was written here it finds without a scan.
func (s *server) identified(ctx context.Context, d resource.Descriptor, id resource.Identity) (resource.Resource, error) {
	res, err := s.Store.Get(ctx, resource.Key{Kind: d.Kind, Mesh: id.Mesh, Name: resource.StorageName(id.Name, id.Namespace)})
	if err == nil && res.Identity() == id {
		return res, nil
	}
	return s.find(ctx, d, id.Mesh, id.String())
}

func (s *server) fates(ctx context.Context, list []resource.Resource, peers []string, wait time.Duration) ([]fate, error) {
	of, settled, err := s.Sync.Of(ctx, list, peers, wait)
	if isGone(err) { // global knows no such zone
		err = &failure{detail: "Not found: " + err.Error(), err: err}
	}
	if err != nil {
		return nil, err
	}
	fates := make([]fate, len(list))
	for i, res := range list {
		fates[i] = fate{res.Identity().String(), res.Version, res.Modified, settled[i], of[i]}
	}
	return fates, nil
}

// planeGlobal is how ?zones= names the global control plane.
const planeGlobal = "global"

// syncQuery reads ?wait= and ?zones=. A zone knows no other by name; global does, and says which are near.
func (s *server) syncQuery(r *http.Request) (peers []string, wait time.Duration, err error) {
	if wait, err = waitParameter(r); err != nil {
		return nil, 0, err
	}
	d, _ := resource.LookupKind("Zone")
	for name := range strings.SplitSeq(r.URL.Query().Get("zones"), ",") {
		switch {
		case name == "":
			continue
		case s.Plane.Zone == "":
			if _, err := s.Store.Get(r.Context(), resource.Key{Kind: d.Kind, Name: name}); isGone(err) {
				_, err = s.find(r.Context(), d, "", name)
				if f, ok := errors.AsType[*failure](err); ok {
					f.detail = fmt.Sprintf("zone %q: %s", name, f.detail)
				}
				return nil, 0, err
			} else if err != nil {
				return nil, 0, err
			}
		case name == planeGlobal:
			name = ""
		}
		peers = append(peers, name)
	}
	return peers, wait, nil
}

// syncTrace answers with the way of one resource, hop by hop.
func (s *server) syncTrace(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	res, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
	if err != nil {
		return err
	}
	hops, err := s.Sync.Trace(r.Context(), res)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"kri": res.Identity().String(), "hops": hops})
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
