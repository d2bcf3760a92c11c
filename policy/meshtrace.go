package policy

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

var meshTrace = Type{
	Kind: "MeshTrace", Single: true,
	matrix: matrix{
		top:       []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		systemTop: []RefKind{kindGateway},
	},
	spec: func() spec { return &MeshTrace{} },
}

// MeshTrace makes the proxies report the way of requests through the mesh.
type MeshTrace struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// Default is the conf; an explicit null removes what weaker policies gave. Required, as Backends is.
	Default TraceConf `json:"default,omitzero" check:"patch"`
}

// TraceConf is the conf of a MeshTrace.
type TraceConf struct {
	// Backends is who gets the traces, at most one. Required; an empty list switches tracing off.
	Backends []TraceBackend `json:"backends,omitzero"`
	// Sampling is how many requests are traced.
	Sampling *TraceSampling `json:"sampling,omitempty"`
	// Tags are added to each span.
	Tags []TraceTag `json:"tags,omitzero"`
}

// TraceBackend is who gets the traces. The object that its type names must be given.
type TraceBackend struct {
	// Type is the protocol of the collector. Required.
	Type TraceBackendType `json:"type" check:"required"`
	// Zipkin is for type Zipkin.
	Zipkin *TraceZipkin `json:"zipkin,omitempty"`
	// Datadog is for type Datadog.
	Datadog *TraceDatadog `json:"datadog,omitempty"`
	// OpenTelemetry is for type OpenTelemetry.
	OpenTelemetry *TraceOpenTelemetry `json:"openTelemetry,omitempty"`
}

// TraceBackendType is the protocol of a collector.
type TraceBackendType string

const (
	TraceByZipkin        TraceBackendType = "Zipkin"
	TraceByDatadog       TraceBackendType = "Datadog"
	TraceByOpenTelemetry TraceBackendType = "OpenTelemetry"
)

// Enum returns the allowed words.
func (TraceBackendType) Enum() []string {
	return []string{string(TraceByZipkin), string(TraceByDatadog), string(TraceByOpenTelemetry)}
}

// TraceZipkin is a collector of Zipkin.
type TraceZipkin struct {
	// URL of the collector. Required.
	URL string `json:"url" check:"required"`
	// TraceID128Bit makes trace ids 128 bits long instead of 64. Default: false.
	TraceID128Bit *bool `json:"traceId128bit,omitempty" check:"default=false"`
	// SharedSpanContext lets client and server share one span. Default: true.
	SharedSpanContext *bool `json:"sharedSpanContext,omitempty" check:"default=true"`
	// APIVersion is the encoding of the spans. Default: httpJson.
	APIVersion ZipkinAPI `json:"apiVersion,omitempty" check:"default=httpJson"`
}

// ZipkinAPI is the encoding of spans for Zipkin.
type ZipkinAPI string

// Enum returns the allowed words.
func (ZipkinAPI) Enum() []string { return []string{"httpJson", "httpProto"} }

// TraceDatadog is an agent of Datadog.
type TraceDatadog struct {
	// URL of the agent: http://host:port, and nothing more. Required.
	URL string `json:"url" check:"required"`
	// SplitService reports each service that a proxy talks to as one of its own. Default: false.
	SplitService *bool `json:"splitService,omitempty" check:"default=false"`
}

// TraceOpenTelemetry is a collector of OpenTelemetry.
type TraceOpenTelemetry struct {
	// Endpoint of the collector: host or host:port. Default of the port: 4317. Required.
	Endpoint string `json:"endpoint" check:"required"`
}

// TraceSampling is how many requests are traced. Each is a percentage from 0 to 100, with decimals if it is a text.
type TraceSampling struct {
	// Overall bounds the percentage of requests that are traced, whatever the reason. Default: 100.
	Overall *resource.IntOrString `json:"overall,omitempty"`
	// Client is the percentage of those requests to be traced for which the client asks by header. Default: 100.
	Client *resource.IntOrString `json:"client,omitempty"`
	// Random is the percentage of other requests that are traced. Default: 100.
	Random *resource.IntOrString `json:"random,omitempty"`
}

