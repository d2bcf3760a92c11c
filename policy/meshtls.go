package policy

import (
	"slices"

	"github.com/meridian-mesh/meridian/resource"
)

var meshTLS = Type{
	Kind: "MeshTLS", From: true, Rules: true,
	matrix: matrix{
		top:  []RefKind{kindMesh, kindSubset, kindDataplane},
		from: []RefKind{kindMesh},
	},
	spec: func() spec { return &MeshTLS{} },
}

// MeshTLS says how the proxies use TLS among themselves. It has an effect only where mTLS is on.
type MeshTLS struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// From is about traffic that the proxies take; its targetRef is always Mesh. Deprecated: use Rules.
	From []Peer[TLSConf] `json:"from,omitempty"`
	// Rules is about traffic that the proxies take. It excludes From.
	Rules []Rule[TLSConf] `json:"rules,omitempty"`
}

// TLSConf is the conf of a MeshTLS.
type TLSConf struct {
	// Mode says whether traffic without TLS is taken too (Permissive), or refused (Strict). Default: the mode of the
	// mesh's mTLS backend.
	Mode TLSMode `json:"mode,omitempty"`
	// TLSVersion bounds the version of TLS. Only if the policy is for the whole Mesh: both ends must agree.
	TLSVersion *resource.TLSVersions `json:"tlsVersion,omitempty"`
	// TLSCiphers is the ciphers to offer, up to TLS 1.2. Only if the policy is for the whole Mesh; for traffic that
	// proxies send only together with TLSVersion. Default: those of Envoy.
	TLSCiphers []TLSCipher `json:"tlsCiphers,omitzero"`
}

// TLSMode says whether TLS is required.
type TLSMode string

// Enum returns the allowed words.
func (TLSMode) Enum() []string { return []string{"Permissive", "Strict"} }

// TLSCipher is a suite of ciphers.
type TLSCipher string

// Enum returns the allowed words.
func (TLSCipher) Enum() []string {
	return []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
		"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
	}
}

func (s *MeshTLS) validate(c *check) {
	checkLists(c, s.TargetRef, nil, s.From, s.Rules, checkTLS)
}

func checkTLS(c *check, at string, conf *TLSConf) {
	forMesh := func(field string, given bool) bool {
		if given && c.top.Kind != kindMesh {
			c.report(at+"."+field, "must not be given with a top-level targetRef of kind %s: both ends must agree, so it is for kind Mesh", c.top.Kind)
			return false
		}
		return given
	}
	if forMesh("tlsVersion", conf.TLSVersion != nil) {
		words := resource.TLSVersion("").Enum() // ascending
		lowest, highest := slices.Index(words, string(conf.TLSVersion.Min)), slices.Index(words, string(conf.TLSVersion.Max))
		if highest > 0 && lowest > highest { // 0 is TLSAuto, no bound
			c.report(at+".tlsVersion.min", "found %s, want a version that is not above max, %s", conf.TLSVersion.Min, conf.TLSVersion.Max)
		}
	}
	forMesh("tlsCiphers", conf.TLSCiphers != nil)
}
