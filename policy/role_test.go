package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestRoleOf(t *testing.T) {
	t.Parallel()
	const (
		byName   = `{"targetRef":{"kind":"MeshService","name":"cart"},"default":{}}`
		own      = `{"targetRef":{"kind":"MeshService","name":"cart","namespace":"shop"},"default":{}}`
		foreign  = `{"targetRef":{"kind":"MeshService","name":"cart","namespace":"other"},"default":{}}`
		byLabels = `{"targetRef":{"kind":"MeshService","labels":{"app":"cart"}},"default":{}}`
		mesh     = `{"targetRef":{"kind":"Mesh"},"default":{}}`
		external = `{"targetRef":{"kind":"MeshExternalService","name":"cart"},"default":{}}`
	)
	for name, c := range map[string]struct {
		kind, namespace, spec string
		role                  string
		warned                bool
		err                   string
	}{
		"no namespace":                   {"MeshTimeout", "", `{"to":[` + byName + `]}`, resource.RoleSystem, false, ""},
		"the system namespace":           {"MeshTimeout", "kuma-system", `{"to":[` + byName + `]}`, resource.RoleSystem, false, ""},
		"own service by name":            {"MeshTimeout", "shop", `{"to":[` + byName + `]}`, resource.RoleProducer, false, ""},
		"own service, namespace written": {"MeshTimeout", "shop", `{"to":[` + own + `,` + byName + `]}`, resource.RoleProducer, false, ""},
		"another namespace's service":    {"MeshTimeout", "shop", `{"to":[` + foreign + `]}`, resource.RoleConsumer, false, ""},
		"own service by labels":          {"MeshTimeout", "shop", `{"to":[` + byLabels + `]}`, resource.RoleConsumer, false, ""},
		"the mesh":                       {"MeshTimeout", "shop", `{"to":[` + mesh + `]}`, resource.RoleConsumer, false, ""},
		"an external service by name":    {"MeshTimeout", "shop", `{"to":[` + external + `]}`, resource.RoleConsumer, false, ""},
		"from":                           {"MeshTrafficPermission", "shop", `{"from":[` + mesh + `]}`, resource.RoleWorkloadOwner, false, ""},
		"rules":                          {"MeshTimeout", "shop", `{"rules":[{"default":{}}]}`, resource.RoleWorkloadOwner, false, ""},
		"neither list":                   {"MeshMetric", "shop", `{"default":{}}`, resource.RoleWorkloadOwner, false, ""},
		"empty to":                       {"MeshTimeout", "shop", `{"to":[]}`, resource.RoleWorkloadOwner, false, ""},
		"from and to":                    {"MeshTimeout", "shop", `{"from":[` + mesh + `],"to":[` + byName + `]}`, resource.RoleWorkloadOwner, true, ""},
		"producer and consumer items": {"MeshTimeout", "shop", `{"to":[` + byName + `,` + mesh + `,` + own + `]}`, "", false,
			"one policy cannot be both producer and consumer: to[0], to[2] name a MeshService of the policy's own namespace shop (producer), to[1] do not (consumer); write two policies"},
		"a policy of a type that is not resolved": {"MeshRetry", "shop", `{"to":[` + byName + `]}`, resource.RoleProducer, false, ""},
		"a kind without roles":                    {"MeshService", "shop", `{}`, "", false, ""},
		"no policy at all":                        {"Nope", "shop", `{}`, "", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role, warnings, err := policy.RoleOf(c.kind, c.namespace, []byte(c.spec))
			if c.err != "" {
				assert.EqualError(t, err, c.err)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, c.role, role)
			assert.Equal(t, c.warned, len(warnings) > 0, "%v", warnings)
		})
	}
	_, _, err := policy.RoleOf("MeshTimeout", "shop", []byte(`{"to":{}}`))
	assert.ErrorContains(t, err, "role of a MeshTimeout")
}
