package policy

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

var meshHTTPRoute = Type{
	Kind: "MeshHTTPRoute", To: true,
	matrix: matrix{
		top:          []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		systemTop:    []RefKind{kindGateway},
		listenerTags: true,
		to:           []RefKind{kindService, kindExternal, kindMultiZone},
		toAtGateway:  []RefKind{kindMesh},
	},
	spec:      func() spec { return &MeshHTTPRoute{} },
	item:      httpRouteItem,
	merge:     mergeHTTPRoutes,
	traceable: traceableRoute,
}

// MeshHTTPRoute changes requests on their way to a service, and chooses where they go by what they say.
type MeshHTTPRoute struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// To is about requests that the proxies send, by destination.
	To []HTTPRouteTo `json:"to,omitempty"`
}

// HTTPRouteTo is an item of `to`: a destination, and the rules for requests to it.
//
// The rules of all policies for one destination come together: those of the strongest policy first, within a policy in
// the order they are written. Rules with equal matches become one, in the place of the strongest; it has the filters
// and the backendRefs of the strongest that gives any. Within one policy the first is the strongest.
type HTTPRouteTo struct {
	// TargetRef selects the destination: a MeshService, MeshExternalService or MeshMultiZoneService; Mesh if the
	// top-level targetRef is a MeshGateway. Required.
	TargetRef TargetRef `json:"targetRef" check:"required"`
	// Hostnames narrows the rules to requests for these hosts; only with a top-level targetRef of kind MeshGateway. Rules
	// of different hosts are not brought together. Default: every host.
	Hostnames []string `json:"hostnames,omitempty"`
	// Rules says what happens to which requests. Required, and may be empty.
	Rules []HTTPRouteRule `json:"rules" check:"required"`
}

// HTTPRouteRule is what happens to the requests that one of its matches selects. A request that no rule selects goes to
// the destination as it is.
type HTTPRouteRule struct {
	// Matches selects requests; one of them is enough. At least one.
	Matches []HTTPMatch `json:"matches" check:"required"`
	// Default is what happens to the requests. Required; without content they go to the destination as they are.
	Default HTTPRouteConf `json:"default" check:"required"`
}

// HTTPMatch selects requests; everything that it says must hold. The order of its fields and theirs is part of
// matchesHash.
type HTTPMatch struct {
	// Path of the request. Default: every path.
	Path *HTTPPathMatch `json:"path,omitempty"`
	// Method of the request. Default: every method.
	Method HTTPMethod `json:"method,omitempty"`
	// QueryParams of the request, each name once.
	QueryParams []HTTPQueryMatch `json:"queryParams,omitzero"`
	// Headers of the request.
	Headers []HeaderMatch `json:"headers,omitzero"`
}

// HTTPPathMatch selects requests by path.
type HTTPPathMatch struct {
	// Value to compare with: begins with / for Exact and PathPrefix, and does not end with one for PathPrefix, except for
	// / itself, which is every path. Required.
	Value string `json:"value" check:"required"`
	// Type is how Value is compared with the path. Required.
	Type HTTPPathMatchType `json:"type" check:"required"`
}

// HTTPPathMatchType is how a path is compared.
type HTTPPathMatchType string

const (
	PathExact             HTTPPathMatchType = "Exact"
	PathPrefix            HTTPPathMatchType = "PathPrefix"        // whole elements: /a is a prefix of /a and /a/b, not of /ab
	PathRegularExpression HTTPPathMatchType = "RegularExpression" // RE2, for the whole path
)

// Enum returns the allowed words.
func (HTTPPathMatchType) Enum() []string {
	return []string{string(PathExact), string(PathPrefix), string(PathRegularExpression)}
}

// HTTPMethod is the method of a request.
type HTTPMethod string

// Enum returns the allowed words.
func (HTTPMethod) Enum() []string {
	return []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
}

// HTTPQueryMatch selects requests by one parameter of the query.
type HTTPQueryMatch struct {
	// Type is how Value is compared with the parameter. Required.
	Type HTTPQueryMatchType `json:"type" check:"required"`
	// Name of the parameter. Required.
	Name string `json:"name" check:"required"`
	// Value to compare with. Required.
	Value string `json:"value" check:"required"`
}

