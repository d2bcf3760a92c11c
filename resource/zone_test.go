package resource_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestZoneNamesAreDNSNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "east-1", "1", "eu.west-1", strings.Repeat("z", 63)} {
		assert.True(t, resource.ValidZoneName(name), "%q", name)
	}
	for _, name := range []string{"", "East", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a_b", "a\n", strings.Repeat("z", 64)} {
		assert.False(t, resource.ValidZoneName(name), "%q", name)
	}
}

func TestAZoneIsEnabledUnlessItSaysOtherwise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec    *systemv1.Zone
		enabled bool
	}{
		{&systemv1.Zone{}, true},
		{&systemv1.Zone{Enabled: wrapperspb.Bool(true)}, true},
		{&systemv1.Zone{Enabled: wrapperspb.Bool(false)}, false},
	} {
		data, err := proto.Marshal(c.spec)
		assert.NoError(t, err)
		enabled, err := resource.ZoneEnabled(resource.Resource{Key: resource.Key{Kind: "Zone", Name: "east"}, Spec: data})
		assert.NoError(t, err)
		assert.Equal(t, c.enabled, enabled, "%v", c.spec)
	}
	enabled, err := resource.ZoneEnabled(resource.Resource{Key: resource.Key{Kind: "Zone", Name: "east"}, Spec: []byte{0xff}})
	assert.Error(t, err)
	assert.False(t, enabled)
}
