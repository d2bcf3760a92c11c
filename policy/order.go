package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/internal/mutation"
	"github.com/meridian-mesh/meridian/resource"
)

// Comparator names what decided between two entries.
type Comparator string

// The comparators, in the order in which they are asked. The next one is asked only if the last one found no
// difference.
const (
	ByKind    Comparator = "kind"    // the kind of the top-level targetRef, and how closely a Dataplane is described
	ByOrigin  Comparator = "origin"  // written in this zone rather than on the global control plane
	ByRole    Comparator = "role"    // workload-owner, consumer, producer, system
	ByToKind  Comparator = "to-kind" // the kind of the `to` targetRef
	BySection Comparator = "section" // a `to` MeshService with a section rather than without
	ByName    Comparator = "name"    // of two policies the alphabetically first
	ByItem    Comparator = "item"    // of two items of one policy the last
)

func originRank(origin string) int {
	switch origin {
	case resource.OriginGlobal:
		return 1
	case "":
		return 2
	case resource.OriginZone:
		return 3
	}
	return 0
}

func roleRank(role string) int {
	return 1 + slices.Index([]string{resource.RoleSystem, resource.RoleProducer, resource.RoleConsumer, resource.RoleWorkloadOwner}, role)
}

// compareKind compares top-level targetRefs. Of two of kind Dataplane a name beats labels, and then a section beats
// none; one that has neither name nor labels is equal to both, so this is no total order. Sorting with it depends on
// the algorithm, and the answer equals Kuma's as long as both use Go's.
func compareKind(a, b *Policy) int {
	if a.kind != b.kind || a.Target.Kind != kindDataplane {
		return cmp.Compare(a.kind, b.kind)
	}
	switch {
	case a.Target.Name != "" && b.Target.Labels != nil:
		return 1
	case b.Target.Name != "" && a.Target.Labels != nil:
		return -1
	}
	return compareSection(a.Target, b.Target)
}

// totalOrder says whether compareKind orders all of policies: there are no two of kind Dataplane of which one says which
// and the other does not.
func totalOrder(policies []*Policy) bool {
	var all, some bool
	for _, p := range policies {
		if p.Target.Kind == kindDataplane {
			named := p.Target.Name != "" || p.Target.Labels != nil
			all, some = all || !named, some || named
		}
	}
	return !all || !some
}

func compareSection(a, b TargetRef) int {
	return cmp.Compare(min(len(a.SectionName), 1), min(len(b.SectionName), 1))
}

// CompareScope compares two policies, as one zone has them, by origin and then by role alone: what decides between them
// if their top-level targetRefs are equal. Negative: a is weaker.
func CompareScope(a, b *Policy) int {
	return cmp.Or(cmp.Compare(a.origin, b.origin), cmp.Compare(a.role, b.role))
}

// comparePolicies orders whole policies, weakest first: for legacy rules and for confs of the proxy as a whole.
func comparePolicies(a, b *Policy) (int, Comparator) {
	if c := compareKind(a, b); c != 0 {
		return c, ByKind
	}
	if c := cmp.Compare(a.origin, b.origin); c != 0 {
		return c, ByOrigin
	}
	if a.Target.Kind == kindGateway {
		if c := cmp.Compare(len(a.Target.Tags), len(b.Target.Tags)); c != 0 {
			return c, ByKind
		}
	}
	if c := cmp.Compare(a.role, b.role); c != 0 {
		return c, ByRole
	}
	return strings.Compare(b.display, a.display), ByName
}

// Entry is one item of one policy, as one of those that meet on a destination, an inbound or a set of clients.
type Entry struct {
	Policy *Policy
	Index  int // of the item in its list
	Item   *Item
	list   string // "to", "from", "rules" or "default"
}

// compareInbound orders the entries that meet on one inbound, weakest first.
func compareInbound(a, b Entry) (int, Comparator) {
	if c := compareKind(a.Policy, b.Policy); c != 0 && !mutation.KindLast.Load() {
		return c, ByKind
	}
	if c := cmp.Compare(a.Policy.origin, b.Policy.origin); c != 0 {
		return c, ByOrigin
	}
	if c := cmp.Compare(a.Policy.role, b.Policy.role); c != 0 {
		return c, ByRole
	}
	return strings.Compare(b.Policy.display, a.Policy.display), ByName
}

// compareOutbound orders the entries that meet on one destination, weakest first. The role comes before the kind of
// the destination: what a consumer says about the whole mesh beats what a producer says about its service.
func compareOutbound(a, b Entry) (int, Comparator) {
	c, by := compareInbound(a, b)
	if c != 0 && by != ByName {
		return c, by
	}
	if k := cmp.Compare(strength[a.Item.Target.Kind], strength[b.Item.Target.Kind]); k != 0 {
		return k, ByToKind
	}
	if a.Item.Target.Kind == kindService {
		if s := compareSection(a.Item.Target, b.Item.Target); s != 0 {
			return s, BySection
		}
	}
	return c, by
}

// compareLegacy orders entries of the legacy rules: by policy alone, and within a policy by item.
func compareLegacy(a, b Entry) (int, Comparator) { return comparePolicies(a.Policy, b.Policy) }

// decidedBy names the comparator that put one entry before another. Entries that no comparator tells apart are left in
// the order they had: items of one policy by index, policies of one display name by storage name.
func decidedBy(compare func(a, b Entry) (int, Comparator), a, b Entry) Comparator {
	if c, by := compare(a, b); c != 0 {
		return by
	}
	if a.Policy == b.Policy {
		return ByItem
	}
	return ByName
}

// sortPolicies sorts ascending by comparePolicies. The input must be ordered by storage name. Not stable, on purpose:
// see compareKind.
func sortPolicies(ps []*Policy) {
	slices.SortFunc(ps, func(a, b *Policy) int { c, _ := comparePolicies(a, b); return c })
}

func sortEntries(es []Entry, compare func(a, b Entry) (int, Comparator)) {
	slices.SortStableFunc(es, func(a, b Entry) int { c, _ := compare(a, b); return c })
}
