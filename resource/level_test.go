package resource_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestNeedsIsTheNewestFieldThatIsSet(t *testing.T) {
	t.Parallel()
	d := resource.Descriptor{Newer: []resource.Since{{Level: 3, Field: "a.b[].c"}, {Level: 2, Field: "a"}, {Level: 2, Field: "l[].m[].n"}}}
	assert.Equal(t, 3, d.SchemaLevel())
	assert.Equal(t, 1, resource.Descriptor{}.SchemaLevel())
	for spec, want := range map[string]int{
		`{}`: 1, `{"b":{"c":1}}`: 1, `not JSON`: 1, `[]`: 1, `null`: 1,
		`{"a":1}`: 2, `{"a":{"b":{"c":1}}}`: 2, `{"a":{"b":[{},{"d":1}]}}`: 2, `{"l":[{"m":[{"n":null}]}]}`: 2,
		`{"a":{"b":[{},{"c":null}]}}`: 3,
	} {
		level := 1
		if needs := d.Needs([]byte(spec)); needs != nil {
			level = needs.Level
		}
		assert.Equal(t, want, level, spec)
	}
	assert.Nil(t, resource.Descriptor{}.Needs([]byte(`{"a":1}`)))
}

func TestNeedsReadsMessagesToo(t *testing.T) {
	t.Parallel()
	d, ok := resource.LookupKind("Zone")
	require.True(t, ok)
	d.Newer = []resource.Since{{Level: 2, Field: "enabled"}}
	set, err := proto.Marshal(&systemv1.Zone{Enabled: wrapperspb.Bool(false)})
	require.NoError(t, err)
	assert.NotNil(t, d.Needs(set))
	assert.Nil(t, d.Needs(nil))
	assert.Nil(t, d.Needs([]byte("\xff")))
}
