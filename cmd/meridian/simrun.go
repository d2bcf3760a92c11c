package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/sim/show"
)

func (c *cli) simRunCommand() *cobra.Command {
	output := newChoice("text", "json", "yaml")
	failOn := newChoice("failed", "warn")
	var noTime bool
	cmd := &cobra.Command{
		Use:   "run FILE...",
		Short: "Say what the policies of a scenario come to in every zone, and whether what is expected of it holds",
		Long: "Say what the policies of a scenario come to in every zone: on how many proxies they win, who masks them, where\n" +
			"they select nothing, where they are not sent and by which rule; then whether what is expected holds. FILE is a\n" +
			"scenario, a folder of manifests with global/ and zones/NAME/, or - for standard input.\n\n" +
			"The exit code is 0 if everything holds, 1 if an expectation does not, 2 if a document is not valid, 3 if the\n" +
			"federation does not converge or an invariant is broken, and 4 if there are warnings and --fail-on is warn.",
		Example: "  meridian sim run checkout.scenario.yaml\n  meridian sim run policies/",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.Flags().Var(failOn, "fail-on", "what makes the command fail")
	cmd.Flags().BoolVar(&noTime, "no-time", false, "leave out how long it took, so that equal scenarios print the same")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		scenarios, err := c.scenarios(args...)
		if err != nil {
			return err
		}
		if len(scenarios) == 0 {
			_, err := c.oneScenario(args[0])
			return err
		}
		cases, err := c.simulateAll(ctx, scenarios, runtime.GOMAXPROCS(0), true, false)
		if err != nil {
			return err
		}
		if output.value != "text" {
			if err := c.printCases(cases, output.value); err != nil {
				return err
			}
			return verdictOf(cases, failOn.value == "warn")
		}
		for i, of := range cases {
			if i > 0 {
				fmt.Fprintln(c.out)
			}
			if err := show.Text(c.out, of, show.TextOptions{NoTime: noTime}); err != nil {
				return err
			}
		}
		return verdictOf(cases, failOn.value == "warn")
	})
	return cmd
}

// printCases prints what came of scenarios for programs, as json or yaml.
func (c *cli) printCases(cases []show.Case, format string) error {
	type row struct {
		Result   any    `json:"result,omitempty"`
		Policies any    `json:"policies,omitempty"`
		Error    string `json:"error,omitempty"`
	}
	rows := make([]row, len(cases))
	for i, of := range cases {
		if of.Err != nil {
			rows[i].Error = of.Err.Error()
			continue
		}
		rows[i] = row{Result: of.Result, Policies: of.Policies}
	}
	return c.print(format, rows)
}
