package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/policy/catalog"
)

func (c *cli) explainTypeCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "explain-type KIND[.FIELD...]",
		Short: "Show what a kind, or a field of its documents, means",
		Long: "Show what a kind, or a field of its documents, means: its type, unit, range and default, the words it may hold, the\n" +
			"fields below it, and what the targetRefs of a policy may select. Lists and \"spec.\" need no mention in FIELD.",
		Example: "  meridian explain-type MeshRetry\n  meridian explain-type MeshRetry.to.default.http",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(_ context.Context, args []string) error {
		word, path, _ := strings.Cut(args[0], ".")
		kind, err := catalog.Lookup(word)
		if err != nil { // one of the other words for a kind
			d, wordErr := kindNamed(word)
			if wordErr != nil {
				return wordErr
			}
			if kind, err = catalog.Lookup(d.Kind); err != nil {
				return config.Usage(err)
			}
		}
		e, err := kind.Explain(path)
		if err != nil {
			return config.Usage(err)
		}
		if output.value == "table" {
			return e.Write(c.out)
		}
		return c.print(output.value, e)
	})
	return cmd
}
