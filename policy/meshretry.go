package policy

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/meridian-mesh/meridian/resource"
)

var meshRetry = Type{
	Kind: "MeshRetry", To: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane, kindHTTPRoute},
		systemTop:    []RefKind{kindGateway, kindHTTPRoute},
		listenerTags: true,
		to:           []RefKind{kindMesh, kindService, kindExternal, kindMultiZone},
		toAtGateway:  []RefKind{kindMesh, kindExternal},
		need:         []string{"to"},
	},
	spec: func() spec { return &MeshRetry{} },
}

// MeshRetry makes the proxies try again what failed.
type MeshRetry struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is the services that are tried again; at least one item.
	To []Peer[RetryConf] `json:"to,omitempty"`
}

// RetryConf is the conf of a MeshRetry. One of its fields must be given; the one that fits the protocol of the service
// is used.
type RetryConf struct {
	// TCP is about connections.
	TCP *TCPRetry `json:"tcp,omitempty"`
	// HTTP is about requests.
	HTTP *HTTPRetry `json:"http,omitempty"`
	// GRPC is about calls.
	GRPC *GRPCRetry `json:"grpc,omitempty"`
}

// TCPRetry says how often to connect.
type TCPRetry struct {
	// MaxConnectAttempt is how many times to try in all; at least 1. Required.
	MaxConnectAttempt *uint32 `json:"maxConnectAttempt,omitempty" check:"min=1"`
}

// HTTPRetry says which requests to repeat, and how. One field other than HostSelectionMaxAttempts must be given.
type HTTPRetry struct {
	// NumRetries is how many times to repeat a request; 0: never. Default: 1.
	NumRetries *uint32 `json:"numRetries,omitempty"`
	// PerTryTimeout limits each try; at least 0. Default: the timeout of the request, for all tries together.
	PerTryTimeout *resource.Duration `json:"perTryTimeout,omitempty"`
	// BackOff is the time between two tries.
	BackOff *BackOff `json:"backOff,omitempty"`
	// RateLimitedBackOff is that time when the service says that it is asked too often.
	RateLimitedBackOff *RateLimitedBackOff `json:"rateLimitedBackOff,omitempty"`
	// RetryOn is what to repeat a request for: 5xx, GatewayError, Reset, Retriable4xx, ConnectFailure, EnvoyRatelimited,
	// RefusedStream, Http3PostConnectFailure, or a status code such as "429"; HttpMethodGet and its like (Connect,
	// Delete, Head, Options, Patch, Post, Put, Trace) narrow it to methods. Default: GatewayError, ConnectFailure,
	// RefusedStream.
	RetryOn []string `json:"retryOn,omitzero"`
	// RetriableResponseHeaders repeats requests whose answer has one of these.
	RetriableResponseHeaders []HeaderMatch `json:"retriableResponseHeaders,omitzero"`
	// RetriableRequestHeaders repeats only requests that have one of these.
	RetriableRequestHeaders []HeaderMatch `json:"retriableRequestHeaders,omitzero"`
	// HostSelection says which instances are not asked again.
	HostSelection []HostSelection `json:"hostSelection,omitzero"`
	// HostSelectionMaxAttempts is how many times to choose an instance that HostSelection accepts. Default: 1.
	HostSelectionMaxAttempts *int64 `json:"hostSelectionMaxAttempts,omitempty"`
}

// GRPCRetry says which calls to repeat, and how. One of its fields must be given.
type GRPCRetry struct {
	// NumRetries is how many times to repeat a call; 0: never. Default: 1.
	NumRetries *uint32 `json:"numRetries,omitempty"`
	// PerTryTimeout limits each try; at least 0. Default: the timeout of the call, for all tries together.
	PerTryTimeout *resource.Duration `json:"perTryTimeout,omitempty"`
	// BackOff is the time between two tries.
	BackOff *BackOff `json:"backOff,omitempty"`
	// RateLimitedBackOff is that time when the service says that it is asked too often.
	RateLimitedBackOff *RateLimitedBackOff `json:"rateLimitedBackOff,omitempty"`
	// RetryOn is what to repeat a call for. Default: all of them, and failures of the connection.
	RetryOn []GRPCRetryOn `json:"retryOn,omitzero"`
}

// GRPCRetryOn is a status of gRPC.
type GRPCRetryOn string

// Enum returns the allowed words.
func (GRPCRetryOn) Enum() []string {
	return []string{"Canceled", "DeadlineExceeded", "Internal", "ResourceExhausted", "Unavailable"}
}

// BackOff is a time that doubles with each try. One of its fields must be given.
type BackOff struct {
	// BaseInterval is the first. Above 0. Default: 25ms.
	BaseInterval *resource.Duration `json:"baseInterval,omitempty"`
	// MaxInterval is the longest. Above 0. Default: ten times BaseInterval.
	MaxInterval *resource.Duration `json:"maxInterval,omitempty"`
}

// RateLimitedBackOff takes the time from a header of the answer.
type RateLimitedBackOff struct {
	// ResetHeaders is the headers to look at; the first that is there counts. Required.
	ResetHeaders []ResetHeader `json:"resetHeaders,omitzero"`
	// MaxInterval is the longest time to wait. Above 0. Default: 300s.
	MaxInterval *resource.Duration `json:"maxInterval,omitempty"`
}

// ResetHeader is a header that says when to try again.
type ResetHeader struct {
	// Name of the header, in lower case; 1 to 256 characters. Required.
	Name string `json:"name" check:"required"`
	// Format of its value. Required.
	Format ResetFormat `json:"format" check:"required"`
}

// ResetFormat is how a header writes a time.
type ResetFormat string

// Enum returns the allowed words: how many seconds to wait, or the seconds since 1970 at which to try again.
func (ResetFormat) Enum() []string { return []string{"Seconds", "UnixTimestamp"} }

