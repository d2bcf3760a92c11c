package scope

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Peer is one end of a stream.
type Peer struct {
	Zone     string          // its name; "" is the global control plane
	Features Features        // what it understands; read of a zone that receives
	Levels   Levels          // which schemas it reads; read of whoever receives
	Zones    map[string]bool // every Zone resource by name, true if enabled; read of a global control plane that sends
}

// Names of features, as control planes announce them in their first request on a stream.
const (
	FeatureZoneToken         = "zone-token"
	FeatureHashedNames       = "hash-suffix"
	FeatureHostnameSelector  = "hg-mz-selector"
	FeatureProducerPolicies  = "producer-policy-flow"
	FeatureOptionalTargetRef = "optional-top-level-target-ref"
)

// Announced is what this build understands: the features of Kuma 2.10.
var Announced = []string{
	FeatureZoneToken, FeatureHashedNames, FeatureHostnameSelector, FeatureProducerPolicies, FeatureOptionalTargetRef,
}

// Features are the announced features that change what is sent.
type Features struct {
	HashedNames, HostnameSelector, ProducerPolicies, OptionalTargetRef bool
}

// ParseFeatures returns the features among names; others are ignored.
func ParseFeatures(names []string) (f Features) {
	for _, name := range names {
		switch name {
		case FeatureHashedNames:
			f.HashedNames = true
		case FeatureHostnameSelector:
			f.HostnameSelector = true
		case FeatureProducerPolicies:
			f.ProducerPolicies = true
		case FeatureOptionalTargetRef:
			f.OptionalTargetRef = true
		}
	}
	return f
}

// Levels are the schema levels that a control plane reads, by kind; a kind that is not there it does not know. nil: it did
// not say, and reads what Kuma 2.10 does.
type Levels map[string]int

// Of returns the level of a kind, 0 if there is none.
func (l Levels) Of(kind string) int {
	if l == nil {
		return 1
	}
	return l[kind]
}

// OwnLevels returns what this build reads.
func OwnLevels() Levels {
	own := Levels{}
	for _, d := range resource.Kinds {
		own[d.Kind] = d.SchemaLevel()
	}
	return own
}

// Decide says whether from sends r to to, and by what rule. It is Inspect(r).Decide(from, to).
func Decide(r resource.Resource, from, to Peer) (bool, RuleID) { return Inspect(r).Decide(from, to) }

// Subject is what the rules need to know of one resource. Reading a spec costs far more than judging it, so who
// decides about one resource for many peers inspects it once. A Subject is small, comparable, and does not hold on to
// the resource: as long as it is equal, so is the scope.
type Subject struct {
	kind               *resource.Descriptor // nil: not known
	name               string               // of the kinds whose scope depends on it, else ""
	origin, zone, role string               // labels
	disabled           bool                 // the label that switches its sync off

	unreadable     bool   // the spec cannot be read
	hasTargetRef   bool   // top-level
	pinned         string // the zone that a top-level MeshSubset asks for, "" if none
	selectsMMZS    bool   // a HostnameGenerator for MeshMultiZoneServices
	recomputedRole string // of a policy that claims to be a producer's

	needs *resource.Since // the newest field that is set, of the table of kinds; nil: any peer that knows the kind can read it
}

var kinds = func() map[string]*resource.Descriptor {
	m := map[string]*resource.Descriptor{}
	for i := range resource.Kinds {
		m[resource.Kinds[i].Kind] = &resource.Kinds[i]
	}
	return m
}()

// Inspect reads r.
func Inspect(r resource.Resource) Subject { return inspect(r, kinds[r.Kind]) }

// inspect reads r, whose kind is d, nil if it is not known.
func inspect(r resource.Resource, d *resource.Descriptor) Subject {
	s := Subject{
		kind: d, origin: r.Origin(), zone: r.Zone(), role: r.Labels[resource.LabelRole],
		disabled: r.Labels[resource.LabelSync] == "disabled",
	}
	if s.kind == nil {
		return s
	}
	s.needs = d.Needs(r.Spec)
	if r.Kind == "Config" || r.Kind == "GlobalSecret" {
		s.name = r.Name
	}
	if s.kind.Message != "" {
		return s // the rules look into JSON specs only
	}
	var spec struct {
		TargetRef *struct {
			Kind string            `json:"kind"`
			Tags map[string]string `json:"tags"`
		} `json:"targetRef"`
		Selector struct {
			MeshMultiZoneService *json.RawMessage `json:"meshMultiZoneService"`
		} `json:"selector"`
	}
	switch {
	case s.kind.TargetRef:
		if json.Unmarshal(r.Spec, &spec) != nil {
			s.unreadable = true
			return s
		}
		if ref := spec.TargetRef; ref != nil {
			s.hasTargetRef = true
			if ref.Kind == "MeshSubset" {
				s.pinned = ref.Tags[resource.LabelZone]
			}
		}
		if r.Role() == resource.RoleProducer && r.Origin() == resource.OriginZone {
			s.recomputedRole, _, _ = policy.RoleOf(r.Kind, r.Namespace(), r.Spec) // a spec that has no role is no producer's
		}
	case r.Kind == "HostnameGenerator":
		s.unreadable = json.Unmarshal(r.Spec, &spec) != nil
		s.selectsMMZS = spec.Selector.MeshMultiZoneService != nil
	}
	return s
}