// HTTPQueryMatchType is how a parameter is compared.
type HTTPQueryMatchType string

// Enum returns the allowed words. RegularExpression is RE2, for the whole value.
func (HTTPQueryMatchType) Enum() []string { return []string{"Exact", "RegularExpression"} }

// HTTPRouteConf is what happens to requests that a rule selects.
type HTTPRouteConf struct {
	// Filters change the request or the response, or answer in place of the destination; in this order.
	Filters []HTTPFilter `json:"filters,omitzero"`
	// BackendRefs are the destinations that the requests are shared among. Default: the destination of the item. Required
	// with a top-level targetRef of kind MeshGateway, unless a filter redirects.
	BackendRefs []BackendRef `json:"backendRefs,omitzero"`
}

// HTTPFilter is one change to requests or responses. The object that its type names must be given.
type HTTPFilter struct {
	// Type says what the filter does. Required.
	Type HTTPFilterType `json:"type" check:"required"`
	// RequestHeaderModifier changes headers on the way to the destination.
	RequestHeaderModifier *HTTPHeaderModifier `json:"requestHeaderModifier,omitempty"`
	// ResponseHeaderModifier changes headers on the way back.
	ResponseHeaderModifier *HTTPHeaderModifier `json:"responseHeaderModifier,omitempty"`
	// RequestRedirect answers with a redirect.
	RequestRedirect *HTTPRedirect `json:"requestRedirect,omitempty"`
	// URLRewrite changes host and path of the request.
	URLRewrite *HTTPRewrite `json:"urlRewrite,omitempty"`
	// RequestMirror sends a copy of the request somewhere else, and drops the answer.
	RequestMirror *HTTPMirror `json:"requestMirror,omitempty"`
}

// HTTPFilterType is what a filter does.
type HTTPFilterType string

const (
	FilterRequestHeaderModifier  HTTPFilterType = "RequestHeaderModifier"
	FilterResponseHeaderModifier HTTPFilterType = "ResponseHeaderModifier"
	FilterRequestRedirect        HTTPFilterType = "RequestRedirect"
	FilterURLRewrite             HTTPFilterType = "URLRewrite"
	FilterRequestMirror          HTTPFilterType = "RequestMirror"
)

// Enum returns the allowed words.
func (HTTPFilterType) Enum() []string {
	return []string{
		string(FilterRequestHeaderModifier), string(FilterResponseHeaderModifier), string(FilterRequestRedirect),
		string(FilterURLRewrite), string(FilterRequestMirror),
	}
}

// HTTPHeaderModifier changes headers. One of its fields must be given, and each header is in one of them, once.
type HTTPHeaderModifier struct {
	HeaderModifier
	// Remove names headers to take away; at most 16.
	Remove []string `json:"remove,omitzero"`
}

// HTTPRedirect is where a client is sent. What is not given stays as it is in the request.
type HTTPRedirect struct {
	// Scheme of the new URL.
	Scheme HTTPScheme `json:"scheme,omitempty"`
	// Hostname of the new URL: a host name in lower case, not an IP address.
	Hostname string `json:"hostname,omitempty"`
	// Path of the new URL.
	Path *HTTPPathRewrite `json:"path,omitempty"`
	// Port of the new URL. 1 to 65535.
	Port *uint32 `json:"port,omitempty" check:"min=1,max=65535"`
	// StatusCode of the answer: 301, 302, 303, 307 or 308. Default: 302.
	StatusCode *int32 `json:"statusCode,omitempty" check:"default=302"`
}

// HTTPScheme is the scheme of a URL.
type HTTPScheme string

// Enum returns the allowed words.
func (HTTPScheme) Enum() []string { return []string{"http", "https"} }

var redirectCodes = []int32{301, 302, 303, 307, 308}

// HTTPRewrite changes host and path of a request.
type HTTPRewrite struct {
	// Hostname replaces the host: a host name in lower case, not an IP address.
	Hostname string `json:"hostname,omitempty"`
	// Path replaces the path, or a part of it.
	Path *HTTPPathRewrite `json:"path,omitempty"`
	// HostToBackendHostname replaces the host by that of the destination which the request goes to; only with a top-level
	// targetRef of kind MeshGateway, and without Hostname. Default: false.
	HostToBackendHostname *bool `json:"hostToBackendHostname,omitempty"`
}

