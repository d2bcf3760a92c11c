package policy

import "github.com/meridian-mesh/meridian/resource"

var meshTimeout = Type{
	Kind: "MeshTimeout", To: true, From: true, Rules: true,
	matrix: matrix{
		top:             []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane, kindHTTPRoute},
		systemTop:       []RefKind{kindGateway, kindHTTPRoute},
		listenerTags:    true,
		to:              []RefKind{kindMesh, kindService, kindExternal, kindMultiZone},
		toAtGateway:     []RefKind{kindMesh, kindExternal},
		from:            []RefKind{kindMesh},
		noFromAtGateway: true,
		need:            []string{"to", "from", "rules"},
	},
	spec: func() spec { return &MeshTimeout{} },
}

// MeshTimeout limits how long connections and requests may take.
type MeshTimeout struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about connections that the proxies open.
	To []Peer[TimeoutConf] `json:"to,omitempty"`
	// From is about connections that the proxies take; its targetRef is always Mesh. Deprecated: use Rules.
	From []Peer[TimeoutConf] `json:"from,omitempty"`
	// Rules is about connections that the proxies take. It excludes To and From.
	Rules []Rule[TimeoutConf] `json:"rules,omitempty"`
}

// TimeoutConf is the conf of a MeshTimeout. One of its fields must be given.
type TimeoutConf struct {
	// ConnectionTimeout limits setting up a TCP connection, TLS included. Above 0. Default: 5s.
	ConnectionTimeout *resource.Duration `json:"connectionTimeout,omitempty"`
	// IdleTimeout closes a connection on which no bytes, or no requests, have passed for so long. 0: never. Default: 1h.
	IdleTimeout *resource.Duration `json:"idleTimeout,omitempty"`
	// HTTP limits requests; it has no effect on TCP services.
	HTTP *TimeoutHTTP `json:"http,omitempty"`
}

// TimeoutHTTP is the part of a TimeoutConf for HTTP. One field other than RequestHeadersTimeout must be given. Each is
// at least 0, and 0 switches the limit off.
type TimeoutHTTP struct {
	// RequestTimeout limits the time from the end of the request to the end of the response. Default: 15s.
	RequestTimeout *resource.Duration `json:"requestTimeout,omitempty"`
	// StreamIdleTimeout ends a stream (a request and its response) on which nothing has passed for so long. Default: 30m.
	StreamIdleTimeout *resource.Duration `json:"streamIdleTimeout,omitempty"`
	// MaxStreamDuration limits the life of a stream. Default: 0.
	MaxStreamDuration *resource.Duration `json:"maxStreamDuration,omitempty"`
	// MaxConnectionDuration limits the life of a connection, which is then drained. Default: 0.
	MaxConnectionDuration *resource.Duration `json:"maxConnectionDuration,omitempty"`
	// RequestHeadersTimeout limits how long the headers of a request may take to arrive. Default: 0.
	RequestHeadersTimeout *resource.Duration `json:"requestHeadersTimeout,omitempty"`
}

func (s *MeshTimeout) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, s.From, s.Rules, checkTimeouts)
}

func checkTimeouts(c *check, at string, conf *TimeoutConf) {
	http := conf.HTTP
	if !c.oneOf(at, conf.ConnectionTimeout != nil || conf.IdleTimeout != nil || http != nil, "connectionTimeout", "idleTimeout", "http") {
		return
	}
	ofConnections := func(at, field string, d *resource.Duration) {
		if d != nil && c.top.Kind == kindHTTPRoute {
			c.report(at+"."+field, "must not be given with a top-level targetRef of kind %s: it is about connections", kindHTTPRoute)
		}
	}
	c.duration(at, "connectionTimeout", conf.ConnectionTimeout, zeroRefused)
	ofConnections(at, "connectionTimeout", conf.ConnectionTimeout)
	c.duration(at, "idleTimeout", conf.IdleTimeout, zeroAllowed)
	ofConnections(at, "idleTimeout", conf.IdleTimeout)
	if http == nil {
		return
	}
	at += ".http"
	c.oneOf(at, http.RequestTimeout != nil || http.StreamIdleTimeout != nil || http.MaxStreamDuration != nil || http.MaxConnectionDuration != nil,
		"requestTimeout", "streamIdleTimeout", "maxStreamDuration", "maxConnectionDuration")
	c.duration(at, "requestTimeout", http.RequestTimeout, zeroAllowed)
	c.duration(at, "streamIdleTimeout", http.StreamIdleTimeout, zeroAllowed)
	c.duration(at, "maxStreamDuration", http.MaxStreamDuration, zeroAllowed)
	ofConnections(at, "maxStreamDuration", http.MaxStreamDuration)
	c.duration(at, "maxConnectionDuration", http.MaxConnectionDuration, zeroAllowed)
	ofConnections(at, "maxConnectionDuration", http.MaxConnectionDuration)
	c.duration(at, "requestHeadersTimeout", http.RequestHeadersTimeout, zeroAllowed)
}
