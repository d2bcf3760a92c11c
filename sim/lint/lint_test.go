package lint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim/lint"
)

// Documents of the tests below, in one line each.

func dataplane(namespace, name string) string {
	return fmt.Sprintf("{type: Dataplane, name: %s, labels: {k8s.kuma.io/namespace: %s}, networking: {address: 192.0.2.1, inbound: [{port: 80, tags: {kuma.io/service: %[1]s, app: %[1]s}}]}}\n---\n", name, namespace)
}

func service(namespace, name string) string {
	return fmt.Sprintf("{type: MeshService, name: %s, labels: {k8s.kuma.io/namespace: %s}, spec: {selector: {dataplaneTags: {app: %[1]s}}, ports: [{port: 80, targetPort: 80, appProtocol: http}]}}\n---\n", name, namespace)
}

// timeout is a MeshTimeout of a namespace ("": none) with this spec.
func timeout(namespace, name, spec string) string {
	labels := ""
	if namespace != "" {
		labels = fmt.Sprintf("labels: {k8s.kuma.io/namespace: %s}, ", namespace)
	}
	return fmt.Sprintf("{type: MeshTimeout, name: %s, %sspec: {%s}}\n---\n", name, labels, spec)
}

// to is a spec with one item.
func to(ref, value string) string {
	return fmt.Sprintf("to: [{targetRef: {%s}, default: {idleTimeout: %s}}]", ref, value)
}

const (
	mesh       = "kind: Mesh"
	byName     = "kind: MeshService, name: cart"
	byLabel    = "kind: MeshService, labels: {kuma.io/display-name: cart}"
	shopLabels = "targetRef: {kind: Dataplane, labels: {k8s.kuma.io/namespace: shop}}, "
	webOnly    = "targetRef: {kind: Dataplane, labels: {app: web}}, "
	withMTLS   = "{type: Mesh, name: default, mtls: {enabledBackend: ca, backends: [{name: ca, type: builtin}]}}\n---\n"
	permitAll  = "{type: MeshTrafficPermission, name: all, spec: {targetRef: {kind: Mesh}, from: [{targetRef: {kind: Mesh}, default: {action: Allow}}]}}\n---\n"
)

var shop = dataplane("shop", "web") + dataplane("shop", "cart") + service("shop", "cart")