// HTTPPathRewrite is a new path. The field that its type names must be given.
type HTTPPathRewrite struct {
	// Type says what is replaced. Required.
	Type HTTPPathRewriteType `json:"type" check:"required"`
	// ReplaceFullPath takes the place of the path.
	ReplaceFullPath *string `json:"replaceFullPath,omitempty"`
	// ReplacePrefixMatch takes the place of the prefix that the rule matched; every match of the rule must be a
	// PathPrefix.
	ReplacePrefixMatch *string `json:"replacePrefixMatch,omitempty"`
}

// HTTPPathRewriteType is what part of a path is replaced.
type HTTPPathRewriteType string

const (
	ReplaceFullPath    HTTPPathRewriteType = "ReplaceFullPath"
	ReplacePrefixMatch HTTPPathRewriteType = "ReplacePrefixMatch"
)

// Enum returns the allowed words.
func (HTTPPathRewriteType) Enum() []string {
	return []string{string(ReplaceFullPath), string(ReplacePrefixMatch)}
}

// HTTPMirror is where copies of requests go.
type HTTPMirror struct {
	// Percentage of the requests that are copied. 0 to 100, with decimals if it is a text. Default: 100.
	Percentage *resource.IntOrString `json:"percentage,omitempty"`
	// BackendRef is where the copies go: of kind MeshService or MeshServiceSubset. Required.
	BackendRef BackendRef `json:"backendRef" check:"required"`
}

func (s *MeshHTTPRoute) validate(c *check) {
	c.target(s.TargetRef, false)
	for i, to := range s.To {
		at := c.toRef(i, to.TargetRef)
		for j, rule := range to.Rules {
			here := item(at+".rules", j)
			if len(rule.Matches) == 0 {
				c.report(here+".matches", "must have at least one item")
			}
			for k, m := range rule.Matches {
				m.validate(c, item(here+".matches", k))
			}
			rule.validate(c, here+".default")
		}
		if len(to.Hostnames) > 0 && !c.atGateway() {
			c.report(at+".hostnames", "must not be given unless the top-level targetRef is of kind %s", kindGateway)
		}
	}
}

func (m HTTPMatch) validate(c *check, at string) {
	if p := m.Path; p != nil {
		at := at + ".path.value"
		switch {
		case p.Value == "":
			c.report(at, "must not be empty")
		case p.Type == PathExact && p.Value[0] != '/':
			c.report(at, "found %q, want a path that begins with /", p.Value)
		case p.Type == PathPrefix && (p.Value[0] != '/' || len(p.Value) > 1 && strings.HasSuffix(p.Value, "/")):
			c.report(at, "found %q, want a path that begins with / and does not end with one", p.Value)
		}
	}
	seen := map[string]bool{}
	for i, q := range m.QueryParams {
		if seen[q.Name] {
			c.report(item(at+".queryParams", i)+".name", "found %q a second time, want each name once", q.Name)
		}
		seen[q.Name] = true
	}
	c.headerMatches(at+".headers", m.Headers)
	for i, h := range m.Headers {
		if h.Value != "" && (h.Type == HeaderPresent || h.Type == HeaderAbsent) {
			c.report(item(at+".headers", i)+".value", "must not be given with type %s", h.Type)
		}
	}
}

// validate checks the conf of a rule.
func (r HTTPRouteRule) validate(c *check, at string) {
	redirects := false
	for i, f := range r.Default.Filters {
		r.filter(c, item(at+".filters", i), f)
		redirects = redirects || f.Type == FilterRequestRedirect
	}
	if c.atGateway() && !redirects && len(r.Default.BackendRefs) == 0 {
		c.report(at+".backendRefs", "must have at least one item with a top-level targetRef of kind %s, unless a filter of type %s answers", kindGateway, FilterRequestRedirect)
	}
	for i, ref := range r.Default.BackendRefs {
		c.backendRef(item(at+".backendRefs", i), ref, backendKinds, true)
	}
}

