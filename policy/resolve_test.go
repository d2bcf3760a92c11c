package policy_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/policy"
)

// carts are services: cart in two zones and two namespaces, and one of each other kind.
const carts = `{type: Mesh, name: default}
---
{type: Dataplane, name: web, labels: {k8s.kuma.io/namespace: shop}, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}
---
{type: MeshService, name: cart-1, labels: {kuma.io/display-name: cart, k8s.kuma.io/namespace: shop, kuma.io/zone: east, app: cart}, spec: {ports: [{port: 80, name: http}, {port: 81}]}}
---
{type: MeshService, name: cart-2, labels: {kuma.io/display-name: cart, k8s.kuma.io/namespace: shop, kuma.io/zone: west, app: cart}, spec: {ports: [{port: 80}, {port: 8080, name: "80"}]}}
---
{type: MeshService, name: cart-3, labels: {kuma.io/display-name: cart, k8s.kuma.io/namespace: pay, kuma.io/zone: east, app: cart, tier: ""}, spec: {ports: [{port: 80, name: http}]}}
---
{type: MeshService, name: plain, spec: {ports: [{port: 80, name: http}]}}
---
{type: MeshExternalService, name: bank, spec: {match: {type: HostnameGenerator, port: 443, protocol: http}, endpoints: [{address: bank.example, port: 443}]}}
---
{type: MeshMultiZoneService, name: all, spec: {selector: {meshService: {matchLabels: {app: cart}}}, ports: [{port: 80, name: http}, {port: 81}]}}
---
`

// TestWhichServicesAToTargetRefFinds has a row for each rule about references to destinations.
func TestWhichServicesAToTargetRefFinds(t *testing.T) {
	t.Parallel()
	const eastShop, eastPay = "kuma.io/zone: east, k8s.kuma.io/namespace: shop", "kuma.io/zone: east, k8s.kuma.io/namespace: pay"
	for rule, c := range map[string]struct{ labels, targetRef, want string }{
		"a name is one of the policy's zone and namespace":           {eastShop, "kind: MeshService, name: cart", "cart-1"},
		"a name with a namespace stays in the policy's zone":         {eastPay, "kind: MeshService, name: cart, namespace: shop", "cart-1"},
		"a name of a policy that came from another zone means that":  {"kuma.io/origin: global, kuma.io/zone: west, k8s.kuma.io/namespace: shop, kuma.io/policy-role: producer", "kind: MeshService, name: cart", "cart-2"},
		"a name is the display name, not the storage name":           {eastShop, "kind: MeshService, name: cart-1", ""},
		"a name of global finds nothing that has a zone":             {"", "kind: MeshService, name: cart, namespace: shop", ""},
		"a name of global finds what has none":                       {"", "kind: MeshService, name: plain", "plain"},
		"labels find services of all zones and namespaces":           {eastShop, "kind: MeshService, labels: {app: cart}", "cart-1 cart-2 cart-3"},
		"labels find them whoever wrote the policy":                  {eastShop + ", kuma.io/policy-role: consumer", "kind: MeshService, labels: {app: cart}", "cart-1 cart-2 cart-3"},
		"all labels must be there":                                   {"", "kind: MeshService, labels: {app: cart, kuma.io/zone: east}", "cart-1 cart-3"},
		"a missing label is not the empty one":                       {"", "kind: MeshService, labels: {tier: ''}", "cart-3"},
		"an old name of three parts means the service, in all zones": {eastPay, "kind: MeshService, name: cart_shop_svc", "cart-1 cart-2"},
		"an old name of four parts means a port":                     {"", "kind: MeshService, name: cart_shop_svc_80", "cart-1/http cart-2/80"},
		"the port of an old name must be there":                      {"", "kind: MeshService, name: cart_shop_svc_81", "cart-1/81"},
		"the third part of an old name is any word":                  {"", "kind: MeshService, name: cart_pay_x", "cart-3"},
		"an old name whose fourth part is no number is a plain name": {"", "kind: MeshService, name: cart_shop_svc_http", ""},
		"an old name with a section is a plain name":                 {"", "kind: MeshService, name: cart_shop_svc, sectionName: http", ""},
		"an old name of a multi-zone service is a plain name":        {"", "kind: MeshMultiZoneService, name: all_shop_svc", ""},
		"a section is the name of a port":                            {eastShop, "kind: MeshService, name: cart, sectionName: http", "cart-1/http"},
		"a section is the number of a port without a name":           {eastShop, "kind: MeshService, name: cart, sectionName: '81'", "cart-1/81"},
		"a section is not the number of a port with a name":          {eastShop, "kind: MeshService, name: cart, sectionName: '80'", ""},
		"of two ports that a section means the first counts":         {"", "kind: MeshService, labels: {kuma.io/zone: west}, sectionName: '80'", "cart-2/80"},
		"a service without the section is dropped, others stay":      {"", "kind: MeshService, labels: {app: cart}, sectionName: http", "cart-1/http cart-3/http"},
		"a multi-zone service by name":                               {"", "kind: MeshMultiZoneService, name: all", "all"},
		"a section of a multi-zone service":                          {"", "kind: MeshMultiZoneService, name: all, sectionName: '81'", "all/81"},
		"an external service by name":                                {"", "kind: MeshExternalService, name: bank", "bank"},
		"the kind must be the same":                                  {"", "kind: MeshExternalService, name: plain", ""},
		"the mesh as a whole":                                        {"", "kind: Mesh", "default"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := read(t, carts+"{type: MeshTimeout, name: p, labels: {"+c.labels+"}, spec: {to: [{targetRef: {"+c.targetRef+"}, default: {idleTimeout: 1s}}]}}")
			var got []string
			for _, r := range policy.Rules(s.input(s.proxies[0])).Rules {
				for _, one := range r.ToResourceRules {
					name := one.ResourceMeta.Name
					if one.ResourceSectionName != "" {
						name += "/" + one.ResourceSectionName
					}
					got = append(got, name)
				}
			}
			assert.Equal(t, c.want, strings.Join(got, " "))
		})
	}
}
