package proto_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
)

// A Kuma 2.10.11 control plane puts beside each resource the SHA-256 of its deterministic encoding. These resources and
// versions were recorded from one: the same document must give the same bytes here.
func TestEncodingIsTheOneThatKumaHashes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		meta    *meshv1.KumaResource_Meta
		message proto.Message // nil: the spec is JSON
		spec    string
		status  string
		version string
	}{
		{
			name:    "Mesh",
			meta:    &meshv1.KumaResource_Meta{Name: "default", Labels: map[string]string{"kuma.io/origin": "global"}},
			message: &meshv1.Mesh{},
			spec:    `{}`,
			version: "ee3ed1993ca3721e6609c0fb78bb711a00f96c808af6675986293d420dc0d6d1",
		},
		{
			name: "Config",
			meta: &meshv1.KumaResource_Meta{
				Name: "kuma-cluster-id", Labels: map[string]string{"kuma.io/origin": "global"},
			},
			message: &systemv1.Config{},
			spec:    `{"config": "2bfe1f3b-14ee-452e-bcdc-c8a278786c92"}`,
			version: "616060ea98c2f030dea6e62a37b727060cbd23569ad91fa5ec69e89b0a940140",
		},
		{
			name: "Dataplane",
			meta: &meshv1.KumaResource_Meta{
				Name: "dp-1-64d2dbc6xzwcbv25", Mesh: "default", Labels: map[string]string{
					"kuma.io/display-name": "dp-1", "kuma.io/env": "universal", "kuma.io/mesh": "default",
					"kuma.io/origin": "zone", "kuma.io/proxy-type": "sidecar", "kuma.io/zone": "z9",
				},
			},
			message: &meshv1.Dataplane{},
			spec: `{"networking": {"address": "127.0.0.1",
				"inbound": [{"port": 8090, "tags": {"kuma.io/service": "a", "kuma.io/zone": "z9"}}]}}`,
			version: "944c28175e5d28d51594de4cf1520fc2928ee4b6f0b9a40678a3edee96af90ab",
		},
		{
			name: "ZoneIngress",
			meta: &meshv1.KumaResource_Meta{
				Name: "zi-east-z24d494df54z6x8c", Labels: map[string]string{
					"kuma.io/display-name": "zi-east", "kuma.io/origin": "global", "kuma.io/zone": "east",
				},
			},
			message: &meshv1.ZoneIngress{},
			spec: `{"zone": "east", "networking": {"address": "192.0.2.20", "port": 10001,
				"advertisedAddress": "192.0.2.20", "advertisedPort": 10001}}`,
			version: "5ebe517ff1944aeb13c51d9cd757037a509b658cc95042d1362b3ed1b0c37dba",
		},
		{
			name: "ServiceInsight",
			meta: &meshv1.KumaResource_Meta{
				Name: "all-services-default-wv4b46z9d8z49284", Mesh: "default", Labels: map[string]string{
					"kuma.io/display-name": "all-services-default", "kuma.io/origin": "global",
				},
			},
			message: &meshv1.ServiceInsight{},
			spec: `{"services": {"backend_kdspeer-demo_svc_8080":
				{"status": "offline", "dataplanes": {"offline": 1}}}}`,
			version: "12d734b744fa54197119db7fb497cadedd5ca759180f2c3d5b63a2b9dc37eb3f",
		},
		{
			name: "MeshService, in JSON and with a status",
			meta: &meshv1.KumaResource_Meta{
				Name: "backend-4c94842z6fd5b4x4", Mesh: "default", Labels: map[string]string{
					"app": "backend", "k8s.kuma.io/namespace": "demo", "kuma.io/display-name": "backend",
					"kuma.io/env": "kubernetes", "kuma.io/mesh": "default", "kuma.io/origin": "global",
					"kuma.io/zone": "east",
				},
			},
			spec: `{"selector":{"dataplaneTags":{"app":"backend"}},` +
				`"ports":[{"port":8080,"targetPort":8080,"appProtocol":"http"}]}`,
			status:  `{"tls":{},"dataplaneProxies":{}}`,
			version: "5b06a7e49a7caaacce95990decc790cb6c7111a4124b5dfd9f0f3a86f730e9cf",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &meshv1.KumaResource{Meta: tc.meta, Spec: &anypb.Any{Value: []byte(tc.spec)}}
			deterministic := proto.MarshalOptions{Deterministic: true}
			if tc.message != nil {
				require.NoError(t, protojson.Unmarshal([]byte(tc.spec), tc.message))
				require.NoError(t, anypb.MarshalFrom(r.Spec, tc.message, deterministic))
			}
			if tc.status != "" {
				r.Status = &anypb.Any{Value: []byte(tc.status)}
			}
			b, err := deterministic.Marshal(r)
			require.NoError(t, err)
			sum := sha256.Sum256(b)
			assert.Equal(t, tc.version, hex.EncodeToString(sum[:]), "%x", b)
		})
	}
}

