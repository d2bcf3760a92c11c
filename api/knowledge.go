package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// knowledgeHeader is on an answer of the global control plane about a proxy of a zone: it rests on what the zone sent.
const knowledgeHeader = "Meridian-Knowledge"

// markKnowledge adds the header about each of zones: its name; online, stalled (it takes nothing), offline (no stream is open) or unknown (it never
// connected); the revision of this store that the answer holds for, or a later one; and how long ago the zone was last
// heard of: of one that is connected, a keepalive ping counts. On a zone it does nothing.
//
//	Meridian-Knowledge: zone=east; state=offline; revision=31; age=5m12s
func (s *server) markKnowledge(ctx context.Context, w http.ResponseWriter, rev resource.Revision, zones ...string) error {
	if s.Plane.Zone != "" {
		return nil
	}
	for _, zone := range zones {
		if zone == "" {
			continue
		}
		insight, err := s.zoneInsight(ctx, zone)
		if err != nil {
			return err
		}
		state, age := "offline", "unknown"
		heard := lastHeard(insight)
		if s.Sync != nil && s.Sync.Heard != nil {
			if live := s.Sync.Heard(zone); live.After(heard) {
				heard = live
			}
		}
		switch {
		case online(insight):
			state = "online"
			if s.stalled(zone) {
				state = "stalled"
			}
		case heard.IsZero():
			state = "unknown"
		}
		if !heard.IsZero() {
			age = max(time.Since(heard), 0).Truncate(time.Second).String()
		}
		w.Header().Add(knowledgeHeader, fmt.Sprintf("zone=%s; state=%s; revision=%d; age=%s", zone, state, rev, age))
	}
	return nil
}

// lastHeard returns when anything last came from the zone, as far as its insight says; zero: never. When a stream ended
// does not count: a global that was killed notes that as late as it starts again.
func lastHeard(insight *systemv1.ZoneInsight) time.Time {
	var last time.Time
	at := func(t *timestamppb.Timestamp) {
		if t != nil && t.AsTime().After(last) {
			last = t.AsTime()
		}
	}
	at(insight.GetHealthCheck().GetTime())
	for _, sub := range insight.GetSubscriptions() {
		at(sub.GetConnectTime())
		at(sub.GetStatus().GetLastUpdateTime())
	}
	return last
}

// stalled says whether a zone is connected and makes no progress, as far as this control plane knows.
func (s *server) stalled(zone string) bool {
	return s.Sync != nil && s.Sync.Stalled != nil && s.Sync.Stalled(zone)
}
