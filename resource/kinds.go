package resource

import (
	"slices"
	"strings"
)

// Scope says what a resource belongs to.
type Scope uint8

const (
	ScopeGlobal Scope = iota + 1 // belongs to the control plane as a whole: Mesh, Zone
	ScopeMesh                    // belongs to a mesh
)

// Flow says who provides and who consumes resources of a kind over KDS: a set of flags, numbered as in Kuma.
type Flow uint8

const (
	ConsumedByZone   Flow = 1
	ConsumedByGlobal Flow = 4
	ProvidedByZone   Flow = 8
	ProvidedByGlobal Flow = 16
	AcrossZones      Flow = 32 // global passes on what one zone wrote to the other zones

	globalToZones = ProvidedByGlobal | ConsumedByZone
	zoneToGlobal  = ProvidedByZone | ConsumedByGlobal
)

// Has says whether every flag of g is set.
func (f Flow) Has(g Flow) bool { return f&g == g }

// Descriptor is one row of the table of kinds.
type Descriptor struct {
	Kind     string // MeshTimeout
	Plural   string // path segment of the REST API, meshtimeouts; "" when the kind is not served
	Singular string // meshtimeout, on the command line; "" when the kind has no such name
	Short    string // mt, in KRIs; "" for the kinds that Kuma gives none
	Scope    Scope
	Message  string // full name of the protobuf message that encodes the spec; "" when it is JSON
	Flow     Flow

	PlainName     bool // keeps its name when it is sent to a zone
	SystemManaged bool // written by control planes alone
	AdminOnly     bool
	Policy        bool
	TargetRef     bool // a policy with targetRef; the only policies that have a role
	Plugin        bool // spec under "spec", JSON on the wire
	Status        bool
	Legacy        bool // a policy from before targetRef: carried, never interpreted
	Proxy         bool

	Newer []Since // fields that Kuma 2.10 does not have, and with which schema level of the kind each came
}

// FromGlobal says whether a zone subscribes to the kind on GlobalToZoneSync.
func (d Descriptor) FromGlobal() bool { return d.Flow.Has(globalToZones) || d.Flow.Has(AcrossZones) }

// FromZone says whether the global control plane subscribes to the kind on ZoneToGlobalSync.
func (d Descriptor) FromZone() bool { return d.Flow.Has(zoneToGlobal) }

