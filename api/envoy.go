package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/meridian-mesh/meridian/resource"
)

// EnvoyQuestion is what somebody wants to know of the Envoy of a proxy.
type EnvoyQuestion struct {
	View       string // xds, stats or clusters
	IncludeEDS bool   // of xds: with endpoints
	JSON       bool   // of the others: as JSON rather than text
}

// envoyPaths are the proxies that have an Envoy, under the names that this part of Kuma's API has for them.
var envoyPaths = map[string]string{
	"Dataplane": "/meshes/{mesh}/dataplanes/{name}", "ZoneIngress": "/zoneingresses/{name}", "ZoneEgress": "/zoneegresses/{name}",
}

// envoy answers with what the Envoy of a proxy says; view is xds, stats or clusters.
func envoy(d resource.Descriptor, view string) handler {
	return func(s *server, w http.ResponseWriter, r *http.Request) error {
		proxy, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
		if err != nil {
			return err
		}
		q := EnvoyQuestion{View: view}
		if q.IncludeEDS, err = flag(r, "include_eds"); err != nil {
			return err
		}
		switch format := r.URL.Query().Get("format"); format {
		case "", "text":
		case "json":
			q.JSON = true
		default:
			return badParameter("Invalid parameter", "format", "want text or json")
		}
		data, err := s.Envoy(r.Context(), proxy, q)
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return err
		}
		if err != nil {
			return &failure{detail: err.Error(), err: errBadRequest}
		}
		media := "text/plain"
		if q.JSON || view == "xds" {
			media = "application/json"
		}
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(data) // that the client does not take it is its own affair
		return nil
	}
}
