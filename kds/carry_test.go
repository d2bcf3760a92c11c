package kds_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestCarriedResourceHasItsWireNameAndTheLabelsOfTheReceiver(t *testing.T) {
	t.Parallel()
	docs, err := policy.Schemas().Read("", []byte(`{"type":"MeshTimeout","name":"slow","labels":{"k8s.kuma.io/namespace":"shop","kuma.io/policy-role":"consumer"},
		"spec":{"to":[{"targetRef":{"kind":"MeshService","name":"cart"},"default":{"idleTimeout":"1s"}}]}}`), resource.ReadOptions{})
	require.NoError(t, err)
	r := docs[0].Resource
	east, global := scope.Peer{Zone: "east"}, scope.Peer{Zones: map[string]bool{"east": true, "west": true}}
	west := scope.Peer{Zone: "west", Features: scope.ParseFeatures(scope.Announced)}

	up, err := kds.Carry(r, east, global)
	require.NoError(t, err)
	assert.Equal(t, "east", up.Zone())
	assert.Equal(t, resource.OriginZone, up.Origin())
	assert.Equal(t, resource.RoleProducer, up.Role(), "the receiver computes the role")
	assert.Equal(t, resource.WireName(up), up.Name)

	down, err := kds.Carry(up, global, west)
	require.NoError(t, err)
	assert.Equal(t, resource.OriginGlobal, down.Origin())
	assert.Equal(t, up.Name, down.Name)
	assert.Equal(t, up.Identity(), down.Identity())
	assert.Equal(t, "slow.shop", r.Name, "the resource itself is not modified")
	assert.NotContains(t, r.Labels, resource.LabelZone)
}