func (r HTTPRouteRule) filter(c *check, at string, f HTTPFilter) {
	given := func(field string, ok bool) bool {
		c.selected(at, field, ok, f.Type)
		return ok
	}
	switch f.Type {
	case FilterRequestHeaderModifier:
		if m := f.RequestHeaderModifier; given("requestHeaderModifier", m != nil) {
			m.validate(c, at+".requestHeaderModifier")
		}
	case FilterResponseHeaderModifier:
		if m := f.ResponseHeaderModifier; given("responseHeaderModifier", m != nil) {
			m.validate(c, at+".responseHeaderModifier")
		}
	case FilterRequestRedirect:
		if d := f.RequestRedirect; given("requestRedirect", d != nil) {
			at := at + ".requestRedirect"
			c.preciseHostname(at+".hostname", d.Hostname)
			r.path(c, at+".path", d.Path)
			if d.StatusCode != nil && !slices.Contains(redirectCodes, *d.StatusCode) {
				c.report(at+".statusCode", "found %d, want one of 301, 302, 303, 307, 308", *d.StatusCode)
			}
		}
	case FilterURLRewrite:
		if w := f.URLRewrite; given("urlRewrite", w != nil) {
			at := at + ".urlRewrite"
			c.preciseHostname(at+".hostname", w.Hostname)
			r.path(c, at+".path", w.Path)
			switch {
			case w.HostToBackendHostname == nil || !*w.HostToBackendHostname:
			case !c.atGateway():
				c.report(at+".hostToBackendHostname", "must not be given unless the top-level targetRef is of kind %s", kindGateway)
			case w.Hostname != "":
				c.report(at+".hostToBackendHostname", "must not be given together with hostname")
			}
		}
	case FilterRequestMirror:
		if m := f.RequestMirror; given("requestMirror", m != nil) {
			at := at + ".requestMirror"
			c.percent(at+".percentage", m.Percentage)
			c.backendRef(at+".backendRef", m.BackendRef, mirrorKinds, true)
		}
	}
}

// path checks the new path of a redirect or a rewrite.
func (r HTTPRouteRule) path(c *check, at string, p *HTTPPathRewrite) {
	switch {
	case p == nil:
	case p.Type == ReplaceFullPath:
		c.selected(at, "replaceFullPath", p.ReplaceFullPath != nil, p.Type)
	case p.Type == ReplacePrefixMatch:
		c.selected(at, "replacePrefixMatch", p.ReplacePrefixMatch != nil, p.Type)
		if p.ReplacePrefixMatch != nil && slices.ContainsFunc(r.Matches, func(m HTTPMatch) bool { return m.Path == nil || m.Path.Type != PathPrefix }) {
			c.report(at+".replacePrefixMatch", "must not be given unless the path of every match of the rule is a %s", PathPrefix)
		}
	}
}

func (m *HTTPHeaderModifier) validate(c *check, at string) {
	if m.Set == nil && m.Add == nil && m.Remove == nil {
		c.report(at, "one of set, add, remove must be given")
		return
	}
	c.headerModifier(at, &m.HeaderModifier)
	c.atMost(at+".remove", len(m.Remove), maxHeaders)
	seen := map[string]bool{}
	once := func(at, name string) {
		name = strings.ToLower(name)
		if seen[name] {
			c.report(at, "found %q a second time, want each header once in set, add and remove together", name)
		}
		seen[name] = true
	}
	for i, h := range m.Set {
		once(item(at+".set", i)+".name", h.Name)
	}
	for i, h := range m.Add {
		once(item(at+".add", i)+".name", h.Name)
	}
	for i, name := range m.Remove {
		once(item(at+".remove", i), name)
	}
}

var dns1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// preciseHostname checks a host name without wildcards; "" is left out.
func (c *check) preciseHostname(at, name string) {
	const longest = 253
	_, err := netip.ParseAddr(name)
	switch {
	case name == "":
	case err == nil:
		c.report(at, "found %q, want a host name, not an IP address", name)
	case len(name) > longest:
		c.report(at, "has %d characters, want at most %d", len(name), longest)
	case !dns1123.MatchString(name):
		c.report(at, "found %q, want a host name: lower-case letters, digits, and - within the parts between the dots", name)
	}
}