// TestFindings has, for each finding, what is one and what is nearly one. The pages in docs/lint have one more each.
func TestFindings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		global, east, west string
		want               []lint.Code
	}{
		"documents that are sound": {east: shop + timeout("shop", "t", to(byName, "1m"))},

		"a kind of the zones on global":        {global: service("shop", "cart"), want: []lint.Code{lint.WrongPlane}},
		"a kind of global in a zone":           {east: withMTLS, want: []lint.Code{lint.WrongPlane}},
		"a label that names another zone":      {east: strings.Replace(timeout("", "t", to(mesh, "1m")), "spec:", "labels: {kuma.io/zone: west}, spec:", 1), want: []lint.Code{lint.WrongPlane}},
		"a label that names its zone":          {east: strings.Replace(timeout("", "t", to(mesh, "1m")), "spec:", "labels: {kuma.io/zone: east, kuma.io/origin: zone}, spec:", 1)},
		"one name in two zones":                {east: timeout("a", "t", to(mesh, "1m")), west: timeout("a", "t", to(mesh, "1m"))},
		"one name in two namespaces":           {east: timeout("a", "t", to(mesh, "1m")) + timeout("b", "t", to(mesh, "1m"))},
		"one name of two kinds":                {east: service("shop", "t") + timeout("shop", "t", to(mesh, "1m"))},
		"one name twice":                       {east: timeout("a", "t", to(mesh, "1m")) + timeout("a", "t", to(mesh, "1m")), want: []lint.Code{lint.Duplicate}},
		"a mesh that is kept elsewhere":        {east: strings.Replace(timeout("", "t", to(mesh, "1m")), "spec:", "mesh: other, spec:", 1)},
		"a mesh that is not beside the others": {global: withMTLS + permitAll, east: strings.Replace(timeout("", "t", to(mesh, "1m")), "spec:", "mesh: other, spec:", 1), want: []lint.Code{lint.NoMesh}},

		"a service that is not there":                 {east: shop + timeout("shop", "t", to("kind: MeshService, name: crat", "1m")), want: []lint.Code{lint.Unresolved}},
		"a service of another zone by name":           {east: shop, west: service("shop", "other") + timeout("shop", "t", to(byName, "1m")), want: []lint.Code{lint.Unresolved}},
		"a service of another zone by labels":         {east: shop, west: dataplane("front", "a") + timeout("front", "t", to(byLabel, "1m"))},
		"a service where there are none":              {east: dataplane("shop", "web") + timeout("shop", "t", to(byName, "1m"))},
		"a port that is not there":                    {east: shop + timeout("shop", "t", to(byName+", sectionName: grpc", "1m")), want: []lint.Code{lint.Unresolved}},
		"a port that is there":                        {east: shop + timeout("shop", "t", to(byName+`, sectionName: "80"`, "1m"))},
		"a service that one zone of two has":          {global: timeout("", "t", to(byLabel, "1m")), east: shop, west: service("front", "other")},
		"labels that no service has":                  {global: timeout("", "t", to("kind: MeshService, labels: {kuma.io/display-name: crat}", "1m")), east: shop, want: []lint.Code{lint.Unresolved}},
		"a service by name on global":                 {global: timeout("", "t", to(byName, "1m")), want: []lint.Code{lint.GlobalByName}},
		"a service by name in a zone":                 {east: timeout("", "t", to(byName, "1m"))},
		"a targetRef that selects nobody":             {east: shop + timeout("shop", "t", "targetRef: {kind: Dataplane, labels: {a: b}}, "+to(mesh, "1m")), want: []lint.Code{lint.SelectsNoProxy}},
		"a targetRef where there are no proxies":      {east: service("shop", "cart") + timeout("shop", "t", "targetRef: {kind: Dataplane, labels: {a: b}}, "+to(mesh, "1m"))},
		"a global targetRef that selects in one zone": {global: timeout("", "t", shopLabels+to(mesh, "1m")), east: shop, west: dataplane("front", "a")},
		"a route that is not there":                   {east: shop + timeout("", "t", "targetRef: {kind: MeshHTTPRoute, name: nope}, to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 1s}}}]"), want: []lint.Code{lint.SelectsNoProxy}},
		"a service without proxies":                   {east: dataplane("shop", "web") + service("shop", "cart"), want: []lint.Code{lint.IdleService}},
		"a service in a namespace that is not shown":  {east: dataplane("front", "web") + service("shop", "cart")},

		"a default beside a producer":                       {east: shop + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "2m")), want: []lint.Code{lint.RoleTrap}},
		"a default beside a producer, of the same value":    {east: shop + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "1m"))},
		"a default of another field":                        {east: shop + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", strings.Replace(to(mesh, "2m"), "idleTimeout", "connectionTimeout", 1))},
		"a default beside a producer, without proxies":      {east: service("shop", "cart") + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "2m")), want: []lint.Code{lint.RoleTrap}},
		"a default beside a producer, policies alone":       {east: timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "2m")), want: []lint.Code{lint.RoleTrap}},
		"a default beside a producer of a port, alone":      {east: timeout("shop", "p", to(byName+", sectionName: grpc", "1m")) + timeout("shop", "c", to(mesh, "2m")), want: []lint.Code{lint.RoleTrap}},
		"a default and a producer for the same proxies":     {east: timeout("shop", "p", webOnly+to(byName, "1m")) + timeout("shop", "c", webOnly+to(mesh, "2m")), want: []lint.Code{lint.RoleTrap}},
		"a default for some proxies, alone":                 {east: timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", webOnly+to(mesh, "2m"))},
		"a default and a producer for others":               {east: timeout("shop", "p", webOnly+to(byName, "1m")) + timeout("shop", "c", strings.Replace(webOnly, "app: web", "app: api", 1)+to(mesh, "2m"))},
		"a default for gateways, alone":                     {east: timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", "targetRef: {kind: Mesh, proxyTypes: [Gateway]}, "+to(mesh, "2m"))},
		"a default of the same value, alone":                {east: timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "1m"))},
		"a default of another namespace, alone":             {east: timeout("shop", "p", to(byName, "1m")) + timeout("front", "c", to(mesh, "2m"))},
		"a default of another zone, alone":                  {east: timeout("shop", "p", to(byName, "1m")), west: timeout("shop", "c", to(mesh, "2m"))},
		"a default of another field, alone":                 {east: timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", strings.Replace(to(mesh, "2m"), "idleTimeout", "connectionTimeout", 1))},
		"a trial of a default, alone":                       {east: timeout("shop", "p", to(byName, "1m")) + strings.Replace(timeout("shop", "c", to(mesh, "2m")), "labels: {", "labels: {kuma.io/effect: shadow, ", 1)},
		"a default where the proxies that are there differ": {east: shop + timeout("shop", "p", webOnly+to(byName, "1m")) + timeout("shop", "c", "targetRef: {kind: Dataplane, labels: {app: cart}}, "+to(mesh, "2m")), want: []lint.Code{lint.SelectsNoProxy}},
		"a default of another namespace":                    {east: shop + dataplane("front", "a") + timeout("shop", "p", to(byName, "1m")) + timeout("front", "c", to(mesh, "2m"))},
		"a default for all namespaces":                      {east: shop + timeout("shop", "p", to(byName, "1m")) + timeout("", "c", to(mesh, "2m"))},
		"a consumer that means the service":                 {east: shop + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(byLabel, "2m"))},
		"a default of the same name in another zone":        {east: shop + timeout("shop", "p", to(byName, "1m")), west: dataplane("shop", "a") + timeout("shop", "c", to(mesh, "2m"))},
		"an item that a later one masks":                    {east: shop + timeout("shop", "t", "rules: [{default: {idleTimeout: 1m}}, {default: {idleTimeout: 2m}}]"), want: []lint.Code{lint.NeverWins}},
		"an item of which a later one masks a part":         {east: shop + timeout("shop", "t", "rules: [{default: {idleTimeout: 1m, connectionTimeout: 1s}}, {default: {idleTimeout: 2m}}]"), want: []lint.Code{lint.NeverWins}},
		"items for different fields":                        {east: shop + timeout("shop", "t", "rules: [{default: {connectionTimeout: 1s}}, {default: {idleTimeout: 2m}}]")},
		"a global default that a zone overrides":            {global: timeout("", "g", to(mesh, "1m")), east: shop + timeout("", "z", to(mesh, "2m"))},
		"a global rule that the only zone overrides":        {global: timeout("", "g", shopLabels+to(mesh, "1m")), east: shop + timeout("", "z", shopLabels+to(mesh, "2m")), want: []lint.Code{lint.NeverWins}},
		"a global rule that one zone of two overrides":      {global: timeout("", "g", shopLabels+to(mesh, "1m")), east: shop + timeout("", "z", shopLabels+to(mesh, "2m")), west: dataplane("shop", "a")},
		"two names":                                  {east: shop + timeout("", "a", to(mesh, "1m")) + timeout("", "b", to(mesh, "2m")), want: []lint.Code{lint.Spelling}},
		"two names of the same value":                {east: shop + timeout("", "a", to(mesh, "1m")) + timeout("", "b", to(mesh, "1m"))},
		"two names on different proxies":             {east: shop + dataplane("front", "a") + timeout("shop", "a", to(mesh, "1m")) + timeout("front", "b", to(mesh, "2m"))},
		"two names in different zones":               {east: shop + timeout("", "a", to(mesh, "1m")), west: dataplane("shop", "a") + timeout("", "b", to(mesh, "2m"))},
		"two producers of one name":                  {east: shop + dataplane("front", "a") + timeout("shop", "p", to(byName, "1m")), west: dataplane("shop", "cart") + service("shop", "cart") + timeout("shop", "p", to(byName, "2m"))},
		"consumers whose labels meet by name":        {east: shop + timeout("shop", "a", to(byLabel, "1m")) + timeout("shop", "b", to("kind: MeshService, labels: {k8s.kuma.io/namespace: shop}", "2m")), want: []lint.Code{lint.Spelling}},
		"a narrow global policy over a consumer":     {global: timeout("", "g", shopLabels+to(mesh, "1m")), east: shop + timeout("shop", "c", to(mesh, "2m")), want: []lint.Code{lint.Outranked}},
		"a narrow global policy over a global one":   {global: timeout("", "g", shopLabels+to(mesh, "1m")) + timeout("", "h", to(mesh, "2m")), east: shop},
		"a narrow consumer policy over a global one": {global: timeout("", "g", to(mesh, "1m")), east: shop + timeout("shop", "c", shopLabels+to(mesh, "2m"))},
		"a narrow global policy of the same value":   {global: timeout("", "g", shopLabels+to(mesh, "1m")), east: shop + timeout("shop", "c", to(mesh, "1m"))},
		"a shadow policy that would lose":            {east: shop + timeout("", "a", to(mesh, "1m")) + strings.Replace(timeout("shop", "b", to(mesh, "2m")), "labels: {", "labels: {kuma.io/effect: shadow, ", 1)},

		"a zonal policy for the service of a namespace":  {east: shop + timeout("", "t", to(byName+", namespace: shop", "1m")), west: dataplane("front", "a"), want: []lint.Code{lint.StaysHome}},
		"a zonal policy where no other zone has clients": {east: shop + timeout("", "t", to(byName+", namespace: shop", "1m")), west: service("front", "a")},
		"a zonal policy for all services":                {east: shop + timeout("", "t", to(mesh, "1m")), west: dataplane("front", "a")},
		"a consumer without proxies":                     {east: shop + timeout("ops", "t", to(byName+", namespace: shop", "1m")), want: []lint.Code{lint.StaysHome}},
		"a consumer with proxies":                        {east: shop + dataplane("ops", "a") + timeout("ops", "t", to(byName+", namespace: shop", "1m"))},

		"mTLS and no permission":                      {global: withMTLS, east: dataplane("shop", "web"), want: []lint.Code{lint.NoPermission}},
		"mTLS and a permission":                       {global: withMTLS + permitAll, east: dataplane("shop", "web")},
		"mTLS and a permission for another proxy":     {global: withMTLS + strings.Replace(permitAll, "{kind: Mesh}, from", "{kind: Dataplane, labels: {k8s.kuma.io/namespace: shop}}, from", 1), east: dataplane("shop", "web") + dataplane("front", "a"), want: []lint.Code{lint.NoPermission}},
		"mTLS and a permission of the other zone":     {global: withMTLS, east: dataplane("shop", "web") + permitAll, west: dataplane("shop", "web"), want: []lint.Code{lint.NoPermission}},
		"mTLS and no proxy":                           {global: withMTLS},
		"a backend that is not enabled":               {global: strings.Replace(withMTLS, "enabledBackend: ca, ", "", 1), east: dataplane("shop", "web")},
		"mTLS and a permission from before targetRef": {global: withMTLS + "{type: TrafficPermission, name: all, sources: [{match: {kuma.io/service: '*'}}], destinations: [{match: {kuma.io/service: '*'}}]}", east: dataplane("shop", "web"), want: []lint.Code{lint.DeprecatedKind}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, text := codes(lint.Run(planesOf(map[string]string{
				"global/a.yaml": c.global, "zones/east/a.yaml": c.east, "zones/west/a.yaml": c.west,
			}, lint.Options{})))
			assert.Equal(t, c.want, found, text)
		})
	}
}