// Decide says whether from sends the resource to to, and by what rule.
func (s Subject) Decide(from, to Peer) (bool, RuleID) {
	send, rule := s.decide(from, to)
	if send && s.Lacks(to) != "" {
		return false, LacksSchemaLevel
	}
	return send, rule
}

// Lacks returns what of the schema of the resource the peer does not read, "" if it reads all.
func (s Subject) Lacks(to Peer) string {
	if s.kind == nil {
		return ""
	}
	level := to.Levels.Of(s.kind.Kind)
	switch {
	case level == 0:
		return s.kind.Kind
	case s.needs != nil && s.needs.Level > level:
		return fmt.Sprintf("%s level %d, with which %s came; it has level %d", s.kind.Kind, s.needs.Level, s.needs.Field, level)
	}
	return ""
}

// decide is Decide for a peer that reads everything.
func (s Subject) decide(from, to Peer) (bool, RuleID) {
	switch {
	case s.kind == nil:
		return false, UnknownKind
	case s.disabled:
		return false, SyncDisabled
	case from.Zone != "" && to.Zone == "":
		return s.up(from.Zone)
	case from.Zone == "" && to.Zone != "":
		return s.down(from, to)
	}
	return false, NoStream
}

// MayReach says whether from would send the resource to to if every zone were known and enabled: what a peer may hold of
// a time when one was.
func (s Subject) MayReach(from, to Peer) bool {
	send, rule := s.Decide(from, to)
	return send || rule == ZoneUnknown || rule == ZoneDisabled
}

// From returns the zone that the resource comes from by its labels, "" if it was written on global.
func (s Subject) From() string {
	if s.localTo("") {
		return ""
	}
	return s.zone
}

// Zone returns the zone that the resource is labelled with, "" if none.
func (s Subject) Zone() string { return s.zone }

// localTo says whether the resource was written on a control plane, a zone's or ("") global's.
func (s Subject) localTo(zone string) bool {
	return resource.Plane{Zone: zone}.Local(map[string]string{resource.LabelOrigin: s.origin, resource.LabelZone: s.zone})
}

func (s Subject) up(zone string) (bool, RuleID) {
	switch {
	case !s.kind.FromZone():
		return false, WrongDirection
	case !s.localTo(zone):
		return false, NotLocal
	}
	return true, FromZone
}

func (s Subject) down(from, to Peer) (bool, RuleID) {
	switch {
	case !s.kind.FromGlobal():
		return false, WrongDirection
	case s.kind.Kind == "Config":
		if s.name == resource.ClusterID {
			return true, ClusterID
		}
		return false, PlaneConfig
	case s.kind.Kind == "GlobalSecret" && systemSecret(s.name):
		return false, SystemSecret
	case s.unreadable:
		return false, Unreadable
	case s.kind.TargetRef && !s.hasTargetRef && !to.Features.OptionalTargetRef:
		return false, LacksOptionalTargetRef
	case s.selectsMMZS && !to.Features.HostnameSelector:
		return false, LacksHostnameSelector
	case !s.localTo(""):
		return s.across(from, to)
	case !s.kind.Flow.Has(resource.ProvidedByGlobal | resource.ConsumedByZone):
		return false, WrongDirection
	}
	return true, FromGlobal
}

// across decides about a resource of one zone for another zone.
func (s Subject) across(from, to Peer) (bool, RuleID) {
	enabled, known := from.Zones[s.zone]
	switch {
	case !s.kind.Flow.Has(resource.AcrossZones):
		return false, NotAcrossZones
	case s.zone == to.Zone:
		return false, SameZone
	case s.kind.TargetRef && !to.Features.ProducerPolicies:
		return false, LacksProducerPolicies
	case s.kind.TargetRef && s.role != resource.RoleProducer:
		return false, NotProducer
	case s.kind.TargetRef && s.recomputedRole != resource.RoleProducer:
		return false, RoleForged
	case s.pinned != "" && s.pinned != to.Zone:
		return false, PinnedToOtherZone
	case !known:
		return false, ZoneUnknown
	case !enabled:
		return false, ZoneDisabled
	case s.kind.TargetRef:
		return true, ProducerScope
	}
	return true, AcrossZones
}

// systemSecret says whether a GlobalSecret of that name belongs to the global control plane alone.
func systemSecret(name string) bool {
	switch name {
	case "envoy-admin-ca", "admin-user-token", "inter-cp-ca", "user-token-revocations":
		return true
	}
	return strings.HasPrefix(name, "user-token-signing-key")
}
