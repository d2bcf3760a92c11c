package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/resource"
)

func main() { config.Main(command()) }

// cli is what every command gets: where to read and write, and the flags that all of them share.
type cli struct {
	in       io.Reader
	out, err io.Writer

	flagged          map[string]bool // shared flags that the command line has, which say more than variables
	address          string
	context          string
	token            string
	tlsCA            string
	tlsSkipVerify    bool
	mesh             string
	maxDocumentBytes int
}

func command() *cobra.Command {
	c := &cli{}
	root := &cobra.Command{
		Use:   "meridian",
		Short: "Read, write and explain the resources of a Meridian control plane",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&c.address, "address", "", "the control plane's REST API (MERIDIAN_ADDRESS; default: that of the current context, or "+localAddress+")")
	root.PersistentFlags().StringVar(&c.context, "context", "", "the control plane by its name: see meridian context (MERIDIAN_CONTEXT)")
	root.PersistentFlags().StringVar(&c.token, "token", "", "token of the user to be (MERIDIAN_TOKEN); @FILE: what the file holds")
	root.PersistentFlags().StringVar(&c.tlsCA, "tls-ca", "", "PEM file with the certificates that an https:// address may show (MERIDIAN_TLS_CA; default: the system's)")
	root.PersistentFlags().BoolVar(&c.tlsSkipVerify, "tls-skip-verify", false, "accept any certificate of an https:// address (MERIDIAN_TLS_SKIP_VERIFY)")
	root.PersistentFlags().StringVarP(&c.mesh, "mesh", "m", resource.DefaultMesh, "mesh of the resources (MERIDIAN_MESH)")
	root.PersistentFlags().IntVar(&c.maxDocumentBytes, "max-document-bytes", 0, "largest document that is read from a file (MERIDIAN_MAX_DOCUMENT_BYTES; default 1 MiB)")
	root.AddCommand(
		c.applyCommand(), c.getCommand(), c.deleteCommand(), c.validateCommand(), c.lintCommand(), c.explainTypeCommand(),
		c.zonesCommand(), c.syncCommand(), c.inspectCommand(), c.explainCommand(), c.apiCommand(),
		c.simCommand(), c.generateCommand(), c.demoCommand(), c.upCommand(), c.contextCommand(), c.versionCommand(),
	)
	return root
}

// knownCommand refuses the arguments of a command that only has commands below it: they are none of those.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	return fmt.Errorf("unknown command %q%s", args[0], nearest(args[0], names))
}

// run returns fn as the body of a command: with the streams of the command and the shared flags filled in.
func (c *cli) run(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.in, c.out, c.err = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
		c.flagged = map[string]bool{}
		cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) { c.flagged[f.Name] = f.Changed })
		if err := config.Load(cmd.Root().PersistentFlags(), "", os.LookupEnv); err != nil {
			return config.Usage(err)
		}
		return fn(cmd.Context(), args)
	}
}

// usage returns a mistake of the caller: exit code 2.
func usage(format string, args ...any) error { return config.Usage(fmt.Errorf(format, args...)) }

// nearest returns the end of a message about an unknown word: the known one that it may have meant, or, when none is
// near, every one of them if they are few.
func nearest(word string, known []string) string {
	if n := resource.Nearest(word, known); n != "" {
		return fmt.Sprintf("; did you mean %s?", n)
	}
	if len(known) == 0 || len(known) > 20 {
		return ""
	}
	return "; known: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// choice is a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

// newChoice returns a flag whose default is the first allowed word.
func newChoice(allowed ...string) *choice { return &choice{allowed[0], allowed} }

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

func (c *choice) Set(word string) error {
	if !slices.Contains(c.allowed, word) {
		return fmt.Errorf("%q is not known%s", word, nearest(word, c.allowed))
	}
	c.value = word
	return nil
}
