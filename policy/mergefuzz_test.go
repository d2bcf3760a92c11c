package policy

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzMerge merges any three JSON documents. What it asserts holds of RFC 7396, as far as no member is an append list, a
// null, or of another shape than before; where it does not hold of the RFC, it need not here.
func FuzzMerge(f *testing.F) {
	for _, seed := range [][3]string{
		{`{"a":1,"b":{"c":[1,2],"d":null}}`, `{"a":null,"b":{"c":[]}}`, `{"b":7}`},
		{`{"http":{"requestTimeout":"1s"},"idleTimeout":"2s"}`, `{"http":{"requestTimeout":null}}`, `{"http":{}}`},
		{`{"appendMatch":[1]}`, `{"appendMatch":[2,1]}`, `{"appendMatch":[]}`},
		{`[]`, `{}`, `null`},
		{`{"conf":1,"sub":{"array":[1,2,3],"other":50}}`, `{"sub":{"array":[],"other":null,"extra":2}}`, `{"":{"":{}}}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var confs [3]any
		for i, text := range []string{a, b, c} {
			if decode([]byte(text), &confs[i]) != nil {
				return
			}
		}
		before := toJSON(t, confs)
		merged := merge(confEntries(confs[:]...))
		if _, ok := merged.(map[string]any); ok {
			trace(confEntries(confs[:]...), compareOutbound) // does not panic
		}
		assert.Equal(t, before, toJSON(t, confs), "arguments are not modified")
		assert.Equal(t, merged, merge(confEntries(confs[:]...)), "equal input, equal output")

		if plain(confs[0]) {
			assert.Equal(t, mergePatch(nil, confs[0]), merge(confEntries(confs[0], confs[0])), "idempotent")
		}
		if plain(confs[0]) && plain(confs[1]) && plain(confs[2]) && alike(confs[0], confs[1]) && alike(confs[1], confs[2]) && alike(confs[0], confs[2]) {
			left := mergePatch(mergePatch(confs[0], confs[1]), confs[2])
			right := mergePatch(confs[0], mergePatch(confs[1], confs[2]))
			assert.True(t, reflect.DeepEqual(left, right), "associative: %v, %v", left, right)
		}
	})
}

// plain says whether a document has objects alone as parents, no null, and no list that is added to.
func plain(v any) bool {
	members, ok := v.(map[string]any)
	if !ok {
		return v != nil
	}
	for name, m := range members {
		if appends(name) || !plain(m) {
			return false
		}
	}
	return true
}

// alike says whether what two documents both have is an object in both or in neither.
func alike(a, b any) bool {
	x, isObject := a.(map[string]any)
	y, areBoth := b.(map[string]any)
	if !isObject || !areBoth {
		return isObject == areBoth
	}
	for name, m := range x {
		if other, ok := y[name]; ok && !alike(m, other) {
			return false
		}
	}
	return true
}
