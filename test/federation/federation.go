package federation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/test/bufconn"

	"github.com/meridian-mesh/meridian/global"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/zone"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// settleTime passes every backoff, flush and keepalive there is.
const settleTime = 3 * time.Minute

const wireBytes = 1 << 20 // what a wire takes before its writer has to wait

// Federation is a global control plane and its zones.
type Federation struct {
	t      testing.TB
	global *Plane
	zones  map[string]*Plane
	links  map[string]*Link
}

// Plane is one control plane of the federation. A crash or a restart keeps its store.
type Plane struct {
	f     *Federation
	name  string // "" is global
	dir   string
	start func() running

	node running
	stop func() error // ends Run and closes; nil while the plane is down

	written map[resource.Key]*resource.Resource // what was acknowledged here last; nil: deleted
	ever    map[resource.Key]bool               // what other planes have sent or may have sent
}

// running is global.Global or zone.Zone.
type running interface {
	Run(context.Context) error
	Close() error
	Handler() http.Handler
	Store() storage.Store
}

// New starts a federation and waits until its zones are connected.
func New(t testing.TB, zones ...string) *Federation {
	t.Helper()
	f := &Federation{t: t, zones: map[string]*Plane{}, links: map[string]*Link{}}
	for _, name := range zones {
		f.links[name] = newLink(nil)
	}
	f.global = f.plane("", func(dir string) (running, error) {
		wire := bufconn.Listen(wireBytes)
		for _, l := range f.links {
			l.set(func() { l.listener = wire })
		}
		return global.Open(global.Config{DataDir: dir, KDSListener: wire, Insecure: true, NoSync: true})
	})
	for _, name := range zones {
		f.zones[name] = f.plane(name, func(dir string) (running, error) {
			return zone.Open(zone.Config{
				Name: name, DataDir: dir, Global: "grpc://global:5685", Dialer: f.links[name].dial, NoSync: true,
			})
		})
	}
	f.global.adopt()
	t.Cleanup(func() {
		if !t.Failed() {
			f.check()
		}
		for _, p := range f.planes() {
			p.Stop()
		}
	})
	f.Settle()
	return f
}

func (f *Federation) plane(name string, open func(dir string) (running, error)) *Plane {
	p := &Plane{
		f: f, name: name, dir: filepath.Join(f.t.TempDir(), "data"),
		written: map[resource.Key]*resource.Resource{}, ever: map[resource.Key]bool{},
	}
	p.start = func() running {
		node, err := open(p.dir)
		require.NoError(f.t, err)
		return node
	}
	p.Start()
	return p
}

// Global returns the global control plane.
func (f *Federation) Global() *Plane { return f.global }

// Zone returns a zone of the federation.
func (f *Federation) Zone(name string) *Plane { return f.zones[name] }

// Link returns the wire between a zone and global.
func (f *Federation) Link(zone string) *Link { return f.links[zone] }

func (f *Federation) planes() []*Plane {
	planes := []*Plane{f.global}
	for _, name := range slices.Sorted(maps.Keys(f.zones)) {
		planes = append(planes, f.zones[name])
	}
	return planes
}

// Settle lets time pass until every backoff is over and everything that can move has moved.
func (f *Federation) Settle() {
	synctest.Wait()
	time.Sleep(settleTime)
	synctest.Wait()
}

// Start runs the plane over its store. It is running already after New.
func (p *Plane) Start() {
	p.node = p.start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.node.Run(ctx) }()
	p.stop = func() error {
		cancel()
		err := <-done
		return cmpErr(err, p.node.Close())
	}
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Stop ends the plane. Start brings it back over the same store.
func (p *Plane) Stop() {
	if p.stop != nil {
		assert.NoError(p.f.t, p.stop(), "stop %s", p)
		p.stop = nil
	}
}

// Compact makes the plane forget all its deletes.
func (p *Plane) Compact() {
	st := p.node.Store()
	require.NoError(p.f.t, st.Compact(context.Background(), st.Revision()))
}

// Backup copies what the stopped plane has. The returned function puts it back, onto the stopped plane.
func (p *Plane) Backup() (restore func()) {
	require.Nil(p.f.t, p.stop, "%s runs", p)
	saved := filepath.Join(p.f.t.TempDir(), "backup")
	require.NoError(p.f.t, os.CopyFS(saved, os.DirFS(p.dir)))
	written := maps.Clone(p.written)
	return func() {
		require.Nil(p.f.t, p.stop, "%s runs", p)
		require.NoError(p.f.t, os.RemoveAll(p.dir))
		require.NoError(p.f.t, os.CopyFS(p.dir, os.DirFS(saved)))
		p.written = maps.Clone(written)
	}
}

func (p *Plane) String() string {
	if p.name == "" {
		return "global"
	}
	return "zone " + p.name
}

