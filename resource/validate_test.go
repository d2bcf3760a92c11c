package resource_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// violations reads a document that has the right shape, and returns "field: reason" of all that is wrong with it.
func violations(t *testing.T, doc string) []string {
	t.Helper()
	_, err := testSchemas().Read("", []byte(doc), resource.ReadOptions{})
	if err == nil {
		return nil
	}
	var out []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, rest, ok := strings.Cut(line, ": ")
		require.True(t, ok, line)
		out = append(out, rest)
	}
	return out
}

func TestMeshRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, spec string
		want       []string
	}{
		{"everything", `
mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin, mode: STRICT, dpCert: {rotation: {expiration: 12h}}, conf: {caCert: {RSAbits: 2048, expiration: 10y}}}]}
meshServices: {mode: Exclusive}
networking: {outbound: {passthrough: false}}
routing: {zoneEgress: true, localityAwareLoadBalancing: true}
constraints: {dataplaneProxy: {restrictions: [{tags: {kuma.io/zone: forbidden}}], requirements: [{tags: {a: "*"}}]}}
logging: {defaultBackend: f, backends: [{name: f, type: file, conf: {path: /tmp/x}}, {name: t, type: tcp, conf: {address: "logs:5000"}}]}
tracing: {backends: [{name: z, type: zipkin, sampling: 99.9, conf: {url: "http://z:9411/api"}}, {name: d, type: datadog, conf: {address: d.example, port: 8126}}]}
metrics: {enabledBackend: p, backends: [{name: p, type: prometheus, conf: {port: 5670, skipMTLS: true, tls: {mode: disabled}, aggregate: [{name: a}, {name: b}]}}]}`, nil},
		{"backends", `
mtls:
  enabledBackend: nope
  backends:
  - {name: a, type: builtin, dpCert: {rotation: {expiration: 5x}}}
  - {name: a, type: vault}
logging: {defaultBackend: filee, backends: [{type: carrier}, {name: file, type: file, conf: {path: /a}}]}
tracing: {backends: [{name: a, type: zipkin, sampling: 101, conf: {url: "http://a:1"}}]}`, []string{
			`mtls.enabledBackend: there is no backend "nope", only a`,
			`mtls.backends: has 2 backends, want at most 1`,
			`mtls.backends[0].dpCert.rotation.expiration: found "5x", want a whole number and one of y, w, d, h, m, s, ms, such as 24h`,
			`mtls.backends[1].name: "a" is the name of mtls.backends[0] too`,
			`mtls.backends[1].type: found "vault", want one of builtin, provided`,
			`logging.backends[0].name: must be given`,
			`logging.backends[0].type: found "carrier", want one of file, tcp`,
			`logging.defaultBackend: there is no backend "filee"; did you mean file?`,
			`tracing.backends[0].sampling: found 101, want a percentage from 0 to 100`,
		}},
		{"certificates", "mtls: {backends: [{name: A b, type: builtin, dpCert: {requestTimeout: 1s}, conf: {caCert: {RSAbits: 0.5, expiration: 5}}}]}", []string{
			`mtls.backends[0].conf.caCert.RSAbits: want a whole number`,
			`mtls.backends[0].conf.caCert.expiration: want a text such as 10y`,
			`mtls.backends[0].dpCert.rotation.expiration: must be given with dpCert: a whole number and a unit, such as 24h`,
			`mtls.backends[0].name: found "A b": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last; with the mesh at most 236 characters`,
		}},
		{"a shape that is no object", "mtls: {backends: [{name: a, type: builtin, conf: {caCert: 5}}]}", []string{`mtls.backends[0].conf.caCert: want an object`}},
		{"provided certificates", `
mtls:
  backends:
  - {name: a, type: provided, conf: {cert: {secret: a, file: b}, key: {}}}
  - {name: b, type: provided, conf: {cert: {inline: "?"}, key: {inlineString: ""}}}
  - {name: c, type: provided, conf: {cert: {inlineString: public}, key: {inlineString: private}}}
  - {name: d, type: provided, conf: {cert: {secret: a}, key: {file: b}}}
  - {name: e, type: provided}`, []string{
			`mtls.backends: has 5 backends, want at most 1`,
			`mtls.backends[0].conf.cert: has 2 sources: want one of secret, file, inline, inlineString`,
			`mtls.backends[0].conf.key: must be given: want one of secret, file, inline, inlineString`,
			`mtls.backends[1].conf.cert.inline: want a text in base64`,
			`mtls.backends[1].conf.key.inlineString: want a text that is not empty`,
			`mtls.backends[2].conf: cert and key are no certificate and its private key in PEM`,
			`mtls.backends[4].conf.cert: must be given: want one of secret, file, inline, inlineString`,
			`mtls.backends[4].conf.key: must be given: want one of secret, file, inline, inlineString`,
		}},
		{"certificates that are not to be checked", "mtls: {skipValidation: true, backends: [{name: a, type: provided}]}", nil},
		{"conf of logs and traces", `
logging:
  backends:
  - {name: a, type: file}
  - {name: b, type: tcp}
  - {name: c, type: tcp, conf: {address: host}}
  - {name: d, type: tcp, conf: {address: "host:0"}}
tracing:
  backends:
  - {name: a, type: zipkin}
  - {name: b, type: zipkin, conf: {url: "http://host/path"}}
  - {name: c, type: datadog}
  - {name: d, type: datadog, conf: {address: a b, port: 70000}}`, []string{
			`logging.backends[0].conf.path: must be given`,
			`logging.backends[1].conf.address: must be given`,
			`logging.backends[2].conf.address: found "host", want a host and a port, such as logstash:5000`,
			`logging.backends[3].conf.address: found "host:0", want a host and a port, such as logstash:5000`,
			`tracing.backends[0].conf.url: must be given`,
			`tracing.backends[1].conf.url: found "http://host/path", want a URL with a port, such as http://zipkin:9411/api/v2/spans`,
			`tracing.backends[2].conf.address: must be given`,
			`tracing.backends[2].conf.port: found 0, want a port from 1 to 65535`,
			`tracing.backends[3].conf.address: found "a b", want an IP address or a DNS name`,
			`tracing.backends[3].conf.port: found 70000, want a port from 1 to 65535`,
		}},
		{"conf of metrics", `
metrics:
  enabledBackend: b
  backends:
  - {name: a, type: prometheus, conf: {skipMTLS: true, tls: {mode: activeMTLSBackend}, envoy: {filterRegex: "("}, aggregate: [{name: a}, {name: a}]}}
  - {name: a, type: statsd}`, []string{
			`metrics.enabledBackend: there is no backend "b", only a`,
			"metrics.backends[0].conf.aggregate[1].name: \"a\" is the name of aggregate[0] too",
			"metrics.backends[0].conf.envoy.filterRegex: found \"(\", want a regular expression: error parsing regexp: missing closing ): `(`",
			`metrics.backends[0].conf.skipMTLS: found true, but tls.mode is activeMTLSBackend: give one of them`,
			`metrics.backends[1].name: "a" is the name of metrics.backends[0] too`,
			`metrics.backends[1].type: found "statsd", want prometheus`,
		}},
		{"routing", "routing: {zoneEgress: true}\nmtls: {enabledBackend: a}", []string{`mtls.enabledBackend: there is no backend "a"`}},
		{"egress without mTLS", "routing: {zoneEgress: true}", []string{`routing.zoneEgress: needs mtls.enabledBackend: an egress serves encrypted traffic only`}},
		{"constraints", `constraints: {dataplaneProxy: {requirements: [{}, {tags: {"a b": x, c: "**", d: ""}}]}}`, []string{
			`constraints.dataplaneProxy.requirements[0].tags: must have at least one tag`,
			`constraints.dataplaneProxy.requirements[1].tags["a b"]: the key is "a b": want letters, digits, ".", "_", "-", ":" and "/"`,
			`constraints.dataplaneProxy.requirements[1].tags["c"]: found "**": want letters, digits, ".", "_", "-", ":" and "/", or "*" alone`,
			`constraints.dataplaneProxy.requirements[1].tags["d"]: found "": want letters, digits, ".", "_", "-", ":" and "/", or "*" alone`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, violations(t, "type: Mesh\nname: x\n"+c.spec))
		})
	}
}

