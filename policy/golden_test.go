package policy_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

var update = flag.Bool("update", false, "rewrite golden files")

// store is what the documents of a test come to.
type store struct {
	meshes       map[string]*policy.Mesh
	proxies      []*policy.Proxy
	policies     map[string][]*policy.Policy
	gateways     []*policy.Gateway
	destinations *policy.Destinations
}

// read reads documents as they would be stored. Policies are taken in the order of the text.
func read(t testing.TB, text string) store {
	t.Helper()
	docs, err := policy.Schemas().Read("test", []byte(text), resource.ReadOptions{AsStored: true})
	require.NoError(t, err)
	s := store{meshes: map[string]*policy.Mesh{}, policies: map[string][]*policy.Policy{}, destinations: policy.NewDestinations()}
	for _, d := range docs {
		switch r := d.Resource; r.Kind {
		case "Mesh":
			m, err := policy.ParseMesh(r)
			require.NoError(t, err)
			s.meshes[r.Name] = m
		case "Dataplane":
			px, err := policy.ParseProxy(r)
			require.NoError(t, err)
			s.proxies = append(s.proxies, px)
		case "MeshGateway":
			g, err := policy.ParseGateway(r)
			require.NoError(t, err)
			s.gateways = append(s.gateways, g)
		case "MeshService", "MeshExternalService", "MeshMultiZoneService":
			d, err := policy.ParseDestination(r)
			require.NoError(t, err)
			s.destinations.Put(d)
		default:
			p, err := policy.Parse(r)
			require.NoError(t, err)
			s.policies[r.Kind] = append(s.policies[r.Kind], p)
		}
	}
	for _, ps := range s.policies {
		slices.SortFunc(ps, func(a, b *policy.Policy) int { return strings.Compare(a.Name, b.Name) })
	}
	return s
}

func (s store) input(px *policy.Proxy) policy.Input {
	return policy.Input{Mesh: s.meshes[px.Mesh], Proxy: px, Policies: s.policies, Gateways: s.gateways, Destinations: s.destinations}
}

// TestRules reads the documents of each case and writes, for each of its proxies, one line per rule: what it is for,
// the conf, and the policies it comes from, weakest first.
func TestRules(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/rules/*/in.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, in := range cases {
		t.Run(filepath.Base(filepath.Dir(in)), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(in)
			require.NoError(t, err)
			s := read(t, string(text))
			require.NotEmpty(t, s.proxies)
			var got strings.Builder
			for _, px := range s.proxies {
				fmt.Fprintf(&got, "%s\n", px.Name)
				answer := policy.Rules(s.input(px))
				for _, r := range answer.Rules {
					writeRules(t, &got, r)
				}
				for _, m := range answer.HTTPMatches {
					b, err := json.Marshal(m.Match)
					require.NoError(t, err)
					fmt.Fprintf(&got, "  %s matches %s\n", m.Hash, b)
				}
			}
			golden := filepath.Join(filepath.Dir(in), "want.txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func writeRules(t *testing.T, w *strings.Builder, r policy.TypeRules) {
	line := func(what string, conf any, origins ...string) {
		b, err := json.Marshal(conf)
		require.NoError(t, err)
		fmt.Fprintf(w, "  %s %s: %s <- %s\n", r.Type, what, b, strings.Join(origins, " < "))
	}
	for _, from := range r.FromRules {
		for _, rule := range from.Rules {
			line(fmt.Sprintf("from %s on %d", clients(rule.Matchers), from.Inbound.Port), rule.Conf, names(rule.Origin)...)
		}
	}
	for _, in := range r.InboundRules {
		for _, rule := range in.Rules {
			require.Len(t, rule.Conf, 1)
			line(fmt.Sprintf("inbound %d", in.Inbound.Port), rule.Conf[0], items(rule.Origin)...)
		}
	}
	for _, rule := range r.ToRules {
		line("to "+clients(rule.Matchers), rule.Conf, names(rule.Origin)...)
	}
	for _, rule := range r.ToResourceRules {
		what := "to " + rule.ResourceMeta.Type + " " + rule.ResourceMeta.Name
		if rule.ResourceSectionName != "" {
			what += " section " + rule.ResourceSectionName
		}
		for _, conf := range rule.Conf {
			line(what, conf, items(rule.Origin)...)
		}
	}
	if r.ProxyRule != nil {
		line("proxy", r.ProxyRule.Conf, names(r.ProxyRule.Origin)...)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "  %s warning: %s\n", r.Type, warning)
	}
}

func clients(matchers []policy.Matcher) string {
	var all []string
	for _, m := range matchers {
		not := ""
		if m.Not {
			not = "!"
		}
		all = append(all, fmt.Sprintf("%s%s=%s", not, m.Key, m.Value))
	}
	return "[" + strings.Join(all, " ") + "]"
}

func names(origin []policy.Meta) []string {
	var all []string
	for _, m := range origin {
		all = append(all, m.Name)
	}
	return all
}

func items(origin []policy.RuleOrigin) []string {
	var all []string
	for _, o := range origin {
		all = append(all, fmt.Sprintf("%s#%d", o.ResourceMeta.Name, o.RuleIndex))
	}
	return all
}
