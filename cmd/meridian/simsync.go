package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/sim"
)

func (c *cli) simSyncCommand() *cobra.Command {
	var policy string
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:     "sync FILE --policy KEY",
		Short:   "Say which control planes of a scenario get a policy, and by which rule the others do not",
		Example: "  meridian sim sync shop.scenario.yaml --policy west/jobs/patient\n  meridian sim sync shop.scenario.yaml --policy 'MeshTimeout east/shop/kv'",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&policy, "policy", "", "its key, zone/namespace/name[@mesh]; after its kind, if policies of several kinds have the same")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	if err := cmd.MarkFlagRequired("policy"); err != nil {
		panic(err) // it is the flag above
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		result, err := c.simulate(ctx, args[0])
		if err != nil {
			return err
		}
		rows, err := result.Sync(policy)
		if err != nil {
			return err
		}
		if output.value != "table" {
			return c.print(output.value, rows)
		}
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PLANE\tHAS IT\tRULE\tWHY")
		for _, row := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Plane, yesNo(row.Has), dash(string(row.Rule)), whyOf(row))
		}
		return w.Flush()
	})
	return cmd
}

// whyOf adds the reason of a zone that refuses it.
func whyOf(row sim.SyncRow) string {
	if row.Reason != "" {
		return row.Because + "; " + string(row.Outcome) + ": " + row.Reason
	}
	return row.Because
}
