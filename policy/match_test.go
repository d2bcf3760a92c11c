package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
)

const (
	sidecar = `{type: Dataplane, name: web.shop, labels: {kuma.io/display-name: web, k8s.kuma.io/namespace: shop, kuma.io/zone: east, kuma.io/origin: zone, app: web}, networking: {address: 10.0.0.1, inbound: [
  {port: 80, name: http, tags: {kuma.io/service: web, version: v1}}, {port: 81, name: admin, tags: {kuma.io/service: web-admin, team: a}}, {port: 82, name: http, state: Ignored, tags: {kuma.io/service: web, team: a}}]}}`
	loose     = `{type: Dataplane, name: web, labels: {kuma.io/zone: east}, networking: {address: 10.0.0.1, inbound: [{port: 80, tags: {kuma.io/service: web}}]}}`
	delegated = `{type: Dataplane, name: kong, networking: {address: 10.0.0.1, gateway: {tags: {kuma.io/service: kong, team: a}}}}`
	builtin   = `{type: Dataplane, name: edge, labels: {kuma.io/zone: east, kuma.io/origin: zone, k8s.kuma.io/namespace: infra}, networking: {address: 10.0.0.1, gateway: {type: BUILTIN, tags: {kuma.io/service: edge, team: a, host: none}}}}
---
{type: MeshGateway, name: gw-1, labels: {kuma.io/display-name: gw, kuma.io/origin: zone, kuma.io/zone: east}, tags: {all: "yes", host: base}, selectors: [{match: {kuma.io/service: edge}}], conf: {listeners: [
  {port: 80, protocol: HTTP, tags: {host: a}}, {port: 80, protocol: HTTP, tags: {host: b}}, {port: 443, protocol: HTTPS, tags: {tls: "yes"}}]}}`

	ofEast     = "kuma.io/origin: zone, kuma.io/zone: east"
	ofWest     = "kuma.io/origin: zone, kuma.io/zone: west"
	producer   = ", kuma.io/policy-role: producer"
	consumer   = ", kuma.io/policy-role: consumer"
	workloader = ", kuma.io/policy-role: workload-owner"
	inShop     = ", k8s.kuma.io/namespace: shop"
)

