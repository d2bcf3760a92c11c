package scope

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/resource"
)

// The kinds of this build may all be at level 1; this one is not.
func TestFieldOfALaterLevelIsKeptFromAnOlderPeer(t *testing.T) {
	t.Parallel()
	d, _ := resource.LookupKind("MeshTimeout")
	d.Newer = []resource.Since{{Level: 2, Field: "to[].default.budget"}, {Level: 3, Field: "grace"}}
	at := func(level int) Peer {
		return Peer{Zone: "west", Features: ParseFeatures(Announced), Levels: Levels{d.Kind: level}}
	}
	subject := func(spec string) Subject {
		return inspect(resource.Resource{Key: resource.Key{Kind: d.Kind, Mesh: "default", Name: "x"}, Spec: []byte(spec)}, &d)
	}
	plain := subject(`{"to":[{"default":{"idleTimeout":"1s"}}]}`)
	second := subject(`{"to":[{"default":{}},{"default":{"budget":1}}]}`)
	third := subject(`{"to":[{"default":{"budget":1}}],"grace":null}`)
	for name, c := range map[string]struct {
		subject Subject
		level   int
		lacks   string
	}{
		"no newer field":             {plain, 1, ""},
		"a field of level 2 at 1":    {second, 1, "MeshTimeout level 2, with which to[].default.budget came; it has level 1"},
		"a field of level 2 at 2":    {second, 2, ""},
		"the newest field decides":   {third, 2, "MeshTimeout level 3, with which grace came; it has level 2"},
		"a peer of a later version":  {third, 9, ""},
		"a peer that lacks the kind": {plain, 0, "MeshTimeout"},
	} {
		assert.Equal(t, c.lacks, c.subject.Lacks(at(c.level)), name)
		send, rule := c.subject.Decide(Peer{}, at(c.level))
		assert.Equal(t, c.lacks == "", send, name)
		assert.Equal(t, c.lacks != "", rule == LacksSchemaLevel, name)
	}
	send, _ := second.Decide(Peer{}, Peer{Zone: "kuma", Features: ParseFeatures(Announced)})
	assert.False(t, send, "Kuma 2.10 is at level 1")
	assert.NotEqual(t, plain, second, "a change of what is needed is a change of scope")
	assert.False(t, second.MayReach(Peer{}, at(1)))
}
