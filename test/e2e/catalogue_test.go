package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// specimen is one resource of the catalogue, and where it is written and seen.
type specimen struct {
	resource.Resource
	d     resource.Descriptor
	owner *plane
	seen  map[*plane]bool // besides owner; false: it must not be there
}

func (s specimen) collection() string {
	if s.d.Scope == resource.ScopeMesh {
		return "/meshes/" + s.Mesh + "/" + s.d.Plural
	}
	return "/" + s.d.Plural
}

// path is the same on every plane: by what the resource is, not by what it is called there.
func (s specimen) path() string {
	id := s.Identity()
	if s.owner.name != "global" {
		id.Zone = s.owner.name
	}
	if s.d.Flow&resource.ProvidedByZone == 0 {
		id.Zone = ""
	}
	return s.collection() + "/" + url.PathEscape(id.KRI(""))
}

func (s specimen) String() string { return fmt.Sprintf("%s of %s", s.Key, s.owner.name) }

// example returns the documents of the catalogue for a kind.
func example(t *testing.T, d resource.Descriptor) []resource.Resource {
	t.Helper()
	var data []byte
	for _, room := range []string{"policy", "resource"} {
		if found, err := os.ReadFile("../../" + room + "/testdata/examples/" + d.Kind + ".yaml"); err == nil {
			data = found
		}
	}
	require.NotNil(t, data, "%s has no example", d.Kind)
	docs, err := policy.Schemas().Read(d.Kind, data, resource.ReadOptions{})
	require.NoError(t, err)
	var all []resource.Resource
	for _, doc := range docs {
		all = append(all, doc.Resource)
	}
	return all
}

// renamed returns r under another name, which nothing else of the federation has.
func renamed(t *testing.T, r resource.Resource, suffix string, keepNamespace bool) resource.Resource {
	t.Helper()
	name := r.Display() + suffix
	labels := map[string]string{}
	for key, value := range r.Labels {
		if key != resource.LabelDisplayName && (keepNamespace || key != resource.LabelNamespace) {
			labels[key] = value
		}
	}
	r.Labels, r.Name = labels, name
	doc, err := resource.ToJSON(r)
	require.NoError(t, err)
	docs, err := policy.Schemas().Read(r.Kind, doc, resource.ReadOptions{})
	require.NoError(t, err)
	return docs[0].Resource
}

// specimens returns what to write in east and then on global. A resource of a zone goes to global and on to the other
// zones, one of global to all zones: as far as the flow flags of its kind, and the role of a policy, say so.
func specimens(t *testing.T, global, east, west *plane) (ofZone, ofGlobal []specimen) {
	t.Helper()
	schemas := policy.Schemas()
	for _, d := range resource.Kinds {
		if _, ok := schemas[d.Kind]; !ok || d.Plural == "" || d.SystemManaged {
			continue
		}
		examples := example(t, d)
		for i, r := range examples {
			if !d.Flow.Has(resource.ProvidedByZone) {
				break
			}
			r = renamed(t, r, fmt.Sprintf("-z%d", i), true)
			role, _, err := policy.RoleOf(r.Kind, r.Namespace(), r.Spec)
			require.NoError(t, err)
			ofZone = append(ofZone, specimen{r, d, east, map[*plane]bool{
				global: d.FromZone(),
				west:   d.Flow.Has(resource.AcrossZones) && (!d.TargetRef || role == resource.RoleProducer),
			}})
		}
		if d.Flow.Has(resource.ProvidedByGlobal) {
			toZones := d.Flow.Has(resource.ProvidedByGlobal | resource.ConsumedByZone)
			r := renamed(t, examples[0], "-g", false)
			ofGlobal = append(ofGlobal, specimen{r, d, global, map[*plane]bool{east: toZones, west: toZones}})
		}
	}
	return ofZone, ofGlobal
}

