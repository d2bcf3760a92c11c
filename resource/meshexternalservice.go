package resource

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// MeshExternalService is a destination outside the mesh that proxies reach by a name of the mesh, through a ZoneEgress.
type MeshExternalService struct {
	// Match is what clients inside the mesh connect to.
	Match ExternalMatch `json:"match" check:"required"`
	// Extension hands the service to another implementation: Endpoints and TLS are then not checked.
	Extension *ExternalExtension `json:"extension,omitempty"`
	// Endpoints are where the traffic goes.
	Endpoints []ExternalEndpoint `json:"endpoints,omitempty"`
	// TLS is how the connections to the endpoints are encrypted. Default: not at all.
	TLS *ExternalTLS `json:"tls,omitempty"`
}

// ExternalMatch is the side of a MeshExternalService that clients see.
type ExternalMatch struct {
	// Type is how clients find the service: by a host name that a HostnameGenerator makes.
	Type ExternalMatchType `json:"type,omitempty" check:"default=HostnameGenerator"`
	// Port is where clients connect to, 1 to 65535.
	Port uint32 `json:"port" check:"required,min=1,max=65535"`
	// Protocol is what clients speak.
	Protocol ExternalProtocol `json:"protocol,omitempty" check:"default=tcp"`
}

// ExternalMatchType says how clients find a MeshExternalService.
type ExternalMatchType string

// Enum returns the allowed words.
func (ExternalMatchType) Enum() []string { return []string{"HostnameGenerator"} }

// ExternalProtocol is what is spoken with a MeshExternalService.
type ExternalProtocol string

// Enum returns the allowed words.
func (ExternalProtocol) Enum() []string { return []string{"grpc", "http", "http2", "tcp"} }

// ExternalExtension names another implementation.
type ExternalExtension struct {
	// Type is the name of the implementation. Not empty.
	Type string `json:"type" check:"required"`
	// Config is whatever that implementation reads.
	Config any `json:"config,omitempty"`
}

// ExternalEndpoint is one place that traffic to a MeshExternalService goes to.
type ExternalEndpoint struct {
	// Address is an IP address or a DNS name.
	Address string `json:"address" check:"required"`
	// Port is 1 to 65535.
	Port uint32 `json:"port" check:"required,min=1,max=65535"`
}

// ExternalTLS says how connections to the endpoints are encrypted and the endpoints verified.
type ExternalTLS struct {
	// Enabled encrypts the connections.
	Enabled bool `json:"enabled,omitempty" check:"default=false"`
	// Version limits the versions of TLS.
	Version *TLSVersions `json:"version,omitempty"`
	// AllowRenegotiation lets the endpoint ask for another handshake.
	AllowRenegotiation bool `json:"allowRenegotiation,omitempty" check:"default=false"`
	// Verification is how the certificate of the endpoint is checked, and what ours is.
	Verification *ExternalVerification `json:"verification,omitempty"`
}

// TLSVersions is a range of versions of TLS.
type TLSVersions struct {
	// Min is the oldest version.
	Min TLSVersion `json:"min,omitempty" check:"default=TLSAuto"`
	// Max is the newest version.
	Max TLSVersion `json:"max,omitempty" check:"default=TLSAuto"`
}

// TLSVersion is a version of TLS; TLSAuto leaves the choice to Envoy.
type TLSVersion string

// Enum returns the allowed words, the versions from old to new.
func (TLSVersion) Enum() []string { return []string{"TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13"} }

// ExternalVerification says how an endpoint proves who it is.
type ExternalVerification struct {
	// Mode says what is checked: Secured checks the authority and the names, the others leave out one or both.
	Mode VerificationMode `json:"mode,omitempty" check:"default=Secured"`
	// ServerName is the DNS name that is asked for (SNI). Default: the address of the endpoint.
	ServerName *string `json:"serverName,omitempty"`
	// SubjectAltNames are the names of which the certificate must have one. Default: the server name.
	SubjectAltNames []SubjectAltName `json:"subjectAltNames,omitempty"`
	// CACert is the certificate of the authority. Default: those of the system.
	CACert *DataSource `json:"caCert,omitempty"`
	// ClientCert is the certificate that is shown to the endpoint. It goes with ClientKey.
	ClientCert *DataSource `json:"clientCert,omitempty"`
	// ClientKey is the private key of ClientCert.
	ClientKey *DataSource `json:"clientKey,omitempty"`
}

// VerificationMode says what of an endpoint's certificate is checked.
type VerificationMode string

// Enum returns the allowed words.
func (VerificationMode) Enum() []string { return []string{"SkipSAN", "SkipCA", "Secured", "SkipAll"} }

// SubjectAltName is a name that a certificate may have.
type SubjectAltName struct {
	// Type says how Value is compared.
	Type SubjectAltNameType `json:"type,omitempty" check:"default=Exact"`
	// Value is the name, or the beginning of it.
	Value string `json:"value" check:"required"`
}

// SubjectAltNameType says how a SubjectAltName is compared.
type SubjectAltNameType string

// Enum returns the allowed words.
func (SubjectAltNameType) Enum() []string { return []string{"Exact", "Prefix"} }

// DataSource says where a piece of data is. One of its fields is given.
type DataSource struct {
	// Secret names a Secret of the same mesh.
	Secret *string `json:"secret,omitempty"`
	// Inline is the data itself, in base64.
	Inline []byte `json:"inline,omitempty" check:"secret"`
	// InlineString is the data itself, as text.
	InlineString *string `json:"inlineString,omitempty" check:"secret"`
}

func validateMeshExternalService(r Resource, spec any) []Violation {
	svc := spec.(*MeshExternalService)
	var p problems
	p.hostNamePart(r)
	if svc.Extension != nil {
		if svc.Extension.Type == "" {
			p.add("spec.extension.type", "must not be empty")
		}
		return p
	}
	for i, e := range svc.Endpoints {
		if !isHost(e.Address) {
			p.add(fmt.Sprintf("spec.endpoints[%d].address", i), wantHost, cut(e.Address))
		}
	}
	if svc.TLS == nil {
		return p
	}
	if v := svc.TLS.Version; v != nil && v.Min != "TLSAuto" && v.Max != "TLSAuto" {
		words := v.Min.Enum()
		if slices.Index(words, string(v.Min)) > slices.Index(words, string(v.Max)) {
			p.add("spec.tls.version.min", "found %s, want at most max, %s", v.Min, v.Max)
		}
	}
	if v := svc.TLS.Verification; v != nil {
		const at = "spec.tls.verification"
		if v.ServerName != nil && !isHostName(*v.ServerName) {
			p.add(at+".serverName", "found %q, want a DNS name", cut(*v.ServerName))
		}
		if v.ClientCert != nil && v.ClientKey == nil {
			p.add(at+".clientKey", "must be given with clientCert")
		}
		if v.ClientKey != nil && v.ClientCert == nil {
			p.add(at+".clientCert", "must be given with clientKey")
		}
	}
	return p
}

const wantHost = "found %q, want an IP address or a DNS name"

// isHost says whether s is an IP address or a DNS name, in any case.
func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || isHostName(s)
}

// isHostName says whether s is a DNS name. What looks like an IPv4 address is none.
func isHostName(s string) bool {
	return len(s) <= maxNameLength && dnsSubdomain.MatchString(strings.ToLower(s)) && !numeric.MatchString(s)
}
