package resource

import (
	"errors"
	"fmt"
	"strings"
)

// Conditions that callers act on. Wrapped errors keep them: test with errors.Is.
var (
	ErrNotFound  = errors.New("resource not found")
	ErrConflict  = errors.New("resource version conflict")
	ErrCompacted = errors.New("revision compacted")
	ErrDamaged   = errors.New("store is damaged")
	ErrClosed    = errors.New("store is closed")
)

// Violation is one thing that is wrong with one field of a document.
type Violation struct {
	Line   int    // in the file, from 1; 0 when the document did not come from a file
	Field  string // spec.to[0].default.http.requestTimeout, labels["kuma.io/zone"]; "" for the document as a whole
	Reason string // what was found, what is allowed, the nearest valid word; lower case, no full stop
	Code   ViolationCode
}

// ViolationCode tells apart the violations that programs treat in a way of their own.
type ViolationCode string

// Codes of violations.
const (
	CodeOther        ViolationCode = ""              // what the field says is about all there is to know
	CodeUnknownField ViolationCode = "unknown-field" // the kind has no such field
	CodeTooLarge     ViolationCode = "too-large"     // the document is larger than ReadOptions.MaxBytes
	CodeForeign      ViolationCode = "foreign"       // the document is of another API than ours
)

// InvalidError says everything that is wrong with one document.
type InvalidError struct {
	Source     string // the file, or "" for a request
	Index      int    // of the document within the source, from 1; 0 when the source is one document
	Key        Key    // as far as it is known
	Violations []Violation
}

// Foreign says whether the document is refused because it is of another API than ours: a Deployment among the policies.
func (e *InvalidError) Foreign() bool {
	return len(e.Violations) == 1 && e.Violations[0].Code == CodeForeign
}

// Error returns one line per violation: "file:line: document 2: MeshTimeout default/x: field: reason".
func (e *InvalidError) Error() string {
	lines := make([]string, 0, len(e.Violations))
	for _, v := range e.Violations {
		var b strings.Builder
		if e.Source != "" {
			b.WriteString(e.Source)
			if v.Line > 0 {
				fmt.Fprintf(&b, ":%d", v.Line)
			}
			b.WriteString(": ")
		}
		if e.Index > 0 {
			fmt.Fprintf(&b, "document %d: ", e.Index)
		}
		switch {
		case e.Key.Kind != "" && e.Key.Name != "":
			fmt.Fprintf(&b, "%s: ", e.Key)
		case e.Key.Kind != "":
			b.WriteString(e.Key.Kind + ": ")
		}
		if v.Field != "" {
			b.WriteString(v.Field + ": ")
		}
		b.WriteString(v.Reason)
		lines = append(lines, b.String())
	}
	return strings.Join(lines, "\n")
}
