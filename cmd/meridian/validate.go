package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/lint"
)

func (c *cli) validateCommand() *cobra.Command {
	var strictRole bool
	output := newChoice("table", "json", "sarif", "github")
	failOn := newChoice("invalid", "warn")
	cmd := &cobra.Command{
		Use:   "validate -f PATH...",
		Short: "Check the documents of files, folders or standard input, without a control plane",
		Long: "Check the documents of files, folders or standard input as a control plane would, without one. What depends on\n" +
			"what is stored (does a reference resolve, is there such a mesh) is not checked.\n\n" +
			"The exit code is 0 if every document is valid, 2 if one is not, and 1 if there are warnings and --fail-on is warn.",
		Example: "  meridian validate -f policies/\n  meridian validate -f policies/ --fail-on warn -o github",
	}
	files := filesFlag(cmd)
	cmd.Flags().VarP(output, "output", "o", "what to print; sarif (2.1.0) and github are for code review tools")
	cmd.Flags().Var(failOn, "fail-on", "what makes the command fail")
	cmd.Flags().BoolVar(&strictRole, "strict-role", false, "a declared role that a policy does not have is an error, not a warning")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		r, err := c.validate(ctx, append(*files, args...), strictRole)
		if err != nil {
			return err
		}
		if err := c.printReport(output.value, r); err != nil {
			return err
		}
		switch {
		case r.Invalid > 0:
			return usage("%s of %s", plural(r.Invalid, "bad document", "bad documents"), plural(r.Documents, "document", "documents"))
		case r.Warnings > 0 && failOn.value == "warn":
			return fmt.Errorf("%s, and --fail-on is warn", plural(r.Warnings, "warning", "warnings"))
		case output.value == "table":
			fmt.Fprintf(c.out, "%s, all valid\n", plural(r.Documents, "document", "documents"))
		}
		return nil
	})
	return cmd
}

// report is what validate found.
type report struct {
	Documents int       `json:"documents"`
	Invalid   int       `json:"invalid"`  // documents
	Warnings  int       `json:"warnings"` // findings
	Findings  []finding `json:"findings"` // in the order of the files, and by line
}

// Levels of a finding.
const (
	levelError   = "error"
	levelWarning = "warning"
	levelNote    = "note"
)

// finding is one thing to say about one document.
type finding struct {
	Level    string `json:"level"`
	Rule     string `json:"rule"` // one of rules
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column,omitempty"`
	Document int    `json:"document,omitempty"` // index within the file, from 1; 0 if the file is one document
	Resource string `json:"resource,omitempty"` // MeshTimeout default/x
	Field    string `json:"field,omitempty"`
	Reason   string `json:"reason"`
}

// rule is a kind of findings, for tools that group by them.
type rule struct{ id, text, help string }

var rules = []rule{
	ruleFor(lint.Syntax), ruleFor(lint.Metadata), ruleFor(lint.Reference), ruleFor(lint.Spec), ruleFor(lint.OtherRole),
	{"advice", "The document is valid, but does something that its author should know", ""},
}

func ruleFor(code lint.Code) rule {
	r := lint.RuleOf(code)
	return rule{r.Name, r.Title, ""}
}

// ruleOf returns the rule that a violation of this field breaks.
func ruleOf(kind, field string) string { return lint.RuleOf(lint.Area(kind, field)).Name }

// validate checks the documents that paths name, several files at a time. A count of files is shown while it runs if
// standard error is a terminal.
func (c *cli) validate(ctx context.Context, paths []string, strictRole bool) (report, error) {
	files, err := filesOf(paths)
	if err != nil {
		return report{}, err
	}
	v := validator{schemas: policy.Schemas(), strictRole: strictRole, maxBytes: c.maxDocumentBytes}
	reports := make([]report, len(files))
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	stop := showProgress(c.err, &done, len(files))
	for i, file := range files {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			src, err := c.source(ctx, file)
			if err != nil {
				return err
			}
			reports[i], err = v.check(src)
			done.Add(1)
			return err
		})
	}
	err = g.Wait()
	stop()
	if err != nil {
		return report{}, err
	}
	total := report{Findings: []finding{}}
	for _, r := range reports {
		total.Documents += r.Documents
		total.Invalid += r.Invalid
		total.Warnings += r.Warnings
		total.Findings = append(total.Findings, r.Findings...)
	}
	if total.Documents == 0 {
		return total, noDocuments(paths)
	}
	return total, nil
}

