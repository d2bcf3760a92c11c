package policy

var meshTCPRoute = Type{
	Kind: "MeshTCPRoute", To: true,
	matrix: meshHTTPRoute.matrix,
	spec:   func() spec { return &MeshTCPRoute{} },
	item:   tcpRouteItem,
}

// MeshTCPRoute chooses where connections to a service go.
type MeshTCPRoute struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about connections that the proxies open, by destination. If given, at least one item.
	To []TCPRouteTo `json:"to,omitzero"`
}

// TCPRouteTo is an item of `to`: a destination, and the rule for connections to it.
type TCPRouteTo struct {
	// TargetRef selects the destination: a MeshService, MeshExternalService or MeshMultiZoneService; Mesh if the
	// top-level targetRef is a MeshGateway. Required.
	TargetRef TargetRef `json:"targetRef" check:"required"`
	// Rules is at most one rule. Required; an empty list sends connections to the destination, whatever weaker policies
	// say.
	Rules []TCPRouteRule `json:"rules" check:"required"`
}

// TCPRouteRule is what happens to connections.
type TCPRouteRule struct {
	// Default is what happens to the connections. Required.
	Default TCPRouteConf `json:"default" check:"required"`
}

// TCPRouteConf is where connections go.
type TCPRouteConf struct {
	// BackendRefs are the destinations that the connections are shared among. At least one.
	BackendRefs []BackendRef `json:"backendRefs,omitempty"`
}

func (s *MeshTCPRoute) validate(c *check) {
	c.target(s.TargetRef, false)
	if s.To != nil && len(s.To) == 0 {
		c.report("spec.to", "must have at least one item; leave it out to say nothing")
	}
	for i, to := range s.To {
		at := c.toRef(i, to.TargetRef) + ".rules"
		c.atMost(at, len(to.Rules), 1)
		for j, rule := range to.Rules {
			at := item(at, j) + ".default.backendRefs"
			if len(rule.Default.BackendRefs) == 0 {
				c.report(at, "must have at least one item")
			}
			for k, ref := range rule.Default.BackendRefs {
				c.backendRef(item(at, k), ref, backendKinds, false)
			}
		}
	}
}
