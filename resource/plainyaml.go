package resource

import (
	"cmp"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"
)

// plainYAML reads the YAML that people and programs write day by day, ten times as fast as a reader of all of YAML:
// block mappings and sequences, scalars and flow collections of one line, comments, ASCII. Whatever else it meets
// (anchors, tags, literal texts, escapes, texts over several lines, mistakes), it gives up, and the document is read
// again by parseYAML. What it does accept, it reads exactly as that one does; a fuzz test compares them.
type plainYAML struct {
	rest  string // what follows the current line
	line  string // the current line from its first character that is no space, without the line break
	col   int    // the column of that character, from 0
	at    int    // the number of the line in the source
	end   bool   // there is no current line any more
	fresh []node // nodes not given out yet
	limits
	nodes int   // so far, without the document itself
	bad   error // why it gave up
}

// errNotPlain says that a document has to be read in another way.
var errNotPlain = errors.New("not plain YAML")

// parsePlainYAML returns the root of a document.
//
// Errors: errNotPlain; *syntaxError if the document exceeds a limit.
func parsePlainYAML(c chunk, l limits) (*node, error) {
	for _, b := range c.text {
		if (b < ' ' || b > '~') && b != '\n' {
			return nil, errNotPlain
		}
	}
	p := plainYAML{rest: string(c.text), at: c.line - 1, limits: l, nodes: -1}
	if p.next(); p.end {
		return nil, errNotPlain
	}
	root := p.block(0)
	if !p.end {
		p.fail()
	}
	return root, p.bad
}

// next goes to the next line that is not empty and not a comment.
func (p *plainYAML) next() {
	for p.rest != "" {
		var line string
		line, p.rest, _ = strings.Cut(p.rest, "\n")
		p.at++
		text := strings.TrimLeft(line, " ")
		if text == "" || text[0] == '#' {
			continue
		}
		p.line, p.col = text, len(line)-len(text)
		return
	}
	p.end, p.line = true, ""
}

// fail gives up. The caller returns at once; its result does not count.
func (p *plainYAML) fail() *node {
	p.bad = cmp.Or(p.bad, errNotPlain)
	return &node{}
}

func (p *plainYAML) node(kind nodeKind, depth int) *node {
	switch p.nodes++; {
	case p.nodes > p.items:
		p.bad = cmp.Or(p.bad, p.tooMany(p.at))
	case depth > p.depth:
		p.bad = cmp.Or(p.bad, p.tooDeep(p.at))
	}
	if len(p.fresh) == 0 {
		p.fresh = make([]node, 16)
	}
	n := &p.fresh[0]
	p.fresh = p.fresh[1:]
	n.kind, n.line = kind, p.at
	return n
}

// isItem says whether the text begins with the dash of an item.
func isItem(text string) bool { return text[0] == '-' && (len(text) == 1 || text[1] == ' ') }

// block reads the collection that begins on the current line.
func (p *plainYAML) block(depth int) *node {
	if isItem(p.line) {
		return p.sequence(depth)
	}
	return p.mapping(depth)
}

// mapping reads a block mapping whose first key is at the current position.
func (p *plainYAML) mapping(depth int) *node {
	n := p.node(nodeObject, depth)
	for col := p.col; p.bad == nil && !p.end && p.col == col; {
		key, text, ok := p.key(p.line)
		if !ok {
			return p.fail()
		}
		e := entry{key: key, line: p.at}
		if text == "" || text[0] == '#' {
			e.value = p.below(depth+1, func() bool { return p.col > col || p.col == col && isItem(p.line) })
		} else {
			e.value = p.inline(text, depth+1)
			p.next()
		}
		n.entries = append(n.entries, e)
		if !p.end && p.col > col { // the scalar may go on
			return p.fail()
		}
	}
	return n
}

// sequence reads a block sequence whose first dash is at the current position.
func (p *plainYAML) sequence(depth int) *node {
	n := p.node(nodeList, depth)
	for col := p.col; p.bad == nil && !p.end && p.col == col && isItem(p.line); {
		text := strings.TrimLeft(p.line[1:], " ")
		var item *node
		switch _, _, isKey := p.key(text); {
		case text == "" || text[0] == '#':
			item = p.below(depth+1, func() bool { return p.col > col })
		case isKey:
			p.col += len(p.line) - len(text)
			p.line = text
			item = p.mapping(depth + 1)
		case isItem(text):
			return p.fail()
		default:
			item = p.inline(text, depth+1)
			p.next()
		}
		n.items = append(n.items, item)
		if !p.end && p.col > col {
			return p.fail()
		}
	}
	return n
}

// below reads the value that stands on the lines after the current one, if the next of them belongs to it; a null if not.
func (p *plainYAML) below(depth int, belongs func() bool) *node {
	null := p.at
	if p.next(); !p.end && belongs() {
		return p.block(depth)
	}
	n := p.node(nodeNull, depth)
	n.line = null
	return n
}

