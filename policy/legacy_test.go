package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/resource"
)

func tagEntries(refs ...TargetRef) []Entry {
	p := &Policy{Resource: resource.Resource{Key: resource.Key{Kind: "MeshTrafficPermission", Name: "p"}}}
	entries := make([]Entry, len(refs))
	for i, ref := range refs {
		it := newItem(ref, map[string]any{})
		entries[i] = Entry{Policy: p, Index: i, Item: &it, list: "from"}
	}
	return entries
}

// TestCliquesAreTheMaximalOnes compares with trying all subsets.
func TestCliquesAreTheMaximalOnes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tags := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"1", "2"}), 0, 3)
		var refs []TargetRef
		for range rapid.IntRange(1, 7).Draw(t, "items") {
			refs = append(refs, TargetRef{Kind: kindSubset, Tags: tags.Draw(t, "tags")})
		}
		sets, used := tagSets(tagEntries(refs...))
		require.Len(t, used, len(refs))

		pairwise := func(members int) bool {
			for i := range sets {
				for j := range i {
					if members&(1<<i) != 0 && members&(1<<j) != 0 && !sets[i].intersects(sets[j]) {
						return false
					}
				}
			}
			return true
		}
		want := map[string]bool{}
		for members := 1; members < 1<<len(sets); members++ {
			maximal := pairwise(members)
			var clique []*tagSet
			for i, s := range sets {
				if members&(1<<i) != 0 {
					clique = append(clique, s)
				} else if pairwise(members | 1<<i) {
					maximal = false
				}
			}
			if maximal {
				want[cliqueText(clique)] = true
			}
		}
		var got []string
		for _, clique := range cliques(sets) {
			got = append(got, cliqueText(clique))
		}
		assert.ElementsMatch(t, slices.Collect(maps.Keys(want)), got)
		assert.True(t, slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }), "%v", got)
	})
}

func TestTooManyTagsGiveNoRules(t *testing.T) {
	t.Parallel()
	tags := map[string]string{}
	for i := range maxTags + 1 {
		tags[fmt.Sprintf("tag%02d", i)] = "x"
	}
	rules, err := tagRules(tagEntries(TargetRef{Kind: kindSubset, Tags: tags}, TargetRef{Kind: kindMesh}), true)
	assert.EqualError(t, err, "17 tags meet on one set of clients, at most 16 can be combined")
	assert.Empty(t, rules)

	delete(tags, "tag00")
	rules, err = tagRules(tagEntries(TargetRef{Kind: kindSubset, Tags: tags}, TargetRef{Kind: kindMesh}), true)
	require.NoError(t, err)
	assert.Len(t, rules, 1<<maxTags)
}

// A type with one `default` for the proxy as a whole.
func TestProxyRule(t *testing.T) {
	t.Parallel()
	single := Type{Kind: "MeshPassthrough", Single: true}
	parse := func(name, spec string) *Policy {
		p, err := Parse(resource.Resource{Key: resource.Key{Kind: single.Kind, Mesh: "default", Name: name}, Spec: []byte(spec)})
		require.NoError(t, err)
		return p
	}
	in := Input{
		Mesh: &Mesh{}, Proxy: &Proxy{kind: ProxySidecar, inbounds: []inbound{{}}, listeners: make([]listener, 1)}, Destinations: NewDestinations(),
		Policies: map[string][]*Policy{single.Kind: {
			parse("a-high", `{"default":{"appendMatch":["a"],"passthroughMode":"All"}}`),
			parse("z-low", `{"default":{"appendMatch":["z"],"passthroughMode":"None"}}`),
		}},
	}
	got, _, ok := typeRules(in.prepared(), single)
	require.True(t, ok)
	assert.JSONEq(t, `{
		"type": "MeshPassthrough", "fromRules": [], "inboundRules": [], "toRules": [], "toResourceRules": [], "warnings": [],
		"proxyRule": {"conf": {"appendMatch": ["z", "a"], "passthroughMode": "All"}, "origin": [
			{"type": "MeshPassthrough", "mesh": "default", "name": "z-low", "labels": {}},
			{"type": "MeshPassthrough", "mesh": "default", "name": "a-high", "labels": {}}]}}`, toJSON(t, got))
}