// TestOnePlaneMissesNothingThatMayBeElsewhere is about documents without a federation around them.
func TestOnePlaneMissesNothingThatMayBeElsewhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, docs string
		want       []lint.Code
	}{
		"a stand-alone zone has meshes":   {"east", withMTLS + permitAll + shop, nil},
		"a service of another zone":       {"east", shop + timeout("shop", "t", to("kind: MeshService, labels: {kuma.io/zone: west, kuma.io/display-name: other}", "1m")), nil},
		"a service of this zone":          {"east", shop + timeout("shop", "t", to("kind: MeshService, labels: {kuma.io/zone: east, kuma.io/display-name: other}", "1m")), []lint.Code{lint.Unresolved}},
		"a service of any zone":           {"east", shop + timeout("shop", "t", to("kind: MeshService, labels: {kuma.io/display-name: other}", "1m")), nil},
		"proxies of a global":             {"", timeout("", "t", "targetRef: {kind: Dataplane, labels: {a: b}}, "+to(mesh, "1m")), nil},
		"a role trap needs no other zone": {"east", shop + timeout("shop", "p", to(byName, "1m")) + timeout("shop", "c", to(mesh, "2m")), []lint.Code{lint.RoleTrap}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, text := codes(lint.Run([]lint.Plane{{Zone: c.zone, Files: []lint.File{lint.Parse("a.yaml", []byte(c.docs), lint.Options{})}}}))
			assert.Equal(t, c.want, found, text)
		})
	}
}

