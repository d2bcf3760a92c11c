package resource

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// samePlain reads text both ways; ok says whether the fast way was open.
func samePlain(t testing.TB, text string) (ok bool) {
	t.Helper()
	c := chunk{line: 7, text: []byte(text)}
	l := ReadOptions{MaxDepth: 10, MaxItems: 100}.limits()
	fast, err := parsePlainYAML(c, l)
	if err != nil {
		return false
	}
	slow, err := parseYAML(c, l)
	require.NoError(t, err, "%s", text)
	require.Equal(t, slow, fast, "%s", text)
	return true
}

func TestPlainYAMLIsReadWithoutTheLibrary(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"type: MeshTimeout\nname: x\n",
		"# a\n\na: # b\n  # c\n  b: c # d\n\n# e\n",
		"a:\n- b\n- c: d\n  e: f\n-\n  g: h\n-\n- # i\n  - j\n  - 1\nk:\n",
		"  a:\n      b:\n       - c\n  d: e\n",
		"a: 1\nb: -1.5\nc: true\nd: ~\ne: null\nf: 0x1F\ng: 1e3\nh: 2026-01-02\ni: .5\nj: 20s\nk: 1h30m\nl: yes\nm: NULL\nn: tRUE\no: 007\np: 0b1s\n",
		"a: \"b # c: d\" # e\n'f g': 'h'\n\"i\": ''\nj: http://k:80/l?m=n#o\np: q\"r\n",
		"a: {b: c, \"d e\": 'f', g: [1, 2s, {h: i}], j: {}, k: []} # l\nm: [a/b, -1, ~]\n",
		"- a\n- {b: c}\n- [d]\n- - \n",
	} {
		require.Equal(t, !strings.Contains(text, "- - "), samePlain(t, text), "%s", text)
	}
}

func TestWhatIsNotPlainIsLeftToTheLibrary(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "\n# a\n", "a", "a: |\n  b\n", "a: >-\n  b\n", "a: &b c\nd: *b\n", "a: !!str 1\n", "a: b\n  c\n", "a: b: c\n", "a: \"b\n  c\"\n",
		"a: \"\\n\"\n", "a: 'b''c'\n", "a: é\n", "a:\tb\n", "a: b\r\n", "1: a\n", "true: a\n", "? a\n: b\n", "<<: {a: b}\n", "a: {b: c,\n d: e}\n",
		"a: {b}\n", "a: [b: c]\n", "a: [b,]\n", "a: {b: }\n", "a: [b #c]\n", "- a\nb: c\n", "a: b\n- c\n", "a:\n  b: c\n d: e\n", "a: @b\n", "a: b:\n",
		"a: \"b\"c\n", "a: \"b\"#c\n", "a: [b]c\n", "{a: b}\n", "a: - b\n", "- - b\n", "%YAML 1.2\n", "a: ,b\n", "a: [?]\n",
	} {
		_, err := parsePlainYAML(chunk{line: 1, text: []byte(text)}, ReadOptions{}.limits())
		require.ErrorIs(t, err, errNotPlain, "%q", text)
	}
}

// TestPlainYAMLIsReadAsTheLibraryReadsIt puts random pieces together.
func TestPlainYAMLIsReadAsTheLibraryReadsIt(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"\n", "\n", "\n", "\n", "\n  ", "\n  ", "\n    ", "\n ", "- ", "- ", "-", "a: ", "b: ", "c:", "d", "e f", "1", "-1", "1.5", "20s", "true", "~", "null", "\"", "'",
		"\"g\"", "'h'", "'': ", "\"i j\": ", "{", "}", "[", "]", ", ", ",", ": ", ":", " ", "  ", " #k", "#", "l/m.n", "0x1", "?", "!", "&a ", "*a", "|", ">", "---", "...", "%",
		"{a: b}", "[a, b]", "{a: [1, {b: c}]}", "Yes", "NaN", ".inf", "<<: ", "=", "+1", "(", "1: ", "2026-01-02", "\\", "@", "`", "_x", "-x", "x-", "x#", "x:y",
	}
	r := rand.New(rand.NewPCG(1, 2))
	plain := 0
	for range 100_000 {
		var text strings.Builder
		for range 1 + r.IntN(14) {
			text.WriteString(pieces[r.IntN(len(pieces))])
		}
		if samePlain(t, text.String()) {
			plain++
		}
	}
	require.Greater(t, plain, 2_000, "the pieces make no plain documents")
}

// FuzzPlainYAML checks on any input that the fast way reads as the library does.
func FuzzPlainYAML(f *testing.F) {
	f.Add("apiVersion: kuma.io/v1alpha1\nkind: MeshTimeout # a\nspec:\n  to:\n  - targetRef: {kind: Mesh, tags: {a: 'b'}}\n    default:\n      idleTimeout: 20s\n")
	f.Add("a:\n- b\n-\n  - \"c d\": ~\n  - [1, 2.5, true]\n# e\nf:\n")
	f.Fuzz(func(t *testing.T, text string) { samePlain(t, text) })
}