// TraceTag is a tag of each span. One of Literal and Header must be given.
type TraceTag struct {
	// Name of the tag. Required.
	Name string `json:"name" check:"required"`
	// Literal is its value.
	Literal *string `json:"literal,omitempty"`
	// Header has its value.
	Header *TraceHeader `json:"header,omitempty"`
}

// TraceHeader is a header of the request, whose value becomes that of a tag.
type TraceHeader struct {
	// Name of the header. Required.
	Name string `json:"name" check:"required"`
	// Default is the value where there is no such header. Default: no tag.
	Default *string `json:"default,omitempty"`
}

func (s *MeshTrace) validate(c *check) {
	c.target(s.TargetRef, false)
	conf, at := s.Default, "spec.default"
	switch {
	case conf.Backends == nil && !c.nulls[at+".backends"]:
		c.report(at+".backends", "must be given; an empty list switches tracing off")
	default:
		c.atMost(at+".backends", len(conf.Backends), 1)
	}
	for i, b := range conf.Backends {
		b.validate(c, item(at+".backends", i))
	}
	if p := conf.Sampling; p != nil {
		c.percent(at+".sampling.overall", p.Overall)
		c.percent(at+".sampling.client", p.Client)
		c.percent(at+".sampling.random", p.Random)
	}
	for i, t := range conf.Tags {
		at := item(at+".tags", i)
		c.notEmpty(at+".name", t.Name)
		if (t.Literal == nil) == (t.Header == nil) {
			c.report(at, "want one of literal and header")
		}
	}
}

func (b TraceBackend) validate(c *check, at string) {
	switch b.Type {
	case TraceByZipkin:
		c.selected(at, "zipkin", b.Zipkin != nil, b.Type)
		if b.Zipkin != nil && looseURL(b.Zipkin.URL) == nil {
			c.report(at+".zipkin.url", "found %q, want a URL such as http://zipkin:9411/api/v2/spans", b.Zipkin.URL)
		}
	case TraceByDatadog:
		c.selected(at, "datadog", b.Datadog != nil, b.Type)
		if b.Datadog != nil {
			c.agentURL(at+".datadog.url", b.Datadog.URL)
		}
	case TraceByOpenTelemetry:
		c.selected(at, "openTelemetry", b.OpenTelemetry != nil, b.Type)
		if b.OpenTelemetry != nil {
			c.notEmpty(at+".openTelemetry.endpoint", b.OpenTelemetry.Endpoint)
		}
	}
}

// agentURL checks a URL that may say nothing but http, host and port.
func (c *check) agentURL(at, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" {
		c.report(at, "found %q, want a URL such as http://agent:8126", text)
		return
	}
	var wrong []string
	for _, rule := range []struct {
		broken bool
		what   string
	}{
		{u.Scheme != "http", "the scheme must be http"},
		{!isPort(u.Port()), "there must be a port from 1 to 65535"},
		{u.User != nil, "there must be no user"},
		{u.Path != "", "there must be no path"},
		{u.RawQuery != "" || u.ForceQuery, "there must be no query"},
		{u.Fragment != "", "there must be no fragment"},
		{u.Opaque != "", "there must be // after the scheme"},
	} {
		if rule.broken {
			wrong = append(wrong, rule.what)
		}
	}
	if len(wrong) > 0 {
		c.report(at, "found %q, want a URL such as http://agent:8126: %s", text, strings.Join(wrong, ", "))
	}
}

func isPort(text string) bool {
	n, ok := number(text)
	return ok && n >= 1 && n <= 65535 && text == strconv.FormatUint(uint64(n), 10)
}

var hostName = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$`)

// looseURL parses a URL that may lack its scheme: host, host:port and so on. nil if it is none.
func looseURL(text string) *url.URL {
	if !strings.Contains(text, "://") {
		text = "//" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Port() == "" && strings.HasSuffix(u.Host, ":") || u.Port() != "" && !isPort(u.Port()) {
		return nil
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && !hostName.MatchString(u.Hostname()) {
		return nil
	}
	return u
}
