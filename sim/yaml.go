package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/resource"
)

// Problem is one thing that is wrong with a scenario.
type Problem struct {
	Position
	Field  string // zones.east.services.kv.port; "": the file as a whole
	Reason string // what was found, what is allowed, the nearest valid word; lower case, no full stop
}

// Error is file:line:column: field: reason.
func (p *Problem) Error() string {
	text := p.File
	if p.Line > 0 {
		text += ":" + strconv.Itoa(p.Line)
	}
	if p.Column > 0 {
		text += ":" + strconv.Itoa(p.Column)
	}
	if p.Field != "" {
		text += ": " + p.Field
	}
	return text + ": " + p.Reason
}

// reader reads the nodes of one file and collects what is wrong with them.
type reader struct {
	file     string
	problems []error
}

func (r *reader) pos(n *yaml.Node) Position { return Position{r.file, n.Line, n.Column} }

// bad notes a problem, once: some parts are read twice.
func (r *reader) bad(n *yaml.Node, field, format string, args ...any) {
	p := &Problem{r.pos(n), field, fmt.Sprintf(format, args...)}
	if !slices.ContainsFunc(r.problems, func(e error) bool { return *e.(*Problem) == *p }) {
		r.problems = append(r.problems, p)
	}
}

func (r *reader) err() error { return errors.Join(r.problems...) }

// document returns the one document of a YAML text, nil if there is none or it is not YAML.
func (r *reader) document(data []byte) *yaml.Node {
	var doc, more yaml.Node
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	err := d.Decode(&doc)
	if err == nil && d.Decode(&more) == nil {
		r.bad(&more, "", "want one document, found another")
		return nil
	}
	if err != nil || len(doc.Content) == 0 {
		at := &yaml.Node{}
		reason := "it is empty"
		if err != nil && !errors.Is(err, io.EOF) {
			reason = strings.TrimPrefix(err.Error(), "yaml: ")
			if line, rest, ok := strings.Cut(strings.TrimPrefix(reason, "line "), ": "); ok {
				if n, err := strconv.Atoi(line); err == nil {
					at.Line, reason = n, rest
				}
			}
			reason = "not valid YAML: " + reason
		}
		r.bad(at, "", "%s", reason)
		return nil
	}
	return resolved(doc.Content[0])
}

// resolved follows aliases.
func resolved(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// longestQuote is how much of what was found a message repeats, in runes.
const longestQuote = 60

// describe says what a node is, for "found ...".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "an object"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!str":
		if text := []rune(n.Value); len(text) > longestQuote {
			return "a text that begins " + strconv.Quote(string(text[:longestQuote]))
		}
		return "the text " + strconv.Quote(n.Value)
	case n.Tag == "!!int", n.Tag == "!!float":
		return "the number " + n.Value
	}
	return n.Value
}

// join puts a field below a path.
func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

// entry is a field of an object.
type entry struct {
	key   string
	path  string
	at    *yaml.Node // the key
	value *yaml.Node
}

// entries returns the fields of an object in order; what is repeated is a problem.
func (r *reader) entries(n *yaml.Node, path string) []entry {
	if n.Kind != yaml.MappingNode {
		r.bad(n, path, "found %s, want an object", describe(n))
		return nil
	}
	var all []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		if key.Tag == "!!merge" {
			r.bad(key, path, "merge keys (<<) are not supported here")
			continue
		}
		if i := slices.IndexFunc(all, func(e entry) bool { return e.key == key.Value }); i >= 0 {
			first := all[i].at
			r.bad(key, join(path, key.Value), "is there twice: on line %d, column %d, too", first.Line, first.Column)
			continue
		}
		all = append(all, entry{key.Value, join(path, key.Value), key, value})
	}
	return all
}

// fields is what an object may have: the name of each field, and what reads it.
type fields []struct {
	name string
	read func(n *yaml.Node, path string)
}

// object reads an object; a field that is not among known is a problem. It returns the names of those that are there.
func (r *reader) object(n *yaml.Node, path string, known fields) map[string]*yaml.Node {
	found := map[string]*yaml.Node{}
	for _, e := range r.entries(n, path) {
		i := slices.IndexFunc(known, func(f struct {
			name string
			read func(n *yaml.Node, path string)
		}) bool {
			return f.name == e.key
		})
		if i < 0 {
			var names []string
			for _, f := range known {
				names = append(names, f.name)
			}
			r.unknown(e.at, e.path, "field", e.key, names)
			continue
		}
		found[e.key] = e.at
		if known[i].read != nil {
			known[i].read(e.value, e.path)
		}
	}
	return found
}

// unknown reports a word that is not among those allowed.
func (r *reader) unknown(at *yaml.Node, path, what, word string, allowed []string) {
	reason := fmt.Sprintf("unknown %s %q, want one of %s", what, word, strings.Join(allowed, ", "))
	if len(allowed) == 0 {
		reason = fmt.Sprintf("unknown %s %q: there is none", what, word)
	}
	if near := resource.Nearest(word, allowed); near != "" {
		reason += "; did you mean " + near + "?"
	}
	r.bad(at, path, "%s", reason)
}

// text reads a text; a number or a boolean is one too.
func (r *reader) text(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.bad(n, path, "found %s, want a text", describe(n))
		return ""
	}
	return n.Value
}

// words reads a list of texts, with the place of each, which is its key and value; one text is a list of one.
func (r *reader) words(n *yaml.Node, path string) []entry {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return []entry{{n.Value, path, n, n}}
	}
	if n.Kind != yaml.SequenceNode {
		r.bad(n, path, "found %s, want a text or a list of texts", describe(n))
		return nil
	}
	var all []entry
	for i, item := range r.list(n, path) {
		at := fmt.Sprintf("%s[%d]", path, i)
		all = append(all, entry{r.text(item, at), at, item, item})
	}
	return all
}

// wordsOf is words that are each one of some.
func (r *reader) wordsOf(n *yaml.Node, path, what string, allowed []string) []string {
	var all []string
	for _, e := range r.words(n, path) {
		if !slices.Contains(allowed, e.key) {
			r.unknown(e.at, e.path, what, e.key, allowed)
		}
		all = append(all, e.key)
	}
	return all
}

// textMap reads an object of texts.
func (r *reader) textMap(n *yaml.Node, path string) map[string]string {
	all := map[string]string{}
	for _, e := range r.entries(n, path) {
		all[e.key] = r.text(e.value, e.path)
	}
	return all
}

// word reads a text that is one of some.
func (r *reader) word(n *yaml.Node, path, what string, allowed []string) string {
	word := r.text(n, path)
	if word != "" && !slices.Contains(allowed, word) {
		r.unknown(n, path, what, word, allowed)
		return ""
	}
	return word
}

func (r *reader) list(n *yaml.Node, path string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, path, "found %s, want a list", describe(n))
		return nil
	}
	all := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		all[i] = resolved(item)
	}
	return all
}

// number reads a whole number from least to most.
func (r *reader) number(n *yaml.Node, path string, least, most int) int {
	v, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || v < least || v > most {
		r.bad(n, path, "found %s, want a whole number from %d to %d", describe(n), least, most)
		return least
	}
	return v
}

// duration reads a time that is not negative, such as 2s or 1m30s.
func (r *reader) duration(n *yaml.Node, path string) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil || d < 0 {
		r.bad(n, path, "found %s, want a duration such as 500ms, 10s or 2m", describe(n))
		return 0
	}
	return d
}

// value reads anything, as JSON has it.
func (r *reader) value(n *yaml.Node, path string) any {
	var v any
	if err := n.Decode(&v); err != nil {
		r.bad(n, path, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return v
}
