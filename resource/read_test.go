package resource_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// timeoutSpec is the spec of a policy as the reader's tests need it: every shape that a policy may have.
type timeoutSpec struct {
	TargetRef *ref          `json:"targetRef,omitempty"`
	To        []timeoutItem `json:"to,omitempty"`
}

type timeoutItem struct {
	TargetRef ref         `json:"targetRef" check:"required"`
	Default   timeoutConf `json:"default,omitzero" check:"patch"`
}

type ref struct {
	Kind   refKind           `json:"kind" check:"required"`
	Name   string            `json:"name,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Types  []string          `json:"proxyTypes,omitempty"`
}

type refKind string

func (refKind) Enum() []string { return []string{"Mesh", "MeshService", "MeshSubset"} }

type timeoutConf struct {
	Idle     *resource.Duration    `json:"idleTimeout,omitempty"`
	HTTP     *timeoutHTTP          `json:"http,omitempty"`
	Weight   *uint8                `json:"weight,omitempty" check:"min=1,max=100"`
	Offset   *int64                `json:"offset,omitempty"`
	Factor   *float64              `json:"factor,omitempty"`
	On       *bool                 `json:"on,omitempty"`
	Percent  *resource.IntOrString `json:"percent,omitempty"`
	Data     []byte                `json:"data,omitempty"`
	Since    *time.Time            `json:"since,omitempty"`
	Headers  map[string]string     `json:"headers,omitempty"`
	Backends []timeoutBackend      `json:"backends,omitempty"`
	Extra    any                   `json:"extra,omitempty"`
}

type timeoutHTTP struct {
	RequestTimeout *resource.Duration `json:"requestTimeout,omitempty"`
	StreamTimeout  *resource.Duration `json:"streamTimeout,omitempty"`
}

type timeoutBackend struct {
	Address string `json:"address"`
	Mode    string `json:"mode,omitempty" check:"default=Tcp"`
	Retry   bool   `json:"retry,omitempty" check:"default=true"`
	Port    int32  `json:"port,omitempty" check:"default=80"`
}

func testSchemas() resource.Schemas {
	s := resource.BaseSchemas()
	s["MeshTimeout"] = resource.Schema{Spec: func() any { return &timeoutSpec{} }}
	return s
}

// lines strips the first line break, so that literals can begin on a line of their own.
func lines(s string) string { return strings.TrimPrefix(s, "\n") }

func read(t testing.TB, doc string, o resource.ReadOptions) resource.Resource {
	t.Helper()
	docs, err := testSchemas().Read("f.yaml", []byte(doc), o)
	require.NoError(t, err)
	require.Len(t, docs, 1)
	return docs[0].Resource
}

// conf returns a MeshTimeout whose default is the given flow mapping; it stands on line 6.
func conf(flow string) string {
	return lines(`
type: MeshTimeout
name: x
spec:
  to:
  - targetRef: {kind: Mesh}
    default: `) + flow + "\n"
}

func TestEveryViolationSaysWhereItIsWhatWasFoundAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	const at = `f.yaml:6: MeshTimeout default/x: spec.to[0].default`
	for _, c := range []struct{ name, doc, want string }{
		{"unknown field with a near one", conf(`{http: {requestTimout: 1s}}`), at + `.http.requestTimout: unknown field; did you mean requestTimeout?`},
		{"unknown field in another spelling", conf(`{idle-timeout: 1s}`), at + `.idle-timeout: unknown field; did you mean idleTimeout?`},
		{"unknown field far from all", conf(`{http: {banana: 1s}}`), at + `.http.banana: unknown field; known here: requestTimeout, streamTimeout`},
		{"unknown field at the top", "type: MeshTimeout\nname: x\nlables: {a: b}\nspec: {}\n", `f.yaml:3: MeshTimeout default/x: lables: unknown field; did you mean labels?`},
		{"unknown field of a message", "type: Zone\nname: x\nenabld: true\n", `f.yaml:3: Zone x: enabld: unknown field; did you mean enabled?`},
		{"field name that is no word", conf(`{"a b\n": 1}`), at + `["a b\n"]: unknown field; known here: backends, data, extra, factor, headers, http, idleTimeout, offset, on, percent, since, weight`},
		{"duplicate field", conf("\n      on: true\n      http: {}\n      on: false"), `f.yaml:9: MeshTimeout default/x: spec.to[0].default.on: given twice: on line 7 and on line 9`},
		{"duplicate field in two spellings", lines(`
type: Dataplane
name: x
networking:
  address: 1.1.1.1
  inbound: [{port: 1, tags: {kuma.io/service: a}}]
  transparent_proxying: {}
  transparentProxying: {}
`), `f.yaml:7: Dataplane default/x: networking.transparentProxying: given twice: on line 6 and on line 7`},
		{"duplicate key of a map", conf("\n      headers: {a: b, a: c}"), `f.yaml:7: MeshTimeout default/x: spec.to[0].default.headers["a"]: given twice: on line 7 and on line 7`},
		{"duplicate key of a free field", conf("\n      extra: {a: 1, a: 2}"), `f.yaml:7: MeshTimeout default/x: spec.to[0].default.extra.a: given twice: on line 7 and on line 7`},
		{"duplicate key in JSON", `{"type": "Zone",` + "\n" + `"name": "x", "name": "y"}`, `f.yaml:2: Zone y: name: given twice: on line 2 and on line 2`},
		{"number for a duration", conf(`{idleTimeout: 5}`), at + `.idleTimeout: found the number 5, want a duration such as 5s, 250ms or 1h30m: write "5s" for seconds`},
		{"bad duration", conf(`{idleTimeout: 5 s}`), at + `.idleTimeout: found the text "5 s", want a duration such as 5s, 250ms or 1h30m`},
		{"bad duration of a message", lines(`
type: Mesh
name: x
mtls:
  backends:
  - {name: a, type: builtin, dpCert: {requestTimeout: soon, rotation: {expiration: 1d}}}
`), `f.yaml:5: Mesh x: mtls.backends[0].dpCert.requestTimeout: found the text "soon", want a duration such as 5s, 250ms or 1h30m`},
		{"number out of range", conf(`{weight: 101}`), at + `.weight: found the number 101, want a whole number from 1 to 100`},
		{"number below the range", conf(`{weight: 0}`), at + `.weight: found the number 0, want a whole number from 1 to 100`},
		{"number with a fraction", conf(`{offset: 1.5}`), at + `.offset: found the number 1.5, want a whole number`},
		{"number that overflows", conf(`{offset: 99999999999999999999}`), at + `.offset: found the number 99999999999999999999, want a whole number`},
		{"negative number of a message", lines(`
type: Dataplane
name: x
networking:
  address: 1.1.1.1
  inbound: [{port: -1, tags: {kuma.io/service: a}}]
`), `f.yaml:5: Dataplane default/x: networking.inbound[0].port: found the number -1, want a whole number from 0 to 4294967295`},
		{"text for a number", conf(`{factor: "1"}`), at + `.factor: found the text "1", want a number`},
		{"text for a bool", conf(`{on: yes}`), at + `.on: found the text "yes", want true or false`},
		{"number for a text", conf(`{headers: {a: 1}}`), at + `.headers["a"]: found the number 1, want a text: write "1"`},
		{"bool for a text", conf(`{headers: {a: true}}`), at + `.headers["a"]: found true, want a text: write "true"`},
		{"list for a text", conf(`{headers: {a: []}}`), at + `.headers["a"]: found a list, want a text`},
		{"object for a list", conf(`{backends: {}}`), at + `.backends: found an object, want a list`},
		{"list for an object", conf(`{http: []}`), at + `.http: found a list, want an object`},
		{"text for a map", conf(`{headers: a}`), at + `.headers: found the text "a", want an object`},
		{"bad base64", conf(`{data: "*"}`), at + `.data: found the text "*", want a text in base64`},
		{"bad time", conf(`{since: yesterday}`), at + `.since: found the text "yesterday", want a time such as 2026-01-02T15:04:05Z`},
		{"bool for an int or text", conf(`{percent: true}`), at + `.percent: found true, want a whole number or a text`},
		{"fraction for an int or text", conf(`{percent: 2.5}`), at + `.percent: found the number 2.5, want a whole number or a text: write "2.5"`},
		{"null outside a default", "type: MeshTimeout\nname: x\nspec:\n  to: null\n", `f.yaml:4: MeshTimeout default/x: spec.to: found null, want a list: give a value or leave the field out`},
		{"null for the default itself", conf(`null`), at + `: found null, want an object: give a value or leave the field out`},
		{"null in a list below a default", conf(`{backends: [null]}`), at + `.backends[0]: found null, want an object: give a value or leave the field out`},
		{"null in an item of a list below a default", conf(`{backends: [{mode: null}]}`), at + `.backends[0].mode: found null, want a text: give a value or leave the field out`},
		{"null in a message", "type: Zone\nname: x\nenabled: null\n", `f.yaml:3: Zone x: enabled: found null, want true or false: give a value or leave the field out`},
		{"wrong word", "type: MeshTimeout\nname: x\nspec:\n  targetRef: {kind: MeshServce}\n", `f.yaml:4: MeshTimeout default/x: spec.targetRef.kind: found the text "MeshServce", want one of Mesh, MeshService, MeshSubset; did you mean MeshService?`},
		{"wrong word of a message", "type: Mesh\nname: x\nmeshServices: {mode: exclusive}\n", `f.yaml:3: Mesh x: meshServices.mode: found the text "exclusive", want one of Disabled, Everywhere, ReachableBackends, Exclusive; did you mean Exclusive?`},
		{"missing required field", "type: MeshTimeout\nname: x\nspec:\n  targetRef:\n    name: a\n", `f.yaml:5: MeshTimeout default/x: spec.targetRef.kind: must be given`},
		{"missing required object", "type: MeshTimeout\nname: x\nspec:\n  to:\n  - default: {}\n", `f.yaml:5: MeshTimeout default/x: spec.to[0].targetRef: must be given`},
		{"missing spec", "type: MeshTimeout\nname: x\n", `f.yaml:1: MeshTimeout default/x: spec: must be given`},
		{"missing name", "type: MeshTimeout\nspec: {}\n", `f.yaml:1: MeshTimeout: name: must be given`},
		{"missing name, Kubernetes", "apiVersion: kuma.io/v1alpha1\nkind: MeshTimeout\nmetadata: {namespace: a}\nspec: {}\n", `f.yaml:3: MeshTimeout: metadata.name: must be given`},
		{"missing type", "name: x\nspec: {}\n", `f.yaml:1: type: must be given`},
		{"missing kind", "apiVersion: kuma.io/v1alpha1\nmetadata: {name: x}\n", `f.yaml:1: kind: must be given`},
		{"missing apiVersion", "kind: Mesh\nmetadata: {name: x}\n", `f.yaml:1: apiVersion: must be given: want kuma.io/v1alpha1`},
		{"foreign apiVersion", "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n", `f.yaml:2: apiVersion: found the text "apps/v1", want kuma.io/v1alpha1`},
		{"unknown kind", "type: MeshTimout\nname: x\nspec: {a: b}\n", `f.yaml:1: MeshTimout x: type: unknown kind "MeshTimout"; did you mean MeshTimeout?`},
		{"unknown kind far from all", "type: Pod\nname: x\n", `f.yaml:1: Pod x: type: unknown kind "Pod"`},
		{"kind without a schema", "type: MeshRetry\nname: x\nspec: {a: b}\n", `f.yaml:1: MeshRetry default/x: type: MeshRetry is not supported yet`},
		{"type that is no text", "type: 5\nname: x\n", `f.yaml:1: type: found the number 5, want a text: write "5"`},
		{"both forms", "type: Mesh\nkind: Mesh\nname: x\nmetadata: {name: x}\n", `f.yaml:1: mixes two forms: type, name of the Universal form with kind, metadata of the Kubernetes form`},
		{"no form", "spec: {}\n", `f.yaml:1: want type and name (Universal form), or apiVersion, kind and metadata (Kubernetes form)`},
		{"no object", "- a\n", `f.yaml:1: found a list, want an object with type and name, or apiVersion, kind and metadata`},
		{"unknown field of metadata", "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata:\n  nam: x\n", "f.yaml:4: Zone: metadata.nam: unknown field; did you mean name?"},
		{"mesh of a global kind", "type: Zone\nname: x\nmesh: default\n", `f.yaml:3: Zone default/x: mesh: found "default", but a Zone belongs to no mesh`},
		{"namespace of a global kind", "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata:\n  name: x\n  namespace: a\n", `f.yaml:5: Zone x.a: metadata.namespace: found "a", but a Zone belongs to no namespace`},
		{"namespace label of a global kind", "type: Mesh\nname: x\nlabels:\n  k8s.kuma.io/namespace: a\n", `f.yaml:4: Mesh x.a: labels["k8s.kuma.io/namespace"]: found "a", but a Mesh belongs to no namespace`},
		{"two meshes", "type: MeshTimeout\nname: x\nmesh: a\nlabels:\n  kuma.io/mesh: b\nspec: {}\n", `f.yaml:5: MeshTimeout a/x: labels["kuma.io/mesh"]: found "b", but the document says "a" elsewhere`},
		{"two namespaces", "apiVersion: kuma.io/v1alpha1\nkind: MeshTimeout\nmetadata:\n  name: x\n  namespace: a\n  labels:\n    k8s.kuma.io/namespace: b\nspec: {}\n", `f.yaml:5: MeshTimeout default/x.a: metadata.namespace: found "b", but the document says "a" elsewhere`},
		{"bad name", "type: Zone\nname: A_b\n", `f.yaml:2: Zone A_b: name: found "A_b": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`},
		{"bad name, Kubernetes", "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata:\n  name: A_b\n", `f.yaml:4: Zone A_b: metadata.name: found "A_b": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`},
		{"bad label", "type: Zone\nname: x\nlabels:\n  team: a b\n", `f.yaml:4: Zone x: labels["team"]: found "a b": want letters, digits, "-", "_" and ".", a letter or digit first and last`},
		{"bad label key, Kubernetes", "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata:\n  name: x\n  labels:\n    a/b/c: a\n", `f.yaml:6: Zone x: metadata.labels["a/b/c"]: the key is "b/c": want letters, digits, "-", "_" and ".", a letter or digit first and last`},
		{"bad origin", "type: Zone\nname: x\nlabels: {kuma.io/origin: here}\n", `f.yaml:3: Zone x: labels["kuma.io/origin"]: found "here", want one of global, zone`},
		{"message field at the top and under spec", "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata: {name: x}\nenabled: true\nspec: {enabled: false}\n", `f.yaml:5: Zone x: spec: enabled stands here and at the top level: give it once`},
		{"two fields of a oneof", lines(`
type: ExternalService
name: x
networking:
  tls:
    caCert:
      secret: a
      file: b
`), `f.yaml:7: ExternalService default/x: networking.tls.caCert.file: secret is given already: want one of them`},
		{"what Validate finds", "type: Dataplane\nname: x\nnetworking:\n  address: 1.1.1.1\n  inbound:\n  - port: 80\n", `f.yaml:6: Dataplane default/x: networking.inbound[0].tags["kuma.io/service"]: must be given`},
		{"what Validate finds, Kubernetes", "apiVersion: kuma.io/v1alpha1\nkind: Dataplane\nmetadata: {name: x}\nspec:\n  networking:\n    address: 0.0.0.0\n    inbound: [{port: 1, tags: {kuma.io/service: a}}]\n", `f.yaml:6: Dataplane default/x: spec.networking.address: found 0.0.0.0, which no other proxy can reach: want the address of this proxy`},
		{"broken YAML", "type: Mesh\nname: [x\nfoo: bar\n", "f.yaml:2: not valid YAML: did not find expected ',' or ']'"},
		{"stray brace", "type: Mesh\nname: x\n}\n", "f.yaml:3: not valid YAML: did not find expected key"},
		{"two flow documents in one", "{type: Mesh, name: x}\n{type: Mesh, name: y}\n", "f.yaml:2: not valid YAML: did not find expected <document start>"},
		{"bad indentation", "type: Mesh\nmtls:\n    a: b\n  c: d\n", "f.yaml:4: not valid YAML: did not find expected key"},
		{"tabs", "type: Mesh\nname: x\nmtls:\n\tbackends: []\n", "f.yaml:4: not valid YAML: found character that cannot start any token (YAML is indented with spaces, not with tabs)"},
		{"broken JSON", "{\n\"type\": \"Mesh\",\n\"name\" \"x\"}", "f.yaml:3: not valid JSON: invalid character '\"' after object key"},
		{"JSON cut short", `{"type": "Mesh", "name": `, "f.yaml:1: not valid JSON: it ends too early"},
		{"unknown tag", "type: Mesh\nname: !foo x\n", `f.yaml:2: a YAML tag has no meaning here: put a text that begins with "!" in quotes`},
		{"not a number", "type: Mesh\nname: .nan\n", "f.yaml:2: .nan is not a number that a document can hold"},
		{"merge of a text", "type: Mesh\n<<: a\n", `f.yaml:2: << merges objects only: found the text "a"`},
		{"key that is no text", "type: Mesh\n[a]: b\n", "f.yaml:2: a field name is a text: found a list"},
		{"NUL byte", "type: Mesh\nname: x\x00\n", "f.yaml:2: holds a NUL byte: want text in UTF-8"},
		{"escaped NUL", "{\"type\": \"Mesh\",\n \"name\": \"\\u0000\"}", "f.yaml:2: a text holds the character NUL"},
		{"not UTF-8", "type: Mesh\nname: \xff\n", "f.yaml:2: is not text in UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			docs, err := testSchemas().Read("f.yaml", []byte(c.doc), resource.ReadOptions{})
			require.Error(t, err, c.doc)
			assert.Equal(t, c.want, err.Error(), c.doc)
			assert.Empty(t, docs)
		})
	}
}

func TestAllViolationsOfADocumentComeAtOnceInTheOrderOfItsLines(t *testing.T) {
	t.Parallel()
	_, err := testSchemas().Read("f.yaml", []byte(lines(`
type: MeshTimeout
labels: {kuma.io/origin: moon}
name: X
spec:
  targetRef: {kind: Mash}
  to:
  - targetRef: {}
    default: {idleTimeout: 5, wait: 1s}
`)), resource.ReadOptions{})
	assert.EqualError(t, err, lines(`
f.yaml:2: MeshTimeout default/X: labels["kuma.io/origin"]: found "moon", want one of global, zone
f.yaml:3: MeshTimeout default/X: name: found "X": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last
f.yaml:5: MeshTimeout default/X: spec.targetRef.kind: found the text "Mash", want one of Mesh, MeshService, MeshSubset; did you mean Mesh?
f.yaml:7: MeshTimeout default/X: spec.to[0].targetRef.kind: must be given
f.yaml:8: MeshTimeout default/X: spec.to[0].default.idleTimeout: found the number 5, want a duration such as 5s, 250ms or 1h30m: write "5s" for seconds
f.yaml:8: MeshTimeout default/X: spec.to[0].default.wait: unknown field; known here: backends, data, extra, factor, headers, http, idleTimeout, offset, on, percent, since, weight`))
}

func TestBadDocumentsDoNotHideGoodOnes(t *testing.T) {
	t.Parallel()
	source := lines(`
# a licence

---
type: Zone
name: a
---
# nothing here
---
type: Zone
name: [
--- # the third
{"type": "Zone", "name": "b"}
{"type": "Zone", "name": "c"}
...
# between
---
type: Zone
name: D
...
type: Zone
name: e
`)
	docs, err := testSchemas().Read("f.yaml", []byte(source), resource.ReadOptions{})
	assert.EqualError(t, err, lines(`
f.yaml:10: document 3: not valid YAML: did not find expected node content
f.yaml:18: document 6: Zone D: name: found "D": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`))
	var got []string
	for _, d := range docs {
		got = append(got, fmt.Sprintf("%s:%d: document %d: %v", d.Source, d.Line, d.Index, d.Resource.Key))
	}
	assert.Equal(t, []string{
		"f.yaml:4: document 1: Zone a",
		"f.yaml:12: document 4: Zone b",
		"f.yaml:13: document 5: Zone c",
		"f.yaml:20: document 7: Zone e",
	}, got)

	invalid, ok := errors.AsType[*resource.InvalidError](err)
	require.True(t, ok)
	assert.Equal(t, 3, invalid.Index)
}

func TestTheTwoFormsAreEqualAfterReading(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, universal, kubernetes string }{
		{"policy", `
type: MeshTimeout
mesh: m1
name: x
labels: {team: a}
spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 3600s}}]}`, `
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata:
  name: x
  labels: {kuma.io/mesh: m1, team: a}
  creationTimestamp: null
  uid: 1-2-3
  resourceVersion: "5"
  generation: 1
  managedFields: []
  annotations: {a: b}
  ownerReferences: []
  finalizers: []
