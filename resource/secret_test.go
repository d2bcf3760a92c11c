package resource_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestMessagesNeverShowASecret(t *testing.T) {
	t.Parallel()
	const value = "8437562"
	for _, field := range []string{
		"type: Secret\nname: x\ndata: %s",
		"type: GlobalSecret\nname: x\ndata: %s",
		"apiVersion: kuma.io/v1alpha1\nkind: Secret\nmetadata: {name: x}\nspec:\n  data: %s",
		"type: MeshExternalService\nname: x\nspec:\n  match: {port: 1}\n  tls:\n    verification:\n      clientKey:\n        inline: %s",
		"type: MeshExternalService\nname: x\nspec:\n  match: {port: 1}\n  tls:\n    verification:\n      clientKey:\n        inlineString: %s",
		"type: MeshGateway\nname: x\nconf:\n  listeners:\n  - tls:\n      certificates:\n      - inline: %s",
		"type: MeshGateway\nname: x\nconf:\n  listeners:\n  - tls:\n      certificates:\n      - inlineString: %s",
		"type: Mesh\nname: x\nmtls:\n  backends:\n  - name: a\n    type: provided\n    conf:\n      cert: {file: a}\n      key:\n        inline: %s",
		"type: Mesh\nname: x\nmtls:\n  backends:\n  - name: a\n    type: provided\n    conf:\n      cert: {inlineString: a}\n      key:\n        inlineString: %s",
	} {
		wrong := 0
		for _, written := range []string{value, value + "?", `"` + value + `?"`, "'" + value + "'", "-1." + value, "[" + value + "]", "{a: " + value + "}", "!!int " + value + "x",
			"!!float x" + value, "!" + value + " x", "0x" + value, "1e" + value, "*a" + value, "|\n                " + value, "true", "~", "\"" + value, "'" + value, "@" + value, "a: " + value} {
			doc := fmt.Sprintf(field, written)
			_, err := testSchemas().Read("f.yaml", []byte(doc), resource.ReadOptions{})
			if err != nil {
				wrong++
				assert.NotContains(t, err.Error(), value, doc)
			}
		}
		assert.Greater(t, wrong, 10, field)
	}
	_, err := testSchemas().Read("f.yaml", []byte("type: Secret\nname: x\ndata: '!!'"), resource.ReadOptions{})
	assert.EqualError(t, err, "f.yaml:3: Secret default/x: data: found a text, want a text in base64")
	_, err = testSchemas().Read("", []byte(`{"type": "Secret", "name": "x", "data": true}`), resource.ReadOptions{})
	assert.EqualError(t, err, "Secret default/x: data: found a boolean, want a text in base64")
	_, err = testSchemas().Read("", []byte(`{"type": "Secret", "name": "x", "data": 1e`+value+`}`), resource.ReadOptions{})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), value)
}

func TestRedactHidesTheDataOfSecrets(t *testing.T) {
	t.Parallel()
	secret := read(t, "type: Secret\nname: x\nlabels: {a: b}\ndata: aGVsbG8=", resource.ReadOptions{})
	global := read(t, "type: GlobalSecret\nname: x\ndata: aGVsbG8=", resource.ReadOptions{})
	empty := read(t, "type: Secret\nname: x", resource.ReadOptions{})
	zone := read(t, "type: Zone\nname: x\nenabled: true", resource.ReadOptions{})
	broken := resource.Resource{Key: secret.Key, Spec: []byte("\xffhello")}
	for _, c := range []struct {
		r    resource.Resource
		want string
	}{
		{secret, `{"type":"Secret","mesh":"default","name":"x","labels":{"a":"b","kuma.io/mesh":"default"},"data":"redacted"}`},
		{global, `{"type":"GlobalSecret","name":"x","data":"redacted"}`},
		{empty, `{"type":"Secret","mesh":"default","name":"x","labels":{"kuma.io/mesh":"default"}}`},
		{zone, `{"type":"Zone","name":"x","enabled":true}`},
		{broken, `{"type":"Secret","mesh":"default","name":"x","data":"redacted"}`},
	} {
		before := string(c.r.Spec)
		doc, err := resource.ToJSON(resource.Redact(c.r))
		require.NoError(t, err)
		assert.Equal(t, c.want, string(doc))
		assert.Equal(t, before, string(c.r.Spec), "the resource itself stays")
	}
	data, err := resource.Spec[*systemv1.Secret](secret)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(data.GetData().GetValue()))
	doc, err := resource.ToJSON(resource.Redact(secret))
	require.NoError(t, err)
	_, err = testSchemas().Read("", doc, resource.ReadOptions{})
	assert.ErrorContains(t, err, "data: found redacted, which stands for data that was not shown")
	_, err = base64.StdEncoding.DecodeString("redacted")
	assert.NoError(t, err)
}
