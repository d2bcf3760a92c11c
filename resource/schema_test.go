package resource_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestSpecDecodesStructsAndMessages(t *testing.T) {
	t.Parallel()
	svc := read(t, "type: MeshService\nname: x\nspec: {ports: [{port: 80, targetPort: web}, {port: 81, targetPort: 0}, {port: 82}]}", resource.ReadOptions{})
	spec, err := resource.Spec[resource.MeshService](svc)
	require.NoError(t, err)
	assert.Equal(t, resource.MeshService{State: resource.MeshServiceUnavailable, Ports: []resource.MeshServicePort{
		{Port: 80, TargetPort: resource.IntOrString{Text: "web"}, AppProtocol: "tcp"},
		{Port: 81, TargetPort: resource.IntOrString{IsInt: true}, AppProtocol: "tcp"},
		{Port: 82, AppProtocol: "tcp"},
	}}, spec)
	pointer, err := resource.Spec[*resource.MeshService](svc)
	require.NoError(t, err)
	assert.Equal(t, spec, *pointer)

	dp, err := resource.Spec[*meshv1.Dataplane](read(t, "type: Dataplane\nname: x\nnetworking: {address: a, inbound: [{port: 1, tags: {kuma.io/service: a}}]}", resource.ReadOptions{}))
	require.NoError(t, err)
	assert.Equal(t, "a", dp.GetNetworking().GetAddress())

	bad := resource.Resource{Key: resource.Key{Kind: "MeshService", Mesh: "m", Name: "x"}, Spec: []byte(`{"ports": 5}`)}
	_, err = resource.Spec[resource.MeshService](bad)
	assert.ErrorContains(t, err, "spec of MeshService m/x: json: cannot unmarshal number")
	_, err = resource.Spec[*meshv1.Dataplane](resource.Resource{Key: resource.Key{Kind: "Dataplane", Mesh: "m", Name: "x"}, Spec: []byte("\xff")})
	assert.ErrorContains(t, err, "spec of Dataplane m/x: proto:")
}

func TestResourcesFromAPeerAreValidated(t *testing.T) {
	t.Parallel()
	key := func(kind string) resource.Key { return resource.Key{Kind: kind, Mesh: "m", Name: "x"} }
	s := testSchemas()
	assert.NoError(t, s.Validate(resource.Resource{Key: key("MeshTimeout"), Spec: []byte(`{"newer": 1}`)}), "unknown fields pass")
	assert.NoError(t, s.Validate(resource.Resource{Key: key("MeshRetry"), Spec: []byte(`?`)}), "kinds without a schema pass")
	assert.NoError(t, s.Validate(resource.Resource{Key: key("MeshService"), Spec: []byte(`{}`)}))
	assert.EqualError(t, s.Validate(resource.Resource{Key: key("MeshTimeout"), Spec: []byte(`{"to": [{"default": {"idleTimeout": "x"}}]}`)}),
		`MeshTimeout m/x: spec: time: invalid duration "x"`)
	assert.EqualError(t, s.Validate(resource.Resource{Key: key("Dataplane"), Spec: nil}), "Dataplane m/x: networking: must be given")
}

func TestDurationsAreWrittenInGoNotation(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(resource.Duration(90 * time.Minute))
	require.NoError(t, err)
	assert.Equal(t, `"1h30m0s"`, string(data))
	var d resource.Duration
	require.NoError(t, json.Unmarshal([]byte(`"3600s"`), &d))
	assert.Equal(t, resource.Duration(time.Hour), d)
	assert.Error(t, json.Unmarshal([]byte(`"5"`), &d))
	assert.Error(t, json.Unmarshal([]byte(`5`), &d))
}

func TestIntOrStringKeepsWhatTheAuthorWrote(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`80`, `0`, `"80"`, `"web"`, `""`} {
		var v resource.IntOrString
		require.NoError(t, json.Unmarshal([]byte(text), &v))
		data, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, text, string(data))
	}
	var v resource.IntOrString
	assert.Error(t, json.Unmarshal([]byte(`1.5`), &v))
	assert.Error(t, json.Unmarshal([]byte(`{}`), &v))
	assert.Equal(t, "80", resource.IntOrString{Int: 80, IsInt: true}.String())
	assert.Equal(t, "web", resource.IntOrString{Text: "web"}.String())
}

func TestNearestFindsTheWordThatWasMeant(t *testing.T) {
	t.Parallel()
	known := []string{"requestTimeout", "streamIdleTimeout", "http", "maxConnections", "maxConnectors"}
	for word, want := range map[string]string{
		"requestTimout":   "requestTimeout",
		"request_timeout": "requestTimeout",
		"REQUESTTIMEOUT":  "requestTimeout",
		"htp":             "http",
		"hptt":            "http",
		"thpp":            "",
		"maxConnectins":   "maxConnections",
		"maxConnectons":   "maxConnections",
		"timeout":         "",
		"":                "",
		"x":               "",
		"-":               "",
		"\xff":            "",
	} {
		assert.Equal(t, want, resource.Nearest(word, known), "%q", word)
	}
	assert.Equal(t, "aa", resource.Nearest("ac", []string{"ab", "aa"}), "of equally near words the first by name")
	assert.Empty(t, resource.Nearest("http", nil))
}

