package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// routeTo puts an item about a service into a spec with a top-level targetRef; rules is the JSON of the rules.
func routeTo(rules string) string {
	return "{to: [{targetRef: {kind: MeshService, name: a}, rules: " + rules + "}]}"
}

func gatewayRoute(rules string) string {
	return "{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, rules: " + rules + "}]}"
}

func TestMeshHTTPRoute(t *testing.T) {
	t.Parallel()
	const (
		item    = "spec.to[0]"
		rule    = item + ".rules[0]"
		match   = rule + ".matches[0]"
		conf    = rule + ".default"
		filter  = conf + ".filters[0]"
		slash   = "{path: {type: PathPrefix, value: /}}"
		backend = "{kind: MeshService, name: b, port: 80}"
	)
	matches := func(list string) string { return routeTo("[{matches: " + list + ", default: {}}]") }
	one := func(match string) string { return matches("[" + match + "]") }
	rules := func(conf string) string { return routeTo("[{matches: [" + slash + "], default: " + conf + "}]") }
	filters := func(list string) string { return rules("{filters: [" + list + "]}") }
	gateway := func(conf string) string { return gatewayRoute("[{matches: [" + slash + "], default: " + conf + "}]") }
	headers := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("{name: h%d, value: v}", i))
		}
		return strings.Join(all, ", ")
	}
	testSpecs(t, "MeshHTTPRoute", map[string]specCase{
		"nothing":       {"{}", nil},
		"no items":      {"{to: []}", nil},
		"no rules":      {routeTo("[]"), nil},
		"rules missing": {"{to: [{targetRef: {kind: MeshService, name: a}}]}", []string{item + ".rules"}},
		"a default":     {"{to: [{targetRef: {kind: MeshService, name: a}, rules: [], default: {}}]}", []string{item + ".default"}},
		"every part": {routeTo(`[{matches: [
			{path: {type: Exact, value: /a}, method: GET, queryParams: [{type: Exact, name: q, value: ""}, {type: RegularExpression, name: r, value: .*}], headers: [{name: x, value: y}, {type: Present, name: z}, {type: Absent, name: w}, {type: Prefix, name: v, value: u}, {type: RegularExpression, name: s, value: .*}]},
			{path: {type: PathPrefix, value: /b/c}}, {path: {type: RegularExpression, value: .*}}, {}],
			default: {filters: [
			{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], add: [{name: c, value: d}], remove: [E]}},
			{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x]}},
			{type: RequestRedirect, requestRedirect: {scheme: https, hostname: a.example.com, port: 65535, statusCode: 308, path: {type: ReplaceFullPath, replaceFullPath: /}}},
			{type: URLRewrite, urlRewrite: {hostname: b, path: {type: ReplaceFullPath, replaceFullPath: ""}}},
			{type: RequestMirror, requestMirror: {percentage: "0.5", backendRef: {kind: MeshServiceSubset, name: c, tags: {v: "1"}}}}],
			backendRefs: [{kind: MeshService, name: b, port: 80, weight: 0}, {kind: MeshServiceSubset, name: c}, {kind: MeshExternalService, name: e}, {kind: MeshMultiZoneService, labels: {x: y}, port: 1}, {kind: MeshService, name: kuma.io/unresolved-backend}]}}]`), nil},

		"a rule without its parts":       {routeTo("[{}]"), []string{rule + ".matches", rule + ".default"}},
		"no matches":                     {matches("[]"), []string{rule + ".matches"}},
		"a path without its parts":       {one("{path: {}}"), below(match, ".path.type", ".path.value")},
		"an empty path":                  {matches(`[{path: {type: Exact, value: ""}}, {path: {type: PathPrefix, value: ""}}, {path: {type: RegularExpression, value: ""}}]`), below(rule, ".matches[0].path.value", ".matches[1].path.value", ".matches[2].path.value")},
		"a relative path":                {matches("[{path: {type: Exact, value: a}}, {path: {type: PathPrefix, value: a}}]"), below(rule, ".matches[0].path.value", ".matches[1].path.value")},
		"an exact path ends with /":      {one("{path: {type: Exact, value: /a/}}"), nil},
		"a prefix ends with /":           {one("{path: {type: PathPrefix, value: /a/}}"), below(match, ".path.value")},
		"an unknown method":              {one("{method: get}"), below(match, ".method")},
		"a parameter without its parts":  {one("{queryParams: [{}]}"), below(match, ".queryParams[0].type", ".queryParams[0].name", ".queryParams[0].value")},
		"a parameter twice":              {one("{queryParams: [{type: Exact, name: a, value: b}, {type: Exact, name: c, value: b}, {type: RegularExpression, name: a, value: c}]}"), below(match, ".queryParams[2].name")},
		"a value of nothing":             {one("{headers: [{type: Present, name: a, value: b}, {type: Absent, name: a, value: b}, {type: Exact, name: a, value: b}]}"), below(match, ".headers[0].value", ".headers[1].value")},
		"names of headers":               {one("{headers: [{name: A}, {name: ''}, {name: 'a b'}, {name: " + strings.Repeat("a", 257) + "}, {name: " + strings.Repeat("a", 256) + "}, {}]}"), below(match, ".headers[0].name", ".headers[1].name", ".headers[2].name", ".headers[3].name", ".headers[5].name")},
		"host names without a gateway":   {"{to: [{targetRef: {kind: MeshService, name: a}, hostnames: [a.com], rules: []}]}", below(item, ".hostnames")},
		"host names at a gateway":        {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, hostnames: [a.com], rules: []}]}", nil},
		"no destination at a gateway":    {gateway("{}"), below(conf, ".backendRefs")},
		"a redirect at a gateway":        {gateway("{filters: [{type: RequestRedirect, requestRedirect: {}}]}"), nil},
		"another filter at a gateway":    {gateway("{filters: [{type: URLRewrite, urlRewrite: {}}]}"), below(conf, ".backendRefs")},
		"a destination at a gateway":     {gateway("{backendRefs: [" + backend + "]}"), nil},
		"a service at a gateway":         {"{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: MeshService, name: a}, rules: []}]}", below(item, ".targetRef.kind")},
		"destinations":                   {rules("{backendRefs: [{kind: Mesh}, {kind: MeshService}, {kind: MeshService, name: a/b}, {kind: MeshMultiZoneService, name: a}, {kind: MeshExternalService, name: a, sectionName: b}, {kind: MeshServiceSubset, name: a, labels: {b: c}}, {name: x}, {kind: MeshService, name: a, weight: -1}]}"), below(conf, ".backendRefs[0].kind", ".backendRefs[1].name", ".backendRefs[2].name", ".backendRefs[3].port", ".backendRefs[4].sectionName", ".backendRefs[5].labels", ".backendRefs[6].kind", ".backendRefs[7].weight")},
		"filters without their object":   {filters("{type: RequestHeaderModifier}, {type: ResponseHeaderModifier}, {type: RequestRedirect}, {type: URLRewrite}, {type: RequestMirror}, {}, {type: Nope}"), below(conf, ".filters[0].requestHeaderModifier", ".filters[1].responseHeaderModifier", ".filters[2].requestRedirect", ".filters[3].urlRewrite", ".filters[4].requestMirror", ".filters[5].type", ".filters[6].type")},
		"a filter with another's object": {filters("{type: URLRewrite, requestRedirect: {}}"), below(filter, ".urlRewrite")},
		"modifiers without content":      {filters("{type: RequestHeaderModifier, requestHeaderModifier: {}}, {type: ResponseHeaderModifier, responseHeaderModifier: {}}"), below(conf, ".filters[0].requestHeaderModifier", ".filters[1].responseHeaderModifier")},
		"a header twice":                 {filters("{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: a, value: b}, {name: a, value: c}], add: [{name: a, value: b}, {name: b, value: b}], remove: [B, c]}}"), below(filter, ".responseHeaderModifier.set[1].name", ".responseHeaderModifier.add[0].name", ".responseHeaderModifier.remove[0]")},
		"a header in capitals":           {filters("{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}], add: [{name: B, value: b}]}}"), below(filter, ".requestHeaderModifier.set[0].name", ".requestHeaderModifier.add[0].name")},
		"sixteen headers":                {filters("{type: RequestHeaderModifier, requestHeaderModifier: {set: [" + headers(16) + "]}}"), nil},
		"too many headers":               {filters("{type: RequestHeaderModifier, requestHeaderModifier: {set: [" + headers(17) + "], remove: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]}}"), below(filter, ".requestHeaderModifier.set", ".requestHeaderModifier.remove")},
		"a redirect":                     {filters("{type: RequestRedirect, requestRedirect: {scheme: ftp, hostname: 10.0.0.1, port: 0, statusCode: 304}}, {type: RequestRedirect, requestRedirect: {hostname: A.com, port: 65536}}, {type: RequestRedirect, requestRedirect: {hostname: '*.com'}}, {type: RequestRedirect, requestRedirect: {hostname: '::1'}}"), below(conf, ".filters[0].requestRedirect.scheme", ".filters[0].requestRedirect.hostname", ".filters[0].requestRedirect.port", ".filters[0].requestRedirect.statusCode", ".filters[1].requestRedirect.hostname", ".filters[1].requestRedirect.port", ".filters[2].requestRedirect.hostname", ".filters[3].requestRedirect.hostname")},
		"a long host name":               {filters("{type: URLRewrite, urlRewrite: {hostname: " + strings.Repeat("a.", 127) + "a}}"), below(filter, ".urlRewrite.hostname")},
		"a prefix replaced":              {filters("{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}, {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}"), nil},
		"no prefix to replace": {
			routeTo("[{matches: [" + slash + ", {path: {type: Exact, value: /}}], default: {filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}}, {matches: [{}], default: {filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}}]"),
			below(item, ".rules[0].default.filters[0].requestRedirect.path.replacePrefixMatch", ".rules[1].default.filters[0].urlRewrite.path.replacePrefixMatch"),
		},
		"a rewrite to nothing":              {filters("{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replacePrefixMatch: /}}}, {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replaceFullPath: /}}}, {type: URLRewrite, urlRewrite: {path: {}}}"), below(conf, ".filters[0].requestRedirect.path.replaceFullPath", ".filters[1].urlRewrite.path.replacePrefixMatch", ".filters[2].urlRewrite.path.type")},
		"a host name of a rewrite":          {filters("{type: URLRewrite, urlRewrite: {hostname: a_b}}"), below(filter, ".urlRewrite.hostname")},
		"the host of a backend":             {filters("{type: URLRewrite, urlRewrite: {hostToBackendHostname: true}}, {type: URLRewrite, urlRewrite: {hostToBackendHostname: false}}"), below(filter, ".urlRewrite.hostToBackendHostname")},
		"the host of a backend at gateways": {gateway("{backendRefs: [" + backend + "], filters: [{type: URLRewrite, urlRewrite: {hostToBackendHostname: true}}, {type: URLRewrite, urlRewrite: {hostToBackendHostname: true, hostname: a}}]}"), below(conf, ".filters[1].urlRewrite.hostToBackendHostname")},
		"a mirror without its parts":        {filters("{type: RequestMirror, requestMirror: {}}"), below(filter, ".requestMirror.backendRef")},
		"mirrors":                           {filters("{type: RequestMirror, requestMirror: {percentage: 101, backendRef: {kind: MeshMultiZoneService, name: a, port: 1}}}, {type: RequestMirror, requestMirror: {percentage: x, backendRef: {kind: MeshService}}}, {type: RequestMirror, requestMirror: {backendRef: {kind: MeshExternalService, name: e}}}"), below(conf, ".filters[0].requestMirror.percentage", ".filters[0].requestMirror.backendRef.kind", ".filters[1].requestMirror.percentage", ".filters[1].requestMirror.backendRef.name", ".filters[2].requestMirror.backendRef.kind")},
	})
}

func TestMeshHTTPRouteGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshHTTPRoute", routeTo("[{matches: [{headers: [{name: a, value: b}]}], default: {backendRefs: [{kind: MeshService, name: a}], filters: [{type: RequestRedirect, requestRedirect: {}}, {type: RequestMirror, requestMirror: {backendRef: {kind: MeshService, name: c}}}]}}]"))
	assert.JSONEq(t, `{"to":[{"targetRef":{"kind":"MeshService","name":"a"},"rules":[{
		"matches":[{"headers":[{"type":"Exact","name":"a","value":"b"}]}],
		"default":{"backendRefs":[{"kind":"MeshService","name":"a","weight":1}],"filters":[
			{"type":"RequestRedirect","requestRedirect":{"statusCode":302}},
			{"type":"RequestMirror","requestMirror":{"backendRef":{"kind":"MeshService","name":"c","weight":1}}}]}}]}]}`, got)
}
