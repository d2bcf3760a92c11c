package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/lint"
	"github.com/meridian-mesh/meridian/sim/show"
)

func (c *cli) simTestCommand() *cobra.Command {
	format := newChoice("text", "junit", "tap", "json", "sarif", "github")
	failOn := newChoice("failed", "warn")
	var o simTestOptions
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Test all scenarios of files and folders, for people and for CI",
		Long: "Test all scenarios of files and folders (default: this folder, recursively): each runs, and what is expected of it\n" +
			"is checked. --out writes the report to a file, and prints text all the same.\n\n" +
			"The exit code is 0 if everything holds, 1 if an expectation does not, 2 if a file or document is not valid, 3 if a\n" +
			"federation does not converge or an invariant is broken (the seed is printed), 4 if there are warnings and\n" +
			"--fail-on is warn, and 5 if there is no scenario and --require-tests.",
		Example: "  meridian sim test policies/\n  meridian sim test . --run 'checkout|shop' --fail-only\n" +
			"  meridian sim test . --require-tests --format junit --out report.xml",
	}
	cmd.Flags().StringVar(&o.run, "run", "", "only scenarios whose file or name this regular expression matches")
	cmd.Flags().Var(format, "format", "what to print or to write")
	cmd.Flags().StringVar(&o.out, "out", "", "file to write the report to")
	cmd.Flags().BoolVar(&o.failOnly, "fail-only", false, "in text, leave out what is as it should be")
	cmd.Flags().BoolVar(&o.requireTests, "require-tests", false, "fail if there is no scenario, or none of them expects anything")
	cmd.Flags().BoolVar(&o.coverage, "coverage", false, "say what no scenario puts to the test")
	cmd.Flags().BoolVar(&o.noTime, "no-time", false, "in text, leave out how long it took")
	cmd.Flags().IntVar(&o.parallel, "parallel", runtime.GOMAXPROCS(0), "scenarios that run at a time")
	cmd.Flags().Var(failOn, "fail-on", "what makes the command fail")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o.format, o.failOnWarn = format.value, failOn.value == "warn"
		if len(args) == 0 {
			args = []string{"."}
		}
		return c.simTest(ctx, args, o)
	})
	return cmd
}

type simTestOptions struct {
	run, format, out                                     string
	failOnly, requireTests, coverage, noTime, failOnWarn bool
	parallel                                             int
}

func (c *cli) simTest(ctx context.Context, paths []string, o simTestOptions) error {
	pattern, err := regexp.Compile(o.run)
	if err != nil {
		return usage("--run %q: %v", o.run, err)
	}
	if o.parallel < 1 {
		return usage("--parallel %d: want at least 1", o.parallel)
	}
	scenarios, err := c.scenarios(paths...)
	if err != nil {
		return err
	}
	scenarios = slices.DeleteFunc(scenarios, func(s *sim.Scenario) bool {
		return !pattern.MatchString(s.File) && !pattern.MatchString(s.Name)
	})
	if o.requireTests && !slices.ContainsFunc(scenarios, expectsSomething) {
		return config.Exit(exitNoDocuments, fmt.Errorf("no test in %s", strings.Join(paths, ", ")))
	}
	notes := slices.Contains([]string{"junit", "sarif", "github"}, o.format)
	cases, err := c.simulateAll(ctx, scenarios, o.parallel, o.failOnWarn || notes, o.coverage)
	if err != nil {
		return err
	}
	var covered *show.Coverage
	if o.coverage {
		of, err := show.Cover(ctx, scenarios, cases)
		if err != nil {
			return err
		}
		covered = &of
	}
	if o.out != "" || o.format != "text" {
		if err := c.writeTo(o.out, func(w io.Writer) error { return o.write(w, cases, covered) }); err != nil {
			return err
		}
	}
	if o.out != "" || o.format == "text" {
		if err := o.writeText(c.out, cases, covered); err != nil {
			return err
		}
	} else if covered != nil && o.format != "json" {
		if err := covered.Text(c.err); err != nil {
			return err
		}
	}
	return verdictOf(cases, o.failOnWarn)
}