func TestAFileOfSeveralFederationsIsSpokenOfOnce(t *testing.T) {
	t.Parallel()
	nobody := "spec: {targetRef: {kind: Dataplane, labels: {a: b}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1m}}]}\n"
	shared := "# meridian:ignore MZ0103 not every zone has one\ntype: MeshTimeout\nname: a\n" + nobody +
		"---\ntype: MeshTimeout\nname: b\n" + nobody + "---\n# meridian:ignore MZ0301 idle\ntype: MeshTimeout\nname: c\n" + nobody
	empty := planesOf(map[string]string{"global/a.yaml": shared, "zones/east/none.yaml": ""}, lint.Options{})
	full := planesOf(map[string]string{"global/a.yaml": shared, "zones/east/b.yaml": shop}, lint.Options{})
	var got []string
	for _, f := range lint.Run(empty, full, full) {
		got = append(got, fmt.Sprintf("%s:%d", f.Code, f.Line))
	}
	assert.Equal(t, []string{"MZ0103:8", "MZ0011:10", "MZ0103:13"}, got)
}

const subsets = `type: MeshTimeout
name: a
spec:
  targetRef:
    kind: MeshSubset
    tags: {app: web}
  to:
  - targetRef: {kind: Mesh}
    default: {idleTimeout: 1m}
---
apiVersion: kuma.io/v1alpha1
kind: MeshTimeout
metadata: {name: b, labels: {kuma.io/mesh: default}}
spec:
  targetRef: {kind: MeshSubset, tags: {app: web}}
  from:
    - targetRef: {kind: Mesh}
      default: {idleTimeout: 1m}
`

