package show

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/sim"
)

// KindMasked is the rule of notes about policies that are in force nowhere.
const KindMasked = "masked"

// Note is something about a policy that is no failure, and that its author should know.
type Note struct {
	Rule    string // KindMasked, or the code of a warning of the control plane
	Warning bool   // it is a warning; otherwise it is for information
	File    string
	Line    int    // 0: unknown
	Policy  string // its key
	Type    string
	Field   string // that a warning is about
	Text    string
}

// String returns the note in a line.
func (n Note) String() string {
	where := n.File
	if n.Line > 0 {
		where += fmt.Sprintf(":%d", n.Line)
	}
	return fmt.Sprintf("%s: %s %s: %s: %s", where, n.Type, n.Policy, n.Rule, n.Text)
}

// Notes returns what there is to note about the policies of cases, as far as the cases have them: the warnings of their control planes, and
// which are masked, so that they give no proxy of any zone a value, before the first step. A policy of a file that several scenarios
// include is masked if it is in all of them. Each note is there once, in the order of the cases.
func Notes(cases []Case) []Note {
	type place struct {
		file, policy, kind string
		line               int
	}
	at := func(of Case, row sim.PolicyRow) place {
		if row.File == "" {
			return place{of.File, row.Policy, row.Type, 0}
		}
		return place{row.File, row.Policy, row.Type, row.Line}
	}
	inForce := map[place]bool{}
	for _, of := range cases {
		for _, row := range of.Policies {
			if !masked(row) {
				inForce[at(of, row)] = true
			}
		}
	}
	var all []Note
	add := func(n Note) {
		if !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	for _, of := range cases {
		for _, row := range of.Policies {
			p := at(of, row)
			note := Note{File: p.file, Line: p.line, Policy: row.Policy, Type: row.Type}
			if !inForce[p] {
				n := note
				n.Rule, n.Text = KindMasked, "it gives no proxy a value: "+maskedBy(row)
				add(n)
			}
			for _, w := range row.Warnings {
				n := note
				n.Rule, n.Warning, n.Field = string(w.Code), true, w.Field
				n.Text = strings.TrimLeft(strings.TrimPrefix(w.Text, w.Field), ": ")
				add(n)
			}
		}
	}
	return all
}

// masked says whether a policy applies somewhere, and others are stronger wherever it does. A shadow policy is never in force.
func masked(row sim.PolicyRow) bool {
	some := false
	for _, cell := range row.Cells {
		if cell.State == sim.CellWins {
			return false
		}
		some = some || cell.State == sim.CellMasked
	}
	return some && !row.Shadow
}

// maskedBy says by whom, in every zone.
func maskedBy(row sim.PolicyRow) string {
	var parts []string
	for _, cell := range row.Cells {
		if cell.State == sim.CellMasked {
			parts = append(parts, fmt.Sprintf("in %s %s", cell.Zone, CellNote(cell)))
		}
	}
	return strings.Join(parts, "; ")
}