// showProgress is showProgressOf files.
func showProgress(w io.Writer, done *atomic.Int64, total int) (stop func()) {
	return showProgressOf(w, done, total, "files")
}

// showProgressOf prints done of total every now and then if w is a terminal; stop wipes it away.
func showProgressOf(w io.Writer, done *atomic.Int64, total int, what string) (stop func()) {
	const pace = 200 * time.Millisecond
	if f, ok := w.(*os.File); !ok {
		return func() {}
	} else if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, "\r%d of %d %s", done.Load(), total, what)
			case <-ctx.Done():
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// validator checks the documents of one source. It may be used by any number of goroutines.
type validator struct {
	schemas    resource.Schemas
	strictRole bool
	maxBytes   int // of a document; 0: the default
}

// anyZone stands for the plane that a document will be written on, which is not known here: what is true of a zone
// only, or of global only, is not worth a warning.
var anyZone = resource.Plane{Zone: "any"}

func (v validator) check(src source) (report, error) {
	var r report
	docs, err := v.schemas.Read(src.name, src.data, resource.ReadOptions{MaxBytes: v.maxBytes})
	invalid, err := eachInvalid(err)
	if err != nil {
		return r, err
	}
	r.Documents, r.Invalid = len(docs)+len(invalid), len(invalid)
	for _, e := range invalid {
		key := ""
		switch {
		case e.Key.Name != "":
			key = e.Key.String()
		case e.Key.Kind != "":
			key = e.Key.Kind
		}
		for _, violation := range e.Violations {
			r.Findings = append(r.Findings, finding{
				Level: levelError, Rule: ruleOf(e.Key.Kind, violation.Field), File: src.name, Line: violation.Line,
				Document: e.Index, Resource: key, Field: violation.Field, Reason: violation.Reason,
			})
		}
	}
	for _, doc := range docs {
		f := finding{Level: levelWarning, Rule: "advice", File: src.name, Line: doc.Line, Resource: doc.Resource.Key.String()}
		if r.Documents > 1 {
			f.Document = doc.Index
		}
		warnings, roleReason := v.adviceOn(doc.Resource)
		for _, warning := range warnings {
			f.Reason = warning
			r.Findings = append(r.Findings, f)
			r.Warnings++
		}
		if roleReason != "" {
			f.Rule, f.Field, f.Reason = "role", policy.RoleField, roleReason
			if v.strictRole {
				f.Level = levelError
				r.Invalid++
			} else {
				r.Warnings++
			}
			r.Findings = append(r.Findings, f)
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b finding) int { return a.Line - b.Line })
	return r, nil
}

// adviceOn returns the warnings about a valid document, and what is wrong with the role that it declares.
func (v validator) adviceOn(r resource.Resource) (warnings []string, role string) {
	computed, _, err := policy.RoleOf(r.Kind, r.Namespace(), r.Spec)
	if err == nil {
		role = policy.DeclaredRole(r, computed)
	}
	d, _ := resource.LookupKind(r.Kind)
	r.Labels = resource.ComputeLabels(r, d, anyZone, computed)
	return append(policy.Warnings(r), v.schemas.Warnings(r)...), role
}

// printReport prints what was found in one of the forms of -o.
func (c *cli) printReport(output string, r report) error {
	switch output {
	case "json":
		return c.print("json", r)
	case "sarif":
		return c.print("json", sarif(rules, r.Findings))
	case "github":
		return c.printLines(r.Findings, finding.github)
	}
	return c.printLines(r.Findings, finding.text)
}

func (c *cli) printLines(all []finding, line func(finding) string) error {
	var errs error
	for _, f := range all {
		_, err := fmt.Fprintln(c.out, line(f))
		errs = errors.Join(errs, err)
	}
	return errs
}

// text returns the finding as apply tells it: file:line: document 2: MeshTimeout default/x: field: reason.
func (f finding) text() string {
	e := resource.InvalidError{Source: f.File, Index: f.Document, Violations: []resource.Violation{{Line: f.Line, Reason: f.message()}}}
	if f.Level == levelWarning {
		e.Violations[0].Reason = "warning: " + f.message()
	}
	return e.Error()
}

// message returns what is wrong, without where in the files it is.
func (f finding) message() string {
	var words []string
	for _, word := range []string{f.Resource, f.Field, f.Reason} {
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(words, ": ")
}
