package show

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/sim"
)

// Case is what came of one scenario.
type Case struct {
	Name, File string
	Result     *sim.Result     // nil: Err says why
	Policies   []sim.PolicyRow // what its policies come to, if that was asked for
	Err        error
}

// Kinds of checks besides those of expectations.
const (
	KindInvariant = "invariant"
	KindConverged = "converged" // the federation did, before the first step
	KindRuns      = "runs"      // control planes take all of its documents
)

// Check is one thing that held, or did not.
type Check struct {
	ID           string // stable within the scenario
	Kind         string // of an expectation, or one of the constants
	Subject      string
	File         string
	Line, Column int // 0: of the file as a whole
	At           time.Duration
	Passed       bool
	Broken       bool          // not because an expectation was wrong: the scenario could not be run, did not converge, or broke an invariant
	Lines        []string      // of one that failed: what was wanted, what was got, and why, for people
	Outcome      *sim.Outcome  // of an expectation
	Duration     time.Duration // that it took to check, of the machine's clock
}

// Message returns the first things to know about a check that failed, in one line.
func (c Check) Message() string {
	if o := c.Outcome; o != nil {
		text := fmt.Sprintf("want %s, got %s", o.Want, o.Got)
		if o.Comparator != "" {
			text += fmt.Sprintf(" (decided by %s)", o.Comparator)
		}
		if o.Hint != "" {
			text += "; " + o.Hint
		}
		return text
	}
	return strings.Join(c.Lines, "; ")
}

// Title returns what a check is about: the kind, and the subject if there is one.
func (c Check) Title() string { return strings.TrimSpace(c.Kind + " " + c.Subject) }

// Passed says whether all of a case is as it should be.
func (c Case) Passed() bool { return c.Err == nil && c.Result.Status == sim.Passed }

// Checks returns all checks of the case: its expectations in the order of the file and of time, then the invariants. That it runs and
// converges is among them only if it does not, or if there is nothing else to say.
func (c Case) Checks() []Check {
	if c.Err != nil {
		check := Check{ID: KindRuns, Kind: KindRuns, Subject: c.Name, File: c.File, Broken: true, Lines: strings.Split(c.Err.Error(), "\n")}
		return []Check{check}
	}
	var all []Check
	for i := range c.Result.Expectations {
		all = append(all, c.expectation(&c.Result.Expectations[i]))
	}
	if c.Result.Problem != "" {
		all = append(all, Check{
			ID: KindConverged, Kind: KindConverged, File: c.File, Broken: true,
			Lines: []string{"it does not come to rest: " + c.Result.Problem, c.seed()}, Duration: c.Result.Duration,
		})
	}
	for _, i := range c.Result.Invariants {
		check := Check{ID: "invariants." + i.Invariant, Kind: KindInvariant, Subject: i.Invariant, File: c.File, Passed: i.Status == sim.Passed, Duration: i.Duration}
		if !check.Passed {
			check.Broken, check.Lines = true, append(slices.Clone(i.Reasons), c.seed())
		}
		all = append(all, check)
	}
	if len(all) == 0 {
		all = append(all, Check{ID: KindConverged, Kind: KindConverged, File: c.File, Passed: true, Duration: c.Result.Duration})
	}
	return all
}

func (c Case) seed() string { return fmt.Sprintf("seed %d", c.Result.Seed) }

func (c Case) expectation(o *sim.Outcome) Check {
	check := Check{
		ID: o.ID, Kind: string(o.Kind), Subject: o.Subject, File: o.File, Line: o.Line, Column: o.Column, At: o.At,
		Passed: o.Status == sim.Passed, Outcome: o, Duration: o.Duration,
	}
	if !check.Passed {
		check.Lines = why(*o)
	}
	return check
}

// why says what was wanted and what was got, the candidates weakest first, the comparator that decided, and a hint.
func why(o sim.Outcome) []string {
	lines := []string{"want  " + o.Want, "got   " + o.Got}
	if len(o.Candidates) > 0 {
		lines = append(lines, "candidates, weakest first:")
		var rows [][]string
		for i, c := range o.Candidates {
			last := ""
			if c.Wins {
				last = "<- in force"
			}
			rows = append(rows, []string{fmt.Sprint("  ", i+1), c.Policy, c.Item, c.Role, sim.ValueText(c.Value), last})
		}
		lines = append(lines, aligned(rows)...)
	}
	if o.Comparator != "" {
		lines = append(lines, fmt.Sprintf("decided by %s (comparator %d of %d)", o.Comparator, slices.Index(comparators, o.Comparator)+1, len(comparators)))
	}
	if o.Hint != "" {
		lines = append(lines, "hint: "+o.Hint)
	}
	return lines
}

// Summary counts what came of cases.
type Summary struct {
	Scenarios  int           `json:"scenarios"`
	NotRun     int           `json:"notRun"`  // could not be run
	Unsound    int           `json:"unsound"` // did not converge, or broke an invariant
	Expected   int           `json:"expectations"`
	Passed     int           `json:"passed"` // expectations
	Invariants int           `json:"invariants"`
	Held       int           `json:"held"`
	Warnings   int           `json:"warnings"` // of control planes about policies, as far as they were asked
	Duration   time.Duration `json:"durationNs"`
}

// Summarise counts. The duration is the sum of those of the cases.
func Summarise(cases []Case) Summary {
	s := Summary{Scenarios: len(cases)}
	for _, c := range cases {
		if c.Err != nil {
			s.NotRun++
			continue
		}
		passed, all := c.Result.Counted()
		s.Passed, s.Expected = s.Passed+passed, s.Expected+all
		s.Duration += c.Result.Duration
		if c.Result.Status == sim.Unsound {
			s.Unsound++
		}
		for _, i := range c.Result.Invariants {
			s.Invariants++
			if i.Status == sim.Passed {
				s.Held++
			}
		}
		for _, row := range c.Policies {
			s.Warnings += len(row.Warnings)
		}
	}
	return s
}

// String returns "7 of 8 expectations passed, 5 of 5 invariants held", and what else there is to say.
func (s Summary) String() string {
	words := []string{fmt.Sprintf("%d of %s passed", s.Passed, plural(s.Expected, "expectation", "expectations"))}
	if s.Invariants > 0 {
		words = append(words, fmt.Sprintf("%d of %s held", s.Held, plural(s.Invariants, "invariant", "invariants")))
	}
	if s.NotRun > 0 {
		words = append(words, plural(s.NotRun, "scenario", "scenarios")+" could not be run")
	}
	if s.Scenarios > 1 {
		words[0] = plural(s.Scenarios, "scenario", "scenarios") + ": " + words[0]
	}
	return strings.Join(words, ", ")
}

func plural(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
