package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/sim"
)

func (c *cli) simExplainCommand() *cobra.Command {
	var q question
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "explain FILE PROXY",
		Short: "Say in words what is in force on a proxy of a scenario, who set it, who lost, and by which rule",
		Long: "Say in words what is in force on a proxy of a scenario, before its first step, as `meridian explain` says of one\n" +
			"that runs. PROXY and SERVICE are keys: zone/namespace/name, with @mesh\n" +
			"at the end if it is not in the mesh of the scenario.",
		Example: "  meridian sim explain shop.scenario.yaml east/shop/web --to east/shop/kv --type MeshTimeout",
		Args:    cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&q.To, "to", "", "traffic to this service: its key, with the section after a colon, its name or its KRI")
	explainFlags(cmd, &q)
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if err := q.check(); err != nil {
			return err
		}
		result, err := c.simulate(ctx, args[0])
		if err != nil {
			return err
		}
		zone, name, err := proxyNamed(result, args[1])
		if err != nil {
			return err
		}
		q.mesh, q.proxy = meshOf(name, c.mesh), name
		if q.To, err = result.Destination(q.To); err != nil {
			return err
		}
		return overStored(ctx, zone, result.Resources(zone), func(api *client) error {
			return c.printExplanation(ctx, api, q, output.value)
		})
	})
	return cmd
}

// proxyNamed returns the zone and the KRI of the one proxy that a key or a pattern names.
func proxyNamed(result *sim.Result, pattern string) (zone, kri string, err error) {
	keys := result.Proxies(pattern)
	if len(keys) == 0 {
		return "", "", fmt.Errorf("no proxy %s%s", pattern, nearest(pattern, result.Proxies("")))
	}
	if len(keys) > 1 {
		return "", "", usage("%s names %d proxies, want one: %s", pattern, len(keys), strings.Join(keys, ", "))
	}
	zone, _, _ = strings.Cut(keys[0], "/")
	for _, r := range result.Resources(zone) {
		id := r.Identity()
		if r.Kind == "Dataplane" && id.Zone == zone && result.Key(id) == keys[0] {
			return zone, id.KRI(""), nil
		}
	}
	return "", "", fmt.Errorf("no proxy %s", keys[0])
}