func TestAFindingHasItsPlace(t *testing.T) {
	t.Parallel()
	found := lint.Run([]lint.Plane{{Files: []lint.File{lint.Parse("a.yaml", []byte(subsets), lint.Options{})}}})
	require.Len(t, found, 3)
	assert.Equal(t, lint.Finding{
		Code: "MZ0402", Name: "deprecated-target-ref", Severity: lint.Warning, File: "a.yaml", Line: 4, Column: 3, Document: 1,
		Resource: "kri_mt_default___a_", Subject: "MeshTimeout default/a", Field: "spec.targetRef",
		Message: "kind MeshSubset is deprecated at the top of a policy: use Dataplane with labels",
		Mend:    "use its successor", Page: "docs/lint/MZ0402.md",
	}, found[0])
	assert.Equal(t, [3]int{15, 3, 2}, [3]int{found[1].Line, found[1].Column, found[1].Document})
	assert.Equal(t, lint.DeprecatedFrom, found[2].Code)
	assert.Equal(t, 16, found[2].Line)
}

func TestACommentSuppressesWhatItStandsAt(t *testing.T) {
	t.Parallel()
	const comment = "# meridian:ignore MZ0402 our zones are old\n"
	insert := func(line int, text string) string {
		lines := strings.SplitAfter(subsets, "\n")
		return strings.Join(lines[:line-1], "") + text + strings.Join(lines[line-1:], "")
	}
	for name, c := range map[string]struct {
		docs string
		want string
	}{
		"above the field":           {insert(4, "  "+comment), "MZ0402:16 MZ0403:17"},
		"above something within it": {insert(5, "    "+comment), "MZ0402:4 MZ0011:5 MZ0402:16 MZ0403:17"},
		"above what holds it":       {insert(3, comment), "MZ0402:16 MZ0403:17"},
		"above the document":        {insert(1, comment), "MZ0402:16 MZ0403:17"},
		"above the marker":          {insert(10, comment), "MZ0402:4 MZ0403:17"},
		"above the second document": {insert(11, "\n# more words\n"+comment), "MZ0402:4 MZ0403:19"},
		"at the end of the line":    {strings.Replace(subsets, "  targetRef:\n", "  targetRef: "+comment, 1), "MZ0402:15 MZ0403:16"},
		"above another field":       {insert(7, "  "+comment), "MZ0402:4 MZ0011:7 MZ0402:16 MZ0403:17"},
		"two codes":                 {insert(12, strings.Replace(comment, "MZ0402", "MZ0402,MZ0403", 1)), "MZ0402:4 MZ0011:12 MZ0402:16 MZ0403:17"},
		"two codes above the first": {insert(11, strings.Replace(comment, "MZ0402", "MZ0402,MZ0403", 1)), "MZ0402:4"},
		"no reason":                 {insert(4, "  # meridian:ignore MZ0402\n"), "MZ0010:4 MZ0402:5 MZ0402:16 MZ0403:17"},
		"no code":                   {insert(4, "  # meridian:ignore\n"), "MZ0010:4 MZ0402:5 MZ0402:16 MZ0403:17"},
		"an unknown code":           {insert(4, "  # meridian:ignore MZ9999 because\n"), "MZ0010:4 MZ0402:5 MZ0402:16 MZ0403:17"},
		"the last line":             {subsets + comment, "MZ0402:4 MZ0402:15 MZ0403:16 MZ0011:19"},
		"a text that is no comment": {strings.Replace(subsets, "app: web", "app: a-meridian:ignore-b", 1), "MZ0402:4 MZ0402:15 MZ0403:16"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range lint.Run([]lint.Plane{{Files: []lint.File{lint.Parse("a.yaml", []byte(c.docs), lint.Options{})}}}) {
				got = append(got, fmt.Sprintf("%s:%d", f.Code, f.Line))
			}
			assert.Equal(t, c.want, strings.Join(got, " "), c.docs)
		})
	}
}

// TestTheManifestsOfTheProjectAreClean is about false alarms: what the demo and the guide apply is sound.
func TestTheManifestsOfTheProjectAreClean(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	demo, err := filepath.Glob(root + "cmd/meridian/demo/*.yaml")
	require.NoError(t, err)
	for _, file := range demo {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		name := filepath.Base(file)
		switch {
		case name == "setup-global.yaml", name == "4-global-timeout.yaml":
			name = "global/" + name
		case name == "setup-west.yaml":
			name = "zones/west/" + name
		default:
			name = "zones/east/" + name
		}
		files[name] = string(data)
	}
	require.Len(t, files, 7)
	_, text := codes(lint.Run(planesOf(files, lint.Options{})))
	assert.Empty(t, text)
}
