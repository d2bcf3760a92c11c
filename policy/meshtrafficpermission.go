package policy

var meshTrafficPermission = Type{
	Kind: "MeshTrafficPermission", From: true, Egress: true,
	matrix: matrix{
		top:  []RefKind{kindMesh, kindSubset, kindService, kindServiceSet, kindDataplane},
		from: []RefKind{kindMesh, kindSubset, kindService, kindServiceSet},
		need: []string{"from"},
	},
	spec: func() spec { return &MeshTrafficPermission{} },
}

// MeshTrafficPermission says which clients may connect to the proxies. It has an effect only where mTLS is on, and
// what no permission allows is denied there.
type MeshTrafficPermission struct {
	// TargetRef selects the proxies that are connected to. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// From selects clients; at least one item.
	From []Peer[PermissionConf] `json:"from,omitempty"`
}

func (s *MeshTrafficPermission) validate(c *check) {
	checkLists(c, s.TargetRef, nil, s.From, nil, func(c *check, at string, conf *PermissionConf) {
		if conf.Action == "" {
			c.report(at+".action", "must be given: one of Allow, Deny, AllowWithShadowDeny")
		}
	})
}

// PermissionConf is the conf of a MeshTrafficPermission.
type PermissionConf struct {
	// Action is what happens to a connection of the clients. Required.
	Action PermissionAction `json:"action,omitempty"`
}

// PermissionAction is what happens to a connection.
type PermissionAction string

// Enum returns the allowed words. AllowWithShadowDeny lets the connection pass and logs it as denied.
func (PermissionAction) Enum() []string { return []string{"Allow", "Deny", "AllowWithShadowDeny"} }
