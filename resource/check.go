package resource

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// maxViolations bounds what is reported of one document.
const maxViolations = 100

// checker compares the nodes of one document with shapes. It collects every violation and builds the canonical value
// on the way: nil, bool, int64, uint64, float64, string, []any, map[string]any.
type checker struct {
	dropUnknown bool // unknown fields are left out silently
	lastWins    bool // so are all but the last of several fields with one name
	violations  []Violation
	more        bool     // than violations holds
	meant       []string // the fields that misspelt ones were meant to be
}

// path is where the checker is, as a list from the leaf to the root; nil is the document. It becomes a string only
// when there is something to report.
type path struct {
	up    *path
	name  string // of a field, or the key of a map
	index int    // of a list
	kind  pathKind
}

type pathKind uint8

const (
	pathField pathKind = iota
	pathKey
	pathIndex
)

func (p *path) field(name string) *path { return &path{up: p, name: name} }

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.kind == pathIndex:
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.kind == pathKey || !plainName.MatchString(p.name):
		return p.up.String() + "[" + strconv.Quote(cut(p.name)) + "]"
	case p.up == nil:
		return p.name
	}
	return p.up.String() + "." + p.name
}

// full says whether no more violations are wanted; it also remembers that there was one more.
func (c *checker) full() bool {
	c.more = len(c.violations) >= maxViolations
	return c.more
}

func (c *checker) report(line int, at *path, format string, args ...any) {
	if !c.full() {
		c.violations = append(c.violations, Violation{Line: line, Field: at.String(), Reason: fmt.Sprintf(format, args...)})
	}
}

// sorted returns the violations by line and field.
func (c *checker) sorted() []Violation {
	slices.SortStableFunc(c.violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), compareFields(a.Field, b.Field))
	})
	if c.more {
		return append(c.violations, Violation{Reason: fmt.Sprintf("has more than %d violations; the rest is not shown", maxViolations)})
	}
	return c.violations
}

