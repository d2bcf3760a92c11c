package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Kinds that a targetRef may name.
const (
	kindMesh       = "Mesh"
	kindDataplane  = "Dataplane"
	kindSubset     = "MeshSubset"
	kindGateway    = "MeshGateway"
	kindService    = "MeshService"
	kindExternal   = "MeshExternalService"
	kindMultiZone  = "MeshMultiZoneService"
	kindServiceSet = "MeshServiceSubset"
	kindHTTPRoute  = "MeshHTTPRoute"
)

// RefKind is the kind of a targetRef.
type RefKind string

// Enum returns the kinds that some place of some policy takes.
func (RefKind) Enum() []string {
	return []string{
		kindMesh, kindSubset, kindGateway, kindService, kindExternal, kindMultiZone, kindServiceSet, kindHTTPRoute, kindDataplane,
	}
}

// strength numbers the kinds of targetRef from the widest to the most specific: the bigger one wins. It serves
// top-level and `to` targetRefs alike.
var strength = map[RefKind]int{
	kindMesh: 1, kindDataplane: 2, kindSubset: 3, kindGateway: 4, kindService: 5,
	kindExternal: 6, kindMultiZone: 7, kindServiceSet: 8, kindHTTPRoute: 9,
}

// ProxyType is a value of TargetRef.ProxyTypes.
type ProxyType string

const (
	ProxySidecar ProxyType = "Sidecar"
	ProxyGateway ProxyType = "Gateway" // builtin or delegated
)

// Enum returns the allowed words.
func (ProxyType) Enum() []string { return []string{string(ProxySidecar), string(ProxyGateway)} }

const serviceTag = "kuma.io/service"

// TargetRef selects proxies (at the top of a policy), destinations (in `to`) or clients (in `from`).
type TargetRef struct {
	// Kind of what is selected: Mesh, MeshSubset, MeshGateway, MeshService, MeshExternalService, MeshMultiZoneService,
	// MeshServiceSubset, MeshHTTPRoute or Dataplane. Each place of each policy takes some of them. Required.
	Kind RefKind `json:"kind" check:"required"`
	// Name of the selected resource; excludes labels. At the top of a policy MeshService means the tag kuma.io/service.
	Name string `json:"name,omitempty"`
	// Namespace of the selected resource. Default: the policy's own.
	Namespace string `json:"namespace,omitempty"`
	// Labels that a selected resource has, all of them.
	Labels map[string]string `json:"labels,omitzero"`
	// Tags that a selected inbound or gateway listener has, all of them; "*" is any value.
	Tags map[string]string `json:"tags,omitzero"`
	// Mesh is refused with every kind that is checked; a policy selects in its own mesh.
	Mesh string `json:"mesh,omitempty"`
	// ProxyTypes narrows Mesh and MeshSubset to Sidecar or Gateway. Default: both.
	ProxyTypes []ProxyType `json:"proxyTypes,omitzero"`
	// SectionName narrows the selection to one port of a service, or to one inbound of a Dataplane, by name.
	SectionName string `json:"sectionName,omitempty"`
}

// tagList is a selection by tags: all of them must be there.
type tagList struct {
	ok   bool   // false for a targetRef that no tags can express
	tags []tag  // ascending by key
	text string // the same for equal tags
}

type tag struct{ key, value string }

// tagsOf returns the selection of a targetRef as tags of a client, a service or an inbound. A MeshService is always
// the tag kuma.io/service, never the resource of that name; without a name (it has labels) it is the empty service:
// Kuma answers so too.
func tagsOf(ref TargetRef) tagList {
	set := map[string]string{}
	switch ref.Kind {
	case kindMesh:
	case kindSubset:
		set = ref.Tags
	case kindService:
		set[serviceTag] = ref.Name
	case kindServiceSet:
		set[serviceTag] = ref.Name
		maps.Copy(set, ref.Tags)
	default:
		return tagList{}
	}
	l := tagList{ok: true}
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(set)) {
		l.tags = append(l.tags, tag{k, set[k]})
		text.WriteString(strconv.Quote(k) + strconv.Quote(set[k]))
	}
	l.text = text.String()
	return l
}

// selects says whether all of wanted are among have; the wanted value "*" is any.
func selects(wanted []tag, have map[string]string) bool {
	for _, t := range wanted {
		if got, ok := have[t.key]; !ok || got != t.value && t.value != "*" {
			return false
		}
	}
	return true
}

// hasLabels says whether every wanted label is among have; a missing label is the empty one.
func hasLabels(want, have map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// legacyName splits the service name of a Kubernetes inbound, name_namespace_svc or name_namespace_svc_port.
// port is 0 when there is none.
func legacyName(s string) (name, namespace string, port uint32, ok bool) {
	parts := strings.Split(s, "_")
	switch len(parts) {
	case 4:
		if port, ok = number(parts[3]); !ok {
			return "", "", 0, false
		}
	case 3:
	default:
		return "", "", 0, false
	}
	return parts[0], parts[1], port, true
}
