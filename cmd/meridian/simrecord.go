package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/sim"
)

func (c *cli) simRecordCommand() *cobra.Command {
	var live, out string
	var documentsOnly bool
	cmd := &cobra.Command{
		Use:   "record --live ADDRESS",
		Short: "Make a scenario of a federation that runs, which expects what it answers today",
		Long: "Make a scenario of a federation that runs: its zones, what was written on global and in each of them, and as\n" +
			"expectations what it answers today: roles, who gets what, warnings, and every value in force with who gave it.\n" +
			"Only the REST API of the global control plane is asked. Secrets are left out.\n\n" +
			"The expectations are the answers of the running federation. On standard error it says of how many of them the\n" +
			"simulator gives the same answer; if it is not all, the running federation has not converged, or is not what its\n" +
			"documents say.",
		Example: "  meridian sim record --live http://global:5681 --out now.scenario.yaml\n  meridian sim test now.scenario.yaml",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&live, "live", "", "REST API of the global control plane (default: --address)")
	cmd.Flags().StringVar(&out, "out", "", "file to write it to")
	cmd.Flags().BoolVar(&documentsOnly, "documents-only", false, "expect nothing")
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		s, err := c.record(ctx, live, !documentsOnly)
		if err != nil {
			return err
		}
		text, err := sim.Expand(s)
		if err != nil {
			return err
		}
		if err := c.writeTo(out, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return err
		}
		if documentsOnly {
			return nil
		}
		again, err := sim.Parse("the recorded scenario", ".", text)
		if err != nil {
			return c.badScenario(err)
		}
		result, err := sim.Run(ctx, again, sim.Options{})
		if err != nil {
			return err
		}
		passed, all := result.Counted()
		fmt.Fprintf(c.err, "%s, %s; the simulator answers %d of %s alike\n", plural(len(s.Zones), "zone", "zones"),
			plural(len(s.Documents), "document", "documents"), passed, plural(all, "question", "questions"))
		return nil
	})
	return cmd
}

// record asks the global control plane at an address; "": the one of --address.
func (c *cli) record(ctx context.Context, live string, expect bool) (*sim.Scenario, error) {
	if live != "" {
		c.address, c.context = live, ""
		c.flagged["address"], c.flagged["context"] = true, false
	}
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	s, err := sim.Record(ctx, "recorded from "+strings.TrimPrefix(strings.TrimPrefix(api.base, "http://"), "https://"), api.ask, expect)
	if err != nil {
		return nil, fmt.Errorf("read the federation: %w", err)
	}
	return s, nil
}
