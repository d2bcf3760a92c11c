package policy

import "github.com/meridian-mesh/meridian/resource"

var meshCircuitBreaker = Type{
	Kind: "MeshCircuitBreaker", To: true, From: true, Rules: true, Egress: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		listenerTags: true,
		to:           []RefKind{kindMesh, kindService, kindMultiZone},
		from:         []RefKind{kindMesh},
		need:         []string{"to", "from", "rules"},
	},
	spec: func() spec { return &MeshCircuitBreaker{} },
}

// MeshCircuitBreaker limits how much is sent to a service at a time, and takes instances that fail out of use for a
// while.
type MeshCircuitBreaker struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about traffic that the proxies send.
	To []Peer[CircuitBreakerConf] `json:"to,omitempty"`
	// From is about traffic that the proxies take; its targetRef is always Mesh. Deprecated: use Rules.
	From []Peer[CircuitBreakerConf] `json:"from,omitempty"`
	// Rules is about traffic that the proxies take. It excludes To and From.
	Rules []Rule[CircuitBreakerConf] `json:"rules,omitempty"`
}

// CircuitBreakerConf is the conf of a MeshCircuitBreaker. One of its fields must be given.
type CircuitBreakerConf struct {
	// ConnectionLimits bounds what is under way at a time; what goes beyond is refused at once.
	ConnectionLimits *ConnectionLimits `json:"connectionLimits,omitempty"`
	// OutlierDetection watches the answers of each instance, and ejects those that fail.
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
}

// ConnectionLimits bounds what one proxy has under way to one service. Each limit is at least 1.
type ConnectionLimits struct {
	// MaxConnections limits connections. Default: 1024.
	MaxConnections *uint32 `json:"maxConnections,omitempty" check:"min=1"`
	// MaxConnectionPools limits connection pools. Default: no limit.
	MaxConnectionPools *uint32 `json:"maxConnectionPools,omitempty" check:"min=1"`
	// MaxPendingRequests limits requests, or TCP connections, that wait for a connection. Default: 1024.
	MaxPendingRequests *uint32 `json:"maxPendingRequests,omitempty" check:"min=1"`
	// MaxRetries limits retries under way. Default: 3.
	MaxRetries *uint32 `json:"maxRetries,omitempty" check:"min=1"`
	// MaxRequests limits requests under way. Default: 1024.
	MaxRequests *uint32 `json:"maxRequests,omitempty" check:"min=1"`
}

// OutlierDetection ejects instances that fail: they get no traffic until their time is over.
type OutlierDetection struct {
	// Disabled switches the detection off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// Interval is the time between two looks at the counters. Above 0. Default: 10s.
	Interval *resource.Duration `json:"interval,omitempty"`
	// BaseEjectionTime times the number of ejections so far is how long an instance stays ejected. Above 0. Default: 30s.
	BaseEjectionTime *resource.Duration `json:"baseEjectionTime,omitempty"`
	// MaxEjectionPercent is how much of a service may be ejected at a time, in percent, 0 to 100; one instance may be
	// in any case. Default: 10.
	MaxEjectionPercent *uint32 `json:"maxEjectionPercent,omitempty" check:"max=100"`
	// SplitExternalAndLocalErrors counts errors of the connection (LocalOriginFailures) apart from those that the
	// service answers. Default: false.
	SplitExternalAndLocalErrors *bool `json:"splitExternalAndLocalErrors,omitempty"`
	// Detectors says what counts as failing. Required, with Disabled too.
	Detectors *Detectors `json:"detectors,omitempty" check:"required"`
	// HealthyPanicThreshold is the share of instances in use below which ejected ones are used again, in percent, 0 to
	// 100. Default: 50.
	HealthyPanicThreshold *resource.IntOrString `json:"healthyPanicThreshold,omitempty"`
}

// Detectors says what counts as failing. At least one must be given; each is off unless it is.
type Detectors struct {
	// TotalFailures counts errors of every sort: 5xx answers, and lost or refused connections.
	TotalFailures *ConsecutiveFailures `json:"totalFailures,omitempty"`
	// GatewayFailures counts answers of 502, 503 and 504.
	GatewayFailures *ConsecutiveFailures `json:"gatewayFailures,omitempty"`
	// LocalOriginFailures counts errors of the connection, with SplitExternalAndLocalErrors.
	LocalOriginFailures *ConsecutiveFailures `json:"localOriginFailures,omitempty"`
	// SuccessRate compares the share of good answers with that of the other instances.
	SuccessRate *SuccessRateFailures `json:"successRate,omitempty"`
	// FailurePercentage compares the share of bad answers with a fixed one.
	FailurePercentage *PercentageFailures `json:"failurePercentage,omitempty"`
}

// ConsecutiveFailures ejects after a number of failures in a row.
type ConsecutiveFailures struct {
	// Consecutive is that number; at least 1. Default: 5.
	Consecutive *uint32 `json:"consecutive,omitempty" check:"min=1"`
}

// SuccessRateFailures ejects instances whose success rate is far below the mean.
type SuccessRateFailures struct {
	// MinimumHosts is how many instances must have had RequestVolume; at least 1. Default: 5.
	MinimumHosts *uint32 `json:"minimumHosts,omitempty" check:"min=1"`
	// RequestVolume is how many requests of one Interval make an instance count; at least 1. Default: 100.
	RequestVolume *uint32 `json:"requestVolume,omitempty" check:"min=1"`
	// StandardDeviationFactor is how many standard deviations below the mean are too far. Above 0. Default: "1.9".
	StandardDeviationFactor *resource.IntOrString `json:"standardDeviationFactor,omitempty"`
}

// PercentageFailures ejects instances whose share of failures is too large.
type PercentageFailures struct {
	// MinimumHosts is how many instances must have had RequestVolume; at least 1. Default: 5.
	MinimumHosts *uint32 `json:"minimumHosts,omitempty" check:"min=1"`
	// RequestVolume is how many requests of one Interval make an instance count; at least 1. Default: 50.
	RequestVolume *uint32 `json:"requestVolume,omitempty" check:"min=1"`
	// Threshold is the share from which an instance is ejected, in percent, 0 to 100. Default: 85.
	Threshold *uint32 `json:"threshold,omitempty" check:"max=100"`
}

func (s *MeshCircuitBreaker) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, s.From, s.Rules, checkCircuitBreaker)
}

func checkCircuitBreaker(c *check, at string, conf *CircuitBreakerConf) {
	c.oneOf(at, conf.ConnectionLimits != nil || conf.OutlierDetection != nil, "connectionLimits", "outlierDetection")
	o := conf.OutlierDetection
	if o == nil {
		return
	}
	at += ".outlierDetection"
	c.duration(at, "interval", o.Interval, zeroRefused)
	c.duration(at, "baseEjectionTime", o.BaseEjectionTime, zeroRefused)
	if d := o.Detectors; d != nil {
		at := at + ".detectors"
		c.oneOf(at, d.TotalFailures != nil || d.GatewayFailures != nil || d.LocalOriginFailures != nil || d.SuccessRate != nil || d.FailurePercentage != nil,
			"totalFailures", "gatewayFailures", "localOriginFailures", "successRate", "failurePercentage")
		if d.SuccessRate != nil {
			c.number(at+".successRate.standardDeviationFactor", d.SuccessRate.StandardDeviationFactor,
				func(f float64) bool { return f > 0 }, "a number above 0")
		}
	}
	c.percent(at+".healthyPanicThreshold", o.HealthyPanicThreshold)
}
