package resource

import (
	"strings"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
)

// Kinds of the records that the sync keeps for itself. No table lists them: they are neither synced nor served.
const (
	KindSyncProgress = "SyncProgress" // how far a receiver has got with a peer; named KIND.PEER
	KindSyncEpoch    = "SyncEpoch"    // on global, that a zone has joined; named as the zone, written once
)

// ClusterID names the Config that names the federation. Global makes it once; of its kind no other travels.
const ClusterID = "kuma-cluster-id"

// LabelZoneState on a Zone says what is being done with it.
const (
	LabelZoneState = "meridian.io/zone-state"
	ZoneDraining   = "draining" // it is to be deleted: disabled, until nobody holds anything of it
)

// GoesWithZone says whether r is deleted with the Zone of that name: what its control plane has synced, and what is known of
// it.
func GoesWithZone(r Resource, zone string) bool {
	switch r.Kind {
	case "ZoneInsight", KindSyncEpoch:
		return r.Name == zone
	case KindSyncProgress:
		_, peer, _ := strings.Cut(r.Name, ".")
		return peer == zone
	}
	return r.Zone() == zone
}

// ValidZoneName says whether a zone can have that name: a DNS name of at most 63 characters, so parts of a-z, 0-9 and "-" with
// dots between them, a letter or digit first and last in each.
func ValidZoneName(name string) bool {
	return len(name) <= maxLabelLength && dnsSubdomain.MatchString(name)
}

// ZoneEnabled says whether a Zone takes part; it does unless it says otherwise. One that cannot be read, which is the
// error, does not.
func ZoneEnabled(zone Resource) (bool, error) {
	spec, err := Spec[*systemv1.Zone](zone)
	return err == nil && (spec.Enabled == nil || spec.Enabled.Value), err
}
