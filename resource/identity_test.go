package resource_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

func TestWireNamesAreThoseOfKuma(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mesh, name, zone, namespace, want string }{
		{"default", "my-policy", "", "", "my-policy-72x44z688zbxf7wf"},
		{"default", "dp-1", "zone-1", "", "dp-1-dff6z597w47d46xx"},
		{"default", "redis", "zone-1", "kuma-demo", "redis-84x98dx244v942z9"},
		{"", "zi-1", "zone-1", "", "zi-1-2d8w9vd5b9fd9xbv"},
		{"default", "mesh-circuit-breaker-all-default", "", "", "mesh-circuit-breaker-all-default-w798xv6xczc42cwb"},
		{"mesh-2", strings.Repeat("a", 250), "", "", strings.Repeat("a", 236) + "-2x65xcd8b9d5xbcz"},
	} {
		r := resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: c.mesh, Name: c.name}, Labels: map[string]string{}}
		if c.zone != "" {
			r.Labels[resource.LabelZone] = c.zone
		}
		if c.namespace != "" {
			r.Labels[resource.LabelNamespace] = c.namespace
		}
		assert.Equal(t, c.want, resource.WireName(r))

		// The second hop hashes what the first one has renamed: nothing changes.
		r.Labels[resource.LabelDisplayName], r.Name = c.name, c.want
		assert.Equal(t, c.want, resource.WireName(r))
	}
}

func TestKRINamesAnIdentityInOneWord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id      resource.Identity
		section string
		want    string
	}{
		{resource.Identity{Kind: "MeshTimeout", Mesh: "default", Zone: "east", Namespace: "kuma-demo", Name: "slow"}, "", "kri_mt_default_east_kuma-demo_slow_"},
		{resource.Identity{Kind: "MeshService", Mesh: "default", Zone: "east", Name: "redis"}, "main", "kri_msvc_default_east__redis_main"},
		{resource.Identity{Kind: "Zone", Name: "east"}, "", "kri_zone____east_"},
		{resource.Identity{Kind: "Mesh", Name: "default"}, "", "kri_m____default_"},
		// Only the mesh may hold the separator.
		{resource.Identity{Kind: "MeshTimeout", Mesh: "old_mesh_", Name: "x"}, "", "kri_mt_old_mesh____x_"},
		{resource.Identity{Kind: "MeshService", Mesh: "m", Name: "x"}, "my_port%", "kri_msvc_m___x_my%5Fport%25"},
	} {
		assert.Equal(t, c.want, c.id.KRI(c.section))
		id, section, err := resource.ParseKRI(c.want)
		require.NoError(t, err)
		assert.Equal(t, c.id, id)
		assert.Equal(t, c.section, section)
	}
	assert.Equal(t, "kri_zone____east_", resource.Identity{Kind: "Zone", Name: "east"}.String())
}

func TestParseKRISaysWhichPartIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kri, want string }{
		{"", `KRI "": want kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`},
		{"kri_mt_default_slow", `KRI "kri_mt_default_slow": want kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`},
		{"xri_mt_default_east_demo_slow_", `KRI "xri_mt_default_east_demo_slow_": want kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`},
		{"kri_pod_default_east_demo_slow_", `KRI "kri_pod_default_east_demo_slow_": no kind has the short name "pod"`},
		{"kri_msvcs_default_east_demo_slow_", `KRI "kri_msvcs_default_east_demo_slow_": no kind has the short name "msvcs"; did you mean msvc?`},
		{"kri_mt_default_east_demo__", `KRI "kri_mt_default_east_demo__": the name is empty`},
	} {
		_, _, err := resource.ParseKRI(c.kri)
		assert.EqualError(t, err, c.want)
	}
}

func FuzzParseKRI(f *testing.F) {
	f.Add("mt", "default", "east", "kuma-demo", "slow", "")
	f.Add("msvc", "old_mesh", "", "", "x", "a_b%5F")
	f.Add("", "%", "_", "__", "%25", "kri_")
	f.Fuzz(func(t *testing.T, short, mesh, zone, namespace, name, section string) {
		kind := "MeshTimeout"
		for _, d := range resource.Kinds {
			if d.Short == short {
				kind = d.Kind
			}
		}
		id := resource.Identity{Kind: kind, Mesh: mesh, Zone: zone, Namespace: namespace, Name: name}
		gotID, gotSection, err := resource.ParseKRI(id.KRI(section))
		if name == "" {
			require.Error(t, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, id, gotID)
		require.Equal(t, section, gotSection)

		// Any text that parses is the KRI of what it parses to, up to the spelling of an escape.
		if id, section, err := resource.ParseKRI(mesh); err == nil {
			again, againSection, err := resource.ParseKRI(id.KRI(section))
			require.NoError(t, err)
			require.Equal(t, id, again)
			require.Equal(t, section, againSection)
		}
	})
}
