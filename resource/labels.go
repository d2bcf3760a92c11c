package resource

import (
	"maps"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
)

// Labels that the control planes read or write. The names are Kuma's.
const (
	LabelMesh        = "kuma.io/mesh"
	LabelOrigin      = "kuma.io/origin"
	LabelZone        = "kuma.io/zone"
	LabelEnv         = "kuma.io/env"
	LabelRole        = "kuma.io/policy-role"
	LabelProxyType   = "kuma.io/proxy-type"
	LabelDisplayName = "kuma.io/display-name"
	LabelNamespace   = "k8s.kuma.io/namespace"
	LabelEffect      = "kuma.io/effect"
	LabelSync        = "kuma.io/kds-sync"
	LabelGracePeriod = "kuma.io/deletion-grace-period-started-at"
	LabelManagedBy   = "kuma.io/managed-by"
)

// Values of LabelOrigin.
const (
	OriginGlobal = "global"
	OriginZone   = "zone"
)

// Values of LabelRole, weakest first.
const (
	RoleSystem        = "system"
	RoleProducer      = "producer"
	RoleConsumer      = "consumer"
	RoleWorkloadOwner = "workload-owner"
)

// SystemNamespace is the namespace whose policies have the system role.
const SystemNamespace = "kuma-system"

// DefaultMesh is the mesh of a document that names none.
const DefaultMesh = "default"

// Plane says which control plane a resource is written on.
type Plane struct {
	Zone      string // the zone's name; "" on the global control plane
	Federated bool   // a zone that has a global control plane
}

// Owner returns the name of the plane for messages: "global" or `zone "east"`.
func (p Plane) Owner() string {
	if p.Zone == "" {
		return "global"
	}
	return `zone "` + p.Zone + `"`
}

// Local says whether a resource with these labels was written on this plane, not synced to it.
func (p Plane) Local(labels map[string]string) bool {
	origin := labels[LabelOrigin]
	if p.Zone == "" {
		return origin == "" || origin == OriginGlobal
	}
	return origin == "" || origin == OriginZone && (labels[LabelZone] == "" || labels[LabelZone] == p.Zone)
}

// ComputeLabels returns the labels that r gets when it is written on plane p: r's own and the computed ones.
// role is the policy role (policy.RoleOf), "" for a kind that has none. r is not modified. What a proxy is follows from
// its spec alone; of an unreadable spec the label stays as it was.
// Source: docs/concepts.md, "Labels".
func ComputeLabels(r Resource, d Descriptor, p Plane, role string) map[string]string {
	labels := maps.Clone(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	absent := func(key, value string) {
		if _, ok := labels[key]; !ok {
			labels[key] = value
		}
	}
	if d.Scope == ScopeMesh {
		absent(LabelMesh, r.Mesh)
	}
	if p.Zone != "" && d.Flow&ProvidedByZone != 0 {
		absent(LabelOrigin, OriginZone)
		if labels[LabelOrigin] != OriginGlobal {
			absent(LabelZone, p.Zone)
			absent(LabelEnv, "universal")
		}
	}
	if role != "" && labels[LabelNamespace] != "" && p.Local(labels) {
		labels[LabelRole] = role
	}
	if d.Proxy {
		if proxy := ProxyType(r); proxy != "" {
			labels[LabelProxyType] = proxy
		}
	}
	return labels
}

// ProxyType returns the value of LabelProxyType for r: sidecar, gateway, zoneingress or zoneegress; "" if r is no
// proxy, or its spec does not decode. Only a builtin gateway is one here: a delegated gateway has a sidecar.
func ProxyType(r Resource) string {
	switch r.Kind {
	case "ZoneIngress":
		return "zoneingress"
	case "ZoneEgress":
		return "zoneegress"
	case "Dataplane":
		switch dp, err := Spec[*meshv1.Dataplane](r); {
		case err != nil:
		case dp.GetNetworking().GetGateway().GetType() == meshv1.Dataplane_Networking_Gateway_BUILTIN:
			return "gateway"
		default:
			return "sidecar"
		}
	}
	return ""
}
