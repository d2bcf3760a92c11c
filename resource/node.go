package resource

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// limits bound what one document costs. See ReadOptions.
type limits struct {
	bytes, depth, items int
}

// maxAliasNodes is how many nodes all aliases of one document may add.
const maxAliasNodes = 10_000

func (l limits) tooLarge(line int) error {
	return &sizeError{syntaxError{line, fmt.Sprintf("is larger than %d bytes, the limit for one document", l.bytes)}}
}

func (l limits) tooDeep(line int) error {
	return &syntaxError{line, fmt.Sprintf("nested more than %d levels deep", l.depth)}
}

func (l limits) tooMany(line int) error {
	return &syntaxError{line, fmt.Sprintf("has more than %d fields and items, the limit for one document", l.items)}
}

type nodeKind uint8

const (
	nodeObject nodeKind = iota
	nodeList
	nodeText
	nodeNumber
	nodeBool
	nodeNull
)

// node is one value of a document as it was written, in JSON or in YAML, with aliases and merge keys resolved.
type node struct {
	kind    nodeKind
	line    int
	text    string // of a text its value; of a number or a bool as it was written
	num     any    // int64, uint64 or float64 (never NaN or infinite)
	entries []entry
	items   []*node
}

// entry is one field of an object. The entries of an object keep their order and may repeat a key.
type entry struct {
	key   string
	line  int
	value *node
}

// last returns the value of the last entry called key, or nil.
func (n *node) last(key string) *node {
	for i := len(n.entries) - 1; i >= 0; i-- {
		if n.entries[i].key == key {
			return n.entries[i].value
		}
	}
	return nil
}

// describe says what the node is, for "found ...".
func (n *node) describe() string {
	switch n.kind {
	case nodeObject:
		return "an object"
	case nodeList:
		return "a list"
	case nodeNull:
		return "null"
	case nodeText:
		return "the text " + strconv.Quote(cut(n.text))
	case nodeNumber:
		return "the number " + cut(n.text)
	}
	return n.text
}

// describeKind says what the node is without its value, for a value that is secret.
func (n *node) describeKind() string {
	switch n.kind {
	case nodeText:
		return "a text"
	case nodeNumber:
		return "a number"
	case nodeBool:
		return "a boolean"
	}
	return n.describe()
}

// cut shortens what a message quotes from a document.
func cut(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// syntaxError is why a document could not be read at all.
type syntaxError struct {
	line   int
	reason string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }

// sizeError is a *syntaxError of a document that is larger than the limit.
type sizeError struct{ syntaxError }

func (e *sizeError) Unwrap() error { return &e.syntaxError }

// chunk is a part of a source that holds one document, or a stream of JSON documents.
type chunk struct {
	line  int // of its first byte, from 1
	text  []byte
	empty bool // white space and comments alone
}

// split cuts a stream into documents where YAML starts a new one: at a line that begins with "---", or after a line
// "...". Both end a document even inside a quoted or literal text, so the cut needs no parser, and an error in one
// document leaves the others readable. What stands before the first marker is a document only if it has content.
//
// stored cuts as Kuma's loader of test resources does: any line that begins with "---" is a marker, and white space
// around each document is trimmed, so a literal text at the end of a document loses its last newline.
func split(data []byte, stored bool) []chunk {
	var chunks []chunk
	start, open := 0, false // open: the chunk that begins at start has a marker or content
	cur := chunk{line: 1, empty: true}
	flush := func(end int) {
		if cur.text = data[start:end]; stored {
			text := bytes.TrimLeft(cur.text, white)
			cur.line += bytes.Count(cur.text[:len(cur.text)-len(text)], []byte("\n"))
			cur.text = bytes.TrimRight(text, white)
		}
		if open {
			chunks = append(chunks, cur)
		}
	}
	for line, at := 1, 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		text := bytes.TrimSpace(data[at:end])
		comment := len(text) == 0 || text[0] == '#'
		switch {
		case isMarker(data[at:end], "---") || stored && bytes.HasPrefix(data[at:end], []byte("---")):
			flush(at)
			start, open, cur = at+len("---"), true, chunk{line: line, empty: true}
			if text = bytes.TrimSpace(data[start:end]); len(text) == 0 || text[0] == '#' {
				start, cur.line = end, line+1
			} else {
				cur.empty = false
			}
		case isMarker(data[at:end], "...") && !stored:
			flush(at)
			start, open, cur = end, false, chunk{line: line + 1, empty: true}
		case !comment && (open || data[at] != '%'): // before a document, "%" begins a directive
			open, cur.empty = true, false
		}
		at = end
	}
	flush(len(data))
	return chunks
}

