package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

// Exit codes of the simulator besides those of all commands and of lint; docs/reference/cli.md promises them.
const (
	exitUnsound = 3 // a federation did not converge, or an invariant is broken
)

func (c *cli) simCommand() *cobra.Command {
	run := c.simRunCommand()
	cmd := &cobra.Command{
		Use:   "sim [FILE...]",
		Short: "Simulate a whole federation from one file, and check what is expected of it",
		Long: "Simulate a global control plane and its zones in this process, from a scenario file or a folder of manifests with\n" +
			"global/ and zones/NAME/ in it: the real control planes, sync and resolver, in virtual time. No cluster is needed.\n\n" +
			"`meridian sim FILE` is `meridian sim run FILE`.",
		Example: "  meridian sim init > first.scenario.yaml\n  meridian sim first.scenario.yaml\n  meridian sim test policies/ --format junit --out report.xml",
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().AddFlagSet(run.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		if _, err := os.Stat(args[0]); err != nil && args[0] != "-" && !strings.ContainsAny(args[0], "./") {
			return config.Usage(knownCommand(cmd, args))
		}
		return run.RunE(cmd, args)
	}
	cmd.AddCommand(
		run, c.simTestCommand(), c.simExplainCommand(), c.simSyncCommand(), c.simMatrixCommand(), c.simPlanCommand(),
		c.simRecordCommand(), c.simFuzzCommand(), c.simInitCommand(), c.simFmtCommand(),
	)
	return cmd
}

// scenarios reads those that paths name. It prints everything that is wrong with them on standard error, a line each.
func (c *cli) scenarios(paths ...string) ([]*sim.Scenario, error) {
	all, err := sim.Load(paths...)
	return all, c.badScenario(err)
}

// oneScenario reads the scenario of a command that takes one.
func (c *cli) oneScenario(path string) (*sim.Scenario, error) {
	all, err := c.scenarios(path)
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, usage("no scenario in %s: want a file %s, or a folder with global/ or zones/ in it", path, "*"+sim.Suffixes[0])
	case len(all) > 1:
		var names []string
		for _, s := range all {
			names = append(names, s.File)
		}
		return nil, usage("%s has %d scenarios, name one: %s", path, len(all), strings.Join(names, ", "))
	}
	return all[0], nil
}

// badScenario prints each problem of err on a line of its own and returns what is left to say: exit code 2.
func (c *cli) badScenario(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	problems, rest := problemsOf(err)
	for _, p := range problems {
		fmt.Fprintln(c.err, p)
	}
	if len(problems) > 0 {
		rest = append(rest, fmt.Errorf("%s, nothing was run", plural(len(problems), "problem", "problems")))
	}
	return config.Usage(errors.Join(rest...))
}

// problemsOf takes joined errors apart: those about a place in a file, and the others.
func problemsOf(err error) (problems []*sim.Problem, rest []error) {
	if err == nil {
		return nil, nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			p, r := problemsOf(e)
			problems, rest = append(problems, p...), append(rest, r...)
		}
		return problems, rest
	}
	if p, ok := errors.AsType[*sim.Problem](err); ok {
		return []*sim.Problem{p}, nil
	}
	return nil, []error{err}
}

// simulate runs one scenario for a command that asks it something. A federation that does not converge is an error.
func (c *cli) simulate(ctx context.Context, path string) (*sim.Result, error) {
	s, err := c.oneScenario(path)
	if err != nil {
		return nil, err
	}
	s.Expect, s.Steps, s.Invariants = nil, nil, nil // only what was before them is asked
	r, err := sim.Run(ctx, s, sim.Options{})
	if err != nil {
		return nil, c.badScenario(err)
	}
	if r.Problem != "" {
		return nil, config.Exit(exitUnsound, fmt.Errorf("%s did not converge: %s (seed %d)", s.File, r.Problem, r.Seed))
	}
	return r, nil
}

// simulateAll runs scenarios, some at a time, and returns what came of them in the same order. With table, the cases have what the
// policies come to; without keep, their results are forgotten (sim.Result.Forget). A count is shown while it runs if standard error is
// a terminal.
func (c *cli) simulateAll(ctx context.Context, scenarios []*sim.Scenario, parallel int, table, keep bool) ([]show.Case, error) {
	cases := make([]show.Case, len(scenarios))
	var done atomic.Int64
	stop := showProgressOf(c.err, &done, len(scenarios), "scenarios")
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, s := range scenarios {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			cases[i] = show.Case{Name: s.Name, File: s.File}
			cases[i].Result, cases[i].Err = sim.Run(ctx, s, sim.Options{})
			if table && cases[i].Err == nil && cases[i].Result.Problem == "" {
				cases[i].Policies, cases[i].Err = cases[i].Result.Policies(ctx)
			}
			if !keep && cases[i].Result != nil {
				cases[i].Result.Forget()
			}
			done.Add(1)
			return context.Cause(ctx)
		})
	}
	return cases, g.Wait()
}

// verdictOf returns the error, with its exit code, that cases end a command with.
func verdictOf(cases []show.Case, failOnWarn bool) error {
	s := show.Summarise(cases)
	err := errors.New(s.String())
	switch {
	case s.NotRun > 0:
		return config.Usage(err)
	case s.Unsound > 0:
		var seeds []string
		for _, c := range cases {
			if c.Result.Status == sim.Unsound {
				seeds = append(seeds, fmt.Sprintf("%s with seed %d", c.File, c.Result.Seed))
			}
		}
		return config.Exit(exitUnsound, fmt.Errorf("%w; not sound: %s", err, strings.Join(seeds, ", ")))
	case s.Passed < s.Expected:
		return err
	case s.Warnings > 0 && failOnWarn:
		return config.Exit(exitWarnings, fmt.Errorf("%s, and --fail-on is warn", plural(s.Warnings, "warning", "warnings")))
	}
	return nil
}

// writeTo calls write with standard output, or with a file that is written whole or not at all.
func (c *cli) writeTo(file string, write func(io.Writer) error) error {
	if file == "" {
		return write(c.out)
	}
	dir, name := filepath.Split(file)
	temp, err := os.CreateTemp(filepath.Clean(dir+"."), "."+name+"-")
	if err != nil {
		return config.Usage(err)
	}
	err = errors.Join(write(temp), temp.Chmod(0o644), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