spec:
  to:
  - targetRef: {kind: Mesh}
    default: {idleTimeout: 1h}
status: {}`},
		{"namespace and top-level mesh", `
type: MeshTimeout
mesh: m1
name: x
labels: {k8s.kuma.io/namespace: demo}
spec: {}`, `
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
mesh: m1
metadata: {name: x, namespace: demo}
spec: {}`},
		{"display name", `
type: MeshTimeout
name: x-vrgg
labels: {k8s.kuma.io/namespace: demo, kuma.io/display-name: x}
spec: {}`, `
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata: {name: x-vrgg, namespace: demo, annotations: {kuma.io/display-name: x}}
spec: {}`},
		{"message under spec", `
type: Dataplane
name: x
networking: {address: 1.1.1.1, inbound: [{port: 80, tags: {kuma.io/service: a}}]}`, `
apiVersion: kuma.io/v1alpha1
kind: Dataplane
metadata: {name: x}
spec: {networking: {address: 1.1.1.1, inbound: [{port: 80, tags: {kuma.io/service: a}}]}}`},
		{"message beside metadata, as the documentation has it", `
type: MeshGateway
name: edge.kuma-system
mesh: default
labels: {k8s.kuma.io/namespace: kuma-system}
selectors: [{match: {kuma.io/service: edge}}]
conf: {listeners: [{port: 80, protocol: HTTP, tags: {port: http-80}}, {port: 443, protocol: HTTPS, tls: {mode: TERMINATE, certificates: [{inline: YWJj}]}}]}`, `
apiVersion: kuma.io/v1alpha1
kind: MeshGateway
mesh: default
metadata:
  name: edge
  namespace: kuma-system