const white = " \t\r\n"

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.IndexByte(white, rest[0]) >= 0)
}

// parse returns the documents of one chunk: one, or several when the chunk is a stream of JSON values. A chunk without
// content gives one nil.
//
// Errors: *syntaxError.
func (c chunk) parse(l limits) ([]*node, error) {
	if c.empty {
		return []*node{nil}, nil
	}
	if i := bytes.IndexByte(c.text, 0); i >= 0 {
		return nil, c.fail(i, "holds a NUL byte: want text in UTF-8")
	}
	if !utf8.Valid(c.text) {
		i := strings.IndexRune(string(c.text), utf8.RuneError)
		return nil, c.fail(i, "is not text in UTF-8")
	}
	text := bytes.TrimLeft(c.text, white)
	isJSON := jsonStart.Match(text)
	var jsonErr error
	if isJSON {
		var docs []*node
		if docs, jsonErr = parseJSON(c, l); jsonErr == nil {
			return docs, nil
		}
	}
	if len(c.text) > l.bytes {
		return nil, cmp.Or(jsonErr, l.tooLarge(c.lineAt(len(c.text)-len(text))))
	}
	doc, err := parsePlainYAML(c, l)
	if err == errNotPlain {
		doc, err = parseYAML(c, l)
	}
	if err != nil && isJSON {
		err = jsonErr
	}
	return []*node{doc}, err
}

// jsonStart tells JSON from YAML that begins with a brace, for the choice of the error message.
var jsonStart = regexp.MustCompile(`^\{\s*["}]`)

// fail returns a *syntaxError at byte i of the chunk.
func (c chunk) fail(i int, reason string) error {
	return &syntaxError{c.lineAt(i), reason}
}

func (c chunk) lineAt(i int) int { return c.line + bytes.Count(c.text[:i], []byte("\n")) }

// parseJSON reads a stream of JSON values. Unlike the YAML reader it knows surrogate pairs and keys of any length.
func parseJSON(c chunk, l limits) ([]*node, error) {
	r := jsonReader{limits: l, dec: json.NewDecoder(bytes.NewReader(c.text)), data: c.text, line: c.line}
	r.dec.UseNumber()
	var docs []*node
	for {
		start := r.at
		r.nodes = -1 // the document itself does not count
		n, err := r.value(0)
		if r.at-start > l.bytes {
			return nil, l.tooLarge(r.line)
		}
		if errors.Is(err, io.EOF) && len(docs) > 0 {
			return docs, nil
		}
		if err != nil {
			if se, ok := errors.AsType[*syntaxError](err); ok {
				return nil, se
			}
			r.advance()
			reason := strings.TrimPrefix(err.Error(), "json: ")
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				reason = "it ends too early"
			}
			return nil, &syntaxError{r.line, "not valid JSON: " + reason}
		}
		docs = append(docs, n)
	}
}

type jsonReader struct {
	limits
	dec   *json.Decoder
	data  []byte
	at    int // data[:at] has been counted into line
	line  int
	nodes int // of the document, so far
}

// advance counts the lines up to the last token.
func (r *jsonReader) advance() {
	to := min(int(r.dec.InputOffset()), len(r.data))
	r.line += bytes.Count(r.data[r.at:to], []byte("\n"))
	r.at = to
}