// adopt takes what a new global control plane made itself as written.
func (p *Plane) adopt() {
	for _, r := range p.contents("") {
		if p.syncs(r.Kind) {
			p.written[r.Key] = &r
		}
	}
}

// syncs says whether resources of the kind leave a plane at all; Zone and ZoneInsight do not.
func (p *Plane) syncs(kind string) bool {
	d, _ := resource.LookupKind(kind)
	return d.FromGlobal() || d.FromZone()
}

// Apply writes YAML documents through the plane's API, and requires that all are acknowledged.
func (p *Plane) Apply(documents string) {
	p.f.t.Helper()
	read := p.read(documents)
	type document struct {
		Source   string          `json:"source"`
		Index    int             `json:"index"`
		Document json.RawMessage `json:"document"`
	}
	var body struct {
		Documents []document `json:"documents"`
	}
	for _, d := range read {
		doc, err := resource.ToJSON(d.Resource)
		require.NoError(p.f.t, err)
		body.Documents = append(body.Documents, document{"test", d.Index, doc})
	}
	request, err := json.Marshal(body)
	require.NoError(p.f.t, err)
	answer := p.Do(http.MethodPost, "/_apply", request)
	require.Equal(p.f.t, http.StatusOK, answer.Code, "%s: %s", p, answer.Body)
	for _, d := range read {
		p.acknowledged(d.Resource.Key)
	}
}

// Delete removes what one document describes through the plane's API, and requires that it is acknowledged.
func (p *Plane) Delete(document string) {
	p.f.t.Helper()
	for _, d := range p.read(document) {
		desc, _ := resource.LookupKind(d.Resource.Kind)
		path := "/" + desc.Plural + "/" + d.Resource.Name
		if desc.Scope == resource.ScopeMesh {
			path = "/meshes/" + d.Resource.Mesh + path
		}
		answer := p.Do(http.MethodDelete, path, nil)
		require.Equal(p.f.t, http.StatusOK, answer.Code, "%s: %s", p, answer.Body)
		p.acknowledged(d.Resource.Key)
	}
}

// Do sends one request to the plane's API.
func (p *Plane) Do(method, path string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	p.node.Handler().ServeHTTP(answer, request)
	return answer
}

func (p *Plane) read(documents string) []resource.Document {
	p.f.t.Helper()
	read, err := policy.Schemas().Read("test", []byte(documents), resource.ReadOptions{})
	require.NoError(p.f.t, err)
	require.NotEmpty(p.f.t, read)
	return read
}

// acknowledged notes what the plane holds under key now, and where that goes.
func (p *Plane) acknowledged(key resource.Key) {
	r, err := p.node.Store().Get(context.Background(), key)
	if err != nil {
		p.written[key] = nil
		return
	}
	p.written[key] = &r
	for _, q := range p.f.planes() {
		if q != p && goesTo(r, p, q) {
			q.ever[wireKey(r, p)] = true
		}
	}
}

// goesTo says whether a resource written on p is to reach q. It is written down here a second time, and shorter than in
// kds/scope, so that the tests have a mind of their own.
func goesTo(r resource.Resource, p, q *Plane) bool {
	d, _ := resource.LookupKind(r.Kind)
	switch {
	case p.name == "":
		return d.FromGlobal()
	case q.name == "":
		return d.FromZone()
	}
	return d.Flow.Has(resource.AcrossZones) && (!d.TargetRef || r.Role() == resource.RoleProducer)
}

// wireKey returns the key that a resource written on p has on every other plane.
func wireKey(r resource.Resource, p *Plane) resource.Key {
	d, _ := resource.LookupKind(r.Kind)
	key := r.Key
	if !d.PlainName {
		key.Name = resource.WireName(r)
	}
	return key
}

// contents returns the resources of a kind ("": all) in the plane's store.
func (p *Plane) contents(kind string) []resource.Resource {
	var list []resource.Resource
	err := p.node.Store().View(context.Background(), kind, func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return nil
	})
	require.NoError(p.f.t, err)
	return list
}

// Has says whether the plane's store has the resource that a document describes, wherever it was written.
func (p *Plane) Has(document string) bool {
	want := p.read(document)[0].Resource
	return slices.ContainsFunc(p.contents(want.Kind), func(r resource.Resource) bool {
		return r.Mesh == want.Mesh && r.Display() == want.Display() && r.Namespace() == want.Namespace()
	})
}

// RequirePresent and RequireAbsent wait until nothing moves and then look for the resource that a document describes.
func (f *Federation) RequirePresent(p *Plane, document string) {
	f.t.Helper()
	synctest.Wait()
	require.True(f.t, p.Has(document), "%s lacks %s", p, document)
}

