package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/cmd/internal/contexts"
	"github.com/meridian-mesh/meridian/sim"
)

// localAddress is where a control plane listens that was told nothing else.
const localAddress = "http://127.0.0.1:5681"

// target returns the control plane to talk to, with the name of its context, if it has one: --address, --context, MERIDIAN_ADDRESS,
// MERIDIAN_CONTEXT, the current context, the first that says something. What flags or variables say about how to be let in counts more than
// what the context does.
func (c *cli) target() (name string, at contexts.Context, err error) {
	switch {
	case c.flagged["address"] && c.flagged["context"]:
		return "", at, usage("--address excludes --context")
	case c.address != "" && !c.flagged["context"]:
		at.Address = c.address
	default:
		if name, at, err = c.named(); err != nil {
			return "", at, config.Usage(err)
		}
	}
	if c.token != "" {
		at.Token = c.token
	}
	if c.tlsCA != "" {
		at.TLSCA = c.tlsCA
	}
	at.TLSSkipVerify = at.TLSSkipVerify || c.tlsSkipVerify
	return name, at, nil
}

// named returns the context of --context, or the current one, or else what listens where control planes do.
func (c *cli) named() (name string, at contexts.Context, err error) {
	local := contexts.Context{Address: localAddress}
	file, err := contexts.Path(os.LookupEnv)
	if err != nil && c.context == "" {
		return "", local, nil // without a home there are none
	}
	if err != nil {
		return "", at, err
	}
	list, err := contexts.Read(file)
	if err != nil {
		return "", at, err
	}
	word := cmp.Or(c.context, list.Current)
	if word == "" {
		return "", local, nil
	}
	return list.Find(word)
}

func (c *cli) contextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Remember control planes by name, and choose the one that commands talk to",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	output := newChoice("table", "json", "yaml")
	list := &cobra.Command{
		Use:   "list",
		Short: "List the contexts, and which is current",
		Args:  cobra.NoArgs,
		RunE:  c.run(func(context.Context, []string) error { return c.listContexts(output.value) }),
	}
	list.Flags().VarP(output, "output", "o", "what to print")
	var current bool
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Remember the control plane at --address, with --token and the like, by a name",
		Long: "Remember the control plane at --address by a name, with what --token, --tls-ca and --tls-skip-verify say. A token is\n" +
			"better given as @FILE: then only the name of the file is written down.",
		Example: "  meridian context add prod --address https://global.example:5682 --tls-ca ca.pem --token @/run/secrets/token --use",
		Args:    cobra.ExactArgs(1),
	}
	add.Flags().BoolVar(&current, "use", false, "make it the current one")
	add.RunE = c.changeContexts(func(l *contexts.List, name string) (string, error) {
		if !c.flagged["address"] {
			return "", usage("--address must be given")
		}
		at := contexts.Context{Address: c.address, Token: c.token, TLSCA: c.tlsCA, TLSSkipVerify: c.tlsSkipVerify}
		var err, errCA error // files are read from another folder one day
		if file, ok := strings.CutPrefix(at.Token, "@"); ok {
			file, err = filepath.Abs(file)
			at.Token = "@" + file
		}
		if at.TLSCA != "" {
			at.TLSCA, errCA = filepath.Abs(at.TLSCA)
		}
		if err := errors.Join(err, errCA); err != nil {
			return "", err
		}
		if current {
			l.Current = name
		}
		return name, l.Put(name, at)
	})
	use := &cobra.Command{
		Use:     "use NAME",
		Short:   "Make a context the current one",
		Example: "  meridian context use shop/east\n  meridian context use east",
		Args:    cobra.ExactArgs(1),
	}
	use.RunE = c.changeContexts(func(l *contexts.List, word string) (name string, err error) {
		name, _, err = l.Find(word)
		l.Current = name
		return name, err
	})
	remove := &cobra.Command{Use: "remove NAME", Short: "Forget a context", Args: cobra.ExactArgs(1)}
	remove.RunE = c.changeContexts(func(l *contexts.List, name string) (string, error) { return name, l.Remove(name) })
	cmd.AddCommand(list, use, add, remove)
	return cmd
}

