package resource_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// documents are valid documents of every kind, in canonical order, with what the two writers make of them.
var documents = []struct{ name, universal, kubernetes string }{
	{"policy",
		`{"type":"MeshTimeout","mesh":"default","name":"x","labels":{"kuma.io/mesh":"default","team":"a"},"spec":{"to":[{"default":{"headers":{"a":"<&>"},"idleTimeout":"1h0m0s","on":null},"targetRef":{"kind":"Mesh"}}]}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"MeshTimeout","metadata":{"name":"x","labels":{"kuma.io/mesh":"default","team":"a"}},"spec":{"to":[{"default":{"headers":{"a":"<&>"},"idleTimeout":"1h0m0s","on":null},"targetRef":{"kind":"Mesh"}}]}}`},
	{"policy in a namespace",
		`{"type":"MeshTimeout","mesh":"m","name":"x.demo","labels":{"k8s.kuma.io/namespace":"demo","kuma.io/display-name":"x","kuma.io/mesh":"m"},"spec":{}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"MeshTimeout","metadata":{"name":"x","namespace":"demo","annotations":{"kuma.io/display-name":"x"},"labels":{"k8s.kuma.io/namespace":"demo","kuma.io/mesh":"m"}},"spec":{}}`},
	{"mesh",
		`{"type":"Mesh","name":"m","mtls":{"enabledBackend":"ca","backends":[{"name":"ca","type":"builtin","dpCert":{"rotation":{"expiration":"24h"},"requestTimeout":"5s"},"conf":{"caCert":{"RSAbits":2048,"x":null}},"mode":"PERMISSIVE"}]},"networking":{"outbound":{"passthrough":false}},"routing":{"zoneEgress":true},"skipCreatingInitialPolicies":["*"],"meshServices":{"mode":"Exclusive"}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"Mesh","metadata":{"name":"m"},"spec":{"mtls":{"enabledBackend":"ca","backends":[{"name":"ca","type":"builtin","dpCert":{"rotation":{"expiration":"24h"},"requestTimeout":"5s"},"conf":{"caCert":{"RSAbits":2048,"x":null}},"mode":"PERMISSIVE"}]},"networking":{"outbound":{"passthrough":false}},"routing":{"zoneEgress":true},"skipCreatingInitialPolicies":["*"],"meshServices":{"mode":"Exclusive"}}}`},
	{"empty mesh",
		`{"type":"Mesh","name":"m"}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"Mesh","metadata":{"name":"m"},"spec":{}}`},
	{"zone",
		`{"type":"Zone","name":"east","labels":{"a":"b"},"enabled":false}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"Zone","metadata":{"name":"east","labels":{"a":"b"}},"spec":{"enabled":false}}`},
	{"zone insight",
		`{"type":"ZoneInsight","name":"east","subscriptions":[{"id":"1","connectTime":"2026-01-02T03:04:05.600Z","status":{"total":{"responsesSent":"18446744073709551615"},"stat":{"Mesh":{"responsesAcknowledged":"2"}}},"version":{"kumaCp":{"version":"2.10.11"}}}],"healthCheck":{"time":"2026-01-02T03:04:06Z"}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"ZoneInsight","metadata":{"name":"east"},"spec":{"subscriptions":[{"id":"1","connectTime":"2026-01-02T03:04:05.600Z","status":{"total":{"responsesSent":"18446744073709551615"},"stat":{"Mesh":{"responsesAcknowledged":"2"}}},"version":{"kumaCp":{"version":"2.10.11"}}}],"healthCheck":{"time":"2026-01-02T03:04:06Z"}}}`},
	{"dataplane",
		`{"type":"Dataplane","mesh":"default","name":"dp-1","labels":{"kuma.io/mesh":"default"},"networking":{"inbound":[{"tags":{"kuma.io/protocol":"http","kuma.io/service":"a"},"port":80,"servicePort":8080,"state":"NotReady","name":"main"}],"outbound":[{"port":10001,"backendRef":{"kind":"MeshService","name":"b","port":80}}],"transparentProxying":{"redirectPortInbound":15006,"redirectPortOutbound":15001,"reachableBackends":{"refs":[{"kind":"MeshService","name":"b","port":80}]}},"address":"10.0.0.1"},"probes":{"port":9000,"endpoints":[{"inboundPort":80,"inboundPath":"/a","path":"/b"}]}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"Dataplane","metadata":{"name":"dp-1","labels":{"kuma.io/mesh":"default"}},"spec":{"networking":{"inbound":[{"tags":{"kuma.io/protocol":"http","kuma.io/service":"a"},"port":80,"servicePort":8080,"state":"NotReady","name":"main"}],"outbound":[{"port":10001,"backendRef":{"kind":"MeshService","name":"b","port":80}}],"transparentProxying":{"redirectPortInbound":15006,"redirectPortOutbound":15001,"reachableBackends":{"refs":[{"kind":"MeshService","name":"b","port":80}]}},"address":"10.0.0.1"},"probes":{"port":9000,"endpoints":[{"inboundPort":80,"inboundPath":"/a","path":"/b"}]}}}`},
	{"mesh service",
		`{"type":"MeshService","mesh":"default","name":"redis","labels":{"kuma.io/mesh":"default"},"spec":{"identities":[{"type":"ServiceTag","value":"redis"}],"ports":[{"appProtocol":"tcp","name":"main","port":6379,"targetPort":6379},{"appProtocol":"http","port":80,"targetPort":"web"}],"selector":{"dataplaneTags":{"app":"redis"}},"state":"Available"},"status":{"tls":{"status":"Ready"},"vips":[{"ip":"241.0.0.1"}]}}`,
		`{"apiVersion":"kuma.io/v1alpha1","kind":"MeshService","metadata":{"name":"redis","labels":{"kuma.io/mesh":"default"}},"spec":{"identities":[{"type":"ServiceTag","value":"redis"}],"ports":[{"appProtocol":"tcp","name":"main","port":6379,"targetPort":6379},{"appProtocol":"http","port":80,"targetPort":"web"}],"selector":{"dataplaneTags":{"app":"redis"}},"state":"Available"},"status":{"tls":{"status":"Ready"},"vips":[{"ip":"241.0.0.1"}]}}`},
}

