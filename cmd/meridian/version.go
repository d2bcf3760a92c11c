package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  meridian version",
		Args:    cobra.NoArgs,
		RunE: c.run(func(context.Context, []string) error {
			_, err := fmt.Fprintln(c.out, config.Version)
			return err
		}),
	}
}
