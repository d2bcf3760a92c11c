package api

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// zoneActions are what can be done with a zone besides writing and deleting its Zone.
var zoneActions = map[string]struct {
	enabled  bool
	draining bool
}{
	"_enable": {enabled: true}, "_disable": {}, "_drain": {draining: true},
}

// zoneAction changes the state of a zone, and answers with how far that is.
func zoneAction(action string) handler {
	return func(s *server, w http.ResponseWriter, r *http.Request) error {
		name := r.PathValue("name")
		if err := s.setZone(r.Context(), name, zoneActions[action].enabled, zoneActions[action].draining); err != nil {
			return err
		}
		s.Log.Info("zone switched", "zone", name, "enabled", zoneActions[action].enabled, "draining", zoneActions[action].draining)
		return s.zoneDrain(w, r)
	}
}

// zoneDrain answers with how far the other zones have let go of what a zone wrote.
func (s *server) zoneDrain(w http.ResponseWriter, r *http.Request) error {
	state, err := s.Sync.Drain(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, state)
}

// setZone switches a zone, if it is not so already.
func (s *server) setZone(ctx context.Context, name string, enabled, draining bool) error {
	desc, _ := resource.LookupKind("Zone")
	for {
		zone, err := s.find(ctx, desc, "", name)
		if err != nil {
			return err
		}
		if zone.Name != name {
			return &failure{err: resource.ErrNotFound, detail: "Not found; nearest: " + join([]resource.Resource{zone}, "")}
		}
		is, err := resource.ZoneEnabled(zone)
		if err != nil {
			return err
		}
		if is == enabled && draining == (zone.Labels[resource.LabelZoneState] == resource.ZoneDraining) {
			return nil
		}
		spec, err := resource.Spec[*systemv1.Zone](zone)
		if err != nil {
			return err
		}
		spec.Enabled = wrapperspb.Bool(enabled)
		if zone.Spec, err = (proto.MarshalOptions{Deterministic: true}).Marshal(spec); err != nil {
			return err
		}
		labels := map[string]string{}
		for key, value := range zone.Labels {
			if key != resource.LabelZoneState {
				labels[key] = value
			}
		}
		if draining {
			labels[resource.LabelZoneState] = resource.ZoneDraining
		}
		zone.Labels = labels
		if _, err := s.Store.Apply(context.WithoutCancel(ctx), resource.Put(zone).If(zone.Version)); !errors.Is(err, resource.ErrConflict) {
			return err
		}
	}
}
