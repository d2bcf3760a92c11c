package show

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meridian-mesh/meridian/sim"
)

// TextOptions of Text.
type TextOptions struct {
	FailOnly bool // leave out what is as it should be
	NoTime   bool // leave out how long it took by both clocks, so that equal scenarios give equal text
}

// Text writes a case for people: a line about the scenario, the table of its policies if the case has it, a line for each
// expectation, one for all invariants that held, and below what failed why.
func Text(w io.Writer, c Case, o TextOptions) error {
	if o.FailOnly && c.Passed() {
		return nil
	}
	var b strings.Builder
	b.WriteString(c.heading(o) + "\n")
	if len(c.Policies) > 0 {
		b.WriteString("\n" + policyTable(c.Policies))
	}
	if checks := c.shown(o); len(checks) > 0 {
		b.WriteString("\n" + checkList(checks))
	}
	if c.Err == nil && !o.FailOnly {
		b.WriteString(Summarise([]Case{c}).String() + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// heading returns the file, what is in it, and how long it took.
func (c Case) heading(o TextOptions) string {
	line := c.File
	if c.Name != "" && !strings.HasPrefix(lastOf(c.File), c.Name) {
		line += ": " + c.Name
	}
	if c.Err != nil {
		return line
	}
	n := c.Result.Counts
	counts := []string{
		plural(n.Zones, "zone", "zones"), plural(n.Proxies, "proxy", "proxies"),
		plural(n.Services, "service", "services"), plural(n.Policies, "policy", "policies"),
	}
	if n.Steps > 0 {
		counts = append(counts, plural(n.Steps, "step", "steps"))
	}
	line += "\n" + strings.Join(counts, ", ") + fmt.Sprintf("; seed %d", c.Result.Seed)
	if c.Result.Virtual > 0 && !o.NoTime {
		line += fmt.Sprintf("; %s of its own clock", c.Result.Virtual.Round(time.Millisecond))
	}
	if !o.NoTime {
		line += fmt.Sprintf("; took %s", c.Result.Duration.Round(time.Millisecond))
	}
	return line
}

func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// shown returns the checks that are to be listed; invariants that held are one.
func (c Case) shown(o TextOptions) []Check {
	var all []Check
	held, invariants := 0, 0
	for _, check := range c.Checks() {
		if check.Kind == KindInvariant {
			invariants++
			if check.Passed {
				held++
				continue
			}
		}
		if !check.Passed || !o.FailOnly {
			all = append(all, check)
		}
	}
	if held > 0 && !o.FailOnly {
		all = append(all, Check{Kind: "invariants", Subject: fmt.Sprintf("%d of %d", held, invariants), Passed: true})
	}
	return all
}

func checkList(checks []Check) string {
	var rows [][]string
	timed := false
	for _, c := range checks {
		timed = timed || c.At > 0
	}
	for _, c := range checks {
		word := "PASS"
		if !c.Passed {
			word = "FAIL"
		}
		row := []string{word}
		if timed {
			at := ""
			if c.At > 0 {
				at = c.At.String()
			}
			row = append(row, at)
		}
		subject := c.Subject
		if !c.Passed && c.Line > 0 {
			subject = strings.TrimSpace(fmt.Sprintf("%s  (%s:%d:%d)", subject, c.File, c.Line, c.Column))
		}
		if c.Passed && c.Kind == string(sim.ExpectEffective) {
			subject += "  " + c.Outcome.Want
		}
		rows = append(rows, append(row, c.Kind, subject))
	}
	var b strings.Builder
	for i, line := range aligned(rows) {
		b.WriteString(line + "\n")
		for _, more := range checks[i].Lines {
			b.WriteString("        " + more + "\n")
		}
	}
	return b.String()
}

// aligned returns rows of equally many cells as lines, two blanks between columns.
func aligned(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, cell := range row {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell)+2))
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// policyTable returns the table of policies by zones, and below it why a policy is masked or not sent, and the warnings.
func policyTable(rows []sim.PolicyRow) string {
	zones := []string{}
	for _, cell := range rows[0].Cells {
		zones = append(zones, strings.ToUpper(cell.Zone))
	}
	table := [][]string{append([]string{"POLICY", "TYPE", "ROLE"}, zones...)}
	var notes []string
	for _, row := range rows {
		line := []string{row.Policy, row.Type, row.Role}
		if row.Shadow {
			line[2] += " (shadow)"
		}
		for _, cell := range row.Cells {
			line = append(line, CellText(cell))
			if note := CellNote(cell); note != "" {
				notes = append(notes, fmt.Sprintf("  %s in %s: %s", row.Policy, cell.Zone, note))
			}
		}
		table = append(table, line)
		for _, w := range row.Warnings {
			notes = append(notes, fmt.Sprintf("  %s: warning %s: %s", row.Policy, w.Code, w.Text))
		}
	}
	text := strings.Join(aligned(table), "\n") + "\n"
	if len(notes) > 0 {
		text += "\n" + strings.Join(notes, "\n") + "\n"
	}
	return text
}

// CellText returns what a policy comes to in a zone, in a few words: wins 2/3 is of the proxies that it selects.
func CellText(c sim.Cell) string {
	switch c.State {
	case sim.CellWins:
		return fmt.Sprintf("wins %d/%d", c.Wins, c.Matched)
	case sim.CellMasked:
		return fmt.Sprintf("masked %d/%d", c.Masked, c.Matched)
	case sim.CellIdle:
		return "says nothing"
	}
	return string(c.State)
}

// CellNote says who masks a policy by which comparator, or why it is not sent; "" if there is nothing to say.
func CellNote(c sim.Cell) string {
	switch {
	case c.State == sim.CellNotSent && c.Rule != "":
		return fmt.Sprintf("not sent (%s): %s", c.Rule, c.Because)
	case c.State == sim.CellNotSent:
		return "not sent: " + c.Because
	case c.State == sim.CellIdle:
		return "it selects proxies, but none of its items applies to anything"
	case c.Masked > 0 && len(c.By) > 0:
		var by []string
		for i, policy := range c.By {
			by = append(by, fmt.Sprintf("%s (%s)", policy, c.MaskedBy[i]))
		}
		return fmt.Sprintf("masked on %d of %d by %s", c.Masked, c.Matched, strings.Join(by, ", "))
	}
	return ""
}
