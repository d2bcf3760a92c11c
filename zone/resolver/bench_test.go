package resolver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

var sizes = []int{100, 500, 2000}

// world returns a store of n proxies, n MeshServices and n MeshTimeouts. Half of the policies name a service each and
// apply to all proxies; the other half select proxies by a tag, one proxy in ten each.
func world(b *testing.B, n int) *memory {
	b.Helper()
	m := newMemory()
	marshal := func(msg proto.Message) []byte {
		spec, err := proto.Marshal(msg)
		require.NoError(b, err)
		return spec
	}
	put := func(kind, name string, labels map[string]string, spec []byte) resource.Op {
		for k, v := range map[string]string{resource.LabelOrigin: resource.OriginZone, resource.LabelZone: "east", resource.LabelNamespace: "shop", resource.LabelDisplayName: name} {
			labels[k] = v
		}
		return resource.Put(resource.Resource{Key: resource.Key{Kind: kind, Mesh: "default", Name: name}, Labels: labels, Spec: spec})
	}
	ops := []resource.Op{resource.Put(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "default"}, Spec: marshal(&meshv1.Mesh{})})}
	for i := range n {
		dp := &meshv1.Dataplane{Networking: &meshv1.Dataplane_Networking{
			Address: "10.0.0.1",
			Inbound: []*meshv1.Dataplane_Networking_Inbound{{
				Port: 8080, Name: "http", Tags: map[string]string{"kuma.io/service": fmt.Sprintf("svc-%04d", i), "team": fmt.Sprintf("team-%d", i%10), "group": fmt.Sprint(i / 5)},
			}},
		}}
		spec := fmt.Sprintf(`{"to":[{"targetRef":{"kind":"MeshService","name":"svc-%04d"},"default":{"connectionTimeout":"1s","http":{"requestTimeout":"2s"}}}]}`, i)
		role := resource.RoleProducer
		if i%2 == 1 {
			role = resource.RoleSystem
			spec = fmt.Sprintf(`{"targetRef":{"kind":"MeshSubset","tags":{"team":"team-%d"}},"to":[{"targetRef":{"kind":"MeshService","labels":{"half":"%d"}},"default":{"idleTimeout":"1s"}}]}`, i/2%10, i)
		}
		ops = append(ops,
			put("Dataplane", fmt.Sprintf("dp-%04d", i), map[string]string{}, marshal(dp)),
			put("MeshService", fmt.Sprintf("svc-%04d", i), map[string]string{"half": fmt.Sprint(i + 1)}, []byte(`{"selector":{"dataplaneTags":{"app":"x"}},"ports":[{"port":80,"name":"http"}]}`)),
			put("MeshTimeout", fmt.Sprintf("mt-%04d", i), map[string]string{resource.LabelRole: role}, []byte(spec)),
		)
	}
	m.apply(ops...)
	return m
}

// ownWorld returns a store of n proxies and n MeshServices in which no two proxies have the same policies: there are n
// MeshTimeouts, each for one proxy, that half of them name and half of them select by a label. With shared there are
// n/2 producer policies besides that apply to all proxies, as in world.
func ownWorld(b *testing.B, n int, shared bool) *memory {
	b.Helper()
	m := world(b, n)
	var ops []resource.Op
	for i := range n {
		dp := m.last[resource.Key{Kind: "Dataplane", Mesh: "default", Name: fmt.Sprintf("dp-%04d", i)}].Resource
		dp.Labels = maps.Clone(dp.Labels)
		dp.Labels["own"] = fmt.Sprint(i)
		target := fmt.Sprintf(`{"kind":"Dataplane","name":"dp-%04d"}`, i)
		if i%2 == 1 {
			target = fmt.Sprintf(`{"kind":"Dataplane","labels":{"own":"%d"}}`, i)
		}
		own := m.last[resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: fmt.Sprintf("mt-%04d", i)}].Resource
		own.Name, own.Labels = fmt.Sprintf("own-%04d", i), maps.Clone(own.Labels)
		own.Labels[resource.LabelRole], own.Labels[resource.LabelDisplayName] = resource.RoleConsumer, own.Name
		own.Spec = fmt.Appendf(nil, `{"targetRef":%s,"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"%ds"}},{"targetRef":{"kind":"MeshService","labels":{"half":"%d"}},"default":{"idleTimeout":"1s"}}]}`, target, i+1, i+1)
		ops = append(ops, resource.Put(dp), resource.Put(own))
		if !shared || i%2 == 1 {
			ops = append(ops, resource.Delete(resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: fmt.Sprintf("mt-%04d", i)}))
		}
	}
	m.apply(ops...)
	return m
}

