package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
)

// TestEffective writes, for each proxy of each case, one line per field in force: the value, who gave it, and who lost
// by which comparator. It also checks that the fields add up to what Rules says.
func TestEffective(t *testing.T) {
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
			var got strings.Builder
			for _, px := range s.proxies {
				fmt.Fprintf(&got, "%s\n", px.Name)
				tos, froms := policy.Effective(s.input(px), policy.Filter{})
				for _, to := range tos {
					writeApplied(t, &got, to.KRI, to.Rules)
				}
				for _, from := range froms {
					writeApplied(t, &got, fmt.Sprintf("inbound %d", from.Port), from.Rules)
				}
				if proxy := policy.EffectiveProxy(s.input(px), policy.Filter{}); len(proxy) > 0 {
					writeApplied(t, &got, "proxy", proxy)
				}
				agree(t, policy.Rules(s.input(px)), tos, froms)
			}
			golden := filepath.Join(filepath.Dir(in), "effective.txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func writeApplied(t *testing.T, w *strings.Builder, place string, applied []policy.Applied) {
	fmt.Fprintf(w, "  %s\n", place)
	origin := func(o policy.Origin) string {
		return fmt.Sprintf("%s of %q %s[%d] (%s)", o.Name, o.Zone+"/"+o.Namespace, o.List, o.Item, o.Role)
	}
	for _, a := range applied {
		for _, f := range a.Fields {
			where := string(a.Via)
			if a.Matchers != nil {
				where = clients(a.Matchers)
			}
			value, err := json.Marshal(f.Value)
			require.NoError(t, err)
			fmt.Fprintf(w, "    %s %s %s = %s by %s\n", a.Type, where, f.Path, value, origin(f.Origin))
			for _, l := range f.Losers {
				value, err := json.Marshal(l.Value)
				require.NoError(t, err)
				fmt.Fprintf(w, "      over %s by %s: %s\n", value, origin(l.Origin), l.By)
			}
		}
	}
}

// agree checks that both renderings say the same, save for MeshHTTPRoutes, whose rules have an order that fields cannot
// show.
func agree(t *testing.T, rules policy.Answer, tos []policy.EffectiveTo, froms []policy.EffectiveFrom) {
	rebuilt := func(fields []policy.Field) string {
		conf := map[string]any{}
		for _, f := range fields {
			at, path := conf, strings.Split(f.Path, ".")
			for _, name := range path[:len(path)-1] {
				inner, ok := at[name].(map[string]any)
				if !ok {
					inner = map[string]any{}
					at[name] = inner
				}
				at = inner
			}
			if f.Value != nil {
				at[path[len(path)-1]] = f.Value
			}
		}
		b, err := json.Marshal(conf)
		require.NoError(t, err)
		return string(b)
	}
	place := func(kind, kri, section string) string { return kind + " " + kri + " " + section }
	found := map[string]string{}
	for _, to := range tos {
		for _, a := range to.Rules {
			found[place(a.Type, to.Kind+" "+to.Name+" "+to.Namespace+" "+to.Zone, to.Section)] = rebuilt(a.Fields)
		}
	}
	for _, from := range froms {
		for _, a := range from.Rules {
			found[place(a.Type, fmt.Sprint(from.Port), clients(a.Matchers))] = rebuilt(a.Fields)
		}
	}
	check := func(at string, conf any) {
		want, err := json.Marshal(conf)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), found[at], "%s", at)
	}
	for _, r := range rules.Rules {
		if r.Type == "MeshHTTPRoute" {
			continue
		}
		for _, to := range r.ToResourceRules {
			m := to.ResourceMeta
			name, labels := m.Name, m.Labels
			if display := labels["kuma.io/display-name"]; display != "" {
				name = display
			}
			check(place(r.Type, m.Type+" "+name+" "+labels["k8s.kuma.io/namespace"]+" "+labels["kuma.io/zone"], to.ResourceSectionName), to.Conf[0])
		}
		for _, in := range r.InboundRules {
			check(place(r.Type, fmt.Sprint(in.Inbound.Port), "[]"), in.Rules[0].Conf[0])
		}
		if r.Type == "MeshTrafficPermission" {
			for _, from := range r.FromRules {
				for _, rule := range from.Rules {
					check(place(r.Type, fmt.Sprint(from.Inbound.Port), clients(rule.Matchers)), rule.Conf)
				}
			}
		}
	}
}

func TestEffectiveFilter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/rules/producer-and-consumer-in-two-zones/in.yaml")
	require.NoError(t, err)
	s := read(t, string(text))
	in := s.input(s.proxies[0])
	destinations := func(f policy.Filter) []string {
		tos, froms := policy.Effective(in, f)
		assert.Equal(t, f.To == "", len(froms) > 0, "%v", f)
		kris := []string{}
		for _, to := range tos {
			kris = append(kris, to.KRI)
		}
		return kris
	}
	const (
		mesh = "kri_m____default_"
		east = "kri_msvc_default_east_shop_cart_"
		west = "kri_msvc_default_west_shop_cart_"
	)
	assert.Equal(t, []string{mesh, east, west}, destinations(policy.Filter{}))
	assert.Equal(t, []string{east, west}, destinations(policy.Filter{To: "cart"}))
	assert.Equal(t, []string{east, west}, destinations(policy.Filter{To: "cart.shop"}))
	assert.Equal(t, []string{west}, destinations(policy.Filter{To: "cart-hashed"}))
	assert.Equal(t, []string{west}, destinations(policy.Filter{To: west}))
	assert.Equal(t, []string{}, destinations(policy.Filter{To: "nope"}))

	tos, froms := policy.Effective(in, policy.Filter{Kind: "MeshTrafficPermission"})
	assert.Len(t, tos, 3, "destinations are listed whether something applies or not")
	assert.Len(t, froms, 1)
	for _, to := range tos {
		assert.Empty(t, to.Rules)
	}
}