selectors:
- match: {kuma.io/service: edge}
conf:
  listeners:
  - port: 80
    protocol: HTTP
    tags:
      port: http-80
  - {port: 443, protocol: HTTPS, tls: {mode: TERMINATE, certificates: [{inline: YWJj}]}}`},
		{"message at the top level", `
type: Mesh
name: x
routing: {localityAwareLoadBalancing: true}
networking: {outbound: {passthrough: false}}`, `
apiVersion: kuma.io/v1alpha1
kind: Mesh
metadata: {name: x}
networking: {outbound: {passthrough: false}}
spec: {routing: {localityAwareLoadBalancing: true}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, read(t, c.universal, resource.ReadOptions{}), read(t, c.kubernetes, resource.ReadOptions{}))
		})
	}
}

func TestReadingNormalises(t *testing.T) {
	t.Parallel()
	const ns = "k8s.kuma.io/namespace"
	for _, c := range []struct {
		name, doc string
		key       resource.Key
		labels    map[string]string
	}{
		{"no mesh", "type: MeshTimeout\nname: x\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x"}, map[string]string{"kuma.io/mesh": "default"}},
		{"no mesh, message", "type: Dataplane\nname: x\nnetworking: {address: a, inbound: [{port: 1, tags: {kuma.io/service: a}}]}", resource.Key{Kind: "Dataplane", Mesh: "default", Name: "x"}, map[string]string{"kuma.io/mesh": "default"}},
		{"empty mesh", "type: MeshTimeout\nname: x\nmesh: ''\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x"}, map[string]string{"kuma.io/mesh": "default"}},
		{"mesh from the label", "type: MeshTimeout\nname: x\nlabels: {kuma.io/mesh: a}\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "a", Name: "x"}, map[string]string{"kuma.io/mesh": "a"}},
		{"global kind", "type: Zone\nname: x", resource.Key{Kind: "Zone", Name: "x"}, nil},
		{"global kind, empty mesh", "type: Zone\nname: x\nmesh: ''", resource.Key{Kind: "Zone", Name: "x"}, nil},
		{"namespace", "type: MeshTimeout\nname: x\nlabels: {" + ns + ": demo}\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x.demo"},
			map[string]string{"kuma.io/mesh": "default", ns: "demo", "kuma.io/display-name": "x"}},
		{"storage name", "type: MeshTimeout\nname: x.demo\nlabels: {" + ns + ": demo}\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x.demo"},
			map[string]string{"kuma.io/mesh": "default", ns: "demo", "kuma.io/display-name": "x"}},
		{"display name equal to the name", "type: MeshTimeout\nname: x\nlabels: {" + ns + ": demo, kuma.io/display-name: x}\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x.demo"},
			map[string]string{"kuma.io/mesh": "default", ns: "demo", "kuma.io/display-name": "x"}},
		{"hashed name", "type: MeshTimeout\nname: x-4zxv\nlabels: {" + ns + ": demo, kuma.io/display-name: x}\nspec: {}", resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "x-4zxv"},
			map[string]string{"kuma.io/mesh": "default", ns: "demo", "kuma.io/display-name": "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := read(t, c.doc, resource.ReadOptions{})
			assert.Equal(t, c.key, got.Key)
			assert.Equal(t, c.labels, got.Labels)
		})
	}
}

func TestSpecsBecomeCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"durations", `{idleTimeout: 3600s, http: {streamTimeout: 1500ms, requestTimeout: 90m}}`, `{"http":{"requestTimeout":"1h30m0s","streamTimeout":"1.5s"},"idleTimeout":"1h0m0s"}`},
		{"zero duration", `{idleTimeout: 0s, http: {}}`, `{"http":{},"idleTimeout":"0s"}`},
		{"null below default", `{idleTimeout: null, http: {requestTimeout: ~}, headers: {a: null}}`, `{"headers":{"a":null},"http":{"requestTimeout":null},"idleTimeout":null}`},
		{"present but empty", `{headers: {}, backends: []}`, `{"backends":[],"headers":{}}`},
		{"absent", `{}`, `{}`},
		{"defaults of list items", `{backends: [{address: a}, {address: b, mode: Udp, retry: false, port: 1}]}`,
			`{"backends":[{"address":"a","mode":"Tcp","port":80,"retry":true},{"address":"b","mode":"Udp","port":1,"retry":false}]}`},
		{"numbers", `{weight: 0x10, offset: -9223372036854775808, factor: 1e3, percent: 15}`, `{"factor":1000,"offset":-9223372036854775808,"percent":15,"weight":16}`},
		{"whole number with an exponent", `{weight: 1e1}`, `{"weight":10}`},
		{"texts", `{percent: "2.5", headers: {a: "<&>", 80: yes, b: 2026-01-02}}`, `{"headers":{"80":"yes","a":"<&>","b":"2026-01-02"},"percent":"2.5"}`},
		{"base64 and time", `{data: YWJj, since: 2026-01-02T03:04:05.50+02:00}`, `{"data":"YWJj","since":"2026-01-02T01:04:05.5Z"}`},
		{"free field", `{extra: {b: [1, 2.5, true, null, x], a: {}}}`, `{"extra":{"a":{},"b":[1,2.5,true,null,"x"]}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := read(t, conf(c.doc), resource.ReadOptions{})
			assert.Equal(t, `{"to":[{"default":`+c.want+`,"targetRef":{"kind":"Mesh"}}]}`, string(got.Spec))
			_, err := resource.Spec[timeoutSpec](got)
			assert.NoError(t, err)
		})
	}
}

func TestMessagesAcceptWhatProtobufJSONAccepts(t *testing.T) {
	t.Parallel()
	const wanted = `{"type":"Dataplane","mesh":"default","name":"x","labels":{"kuma.io/mesh":"default"},"networking":{` +
		`"inbound":[{"tags":{"kuma.io/service":"a"},"port":80,"serviceProbe":{"interval":"5400s","timeout":"0.250s","unhealthyThreshold":3}}],` +
		`"transparentProxying":{"redirectPortInbound":15006,"ipFamilyMode":"IPv4"},"address":"1.1.1.1"}}`
	for _, inner := range []string{
		"transparentProxying: {redirectPortInbound: 15006, ipFamilyMode: IPv4}",
		`transparent_proxying: {redirect_port_inbound: "15006", ip_family_mode: IPv4}`,
		"transparentProxying: {redirectPortInbound: 15006.0, ipFamilyMode: IPv4}",
	} {
		got := read(t, lines(`
type: Dataplane
name: x
networking:
  address: 1.1.1.1
  inbound:
  - port: 80
    tags: {kuma.io/service: a}
    serviceProbe: {interval: 1h30m, timeout: 250ms, unhealthy_threshold: 3}
  `)+inner+"\n", resource.ReadOptions{})
		doc, err := resource.ToJSON(got)
		require.NoError(t, err)
		assert.JSONEq(t, wanted, string(doc), inner)
	}
}

func TestAllThatIsWrongIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"a misspelt field and a value out of range", `
type: Dataplane
name: x
networking:
  adress: 10.0.0.1
  inbound:
  - port: 70000
    tags: {kuma.io/service: a, kuma.io/protocol: htp}
    stat: Ready`, `
f.yaml:4: Dataplane default/x: networking.adress: unknown field; did you mean address?
f.yaml:6: Dataplane default/x: networking.inbound[0].port: found 70000, want a port from 1 to 65535
f.yaml:7: Dataplane default/x: networking.inbound[0].tags["kuma.io/protocol"]: found "htp", want one of grpc, http, http2, kafka, mysql, tcp, tls; did you mean http?
f.yaml:8: Dataplane default/x: networking.inbound[0].stat: unknown field; did you mean state?`},
		{"nothing is said about what is missing because it was bad", `
type: Dataplane
name: x
networking:
  address: 5
  inbound: none
  outbound:
  - nothing
  - {port: 1, tags: [a]}
  - {port: 0, tags: {kuma.io/service: a}}`, `
f.yaml:4: Dataplane default/x: networking.address: found the number 5, want a text: write "5"
f.yaml:5: Dataplane default/x: networking.inbound: found the text "none", want a list
f.yaml:7: Dataplane default/x: networking.outbound[0]: found the text "nothing", want an object
f.yaml:8: Dataplane default/x: networking.outbound[1].tags: found a list, want an object
f.yaml:9: Dataplane default/x: networking.outbound[2].port: found 0, want a port from 1 to 65535`},
		{"the Kubernetes form and the other spelling", `
apiVersion: kuma.io/v1alpha1
kind: Dataplane
metadata:
  name: X
spec:
  networking:
    address: 0.0.0.0
    inbound: [{port: 1, tags: {kuma.io/service: a}}]
    transparent_proxying:
      reachable_backends: {refs: [{kind: MeshService, name: 5}, {kind: Mesh, name: a}]}
  probes: {port: 0, ports: 9}`, `
f.yaml:4: Dataplane default/X: metadata.name: found "X": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last
f.yaml:7: Dataplane default/X: spec.networking.address: found 0.0.0.0, which no other proxy can reach: want the address of this proxy
f.yaml:10: Dataplane default/X: spec.networking.transparentProxying.reachableBackends.refs[1].kind: found "Mesh", want one of MeshExternalService, MeshMultiZoneService, MeshService
f.yaml:10: Dataplane default/X: spec.networking.transparent_proxying.reachable_backends.refs[0].name: found the number 5, want a text: write "5"
f.yaml:11: Dataplane default/X: spec.probes.port: found 0, want a port from 1 to 65535
f.yaml:11: Dataplane default/X: spec.probes.ports: unknown field; did you mean port?`},
		{"a spec that is not there at all", `
type: MeshExternalService
name: X
labels: {"?": a}`, `
f.yaml:1: MeshExternalService default/X: spec: must be given
f.yaml:2: MeshExternalService default/X: name: found "X": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last
f.yaml:3: MeshExternalService default/X: labels["?"]: the key is "?": want letters, digits, "-", "_" and ".", a letter or digit first and last`},
		{"several on one line, in the order of the list", `{"type": "MeshMultiZoneService", "name": "x", "spec": {"selector": {"meshService": {"matchLabels": {"a": "b"}}}, "ports": [` +
			strings.Repeat(`{"port": 1}, `, 9) + `{"port": "a"}, {"port": 1, "appProtocol": "a"}, {"prt": 1, "name": ""}]}}`, `
f.yaml:1: MeshMultiZoneService default/x: spec.ports[9].port: found the text "a", want a whole number from 0 to 4294967295
f.yaml:1: MeshMultiZoneService default/x: spec.ports[10].appProtocol: found "a", want one of grpc, http, http2, kafka, tcp
f.yaml:1: MeshMultiZoneService default/x: spec.ports[11].name: must not be empty; leave it out to name the port by its number
f.yaml:1: MeshMultiZoneService default/x: spec.ports[11].prt: unknown field; did you mean port?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := testSchemas().Read("f.yaml", []byte(lines(c.doc)), resource.ReadOptions{})
			require.Error(t, err)
			assert.Equal(t, lines(c.want), err.Error())
		})
	}
}