func TestProvidedAuthoritiesAreChecked(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range []struct {
		name  string
		isCA  bool
		usage x509.KeyUsage
		want  []string
	}{
		{"an authority", true, x509.KeyUsageCertSign, nil},
		{"a server", false, x509.KeyUsageKeyAgreement, []string{
			"mtls.backends[0].conf.cert: is not the certificate of an authority: want the basic constraint CA:true",
			"mtls.backends[0].conf.cert: must have the key usage keyCertSign",
			"mtls.backends[0].conf.cert: must not have the key usage keyAgreement",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cert := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: c.isCA, KeyUsage: c.usage, BasicConstraintsValid: true}
			der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
			require.NoError(t, err)
			certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			doc, err := json.Marshal(map[string]any{"type": "Mesh", "name": "x", "mtls": map[string]any{"backends": []any{map[string]any{
				"name": "a", "type": "provided", "conf": map[string]any{"cert": map[string]any{"inline": certPEM}, "key": map[string]any{"inlineString": string(keyPEM)}},
			}}}})
			require.NoError(t, err)
			assert.Equal(t, c.want, violations(t, string(doc)))
		})
	}
}

func TestDataplaneRules(t *testing.T) {
	t.Parallel()
	const wantTag = `want letters, digits, ".", "_", "-" and ":"`
	for _, c := range []struct {
		name, spec string
		want       []string
	}{
		{"sidecar", `
networking:
  address: 10.1.0.5
  advertisedAddress: anything at all
  inbound:
  - {port: 8080, servicePort: 9090, name: http, tags: {kuma.io/service: api, kuma.io/protocol: http, version: v1}}
  - {port: 81, address: "::1", serviceAddress: 127.0.0.1, tags: {kuma.io/service: a}, serviceProbe: {interval: 1s, tcp: {}}}
  outbound:
  - {port: 10001, tags: {kuma.io/service: a}}
  - {port: 10002, address: 127.0.0.2, backendRef: {kind: MeshExternalService, labels: {a: b}}}
  admin: {port: 9901}
  transparentProxying: {reachableBackends: {refs: [{kind: MeshService, name: a, namespace: b, port: 80}]}}
probes: {port: 9000, endpoints: [{inboundPort: 80, inboundPath: /a, path: /b}]}`, nil},
		{"delegated gateway", "networking: {address: gw.example.com, gateway: {tags: {kuma.io/service: a, kuma.io/protocol: tcp}}, outbound: [{port: 1, tags: {kuma.io/service: b}}]}", nil},
		{"builtin gateway", "networking: {address: fd00::1, gateway: {type: BUILTIN, tags: {kuma.io/service: a}}}", nil},
		{"nothing", "probes: {port: 1}", []string{`networking: must be given`}},
		{"no inbound", "networking: {}", []string{`networking: has no inbound: want at least one, or a gateway`, `networking.address: must be given`}},
		{"inbounds and outbounds", `
networking:
  address: 0.0.0.0
  inbound:
  - {port: 0, tags: {kuma.io/protocol: htp}}
  - {port: 80, address: 10.0.0.300, serviceAddress: host, tags: {kuma.io/service: "", "a b": c, d: "e f"}}
  - {port: 81, address: 10.0.0.1, serviceAddress: 10.0.0.1, servicePort: 81, tags: {kuma.io/service: a}}
  - {port: 81, servicePort: 70000, tags: {kuma.io/service: a}, serviceProbe: {interval: 0s, timeout: -1s, unhealthyThreshold: 0, healthyThreshold: 0}}
  outbound:
  - {port: 1, backendRef: {kind: Mesh}}
  - {port: 70000}
  - {port: 3, tags: {a: b}}
  - {port: 4, tags: {kuma.io/service: a}, backendRef: {kind: MeshService, name: q, port: 3}}
  - {port: 5, address: localhost, tags: {kuma.io/service: a b}}
  - {port: 6, backendRef: {kind: MeshServices, name: A, port: 1}}`, []string{
			`networking.address: found 0.0.0.0, which no other proxy can reach: want the address of this proxy`,
			`networking.inbound[0].port: found 0, want a port from 1 to 65535`,
			`networking.inbound[0].tags["kuma.io/protocol"]: found "htp", want one of grpc, http, http2, kafka, mysql, tcp, tls; did you mean http?`,
			`networking.inbound[0].tags["kuma.io/service"]: must be given`,
			`networking.inbound[1].address: found "10.0.0.300", want an IP address`,
			`networking.inbound[1].serviceAddress: found "host", want an IP address`,
			`networking.inbound[1].tags["a b"]: the key is "a b": want letters, digits, ".", "_", "-", ":" and "/"`,
			`networking.inbound[1].tags["d"]: found "e f": ` + wantTag,
			`networking.inbound[1].tags["kuma.io/service"]: the value must not be empty`,
			`networking.inbound[2].serviceAddress: with servicePort it is the address that the proxy itself listens on: want another address or port`,
			`networking.inbound[3].servicePort: found 70000, want a port from 1 to 65535`,
			`networking.inbound[3].serviceProbe.healthyThreshold: must be greater than zero`,
			`networking.inbound[3].serviceProbe.interval: must be greater than zero`,
			`networking.inbound[3].serviceProbe.timeout: must be greater than zero`,
			`networking.inbound[3].serviceProbe.unhealthyThreshold: must be greater than zero`,
			`networking.outbound[0].backendRef.kind: found "Mesh", want one of MeshExternalService, MeshMultiZoneService, MeshService`,
			`networking.outbound[0].backendRef.name: must be given, or labels`,
			`networking.outbound[0].backendRef.port: found 0, want a port from 1 to 65535`,
			`networking.outbound[1].port: found 70000, want a port from 1 to 65535`,
			`networking.outbound[1].tags: want a backendRef, or the tag kuma.io/service`,
			`networking.outbound[2].tags: want a backendRef, or the tag kuma.io/service`,
			`networking.outbound[3].backendRef: must not be given with tags`,
			`networking.outbound[4].address: found "localhost", want an IP address`,
			`networking.outbound[4].tags["kuma.io/service"]: found "a b": ` + wantTag,
			`networking.outbound[5].backendRef.kind: found "MeshServices", want one of MeshExternalService, MeshMultiZoneService, MeshService; did you mean MeshService?`,
		}},
		{"builtin gateway with what it cannot have", `
networking:
  address: 10.0.0.1
  gateway: {type: BUILTIN, tags: {kuma.io/protocol: http}}
  inbound: [{port: 1, tags: {kuma.io/service: a}}]
  outbound: [{port: 1, tags: {kuma.io/service: b}}]
probes: {port: 0}`, []string{
			`networking.gateway.tags["kuma.io/protocol"]: found "http", want tcp`,
			`networking.gateway.tags["kuma.io/service"]: must be given`,
			`networking.inbound: must not be given with networking.gateway`,
			`networking.outbound: must not be given with a builtin gateway`,
			`probes: must not be given with a builtin gateway`,
		}},
		{"the rest", `
networking:
  address: bad host!
  inbound: [{port: 80, address: 127.0.0.1, tags: {kuma.io/service: a}}]
  outbound: [{port: 80, tags: {kuma.io/service: a}}]
  admin: {port: 80}
  transparentProxying:
    reachableBackends:
      refs:
      - {kind: Dataplane, name: A_b}
      - {kind: MeshService}
      - {kind: MeshService, namespace: x}
      - {kind: MeshService, name: x, labels: {a: b}}
      - {kind: MeshService, namespace: x, labels: {a: b}, port: 0}
probes: {port: 9000, endpoints: [{inboundPort: 0, inboundPath: no slash, path: ""}]}`, []string{
			`networking.address: found "bad host!", want an IP address or a DNS name`,
			`networking.admin.port: is the port of networking.inbound[0] on 127.0.0.1 too`,
			`networking.admin.port: is the port of networking.outbound[0] on 127.0.0.1 too`,
			`networking.transparentProxying.reachableBackends.refs[0].kind: found "Dataplane", want one of MeshExternalService, MeshMultiZoneService, MeshService`,
			`networking.transparentProxying.reachableBackends.refs[0].name: found "A_b": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
			`networking.transparentProxying.reachableBackends.refs[1].name: must be given, or labels`,
			`networking.transparentProxying.reachableBackends.refs[2].name: must be given, or labels`,
			`networking.transparentProxying.reachableBackends.refs[3].labels: must not be given with name`,
			`networking.transparentProxying.reachableBackends.refs[4].labels: must not be given with namespace`,
			`probes.endpoints[0].inboundPath: found "no slash", want a path that begins with "/"`,
			`probes.endpoints[0].inboundPort: found 0, want a port from 1 to 65535`,
			`probes.endpoints[0].path: found "", want a path that begins with "/"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, violations(t, "type: Dataplane\nname: x\n"+c.spec))
		})
	}
}

