package resource_test

import (
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
mtls: {enabledBackend: ca-1, backends: [{name: ca-1, type: builtin, mode: STRICT, dpCert: {rotation: {expiration: 12h}}}]}
meshServices: {mode: Exclusive}
networking: {outbound: {passthrough: false}}
routing: {zoneEgress: true, localityAwareLoadBalancing: true}
constraints: {dataplaneProxy: {restrictions: [{tags: {kuma.io/zone: forbidden}}], requirements: [{tags: {a: "*"}}]}}
logging: {defaultBackend: f, backends: [{name: f, type: file, conf: {path: /tmp/x}}, {name: t, type: tcp}]}
tracing: {backends: [{name: z, type: zipkin, sampling: 99.9}]}
metrics: {enabledBackend: p, backends: [{name: p, type: prometheus, conf: {port: 5670}}]}`, nil},
		{"backends", `
mtls:
  enabledBackend: nope
  backends:
  - {name: a, type: builtin, dpCert: {rotation: {expiration: 5x}}}
  - {name: a, type: vault}
logging: {defaultBackend: filee, backends: [{type: carrier}, {name: file, type: file}]}
tracing: {backends: [{name: a, type: zipkin, sampling: 101}]}`, []string{
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
		{"no inbound", "networking: {}", []string{`networking.address: must be given`, `networking: has no inbound: want at least one, or a gateway`}},
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
			`networking.inbound[0].tags["kuma.io/service"]: must be given`,
			`networking.inbound[0].tags["kuma.io/protocol"]: found "htp", want one of grpc, http, http2, kafka, mysql, tcp, tls; did you mean http?`,
			`networking.inbound[1].address: found "10.0.0.300", want an IP address`,
			`networking.inbound[1].serviceAddress: found "host", want an IP address`,
			`networking.inbound[1].tags["a b"]: the key is "a b": want letters, digits, ".", "_", "-", ":" and "/"`,
			`networking.inbound[1].tags["d"]: found "e f": ` + wantTag,
			`networking.inbound[1].tags["kuma.io/service"]: the value must not be empty`,
			`networking.inbound[2].serviceAddress: with servicePort it is the address that the proxy itself listens on: want another address or port`,
			`networking.inbound[3].servicePort: found 70000, want a port from 1 to 65535`,
			`networking.inbound[3].serviceProbe.interval: must be greater than zero`,
			`networking.inbound[3].serviceProbe.timeout: must be greater than zero`,
			`networking.inbound[3].serviceProbe.unhealthyThreshold: must be greater than zero`,
			`networking.inbound[3].serviceProbe.healthyThreshold: must be greater than zero`,
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
			`networking.outbound[5].backendRef.name: found "A": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
		}},
		{"builtin gateway with what it cannot have", `
networking:
  address: 10.0.0.1
  gateway: {type: BUILTIN, tags: {kuma.io/protocol: http}}
  inbound: [{port: 1, tags: {kuma.io/service: a}}]
  outbound: [{port: 1, tags: {kuma.io/service: b}}]
probes: {port: 0}`, []string{
			`networking.gateway.tags["kuma.io/service"]: must be given`,
			`networking.gateway.tags["kuma.io/protocol"]: found "http", want tcp`,
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
			`networking.transparentProxying.reachableBackends.refs[0].kind: found "Dataplane", want one of MeshExternalService, MeshMultiZoneService, MeshService`,
			`networking.transparentProxying.reachableBackends.refs[0].name: found "A_b": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
			`networking.transparentProxying.reachableBackends.refs[1].name: must be given, or labels`,
			`networking.transparentProxying.reachableBackends.refs[2].name: must be given, or labels`,
			`networking.transparentProxying.reachableBackends.refs[3].labels: must not be given with name`,
			`networking.transparentProxying.reachableBackends.refs[4].name: must be given with namespace`,
			`networking.transparentProxying.reachableBackends.refs[4].labels: must not be given with namespace`,
			`networking.transparentProxying.reachableBackends.refs[4].port: found 0, want a port from 1 to 65535`,
			`probes.endpoints[0].inboundPort: found 0, want a port from 1 to 65535`,
			`probes.endpoints[0].inboundPath: found "no slash", want a path that begins with "/"`,
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
		`spec.ports[0].port: found the number 0, want a whole number from 1 to 65535`,
		`spec.ports[1].port: must be given`,
		`spec.identities[0].type: found the text "SpiffeID", want ServiceTag`,
		`spec.identities[0].value: must be given`,
		`spec.state: found the text "available", want one of Available, Unavailable; did you mean Available?`,
	}, violations(t, "type: MeshService\nname: x\nspec:\n  ports:\n  - port: 0\n  - name: a\n  identities:\n  - type: SpiffeID\n  state: available"))
}