func TestLenientDropsUnknownFieldsAndNothingElse(t *testing.T) {
	t.Parallel()
	o := resource.ReadOptions{Lenient: true}
	got := read(t, "type: MeshTimeout\nname: x\nwhat: ever\nspec: {too: [1], to: [{targetRef: {kind: Mesh, knd: a}}]}", o)
	assert.Equal(t, `{"to":[{"targetRef":{"kind":"Mesh"}}]}`, string(got.Spec))
	got = read(t, "type: Zone\nname: x\nwhat: {a: b}\nenabled: true", o)
	assert.Equal(t, []byte{0x0a, 0x02, 0x08, 0x01}, got.Spec)
	got = read(t, "apiVersion: kuma.io/v1alpha1\nkind: Zone\nmetadata: {name: x, generateName: y}\nspec: {enabled: true, a: 1}", o)
	assert.Equal(t, []byte{0x0a, 0x02, 0x08, 0x01}, got.Spec)

	for _, doc := range []string{"type: Zone\nname: x\nname: y", "type: Zone\nname: x\nenabled: 5", "type: Zone\nname: X", "type: Zon\nname: x"} {
		_, err := testSchemas().Read("f.yaml", []byte(doc), o)
		assert.Error(t, err, doc)
	}
}

func TestAsStoredTakesDocumentsAsTheyAre(t *testing.T) {
	t.Parallel()
	source := "\n\n" + lines(`
# a comment alone
---
type: MeshTimeout
name: Not_a_name
labels: {k8s.kuma.io/namespace: demo, team: a b}
what: ever
spec:
  to:
  - targetRef: {kind: Mesh}
    default:
      idleTimeout: 1s
      idleTimeout: 2s
      headers:
        a: |
          text
---
type: Dataplane
name: empty
mesh: m
---
type: Zone
mesh: of none
name: x
---
type: MeshTimeout
spec: {}
`)
	docs, err := testSchemas().Read("f.yaml", []byte(source), resource.ReadOptions{AsStored: true})
	assert.EqualError(t, err, "f.yaml:27: document 4: MeshTimeout: name: must be given")
	require.Len(t, docs, 3)
	assert.Equal(t, 5, docs[0].Line)
	assert.Equal(t, 1, docs[0].Index)
	assert.Equal(t, resource.Resource{
		Key:    resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "Not_a_name"},
		Labels: map[string]string{"k8s.kuma.io/namespace": "demo", "team": "a b"},
		Spec:   []byte(`{"to":[{"default":{"headers":{"a":"text"},"idleTimeout":"2s"},"targetRef":{"kind":"Mesh"}}]}`),
	}, docs[0].Resource)
	assert.Equal(t, resource.Key{Kind: "Dataplane", Mesh: "m", Name: "empty"}, docs[1].Resource.Key)
	assert.NotNil(t, docs[1].Resource.Spec)
	assert.Equal(t, resource.Key{Kind: "Zone", Name: "x"}, docs[2].Resource.Key)
}

