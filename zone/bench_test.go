package zone_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/control"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone"
)

// inventory returns n proxies, n MeshServices and n MeshTimeouts of zone east. Half of the policies name a service each
// and apply to all proxies; the other half select proxies by a tag, one proxy in ten each, and services by a label.
func inventory(tb testing.TB, n int) []resource.Op {
	tb.Helper()
	put := func(kind, name, role string, labels map[string]string, spec []byte) resource.Op {
		all := map[string]string{
			resource.LabelMesh: "default", resource.LabelOrigin: resource.OriginZone, resource.LabelZone: "east",
			resource.LabelNamespace: "shop", resource.LabelDisplayName: name, "kuma.io/env": "universal",
		}
		if role != "" {
			all[resource.LabelRole] = role
		}
		for k, v := range labels {
			all[k] = v
		}
		return resource.Put(resource.Resource{Key: resource.Key{Kind: kind, Mesh: "default", Name: name + ".shop"}, Labels: all, Spec: spec})
	}
	var ops []resource.Op
	for i := range n {
		dp, err := proto.Marshal(&meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
			Address: "10.0.0.1",
			Inbound: []*meshv1.Dataplane_Networking_Inbound{{
				Port: 8080, Name: "http", Tags: map[string]string{"kuma.io/service": fmt.Sprintf("svc-%04d", i), "team": fmt.Sprintf("team-%d", i%10)},
			}},
		}})
		require.NoError(tb, err)
		role, spec := resource.RoleProducer, fmt.Sprintf(`{"to":[{"targetRef":{"kind":"MeshService","name":"svc-%04d"},"default":{"connectionTimeout":"1s","http":{"requestTimeout":"2s"}}}]}`, i)
		if i%2 == 1 {
			role = resource.RoleSystem
			spec = fmt.Sprintf(`{"targetRef":{"kind":"MeshSubset","tags":{"team":"team-%d"}},"to":[{"targetRef":{"kind":"MeshService","labels":{"half":"%d"}},"default":{"idleTimeout":"1s"}}]}`, i/2%10, i)
		}
		ops = append(ops,
			put("Dataplane", fmt.Sprintf("dp-%04d", i), "", nil, dp),
			put("MeshService", fmt.Sprintf("svc-%04d", i), "", map[string]string{"half": fmt.Sprint(i + 1)}, []byte(`{"selector":{"dataplaneTags":{"app":"x"}},"ports":[{"port":80,"name":"http"}]}`)),
			put("MeshTimeout", fmt.Sprintf("mt-%04d", i), role, nil, []byte(spec)),
		)
	}
	return ops
}

func openZone(tb testing.TB, ops []resource.Op) *zone.Zone {
	tb.Helper()
	z, err := zone.Open(zone.Config{Config: control.Config{DataDir: tb.TempDir(), NoSync: true, NoKeys: true}, Name: "east"})
	require.NoError(tb, err)
	tb.Cleanup(func() { z.Close() })
	for batch := range slices.Chunk(ops, 2000) {
		_, err = z.Store().Apply(tb.Context(), batch...)
		require.NoError(tb, err)
	}
	return z
}

// counter is a client that reads everything and keeps nothing.
type counter struct {
	header http.Header
	code   int
	bytes  int
}

func (c *counter) Header() http.Header  { return c.header }
func (c *counter) WriteHeader(code int) { c.code = code }

func (c *counter) Write(b []byte) (int, error) {
	c.bytes += len(b)
	return len(b), nil
}

// get returns the size of the answer.
func get(tb testing.TB, z *zone.Zone, path string) int {
	tb.Helper()
	c := &counter{header: http.Header{}}
	z.Handler().ServeHTTP(c, httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(tb, http.StatusOK, c.code, path)
	return c.bytes
}

// BenchmarkREST asks about one proxy after another over REST, without the network. The first question about each is
// part of it: p50-ms is what one takes.
func BenchmarkREST(b *testing.B) {
	for _, n := range []int{500, 2000} {
		for name, suffix := range map[string]string{"rules": "_rules", "effective-to-one": "_effective?to=svc-0004.shop"} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				z := openZone(b, inventory(b, n))
				get(b, z, "/meshes/default/dataplanes/dp-0000.shop/_rules") // fills the index
				var took []time.Duration
				size := 0
				for i := 0; b.Loop(); i++ {
					start := time.Now()
					size = get(b, z, fmt.Sprintf("/meshes/default/dataplanes/dp-%04d.shop/%s", i%n, suffix))
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
				b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
				b.ReportMetric(float64(size), "body-B")
			})
		}
	}
}
