package resolver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// documents reads resources as they are stored.
func documents(t require.TestingT, text string) []resource.Resource {
	docs, err := policy.Schemas().Read("test", []byte(text), resource.ReadOptions{AsStored: true})
	require.NoError(t, err)
	require.NotEmpty(t, docs)
	var all []resource.Resource
	for _, d := range docs {
		all = append(all, d.Resource)
	}
	return all
}

// stored returns a memory that holds the documents, one commit each.
func stored(t require.TestingT, text string) *memory {
	m := newMemory()
	for _, r := range documents(t, text) {
		m.apply(resource.Put(r))
	}
	return m
}

func guide(t testing.TB) *memory {
	text, err := os.ReadFile("testdata/guide.yaml")
	require.NoError(t, err)
	return stored(t, string(text))
}

func timeout(name, value string) resource.Resource {
	return resource.Resource{
		Key:  resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name},
		Spec: fmt.Appendf(nil, `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":%q}}]}`, value),
	}
}

// idle returns the idleTimeout that a proxy has towards the mesh, "" for none.
func idle(t *testing.T, r *resolver.Resolver, proxy string) string {
	t.Helper()
	answer, err := r.Effective(t.Context(), "default", proxy, policy.Filter{Kind: "MeshTimeout"})
	require.NoError(t, err)
	for _, rule := range answer.Destinations[0].Rules {
		for _, f := range rule.Fields {
			if f.Path == "idleTimeout" {
				return f.Value.(string)
			}
		}
	}
	return ""
}

func TestAnswersInTheFormOfTheAPI(t *testing.T) {
	t.Parallel()
	r := resolver.New(resolver.Config{Source: guide(t)})

	rules, err := r.Rules(t.Context(), "default", "web.first")
	require.NoError(t, err)
	got, err := json.Marshal(rules)
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/guide-rules.json")
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))

	effective, err := r.Effective(t.Context(), "default", "web.first", policy.Filter{})
	require.NoError(t, err)
	got, err = json.Marshal(effective)
	require.NoError(t, err)
	want, err = os.ReadFile("testdata/guide-effective.json")
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
}

func TestAQuestionSeesEveryEarlierWrite(t *testing.T) {
	t.Parallel()
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m})
	assert.Equal(t, "", idle(t, r, "web.first"))
	m.apply(resource.Put(timeout("b", "1s")))
	assert.Equal(t, "1s", idle(t, r, "web.first"))
	m.apply(resource.Put(timeout("a", "2s")))
	assert.Equal(t, "2s", idle(t, r, "web.first"))
	m.apply(resource.Delete(timeout("a", "").Key), resource.Put(timeout("b", "3s")))
	assert.Equal(t, "3s", idle(t, r, "web.first"))
	assert.Equal(t, 1, m.views, "changes are followed, not read anew")
}

func TestCompactionLeadsToANewIndex(t *testing.T) {
	t.Parallel()
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m})
	m.apply(resource.Put(timeout("a", "1s")))
	assert.Equal(t, "1s", idle(t, r, "web.first"))
	m.apply(resource.Delete(timeout("a", "").Key))
	m.compact()
	assert.Equal(t, "", idle(t, r, "web.first"))
	assert.Equal(t, 2, m.views)
}

func TestDeletedProxiesServicesAndMeshesAreGone(t *testing.T) {
	t.Parallel()
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m})
	before, err := r.Effective(t.Context(), "default", "web.first", policy.Filter{})
	require.NoError(t, err)
	require.Len(t, before.Destinations, 3)

	m.apply(resource.Delete(resource.Key{Kind: "MeshService", Mesh: "default", Name: "cart.shop"}))
	after, err := r.Effective(t.Context(), "default", "web.first", policy.Filter{})
	require.NoError(t, err)
	assert.Len(t, after.Destinations, 2)
	assert.Greater(t, after.Revision, before.Revision)

	for _, c := range []struct{ deleted, missing resource.Key }{
		{resource.Key{Kind: "Dataplane", Mesh: "default", Name: "web.first"}, resource.Key{Kind: "Dataplane", Mesh: "default", Name: "web.first"}},
		{resource.Key{Kind: "Mesh", Name: "default"}, resource.Key{Kind: "Mesh", Name: "default"}},
	} {
		m.apply(resource.Delete(c.deleted))
		_, err = r.Rules(t.Context(), "default", "web.first")
		missing, ok := errors.AsType[*resolver.NotFoundError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, c.missing, missing.Key)
	}
}