// compareFields orders paths bytewise, but numbers by their value: spec.to[2] before spec.to[10].
func compareFields(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	digits := func(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
	return cmp.Or(cmp.Compare(digits(a[i:]), digits(b[i:])), cmp.Compare(a[i:], b[i:]))
}

// follows says whether v, which Schema.Validate found in what is left of a document once its bad values are taken out,
// follows from one of the violations of its shape: v is about that field or one below it, or it misses something where
// something bad was taken out.
func (c *checker) follows(v Violation, ofShape []Violation) bool {
	under := func(field, top string) bool {
		rest, ok := strings.CutPrefix(field, top)
		return ok && top != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	missing := slices.ContainsFunc(missingWords, func(words string) bool { return strings.Contains(v.Reason, words) })
	field := spelling(v.Field)
	for _, s := range ofShape {
		if bad := spelling(s.Field); under(field, bad) || missing && under(bad, field) {
			return true
		}
	}
	return slices.ContainsFunc(c.meant, func(meant string) bool { return under(field, spelling(meant)) })
}

// missingWords tell a Reason that misses something. See Schema.Validate.
var missingWords = []string{"must be given", "must have", "must not be empty", "at least one", "has no "}

// wrong reports that n is not of shape s.
func (c *checker) wrong(s *shape, n *node, at *path) {
	if c.full() {
		return
	}
	if s.secret {
		c.report(n.line, at, "found %s, want %s", n.describeKind(), s.want())
		return
	}
	reason := "found " + n.describe() + ", want " + s.want()
	switch {
	case n.kind == nodeNull:
		reason += ": give a value or leave the field out"
	case s.kind == shapeEnum && n.kind == nodeText:
		if near := Nearest(n.text, s.words); near != "" {
			reason += "; did you mean " + near + "?"
		}
	case s.kind == shapeText && (n.kind == nodeNumber || n.kind == nodeBool), s.kind == shapeIntOrString && n.kind == nodeNumber:
		reason += ": write " + strconv.Quote(cut(n.text))
	case s.kind == shapeDuration && n.kind == nodeNumber:
		reason += ": write " + strconv.Quote(cut(n.text)+"s") + " for seconds"
	}
	c.report(n.line, at, "%s", reason)
}

// value checks n against s and returns its canonical value; ok is false if it has none. patch says that an explicit
// null removes a field here, and is kept.
func (c *checker) value(s *shape, n *node, at *path, patch bool) (v any, ok bool) {
	switch s.kind {
	case shapeObject:
		if n.kind == nodeObject {
			return c.object(s, n, at, patch), true
		}
	case shapeMap:
		if n.kind == nodeObject {
			return c.mapping(s.elem, n, at, patch), true
		}
	case shapeList:
		if n.kind == nodeList {
			return c.list(s.elem, n, at), true
		}
	case shapeAny:
		return c.anything(n, at), true
	default:
		if v, ok := leaf(s, n); ok {
			return v, true
		}
	}
	c.wrong(s, n, at)
	return nil, false
}

// once returns the entries of n with one for each name; of entries with one name it is the last, and they are a violation
// unless lastWins. s is the shape of an object, which knows the spellings of its fields, or nil; kind is what they are.
func (c *checker) once(s *shape, n *node, at *path, kind pathKind) []entry {
	name := func(e entry) string {
		if s != nil {
			if i, ok := s.names[e.key]; ok {
				return s.fields[i].name
			}
		}
		return e.key
	}
	if !repeats(n.entries, name) {
		return n.entries
	}
	last := make(map[string]int, len(n.entries))
	first := make(map[string]int, len(n.entries))
	for i, e := range n.entries {
		key := name(e)
		last[key] = i
		if _, ok := first[key]; !ok {
			first[key] = i
		}
	}
	var once []entry
	for i, e := range n.entries {
		key := name(e)
		if last[key] != i {
			continue
		}
		if f := first[key]; f != i && !c.lastWins {
			c.report(e.line, &path{up: at, name: e.key, kind: kind}, "given twice: on line %d and on line %d", n.entries[f].line, e.line)
		}
		once = append(once, e)
	}
	return once
}

// repeats says whether two entries have one name.
func repeats(entries []entry, name func(entry) string) bool {
	const few = 16
	if len(entries) > few {
		seen := make(map[string]bool, len(entries))
		for _, e := range entries {
			seen[name(e)] = true
		}
		return len(seen) < len(entries)
	}
	var names [few]string
	for i, e := range entries {
		names[i] = name(e)
		if slices.Contains(names[:i], names[i]) {
			return true
		}
	}
	return false
}

func (c *checker) object(s *shape, n *node, at *path, patch bool) map[string]any {
	value := make(map[string]any, len(n.entries))
	given := make([]bool, len(s.fields))
	var oneofs map[string]string // the field given, by the word
	var misspelt []int
	for _, e := range c.once(s, n, at, pathField) {
		here := path{up: at, name: e.key}
		i, ok := s.names[e.key]
		if !ok {
			if !c.dropUnknown && !c.full() { // Nearest costs more than the rest
				reason, meant := unknownField(e.key, s.fieldNames())
				c.report(e.line, &here, "%s", reason)
				c.violations[len(c.violations)-1].Code = CodeUnknownField
				if meant != "" {
					misspelt = append(misspelt, s.names[meant])
				}
			}
			continue
		}
		f := &s.fields[i]
		given[i] = true
		if f.oneof != "" {
			if other, ok := oneofs[f.oneof]; ok {
				c.report(e.line, &here, "%s is given already: want one of them", other)
				continue
			}
			if oneofs == nil {
				oneofs = map[string]string{}
			}
			oneofs[f.oneof] = f.name
		}
		if patch && e.value.kind == nodeNull {
			value[f.name] = nil
		} else if v, ok := c.value(f.shape, e.value, &here, patch || f.patch); ok {
			value[f.name] = v
		}
	}
	for _, i := range misspelt {
		if !given[i] { // it is not missing as well
			given[i] = true
			c.meant = append(c.meant, at.field(s.fields[i].name).String())
		}
	}
	for i, f := range s.fields {
		switch {
		case given[i]:
		case f.byDef != nil:
			value[f.name] = f.byDef
		case f.required:
			c.report(n.line, at.field(f.name), "must be given")
		}
	}
	return value
}

// unknownField says what is wrong with a field of this name, and which field was meant, "" if none is near.
func unknownField(name string, known []string) (reason, meant string) {
	const most = 20
	meant = Nearest(name, known)
	switch {
	case meant != "":
		return "unknown field; did you mean " + meant + "?", meant
	case len(known) == 0:
		return "unknown field; nothing can be set here", ""
	case len(known) > most:
		return "unknown field", ""
	}
	known = slices.Sorted(slices.Values(known))
	return "unknown field; known here: " + strings.Join(known, ", "), ""
}

func (c *checker) mapping(elem *shape, n *node, at *path, patch bool) map[string]any {
	value := make(map[string]any, len(n.entries))
	for _, e := range c.once(nil, n, at, pathKey) {
		here := path{up: at, name: e.key, kind: pathKey}
		if patch && e.value.kind == nodeNull {
			value[e.key] = nil
		} else if v, ok := c.value(elem, e.value, &here, patch); ok {
			value[e.key] = v
		}
	}
	return value
}

// list checks the items of a list. A merge replaces lists whole, so a null below one removes nothing. In the place of a
// bad item stands an empty one, so that the others keep their index.
func (c *checker) list(elem *shape, n *node, at *path) []any {
	value := make([]any, len(n.items))
	for i, item := range n.items {
		here := path{up: at, index: i, kind: pathIndex}
		v, ok := c.value(elem, item, &here, false)
		if !ok {
			v = elem.zero()
		}
		value[i] = v
	}
	return value
}

// zero returns a canonical value of the shape.
func (s *shape) zero() any {
	switch s.kind {
	case shapeObject, shapeMap:
		return map[string]any{}
	case shapeList:
		return []any{}
	case shapeInt:
		return max(s.min, 0)
	case shapeNumber, shapeIntOrString:
		return int64(0)
	case shapeBool:
		return false
	case shapeEnum:
		return s.words[0]
	case shapeDuration:
		return "0s"
	case shapeTime:
		return time.Unix(0, 0).UTC().Format(time.RFC3339Nano)
	case shapeAny:
		return nil
	}
	return ""
}

// anything returns the canonical value of a field that may hold anything, null included.
func (c *checker) anything(n *node, at *path) any {
	switch n.kind {
	case nodeObject:
		value := make(map[string]any, len(n.entries))
		for _, e := range c.once(nil, n, at, pathField) {
			here := path{up: at, name: e.key}
			value[e.key] = c.anything(e.value, &here)
		}
		return value
	case nodeList:
		value := make([]any, len(n.items))
		for i, item := range n.items {
			here := path{up: at, index: i, kind: pathIndex}
			value[i] = c.anything(item, &here)
		}
		return value
	case nodeText:
		return n.text
	case nodeNumber:
		return n.num
	case nodeBool:
		return n.text == "true"
	}
	return nil
}

// leaf returns the canonical value of a scalar; ok is false if n is none, or not of shape s.
func leaf(s *shape, n *node) (v any, ok bool) {
	switch s.kind {
	case shapeText:
		return n.text, n.kind == nodeText
	case shapeBool:
		return n.text == "true", n.kind == nodeBool
	case shapeEnum:
		return n.text, n.kind == nodeText && slices.Contains(s.words, n.text)
	case shapeInt:
		return integer(number(s, n), s.min, s.max)
	case shapeNumber:
		v := number(s, n)
		return v, v != nil
	case shapeDuration:
		d, err := time.ParseDuration(n.text)
		if n.kind != nodeText || err != nil {
			return nil, false
		}
		if s.seconds {
			return secondsText(d), true
		}
		return d.String(), true
	case shapeTime:
		t, err := time.Parse(time.RFC3339Nano, n.text)
		return t.UTC().Format(time.RFC3339Nano), n.kind == nodeText && err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999
	case shapeBytes:
		data, err := base64.StdEncoding.DecodeString(n.text)
		return base64.StdEncoding.EncodeToString(data), n.kind == nodeText && err == nil
	case shapeIntOrString:
		if n.kind == nodeText {
			return n.text, true
		}
		return integer(n.num, math.MinInt32, math.MaxInt32)
	}
	return nil, false
}

// number returns the number that n holds, as a number or, where the shape allows it, as a text; nil if none.
func number(s *shape, n *node) any {
	if n.kind == nodeText && s.quotable && n.text == strings.TrimSpace(n.text) {
		if f, ok := parseNumber(n.text).(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil
		}
		return parseNumber(n.text)
	}
	return n.num
}

// integer returns v as int64 or uint64 if it is a whole number within the bounds.
func integer(v any, min int64, max uint64) (any, bool) {
	switch i := v.(type) {
	case int64:
		return i, i >= min && (i < 0 || uint64(i) <= max)
	case uint64:
		return i, i <= max
	case float64:
		if i == math.Trunc(i) && math.Abs(i) <= 1<<53 {
			return integer(int64(i), min, max)
		}
	}
	return nil, false
}

// secondsText writes a duration as protobuf's JSON form does: 1h30m is "5400s", 250ms is "0.250s".
func secondsText(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign = "-"
	}
	seconds, nanos := d/time.Second, d%time.Second
	text := fmt.Sprintf("%s%d.%09d", sign, max(seconds, -seconds), max(nanos, -nanos))
	return strings.TrimRight(strings.TrimRight(text, "0"), ".") + "s"
}

// letters returns the runes of s in order.
func letters(s string) string {
	runes := []rune(s)
	slices.Sort(runes)
	return string(runes)
}

// Nearest returns the word of known that the author of word most likely meant, "" when nothing is near. Case, "_" and
// "-" do not count; of equally near words the first in alphabetical order.
func Nearest(word string, known []string) string {
	const longest = 80 // a longer word is no misspelling, and comparing costs the product of the lengths
	simple := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	w := simple(word)
	if w == "" || len(w) > longest || !utf8.ValidString(w) {
		return ""
	}
	best, bestDistance := "", max(1, utf8.RuneCountInString(w)/3)
	for _, k := range known {
		if len(k) > longest {
			continue
		}
		s := simple(k)
		d := levenshtein.ComputeDistance(w, s)
		if d == 2 && letters(w) == letters(s) {
			d = 1 // two letters have changed places: one mistake
		}
		if d < bestDistance || d == bestDistance && (best == "" || cmp.Less(k, best)) {
			best, bestDistance = k, d
		}
	}
	if bestDistance >= utf8.RuneCountInString(w) {
		return ""
	}
	return best
}