func TestMeshServiceRules(t *testing.T) {
	t.Parallel()
	assert.Nil(t, violations(t, "type: MeshService\nname: "+strings.Repeat("a", 63)+"\nlabels: {k8s.kuma.io/namespace: demo}\nspec: {}"), "the namespace does not count")
	assert.Equal(t, []string{"name: has 64 characters, want at most 63: it becomes a part of host names"},
		violations(t, "type: MeshService\nname: "+strings.Repeat("a", 64)+"\nspec: {}"))
	assert.Equal(t, []string{
		`spec.ports[0].port: found the number -1, want a whole number from 0 to 4294967295`,
		`spec.ports[1].port: must be given`,
		`spec.identities[0].type: found the text "SpiffeID", want ServiceTag`,
		`spec.identities[0].value: must be given`,
		`spec.state: found the text "available", want one of Available, Unavailable; did you mean Available?`,
	}, violations(t, "type: MeshService\nname: x\nspec:\n  ports:\n  - port: -1\n  - name: a\n  identities:\n  - type: SpiffeID\n  state: available"))
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, doc string
		want      []string
	}{
		{"MeshMultiZoneService", "spec: {selector: {meshService: {matchLabels: {a: b}}}, ports: [{port: 0, name: http}]}", nil},
		{"MeshMultiZoneService", "spec: {}", []string{"spec.ports: must be given", "spec.selector: must be given"}},
		{"MeshMultiZoneService", "spec: {selector: {meshService: {matchLabels: {}}}, ports: [{port: 1, name: '', appProtocol: mysql}]}", []string{
			`spec.ports[0].appProtocol: found "mysql", want one of grpc, http, http2, kafka, tcp`,
			"spec.ports[0].name: must not be empty; leave it out to name the port by its number",
			"spec.selector.meshService.matchLabels: must have at least one label",
		}},
		{"MeshMultiZoneService", "spec: {selector: {meshService: {matchLabels: {a: b}}}, ports: []}", []string{"spec.ports: must have at least one port"}},

		{"MeshExternalService", `
spec:
  match: {port: 443, protocol: http}
  endpoints: [{address: api.example, port: 443}, {address: "::1", port: 1}]
  tls: {enabled: true, version: {min: TLS12, max: TLS12}, verification: {serverName: api.example, clientCert: {secret: a}, clientKey: {secret: b}}}`, nil},
		{"MeshExternalService", "spec: {match: {port: 70000, protocol: tls}, endpoints: [{address: a b, port: 0}]}", []string{
			`spec.endpoints[0].address: found "a b", want an IP address or a DNS name`,
			"spec.endpoints[0].port: found the number 0, want a whole number from 1 to 65535",
			"spec.match.port: found the number 70000, want a whole number from 1 to 65535",
			`spec.match.protocol: found the text "tls", want one of grpc, http, http2, tcp`,
		}},
		{"MeshExternalService", "spec: {match: {port: 443}, extension: {type: ''}, endpoints: [{address: a b, port: 1}]}", []string{"spec.extension.type: must not be empty"}},
		{"MeshExternalService", "spec: {match: {port: 443}, extension: {type: Lambda, config: {a: [1]}}, endpoints: [{address: a b, port: 1}]}", nil},
		{"MeshExternalService", "spec: {match: {port: 1}, tls: {version: {min: TLS13, max: TLS10}, verification: {serverName: 1.2.3.4, clientKey: {secret: a}, mode: SkipNothing}}}", []string{
			"spec.tls.verification.clientCert: must be given with clientKey",
			`spec.tls.verification.mode: found the text "SkipNothing", want one of SkipSAN, SkipCA, Secured, SkipAll`,
			`spec.tls.verification.serverName: found "1.2.3.4", want a DNS name`,
			"spec.tls.version.min: found TLS13, want at most max, TLS10",
		}},
		{"MeshExternalService", "spec: {match: {port: 1}, tls: {version: {min: TLS13}, verification: {clientCert: {inline: YQ==}}}}", []string{"spec.tls.verification.clientKey: must be given with clientCert"}},

		{"HostnameGenerator", `spec: {selector: {meshService: {matchLabels: {tier: web}}}, template: '{{ .DisplayName }}.{{ label "kuma.io/zone" }}.mesh'}`, nil},
		{"HostnameGenerator", "spec: {selector: {}, template: ''}", []string{
			"spec.selector: one of meshService, meshExternalService, meshMultiZoneService must be given", "spec.template: must be given",
		}},
		{"HostnameGenerator", "spec: {selector: {meshService: {}, meshMultiZoneService: {}}, template: '{{ .Name[ }}'}", []string{
			"spec.selector: has 2 of meshService, meshExternalService, meshMultiZoneService, want one",
			`spec.template: is no Go template: template:1: bad character U+005B '['`,
		}},

		{"MeshGateway", `
selectors: [{match: {kuma.io/service: edge}}]
tags: {gateway: edge}
conf:
  listeners:
  - {port: 8443, protocol: HTTPS, hostname: "*.example.com", tls: {mode: TERMINATE, certificates: [{secret: c}, {secret: d}]}, tags: {name: tls}}
  - {port: 8443, protocol: HTTPS, hostname: "*", tls: {mode: TERMINATE, certificates: [{secret: c}]}}
  - {port: 8080, protocol: HTTP, crossMesh: true}`, nil},
		{"MeshGateway", "{}", []string{"conf: must be given", "selectors: must have at least one selector"}},
		{"MeshGateway", "selectors: [{match: {kuma.io/service: a}}]\nconf: {}", []string{"conf.listeners: must have at least one listener"}},
		{"MeshGateway", `
selectors: [{match: {}}, {match: {a: "b c"}}]
tags: {kuma.io/service: a, kuma.io/zone: b, ok: "*"}
conf:
  listeners:
  - {port: 80, protocol: HTTPS, crossMesh: true, tls: {mode: TERMINATE}}
  - {port: 0, hostname: "a*b", tags: {kuma.io/protocol: http, "a b": c}}
  - {port: 81, protocol: HTTPS}
  - {port: 82, protocol: HTTPS, tls: {mode: PASSTHROUGH}}
  - {port: 83, protocol: TLS, tls: {}}
  - {port: 84, protocol: TLS, tls: {mode: TERMINATE}}
  - {port: 85, protocol: TLS, tls: {mode: TERMINATE, certificates: [{secret: a}, {secret: b}, {secret: c}]}}`, []string{
			`selectors[0].match: must have at least one tag`,
			`selectors[1]: must not be given: a gateway with a crossMesh listener has one selector`,
			`selectors[1].match["a"]: found "b c": want letters, digits, ".", "_", "-", ":" and "/", or "*" alone`,
			`selectors[1].match["kuma.io/service"]: must be given`,
			`tags["kuma.io/service"]: must not be given: a gateway cannot choose it`,
			`tags["kuma.io/zone"]: must not be given: a gateway cannot choose it`,
			`conf.listeners[0].protocol: found HTTPS, which a crossMesh listener cannot have: the mesh encrypts its traffic`,
			`conf.listeners[0].tls: must not be given with crossMesh: the mesh encrypts its traffic`,
			`conf.listeners[1].hostname: found "a*b", want a DNS name, "*." and a DNS name, or "*"`,
			`conf.listeners[1].port: found 0, want a port from 1 to 65535`,
			`conf.listeners[1].protocol: must be given: want one of TCP, TLS, HTTP, HTTPS`,
			`conf.listeners[1].tags["a b"]: the key is "a b": want letters, digits, ".", "_", "-", ":" and "/"`,
			`conf.listeners[1].tags["kuma.io/protocol"]: must not be given: a gateway cannot choose it`,
			`conf.listeners[2].tls: must be given with protocol HTTPS`,
			`conf.listeners[3].tls.mode: found PASSTHROUGH, want TERMINATE with protocol HTTPS`,
			`conf.listeners[4].tls.mode: must be given: want one of TERMINATE, PASSTHROUGH`,
			`conf.listeners[5].tls.certificates: must have at least one certificate with mode TERMINATE`,
			`conf.listeners[6].tls.certificates: has 3 certificates, want at most 2: one RSA and one ECDSA`,
		}},
		{"MeshGateway", `
selectors: [{match: {kuma.io/service: a}}]
conf:
  listeners:
  - {port: 80, protocol: HTTP, hostname: a.example, resources: {connectionLimit: 10}}
  - {port: 80, protocol: HTTP, hostname: a.example, resources: {connectionLimit: 10}}
  - {port: 80, protocol: TCP, hostname: b.example, resources: {connectionLimit: 20}}
  - {port: 81, protocol: HTTP}
  - {port: 81, protocol: HTTP, hostname: "*"}`, []string{
			"conf.listeners[1]: has the port and hostname of conf.listeners[0]",
			"conf.listeners[2]: has protocol TCP, but conf.listeners[0] on the same port has HTTP",
			"conf.listeners[2].resources.connectionLimit: found 20, but conf.listeners[0] on the same port has 10",
			"conf.listeners[4]: has the port and hostname of conf.listeners[3]",
		}},

		{"ZoneIngress", "networking: {address: 10.9.0.1, port: 10001, advertisedAddress: 203.0.113.9, advertisedPort: 10001, admin: {port: 9901}}\navailableServices: [{tags: {kuma.io/service: a}, mesh: b}]", nil},
		{"ZoneIngress", "networking: {address: '::', port: 0, advertisedPort: 70000}\navailableServices: [{tags: {a: b}}]", []string{
			"networking.address: found ::, which no other proxy can reach: want the address of this proxy",
			"networking.advertisedAddress: must be given with advertisedPort",
			"networking.advertisedPort: found 70000, want a port from 1 to 65535",
			"networking.port: found 0, want a port from 1 to 65535",
			`availableServices[0].tags["kuma.io/service"]: must be given`,
		}},
		{"ZoneIngress", "networking: {address: 127.0.0.1, port: 10001, advertisedAddress: b ad, admin: {port: 10001}}", []string{
			"networking.admin.port: is networking.port too: want another",
			`networking.advertisedAddress: found "b ad", want an IP address or a DNS name`,
			"networking.advertisedPort: must be given with advertisedAddress",
		}},
		{"ZoneEgress", "zone: east\nnetworking: {address: 10.9.0.2, port: 10002}", nil},
		{"ZoneEgress", "{}", []string{"networking.port: found 0, want a port from 1 to 65535"}},

		{"Secret", "data: aGVsbG8=", nil},
		{"Secret", "{}", nil},
		{"Secret", "data: redacted", []string{"data: found redacted, which stands for data that was not shown: want the data itself, in base64"}},
		{"GlobalSecret", "data: aGVsbG8=", nil},
		{"TrafficRoute", "sources: [{match: {kuma.io/service: '*'}}]\nconf: {loadBalancer: {ringHash: {}, random: {}}}", []string{"conf.loadBalancer.random: ringHash is given already: want one of them"}},
		{"Retry", "conf: {http: {retryOn: [gateway_error, resett]}}", []string{
			`conf.http.retryOn[1]: found the text "resett", want one of all_5xx, gateway_error, reset, connect_failure, envoy_ratelimited, retriable_4xx, refused_stream, retriable_status_codes, retriable_headers, http3_post_connect_failure; did you mean reset?`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := "type: " + c.name + "\nname: x\n"
			if c.doc != "{}" {
				doc += c.doc
			}
			assert.Equal(t, c.want, violations(t, doc))
		})
	}
}