// changeContexts returns the body of a command that changes the context that its argument names, and prints what is current then.
func (c *cli) changeContexts(change func(l *contexts.List, word string) (name string, err error)) func(*cobra.Command, []string) error {
	return c.run(func(_ context.Context, args []string) error {
		file, err := contexts.Path(os.LookupEnv)
		if err != nil {
			return err
		}
		return contexts.Change(file, func(l *contexts.List) error {
			name, err := change(l, args[0])
			if err != nil {
				return config.Usage(err)
			}
			at := l.Contexts[name]
			switch {
			case at.Address == "":
				fmt.Fprintf(c.out, "context %s is forgotten\n", name)
			case l.Current == name:
				fmt.Fprintf(c.out, "commands talk to %s, at %s\n", name, at.Address)
			default:
				fmt.Fprintf(c.out, "context %s is at %s\n", name, at.Address)
			}
			return nil
		})
	})
}

func (c *cli) listContexts(output string) error {
	file, err := contexts.Path(os.LookupEnv)
	if err != nil {
		return err
	}
	l, err := contexts.Read(file)
	if err != nil {
		return err
	}
	if output != "table" {
		return c.print(output, l)
	}
	if len(l.Contexts) == 0 {
		fmt.Fprintf(c.err, "there is no context; commands talk to %s\n", localAddress)
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CURRENT\tNAME\tADDRESS\tUNTIL")
	for _, name := range l.Names() {
		mark, until := "", "removed"
		if name == l.Current {
			mark = "*"
		}
		if at := l.Contexts[name]; at.Process > 0 {
			until = fmt.Sprintf("process %d ends", at.Process)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, name, l.Contexts[name].Address, until)
	}
	return w.Flush()
}

// shareContexts makes contexts of the control planes of f, named as scenario is, and the one of global current, and keeps them up to date. It
// returns their common name, and what removes them. Without a place for them it says so on standard error: federation is "".
func (c *cli) shareContexts(f *federation, scenario string) (federation string, remove func() error) {
	nothing := func() error { return nil }
	file, err := contexts.Path(os.LookupEnv)
	if err != nil {
		fmt.Fprintln(c.err, "no context is set:", err)
		return "", nothing
	}
	before := ""
	ours := func(name string) bool { return strings.HasPrefix(name, federation+"/") }
	share := func(l *contexts.List) error {
		for _, name := range l.Names() {
			if ours(name) {
				delete(l.Contexts, name)
			}
		}
		for _, p := range f.planes() {
			l.Contexts[federation+"/"+p.name] = contexts.Context{Address: p.URL(), Process: os.Getpid()}
		}
		return nil
	}
	err = contexts.Change(file, func(l *contexts.List) error {
		taken := func(name string) bool {
			_, ok := l.Contexts[name+"/global"]
			return ok
		}
		federation = scenario
		for n := 2; taken(federation); n++ {
			federation = fmt.Sprintf("%s-%d", scenario, n)
		}
		before, l.Current = l.Current, federation+"/global"
		return share(l)
	})
	if err != nil {
		fmt.Fprintln(c.err, "no context is set:", err)
		return "", nothing
	}
	say := f.changed
	f.changed = func() error {
		if say != nil {
			if err := say(); err != nil {
				return err
			}
		}
		return contexts.Change(file, share)
	}
	return federation, func() error {
		f.changed = nil
		return contexts.Change(file, func(l *contexts.List) error {
			for _, name := range l.Names() {
				if ours(name) {
					delete(l.Contexts, name)
				}
			}
			if ours(l.Current) {
				if l.Current = ""; before != "" {
					if _, there := l.Contexts[before]; there {
						l.Current = before
					}
				}
			}
			return nil
		})
	}
}

// at returns the flag that names a control plane of a federation, which has contexts unless federation is "".
func at(p *plane, federation string) string {
	if federation == "" {
		return "--address " + p.URL()
	}
	return "--context " + p.name
}

// nameOf returns what the federation of a scenario is called: as its file or its folder is.
func nameOf(file string) string {
	name := filepath.Base(file)
	for _, suffix := range sim.Suffixes {
		name = strings.TrimSuffix(name, suffix)
	}
	return strings.Join(strings.Fields(name), "-")
}
