package policy

import (
	"regexp"

	"github.com/meridian-mesh/meridian/resource"
)

var meshFaultInjection = Type{
	Kind: "MeshFaultInjection", To: true, From: true, Egress: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		systemTop:    []RefKind{kindGateway},
		listenerTags: true,
		to:           []RefKind{kindMesh},
		from:         []RefKind{kindMesh, kindSubset, kindServiceSet, kindService},
		split:        true,
	},
	spec: func() spec { return &MeshFaultInjection{} },
}

// MeshFaultInjection makes HTTP requests fail, slow or both, to test how clients cope.
type MeshFaultInjection struct {
	// TargetRef selects the proxies. Default: all of the mesh, gateways among them, which excludes From.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about requests that a gateway sends; its targetRef is always Mesh. Only if TargetRef can select a gateway.
	To []Peer[FaultInjectionConf] `json:"to,omitempty"`
	// From is about requests that the proxies take, by client. Only if TargetRef cannot select a gateway.
	From []Peer[FaultInjectionConf] `json:"from,omitempty"`
}

// FaultInjectionConf is the conf of a MeshFaultInjection.
type FaultInjectionConf struct {
	// HTTP is the faults; each is drawn for on its own, in this order.
	HTTP []Fault `json:"http,omitzero"`
}

// Fault is what may happen to a request.
type Fault struct {
	// Abort answers in place of the service.
	Abort *FaultAbort `json:"abort,omitempty"`
	// Delay makes the request wait.
	Delay *FaultDelay `json:"delay,omitempty"`
	// ResponseBandwidth slows the response down.
	ResponseBandwidth *FaultBandwidth `json:"responseBandwidth,omitempty"`
}

// FaultAbort answers with an error.
type FaultAbort struct {
	// HTTPStatus is the status code of the answer, 100 to 599. Required.
	HTTPStatus int32 `json:"httpStatus" check:"required,min=100,max=599"`
	// Percentage of the requests, 0 to 100: a whole number, or a text such as "2.5". Required.
	Percentage *resource.IntOrString `json:"percentage" check:"required"`
}

// FaultDelay makes requests wait.
type FaultDelay struct {
	// Value is how long; at least 0. Required.
	Value *resource.Duration `json:"value" check:"required"`
	// Percentage of the requests, 0 to 100: a whole number, or a text such as "2.5". Required.
	Percentage *resource.IntOrString `json:"percentage" check:"required"`
}

// FaultBandwidth limits the rate of responses.
type FaultBandwidth struct {
	// Limit is the rate: a whole number with kbps, Mbps or Gbps (bits a second), as in "50kbps". Required.
	Limit string `json:"limit" check:"required"`
	// Percentage of the responses, 0 to 100: a whole number, or a text such as "2.5". Required.
	Percentage *resource.IntOrString `json:"percentage" check:"required"`
}

func (s *MeshFaultInjection) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, s.From, nil, checkFaults)
}

var bandwidth = regexp.MustCompile(`^[0-9]+ ?[kMG]bps$`)

func checkFaults(c *check, at string, conf *FaultInjectionConf) {
	for i, f := range conf.HTTP {
		at := item(at+".http", i)
		if f.Abort != nil {
			c.percent(at+".abort.percentage", f.Abort.Percentage)
		}
		if f.Delay != nil {
			c.duration(at+".delay", "value", f.Delay.Value, zeroAllowed)
			c.percent(at+".delay.percentage", f.Delay.Percentage)
		}
		if b := f.ResponseBandwidth; b != nil {
			if !bandwidth.MatchString(b.Limit) {
				c.report(at+".responseBandwidth.limit", "found %q, want a whole number with kbps, Mbps or Gbps, such as 50kbps", b.Limit)
			}
			c.percent(at+".responseBandwidth.percentage", b.Percentage)
		}
	}
}