// HostSelection leaves instances out when a request is repeated.
type HostSelection struct {
	// Predicate says which: those that were tried, those with Tags, or all of a priority that was tried. Required.
	Predicate HostPredicate `json:"predicate" check:"required"`
	// Tags of the instances to leave out. Required with OmitHostsWithTags.
	Tags map[string]string `json:"tags,omitzero"`
	// UpdateFrequency is after how many tries the priorities are looked at anew, with OmitPreviousPriorities; at least
	// 1 there. Default: 2.
	UpdateFrequency int32 `json:"updateFrequency,omitempty" check:"default=2"`
}

// HostPredicate says which instances are left out.
type HostPredicate string

const (
	omitTagged     HostPredicate = "OmitHostsWithTags"
	omitPriorities HostPredicate = "OmitPreviousPriorities"
)

// Enum returns the allowed words.
func (HostPredicate) Enum() []string {
	return []string{"OmitPreviousHosts", string(omitTagged), string(omitPriorities)}
}

func (s *MeshRetry) validate(c *check) {
	checkLists(c, s.TargetRef, s.To, nil, nil, checkRetry)
}

func checkRetry(c *check, at string, conf *RetryConf) {
	c.oneOf(at, conf.TCP != nil || conf.HTTP != nil || conf.GRPC != nil, "tcp", "http", "grpc")
	if conf.TCP != nil && conf.TCP.MaxConnectAttempt == nil {
		c.oneOf(at+".tcp", false, "maxConnectAttempt")
	}
	if h := conf.HTTP; h != nil {
		at := at + ".http"
		c.oneOf(at, h.NumRetries != nil || h.PerTryTimeout != nil || h.BackOff != nil || h.RateLimitedBackOff != nil || h.RetryOn != nil ||
			h.RetriableResponseHeaders != nil || h.RetriableRequestHeaders != nil || h.HostSelection != nil,
			"numRetries", "perTryTimeout", "backOff", "rateLimitedBackOff", "retryOn", "retriableResponseHeaders", "retriableRequestHeaders", "hostSelection")
		c.tries(at, h.PerTryTimeout, h.BackOff, h.RateLimitedBackOff)
		for i, on := range h.RetryOn {
			c.retryOn(item(at+".retryOn", i), on)
		}
		c.headerMatches(at+".retriableResponseHeaders", h.RetriableResponseHeaders)
		c.headerMatches(at+".retriableRequestHeaders", h.RetriableRequestHeaders)
		c.hostSelection(at+".hostSelection", h.HostSelection)
	}
	if g := conf.GRPC; g != nil {
		at := at + ".grpc"
		c.oneOf(at, g.NumRetries != nil || g.PerTryTimeout != nil || g.BackOff != nil || g.RateLimitedBackOff != nil || g.RetryOn != nil,
			"numRetries", "perTryTimeout", "backOff", "rateLimitedBackOff", "retryOn")
		c.tries(at, g.PerTryTimeout, g.BackOff, g.RateLimitedBackOff)
	}
}

// tries checks what HTTP and gRPC have in common.
func (c *check) tries(at string, perTry *resource.Duration, b *BackOff, limited *RateLimitedBackOff) {
	c.duration(at, "perTryTimeout", perTry, zeroAllowed)
	if b != nil {
		at := at + ".backOff"
		c.oneOf(at, b.BaseInterval != nil || b.MaxInterval != nil, "baseInterval", "maxInterval")
		c.duration(at, "baseInterval", b.BaseInterval, zeroRefused)
		c.duration(at, "maxInterval", b.MaxInterval, zeroRefused)
	}
	if limited != nil {
		at := at + ".rateLimitedBackOff"
		c.required(at, "resetHeaders", limited.ResetHeaders != nil)
		for i, h := range limited.ResetHeaders {
			c.headerName(item(at+".resetHeaders", i)+".name", h.Name)
		}
		c.duration(at, "maxInterval", limited.MaxInterval, zeroRefused)
	}
}

var retryOnWords = []string{
	"5xx", "GatewayError", "Reset", "Retriable4xx", "ConnectFailure", "EnvoyRatelimited", "RefusedStream", "Http3PostConnectFailure",
	"HttpMethodConnect", "HttpMethodDelete", "HttpMethodGet", "HttpMethodHead", "HttpMethodOptions", "HttpMethodPatch",
	"HttpMethodPost", "HttpMethodPut", "HttpMethodTrace",
}

func (c *check) retryOn(at, on string) {
	if slices.Contains(retryOnWords, on) {
		return
	}
	if code, err := strconv.Atoi(on); err == nil && http.StatusText(code) != "" && on == strconv.Itoa(code) {
		return
	}
	reason := fmt.Sprintf(`found %q, want 5xx, GatewayError, Reset, Retriable4xx, ConnectFailure, EnvoyRatelimited, RefusedStream, Http3PostConnectFailure, HttpMethodGet and its like, or a standard status code such as "429"`, on)
	if near := resource.Nearest(on, retryOnWords); near != "" {
		reason += "; did you mean " + near + "?"
	}
	c.report(at, "%s", reason)
}

func (c *check) hostSelection(at string, list []HostSelection) {
	seen := false
	for i, h := range list {
		at := item(at, i)
		switch h.Predicate {
		case omitTagged:
			if len(h.Tags) == 0 {
				c.report(at+".tags", "must be given with predicate %s", omitTagged)
			}
		case omitPriorities:
			if seen {
				c.report(at+".predicate", "%s must not be given twice", omitPriorities)
			}
			seen = true
			if h.UpdateFrequency <= 0 {
				c.report(at+".updateFrequency", "found %d, want a whole number above 0", h.UpdateFrequency)
			}
		}
	}
}
