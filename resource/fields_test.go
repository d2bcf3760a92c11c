package resource_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// field returns the field at a path of names; "[]" stands for the items of a list and the values of a map.
func field(t *testing.T, info resource.FieldInfo, path string) resource.FieldInfo {
	t.Helper()
	for name := range strings.SplitSeq(path, ".") {
		ok := false
		if name == "[]" {
			info, ok = info.Elem()
		} else {
			for _, f := range info.Fields() {
				if f.Name == name {
					info, ok = f, true
				}
			}
		}
		require.True(t, ok, "%s: no %s", path, name)
	}
	return info
}

func TestFieldsDescribeWhatDocumentsMayHold(t *testing.T) {
	t.Parallel()
	const here, mesh = "github.com/meridian-mesh/meridian/resource", "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	const system = "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	schemas := testSchemas()
	spec := func(kind string) resource.FieldInfo {
		info, ok := schemas.Fields(kind)
		require.True(t, ok)
		return info
	}
	shallow := func(f resource.FieldInfo) resource.FieldInfo { // without the shape, which is not exported
		return resource.FieldInfo{Name: f.Name, Type: f.Type, Required: f.Required, Default: f.Default, Enum: f.Enum, Min: f.Min, Max: f.Max,
			Patch: f.Patch, OneOf: f.OneOf, Secret: f.Secret, Declared: f.Declared, Of: f.Of}
	}
	for _, c := range []struct {
		kind, path string
		want       resource.FieldInfo
	}{
		{"MeshExternalService", "match", resource.FieldInfo{Name: "match", Type: "object", Required: true,
			Declared: resource.GoName{Package: here, Type: "MeshExternalService", Field: "Match"}, Of: resource.GoName{Package: here, Type: "ExternalMatch"}}},
		{"MeshExternalService", "match.port", resource.FieldInfo{Name: "port", Type: "integer", Required: true, Min: 1, Max: 65535,
			Declared: resource.GoName{Package: here, Type: "ExternalMatch", Field: "Port"}}},
		{"MeshExternalService", "match.protocol", resource.FieldInfo{Name: "protocol", Type: "enum", Default: "tcp", Enum: []string{"grpc", "http", "http2", "tcp"},
			Declared: resource.GoName{Package: here, Type: "ExternalMatch", Field: "Protocol"}, Of: resource.GoName{Package: here, Type: "ExternalProtocol"}}},
		{"MeshExternalService", "tls.verification.clientKey.inline", resource.FieldInfo{Name: "inline", Type: "base64", Secret: true,
			Declared: resource.GoName{Package: here, Type: "DataSource", Field: "Inline"}}},
		{"MeshExternalService", "endpoints.[].address", resource.FieldInfo{Name: "address", Type: "text", Required: true,
			Declared: resource.GoName{Package: here, Type: "ExternalEndpoint", Field: "Address"}}},
		{"MeshMultiZoneService", "selector.meshService.matchLabels.[]", resource.FieldInfo{Type: "text"}},
		{"MeshTimeout", "to.[].default", resource.FieldInfo{Name: "default", Type: "object", Patch: true,
			Declared: resource.GoName{Package: here + "_test", Type: "timeoutItem", Field: "Default"}, Of: resource.GoName{Package: here + "_test", Type: "timeoutConf"}}},
		{"MeshGateway", "conf.listeners.[].protocol", resource.FieldInfo{Name: "protocol", Type: "enum", Enum: []string{"NONE", "TCP", "TLS", "HTTP", "HTTPS"},
			Declared: resource.GoName{Package: mesh, Type: "MeshGateway_Listener", Field: "Protocol"}}},
		{"MeshGateway", "conf.listeners.[].tls.certificates.[].inlineString", resource.FieldInfo{Name: "inlineString", Type: "text", OneOf: "type", Secret: true,
			Declared: resource.GoName{Package: system, Type: "DataSource_InlineString", Field: "InlineString"}}},
		{"Secret", "data", resource.FieldInfo{Name: "data", Type: "base64", Secret: true,
			Declared: resource.GoName{Package: system, Type: "Secret", Field: "Data"}}},
		{"Mesh", "mtls.backends.[].conf.[]", resource.FieldInfo{Type: "any"}},
	} {
		assert.Equal(t, c.want, shallow(field(t, spec(c.kind), c.path)), c.path)
	}
	_, ok := schemas.Fields("MeshRetry")
	assert.False(t, ok, "no schema")
	elem, ok := field(t, spec("Secret"), "data").Elem()
	assert.False(t, ok)
	assert.Zero(t, elem)
	assert.Nil(t, elem.Fields())
}

func TestEveryFieldIsDeclaredWhereFieldsSays(t *testing.T) {
	t.Parallel()
	declared := map[resource.GoName]bool{}
	for pkg, dir := range map[string]string{"resource": ".", "proto/mesh/v1alpha1": "../proto/mesh/v1alpha1", "proto/system/v1alpha1": "../proto/system/v1alpha1"} {
		files, err := filepath.Glob(dir + "/*.go")
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			require.NoError(t, err)
			ast.Inspect(parsed, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				name := resource.GoName{Package: "github.com/meridian-mesh/meridian/" + pkg, Type: spec.Name.Name}
				declared[name] = true
				if s, ok := spec.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, id := range f.Names {
							name.Field = id.Name
							declared[name] = true
						}
					}
				}
				return true
			})
		}
	}
	fields := 0
	var walk func(kind string, info resource.FieldInfo)
	walk = func(kind string, info resource.FieldInfo) {
		if info.Of.Package != "" {
			assert.True(t, declared[info.Of], "%s: %v", kind, info.Of)
		}
		for _, f := range info.Fields() {
			fields++
			assert.True(t, declared[f.Declared], "%s: %s: %v", kind, f.Name, f.Declared)
			walk(kind, f)
		}
		if elem, ok := info.Elem(); ok {
			walk(kind, elem)
		}
	}
	for kind := range resource.BaseSchemas() {
		info, ok := resource.BaseSchemas().Fields(kind)
		require.True(t, ok)
		walk(kind, info)
	}
	assert.Greater(t, fields, 500)
}