func TestWhatKumaTakesWithoutAWordIsWarnedOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		doc  string
		want []string
	}{
		{"type: MeshService\nname: x\nspec: {ports: [{port: 99999999}, {port: 0, appProtocol: htp}, {port: 80, appProtocol: tls}]}", []string{
			"spec.ports[0].port: found 99999999, want a port from 1 to 65535",
			"spec.ports[1].port: found 0, want a port from 1 to 65535",
			`spec.ports[1].appProtocol: found "htp", want one of grpc, http, http2, kafka, mysql, tcp, tls; did you mean http?`,
		}},
		{"type: MeshMultiZoneService\nname: x\nspec: {selector: {meshService: {matchLabels: {a: b}}}, ports: [{port: 0}]}", []string{"spec.ports[0].port: found 0, want a port from 1 to 65535"}},
		{`
type: Dataplane
name: x
networking:
  address: 10.0.0.1
  admin: {port: 70000}
  inbound: [{port: 1, tags: {kuma.io/service: a}}]
  outbound: [{port: 1, backendRef: {kind: MeshService, name: A, port: 1}}, {port: 2, backendRef: {kind: MeshService, name: a, labels: {a: b}, port: 1}}]
  transparentProxying: {reachableBackends: {refs: [{kind: MeshService, name: a, port: 0}]}}`, []string{
			`networking.outbound[0].backendRef.name: found "A", which no resource can have as its name`,
			"networking.outbound[1].backendRef.labels: has no effect beside name",
			"networking.transparentProxying.reachableBackends.refs[0].port: found 0, want a port from 1 to 65535",
			"networking.admin.port: found 70000, want a port from 1 to 65535",
		}},
		{"type: TrafficRoute\nname: x", []string{"TrafficRoute is deprecated: it is kept and passed on, but has no effect here; use MeshHTTPRoute or MeshTCPRoute"}},
		{"type: Zone\nname: x", nil},
	} {
		assert.Equal(t, c.want, testSchemas().Warnings(read(t, c.doc, resource.ReadOptions{})))
	}
}

func TestEveryKindFromBeforeTargetRefHasASuccessor(t *testing.T) {
	t.Parallel()
	for _, d := range resource.Kinds {
		warnings := resource.BaseSchemas().Warnings(resource.Resource{Key: resource.Key{Kind: d.Kind, Name: "x"}, Spec: []byte{}})
		assert.Equal(t, d.Legacy, len(warnings) > 0, d.Kind)
	}
}
