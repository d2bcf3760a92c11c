package resource_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

func TestATextOfAFieldIsReadLikeADocument(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"":                   nil,
		"# nothing":          nil,
		"a: 1\nb: [x, true]": map[string]any{"a": int64(1), "b": []any{"x", true}},
		`{"a": 1.5}`:         map[string]any{"a": 1.5},
		"a: 1\na: 2":         map[string]any{"a": int64(2)},
		"x: &x [1]\ny: *x":   map[string]any{"x": []any{int64(1)}, "y": []any{int64(1)}},
		"plain":              "plain",
		"a: null":            map[string]any{"a": nil},
	} {
		got, err := resource.ParseText(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"a: 1\nb: [":                       "line ",
		"a: 1\n---\nb: 2":                  "second document",
		`{"a": 1} {"b": 2}`:                "want one value",
		"a: \x00":                          "NUL",
		strings.Repeat("[", 100):           "line 1",
		"a: " + strings.Repeat("x", 2<<20): "larger than",
	} {
		_, err := resource.ParseText(text)
		require.ErrorContains(t, err, want)
	}
}