// warm returns a resolver whose index is filled.
func warm(b *testing.B, m *memory) *resolver.Resolver {
	r := resolver.New(resolver.Config{Source: m})
	_, err := r.Matching(b.Context(), "MeshService", "default", "svc-0000")
	require.NoError(b, err)
	return r
}

// BenchmarkIndex reads everything into an empty index.
func BenchmarkIndex(b *testing.B) {
	for _, n := range append(slices.Clone(sizes), 33_333) { // three times as many resources
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := world(b, n)
			b.ReportAllocs()
			for b.Loop() {
				_, err := resolver.New(resolver.Config{Source: m}).Matching(b.Context(), "MeshTimeout", "default", "mt-0000")
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkRules asks for the rules of one proxy after another, without and with their JSON.
func BenchmarkRules(b *testing.B) {
	for _, n := range sizes {
		for _, encode := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/json=%t", n, encode), func(b *testing.B) {
				r := warm(b, world(b, n))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					answer, err := r.Rules(b.Context(), "default", fmt.Sprintf("dp-%04d", i%n))
					require.NoError(b, err)
					require.Len(b, answer.Rules, 1)
					if encode {
						_, err = json.Marshal(answer)
						require.NoError(b, err)
					}
				}
			})
		}
	}
}

// BenchmarkEffective asks what is in force on one proxy, towards all destinations and towards one.
func BenchmarkEffective(b *testing.B) {
	for _, n := range sizes {
		for _, to := range []string{"", "svc-0000"} {
			b.Run(fmt.Sprintf("%d/to=%s", n, to), func(b *testing.B) {
				r := warm(b, world(b, n))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					_, err := r.Effective(b.Context(), "default", fmt.Sprintf("dp-%04d", i%n), policy.Filter{To: to})
					require.NoError(b, err)
				}
			})
		}
	}
}

// BenchmarkChange changes one policy, that touches 5 proxies or all of them, and asks one of the proxies what is in
// force towards one service, or everywhere.
func BenchmarkChange(b *testing.B) {
	for _, n := range sizes {
		for name, targetRef := range map[string]string{"5": `{"kind":"MeshSubset","tags":{"group":"0"}}`, "all": `{"kind":"Mesh"}`} {
			b.Run(fmt.Sprintf("%d/touches=%s", n, name), func(b *testing.B) {
				m := world(b, n)
				r := warm(b, m)
				key := resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "a"}
				b.ReportAllocs()
				for i := 1; b.Loop(); i++ {
					value := fmt.Sprintf("%ds", i)
					m.apply(resource.Put(resource.Resource{Key: key, Spec: fmt.Appendf(nil, `{"targetRef":%s,"to":[{"targetRef":{"kind":"Mesh"},"default":{"http":{"streamIdleTimeout":%q}}}]}`, targetRef, value)}))
					answer, err := r.Effective(b.Context(), "default", "dp-0000", policy.Filter{To: "svc-0000"})
					require.NoError(b, err)
					fields := answer.Destinations[0].Rules[0].Fields
					at := slices.IndexFunc(fields, func(f policy.Field) bool { return f.Path == "http.streamIdleTimeout" })
					require.Equal(b, value, fields[at].Value)
				}
			})
		}
	}
}

// BenchmarkServiceChange changes one service that a policy names, and asks one proxy for all rules.
func BenchmarkServiceChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := world(b, n)
			r := warm(b, m)
			changed := m.last[resource.Key{Kind: "MeshService", Mesh: "default", Name: "svc-0000"}].Resource
			b.ReportAllocs()
			for b.Loop() {
				m.apply(resource.Put(changed))
				_, err := r.Rules(b.Context(), "default", "dp-0000")
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkAll resolves every proxy, from an empty index. live-MB is what the heap holds more then.
func BenchmarkAll(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := world(b, n)
			before := live()
			var r *resolver.Resolver
			for b.Loop() {
				r = resolver.New(resolver.Config{Source: m})
				for i := range n {
					answer, err := r.Rules(b.Context(), "default", fmt.Sprintf("dp-%04d", i))
					require.NoError(b, err)
					require.Len(b, answer.Rules, 1)
				}
			}
			b.ReportMetric((live()-before)/1e6, "live-MB")
			runtime.KeepAlive(r)
		})
	}
}

