package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

// exitChanges is the exit code of plan if something that is in force changes, and --detailed-exitcode.
const exitChanges = 6

func (c *cli) simPlanCommand() *cobra.Command {
	var base, head, live string
	var detailed bool
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "plan --base DIR --head DIR [--live ADDRESS]",
		Short: "Say what a change does to every proxy: which values in force change, from what to what, and which do not and why",
		Long: "Say what going from base to head does, both folders of manifests or scenarios: by zone and namespace on which\n" +
			"proxies a value in force changes, from what to what; on which a policy that changes shows nothing, and who masks\n" +
			"it by which comparator; and where a policy is not sent.\n\n" +
			"With --live it says what the change does to a federation that runs, whose global control plane has that REST API:\n" +
			"what head has is written there, what base has and head has not is deleted; without --base nothing is.\n\n" +
			"The exit code is 0, 2 if a document is not valid, 3 if the federation does not converge, and 6 if something in\n" +
			"force changes and --detailed-exitcode.",
		Example: "  meridian sim plan --base main/ --head .\n  meridian sim plan --head . --live http://global:5681\n  git worktree add ../main origin/main && meridian sim plan --base ../main --head . --detailed-exitcode",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&base, "base", "", "as it is: a folder with global/ and zones/NAME/, or a scenario")
	cmd.Flags().StringVar(&head, "head", "", "as it will be")
	cmd.Flags().StringVar(&live, "live", "", "make the change to the federation of the global control plane with this REST API")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 6 if something that is in force changes")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		from, to, err := c.planned(ctx, base, head, live)
		if err != nil {
			return err
		}
		result, err := sim.Plan(ctx, from, to, sim.Options{})
		if err != nil {
			return c.badScenario(err)
		}
		if result.Problem != "" {
			return config.Exit(exitUnsound, fmt.Errorf("the federation did not converge: %s (seed %d)", result.Problem, from.Seed))
		}
		if output.value == "text" {
			err = show.Plan(c.out, result)
		} else {
			err = c.print(output.value, result)
		}
		if err == nil && detailed && result.Changed() {
			err = config.Exit(exitChanges, errors.New(show.PlanSummary(result)))
		}
		return err
	})
	return cmd
}

// planned returns the scenarios before and after a change.
func (c *cli) planned(ctx context.Context, base, head, live string) (from, to *sim.Scenario, err error) {
	if head == "" || base == "" && live == "" {
		return nil, nil, usage("want --head, and --base or --live or both")
	}
	if to, err = c.oneScenario(head); err != nil {
		return nil, nil, err
	}
	if base != "" {
		if from, err = c.oneScenario(base); err != nil {
			return nil, nil, err
		}
	}
	if live == "" {
		return from, to, nil
	}
	running, err := c.record(ctx, live, false)
	if err != nil {
		return nil, nil, err
	}
	return running, sim.Overlay(running, from, to), nil
}
