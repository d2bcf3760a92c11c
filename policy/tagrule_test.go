package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
)

// TestRulesByTag has a row for each rule about what selects by tag: which rules there are, in which order, and which
// items they are merged from.
func TestRulesByTag(t *testing.T) {
	t.Parallel()
	const web = "{type: Mesh, name: default}\n---\n{type: Dataplane, name: web, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}\n---\n"
	timeout := func(name string, to ...string) string {
		for i, ref := range to {
			to[i] = fmt.Sprintf("{targetRef: {%s}, default: {idleTimeout: %ds}}", ref, i+1)
		}
		return "{type: MeshTimeout, name: " + name + ", spec: {to: [" + strings.Join(to, ", ") + "]}}\n---\n"
	}
	permission := func(name string, from ...string) string {
		for i, ref := range from {
			action := "Allow"
			if i%2 == 1 {
				action = "Deny"
			}
			from[i] = fmt.Sprintf("{targetRef: {%s}, default: {action: %s}}", ref, action)
		}
		return "{type: MeshTrafficPermission, name: " + name + ", spec: {from: [" + strings.Join(from, ", ") + "]}}\n---\n"
	}
	for rule, c := range map[string]struct{ docs, want string }{
		"one key: a rule for each set, those with a tag first": {
			timeout("p", "kind: Mesh", "kind: MeshService, name: a", "kind: MeshService, name: b"),
			"[kuma.io/service=a] 2s p; [kuma.io/service=b] 3s p; [] 1s p",
		},
		"the last item of a policy wins, whatever its kind": {
			timeout("p", "kind: MeshService, name: a", "kind: Mesh"),
			"[kuma.io/service=a] 2s p; [] 2s p",
		},
		"the alphabetically first policy wins, whatever the kind of its item": {
			timeout("a", "kind: Mesh") + timeout("b", "kind: Mesh", "kind: MeshService, name: x"),
			"[kuma.io/service=x] 1s b,a; [] 1s b,a",
		},
		"a service by labels is the empty name": {
			timeout("p", "kind: MeshService, labels: {a: b}"),
			"[kuma.io/service=] 1s p",
		},
		"sections are one service": {
			timeout("p", "kind: MeshService, name: a, sectionName: x", "kind: MeshService, name: a, sectionName: y"),
			"[kuma.io/service=a] 2s p",
		},
		"external and multi-zone services have no tags": {
			timeout("p", "kind: MeshExternalService, name: a", "kind: MeshMultiZoneService, name: b", "kind: Mesh"),
			"[] 3s p",
		},
		"clients are always combined: the negated ones come before all-positive, more positive tags first": {
			permission("p", "kind: Mesh", "kind: MeshService, name: a"),
			"[kuma.io/service=a] Deny p; [!kuma.io/service=a] Allow p",
		},
		"all clients are one rule without matchers": {
			permission("p", "kind: Mesh"),
			"[] Allow p",
		},
		"what no item covers has no rule": {
			permission("p", "kind: MeshService, name: a"),
			"[kuma.io/service=a] Allow p",
		},
		"sets that cannot meet are not combined": {
			permission("p", "kind: MeshService, name: a", "kind: MeshService, name: b"),
			"[kuma.io/service=b] Deny p; [kuma.io/service=a] Allow p",
		},
		"sets that can meet are combined, the lowest key changes first": {
			permission("p", "kind: MeshSubset, tags: {x: '1'}", "kind: MeshSubset, tags: {y: '2'}"),
			"[x=1 y=2] Deny p; [!x=1 y=2] Deny p; [x=1 !y=2] Allow p",
		},
		"a negated tag never satisfies an item": {
			permission("p", "kind: MeshServiceSubset, name: a, tags: {x: '1'}", "kind: MeshService, name: a"),
			"[kuma.io/service=a x=1] Deny p; [kuma.io/service=a !x=1] Deny p",
		},
		"a value that differs keeps sets apart": {
			permission("p", "kind: MeshSubset, tags: {x: '1', y: '1'}", "kind: MeshSubset, tags: {x: '1', y: '2'}", "kind: MeshSubset, tags: {x: '1'}"),
			"[x=1 y=2] Allow p; [x=1 y=1] Allow p; [x=1 !y=2] Allow p; [x=1 !y=1] Allow p",
		},
		"a rule holds every item that covers it, also of another group": {
			permission("low", "kind: MeshSubset, tags: {x: '1'}") + permission("high", "kind: MeshSubset, tags: {y: '1'}", "kind: MeshSubset, tags: {y: '2'}"),
			"[x=1 y=2] Deny low,high; [x=1 y=1] Allow low,high; [!x=1 y=2] Deny high; [x=1 !y=2] Allow low; [!x=1 y=1] Allow high; [x=1 !y=1] Allow low",
		},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := read(t, web+strings.TrimSuffix(c.docs, "---\n"))
			var got []string
			line := func(r policy.TagRule) {
				conf, err := json.Marshal(r.Conf)
				require.NoError(t, err)
				value := strings.NewReplacer(`{"idleTimeout":"`, "", `{"action":"`, "", `"}`, "").Replace(string(conf))
				got = append(got, fmt.Sprintf("%s %s %s", clients(r.Matchers), value, strings.Join(names(r.Origin), ",")))
			}
			for _, r := range policy.Rules(s.input(s.proxies[0])).Rules {
				for _, one := range r.ToRules {
					line(one)
				}
				for _, from := range r.FromRules {
					for _, one := range from.Rules {
						line(one)
					}
				}
			}
			assert.Equal(t, c.want, strings.Join(got, "; "))
		})
	}
}
