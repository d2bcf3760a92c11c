package scope

// RuleID names the rule that decided. It is part of the API: the words do not change.
type RuleID string

// Rules that send.
const (
	FromZone      RuleID = "from-zone"
	FromGlobal    RuleID = "from-global"
	ClusterID     RuleID = "cluster-id"
	AcrossZones   RuleID = "across-zones"
	ProducerScope RuleID = "producer-scope"
)

// Rules that keep back.
const (
	NoStream               RuleID = "no-stream"
	UnknownKind            RuleID = "unknown-kind"
	SyncDisabled           RuleID = "sync-disabled"
	WrongDirection         RuleID = "wrong-direction"
	NotLocal               RuleID = "not-local"
	PlaneConfig            RuleID = "plane-config"
	SystemSecret           RuleID = "system-secret"
	Unreadable             RuleID = "unreadable"
	LacksOptionalTargetRef RuleID = "lacks-optional-top-level-target-ref"
	LacksHostnameSelector  RuleID = "lacks-hg-mz-selector"
	LacksProducerPolicies  RuleID = "lacks-producer-policy-flow"
	NotAcrossZones         RuleID = "not-across-zones"
	SameZone               RuleID = "same-zone"
	NotProducer            RuleID = "not-producer"
	RoleForged             RuleID = "role-forged"
	PinnedToOtherZone      RuleID = "pinned-to-other-zone"
	ZoneDisabled           RuleID = "zone-disabled"
	ZoneUnknown            RuleID = "zone-unknown"
	LacksSchemaLevel       RuleID = "lacks-schema-level"
)

// explanations has one line per rule, in the order of the documentation.
var explanations = []struct {
	rule RuleID
	text string
}{
	{FromZone, "written in this zone; global gets everything of its kind"},
	{FromGlobal, "written on global; every zone gets its kind"},
	{ClusterID, "the identifier of the federation, which every zone gets"},
	{AcrossZones, "written in another zone, and its kind is for all zones"},
	{ProducerScope, "a producer policy of another zone: it configures whoever calls that service, in every zone"},

	{NoStream, "these two control planes do not speak to each other: zones meet on global"},
	{UnknownKind, "this control plane does not know the kind"},
	{SyncDisabled, "its label kuma.io/kds-sync is disabled"},
	{WrongDirection, "its kind does not travel in this direction"},
	{NotLocal, "it came from another control plane, and a zone sends only what was written in it"},
	{PlaneConfig, "a setting of this control plane alone; of its kind only kuma-cluster-id travels"},
	{SystemSecret, "a secret of the global control plane, which never leaves it"},
	{Unreadable, "its spec cannot be read, so its scope is not known"},
	{LacksOptionalTargetRef, "it has no top-level targetRef, and the zone does not announce optional-top-level-target-ref"},
	{LacksHostnameSelector, "it selects MeshMultiZoneServices, and the zone does not announce hg-mz-selector"},
	{LacksProducerPolicies, "a policy of another zone, and the zone does not announce producer-policy-flow"},
	{NotAcrossZones, "written in a zone, and its kind goes from zones to global only"},
	{SameZone, "written in that zone, which has the original"},
	{NotProducer, "not a producer policy: consumer, workload-owner and zonal policies stay in their zone"},
	{RoleForged, "labelled as a producer policy, but its spec does not have the shape of one"},
	{PinnedToOtherZone, "its top-level MeshSubset selects proxies of another zone"},
	{ZoneDisabled, "the zone it was written in is disabled"},
	{ZoneUnknown, "global has no Zone of the name it was written in"},
	{LacksSchemaLevel, "it is of a kind, or has a field, that the version of the receiver does not know"},
}

// Rules returns every rule.
func Rules() []RuleID {
	ids := make([]RuleID, 0, len(explanations))
	for _, e := range explanations {
		ids = append(ids, e.rule)
	}
	return ids
}

// Explain returns the rule as one sentence about the resource, lower case, without full stop.
func (id RuleID) Explain() string {
	for _, e := range explanations {
		if e.rule == id {
			return e.text
		}
	}
	return "unknown rule " + string(id)
}
