package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

// starter is a scenario to begin with, which passes.
//
//go:embed siminit.scenario.yaml
var starter []byte

func (c *cli) simInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "init [FILE]",
		Short:   "Print a scenario to begin with, or write it to a new file",
		Example: "  meridian sim init first.scenario.yaml\n  meridian sim first.scenario.yaml",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.RunE = c.run(func(_ context.Context, args []string) error {
		if len(args) == 0 {
			_, err := c.out.Write(starter)
			return err
		}
		file, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return usage("%s is there already, and is left as it is", args[0])
		}
		if err != nil {
			return config.Usage(err)
		}
		_, err = file.Write(starter)
		if err = errors.Join(err, file.Close()); err == nil {
			fmt.Fprintf(c.out, "%s is written; try: meridian sim %s\n", args[0], shellWord(args[0]))
		}
		return err
	})
	return cmd
}
