package resource_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/resource"
)

func TestKindsAreSortedAndTheirNamesAreUnique(t *testing.T) {
	t.Parallel()
	assert.True(t, slices.IsSortedFunc(resource.Kinds, func(a, b resource.Descriptor) int { return cmp.Compare(a.Kind, b.Kind) }))
	seen := map[string]string{} // a name a person may type, to the kind it stands for
	for _, d := range resource.Kinds {
		for _, name := range slices.Compact(slices.Sorted(slices.Values([]string{strings.ToLower(d.Kind), d.Plural, d.Singular, d.Short}))) {
			if name == "" {
				continue
			}
			assert.Emptyf(t, seen[name], "%s is a name of %s too", name, d.Kind)
			seen[name] = d.Kind
		}
		got, ok := resource.LookupKind(d.Kind)
		assert.True(t, ok)
		assert.Equal(t, d, got)
	}
	_, ok := resource.LookupKind("Pod")
	assert.False(t, ok)
}

// The numbers of Kuma's own table, which a peer's table of types is compared with.
func TestFlowFlagsAreKumas(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]resource.Flow{
		"CircuitBreaker": 17, "Config": 25, "Dataplane": 12, "GlobalSecret": 25, "HostnameGenerator": 29, "Mesh": 17,
		"MeshExternalService": 29, "MeshGateway": 29, "MeshInsight": 16, "MeshMultiZoneService": 17, "MeshService": 44,
		"MeshTimeout": 61, "MeshTrafficPermission": 61, "Secret": 25, "ServiceInsight": 17, "Zone": 24, "ZoneEgress": 12,
		"ZoneIngress": 44, "ZoneInsight": 24,
	} {
		d, ok := resource.LookupKind(kind)
		assert.True(t, ok, kind)
		assert.Equal(t, want, d.Flow, kind)
	}
}

func TestSubscriptionsAreThoseOfKuma(t *testing.T) {
	t.Parallel()
	var fromGlobal, fromZone, plain, policies []string
	for _, d := range resource.Kinds {
		if d.FromGlobal() {
			fromGlobal = append(fromGlobal, d.Kind)
		}
		if d.FromZone() {
			fromZone = append(fromZone, d.Kind)
		}
		if d.PlainName {
			plain = append(plain, d.Kind)
		}
		if d.TargetRef {
			policies = append(policies, d.Kind)
			assert.True(t, d.Policy && d.Plugin && !d.Legacy, d.Kind)
		}
		assert.Equal(t, d.Plugin, d.Message == "", d.Kind)
	}
	assert.Equal(t, strings.Fields(`CircuitBreaker Config ExternalService FaultInjection GlobalSecret HealthCheck
		HostnameGenerator Mesh MeshAccessLog MeshCircuitBreaker MeshExternalService MeshFaultInjection MeshGateway
		MeshGatewayRoute MeshHTTPRoute MeshHealthCheck MeshLoadBalancingStrategy MeshMetric MeshMultiZoneService
		MeshPassthrough MeshProxyPatch MeshRateLimit MeshRetry MeshService MeshTCPRoute MeshTLS MeshTimeout MeshTrace
		MeshTrafficPermission ProxyTemplate RateLimit Retry Secret ServiceInsight Timeout TrafficLog TrafficPermission
		TrafficRoute TrafficTrace VirtualOutbound ZoneIngress`), fromGlobal)
	assert.Len(t, fromGlobal, 41)
	assert.Equal(t, strings.Fields(`Dataplane DataplaneInsight HostnameGenerator MeshAccessLog MeshCircuitBreaker
		MeshExternalService MeshFaultInjection MeshGateway MeshHTTPRoute MeshHealthCheck MeshLoadBalancingStrategy
		MeshMetric MeshPassthrough MeshProxyPatch MeshRateLimit MeshRetry MeshService MeshTCPRoute MeshTLS MeshTimeout
		MeshTrace MeshTrafficPermission ZoneEgress ZoneEgressInsight ZoneIngress ZoneIngressInsight`), fromZone)
	assert.Len(t, fromZone, 26)
	assert.Equal(t, []string{"Config", "GlobalSecret", "Mesh", "Secret"}, plain)
	assert.Len(t, policies, 16)
}