func TestEveryKindIsWrittenSyncedReadAndDeleted(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east", "west")
	ofZone, ofGlobal := specimens(t, global, zones["east"], zones["west"])
	require.NotEmpty(t, ofZone)
	require.NotEmpty(t, ofGlobal)
	all := append(append([]specimen{}, ofZone...), ofGlobal...)

	// What global writes of a kind after it has got everything of east ends the wait for what must not go on to west:
	// changes of a kind are sent in order.
	for _, part := range [][]specimen{ofZone, ofGlobal} {
		apply(t, part)
		for _, s := range part {
			for p, seen := range s.seen {
				if seen {
					p.await(s.path())
				}
			}
		}
	}
	for _, s := range all {
		s.requireReadBack(t)
		for p, seen := range s.seen {
			if !seen {
				code, _, _, err := p.request(t.Context(), http.MethodGet, s.path(), "")
				require.NoError(t, err)
				assert.Equal(t, http.StatusNotFound, code, "%s is on %s", s, p.name)
			}
		}
	}
	listed := map[string]bool{}
	for _, s := range all {
		s.requireListed(t)
		if !listed[s.Kind+s.owner.name] { // one of each kind: it is a process each time
			listed[s.Kind+s.owner.name] = true
			code, stdout, stderr := s.owner.cli("get", s.Kind, s.Display(), "-o", "yaml", "--mesh", cmp.Or(s.Mesh, resource.DefaultMesh))
			assert.Equal(t, 0, code, stderr)
			assert.Contains(t, stdout, "type: "+s.Kind+"\n")
		}
	}
	var gone []func()
	for _, s := range all {
		gone = append(gone, s.delete(t))
	}
	for _, requireGone := range gone {
		requireGone()
	}
}

// apply writes specimens of one owner in one step.
func apply(t *testing.T, part []specimen) {
	t.Helper()
	var file []byte
	for _, s := range part {
		doc, err := resource.ToJSON(s.Resource)
		require.NoError(t, err)
		doc, err = resource.ToYAML(doc)
		require.NoError(t, err)
		file = append(append(file, "---\n"...), doc...)
	}
	name := filepath.Join(t.TempDir(), "catalogue.yaml")
	require.NoError(t, os.WriteFile(name, file, 0o600))
	code, stdout, stderr := part[0].owner.cli("apply", "-f", name)
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, len(part), strings.Count(stdout, " created"), stdout)
}

// requireReadBack fails unless the resource reads back as it was written, in both forms.
func (s specimen) requireReadBack(t *testing.T) {
	t.Helper()
	for _, form := range []string{"universal", "kubernetes"} {
		code, _, body, err := s.owner.request(t.Context(), http.MethodGet, s.path()+"?format="+form, "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, "%s: %s", s, body)
		docs, err := policy.Schemas().Read(form, []byte(body), resource.ReadOptions{})
		require.NoError(t, err, "%s: %s", s, body)
		got := docs[0].Resource
		assert.Equal(t, s.Key, got.Key)
		assert.Equal(t, s.Identity().Namespace, got.Identity().Namespace, "%s", s)
		if s.Kind != "Dataplane" { // its inbounds get the tag of their zone
			assert.Equal(t, string(s.Spec), string(got.Spec), "%s", s)
		}
	}
}

// requireListed fails unless every plane that has the resource lists it.
func (s specimen) requireListed(t *testing.T) {
	t.Helper()
	assert.Contains(t, s.owner.names(s.collection()), s.Display(), "%s", s)
	for p, seen := range s.seen {
		if seen {
			assert.Contains(t, p.names(s.collection()), s.Display(), "%s on %s", s, p.name)
		}
	}
}

// delete deletes the resource where it was written. What it returns waits until the resource is gone everywhere.
func (s specimen) delete(t *testing.T) (requireGone func()) {
	t.Helper()
	versions := map[*plane]string{}
	for p, seen := range s.seen {
		if seen {
			_, header, _, err := p.request(t.Context(), http.MethodGet, s.path(), "")
			require.NoError(t, err)
			versions[p] = header.Get("ETag")
		}
	}
	code, _, body, err := s.owner.request(t.Context(), http.MethodDelete, s.collection()+"/"+s.Name, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, code, "DELETE %s: %s", s, body)
	versions[s.owner] = "0"
	return func() {
		t.Helper()
		for p, version := range versions {
			code, _, body, err := p.request(t.Context(), http.MethodGet, s.path()+"?wait="+settle.String(), "", "If-None-Match", version)
			require.NoError(t, err)
			assert.Equal(t, http.StatusNotFound, code, "%s is still on %s: %s", s, p.name, body)
		}
	}
}