func TestStatusIsKept(t *testing.T) {
	t.Parallel()
	const head = "type: MeshService\nname: x\nspec: {ports: [{port: 80}]}\n"
	assert.Equal(t, `{"tls":{},"vips":[{"ip":"241.0.0.1"}]}`, string(read(t, head+"status: {vips: [{ip: 241.0.0.1}], tls: {}}", resource.ReadOptions{}).Status))
	assert.Nil(t, read(t, head+"status: null", resource.ReadOptions{}).Status)
	assert.Nil(t, read(t, head, resource.ReadOptions{}).Status)
	_, err := testSchemas().Read("f.yaml", []byte("type: Zone\nname: x\nstatus: {}"), resource.ReadOptions{})
	assert.EqualError(t, err, "f.yaml:3: Zone x: status: unknown field; known here: creationTime, enabled, labels, mesh, modificationTime, name, type")
}

func TestAnchorsAndMergeKeysWork(t *testing.T) {
	t.Parallel()
	got := read(t, lines(`
type: MeshTimeout
name: &name x
labels: &labels {a: "1", b: "2"}
spec:
  to:
  - targetRef: &ref
      kind: MeshService
      name: *name
      labels: {<<: *labels, b: "3"}
  - targetRef:
      <<: [{kind: Mesh}, *ref]
      proxyTypes: [b]
`), resource.ReadOptions{})
	assert.Equal(t, `{"to":[{"targetRef":{"kind":"MeshService","labels":{"a":"1","b":"3"},"name":"x"}},`+
		`{"targetRef":{"kind":"Mesh","labels":{"a":"1","b":"3"},"name":"x","proxyTypes":["b"]}}]}`, string(got.Spec))
}

