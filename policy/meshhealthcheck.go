package policy

import "github.com/meridian-mesh/meridian/resource"

var meshHealthCheck = Type{
	Kind: "MeshHealthCheck", To: true, Egress: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		listenerTags: true,
		to:           []RefKind{kindMesh, kindService, kindMultiZone},
	},
	spec: func() spec { return &MeshHealthCheck{} },
}

// MeshHealthCheck makes the proxies ask the instances of a service whether they are well, and leave out those that are
// not.
type MeshHealthCheck struct {
	// TargetRef selects the proxies that ask. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is the services that are asked.
	To []Peer[HealthCheckConf] `json:"to,omitempty"`
}

// HealthCheckConf is the conf of a MeshHealthCheck. One of HTTP, TCP, GRPC must be given; the one that fits the
// protocol of the service is used, or else TCP.
type HealthCheckConf struct {
	// Interval between two questions to an instance that is well. Above 0. Default: 1m.
	Interval *resource.Duration `json:"interval,omitempty"`
	// Timeout of one question. Above 0. Default: 15s.
	Timeout *resource.Duration `json:"timeout,omitempty"`
	// UnhealthyThreshold is how many bad answers in a row make an instance unwell; at least 1. Default: 5.
	UnhealthyThreshold *int32 `json:"unhealthyThreshold,omitempty" check:"min=1"`
	// HealthyThreshold is how many good answers in a row make it well again; at least 1. Default: 1.
	HealthyThreshold *int32 `json:"healthyThreshold,omitempty" check:"min=1"`
	// InitialJitter delays the first question by a random time up to this. Above 0. Default: none.
	InitialJitter *resource.Duration `json:"initialJitter,omitempty"`
	// IntervalJitter adds a random time up to this to each Interval. Above 0. Default: none.
	IntervalJitter *resource.Duration `json:"intervalJitter,omitempty"`
	// IntervalJitterPercent adds a random share of Interval up to this, in percent, 0 to 100. Default: none.
	IntervalJitterPercent *int32 `json:"intervalJitterPercent,omitempty" check:"min=0,max=100"`
	// HealthyPanicThreshold is the share of instances that are well below which all are used, in percent, 0 to 100.
	// Default: 50. Deprecated: MeshCircuitBreaker has it.
	HealthyPanicThreshold *resource.IntOrString `json:"healthyPanicThreshold,omitempty"`
	// FailTrafficOnPanic refuses traffic in place of using all instances. Default: false.
	FailTrafficOnPanic *bool `json:"failTrafficOnPanic,omitempty"`
	// EventLogPath is the file, by a path from the root, that changes of health are written to. Default: none.
	EventLogPath *string `json:"eventLogPath,omitempty"`
	// AlwaysLogHealthCheckFailures writes every bad answer to that file, not the first alone. Default: false.
	AlwaysLogHealthCheckFailures *bool `json:"alwaysLogHealthCheckFailures,omitempty"`
	// NoTrafficInterval is the Interval while nothing is sent to the service. Above 0. Default: 60s.
	NoTrafficInterval *resource.Duration `json:"noTrafficInterval,omitempty"`
	// ReuseConnection asks over one connection again and again. Default: true.
	ReuseConnection *bool `json:"reuseConnection,omitempty"`
	// TCP asks by connecting, or by a text.
	TCP *TCPHealthCheck `json:"tcp,omitempty"`
	// HTTP asks by a request.
	HTTP *HTTPHealthCheck `json:"http,omitempty"`
	// GRPC asks by the service grpc.health.v1.Health.
	GRPC *GRPCHealthCheck `json:"grpc,omitempty"`
}

// TCPHealthCheck sends a text and waits for others; without any, a connection is a good answer.
type TCPHealthCheck struct {
	// Disabled switches it off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// Send is what to send. Default: nothing.
	Send *string `json:"send,omitempty"`
	// Receive is what must come back, in this order. Default: anything.
	Receive []string `json:"receive,omitzero"`
}

// HTTPHealthCheck sends a GET request.
type HTTPHealthCheck struct {
	// Disabled switches it off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// Path of the request. Not empty. Default: /.
	Path *string `json:"path,omitempty"`
	// RequestHeadersToAdd changes the headers of the request.
	RequestHeadersToAdd *HeaderModifier `json:"requestHeadersToAdd,omitempty"`
	// ExpectedStatuses is the status codes of a good answer, each 100 to 599. Default: 200.
	ExpectedStatuses []int32 `json:"expectedStatuses,omitzero"`
}

// GRPCHealthCheck calls grpc.health.v1.Health.
type GRPCHealthCheck struct {
	// Disabled switches it off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// ServiceName is the service to ask about. Default: the server as a whole.
	ServiceName string `json:"serviceName,omitempty"`
	// Authority is the header :authority of the call. Default: the name of the Envoy cluster.
	Authority string `json:"authority,omitempty"`
}

func (s *MeshHealthCheck) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, nil, nil, checkHealthCheck)
}

func checkHealthCheck(c *check, at string, conf *HealthCheckConf) {
	c.oneOf(at, conf.HTTP != nil || conf.TCP != nil || conf.GRPC != nil, "http", "tcp", "grpc")
	c.duration(at, "interval", conf.Interval, zeroRefused)
	c.duration(at, "timeout", conf.Timeout, zeroRefused)
	c.duration(at, "initialJitter", conf.InitialJitter, zeroRefused)
	c.duration(at, "intervalJitter", conf.IntervalJitter, zeroRefused)
	if conf.HealthyPanicThreshold != nil {
		c.percent(at+".healthyPanicThreshold", conf.HealthyPanicThreshold)
		c.warn(resource.WarnDeprecatedField, at+".healthyPanicThreshold", "%s.healthyPanicThreshold is deprecated: use outlierDetection.healthyPanicThreshold of a MeshCircuitBreaker", at)
	}
	if conf.EventLogPath != nil {
		c.filePath(at+".eventLogPath", *conf.EventLogPath)
	}
	c.duration(at, "noTrafficInterval", conf.NoTrafficInterval, zeroRefused)
	if http := conf.HTTP; http != nil {
		at := at + ".http"
		if http.Path != nil {
			c.notEmpty(at+".path", *http.Path)
		}
		c.headerModifier(at+".requestHeadersToAdd", http.RequestHeadersToAdd)
		for i, code := range http.ExpectedStatuses {
			c.status(item(at+".expectedStatuses", i), code)
		}
	}
}
