package show

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/sim"
)

// Coverage is what cases have put to the test, and what they have not.
type Coverage struct {
	Policies    int              `json:"policies"`    // of all scenarios
	NeverWin    []CoveragePolicy `json:"neverWin"`    // they give no proxy of any zone a value
	Zones       int              `json:"zones"`       // of all scenarios
	NeverAsked  []CoverageZone   `json:"neverAsked"`  // no expectation and no step names them, or a proxy of theirs
	Comparators []string         `json:"comparators"` // that decided something somewhere, in the order in which they are asked
	Undecided   []string         `json:"neverDecided"`
	Faults      []string         `json:"faults"` // kinds of steps that some scenario has
	NoFaults    []string         `json:"neverHappened"`
}

// CoveragePolicy is a policy of a scenario.
type CoveragePolicy struct {
	File   string `json:"file"`
	Policy string `json:"policy"`
	Type   string `json:"type"`
}

// CoverageZone is a zone of a scenario.
type CoverageZone struct {
	File string `json:"file"`
	Zone string `json:"zone"`
}

// comparators are all of them, in the order in which they are asked.
var comparators = []policy.Comparator{
	policy.ByKind, policy.ByOrigin, policy.ByRole, policy.ByToKind, policy.BySection, policy.ByName, policy.ByItem,
}

// faults are what may happen in a step.
var faults = []sim.ActionKind{
	sim.ActionApply, sim.ActionDelete, sim.ActionPartition, sim.ActionStall, sim.ActionCutAfter, sim.ActionHeal, sim.ActionCrash, sim.ActionRestart,
	sim.ActionRemoveZone, sim.ActionAddZone, sim.ActionSkew,
}

// Cover measures the coverage of cases; scenarios are those of the cases, in the same order. Cases without a state (Case.Err, or not
// converged) cover nothing. Cost: that of all effective values of all scenarios.
func Cover(ctx context.Context, scenarios []*sim.Scenario, cases []Case) (Coverage, error) {
	c := Coverage{NeverWin: []CoveragePolicy{}, NeverAsked: []CoverageZone{}}
	decided, happened := map[policy.Comparator]bool{}, map[sim.ActionKind]bool{}
	for i, s := range scenarios {
		for _, step := range s.Steps {
			happened[step.Action.Kind] = true
		}
		c.zones(s)
		if cases[i].Err != nil || cases[i].Result.Problem != "" {
			continue
		}
		if err := c.policies(ctx, cases[i]); err != nil {
			return c, err
		}
		if err := comparatorsOf(ctx, cases[i].Result, decided); err != nil {
			return c, err
		}
	}
	c.Comparators, c.Undecided = parted(comparators, decided)
	c.Faults, c.NoFaults = parted(faults, happened)
	return c, nil
}

// parted returns the words that are in a set, and those that are not.
func parted[T ~string](all []T, set map[T]bool) (in, out []string) {
	in, out = []string{}, []string{}
	for _, word := range all {
		if set[word] {
			in = append(in, string(word))
		} else {
			out = append(out, string(word))
		}
	}
	return in, out
}

func (c *Coverage) policies(ctx context.Context, of Case) error {
	rows := of.Policies
	if rows == nil {
		var err error
		if rows, err = of.Result.Policies(ctx); err != nil {
			return err
		}
	}
	for _, row := range rows {
		c.Policies++
		wins := slices.ContainsFunc(row.Cells, func(cell sim.Cell) bool { return cell.State == sim.CellWins || cell.State == sim.CellNotThere })
		if !wins {
			c.NeverWin = append(c.NeverWin, CoveragePolicy{of.File, row.Policy, row.Type})
		}
	}
	return nil
}

// comparatorsOf notes the comparators that decided about some value of some proxy.
func comparatorsOf(ctx context.Context, r *sim.Result, decided map[policy.Comparator]bool) error {
	if len(r.Proxies("")) == 0 {
		return nil
	}
	answers, err := r.Effective(ctx, sim.Query{})
	if err != nil {
		return err
	}
	note := func(rules []policy.Applied) {
		for _, rule := range rules {
			for _, field := range rule.Fields {
				for _, loser := range field.Losers {
					decided[loser.By] = true
				}
			}
		}
	}
	for _, a := range answers {
		for _, to := range a.Destinations {
			note(to.Rules)
		}
		for _, from := range a.Inbounds {
			note(from.Rules)
		}
		note(a.EffectiveAnswer.Proxy)
	}
	return nil
}

// zones notes the zones that nothing of the scenario is about.
func (c *Coverage) zones(s *sim.Scenario) {
	named := map[string]bool{}
	key := func(keys ...string) {
		for _, k := range keys {
			zone, _, _ := strings.Cut(k[strings.IndexByte(k, ' ')+1:], "/")
			named[zone] = true
		}
	}
	expected := func(all []sim.Expectation) {
		for _, x := range all {
			key(x.Policy, x.From, x.Zone)
			key(x.Proxies...)
			key(x.To...)
			for _, not := range x.NotTo {
				key(not.Zone)
			}
		}
	}
	expected(s.Expect)
	for _, step := range s.Steps {
		key(step.Action.Zones...)
		expected(step.Expect)
	}
	for _, zone := range s.Zones {
		c.Zones++
		if !named[zone.Name] && !named["*"] {
			c.NeverAsked = append(c.NeverAsked, CoverageZone{s.File, zone.Name})
		}
	}
}

// Text writes the coverage for people.
func (c Coverage) Text(w io.Writer) error {
	var b strings.Builder
	part := func(what string, done, all int, missing []string) {
		fmt.Fprintf(&b, "  %s: %d of %d\n", what, done, all)
		for _, m := range missing {
			b.WriteString("    " + m + "\n")
		}
	}
	b.WriteString("coverage\n")
	var policies, zones []string
	for _, p := range c.NeverWin {
		policies = append(policies, fmt.Sprintf("never wins: %s %s (%s)", p.Type, p.Policy, p.File))
	}
	for _, z := range c.NeverAsked {
		zones = append(zones, fmt.Sprintf("nothing is expected of it: %s (%s)", z.Zone, z.File))
	}
	never := func(text string, words []string) []string {
		if len(words) == 0 {
			return nil
		}
		return []string{text + ": " + strings.Join(words, ", ")}
	}
	part("policies that win somewhere", c.Policies-len(c.NeverWin), c.Policies, policies)
	part("zones that something is expected of", c.Zones-len(c.NeverAsked), c.Zones, zones)
	part("comparators that decide something", len(c.Comparators), len(comparators), never("never", c.Undecided))
	part("kinds of steps", len(c.Faults), len(faults), never("never", c.NoFaults))
	_, err := io.WriteString(w, b.String())
	return err
}