func TestAResourceThatDoesNotParseBreaksNothing(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m, Log: hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})})
	good := timeout("a", "1s")
	m.apply(resource.Put(good))
	assert.Equal(t, "1s", idle(t, r, "web.first"))

	bad := good
	bad.Spec = []byte(`{"to":7}`)
	noProxy := resource.Resource{Key: resource.Key{Kind: "Dataplane", Mesh: "default", Name: "bad"}, Spec: []byte("\xff")}
	noService := resource.Resource{Key: resource.Key{Kind: "MeshService", Mesh: "default", Name: "bad"}, Spec: []byte(`{"ports":[{"port":"x"}]}`)}
	m.apply(resource.Put(bad), resource.Put(noProxy), resource.Put(noService))
	assert.Equal(t, "", idle(t, r, "web.first"), "the old version of a bad policy is not in force")
	m.apply(resource.Put(timeout("b", "2s")))
	m.compact() // read everything again
	assert.Equal(t, "2s", idle(t, r, "web.first"))
	assert.Equal(t, 3, bytes.Count(log.Bytes(), []byte("does not parse")), "%s", log.String())
	assert.Contains(t, log.String(), "name=bad")

	m.apply(resource.Put(good))
	assert.Equal(t, "1s", idle(t, r, "web.first"), "a good version is back in force")
}

func TestNames(t *testing.T) {
	t.Parallel()
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m})
	for _, name := range []string{"web.first", "kri_dp_default_east_first_web_"} {
		answer, err := r.Rules(t.Context(), "default", name)
		require.NoError(t, err, name)
		assert.Equal(t, "web.first", answer.Resource.Name)
	}
	only, err := r.Rules(t.Context(), "default", "api")
	require.NoError(t, err, "a display name that one proxy has")
	assert.Equal(t, "api.shop", only.Resource.Name)

	_, err = r.Rules(t.Context(), "default", "web")
	require.ErrorIs(t, err, resource.ErrNotFound)
	assert.EqualError(t, err, "Dataplane default/web: resource not found; the name could mean kri_dp_default_east_first_web_, kri_dp_default_east_second_web_")

	_, err = r.Rules(t.Context(), "other", "web.first")
	assert.EqualError(t, err, "Mesh other: resource not found")
	_, err = r.Rules(t.Context(), "default", "kri_dp_default_west_first_web_")
	assert.EqualError(t, err, "Dataplane default/kri_dp_default_west_first_web_: resource not found")
	_, err = r.Effective(t.Context(), "default", "web.first", policy.Filter{To: "nope"})
	assert.EqualError(t, err, "MeshService default/nope: resource not found")

	_, err = r.Effective(t.Context(), "default", "web.first", policy.Filter{Kind: "MeshTimeouts"})
	_, ok := errors.AsType[*resource.InvalidError](err)
	assert.True(t, ok)
	assert.ErrorContains(t, err, "did you mean MeshTimeout?")
}

func TestMatching(t *testing.T) {
	t.Parallel()
	m := guide(t)
	shadow := timeout("shadow", "1s")
	shadow.Labels = map[string]string{resource.LabelEffect: "shadow"}
	m.apply(resource.Put(shadow))
	r := resolver.New(resolver.Config{Source: m})
	for _, c := range []struct {
		kind, name string
		want       []string
	}{
		{"MeshTimeout", "producer-timeout.shop", []string{"api.shop", "web.first", "web.second"}},
		{"MeshTimeout", "consumer-timeout", []string{"web.first"}},
		{"MeshTimeout", "kri_mt_default_east_first_consumer-timeout_", []string{"web.first"}},
		{"MeshTimeout", "shadow", []string{"api.shop", "web.first", "web.second"}},
		{"MeshService", "cart.shop", []string{"api.shop"}},
		{"MeshService", "kri_msvc_default_west_shop_cart_", []string{"web.second"}},
	} {
		found, err := r.Matching(t.Context(), c.kind, "default", c.name)
		require.NoError(t, err, c.name)
		var names []string
		for _, res := range found {
			assert.Equal(t, "Dataplane", res.Kind)
			names = append(names, res.Name)
		}
		assert.Equal(t, c.want, names, "%s %s", c.kind, c.name)
	}
	for _, c := range []resource.Key{
		{Kind: "MeshTimeout", Mesh: "default", Name: "nope"}, {Kind: "MeshService", Mesh: "default", Name: "cart"},
		{Kind: "MeshTimeout", Mesh: "nope", Name: "shadow"}, {Kind: "MeshRetry", Mesh: "default", Name: "x"},
	} {
		_, err := r.Matching(t.Context(), c.Kind, c.Mesh, c.Name)
		assert.ErrorIs(t, err, resource.ErrNotFound, "%v", c)
	}
}

