package lint

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Options say how documents are read.
type Options struct {
	MaxBytes int // of one document; 0: that of resource.ReadOptions
}

// File is the documents of one source and what is wrong with those that cannot be read. It is made by Parse.
type File struct {
	Name      string
	Documents []resource.Document

	findings []Finding // about what is no document
	lines    [][]byte
	comments []comment
	several  bool                                    // more than one document, good or bad
	whole    bool                                    // the file is not a list of documents: they were made of parts of it
	at       []func(field string) (line, column int) // of Documents, if whole
}

// comment suppresses findings with one of its codes that are on one of its lines.
type comment struct {
	line     int
	from, to int
	codes    []Code
	bad      string // what is wrong with it; "": nothing
}

// Len returns how many documents there are, good and bad.
func (f File) Len() int {
	bad := map[int]bool{}
	for _, finding := range f.findings {
		bad[finding.Document] = true
	}
	return len(f.Documents) + len(bad)
}

// Described is a document that a part of a file describes.
type Described struct {
	resource.Document
	At func(field string) (line, column int) // where it describes a field
}

// Scenario returns the file of a scenario with the documents that it describes.
func Scenario(name string, data []byte, docs []Described) File {
	f := File{Name: name, lines: bytes.Split(data, []byte("\n")), whole: true}
	for _, d := range docs {
		f.Documents, f.at = append(f.Documents, d.Document), append(f.at, d.At)
	}
	f.readComments()
	return f
}

// Only returns the file with those of its documents that are wanted, and without what is wrong with the others that cannot be read.
func (f File) Only(wanted func(resource.Document) bool) File {
	f.Documents = slices.DeleteFunc(slices.Clone(f.Documents), func(d resource.Document) bool { return !wanted(d) })
	f.findings = nil
	return f
}

// Parse reads a source: YAML or JSON, many documents in both forms. Those of other APIs, such as a Deployment, are left
// out. name is for messages.
func Parse(name string, data []byte, o Options) File {
	f := File{Name: name, lines: bytes.Split(data, []byte("\n"))}
	docs, err := policy.Schemas().Read(name, data, resource.ReadOptions{MaxBytes: o.MaxBytes, Positions: true})
	f.Documents = docs
	var invalid []*resource.InvalidError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if one, ok := errors.AsType[*resource.InvalidError](e); ok && !one.Foreign() {
				invalid = append(invalid, one)
			}
		}
	}
	f.several = len(docs)+len(invalid) > 1
	for _, e := range invalid {
		for _, v := range e.Violations {
			f.findings = append(f.findings, f.finding(InvalidCode(e.Key.Kind, v), subject(e.Key), e.Index, v.Line, v.Field, v.Reason))
		}
	}
	f.readComments()
	return f
}

// InvalidCode returns the code of a violation: Syntax, Metadata, Reference, Spec, Unknown or TooLarge. kind is that of
// the document, as far as it is known.
func InvalidCode(kind string, v resource.Violation) Code {
	switch v.Code {
	case resource.CodeTooLarge:
		return TooLarge
	case resource.CodeUnknownField:
		return Unknown
	}
	return Area(kind, v.Field)
}

// Area returns the code of what is wrong with a field: Syntax, Metadata, Reference or Spec.
func Area(kind, field string) Code {
	top, _, _ := strings.Cut(field, ".")
	top, _, _ = strings.Cut(top, "[")
	switch {
	case kind == "" && field == "":
		return Syntax
	case slices.Contains([]string{"type", "apiVersion", "kind", "metadata", "mesh", "name", "labels"}, top):
		return Metadata
	case strings.Contains(field, "targetRef"), strings.Contains(field, "backendRef"):
		return Reference
	}
	return Spec
}

func subject(key resource.Key) string {
	if key.Name == "" {
		return key.Kind
	}
	return key.String()
}

// finding returns one at a line of the file.
func (f *File) finding(code Code, subject string, index, line int, field, message string) Finding {
	r := byCode[code]
	if !f.several {
		index = 0
	}
	return Finding{
		Code: code, Name: r.Name, Severity: r.Severity, File: f.Name, Line: line, Column: f.column(line, field), Document: index,
		Subject: subject, Field: field, Message: message, Mend: r.Mend, Page: r.Page(),
	}
}

// column returns where on a line the last name of a field stands, or else the first that is no white space; from 1.
func (f *File) column(line int, field string) int {
	if line < 1 || line > len(f.lines) {
		return 0
	}
	text := f.lines[line-1]
	if name := lastName(field); name != "" {
		for _, word := range []string{name + ":", `"` + name + `":`} {
			for at := 0; ; {
				i := bytes.Index(text[at:], []byte(word))
				if i < 0 {
					break
				}
				if at += i; at == 0 || bytes.IndexByte([]byte(" {,[-"), text[at-1]) >= 0 {
					return at + 1
				}
				at++
			}
		}
	}
	return len(text) - len(bytes.TrimLeft(text, " \t")) + 1
}

