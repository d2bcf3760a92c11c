package show

import (
	"encoding/json"
	"io"
	"time"

	"github.com/meridian-mesh/meridian/sim"
)

// Line is one line of JSON.
type Line struct {
	Record     string          `json:"record"` // check; in the last lines, coverage and summary
	Scenario   string          `json:"scenario,omitempty"`
	ID         string          `json:"id,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	File       string          `json:"file,omitempty"`
	Line       int             `json:"line,omitempty"`
	Column     int             `json:"column,omitempty"`
	At         string          `json:"at,omitempty"`     // of the virtual clock, of a step
	Status     string          `json:"status,omitempty"` // passed, failed, broken
	Subject    string          `json:"subject,omitempty"`
	Want       string          `json:"want,omitempty"`
	Got        string          `json:"got,omitempty"`
	Proxy      string          `json:"proxy,omitempty"`
	Candidates []sim.Candidate `json:"candidates,omitempty"` // weakest first
	Comparator string          `json:"comparator,omitempty"`
	Hint       string          `json:"hint,omitempty"`
	Reasons    []string        `json:"reasons,omitempty"` // of what is broken
	DurationMS float64         `json:"durationMs"`        // of the machine's clock: of a check, or of all scenarios
	Seed       uint64          `json:"seed,omitempty"`
	Coverage   *Coverage       `json:"coverage,omitempty"`
	Summary    *Summary        `json:"summary,omitempty"`
}

// Statuses of a line.
const (
	statusPassed = "passed"
	statusFailed = "failed"
	statusBroken = "broken" // it could not be run, did not converge, or broke an invariant
)

// JSON writes cases as lines of JSON: one for each check, in the order of the cases, then the coverage unless it
// is nil, and a summary at the end.
func JSON(w io.Writer, cases []Case, covered *Coverage) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, c := range cases {
		for _, check := range c.Checks() {
			if err := enc.Encode(check.line(c)); err != nil {
				return err
			}
		}
	}
	if covered != nil {
		if err := enc.Encode(Line{Record: "coverage", Coverage: covered}); err != nil {
			return err
		}
	}
	s := Summarise(cases)
	return enc.Encode(Line{Record: "summary", Summary: &s, DurationMS: milliseconds(s.Duration)})
}

func (c Check) line(of Case) Line {
	l := Line{
		Record: "check", Scenario: of.Name, ID: c.ID, Kind: c.Kind, File: c.File, Line: c.Line, Column: c.Column, Status: statusPassed,
		Subject: c.Subject, DurationMS: milliseconds(c.Duration),
	}
	if of.Result != nil {
		l.Seed = of.Result.Seed
	}
	if c.At > 0 {
		l.At = c.At.String()
	}
	if o := c.Outcome; o != nil {
		l.Want, l.Got, l.Proxy, l.Candidates, l.Comparator, l.Hint = o.Want, o.Got, o.Proxy, o.Candidates, string(o.Comparator), o.Hint
	} else {
		l.Reasons = c.Lines
	}
	switch {
	case c.Broken:
		l.Status = statusBroken
	case !c.Passed:
		l.Status = statusFailed
	}
	return l
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