func (f *Federation) RequireAbsent(p *Plane, document string) {
	f.t.Helper()
	synctest.Wait()
	require.False(f.t, p.Has(document), "%s has %s", p, document)
}

// Effective returns the value of one field for calls of a proxy to a service, "" when no policy sets it, and the display
// name of the policy that gave it.
func (p *Plane) Effective(proxy, service, kind, field string) (value, policyName string) {
	p.f.t.Helper()
	answer := p.Do(http.MethodGet, "/meshes/default/dataplanes/"+proxy+"/_effective?type="+kind+"&to="+service, nil)
	require.Equal(p.f.t, http.StatusOK, answer.Code, "%s: %s", p, answer.Body)
	var got struct {
		Destinations []struct {
			Rules []struct {
				Fields []struct {
					Path   string
					Value  string
					Origin struct{ Name string }
				}
			}
		}
	}
	require.NoError(p.f.t, json.Unmarshal(answer.Body.Bytes(), &got))
	require.Len(p.f.t, got.Destinations, 1, "%s: %s", p, answer.Body)
	for _, rule := range got.Destinations[0].Rules {
		for _, f := range rule.Fields {
			if f.Path == field {
				return f.Value, f.Origin.Name
			}
		}
	}
	return "", ""
}

// check brings everything up and asserts the invariants of the package comment.
func (f *Federation) check() {
	f.t.Helper()
	for _, l := range f.links {
		l.Heal()
	}
	for _, p := range f.planes() {
		if p.stop == nil {
			p.Start()
		}
	}
	f.Settle()
	for _, q := range f.planes() {
		q.checkOwn()
		q.checkSynced()
		q.checkLog()
		q.checkInspect()
	}
}

// checkOwn: what was written here is here, what was deleted is not.
func (p *Plane) checkOwn() {
	for key, want := range p.written {
		got, err := p.node.Store().Get(context.Background(), key)
		switch {
		case want == nil:
			assert.ErrorIs(p.f.t, err, resource.ErrNotFound, "%s: %s is back after its deletion", p, key)
		case assert.NoError(p.f.t, err, "%s lost %s", p, key):
			assert.True(p.f.t, got.SameContent(*want), "%s: %s is not as it was written", p, key)
		}
	}
}

// checkSynced: what others wrote is here if and only if it is to be.
func (q *Plane) checkSynced() {
	want := map[resource.Key]string{}
	for _, p := range q.f.planes() {
		for _, r := range p.written {
			if p != q && r != nil && goesTo(*r, p, q) {
				want[wireKey(*r, p)] = string(r.Spec)
			}
		}
	}
	got := map[resource.Key]string{}
	for _, r := range q.contents("") {
		if _, own := q.written[r.Key]; !own && q.syncs(r.Kind) {
			got[r.Key] = string(r.Spec)
		}
	}
	assert.Equal(q.f.t, want, got, "%s: resources of the other planes", q)
}

// checkLog: nothing was ever here, not even for a moment, that was not to come here.
func (q *Plane) checkLog() {
	changes, _, err := q.node.Store().Since(context.Background(), "", 0)
	if errors.Is(err, resource.ErrCompacted) { // what is gone cannot be seen any more
		for _, r := range q.contents("") {
			changes = append(changes, resource.Change{Revision: r.Version, Resource: r})
		}
		err = nil
	}
	require.NoError(q.f.t, err)
	require.NotEmpty(q.f.t, changes)
	for _, c := range changes {
		key := c.Resource.Key
		if _, own := q.written[key]; own || !q.syncs(key.Kind) || q.ever[key] || q.fromStart(key) {
			continue
		}
		assert.Fail(q.f.t, "a resource was where it must never be", "%s: %s (deleted now: %t)", q, key, c.Deleted)
	}
}

// fromStart says whether global had the resource from its start.
func (q *Plane) fromStart(key resource.Key) bool {
	_, ok := q.f.global.written[key]
	return ok
}

// checkInspect: the answers about every proxy are those of a resolver that has just read the store.
func (q *Plane) checkInspect() {
	fresh := resolver.New(resolver.Config{Source: q.node.Store()})
	for _, dp := range q.contents("Dataplane") {
		want, err := fresh.Rules(context.Background(), dp.Mesh, dp.Name)
		require.NoError(q.f.t, err)
		wantJSON, err := json.Marshal(want)
		require.NoError(q.f.t, err)
		answer := q.Do(http.MethodGet, fmt.Sprintf("/meshes/%s/dataplanes/%s/_rules", dp.Mesh, dp.Name), nil)
		require.Equal(q.f.t, http.StatusOK, answer.Code, "%s: %s", q, answer.Body)
		assert.JSONEq(q.f.t, string(wantJSON), strings.TrimSpace(answer.Body.String()), "%s: %s", q, dp.Key)
	}
}