func TestJSONIsReadAsJSON(t *testing.T) {
	t.Parallel()
	got := read(t, "\ufeff{\n\t\"type\": \"MeshTimeout\", \"name\": \"x\",\n\t\"spec\": {\"to\": [{\"targetRef\": {\"kind\": \"Mesh\"}, \"default\": {\"headers\": {\"a\": \"\\ud83d\\ude00\\/\", \""+
		strings.Repeat("k", 2000)+"\": \"b\"}}}]}}", resource.ReadOptions{})
	assert.Contains(t, string(got.Spec), `{"a":"😀/","kkk`)
}

func TestHostileDocumentsAreRefusedAtABoundedCost(t *testing.T) { // alone, to measure what it allocates
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
	}
	merges := "a0: &a0 {k: v}\n"
	for i := 1; i < 100; i++ {
		merges += fmt.Sprintf("a%d: &a%d\n  <<: [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	numbered := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const head, most, tooMany = "type: Zone\nname: x\n", "\nf.yaml: Zone x: has more than 100 violations; the rest is not shown", "has more than 50000 fields and items, the limit for one document"
	const tooLarge = "is larger than 1048576 bytes, the limit for one document"
	for _, c := range []struct{ name, doc, want string }{
		{"alias bomb", bomb, "f.yaml:1: its aliases expand to more than 10000 values"},
		{"merge bomb", merges, "its aliases expand to more than 10000 values"},
		{"alias in itself", "a: &a [*a]", "f.yaml:1: nested more than 64 levels deep"},
		{"deep YAML", strings.Repeat("[", 500_000), "f.yaml:1: not valid YAML: exceeded max depth of 10000"},
		{"deep YAML in blocks", deep(100), "f.yaml:66: nested more than 64 levels deep"},
		{"deep JSON", strings.Repeat(`{"a":`, 200_000), "f.yaml:1: nested more than 64 levels deep"},
		{"deep enough", strings.Repeat(`[`, 66) + strings.Repeat(`]`, 66), "f.yaml:1: nested more than 64 levels deep"},
		{"large YAML", head + "zone: " + strings.Repeat("x", 10<<20), "f.yaml:1: " + tooLarge},
		{"large literal text", head + "zone: |\n" + strings.Repeat("  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 1<<17), "f.yaml:1: " + tooLarge},
		{"large JSON", `{"type": "Zone", "name": "` + strings.Repeat("x", 10<<20) + `"}`, "f.yaml:1: " + tooLarge},
		{"NUL", head + "labels: {a: \x00}", "f.yaml:3: holds a NUL byte: want text in UTF-8"},
		{"NUL, escaped", head + `labels: {a: "\0"}`, "f.yaml:3: a text holds the character NUL"},
		{"NUL in JSON", `{"type": "Zone", "name": "\u0000"}`, "f.yaml:1: a text holds the character NUL"},
		{"100,000 keys", numbered(100_000, "k%d: 1\n"), tooMany},
		{"100,000 keys in JSON", `{"type": "Zone", "a": {` + strings.TrimSuffix(numbered(100_000, `"%d":1,`), ",") + `}}`, tooMany},
		{"100,000 items", head + "a: [" + strings.Repeat("1,", 100_000) + "]", tooMany},
		{"many unknown fields", head + numbered(40_000, "metrix%d: 1\n"), most},
		{"many bad labels", head + "labels:\n" + numbered(40_000, "  _%d: a\n"), most},
		{"many duplicates", head + strings.Repeat("a: 1\n", 40_000), "f.yaml:40002: Zone x: a: given twice: on line 3 and on line 40002"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, schemas := []byte(c.doc), testSchemas()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			docs, err := schemas.Read("f.yaml", data, resource.ReadOptions{})
			runtime.ReadMemStats(&after)
			assert.Less(t, (after.TotalAlloc-before.TotalAlloc)>>20, uint64(600), "MiB") // a fifth of it without -race
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
			assert.Empty(t, docs)
			assert.LessOrEqual(t, strings.Count(err.Error(), "\n"), 100)
			assert.Less(t, len(err.Error()), 50_000)
		})
	}
}

// deep returns objects in objects, in YAML's block form.
func deep(levels int) string {
	var b strings.Builder
	for i := range levels {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

func TestLimitsAreChosenByTheReader(t *testing.T) {
	t.Parallel()
	doc := "type: Zone\nname: x\nlabels: {a: b}\n"
	for _, form := range []string{doc, strings.ReplaceAll(doc, "{a: b}", "{a: !!str b}"), `{"type": "Zone", "name": "x", "labels": {"a": "b"}}`} {
		for _, c := range []struct {
			o    resource.ReadOptions
			want string
		}{
			{resource.ReadOptions{MaxItems: 4, MaxDepth: 2, MaxBytes: 100}, ""},
			{resource.ReadOptions{MaxItems: 3}, "has more than 3 fields and items, the limit for one document"},
			{resource.ReadOptions{MaxDepth: 1}, "nested more than 1 levels deep"},
			{resource.ReadOptions{MaxBytes: 30}, "is larger than 30 bytes, the limit for one document"},
		} {
			_, err := testSchemas().Read("f.yaml", []byte(form), c.o)
			if c.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.want, form)
			}
		}
	}
}

func TestTheLimitIsForOneDocumentNotForTheSource(t *testing.T) {
	t.Parallel()
	o := resource.ReadOptions{MaxBytes: 60}
	docs, err := testSchemas().Read("f.yaml", []byte(strings.Repeat("---\ntype: Zone\nname: x\n", 100)), o)
	require.NoError(t, err)
	assert.Len(t, docs, 100)
	docs, err = testSchemas().Read("f.json", []byte(strings.Repeat(`{"type":"Zone","name":"x"}`+"\n", 100)), o)
	require.NoError(t, err)
	assert.Len(t, docs, 100)
	assert.Equal(t, 100, docs[99].Line)
	_, err = testSchemas().Read("f.yaml", []byte("type: Zone\nname: x\n---\n# "+strings.Repeat("x", 60)+"\ntype: Zone"), o)
	assert.EqualError(t, err, "f.yaml:4: document 2: is larger than 60 bytes, the limit for one document")
}

func TestNothingIsNoDocument(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"", "\n", "# a\n", "---\n", "---\n---\n# a\n", "\ufeff", "%YAML 1.2\n---\n", "~"} {
		for _, o := range []resource.ReadOptions{{}, {AsStored: true}} {
			docs, err := testSchemas().Read("f.yaml", []byte(source), o)
			assert.NoError(t, err, "%q", source)
			assert.Empty(t, docs, "%q", source)
		}
	}
	docs, err := testSchemas().Read("f.yaml", []byte("---\n# a\n...\n# b\n...\n"), resource.ReadOptions{})
	assert.NoError(t, err)
	assert.Empty(t, docs)
}

// Programs tell violations apart by their codes, not by their words.
func TestViolationsHaveCodes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]resource.ViolationCode{
		"type: Zone\nname: x\nenabld: true\n":                                                resource.CodeUnknownField,
		"type: Zone\nname: x\nlabels: {a: " + strings.Repeat("b", 100) + "}\n":               resource.CodeTooLarge,
		`{"type": "Zone", "name": "x", "labels": {"a": "` + strings.Repeat("b", 100) + `"}}`: resource.CodeTooLarge,
		"apiVersion: apps/v1\nkind: Deployment\n":                                            resource.CodeForeign,
		"apiVersion: kuma.io/v2\nkind: Zone\n":                                               resource.CodeOther,
		"apiVersion: 1\nkind: Zone\n":                                                        resource.CodeOther,
		"type: Zone\nname: x\nenabled: unknown field\n":                                      resource.CodeOther,
		"type: Zone\nname: x\nenabled: [\n":                                                  resource.CodeOther,
	} {
		_, err := testSchemas().Read("f.yaml", []byte(text), resource.ReadOptions{MaxBytes: 100})
		invalid, ok := errors.AsType[*resource.InvalidError](err)
		require.True(t, ok, text)
		require.Len(t, invalid.Violations, 1, text)
		assert.Equal(t, want, invalid.Violations[0].Code, text)
		assert.Equal(t, want == resource.CodeForeign, invalid.Foreign(), text)
	}
}