// TestWhichInboundsATopLevelTargetRefSelects has a row for each rule about the proxies that a policy configures.
func TestWhichInboundsATopLevelTargetRefSelects(t *testing.T) {
	t.Parallel()
	for rule, c := range map[string]struct{ proxy, labels, targetRef, want string }{
		"without a targetRef it is the mesh":                             {sidecar, "", "", "80 81"},
		"an ignored inbound is never selected":                           {sidecar, "", "kind: Mesh", "80 81"},
		"a Mesh selects the listeners of the gateway":                    {builtin, "", "kind: Mesh", "80 443"},
		"a Mesh selects a delegated gateway":                             {delegated, "", "kind: Mesh", "yes"},
		"no proxyTypes are all":                                          {sidecar, "", "kind: Mesh, proxyTypes: [Sidecar, Gateway]", "80 81"},
		"a sidecar is a Sidecar":                                         {sidecar, "", "kind: Mesh, proxyTypes: [Sidecar]", "80 81"},
		"a sidecar is no Gateway":                                        {sidecar, "", "kind: Mesh, proxyTypes: [Gateway]", ""},
		"a delegated gateway is a Gateway":                               {delegated, "", "kind: Mesh, proxyTypes: [Gateway]", "yes"},
		"a delegated gateway is no Sidecar":                              {delegated, "", "kind: Mesh, proxyTypes: [Sidecar]", ""},
		"a builtin gateway is no Sidecar":                                {builtin, "", "kind: Mesh, proxyTypes: [Sidecar]", ""},
		"proxyTypes narrow a MeshSubset":                                 {delegated, "", "kind: MeshSubset, tags: {team: a}, proxyTypes: [Sidecar]", ""},
		"a MeshSubset selects the inbounds with its tags":                {sidecar, "", "kind: MeshSubset, tags: {version: v1}", "80"},
		"tags of two inbounds are not put together":                      {sidecar, "", "kind: MeshSubset, tags: {version: v1, team: a}", ""},
		"a MeshSubset without tags is the mesh":                          {sidecar, "", "kind: MeshSubset", "80 81"},
		"a MeshSubset selects a delegated gateway by its tags":           {delegated, "", "kind: MeshSubset, tags: {team: a}", "yes"},
		"a MeshSubset does not select a delegated gateway of other tags": {delegated, "", "kind: MeshSubset, tags: {team: b}", ""},
		"a listener has the tags of the proxy":                           {builtin, "", "kind: MeshSubset, tags: {team: a}", "80 443"},
		"a listener has the tags of the gateway":                         {builtin, "", "kind: MeshSubset, tags: {all: 'yes'}", "80 443"},
		"the gateway's tag takes the place of the proxy's":               {builtin, "", "kind: MeshSubset, tags: {host: none}", ""},
		"the listener's tag takes the place of the gateway's":            {builtin, "", "kind: MeshSubset, tags: {host: base}", "443"},
		"of two listeners on a port one is enough":                       {builtin, "", "kind: MeshSubset, tags: {host: b}", "80"},
		"a MeshService is the tag, not the resource":                     {sidecar, "", "kind: MeshService, name: web", "80"},
		"the namespace of a MeshService does not count":                  {sidecar, "", "kind: MeshService, name: web, namespace: elsewhere", "80"},
		"a MeshServiceSubset asks for the service and the tags":          {sidecar, "", "kind: MeshServiceSubset, name: web, tags: {version: v1}", "80"},
		"a tag of a MeshServiceSubset takes the place of its name":       {sidecar, "", "kind: MeshServiceSubset, name: web, tags: {kuma.io/service: web-admin}", "81"},
		"a MeshGateway goes by its display name":                         {builtin, "", "kind: MeshGateway, name: gw", "80 443"},
		"a MeshGateway does not go by its storage name":                  {builtin, "", "kind: MeshGateway, name: gw-1", ""},
		"tags of a MeshGateway select listeners":                         {builtin, "", "kind: MeshGateway, name: gw, tags: {tls: 'yes'}", "443"},
		"a star is any value of a listener's tag":                        {builtin, "", "kind: MeshGateway, name: gw, tags: {tls: '*'}", "443"},
		"a delegated gateway serves no MeshGateway":                      {delegated + "\n---\n{type: MeshGateway, name: gw, selectors: [{match: {team: a}}], conf: {listeners: [{port: 80, protocol: HTTP}]}}", "", "kind: MeshGateway, name: gw", ""},
		"a Dataplane without a word selects all inbounds":                {sidecar, "", "kind: Dataplane", "80 81"},
		"a Dataplane selects no delegated gateway":                       {delegated, "", "kind: Dataplane", ""},
		"a Dataplane selects no proxy that serves a gateway":             {builtin, "", "kind: Dataplane", ""},
		"a Dataplane by name, of the policy's zone and namespace":        {sidecar, ofEast + inShop, "kind: Dataplane, name: web", "80 81"},
		"a Dataplane by name, with its namespace":                        {sidecar, ofEast, "kind: Dataplane, name: web, namespace: shop", "80 81"},
		"a Dataplane by name needs the namespace":                        {sidecar, ofEast, "kind: Dataplane, name: web", ""},
		"a policy of global selects no Dataplane of a zone by name":      {sidecar, "kuma.io/origin: global", "kind: Dataplane, name: web, namespace: shop", ""},
		"a policy of global selects one by labels":                       {sidecar, "kuma.io/origin: global", "kind: Dataplane, labels: {app: web}", "80 81"},
		"every label must be there":                                      {sidecar, "", "kind: Dataplane, labels: {app: web, tier: x}", ""},
		"a missing label is the empty one":                               {sidecar, "", "kind: Dataplane, labels: {tier: ''}", "80 81"},
		"a section is the name of an inbound":                            {sidecar, "", "kind: Dataplane, sectionName: http", "80"},
		"a section is no number":                                         {sidecar, "", "kind: Dataplane, sectionName: '80'", ""},
		"the zone gate: a policy of the same zone passes":                {sidecar, ofEast, "kind: Mesh", "80 81"},
		"the zone gate: a policy of another zone does not":               {sidecar, ofWest, "kind: Mesh", ""},
		"the zone gate: a producer's policy passes":                      {sidecar, ofWest + producer, "kind: Mesh", "80 81"},
		"the zone gate: a policy without a zone passes":                  {sidecar, "kuma.io/origin: zone", "kind: Mesh", "80 81"},
		"the zone gate: a policy that global sent passes":                {sidecar, "kuma.io/origin: global, kuma.io/zone: west", "kind: Mesh", "80 81"},
		"the zone gate: a proxy without an origin is reached from all":   {loose, ofWest, "kind: Mesh", "80"},
		"the zone gate: the labels of the gateway count for its proxy":   {strings.Replace(builtin, "kuma.io/origin: zone, kuma.io/zone: east}, tags", "kuma.io/origin: global}, tags", 1), ofWest, "kind: Mesh", "80 443"},
		"the namespace gate: a consumer's policy in its namespace":       {sidecar, ofEast + inShop + consumer, "kind: Mesh", "80 81"},
		"the namespace gate: a consumer's policy of another one":         {sidecar, ofEast + ", k8s.kuma.io/namespace: pay" + consumer, "kind: Mesh", ""},
		"the namespace gate: a workload owner's of another one":          {sidecar, ofEast + ", k8s.kuma.io/namespace: pay" + workloader, "kind: Mesh", ""},
		"the namespace gate: a consumer's without one reaches nothing":   {loose, "kuma.io/origin: zone" + consumer, "kind: Mesh", ""},
		"the namespace gate: a producer's of another one passes":         {sidecar, ofEast + ", k8s.kuma.io/namespace: pay" + producer, "kind: Mesh", "80 81"},
		"the namespace gate: a system policy of another one passes":      {sidecar, ofEast + ", k8s.kuma.io/namespace: pay", "kind: Mesh", "80 81"},
		"the namespace gate: an unknown role passes":                     {sidecar, ofEast + ", k8s.kuma.io/namespace: pay, kuma.io/policy-role: odd", "kind: Mesh", "80 81"},
		"the namespace gate asks the proxy, not the gateway":             {builtin, ofEast + ", k8s.kuma.io/namespace: infra" + consumer, "kind: Mesh", "80 443"},
		"a MeshHTTPRoute selects what the route selects":                 {sidecar + "\n---\n{type: MeshHTTPRoute, name: r, spec: {targetRef: {kind: MeshSubset, tags: {team: a}}, to: []}}", "", "kind: MeshHTTPRoute, name: r", "81"},
		"a MeshHTTPRoute goes by display name, in any zone":              {sidecar + "\n---\n{type: MeshHTTPRoute, name: r-1, labels: {kuma.io/display-name: r, kuma.io/zone: west}, spec: {to: []}}", "", "kind: MeshHTTPRoute, name: r", "80 81"},
		"a shadow MeshHTTPRoute is found":                                {sidecar + "\n---\n{type: MeshHTTPRoute, name: r, labels: {kuma.io/effect: shadow}, spec: {to: []}}", "", "kind: MeshHTTPRoute, name: r", "80 81"},
		"the gates of the route count":                                   {sidecar + "\n---\n{type: MeshHTTPRoute, name: r, labels: {" + ofWest + "}, spec: {to: []}}", "", "kind: MeshHTTPRoute, name: r", ""},
		"the gates of a policy for a route count":                        {sidecar + "\n---\n{type: MeshHTTPRoute, name: r, spec: {to: []}}", ofWest, "kind: MeshHTTPRoute, name: r", ""},
		"a policy for a route that is not there selects nothing":         {sidecar, "", "kind: MeshHTTPRoute, name: r", ""},
		"a shadow policy is not in force":                                {sidecar, "kuma.io/effect: shadow", "kind: Mesh", ""},
		"another effect than shadow does not count":                      {sidecar, "kuma.io/effect: Shadow", "kind: Mesh", "80 81"},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			top := ""
			if c.targetRef != "" {
				top = "targetRef: {" + c.targetRef + "}, "
			}
			s := read(t, "{type: Mesh, name: default}\n---\n"+c.proxy+"\n---\n{type: MeshTimeout, name: p, labels: {"+c.labels+"}, spec: {"+top+"to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}}")
			got := []string{}
			for _, p := range policy.Policies(s.input(s.proxies[0]), policy.Filter{Kind: "MeshTimeout"}) {
				for _, in := range p.Inbounds {
					got = append(got, fmt.Sprint(in.Port))
				}
				if len(p.Inbounds) == 0 {
					got = append(got, "yes")
				}
			}
			assert.Equal(t, c.want, strings.Join(got, " "))

			matches := policy.Matches(s.policies["MeshTimeout"][0], s.proxies[0], policy.Surroundings{Gateways: s.gateways, Routes: s.policies["MeshHTTPRoute"]})
			if s.policies["MeshTimeout"][0].Shadow() {
				require.True(t, matches, "a trial is listed with the proxies that it would configure")
			} else if s.gateways == nil {
				require.Equal(t, c.want != "", matches)
			}
		})
	}
}