func (r *jsonReader) value(depth int) (*node, error) {
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	r.advance()
	n := &node{line: r.line}
	if depth > r.depth {
		return nil, r.tooDeep(r.line)
	}
	if r.nodes++; r.nodes > r.items {
		return nil, r.tooMany(r.line)
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			n.kind = nodeList
		}
		for r.dec.More() {
			var e entry
			if t == '{' {
				key, err := r.dec.Token()
				if err != nil {
					return nil, err
				}
				r.advance()
				e.key, e.line = key.(string), r.line
				if strings.IndexByte(e.key, 0) >= 0 {
					return nil, hasNUL(r.line)
				}
			}
			if e.value, err = r.value(depth + 1); err != nil {
				return nil, err
			}
			if t == '{' {
				n.entries = append(n.entries, e)
			} else {
				n.items = append(n.items, e.value)
			}
		}
		if _, err := r.dec.Token(); err != nil {
			return nil, err
		}
		r.advance()
	case string:
		n.kind, n.text = nodeText, t
		if strings.IndexByte(t, 0) >= 0 {
			return nil, hasNUL(r.line)
		}
	case json.Number:
		n.kind, n.text = nodeNumber, t.String()
		if n.num = parseNumber(n.text); n.num == nil {
			return nil, &syntaxError{r.line, "a number is too large"} // it may be a secret, so it is not shown
		}
	case bool:
		n.kind, n.text = nodeBool, strconv.FormatBool(t)
	case nil:
		n.kind = nodeNull
	}
	return n, nil
}

// parseNumber reads a JSON number; nil if it does not fit.
func parseNumber(s string) any {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(s, 10, 64); err == nil {
		return u
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return f
	}
	return nil
}

func hasNUL(line int) error { return &syntaxError{line, "a text holds the character NUL"} }

var (
	yamlErrorLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// yamlOffByOne are the errors of the YAML library's parser, whose lines it counts from 0. Those of its scanner are
	// counted from 1.
	yamlOffByOne = regexp.MustCompile(`^(did not find expected (<|node|'-'|key|',')|found (undefined|duplicate|incompatible))`)
)

// syntax turns an error of the YAML library into a *syntaxError.
func (c chunk) syntax(err error) error {
	lines := bytes.Split(bytes.TrimRight(c.text, white), []byte("\n"))
	reason := yamlErrorLine.ReplaceAllString(err.Error(), "")
	if strings.HasPrefix(reason, "unknown anchor") { // it may be a password
		reason = `unknown anchor: put a text that begins with "*" in quotes`
	}
	at := 0
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		k, _ := strconv.Atoi(m[1])
		if at = k - 1; yamlOffByOne.MatchString(reason) {
			at = k
		}
	}
	at = min(at, len(lines)-1)
	if bytes.HasPrefix(bytes.TrimLeft(lines[at], " "), []byte("\t")) {
		reason += " (YAML is indented with spaces, not with tabs)"
	}
	return &syntaxError{c.line + at, "not valid YAML: " + reason}
}

// parseYAML reads one YAML document; nil if it is null.
func parseYAML(c chunk, l limits) (*node, error) {
	var root, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	if err := dec.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, c.syntax(err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, &syntaxError{c.line + more.Line - 1, "a second document begins without a line ---"}
	} else if !errors.Is(err, io.EOF) {
		return nil, c.syntax(err)
	}
	if len(root.Content) == 0 {
		return nil, nil
	}
	r := yamlReader{limits: l, nodes: -1, lines: c.line - 1} // the document itself does not count
	n, err := r.value(root.Content[0], 0)
	if err != nil {
		return nil, err
	}
	if n.kind == nodeNull {
		return nil, nil
	}
	return n, nil
}

// yamlReader resolves the aliases and merge keys of one document.
type yamlReader struct {
	limits
	nodes   int // so far
	lines   int // lines of the source above the document
	aliases int // how many aliases we are inside
	added   int // nodes that aliases have added
}