func TestKumaResourceHasTheFieldNumbersOfKuma(t *testing.T) {
	t.Parallel()
	numbers := func(m protoreflect.ProtoMessage) map[protoreflect.Name]protoreflect.FieldNumber {
		fields := m.ProtoReflect().Descriptor().Fields()
		got := map[protoreflect.Name]protoreflect.FieldNumber{}
		for i := range fields.Len() {
			got[fields.Get(i).Name()] = fields.Get(i).Number()
		}
		return got
	}
	assert.Equal(t, map[protoreflect.Name]protoreflect.FieldNumber{"meta": 1, "spec": 2, "status": 3},
		numbers(&meshv1.KumaResource{}))
	assert.Equal(t, map[protoreflect.Name]protoreflect.FieldNumber{"name": 1, "mesh": 2, "version": 5, "labels": 6},
		numbers(&meshv1.KumaResource_Meta{}))
	assert.Equal(t, map[protoreflect.Name]protoreflect.FieldNumber{"request_id": 1, "error": 2, "config": 3},
		numbers(&meshv1.XDSConfigResponse{}))
}

func TestModesOfMeshServicesHaveTheNumbersOfKuma(t *testing.T) {
	t.Parallel()
	assert.Equal(t, map[string]int32{"Disabled": 0, "Everywhere": 1, "ReachableBackends": 2, "Exclusive": 3},
		meshv1.Mesh_MeshServices_Mode_value)
}

func TestMethodsHaveTheFullNamesOfKuma(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "/kuma.mesh.v1alpha1.KDSSyncService/GlobalToZoneSync", meshv1.KDSSyncService_GlobalToZoneSync_FullMethodName)
	assert.Equal(t, "/kuma.mesh.v1alpha1.KDSSyncService/ZoneToGlobalSync", meshv1.KDSSyncService_ZoneToGlobalSync_FullMethodName)
	assert.Equal(t, "/kuma.mesh.v1alpha1.GlobalKDSService/HealthCheck", meshv1.GlobalKDSService_HealthCheck_FullMethodName)
	assert.Equal(t, "/kuma.mesh.v1alpha1.GlobalKDSService/StreamXDSConfigs", meshv1.GlobalKDSService_StreamXDSConfigs_FullMethodName)
	assert.Equal(t, "/kuma.mesh.v1alpha1.GlobalKDSService/StreamStats", meshv1.GlobalKDSService_StreamStats_FullMethodName)
	assert.Equal(t, "/kuma.mesh.v1alpha1.GlobalKDSService/StreamClusters", meshv1.GlobalKDSService_StreamClusters_FullMethodName)
}

func TestZoneToGlobalSyncRunsWithTheRolesReversed(t *testing.T) {
	t.Parallel()
	methods := meshv1.File_kuma_mesh_v1alpha1_kds_proto.Services().ByName("KDSSyncService").Methods()
	down, up := methods.ByName("GlobalToZoneSync"), methods.ByName("ZoneToGlobalSync")
	for _, m := range []protoreflect.MethodDescriptor{down, up} {
		assert.True(t, m.IsStreamingClient() && m.IsStreamingServer(), m.FullName())
	}
	assert.EqualValues(t, "envoy.service.discovery.v3.DeltaDiscoveryRequest", down.Input().FullName())
	assert.EqualValues(t, "envoy.service.discovery.v3.DeltaDiscoveryResponse", down.Output().FullName())
	assert.Equal(t, down.Output(), up.Input())
	assert.Equal(t, down.Input(), up.Output())
}

func TestSpecsKeepTheirSpellingInJSON(t *testing.T) {
	t.Parallel()
	// Both spellings of Kuma's protocol files, and nesting as deep as it goes.
	in := `{"mtls": {"backends": [{"dpCert": {"rotation": {"expiration": "1d"}, "requestTimeout": "10s"}}]},
		"meshServices": {"mode": "Exclusive"}}`
	mesh := &meshv1.Mesh{}
	require.NoError(t, protojson.Unmarshal([]byte(in), mesh))
	assert.Equal(t, "1d", mesh.GetMtls().GetBackends()[0].GetDpCert().GetRotation().GetExpiration())
	out, err := protojson.Marshal(mesh)
	require.NoError(t, err)
	assert.JSONEq(t, in, string(out))

	in = `{"networking": {"advertisedAddress": "192.0.2.1",
		"transparentProxying": {"redirectPortInbound": 15006, "ipFamilyMode": "IPv4"}}}`
	dataplane := &meshv1.Dataplane{}
	require.NoError(t, protojson.Unmarshal([]byte(in), dataplane))
	out, err = protojson.Marshal(dataplane)
	require.NoError(t, err)
	assert.JSONEq(t, in, string(out))
}