func TestWhatIsWrittenReadsBackAsTheSameResource(t *testing.T) {
	t.Parallel()
	for _, c := range documents {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := read(t, c.universal, resource.ReadOptions{})
			universal, err := resource.ToJSON(r)
			require.NoError(t, err)
			assert.Equal(t, c.universal, string(universal))
			kubernetes, err := resource.ToKubernetes(r)
			require.NoError(t, err)
			assert.Equal(t, c.kubernetes, string(kubernetes))

			for _, doc := range [][]byte{universal, kubernetes} {
				assert.Equal(t, r, read(t, string(doc), resource.ReadOptions{}))
				yaml, err := resource.ToYAML(doc)
				require.NoError(t, err)
				assert.Equal(t, r, read(t, string(yaml), resource.ReadOptions{}), "%s", yaml)
			}
		})
	}
}

func TestASyncedResourceKeepsItsNameThroughTheUniversalForm(t *testing.T) {
	t.Parallel()
	r := read(t, `{"type":"MeshTimeout","name":"x","labels":{"k8s.kuma.io/namespace":"demo","kuma.io/zone":"east"},"spec":{}}`, resource.ReadOptions{})
	r.Name = resource.WireName(r)
	doc, err := resource.ToJSON(r)
	require.NoError(t, err)
	assert.Equal(t, r, read(t, string(doc), resource.ReadOptions{}))

	doc, err = resource.ToKubernetes(r)
	require.NoError(t, err)
	assert.Equal(t, r.Identity(), read(t, string(doc), resource.ReadOptions{}).Identity())
}