func TestRunFollowsUntilItIsAskedToStop(t *testing.T) {
	t.Parallel()
	m := guide(t)
	synctest.Test(t, func(t *testing.T) {
		m.advanced = make(chan struct{}) // of the bubble
		r := resolver.New(resolver.Config{Source: m})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		assert.Equal(t, 1, m.views, "Run fills the index")
		m.apply(resource.Put(timeout("a", "1s")))
		time.Sleep(time.Second) // changes may gather
		synctest.Wait()
		m.compact() // were the change not indexed by now, the next question would have to read everything
		assert.Equal(t, "1s", idle(t, r, "web.first"))
		assert.Equal(t, 1, m.views)
		cancel()
		assert.NoError(t, <-done)
	})
}

func TestReadersAndAWriter(t *testing.T) {
	t.Parallel()
	m := guide(t)
	r := resolver.New(resolver.Config{Source: m})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				answer, err := r.Rules(t.Context(), "default", "web.first")
				assert.NoError(t, err)
				_, err = json.Marshal(answer)
				assert.NoError(t, err)
				_, err = r.Matching(t.Context(), "MeshTimeout", "default", "producer-timeout.shop")
				assert.NoError(t, err)
			}
		})
	}
	wg.Go(func() {
		services := documents(t, "{type: MeshService, name: n, mesh: default, labels: {app: cart}, spec: {ports: [{port: 80}]}}")
		for i := range 50 {
			s := services[0]
			s.Name = fmt.Sprintf("n%d", i%7)
			m.apply(resource.Put(timeout(fmt.Sprintf("t%d", i%5), "1s")), resource.Put(s))
			m.apply(resource.Delete(s.Key))
		}
	})
	wg.Wait()
	assert.Equal(t, "1s", idle(t, r, "web.first"))
}

// TestTheWayToAStateDoesNotMatter writes a random world in a random order, with versions in between and things that
// are deleted again, and asks between the commits. The answers equal those about the final state, read at once.
func TestTheWayToAStateDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		world := drawWorld(t)
		direct := newMemory()
		direct.apply(puts(world)...)
		want := answers(t, resolver.New(resolver.Config{Source: direct}), world)

		m := newMemory()
		r := resolver.New(resolver.Config{Source: m})
		for _, res := range rapid.Permutation(world).Draw(t, "order") {
			switch rapid.IntRange(0, 4).Draw(t, "detour") {
			case 0:
				other := res
				other.Labels = map[string]string{"app": "other"}
				m.apply(resource.Put(other))
			case 1:
				extra := res
				extra.Name += "-x"
				m.apply(resource.Put(extra))
				_, _ = r.Rules(context.Background(), "default", "dp0")
				m.apply(resource.Delete(extra.Key))
			case 2:
				_, _ = r.Rules(context.Background(), "default", "dp0")
			case 3:
				m.compact()
			}
			m.apply(resource.Put(res))
		}
		assert.Equal(t, want, answers(t, r, world))
	})
}

func puts(world []resource.Resource) []resource.Op {
	ops := make([]resource.Op, len(world))
	for i, res := range world {
		ops[i] = resource.Put(res)
	}
	return ops
}

func answers(t require.TestingT, r *resolver.Resolver, world []resource.Resource) []string {
	var all []string
	for _, res := range world {
		if res.Kind != "Dataplane" {
			continue
		}
		rules, err := r.Rules(context.Background(), "default", res.Name)
		require.NoError(t, err)
		effective, err := r.Effective(context.Background(), "default", res.Name, policy.Filter{})
		require.NoError(t, err)
		effective.Revision = 0
		b, err := json.Marshal([]any{rules, effective})
		require.NoError(t, err)
		all = append(all, string(b))
	}
	require.NotEmpty(t, all)
	return all
}

