package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshTrace(t *testing.T) {
	t.Parallel()
	const (
		d       = "spec.default"
		backend = d + ".backends[0]"
	)
	conf := func(conf string) string { return "{default: " + conf + "}" }
	one := func(backend string) string { return conf("{backends: [" + backend + "]}") }
	zipkin := func(url string) string { return one("{type: Zipkin, zipkin: {url: '" + url + "'}}") }
	datadog := func(url string) string { return one("{type: Datadog, datadog: {url: '" + url + "'}}") }
	testSpecs(t, "MeshTrace", map[string]specCase{
		"every part":       {conf("{backends: [{type: Zipkin, zipkin: {url: 'http://zipkin.svc:9411/api/v2/spans', traceId128bit: true, sharedSpanContext: false, apiVersion: httpProto}}], sampling: {overall: 25, client: '0.5', random: 100}, tags: [{name: a, literal: ''}, {name: b, header: {name: x}}, {name: c, header: {name: x, default: y}}]}"), nil},
		"off":              {conf("{backends: []}"), nil},
		"a null":           {conf("{backends: null, sampling: {overall: null}, tags: null}"), nil},
		"an agent":         {datadog("http://agent:8126"), nil},
		"a collector":      {one("{type: OpenTelemetry, openTelemetry: {endpoint: 'otel:4317'}}"), nil},
		"a short URL":      {zipkin("zipkin:9411"), nil},
		"a URL by address": {zipkin("http://10.0.0.1/x"), nil},

		"nothing":                 {"{}", []string{d + ".backends"}},
		"an empty conf":           {conf("{}"), []string{d + ".backends"}},
		"only sampling":           {conf("{sampling: {overall: 5}}"), []string{d + ".backends"}},
		"two backends":            {conf("{backends: [{type: Zipkin}, {type: OpenTelemetry, openTelemetry: {endpoint: a}}]}"), below(d, ".backends", ".backends[0].zipkin")},
		"no type":                 {one("{}"), []string{backend + ".type"}},
		"no object of Datadog":    {one("{type: Datadog, zipkin: {url: 'http://a'}}"), []string{backend + ".datadog"}},
		"no object of OTel":       {one("{type: OpenTelemetry}"), []string{backend + ".openTelemetry"}},
		"objects without content": {one("{type: Zipkin, zipkin: {}, datadog: {}, openTelemetry: {}}"), below(backend, ".zipkin.url", ".datadog.url", ".openTelemetry.endpoint")},
		"no URL of Zipkin":        {zipkin(""), []string{backend + ".zipkin.url"}},
		"a bad URL of Zipkin":     {zipkin("http://a b"), []string{backend + ".zipkin.url"}},
		"a URL without a host":    {zipkin("http:///spans"), []string{backend + ".zipkin.url"}},
		"a word of Zipkin":        {one("{type: Zipkin, zipkin: {url: 'http://a', apiVersion: httpXml}}"), []string{backend + ".zipkin.apiVersion"}},
		"an empty endpoint":       {one("{type: OpenTelemetry, openTelemetry: {endpoint: ''}}"), []string{backend + ".openTelemetry.endpoint"}},
		"an empty agent":          {datadog(""), []string{backend + ".datadog.url"}},
		"an agent without scheme": {datadog("agent:8126"), []string{backend + ".datadog.url"}},
		"an agent over https":     {datadog("https://agent:8126"), []string{backend + ".datadog.url"}},
		"an agent without port":   {datadog("http://agent"), []string{backend + ".datadog.url"}},
		"the port of an agent":    {datadog("http://agent:70000"), []string{backend + ".datadog.url"}},
		"the user of an agent":    {datadog("http://u@agent:1"), []string{backend + ".datadog.url"}},
		"the path of an agent":    {datadog("http://agent:1/"), []string{backend + ".datadog.url"}},
		"the query of an agent":   {datadog("http://agent:1?a=b"), []string{backend + ".datadog.url"}},
		"the anchor of an agent":  {datadog("http://agent:1#a"), []string{backend + ".datadog.url"}},
		"an opaque agent":         {datadog("http:agent"), []string{backend + ".datadog.url"}},
		"shares":                  {conf("{backends: [], sampling: {overall: 101, client: x, random: '-1'}}"), below(d+".sampling", ".overall", ".client", ".random")},
		"tags":                    {conf("{backends: [], tags: [{name: ''}, {name: a, literal: b, header: {name: c}}, {name: a, header: {}}, {literal: a}]}"), below(d+".tags", "[0].name", "[0]", "[1]", "[2].header.name", "[3].name")},
		"tags of listeners":       {"{targetRef: {kind: MeshGateway, name: g, tags: {a: b}}, default: {backends: []}}", []string{"spec.targetRef.tags"}},
	})
}

func TestTheURLOfAnAgentSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	_, _, err := readSpec("MeshTrace", "", "{default: {backends: [{type: Datadog, datadog: {url: 'https://u@dd/x'}}]}}")
	assert.ErrorContains(t, err, `found "https://u@dd/x", want a URL such as http://agent:8126: the scheme must be http, there must be a port from 1 to 65535, there must be no user, there must be no path`)
}

func TestMeshTraceGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshTrace", "{default: {backends: [{type: Zipkin, zipkin: {url: 'http://a'}}]}}")
	assert.JSONEq(t, `{"default":{"backends":[{"type":"Zipkin","zipkin":{"url":"http://a","apiVersion":"httpJson","sharedSpanContext":true,"traceId128bit":false}}]}}`, got)
	got = canonical(t, "MeshTrace", "{default: {backends: [{type: Datadog, datadog: {url: 'http://a:1'}}]}}")
	assert.JSONEq(t, `{"default":{"backends":[{"type":"Datadog","datadog":{"url":"http://a:1","splitService":false}}]}}`, got)
}
