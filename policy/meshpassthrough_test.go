package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeshPassthrough(t *testing.T) {
	t.Parallel()
	const at = "spec.default.appendMatch"
	matches := func(list string) string { return "{default: {appendMatch: [" + list + "]}}" }
	testSpecs(t, "MeshPassthrough", map[string]specCase{
		"nothing":          {"{}", nil},
		"an empty conf":    {"{default: {}}", nil},
		"every mode":       {"{default: {passthroughMode: None, appendMatch: []}}", nil},
		"nulls":            {"{default: {passthroughMode: null, appendMatch: null}}", nil},
		"an unknown mode":  {"{default: {passthroughMode: Some}}", []string{"spec.default.passthroughMode"}},
		"every match":      {matches("{type: Domain, value: a.example.com, protocol: tls}, {type: Domain, value: '*.a.com', protocol: tls}, {type: Domain, value: '*', protocol: http, port: 80}, {type: Domain, value: a, protocol: http}, {type: IP, value: 10.0.0.1}, {type: IP, value: '::1', protocol: mysql, port: 3306}, {type: CIDR, value: 10.0.0.0/8, protocol: grpc}, {type: CIDR, value: 'fd00::/8'}"), nil},
		"no parts":         {matches("{}"), below(at, "[0].type", "[0].value")},
		"unknown words":    {matches("{type: Host, value: a}, {type: IP, value: 1.1.1.1, protocol: udp}"), below(at, "[0].type", "[1].protocol")},
		"ports":            {matches("{type: IP, value: 1.1.1.1, port: 0}, {type: IP, value: 1.1.1.2, port: 65536}"), below(at, "[0].port", "[1].port")},
		"no host names":    {matches("{type: Domain, value: '*foo.com', protocol: tls}, {type: Domain, value: a..b, protocol: tls}, {type: Domain, value: '', protocol: tls}, {type: Domain, value: a b, protocol: tls}, {type: Domain, value: 'a.*.b', protocol: tls}, {type: Domain, value: 1.2.3.4, protocol: tls}"), below(at, "[0].value", "[1].value", "[2].value", "[3].value", "[4].value", "[5].value")},
		"no addresses":     {matches("{type: IP, value: a}, {type: IP, value: 10.0.0.0/8}, {type: CIDR, value: 10.0.0.1}, {type: CIDR, value: 10.0.0.0/33}"), below(at, "[0].value", "[1].value", "[2].value", "[3].value")},
		"a host over tcp":  {matches("{type: Domain, value: a.com}, {type: Domain, value: b.com, protocol: tcp}, {type: Domain, value: c.com, protocol: mysql, port: 1}"), below(at, "[0].protocol", "[1].protocol", "[2].protocol")},
		"mysql anywhere":   {matches("{type: IP, value: 1.1.1.1, protocol: mysql}"), below(at, "[0].port")},
		"wildcards":        {matches("{type: Domain, value: '*.a.com', protocol: http}, {type: Domain, value: '*.b.com', protocol: grpc}, {type: Domain, value: '*', protocol: http2}, {type: Domain, value: '*.c.com', protocol: tls}"), below(at, "[0].port", "[1].port", "[2].port")},
		"a bad wildcard":   {matches("{type: Domain, value: '*a.com', protocol: http}"), below(at, "[0].value", "[0].port")},
		"one port":         {matches("{type: IP, value: 1.1.1.1, port: 80, protocol: http}, {type: IP, value: 1.1.1.2, port: 80, protocol: http}, {type: IP, value: 1.1.1.3, port: 80, protocol: tcp}, {type: IP, value: 1.1.1.3, port: 81, protocol: grpc}"), nil},
		"one port for two": {matches("{type: IP, value: 1.1.1.1, port: 80, protocol: http}, {type: IP, value: 1.1.1.2, port: 80, protocol: grpc}, {type: IP, value: 1.1.1.3, port: 81}, {type: IP, value: 1.1.1.4, port: 81, protocol: http2}"), below(at, "[1].port", "[3].port")},
		"the same twice":   {matches("{type: IP, value: 1.1.1.1, port: 80}, {type: IP, value: 1.1.1.1, port: 81}, {type: IP, value: 1.1.1.1, port: 80, protocol: tls}, {type: IP, value: 1.1.1.1, port: 80, protocol: tcp}, {type: IP, value: 2.2.2.2}, {type: IP, value: 2.2.2.2}"), below(at, "[3].value", "[5].value")},
		"a service":        {"{targetRef: {kind: MeshService, name: x}, default: {}}", []string{"spec.targetRef.kind"}},
		"a gateway":        {"{targetRef: {kind: MeshGateway, name: x}, default: {}}", []string{"spec.targetRef.kind"}},
	})
}

func TestMeshPassthroughGetsItsDefaults(t *testing.T) {
	t.Parallel()
	got := canonical(t, "MeshPassthrough", "{default: {appendMatch: [{type: IP, value: 1.1.1.1}]}}")
	assert.JSONEq(t, `{"default":{"appendMatch":[{"type":"IP","value":"1.1.1.1","protocol":"tcp"}]}}`, got)
}
