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
	var base, head string
	var detailed bool
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "plan --base DIR --head DIR",
		Short: "Say what a change does to every proxy: which values in force change, from what to what, and which do not and why",
		Long: "Say what going from base to head does, both folders of manifests or scenarios: by zone and namespace on which\n" +
			"proxies a value in force changes, from what to what; on which a policy that changes shows nothing, and who masks\n" +
			"it by which comparator; and where a policy is not sent.\n\n" +
			"The exit code is 0, 2 if a document is not valid, 3 if the federation does not converge, and 6 if something in\n" +
			"force changes and --detailed-exitcode.",
		Example: "  meridian sim plan --base main/ --head .\n  git worktree add ../main origin/main && meridian sim plan --base ../main --head . --detailed-exitcode",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&base, "base", "", "as it is: a folder with global/ and zones/NAME/, or a scenario")
	cmd.Flags().StringVar(&head, "head", "", "as it will be")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 6 if something that is in force changes")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		if base == "" || head == "" {
			return usage("want both --base and --head")
		}
		from, err := c.oneScenario(base)
		if err != nil {
			return err
		}
		to, err := c.oneScenario(head)
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