func expectsSomething(s *sim.Scenario) bool {
	return len(s.Expect) > 0 || slices.ContainsFunc(s.Steps, func(step sim.Step) bool { return len(step.Expect) > 0 })
}

// write writes the report in the format that was asked for.
func (o simTestOptions) write(w io.Writer, cases []show.Case, covered *show.Coverage) error {
	switch o.format {
	case "junit":
		return show.JUnit(w, cases)
	case "tap":
		return show.TAP(w, cases)
	case "json":
		return show.JSON(w, cases, covered)
	case "sarif":
		return printTo(w, "json", sarif(simRules(), simFindings(cases)))
	case "github":
		for _, f := range simFindings(cases) {
			if _, err := fmt.Fprintln(w, f.github()); err != nil {
				return err
			}
		}
		return nil
	}
	return o.writeText(w, cases, covered)
}

func (o simTestOptions) writeText(w io.Writer, cases []show.Case, covered *show.Coverage) error {
	if len(cases) == 0 {
		_, err := fmt.Fprintln(w, "no scenario")
		return err
	}
	text := show.TextOptions{FailOnly: o.failOnly, NoTime: o.noTime}
	for _, of := range cases {
		if o.failOnly && of.Passed() {
			continue
		}
		if err := show.Text(w, of, text); err != nil {
			return err
		}
		if len(cases) > 1 || covered != nil {
			fmt.Fprintln(w)
		}
	}
	if covered != nil {
		if err := covered.Text(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if len(cases) == 1 && !o.failOnly {
		return nil // it was said below the scenario
	}
	_, err := fmt.Fprintln(w, show.Summarise(cases))
	return err
}

// simRules are the kinds of checks that can fail, for tools that group by them.
func simRules() []rule {
	rules := []rule{
		{id: string(sim.ExpectRole), text: "A policy does not have the role that is expected"},
		{id: string(sim.ExpectSynced), text: "A resource is not where it is expected"},
		{id: string(sim.ExpectEffective), text: "A value in force is not the one that is expected"},
		{id: string(sim.ExpectMatches), text: "A policy does not configure the proxies that are expected"},
		{id: string(sim.ExpectWarnings), text: "The warnings about a policy are not those that are expected"},
		{id: string(sim.ExpectChanged), text: "A step has changed other values than expected"},
		{id: string(sim.ExpectStale), text: "A zone has what it is expected not to have yet"},
		{id: string(sim.ExpectConverged), text: "The federation takes longer to converge than expected"},
		{id: string(sim.ExpectNoGhosts), text: "Something is left of a zone that was removed"},
		{id: show.KindInvariant, text: "An invariant is broken"},
		{id: show.KindConverged, text: "The federation does not converge"},
		{id: show.KindRuns, text: "The scenario cannot be run"},
		{id: show.KindMasked, text: "A policy gives no proxy a value before the first step: others are stronger everywhere"},
	}
	for _, r := range lint.Rules {
		if slices.Contains(resource.WarningCodes, resource.WarningCode(r.Name)) {
			rules = append(rules, rule{r.Name, r.Title, fmt.Sprintf("To mend it: %s. See %s.", r.Mend, r.Page())})
		}
	}
	return rules
}

// simFindings returns the checks that failed, and what there is to note about policies.
func simFindings(cases []show.Case) []finding {
	var all []finding
	for _, of := range cases {
		for _, check := range of.Checks() {
			if check.Passed {
				continue
			}
			all = append(all, finding{
				Level: levelError, Rule: check.Kind, File: cmp.Or(check.File, of.File), Line: check.Line, Column: check.Column,
				Resource: check.Subject, Reason: check.Message(),
			})
		}
	}
	for _, n := range show.Notes(cases) {
		level := levelNote
		if n.Warning {
			level = levelWarning
		}
		all = append(all, finding{Level: level, Rule: n.Rule, File: n.File, Line: n.Line, Resource: n.Type + " " + n.Policy, Field: n.Field, Reason: n.Text})
	}
	return all
}
