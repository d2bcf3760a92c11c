package policy

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

var meshAccessLog = Type{
	Kind: "MeshAccessLog", To: true, From: true, Rules: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		listenerTags: true,
		to:           []RefKind{kindMesh, kindService, kindExternal, kindMultiZone},
		toAtGateway:  []RefKind{kindMesh},
		from:         []RefKind{kindMesh},
		need:         []string{"to", "from", "rules"},
	},
	spec: func() spec { return &MeshAccessLog{} },
}

// MeshAccessLog says where the proxies write a line for each request, or each TCP connection.
type MeshAccessLog struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about traffic that the proxies send.
	To []Peer[AccessLogConf] `json:"to,omitempty"`
	// From is about traffic that the proxies take; its targetRef is always Mesh. Deprecated: use Rules.
	From []Peer[AccessLogConf] `json:"from,omitempty"`
	// Rules is about traffic that the proxies take. It excludes To and From.
	Rules []Rule[AccessLogConf] `json:"rules,omitempty"`
}

// AccessLogConf is the conf of a MeshAccessLog.
type AccessLogConf struct {
	// Backends is where the lines go: to each of them. An empty list switches the log off. Required.
	Backends []AccessLogBackend `json:"backends,omitzero"`
}

// AccessLogBackend is one place that lines go to; it has the object that Type names.
type AccessLogBackend struct {
	// Type of the backend. Required.
	Type AccessLogType `json:"type" check:"required"`
	// TCP sends the lines over a TCP connection.
	TCP *AccessLogTCP `json:"tcp,omitempty"`
	// File appends the lines to a file beside the proxy.
	File *AccessLogFile `json:"file,omitempty"`
	// OpenTelemetry sends the lines to a collector, by OTLP over gRPC.
	OpenTelemetry *AccessLogOTLP `json:"openTelemetry,omitempty"`
}

// AccessLogType is a kind of backend.
type AccessLogType string

// Enum returns the allowed words.
func (AccessLogType) Enum() []string { return []string{"Tcp", "File", "OpenTelemetry"} }

// AccessLogTCP is a TCP service that takes lines.
type AccessLogTCP struct {
	// Format of a line. Default: a format of the proxy's own, for HTTP or for TCP.
	Format *AccessLogFormat `json:"format,omitempty"`
	// Address of the service: host:port. Required.
	Address string `json:"address" check:"required"`
}

// AccessLogFile is a file that takes lines.
type AccessLogFile struct {
	// Format of a line. Default: a format of the proxy's own, for HTTP or for TCP.
	Format *AccessLogFormat `json:"format,omitempty"`
	// Path of the file, from the root; the proxy must be able to write there. Required.
	Path string `json:"path" check:"required"`
}

// AccessLogOTLP is a collector of OpenTelemetry.
type AccessLogOTLP struct {
	// Attributes of each record; their values may have placeholders such as %KUMA_MESH%.
	Attributes []AccessLogField `json:"attributes,omitzero"`
	// Body of each record: any value, with placeholders. Default: the line of the proxy's own format.
	Body any `json:"body,omitempty"`
	// Endpoint of the collector: host or host:port. Default of the port: 4317. Required.
	Endpoint string `json:"endpoint" check:"required"`
}

// AccessLogFormat is how a line looks; it has the field that Type names.
type AccessLogFormat struct {
	// Type of the format. Required.
	Type AccessLogFormatType `json:"type" check:"required"`
	// Plain is the line, with placeholders such as %START_TIME% and %KUMA_SOURCE_SERVICE%.
	Plain *string `json:"plain,omitempty"`
	// JSON is the fields of a line that is one JSON object; at least one.
	JSON []AccessLogField `json:"json,omitzero"`
	// OmitEmptyValues leaves a placeholder without a value out, where it would be "-". Default: false.
	OmitEmptyValues *bool `json:"omitEmptyValues,omitempty" check:"default=false"`
}

// AccessLogFormatType is a kind of format.
type AccessLogFormatType string

// Enum returns the allowed words.
func (AccessLogFormatType) Enum() []string { return []string{"Plain", "Json"} }

// AccessLogField is a named value of a line or a record.
type AccessLogField struct {
	// Key is the name.
	Key string `json:"key,omitempty"`
	// Value may have placeholders.
	Value string `json:"value,omitempty"`
}

func (s *MeshAccessLog) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, s.From, s.Rules, checkAccessLog)
}

func checkAccessLog(c *check, at string, conf *AccessLogConf) {
	switch {
	case !strings.HasPrefix(at, "spec.rules["):
		c.required(at, "backends", conf.Backends != nil)
	case conf.Backends == nil && !c.nulls[at+".backends"]:
		// No violation: Kuma does not look into rules, so it may have stored such a one.
		c.warn(resource.WarnNoEffect, at, "%s has no backends: it has no effect", at)
	}
	for i, b := range conf.Backends {
		at := item(at+".backends", i)
		switch b.Type {
		case "Tcp":
			if c.selected(at, "tcp", b.TCP != nil, b.Type); b.TCP != nil {
				c.address(at+".tcp.address", b.TCP.Address)
				c.accessLogFormat(at+".tcp.format", b.TCP.Format)
			}
		case "File":
			if c.selected(at, "file", b.File != nil, b.Type); b.File != nil {
				c.filePath(at+".file.path", b.File.Path)
				c.accessLogFormat(at+".file.format", b.File.Format)
			}
		case "OpenTelemetry":
			if c.selected(at, "openTelemetry", b.OpenTelemetry != nil, b.Type); b.OpenTelemetry != nil {
				c.notEmpty(at+".openTelemetry.endpoint", b.OpenTelemetry.Endpoint)
			}
		}
	}
}

func (c *check) accessLogFormat(at string, f *AccessLogFormat) {
	if f == nil {
		return
	}
	switch f.Type {
	case "Plain":
		if c.selected(at, "plain", f.Plain != nil, f.Type); f.Plain != nil {
			c.notEmpty(at+".plain", *f.Plain)
		}
	case "Json":
		if c.selected(at, "json", f.JSON != nil, f.Type); f.JSON != nil && len(f.JSON) == 0 {
			c.report(at+".json", "must have at least one item")
		}
		for i, field := range f.JSON {
			at := item(at+".json", i)
			c.notEmpty(at+".key", field.Key)
			c.notEmpty(at+".value", field.Value)
			// The proxy pastes both between quotes.
			if !json.Valid(fmt.Appendf(nil, `{"%s": "%s"}`, field.Key, field.Value)) {
				c.report(at, "key %q and value %q, each between quotes, are no JSON", field.Key, field.Value)
			}
		}
	}
}