// lastName returns default of spec.to[0].default, and the quoted key of labels["a"].
func lastName(field string) string {
	if rest, ok := strings.CutSuffix(field, `"]`); ok {
		if i := strings.LastIndex(rest, `["`); i >= 0 {
			return rest[i+2:]
		}
	}
	field = field[strings.LastIndexByte(field, '.')+1:]
	if strings.HasSuffix(field, "]") {
		return ""
	}
	return field
}

const commentWord = "meridian:ignore"

var (
	commentPattern = regexp.MustCompile(`(^|\s)#\s*` + commentWord + `\b\s*(.*)$`)
	codePattern    = regexp.MustCompile(`^MZ\d{4}(,MZ\d{4})*$`)
)

// readComments finds the comments that suppress, and the lines that each is for: the field below it with everything in
// it, or, at the end of a line, the field of that line; the whole document, if that line is its first.
func (f *File) readComments() {
	for i, text := range f.lines {
		if !bytes.Contains(text, []byte(commentWord)) {
			continue
		}
		m := commentPattern.FindSubmatchIndex(text)
		if m == nil {
			continue
		}
		c := comment{line: i + 1, from: i + 1}
		codes, reason, _ := strings.Cut(strings.TrimSpace(string(text[m[4]:m[5]])), " ")
		for code := range strings.SplitSeq(codes, ",") {
			c.codes = append(c.codes, Code(code))
		}
		unknown := slices.IndexFunc(c.codes, func(code Code) bool { _, ok := byCode[code]; return !ok })
		switch {
		case !codePattern.MatchString(codes):
			c.bad = fmt.Sprintf("found %q, want codes such as MZ0201, with commas between, and a reason", codes)
		case unknown >= 0:
			c.bad = fmt.Sprintf("there is no code %s", c.codes[unknown])
		case strings.TrimSpace(reason) == "":
			c.bad = "has no reason: say why the finding may stay"
		}
		if len(bytes.TrimSpace(text[:m[0]])) == 0 { // the whole line
			for c.from++; c.from <= len(f.lines) && passive(f.lines[c.from-1]); c.from++ {
			}
		}
		c.to = f.end(c.from)
		f.comments = append(f.comments, c)
	}
}

// passive says whether a line holds nothing that a finding can be about.
func passive(line []byte) bool {
	text := bytes.TrimSpace(line)
	return len(text) == 0 || text[0] == '#' || bytes.HasPrefix(line, []byte("---"))
}

// end returns the last line of what begins on a line: of the document, if it is the first of one, and else of the field.
func (f *File) end(line int) int {
	for i, doc := range f.Documents {
		switch {
		case doc.Line != line || f.whole:
		case i+1 < len(f.Documents):
			return f.Documents[i+1].Line - 1
		default:
			return len(f.lines)
		}
	}
	if line > len(f.lines) {
		return line
	}
	first := f.lines[line-1]
	isItem := func(text []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(text, " "), []byte("- ")) }
	indent := len(first) - len(bytes.TrimLeft(first, " "))
	for at := line + 1; at <= len(f.lines); at++ {
		text := f.lines[at-1]
		if bytes.HasPrefix(text, []byte("---")) {
			return at - 1
		}
		if passive(text) {
			continue
		}
		here := len(text) - len(bytes.TrimLeft(text, " "))
		if here < indent || here == indent && (isItem(first) || !isItem(text)) {
			return at - 1
		}
	}
	return len(f.lines)
}

// suppressed returns the findings without those that a comment suppresses, and one for each comment that is bad or
// suppresses nothing.
func (f *File) suppressed(findings []Finding) []Finding {
	if len(f.comments) == 0 {
		return findings
	}
	used := make([]bool, len(f.comments))
	kept := slices.DeleteFunc(findings, func(finding Finding) bool {
		hit := false
		for i, c := range f.comments {
			if c.bad == "" && slices.Contains(c.codes, finding.Code) && finding.Line >= c.from && finding.Line <= c.to {
				used[i], hit = true, true
			}
		}
		return hit
	})
	for i, c := range f.comments {
		switch {
		case c.bad != "":
			kept = append(kept, f.finding(BadComment, "", 0, c.line, commentWord, c.bad))
		case !used[i]:
			kept = append(kept, f.finding(IdleComment, "", 0, c.line, commentWord, "there is nothing to suppress here"))
		}
	}
	return kept
}