// BenchmarkOwn is BenchmarkAll, one question, one destination and one change where every proxy has policies of its own,
// so that what is known of one is no help with another.
func BenchmarkOwn(b *testing.B) {
	const n = 2000
	for _, shared := range []bool{false, true} {
		name := func(work string) string { return fmt.Sprintf("%d/shared=%t/%s", n, shared, work) }
		m := ownWorld(b, n, shared)
		b.Run(name("all"), func(b *testing.B) {
			before := live()
			var r *resolver.Resolver
			for b.Loop() {
				r = resolver.New(resolver.Config{Source: m})
				for i := range n {
					answer, err := r.Rules(b.Context(), "default", fmt.Sprintf("dp-%04d", i))
					require.NoError(b, err)
					require.Len(b, answer.Rules, 1)
				}
			}
			b.ReportMetric((live()-before)/1e6, "live-MB")
			runtime.KeepAlive(r)
		})
		b.Run(name("rules"), func(b *testing.B) {
			r := warm(b, m)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				answer, err := r.Rules(b.Context(), "default", fmt.Sprintf("dp-%04d", i%n))
				require.NoError(b, err)
				_, err = json.Marshal(answer)
				require.NoError(b, err)
			}
		})
		b.Run(name("effective"), func(b *testing.B) {
			r := warm(b, m)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, err := r.Effective(b.Context(), "default", fmt.Sprintf("dp-%04d", i%n), policy.Filter{To: "svc-0000"})
				require.NoError(b, err)
			}
		})
		b.Run(name("change"), func(b *testing.B) {
			r := warm(b, m)
			own := m.last[resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "own-0000"}].Resource
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.apply(resource.Put(own))
				_, err := r.Effective(b.Context(), "default", "dp-0000", policy.Filter{To: "svc-0000"})
				require.NoError(b, err)
			}
		})
	}
}

// copying is a memory that gives away copies, as a store does that reads them from a file.
type copying struct{ *memory }

func (c copying) View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	return c.memory.View(ctx, kind, func(rev resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		return fn(rev, func(yield func(resource.Resource, error) bool) {
			for r, err := range all {
				r.Spec = slices.Clone(r.Spec)
				labels := make(map[string]string, len(r.Labels))
				for k, v := range r.Labels {
					labels[strings.Clone(k)] = strings.Clone(v)
				}
				r.Labels, r.Kind, r.Mesh, r.Name = labels, strings.Clone(r.Kind), strings.Clone(r.Mesh), strings.Clone(r.Name)
				if !yield(r, err) {
					return
				}
			}
		})
	})
}

// BenchmarkMemory reads 30,000 of one kind into an empty index. B/resource is what the heap holds more for each, with
// the copy of labels and spec that came from the store.
func BenchmarkMemory(b *testing.B) {
	const n = 30_000
	all := world(b, n)
	for _, kind := range []string{"Dataplane", "MeshService", "MeshTimeout"} {
		b.Run(kind, func(b *testing.B) {
			m := newMemory()
			m.apply(resource.Put(all.last[resource.Key{Kind: "Mesh", Name: "default"}].Resource))
			var ops []resource.Op
			for key, c := range all.last {
				if key.Kind == kind {
					ops = append(ops, resource.Put(c.Resource))
				}
			}
			m.apply(ops...)
			before := live()
			var r *resolver.Resolver
			for b.Loop() {
				r = resolver.New(resolver.Config{Source: copying{m}})
				_, err := r.Matching(b.Context(), "MeshTimeout", "default", "none")
				require.ErrorIs(b, err, resource.ErrNotFound)
			}
			b.ReportMetric((live()-before)/n, "B/resource")
			runtime.KeepAlive(r)
		})
	}
}

// live returns the bytes of the heap that are in use.
func live() float64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}
