package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/resource"
)

func fromJSON(t require.TestingT, text string) any {
	var v any
	require.NoError(t, decode([]byte(text), &v))
	return v
}

func toJSON(t require.TestingT, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// confEntries returns one `to` item of one policy each, p0 the weakest.
func confEntries(confs ...any) []Entry {
	entries := make([]Entry, len(confs))
	for i, conf := range confs {
		it := newItem(TargetRef{Kind: kindMesh}, conf)
		r := resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Name: fmt.Sprintf("p%d", i)}}
		p := &Policy{Resource: r, display: fmt.Sprintf("p%d", len(confs)-i), kri: r.Identity().KRI("")}
		entries[i] = Entry{Policy: p, Item: &it, list: "to"}
	}
	return entries
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		confs []string
		want  string
	}{
		"the documentation's example": {
			[]string{
				`{"conf":1,"sub":{"array":[1,2,3],"other":50,"other-array":[3,4,5]}}`,
				`{"sub":{"array":[],"other":null,"other-array":[5,6],"extra":2}}`,
			},
			`{"conf":1,"sub":{"array":[],"extra":2,"other-array":[5,6]}}`,
		},
		"appended lists, at any depth": {
			[]string{
				`{"appendMatch":["z"],"profiles":{"appendProfiles":["Basic"],"include":["x"]}}`,
				`{"appendMatch":["a"],"profiles":{"appendProfiles":["None"],"include":["y"]}}`,
			},
			`{"appendMatch":["z","a"],"profiles":{"appendProfiles":["Basic","None"],"include":["y"]}}`,
		},
		"objects with nothing in them": {
			[]string{`{"loadBalancer":{"type":"Random","random":{}}}`, `{"loadBalancer":{"type":"RoundRobin","roundRobin":{}}}`},
			`{"loadBalancer":{"random":{},"roundRobin":{},"type":"RoundRobin"}}`,
		},
		"a null empties an appended list":         {[]string{`{"appendMatch":["z"]}`, `{"appendMatch":null}`, `{"appendMatch":["a"]}`}, `{"appendMatch":["a"]}`},
		"an empty appended list stays":            {[]string{`{"appendMatch":[]}`}, `{"appendMatch":[]}`},
		"a null of the weakest removes nothing":   {[]string{`{"a":null,"b":{"c":null}}`}, `{"b":{}}`},
		"a value after a null":                    {[]string{`{"a":1}`, `{"a":null}`, `{"a":2}`}, `{"a":2}`},
		"a null takes away an object":             {[]string{`{"http":{"x":1,"y":2}}`, `{"http":null}`, `{"http":{"y":3}}`}, `{"http":{"y":3}}`},
		"an object in place of a scalar":          {[]string{`{"a":1}`, `{"a":{"b":2}}`}, `{"a":{"b":2}}`},
		"numbers keep their form":                 {[]string{`{"a":1.50,"b":"2.5","c":12345678901234567890}`}, `{"a":1.50,"b":"2.5","c":12345678901234567890}`},
		"a list is replaced whole, nulls and all": {[]string{`{"a":[1,2]}`, `{"a":[null,{"b":null}]}`}, `{"a":[null,{"b":null}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var confs []any
			for _, c := range c.confs {
				confs = append(confs, fromJSON(t, c))
			}
			assert.Equal(t, c.want, toJSON(t, merge(confEntries(confs...))))
			for i, conf := range confs {
				assert.Equal(t, fromJSON(t, c.confs[i]), conf, "an argument was modified")
			}
		})
	}
}

func TestTraceNamesWinnersAndLosers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		confs []string
		want  []string // path = value by item < losers, strongest first
	}{
		"each field has its own winner": {
			[]string{`{"a":1,"http":{"x":1}}`, `{"http":{"x":2,"y":2}}`, `{"a":3}`},
			[]string{"a = 3 by p2 < 1 by p0", "http.x = 2 by p1 < 1 by p0", "http.y = 2 by p1"},
		},
		"a removed field is listed with null": {
			[]string{`{"a":1,"b":1}`, `{"a":null}`},
			[]string{"a = null by p1 < 1 by p0", "b = 1 by p0"},
		},
		"a null that removes nothing is not": {
			[]string{`{"b":1}`, `{"a":null,"b":2}`},
			[]string{"b = 2 by p1 < 1 by p0"},
		},
		"a null removes an object field by field, and a later value beats it": {
			[]string{`{"http":{"x":1,"y":1}}`, `{"http":null}`, `{"http":{"x":3}}`},
			[]string{"http.x = 3 by p2 < null by p1 < 1 by p0", "http.y = null by p1 < 1 by p0"},
		},
		"an empty object is a value": {
			[]string{`{"a":{},"b":{"c":1}}`, `{"b":{"c":null}}`},
			[]string{"a = {} by p0", "b = {} by p1", "b.c = null by p1 < 1 by p0"},
		},
		"each element of an appended list has its origin": {
			[]string{`{"appendX":["a","b"]}`, `{"appendX":["c"]}`},
			[]string{"appendX[0] = \"a\" by p0", "appendX[1] = \"b\" by p0", "appendX[2] = \"c\" by p1"},
		},
		"a scalar over an object": {
			[]string{`{"a":{"b":1,"c":{"d":2}}}`, `{"a":5}`},
			[]string{"a = 5 by p1 < b: 1 by p0 < c.d: 2 by p0"},
		},
		"an object over a scalar": {
			[]string{`{"a":5}`, `{"a":{"b":1}}`},
			[]string{"a.b = 1 by p1 < 5 by p0"},
		},
		"names that are no words": {
			[]string{`{"labels":{"kuma.io/zone":"east"}}`},
			[]string{`labels["kuma.io/zone"] = "east" by p0`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var confs []any
			for _, c := range c.confs {
				confs = append(confs, fromJSON(t, c))
			}
			var got []string
			for _, f := range trace(confEntries(confs...), compareOutbound) {
				line := fmt.Sprintf("%s = %s by %s", f.Path, toJSON(t, f.Value), f.Origin.Name)
				for _, l := range f.Losers {
					line += " < "
					if l.Path != "" {
						line += l.Path + ": "
					}
					line += fmt.Sprintf("%s by %s", toJSON(t, l.Value), l.Origin.Name)
					assert.Equal(t, ByName, l.By)
				}
				got = append(got, line)
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// genConf draws objects of few member names, so that they meet. With appends some members are lists that grow.
func genConf(depth int, appending bool) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		conf := map[string]any{}
		for _, name := range []string{"a", "b", "c"} {
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				conf[name] = nil
			case 1:
				conf[name] = json.Number(strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "number")))
			case 2:
				conf[name] = []any{json.Number(strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "element")))}
			case 3, 4:
				if depth > 0 {
					conf[name] = genConf(depth-1, appending).Draw(t, "object")
				}
			}
		}
		if appending && rapid.Bool().Draw(t, "append") {
			n := rapid.IntRange(0, 2).Draw(t, "elements")
			list := make([]any, n)
			for i := range list {
				list[i] = json.Number(strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "element")))
			}
			conf["appendX"] = list
		}
		return conf
	})
}

func TestMergeAgreesWithRFC7396(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		confs := rapid.SliceOfN(genConf(2, false), 1, 4).Draw(t, "confs")
		want := []byte(`{}`)
		for _, c := range confs {
			var err error
			want, err = jsonpatch.MergePatch(want, []byte(toJSON(t, c)))
			require.NoError(t, err)
		}
		assert.JSONEq(t, string(want), toJSON(t, merge(confEntries(confs...))))
	})
}

func TestTraceReconstructsTheMergedConf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		entries := confEntries(rapid.SliceOfN(genConf(2, true), 1, 5).Draw(t, "confs")...)
		built := map[string]any{}
		for _, f := range trace(entries, compareOutbound) {
			if f.Value != nil {
				set(built, strings.Split(f.Path, "."), f.Value)
			}
			rank := func(o Origin) int {
				return slices.IndexFunc(entries, func(e Entry) bool { return e.Policy.Name == o.Name })
			}
			last := rank(f.Origin)
			for _, l := range f.Losers {
				assert.LessOrEqual(t, rank(l.Origin), last, "%s: losers are not strongest first", f.Path)
				last = rank(l.Origin)
			}
		}
		assert.JSONEq(t, toJSON(t, merge(entries)), toJSON(t, built))
	})
}

func set(in map[string]any, path []string, value any) {
	name, index, isElement := strings.Cut(path[0], "[")
	switch {
	case len(path) > 1:
		inner, _ := in[name].(map[string]any)
		if inner == nil {
			inner = map[string]any{}
			in[name] = inner
		}
		set(inner, path[1:], value)
	case isElement:
		list, _ := in[name].([]any)
		if index == fmt.Sprintf("%d]", len(list)) {
			in[name] = append(list, value)
		}
	default:
		in[name] = value
	}
}