func (r *yamlReader) value(y *yaml.Node, depth int) (*node, error) {
	if depth > r.depth { // also ends an alias that contains itself
		return nil, r.tooDeep(r.lines + y.Line)
	}
	if r.nodes++; r.nodes > r.items {
		return nil, r.tooMany(r.lines + y.Line)
	}
	if r.aliases > 0 {
		if r.added++; r.added > maxAliasNodes {
			return nil, &syntaxError{r.lines + y.Line, fmt.Sprintf("its aliases expand to more than %d values", maxAliasNodes)}
		}
	}
	n := &node{line: r.lines + y.Line}
	switch y.Kind {
	case yaml.AliasNode:
		r.aliases++
		n, err := r.value(y.Alias, depth+1)
		r.aliases--
		return n, err
	case yaml.SequenceNode:
		if y.ShortTag() != "!!seq" {
			return nil, badTag(n)
		}
		n.kind = nodeList
		for _, item := range y.Content {
			v, err := r.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, v)
		}
		return n, nil
	case yaml.MappingNode:
		if y.ShortTag() != "!!map" {
			return nil, badTag(n)
		}
		return n, r.fields(n, y, depth)
	}
	return n, scalar(n, y)
}

// fields fills n with the entries of the mapping y; those that it merges (<<) come last and never replace its own.
func (r *yamlReader) fields(n *node, y *yaml.Node, depth int) error {
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		value, err := r.value(v, depth+1)
		if err != nil {
			return err
		}
		if k.Kind == yaml.ScalarNode && k.ShortTag() == "!!merge" {
			from := []*node{value}
			if value.kind == nodeList {
				from = value.items
			}
			for _, m := range from {
				if m.kind != nodeObject {
					return &syntaxError{r.lines + k.Line, "<< merges objects only: found " + m.describe()}
				}
			}
			merged = append(merged, from...)
			continue
		}
		r.nodes-- // a field is one with its value
		key, err := r.value(k, depth+1)
		if err != nil {
			return err
		}
		if key.kind != nodeText && key.kind != nodeNumber && key.kind != nodeBool {
			return &syntaxError{r.lines + k.Line, "a field name is a text: found " + key.describe()}
		}
		n.entries = append(n.entries, entry{key: key.text, line: r.lines + k.Line, value: value})
	}
	if len(merged) == 0 {
		return nil
	}
	have := map[string]bool{}
	for _, e := range n.entries {
		have[e.key] = true
	}
	for _, m := range merged {
		for _, e := range m.entries {
			if !have[e.key] {
				have[e.key] = true
				n.entries = append(n.entries, e)
			}
		}
	}
	return nil
}

// scalar fills n with a text, number, bool or null. A date is a text: no field of ours has YAML's own time type.
func scalar(n *node, y *yaml.Node) error {
	n.text = y.Value
	if strings.IndexByte(n.text, 0) >= 0 {
		return hasNUL(n.line)
	}
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp", "!!merge":
		n.kind = nodeText
	case "!!null":
		n.kind = nodeNull
	case "!!bool", "!!int", "!!float":
		var v any
		if err := y.Decode(&v); err != nil { // the error shows the value, which may be a secret
			return &syntaxError{n.line, "a value is not what its tag " + tag + " says"}
		}
		n.kind = nodeNumber
		switch v := v.(type) {
		case bool:
			n.kind, n.text = nodeBool, strconv.FormatBool(v)
		case int:
			n.num = int64(v)
		case int64, uint64:
			n.num = v
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return &syntaxError{n.line, cut(y.Value) + " is not a number that a document can hold"}
			}
			n.num = v
		default:
			return badTag(n)
		}
	default:
		return badTag(n)
	}
	return nil
}

// badTag does not show the tag: it may be the beginning of a password.
func badTag(n *node) error {
	return &syntaxError{n.line, `a YAML tag has no meaning here: put a text that begins with "!" in quotes`}
}
