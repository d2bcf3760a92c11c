package policy

import (
	"time"

	"github.com/meridian-mesh/meridian/resource"
)

var meshRateLimit = Type{
	Kind: "MeshRateLimit", To: true, From: true, Rules: true, Egress: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane, kindHTTPRoute},
		systemTop:    []RefKind{kindGateway, kindHTTPRoute},
		listenerTags: true,
		to:           []RefKind{kindMesh},
		from:         []RefKind{kindMesh},
		split:        true,
	},
	spec: func() spec { return &MeshRateLimit{} },
}

// MeshRateLimit limits how many requests, or new connections, each proxy lets pass in a time.
type MeshRateLimit struct {
	// TargetRef selects the proxies. Default: all of the mesh, gateways among them, which excludes From and Rules.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about traffic that a gateway sends; its targetRef is always Mesh. Only if TargetRef can select a gateway.
	To []Peer[RateLimitConf] `json:"to,omitempty"`
	// From is about traffic that the proxies take; its targetRef is always Mesh. Only if TargetRef cannot select a
	// gateway. Deprecated: use Rules.
	From []Peer[RateLimitConf] `json:"from,omitempty"`
	// Rules is about traffic that the proxies take. Only if TargetRef cannot select a gateway. It excludes To and From.
	Rules []Rule[RateLimitConf] `json:"rules,omitempty"`
}

// RateLimitConf is the conf of a MeshRateLimit.
type RateLimitConf struct {
	// Local is limits that each proxy keeps on its own. Required.
	Local *LocalRateLimit `json:"local,omitempty"`
}

// LocalRateLimit is the limits of one proxy. One of its fields must be given.
type LocalRateLimit struct {
	// HTTP limits requests to HTTP and gRPC services.
	HTTP *HTTPRateLimit `json:"http,omitempty"`
	// TCP limits new connections to the other services.
	TCP *TCPRateLimit `json:"tcp,omitempty"`
}

// HTTPRateLimit limits requests. One of its fields must be given.
type HTTPRateLimit struct {
	// Disabled switches the limit off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// RequestRate is how many requests may pass.
	RequestRate *Rate `json:"requestRate,omitempty"`
	// OnRateLimit is the answer to the requests that may not.
	OnRateLimit *OnRateLimit `json:"onRateLimit,omitempty"`
}

// TCPRateLimit limits new connections. One of its fields must be given.
type TCPRateLimit struct {
	// Disabled switches the limit off. Default: false.
	Disabled *bool `json:"disabled,omitempty"`
	// ConnectionRate is how many connections may be made; the others are closed.
	ConnectionRate *Rate `json:"connectionRate,omitempty"`
}

// Rate is a number in a time.
type Rate struct {
	// Num is the number; at least 1. Required.
	Num uint32 `json:"num" check:"required,min=1"`
	// Interval is the time that Num is for. Above 50ms. Required.
	Interval *resource.Duration `json:"interval" check:"required"`
}

// OnRateLimit is the answer to a request over the limit.
type OnRateLimit struct {
	// Status is the status code of the answer; at least 1. Default: 429.
	Status *uint32 `json:"status,omitempty" check:"min=1"`
	// Headers changes the headers of the answer.
	Headers *HeaderModifier `json:"headers,omitempty"`
}

func (s *MeshRateLimit) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, s.From, s.Rules, checkRateLimit)
}

func checkRateLimit(c *check, at string, conf *RateLimitConf) {
	local := conf.Local
	if c.required(at, "local", local != nil); local == nil {
		return
	}
	at += ".local"
	c.oneOf(at, local.HTTP != nil || local.TCP != nil, "http", "tcp")
	if http := local.HTTP; http != nil {
		at := at + ".http"
		c.oneOf(at, http.Disabled != nil || http.RequestRate != nil || http.OnRateLimit != nil, "disabled", "requestRate", "onRateLimit")
		c.rate(at+".requestRate", http.RequestRate)
		if http.OnRateLimit != nil {
			c.headerModifier(at+".onRateLimit.headers", http.OnRateLimit.Headers)
		}
	}
	if tcp := local.TCP; tcp != nil {
		at := at + ".tcp"
		c.oneOf(at, tcp.Disabled != nil || tcp.ConnectionRate != nil, "disabled", "connectionRate")
		c.rate(at+".connectionRate", tcp.ConnectionRate)
	}
}

func (c *check) rate(at string, r *Rate) {
	const shortest = resource.Duration(50 * time.Millisecond)
	if r != nil && r.Interval != nil && *r.Interval <= shortest {
		c.report(at+".interval", "found %v, want a duration above %v", *r.Interval, shortest)
	}
}
