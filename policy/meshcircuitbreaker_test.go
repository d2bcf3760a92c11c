package policy_test

import "testing"

func TestMeshCircuitBreaker(t *testing.T) {
	t.Parallel()
	const d = "spec.to[0].default"
	outlier := func(fields string) string { return confs("{outlierDetection: {" + fields + "}}") }
	detect := func(fields string) string { return outlier("detectors: {" + fields + "}") }
	testSpecs(t, "MeshCircuitBreaker", map[string]specCase{
		"all of it": {`{to: [{targetRef: {kind: MeshMultiZoneService, name: payments, sectionName: http}, default: {
			connectionLimits: {maxConnections: 20, maxConnectionPools: 1, maxPendingRequests: 4294967295, maxRetries: 1, maxRequests: 1},
			outlierDetection: {disabled: false, interval: 5s, baseEjectionTime: 20s, maxEjectionPercent: 100, splitExternalAndLocalErrors: true, healthyPanicThreshold: "12.5", detectors: {
				totalFailures: {consecutive: 7}, gatewayFailures: {}, localOriginFailures: {consecutive: 1},
				successRate: {minimumHosts: 1, requestVolume: 1, standardDeviationFactor: "1.9"},
				failurePercentage: {minimumHosts: 1, requestVolume: 1, threshold: 0}}}}}]}`, nil},
		"from":                             {"{from: [{targetRef: {kind: Mesh}, default: {connectionLimits: {}}}]}", nil},
		"a whole factor":                   {detect("successRate: {standardDeviationFactor: 2}"), nil},
		"a null is given":                  {confs("{connectionLimits: null}", "{outlierDetection: {detectors: null}}", "{outlierDetection: {detectors: {totalFailures: null}}}"), nil},
		"a gateway with any to":            {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshService, name: a}, default: {connectionLimits: {}}}]}", nil},
		"the share of panic at its bounds": {outlier("healthyPanicThreshold: 0, detectors: {gatewayFailures: {}}"), nil},

		"nothing":                        {"{}", []string{"spec"}},
		"rules and to":                   {"{to: [{targetRef: {kind: Mesh}, default: {connectionLimits: {}}}], rules: [{default: {connectionLimits: {}}}]}", []string{"spec"}},
		"an empty conf":                  {confs("{}"), []string{d}},
		"an empty rule":                  {"{rules: [{default: {}}]}", []string{"spec.rules[0].default"}},
		"a route at the top":             {"{targetRef: {kind: MeshHTTPRoute, name: r}, to: [{targetRef: {kind: Mesh}, default: {connectionLimits: {}}}]}", []string{"spec.targetRef.kind"}},
		"an external service":            {"{targetRef: {kind: Dataplane, name: x}, to: [{targetRef: {kind: MeshExternalService, name: a}, default: {outlierDetection: {detectors: {}}}}]}", []string{"spec.to[0].targetRef.kind", d + ".outlierDetection.detectors"}},
		"clients by tag":                 {"{from: [{targetRef: {kind: MeshService, name: a}, default: {connectionLimits: {}}}]}", []string{"spec.from[0].targetRef.kind"}},
		"limits of 0":                    {confs("{connectionLimits: {maxConnections: 0, maxConnectionPools: 0, maxPendingRequests: 0, maxRetries: 0, maxRequests: 0}}"), below(d+".connectionLimits", ".maxConnections", ".maxConnectionPools", ".maxPendingRequests", ".maxRetries", ".maxRequests")},
		"times of 0":                     {outlier("interval: 0s, baseEjectionTime: -1s, detectors: {totalFailures: {}}"), below(d+".outlierDetection", ".interval", ".baseEjectionTime")},
		"more than all":                  {outlier("maxEjectionPercent: 101, detectors: {totalFailures: {}}"), below(d+".outlierDetection", ".maxEjectionPercent")},
		"no detectors":                   {outlier("interval: 1s"), below(d+".outlierDetection", ".detectors")},
		"no detectors, switched off":     {outlier("disabled: true"), below(d+".outlierDetection", ".detectors")},
		"an empty set of detectors":      {detect(""), below(d+".outlierDetection", ".detectors")},
		"a share of panic out of range":  {confs("{outlierDetection: {healthyPanicThreshold: 101, detectors: {totalFailures: {}}}}", `{outlierDetection: {healthyPanicThreshold: "-0.1", detectors: {totalFailures: {}}}}`), []string{d + ".outlierDetection.healthyPanicThreshold", "spec.to[1].default.outlierDetection.healthyPanicThreshold"}},
		"a share of panic in words":      {outlier("healthyPanicThreshold: half, detectors: {totalFailures: {}}"), below(d+".outlierDetection", ".healthyPanicThreshold")},
		"a decimal outside of a text":    {outlier("healthyPanicThreshold: 2.5, detectors: {totalFailures: {}}"), below(d+".outlierDetection", ".healthyPanicThreshold")},
		"failures of 0":                  {detect("totalFailures: {consecutive: 0}, gatewayFailures: {consecutive: 0}, localOriginFailures: {consecutive: 0}"), below(d+".outlierDetection.detectors", ".totalFailures.consecutive", ".gatewayFailures.consecutive", ".localOriginFailures.consecutive")},
		"a success rate of 0":            {detect(`successRate: {minimumHosts: 0, requestVolume: 0, standardDeviationFactor: "0"}`), below(d+".outlierDetection.detectors.successRate", ".minimumHosts", ".requestVolume", ".standardDeviationFactor")},
		"a factor that is no number":     {detect(`successRate: {standardDeviationFactor: 1.9x}`), below(d+".outlierDetection.detectors.successRate", ".standardDeviationFactor")},
		"a percentage of 0":              {detect("failurePercentage: {minimumHosts: 0, requestVolume: 0, threshold: 101}"), below(d+".outlierDetection.detectors.failurePercentage", ".minimumHosts", ".requestVolume", ".threshold")},
		"one bad value among good ones":  {confs("{connectionLimits: {maxConnections: 0}, outlierDetection: {maxEjectionPercent: 101}}"), []string{d + ".connectionLimits.maxConnections", d + ".outlierDetection.maxEjectionPercent", d + ".outlierDetection.detectors"}},
		"a bad value is not missing too": {confs("{connectionLimits: 5}"), []string{d + ".connectionLimits"}},
	})
}