// key reads a key with its colon; text is what follows, without the spaces around it.
func (p *plainYAML) key(s string) (key, text string, ok bool) {
	const longest = 256
	end := 0
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if key, end = quoted(s); end < 0 {
			return "", "", false
		}
	} else {
		for end < len(s) && isKeyChar(s[end]) {
			end++
		}
		if key = s[:end]; key == "" || !isLetter(key[0]) || isWord(key) {
			return "", "", false
		}
	}
	if end > longest || end >= len(s) || s[end] != ':' || end+1 < len(s) && s[end+1] != ' ' {
		return "", "", false
	}
	return key, strings.Trim(s[end+1:], " "), true
}

// inline reads a value that is all there is on the rest of a line.
func (p *plainYAML) inline(s string, depth int) *node {
	switch s[0] {
	case '"', '\'':
		text, end := quoted(s)
		if end < 0 || !endsLine(s[end:]) {
			return p.fail()
		}
		n := p.node(nodeText, depth)
		n.text = text
		return n
	case '{', '[':
		n, rest := p.flow(s, depth)
		if !endsLine(rest) {
			return p.fail()
		}
		return n
	}
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	if s = strings.TrimRight(s, " "); strings.Contains(s, ": ") || s[len(s)-1] == ':' {
		return p.fail()
	}
	return p.plain(s, depth)
}

// endsLine says whether what follows a value is nothing but space and a comment.
func endsLine(s string) bool {
	text := strings.TrimLeft(s, " ")
	return text == "" || text[0] == '#' && len(text) < len(s)
}

// quoted returns the text of a quoted scalar without escapes, and where it ends; -1 if s does not begin with one.
func quoted(s string) (text string, end int) {
	n := strings.IndexByte(s[1:], s[0])
	if n < 0 {
		return "", -1
	}
	text, end = s[1:1+n], n+2
	if s[0] == '"' && strings.IndexByte(text, '\\') >= 0 || s[0] == '\'' && end < len(s) && s[end] == '\'' {
		return "", -1
	}
	return text, end
}

// flow reads a flow collection; rest is what follows it on the line.
func (p *plainYAML) flow(s string, depth int) (n *node, rest string) {
	kind, closing := nodeObject, byte('}')
	if s[0] == '[' {
		kind, closing = nodeList, ']'
	}
	n = p.node(kind, depth)
	s = strings.TrimLeft(s[1:], " ")
	if s != "" && s[0] == closing {
		return n, s[1:]
	}
	for p.bad == nil {
		e := entry{line: p.at}
		if kind == nodeObject {
			var ok bool
			if e.key, s, ok = p.key(s); !ok {
				return p.fail(), ""
			}
		}
		if e.value, s = p.flowValue(s, depth+1); kind == nodeObject {
			n.entries = append(n.entries, e)
		} else {
			n.items = append(n.items, e.value)
		}
		switch s = strings.TrimLeft(s, " "); {
		case s == "":
			return p.fail(), ""
		case s[0] == closing:
			return n, s[1:]
		case s[0] != ',':
			return p.fail(), ""
		}
		s = strings.TrimLeft(s[1:], " ")
	}
	return n, ""
}

func (p *plainYAML) flowValue(s string, depth int) (n *node, rest string) {
	switch {
	case s == "":
		return p.fail(), ""
	case s[0] == '{' || s[0] == '[':
		return p.flow(s, depth)
	case s[0] == '"' || s[0] == '\'':
		text, end := quoted(s)
		if end < 0 {
			return p.fail(), ""
		}
		n = p.node(nodeText, depth)
		n.text = text
		return n, s[end:]
	}
	end := strings.IndexAny(s, ",{}[]#?")
	if end <= 0 || s[end] == '#' || s[end] == '?' || s[end] == '{' || s[end] == '[' {
		return p.fail(), ""
	}
	text := strings.TrimRight(s[:end], " ")
	if text == "" || strings.Contains(text, ": ") || text[len(text)-1] == ':' || text == "-" {
		return p.fail(), ""
	}
	return p.plain(text, depth), s[end:]
}

// plain returns the scalar that is written as s without quotes.
func (p *plainYAML) plain(s string, depth int) *node {
	switch c := s[0]; {
	case isLetter(c):
		if isWord(s) {
			return p.resolved(s, depth)
		}
	case '0' <= c && c <= '9':
		if !isDuration(s) {
			return p.resolved(s, depth)
		}
	case c == '/' || c == '_' || c == '$' || c == '(' || c == '^':
	case c == '.' || c == '~' || c == '+' || c == '-' && !isItem(s):
		return p.resolved(s, depth)
	default:
		return p.fail()
	}
	n := p.node(nodeText, depth)
	n.text = s
	return n
}

// resolved returns a scalar that may be a number, a bool or null: that is for the YAML library to say.
func (p *plainYAML) resolved(s string, depth int) *node {
	n := p.node(nodeText, depth)
	if scalar(n, &yaml.Node{Kind: yaml.ScalarNode, Value: s}) != nil {
		return p.fail()
	}
	return n
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isKeyChar(c byte) bool {
	return isLetter(c) || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '/'
}

// isWord says whether a plain scalar that begins with a letter may be a bool or null: no other such scalar is anything
// but a text.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "true", "false", "null":
		return true
	}
	return false
}

// isDuration says whether s is a whole number and a unit, which is a text.
func isDuration(s string) bool {
	unit := strings.TrimLeft(s, "0123456789")
	return unit == "s" || unit == "ms" || unit == "m" || unit == "h"
}