func TestMetadataRules(t *testing.T) {
	t.Parallel()
	long := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a'
		}
		return string(b)
	}
	type labels = map[string]string
	for _, c := range []struct {
		kind, mesh, name string
		labels           labels
		want             []string
	}{
		{"MeshTimeout", "default", "a.b-c.0", labels{"a/B_c.d": "", "x": "A_b-c.d"}, nil},
		{"MeshTimeout", "old_mesh_", "x", labels{"kuma.io/mesh": "old_mesh_"}, nil},
		{"MeshTimeout", "default", "x", labels{"kuma.io/display-name": long(200), "kuma.io/zone": "a.b"}, nil},
		{"MeshTimeout", "", "", nil, []string{"name: must be given", "mesh: must be given"}},
		{"MeshTimeout", long(254), long(254), nil, []string{"name: has 254 characters, want at most 253", "mesh: has 254 characters, want at most 253"}},
		{"MeshTimeout", "A", "-a", nil, []string{
			`name: found "-a": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
			`mesh: found "A": want lower case letters, digits, "-", "_" and "."`}},
		{"Mesh", "", long(64), nil, []string{"name: has 64 characters, want at most 63 for a mesh"}},
		{"Mesh", "a", "m", nil, []string{`mesh: found "a", but a Mesh belongs to no mesh`}},
		{"Zone", "", "x", labels{"": "", "/a": "", "a/": "", "kuma.io/origin": "", "l": long(64), long(64): "", "k8s.kuma.io/namespace": "a.b", "kuma.io/zone": "A", "kuma.io/display-name": "_", "v": "-"}, []string{
			`labels[""]: the key is "": want letters, digits, "-", "_" and ".", a letter or digit first and last`,
			`labels["/a"]: the key has the prefix "": want a DNS name such as kuma.io`,
			`labels["a/"]: the key is "": want letters, digits, "-", "_" and ".", a letter or digit first and last`,
			`labels["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."]: the key has 64 characters, want at most 63`,
			`labels["k8s.kuma.io/namespace"]: found "a.b": want at most 63 lower case letters, digits and "-", a letter or digit first and last`,
			`labels["kuma.io/display-name"]: found "_": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
			`labels["kuma.io/origin"]: found "", want one of global, zone`,
			`labels["kuma.io/zone"]: found "A": want lower case letters, digits, "-" and "." (such as demo-app.kuma-demo), a letter or digit first and last`,
			`labels["l"]: the value has 64 characters, want at most 63`,
			`labels["v"]: found "-": want letters, digits, "-", "_" and ".", a letter or digit first and last`,
		}},
	} {
		d, ok := resource.LookupKind(c.kind)
		require.True(t, ok)
		var got []string
		for _, v := range resource.ValidateMeta(resource.Resource{Key: resource.Key{Kind: c.kind, Mesh: c.mesh, Name: c.name}, Labels: c.labels}, d) {
			got = append(got, v.Field+": "+v.Reason)
		}
		assert.Equal(t, c.want, got)
	}
}

func TestSchemasOfGoTypes(t *testing.T) {
	t.Parallel()
	type inner struct {
		Weight uint `json:"weight,omitempty"`
	}
	type tree struct {
		inner
		Left   *tree           `json:"left,omitempty"`
		Raw    json.RawMessage `json:"raw,omitempty"`
		Bare   string
		Hidden chan int `json:"-"`
	}
	s := resource.Schemas{"MeshTimeout": {Spec: func() any { return &tree{} }}}
	docs, err := s.Read("", []byte(`{"type":"MeshTimeout","name":"x","spec":{"weight":1,"left":{"left":{"weight":18446744073709551615}},"raw":[null],"Bare":"b"}}`), resource.ReadOptions{})
	require.NoError(t, err)
	assert.Equal(t, `{"Bare":"b","left":{"left":{"weight":18446744073709551615}},"raw":[null],"weight":1}`, string(docs[0].Resource.Spec))
	_, err = s.Read("", []byte(`{"type":"MeshTimeout","name":"x","spec":{"weight":-1,"left":{"hidden":1}}}`), resource.ReadOptions{})
	assert.EqualError(t, err, "MeshTimeout default/x: spec.left.hidden: unknown field; known here: Bare, left, raw, weight\nMeshTimeout default/x: spec.weight: found the number -1, want a whole number from 0")

	for want, spec := range map[string]any{
		`resource: field A: check:"requird": unknown word`: &struct {
			A string `check:"requird"`
		}{},
		`resource: field A: check:"min=x": strconv.ParseInt: parsing "x": invalid syntax`: &struct {
			A int `check:"min=x"`
		}{},
		`resource: no document can hold a chan int`: &struct{ A chan int }{},
	} {
		s := resource.Schemas{"MeshTimeout": {Spec: func() any { return spec }}}
		assert.PanicsWithValue(t, want, func() {
			_, _ = s.Read("", []byte(`{"type":"MeshTimeout","name":"x","spec":{}}`), resource.ReadOptions{})
		})
	}
}