// Kinds is every kind of resource, by name. Facts: Kuma 2.10's table of resource types.
var Kinds = []Descriptor{
	{Kind: "CircuitBreaker", Plural: "circuit-breakers", Singular: "circuit-breaker", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.CircuitBreaker", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "Config", Scope: ScopeGlobal, Message: "kuma.system.v1alpha1.Config", Flow: globalToZones | ProvidedByZone, PlainName: true},
	{Kind: "Dataplane", Plural: "dataplanes", Singular: "dataplane", Short: "dp", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.Dataplane", Flow: zoneToGlobal, Proxy: true},
	{Kind: "DataplaneInsight", Plural: "dataplane-insights", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.DataplaneInsight", Flow: zoneToGlobal, SystemManaged: true},
	{Kind: "ExternalService", Plural: "external-services", Singular: "external-service", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.ExternalService", Flow: globalToZones, Legacy: true},
	{Kind: "FaultInjection", Plural: "fault-injections", Singular: "fault-injection", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.FaultInjection", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "GlobalSecret", Plural: "global-secrets", Singular: "global-secret", Scope: ScopeGlobal, Message: "kuma.system.v1alpha1.Secret", Flow: globalToZones | ProvidedByZone, PlainName: true, AdminOnly: true},
	{Kind: "HealthCheck", Plural: "health-checks", Singular: "healthcheck", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.HealthCheck", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "HostnameGenerator", Plural: "hostnamegenerators", Singular: "hostnamegenerator", Short: "hg", Scope: ScopeGlobal, Flow: globalToZones | zoneToGlobal, Plugin: true},
	{Kind: "Mesh", Plural: "meshes", Singular: "mesh", Short: "m", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.Mesh", Flow: globalToZones, PlainName: true},
	{Kind: "MeshAccessLog", Plural: "meshaccesslogs", Singular: "meshaccesslog", Short: "mal", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshCircuitBreaker", Plural: "meshcircuitbreakers", Singular: "meshcircuitbreaker", Short: "mcb", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshExternalService", Plural: "meshexternalservices", Singular: "meshexternalservice", Short: "extsvc", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal, Plugin: true, Status: true},
	{Kind: "MeshFaultInjection", Plural: "meshfaultinjections", Singular: "meshfaultinjection", Short: "mfi", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshGateway", Plural: "meshgateways", Singular: "meshgateway", Short: "mgw", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.MeshGateway", Flow: globalToZones | zoneToGlobal},
	{Kind: "MeshGatewayRoute", Plural: "meshgatewayroutes", Singular: "meshgatewayroute", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.MeshGatewayRoute", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "MeshHTTPRoute", Plural: "meshhttproutes", Singular: "meshhttproute", Short: "mhttpr", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshHealthCheck", Plural: "meshhealthchecks", Singular: "meshhealthcheck", Short: "mhc", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshInsight", Plural: "mesh-insights", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.MeshInsight", Flow: ProvidedByGlobal, SystemManaged: true},
	{Kind: "MeshLoadBalancingStrategy", Plural: "meshloadbalancingstrategies", Singular: "meshloadbalancingstrategy", Short: "mlbs", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshMetric", Plural: "meshmetrics", Singular: "meshmetric", Short: "mm", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshMultiZoneService", Plural: "meshmultizoneservices", Singular: "meshmultizoneservice", Short: "mzsvc", Scope: ScopeMesh, Flow: globalToZones, Plugin: true, Status: true},
	{Kind: "MeshPassthrough", Plural: "meshpassthroughs", Singular: "meshpassthrough", Short: "mp", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshProxyPatch", Plural: "meshproxypatches", Singular: "meshproxypatch", Short: "mpp", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshRateLimit", Plural: "meshratelimits", Singular: "meshratelimit", Short: "mrl", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshRetry", Plural: "meshretries", Singular: "meshretry", Short: "mr", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshService", Plural: "meshservices", Singular: "meshservice", Short: "msvc", Scope: ScopeMesh, Flow: zoneToGlobal | AcrossZones, Plugin: true, Status: true},
	{Kind: "MeshTCPRoute", Plural: "meshtcproutes", Singular: "meshtcproute", Short: "mtcpr", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshTLS", Plural: "meshtlses", Singular: "meshtls", Short: "mtls", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshTimeout", Plural: "meshtimeouts", Singular: "meshtimeout", Short: "mt", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshTrace", Plural: "meshtraces", Singular: "meshtrace", Short: "mtr", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "MeshTrafficPermission", Plural: "meshtrafficpermissions", Singular: "meshtrafficpermission", Short: "mtp", Scope: ScopeMesh, Flow: globalToZones | zoneToGlobal | AcrossZones, Policy: true, TargetRef: true, Plugin: true},
	{Kind: "ProxyTemplate", Plural: "proxytemplates", Singular: "proxytemplate", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.ProxyTemplate", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "RateLimit", Plural: "rate-limits", Singular: "rate-limit", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.RateLimit", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "Retry", Plural: "retries", Singular: "retry", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.Retry", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "Secret", Plural: "secrets", Singular: "secret", Scope: ScopeMesh, Message: "kuma.system.v1alpha1.Secret", Flow: globalToZones | ProvidedByZone, PlainName: true, AdminOnly: true},
	{Kind: "ServiceInsight", Plural: "service-insights", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.ServiceInsight", Flow: globalToZones, SystemManaged: true},
	{Kind: "Timeout", Plural: "timeouts", Singular: "timeout", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.Timeout", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "TrafficLog", Plural: "traffic-logs", Singular: "traffic-log", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.TrafficLog", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "TrafficPermission", Plural: "traffic-permissions", Singular: "traffic-permission", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.TrafficPermission", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "TrafficRoute", Plural: "traffic-routes", Singular: "traffic-route", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.TrafficRoute", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "TrafficTrace", Plural: "traffic-traces", Singular: "traffic-trace", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.TrafficTrace", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "VirtualOutbound", Plural: "virtual-outbounds", Singular: "virtual-outbound", Scope: ScopeMesh, Message: "kuma.mesh.v1alpha1.VirtualOutbound", Flow: globalToZones, Policy: true, Legacy: true},
	{Kind: "Zone", Plural: "zones", Singular: "zone", Scope: ScopeGlobal, Message: "kuma.system.v1alpha1.Zone", Flow: ProvidedByGlobal | ProvidedByZone},
	{Kind: "ZoneEgress", Plural: "zoneegresses", Singular: "zoneegress", Short: "ze", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.ZoneEgress", Flow: zoneToGlobal, Proxy: true},
	{Kind: "ZoneEgressInsight", Plural: "zoneegressinsights", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.ZoneEgressInsight", Flow: zoneToGlobal, SystemManaged: true},
	{Kind: "ZoneIngress", Plural: "zone-ingresses", Singular: "zone-ingress", Short: "zi", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.ZoneIngress", Flow: zoneToGlobal | AcrossZones, Proxy: true},
	{Kind: "ZoneIngressInsight", Plural: "zone-ingress-insights", Scope: ScopeGlobal, Message: "kuma.mesh.v1alpha1.ZoneIngressInsight", Flow: zoneToGlobal, SystemManaged: true},
	{Kind: "ZoneInsight", Plural: "zone-insights", Scope: ScopeGlobal, Message: "kuma.system.v1alpha1.ZoneInsight", Flow: ProvidedByGlobal | ProvidedByZone, SystemManaged: true},
}

// LookupKind returns the row of a kind.
func LookupKind(kind string) (Descriptor, bool) {
	i, ok := slices.BinarySearchFunc(Kinds, kind, func(d Descriptor, kind string) int { return strings.Compare(d.Kind, kind) })
	if !ok {
		return Descriptor{}, false
	}
	return Kinds[i], true
}
