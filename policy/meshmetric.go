package policy

import (
	"regexp"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

var meshMetric = Type{
	Kind: "MeshMetric", Single: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		systemTop:    []RefKind{kindGateway},
		listenerTags: true,
	},
	spec: func() spec { return &MeshMetric{} },
}

// MeshMetric says which metrics the proxies give to whom.
type MeshMetric struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// Default is the conf; an explicit null removes what weaker policies gave.
	Default MetricConf `json:"default,omitzero" check:"patch"`
}

// MetricConf is the conf of a MeshMetric.
type MetricConf struct {
	// Sidecar narrows the metrics of the proxy itself.
	Sidecar *MetricSidecar `json:"sidecar,omitempty"`
	// Applications are where the proxy collects metrics of the applications beside it.
	Applications []MetricApplication `json:"applications,omitzero"`
	// Backends are who gets the metrics. Default: nobody.
	Backends []MetricBackend `json:"backends,omitzero"`
}

// MetricSidecar narrows the metrics of a proxy.
type MetricSidecar struct {
	// IncludeUnused also gives metrics that have never counted anything. Default: false.
	IncludeUnused *bool `json:"includeUnused,omitempty"`
	// Profiles are lists of metrics.
	Profiles *MetricProfiles `json:"profiles,omitempty"`
}

// MetricProfiles are lists of metrics: those of the profiles, less Exclude, and Include.
type MetricProfiles struct {
	// AppendProfiles are lists that come with Kuma; those of all policies come together. Default: All.
	AppendProfiles []MetricProfile `json:"appendProfiles,omitzero"`
	// Exclude takes metrics away.
	Exclude []MetricSelector `json:"exclude,omitzero"`
	// Include adds metrics, excluded ones too.
	Include []MetricSelector `json:"include,omitzero"`
}

// MetricProfile is a list of metrics.
type MetricProfile struct {
	// Name of the list. Required.
	Name MetricProfileName `json:"name" check:"required"`
}

// MetricProfileName is the name of a list of metrics.
type MetricProfileName string

// Enum returns the allowed words. Basic is what the dashboards of Kuma show.
func (MetricProfileName) Enum() []string { return []string{"All", "Basic", "None"} }

// MetricSelector selects metrics by name.
type MetricSelector struct {
	// Type is how Match is compared with the name. Required.
	Type MetricSelectorType `json:"type" check:"required"`
	// Match to compare with. Required.
	Match string `json:"match" check:"required"`
}

// MetricSelectorType is how a name is compared.
type MetricSelectorType string

const (
	MetricPrefix   MetricSelectorType = "Prefix"
	MetricRegex    MetricSelectorType = "Regex" // RE2, for a part of the name
	MetricExact    MetricSelectorType = "Exact"
	MetricContains MetricSelectorType = "Contains"
)

// Enum returns the allowed words.
func (MetricSelectorType) Enum() []string {
	return []string{string(MetricPrefix), string(MetricRegex), string(MetricExact), string(MetricContains)}
}

// MetricApplication is where an application gives its metrics.
type MetricApplication struct {
	// Name is a label of the metrics. Default: none.
	Name *string `json:"name,omitempty"`
	// Path of the metrics. Default: /metrics.
	Path *string `json:"path,omitempty" check:"default=/metrics"`
	// Address of the application. Default: the one of the proxy.
	Address *string `json:"address,omitempty"`
	// Port of the metrics. 1 to 65535. Required.
	Port uint32 `json:"port" check:"required,min=1,max=65535"`
}

// MetricBackend is who gets the metrics. The object that its type names must be given.
type MetricBackend struct {
	// Type says how they are handed over. Required.
	Type MetricBackendType `json:"type" check:"required"`
	// Prometheus is for type Prometheus.
	Prometheus *MetricPrometheus `json:"prometheus,omitempty"`
	// OpenTelemetry is for type OpenTelemetry.
	OpenTelemetry *MetricOpenTelemetry `json:"openTelemetry,omitempty"`
}

// MetricBackendType is how metrics are handed over.
type MetricBackendType string

const (
	MetricByPrometheus    MetricBackendType = "Prometheus"    // the proxy answers who asks
	MetricByOpenTelemetry MetricBackendType = "OpenTelemetry" // the proxy sends
)

// Enum returns the allowed words. To Prometheus the proxy gives metrics when asked, to OpenTelemetry it sends them.
func (MetricBackendType) Enum() []string {
	return []string{string(MetricByPrometheus), string(MetricByOpenTelemetry)}
}

// MetricPrometheus is where a proxy gives its metrics to who asks.
type MetricPrometheus struct {
	// ClientID narrows the conf to the Prometheus that calls itself so. Default: all.
	ClientID *string `json:"clientId,omitempty"`
	// Port of the metrics. 1 to 65535. Default: 5670.
	Port *uint32 `json:"port,omitempty" check:"default=5670,min=1,max=65535"`
	// Path of the metrics. Default: /metrics.
	Path *string `json:"path,omitempty" check:"default=/metrics"`
	// TLS of the port. Default: none.
	TLS *MetricTLS `json:"tls,omitempty"`
}

// MetricTLS is TLS of the port of the metrics.
type MetricTLS struct {
	// Mode says whose certificate is used. Default: Disabled.
	Mode MetricTLSMode `json:"mode,omitempty" check:"default=Disabled"`
}

// MetricTLSMode says whose certificate is used.
type MetricTLSMode string

// Enum returns the allowed words: no TLS, a certificate that is given to the proxy in its own settings, the one that it
// has in the mesh.
func (MetricTLSMode) Enum() []string {
	return []string{"Disabled", "ProvidedTLS", "ActiveMTLSBackend"}
}

// MetricOpenTelemetry is where a proxy sends its metrics.
type MetricOpenTelemetry struct {
	// Endpoint of the collector: host:port, without a scheme. Required.
	Endpoint string `json:"endpoint" check:"required"`
	// RefreshInterval is the time between two sendings. Default: 1m.
	RefreshInterval *resource.Duration `json:"refreshInterval,omitempty"`
}

func (s *MeshMetric) validate(c *check) {
	c.target(s.TargetRef, false)
	conf, at := s.Default, "spec.default"
	if conf.Sidecar != nil && conf.Sidecar.Profiles != nil {
		c.metricSelectors(at+".sidecar.profiles.exclude", conf.Sidecar.Profiles.Exclude)
		c.metricSelectors(at+".sidecar.profiles.include", conf.Sidecar.Profiles.Include)
	}
	for i, b := range conf.Backends {
		at := item(at+".backends", i)
		switch b.Type {
		case MetricByPrometheus:
			c.selected(at, "prometheus", b.Prometheus != nil, b.Type)
		case MetricByOpenTelemetry:
			c.selected(at, "openTelemetry", b.OpenTelemetry != nil, b.Type)
			if b.OpenTelemetry != nil {
				c.endpoint(at+".openTelemetry.endpoint", b.OpenTelemetry.Endpoint)
			}
		}
	}
}

func (c *check) metricSelectors(at string, selectors []MetricSelector) {
	for i, s := range selectors {
		if s.Type != MetricRegex {
			continue
		}
		if _, err := regexp.Compile(s.Match); err != nil {
			c.report(item(at, i)+".match", "found %q, want a regular expression (RE2): %v", s.Match, err)
		}
	}
}

// endpoint checks the address of a collector.
func (c *check) endpoint(at, text string) {
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		c.report(at, "found %q, want host:port: write %s without %s://", text, rest, scheme)
	} else if looseURL(text) == nil {
		c.report(at, "found %q, want host:port", text)
	}
}