// drawWorld draws a mesh of a few proxies, services and policies whose targetRefs often meet.
func drawWorld(t *rapid.T) []resource.Resource {
	pick := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "pick") }
	labels := func() string {
		return "{app: " + pick("a", "b") + ", k8s.kuma.io/namespace: " + pick("n1", "n2") + ", kuma.io/display-name: " + pick("x", "y") +
			", kuma.io/origin: " + pick("zone", "global") + ", kuma.io/zone: " + pick("east", "west") + ", kuma.io/policy-role: " +
			pick("system", "producer", "consumer", "workload-owner") + "}"
	}
	text := "{type: Mesh, name: default}\n"
	for i := range rapid.IntRange(1, 3).Draw(t, "proxies") {
		text += fmt.Sprintf("---\n{type: Dataplane, name: dp%d, mesh: default, labels: %s, networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: {kuma.io/service: s, team: %s}}, {port: 81, tags: {kuma.io/service: t}}]}}\n",
			i, labels(), pick("a", "b"))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "services") {
		text += fmt.Sprintf("---\n{type: MeshService, name: svc%d, mesh: default, labels: %s, spec: {ports: [{port: 80, name: http}, {port: 81}]}}\n", i, labels())
	}
	if rapid.Bool().Draw(t, "edge") {
		text += fmt.Sprintf("---\n{type: Dataplane, name: edge, mesh: default, labels: %s, networking: {address: 10.0.0.9, gateway: {type: BUILTIN, tags: {kuma.io/service: e, team: a}}}}\n", labels())
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "gateways") {
		text += fmt.Sprintf("---\n{type: MeshGateway, name: gw%d, mesh: default, labels: %s, selectors: [{match: {kuma.io/service: %s}}], conf: {listeners: [{port: 80, protocol: HTTP, tags: {host: a}}, {port: 443, protocol: HTTP}]}}\n", i, labels(), pick("e", "'*'", "s"))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "routes") {
		top := pick("{kind: Mesh}", "{kind: Dataplane, labels: {app: a}}", "{kind: MeshGateway, name: x}", "{kind: MeshHTTPRoute, name: x}")
		to := pick("{kind: Mesh}", "{kind: MeshService, name: x}", "{kind: MeshService, labels: {app: a}}")
		rule := func() string {
			return "{matches: [" + pick("{method: GET}", "{path: {type: PathPrefix, value: /a}}", "{}") + "], default: " + pick("{}", "{filters: []}", "{backendRefs: [{kind: MeshService, name: x}]}") + "}"
		}
		text += fmt.Sprintf("---\n{type: MeshHTTPRoute, name: r%d, mesh: default, labels: %s, spec: {targetRef: %s, to: [{targetRef: %s, hostnames: %s, rules: [%s, %s]}]}}\n", i, labels(), top, to, pick("[]", "[a]", "[a, b]"), rule(), rule())
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "policies") {
		top := pick("{kind: MeshHTTPRoute, name: x}", "{kind: MeshGateway, name: x, tags: {host: a}}", "{kind: Mesh}", "{kind: Dataplane}", "{kind: Dataplane, name: x}", "{kind: Dataplane, labels: {app: a}}", "{kind: Dataplane, labels: {app: a}, sectionName: http}", "{kind: MeshSubset, tags: {team: a}}", "{kind: MeshService, name: s}")
		to := pick("{kind: Mesh}", "{kind: MeshService, name: x}", "{kind: MeshService, name: x, namespace: n1, sectionName: http}", "{kind: MeshService, labels: {app: a}}", `{kind: MeshService, labels: {app: b}, sectionName: "81"}`, "{kind: MeshService, name: x_n1_svc_80}")
		conf := pick("{idleTimeout: 1s}", "{idleTimeout: 2s, connectionTimeout: 2s}", "{http: {requestTimeout: 3s}}", "{http: null}", "{idleTimeout: null, http: {requestTimeout: 4s}}")
		lists := pick("to: [{targetRef: "+to+", default: "+conf+"}]", "rules: [{default: "+conf+"}]", "from: [{targetRef: {kind: Mesh}, default: "+conf+"}]")
		text += fmt.Sprintf("---\n{type: MeshTimeout, name: p%02d, mesh: default, labels: %s, spec: {targetRef: %s, %s}}\n", i, labels(), top, lists)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "permissions") {
		from := pick("{kind: Mesh}", "{kind: MeshService, name: s}", "{kind: MeshSubset, tags: {team: a}}")
		text += fmt.Sprintf("---\n{type: MeshTrafficPermission, name: p%02d, mesh: default, labels: %s, spec: {from: [{targetRef: %s, default: {action: Allow}}]}}\n", i, labels(), from)
	}
	return documents(t, text)
}
