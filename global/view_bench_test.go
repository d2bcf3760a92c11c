package global_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/global"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// BenchmarkEffectiveOfAZone asks global what is in force on proxies of zones: of 16 zones, which is more than it keeps an
// index of (new), and of one of them (known). Global has 2,000 policies, and each zone 100 proxies and services.
func BenchmarkEffectiveOfAZone(b *testing.B) {
	const zones, each, policies = 16, 100, 2000
	g, err := global.Open(global.Config{Config: control.Config{DataDir: b.TempDir(), NoSync: true}, Insecure: true})
	require.NoError(b, err)
	defer g.Close()
	spec, err := proto.Marshal(&meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
		Address: "10.0.0.1", Inbound: []*meshv1.Dataplane_Networking_Inbound{{Port: 80, Tags: map[string]string{"kuma.io/service": "web"}}},
	}})
	require.NoError(b, err)
	var ops []resource.Op
	put := func(kind, zone, name string, spec []byte) (stored string) {
		r := resource.Resource{Key: resource.Key{Kind: kind, Mesh: "default", Name: name}, Labels: map[string]string{}, Spec: spec}
		if zone != "" {
			r.Labels = map[string]string{resource.LabelOrigin: resource.OriginZone, resource.LabelZone: zone, resource.LabelDisplayName: name, resource.LabelNamespace: "shop"}
			r.Name = resource.WireName(r)
		}
		ops = append(ops, resource.Put(r))
		return r.Name
	}
	var proxies []string // one of each zone
	for z := range zones {
		zone := fmt.Sprint("zone-", z)
		ops = append(ops, resource.Put(resource.Resource{Key: resource.Key{Kind: "Zone", Name: zone}, Spec: []byte{}}))
		for i := range each {
			name := put("Dataplane", zone, fmt.Sprint("dp-", i), spec)
			put("MeshService", zone, fmt.Sprint("svc-", i), []byte(`{"ports":[{"port":80,"name":"http"}]}`))
			if i == 0 {
				proxies = append(proxies, name)
			}
		}
	}
	for i := range policies {
		put("MeshTimeout", "", fmt.Sprint("mt-", i), fmt.Appendf(nil, `{"to":[{"targetRef":{"kind":"MeshService","labels":{"kuma.io/display-name":"svc-%d"}},"default":{"idleTimeout":"1s"}}]}`, i%each))
	}
	_, err = g.Store().Apply(b.Context(), ops...)
	require.NoError(b, err)
	ask := func(zone int) {
		answer := httptest.NewRecorder()
		g.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/meshes/default/dataplanes/%s/_effective?to=kri_msvc_default_zone-%d_shop_svc-1_", proxies[zone], zone), nil))
		require.Equal(b, http.StatusOK, answer.Code, "%s", answer.Body)
	}
	b.Run("new", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			ask(i % zones)
		}
	})
	b.Run("known", func(b *testing.B) {
		ask(0)
		for b.Loop() {
			ask(0)
		}
	})
}
