package resource_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/resource"
)

func TestKeysAreOrderedByKindMeshAndName(t *testing.T) {
	t.Parallel()
	want := []resource.Key{{Kind: "A", Name: "z"}, {Kind: "A", Mesh: "a", Name: "b"}, {Kind: "A", Mesh: "a", Name: "c"}, {Kind: "B"}}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, resource.Key.Compare)
	assert.Equal(t, want, got)
	assert.Equal(t, "A z", want[0].String())
	assert.Equal(t, "A a/b", want[1].String())
}

func TestStorageNameEndsInTheNamespaceOnce(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "x", resource.StorageName("x", ""))
	assert.Equal(t, "x.demo", resource.StorageName("x", "demo"))
	assert.Equal(t, "x.demo", resource.StorageName("x.demo", "demo"))
	assert.Equal(t, "demo.demo", resource.StorageName("demo", "demo"))
}

func TestAResourceKnowsWhatItsLabelsSay(t *testing.T) {
	t.Parallel()
	plain := resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "m", Name: "x"}}
	assert.Equal(t, []string{"x", "", "", "", "system"}, []string{plain.Display(), plain.Namespace(), plain.Zone(), plain.Origin(), plain.Role()})
	synced := plain
	synced.Labels = map[string]string{"kuma.io/display-name": "d", "k8s.kuma.io/namespace": "n", "kuma.io/zone": "z", "kuma.io/origin": "zone", "kuma.io/policy-role": "producer"}
	assert.Equal(t, []string{"d", "n", "z", "zone", "producer"}, []string{synced.Display(), synced.Namespace(), synced.Zone(), synced.Origin(), synced.Role()})
	assert.Equal(t, resource.Identity{Kind: "MeshTimeout", Mesh: "m", Zone: "z", Namespace: "n", Name: "d"}, synced.Identity())
}

func TestContentIsLabelsSpecAndStatus(t *testing.T) {
	t.Parallel()
	r := resource.Resource{Key: resource.Key{Kind: "MeshService", Name: "x"}, Labels: map[string]string{"a": "b"}, Spec: []byte("{}"), Version: 1}
	same := r
	same.Version, same.Labels = 2, map[string]string{"a": "b"}
	assert.True(t, r.SameContent(same))
	for _, change := range []func(*resource.Resource){
		func(r *resource.Resource) { r.Labels = nil },
		func(r *resource.Resource) { r.Spec = []byte(`{"a":1}`) },
		func(r *resource.Resource) { r.Status = []byte(`{}`) },
	} {
		other := r
		change(&other)
		assert.False(t, r.SameContent(other))
	}
}

func TestOpsSayWhatTheyExpect(t *testing.T) {
	t.Parallel()
	r := resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "x"}}
	assert.Equal(t, resource.Op{Resource: r}, resource.Put(r))
	assert.Equal(t, resource.Op{Resource: r, Delete: true}, resource.Delete(r.Key))
	op := resource.Put(r)
	assert.Equal(t, resource.Revision(5), *op.If(5).Expect)
	assert.Nil(t, op.Expect, "If returns a copy")
}