func TestTimesAreWrittenInUTCAndIgnoredWhenRead(t *testing.T) {
	t.Parallel()
	r := read(t, "type: Zone\nname: x\n", resource.ReadOptions{})
	plain := r
	r.Created = time.Date(2026, 1, 2, 5, 4, 5, 600, time.FixedZone("", 2*60*60))
	r.Modified = time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	doc, err := resource.ToJSON(r)
	require.NoError(t, err)
	assert.Equal(t, `{"type":"Zone","name":"x","creationTime":"2026-01-02T03:04:05.0000006Z","modificationTime":"2026-01-03T00:00:00Z"}`, string(doc))
	assert.Equal(t, plain, read(t, string(doc), resource.ReadOptions{}))
	doc, err = resource.ToKubernetes(r)
	require.NoError(t, err)
	assert.Equal(t, `{"apiVersion":"kuma.io/v1alpha1","kind":"Zone","metadata":{"name":"x","creationTimestamp":"2026-01-02T03:04:05.0000006Z"},"spec":{}}`, string(doc))
	assert.Equal(t, plain, read(t, string(doc), resource.ReadOptions{}))
}

func TestWritingSaysWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    resource.Resource
		want string
	}{
		{resource.Resource{Key: resource.Key{Kind: "Pod", Name: "x"}}, "write Pod x: unknown kind"},
		{resource.Resource{Key: resource.Key{Kind: "Zone", Name: "x"}, Spec: []byte("\xff")}, "write Zone x: proto: cannot parse invalid wire-format data"},
		{resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "m", Name: "x"}, Spec: []byte("{")}, "write MeshTimeout m/x: the spec is not JSON: unexpected end of JSON input"},
	} {
		for _, write := range []func(resource.Resource) ([]byte, error){resource.ToJSON, resource.ToKubernetes} {
			_, err := write(c.r)
			if assert.Error(t, err) {
				// protobuf varies the space in its messages on purpose
				assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), "\u00a0", " "))
			}
		}
	}
	_, err := resource.ToYAML([]byte(`{"a": `))
	assert.EqualError(t, err, "to YAML: line 1: not valid JSON: it ends too early")
}

func TestYAMLKeepsTheOrderAndTheTypes(t *testing.T) {
	t.Parallel()
	doc, err := resource.ToYAML([]byte(`{"type":"X","b":{"z":1,"a":[1.5,"1.5",true,"true",null,"null","yes","",{}, []]},"text":"a\nb\n","a: b":"# c","time":"2026-01-02","odd":"a\rb","number":"0o7"}`))
	require.NoError(t, err)
	assert.Equal(t, lines(`
type: X
b:
  z: 1
  a:
    - 1.5
    - "1.5"
    - true
    - "true"
    - null
    - "null"
    - "yes"
    - ""
    - {}
    - []
text: |
  a
  b
'a: b': '# c'
time: "2026-01-02"
odd: "a\rb"
number: "0o7"
`), string(doc))
}

func TestAnyTextSurvivesYAML(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " ", "~", "on", "Y", "0x1", "1_000", ".5", "=", "<<", "- a", "a: b", "#", "a #b", "'", `"`, "|", "a\n", "\na", "a\n\n", " a\nb ", "\t", "a\u0085b", "a\u2028b\n", "\ufeff", "\x7f", "\x01", "😀", "2026-01-02", "!!str", "&a", "*a", "%", "---", "...", "null"} {
		doc, err := json.Marshal(map[string]any{"type": "MeshTimeout", "name": "x", "mesh": "default", "spec": map[string]any{"targetRef": map[string]any{
			"kind": "Mesh", "labels": map[string]string{"key": text, "k" + text: "value"}}}})
		require.NoError(t, err)
		want := read(t, string(doc), resource.ReadOptions{})
		yaml, err := resource.ToYAML(doc)
		require.NoError(t, err)
		assert.Equal(t, string(want.Spec), string(read(t, string(yaml), resource.ReadOptions{}).Spec), "%q\n%s", text, yaml)
	}
}
