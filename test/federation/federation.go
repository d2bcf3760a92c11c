package federation

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// The directions of a link.
const (
	Up   = planes.Up   // from the zone to global
	Down = planes.Down // from global to the zone
)

// Federation is a planes.Federation whose failures end a test.
type Federation struct {
	t      testing.TB
	of     *planes.Federation
	planes map[*planes.Plane]*Plane
}

// Plane is one control plane of the federation. A crash or a restart keeps its store.
type Plane struct {
	f  *Federation
	of *planes.Plane
}

// New starts a federation and waits until its zones are connected.
func New(t testing.TB, zones ...string) *Federation {
	t.Helper()
	return open(t, planes.Config{}, zones...)
}

func open(t testing.TB, config planes.Config, zones ...string) *Federation {
	t.Helper()
	config.Dir, config.Goes, config.ChunkBytes = t.TempDir(), goesTo, 500 // two or three resources
	for _, name := range zones {
		config.Zones = append(config.Zones, planes.Zone{Name: name})
	}
	of, err := planes.Open(config)
	require.NoError(t, err)
	f := &Federation{t: t, of: of, planes: map[*planes.Plane]*Plane{}}
	for _, p := range of.Planes() {
		f.planes[p] = &Plane{f, p}
	}
	t.Cleanup(func() {
		if !t.Failed() {
			for _, err := range of.Check() {
				assert.NoError(t, err)
			}
		}
		assert.NoError(t, of.Close())
	})
	f.Settle()
	return f
}

// goesTo says whether a resource written on one plane is to reach another. It is written down here a second time, and
// shorter than in kds/scope, so that the tests have a mind of their own.
func goesTo(r resource.Resource, from, to string) bool {
	d, _ := resource.LookupKind(r.Kind)
	switch {
	case from == "":
		return d.FromGlobal()
	case to == "":
		return d.FromZone()
	}
	return d.Flow.Has(resource.AcrossZones) && (!d.TargetRef || r.Role() == resource.RoleProducer)
}

// Global returns the global control plane.
func (f *Federation) Global() *Plane { return f.planes[f.of.Global()] }

// Zone returns a zone of the federation.
func (f *Federation) Zone(name string) *Plane { return f.planes[f.of.Zone(name)] }

// Link returns the wire between a zone and global.
func (f *Federation) Link(zone string) *planes.Link { return f.of.Link(zone) }

// all returns global and then the zones, ascending by name.
func (f *Federation) all() []*Plane {
	var all []*Plane
	for _, p := range f.of.Planes() {
		all = append(all, f.planes[p])
	}
	return all
}

// Settle lets time pass until every backoff is over and everything that can move has moved.
func (f *Federation) Settle() { f.of.Settle() }

// Start runs the plane over its store. It is running already after New.
func (p *Plane) Start() { require.NoError(p.f.t, p.of.Start()) }

// Stop ends the plane. Start brings it back over the same store.
func (p *Plane) Stop() { assert.NoError(p.f.t, p.of.Stop()) }

func (p *Plane) String() string { return p.of.String() }

// Compact makes the plane forget all its deletes.
func (p *Plane) Compact() { require.NoError(p.f.t, p.of.Compact()) }

// Backup copies what the stopped plane has. The returned function puts it back, onto the stopped plane.
func (p *Plane) Backup() (restore func()) {
	back, err := p.of.Backup()
	require.NoError(p.f.t, err)
	return func() { require.NoError(p.f.t, back()) }
}

// Apply writes YAML documents through the plane's API, and requires that all are acknowledged.
func (p *Plane) Apply(documents string) {
	p.f.t.Helper()
	require.NoError(p.f.t, p.of.Apply(documents))
}

// attempt does Apply or Delete on a plane whose disk may be full, and which may be killed in its writes. Only that excuses it.
func (p *Plane) attempt(documents string, remove bool) {
	p.f.t.Helper()
	full := p.of.Full()
	var err error
	if remove {
		err = p.of.Delete(p.read(documents)[0].Resource.Key)
	} else {
		err = p.of.Apply(documents)
	}
	switch {
	case err == nil:
	case p.of.Killed(): // Start finds out what became of it
	case full:
		require.ErrorContains(p.f.t, err, "disk is full")
	default:
		require.NoError(p.f.t, err)
	}
}

// Delete removes what the documents describe through the plane's API, and requires that it is acknowledged.
func (p *Plane) Delete(documents string) {
	p.f.t.Helper()
	for _, d := range p.read(documents) {
		require.NoError(p.f.t, p.of.Delete(d.Resource.Key))
	}
}

// Do sends one request to the plane's API.
func (p *Plane) Do(method, path string, body []byte) *httptest.ResponseRecorder {
	return p.of.Do(method, path, body)
}

func (p *Plane) read(documents string) []resource.Document {
	p.f.t.Helper()
	read, err := planes.Read(documents)
	require.NoError(p.f.t, err)
	return read
}

// contents returns the resources of a kind ("": all) in the plane's store.
func (p *Plane) contents(kind string) []resource.Resource {
	p.f.t.Helper()
	all, err := p.of.Contents(kind)
	require.NoError(p.f.t, err)
	return all
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
	gathered()
	require.True(f.t, p.Has(document), "%s lacks %s", p, document)
}

func (f *Federation) RequireAbsent(p *Plane, document string) {
	f.t.Helper()
	gathered()
	require.False(f.t, p.Has(document), "%s has %s", p, document)
}

// gathered waits until nothing moves, and lets go what gathers because it came fast.
func gathered() {
	synctest.Wait()
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
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
