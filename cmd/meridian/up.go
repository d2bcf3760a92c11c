package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

func (c *cli) upCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [SCENARIO] [-- COMMAND ARGUMENTS...]",
		Short: "Run the federation of a scenario, or of the demo, as processes until Ctrl-C",
		Long: "Start a global control plane and zones as processes of this machine: those of a scenario, with its documents, or\n" +
			"without one the zones east and west of the demo, with commands to try. What the scenario expects before its first\n" +
			"step is asked of the processes; its steps are left to `meridian sim`.\n\n" +
			"It runs until Ctrl-C; with --check only until the expectations are checked, with the exit codes of `meridian sim\n" +
			"run`; with COMMAND until that ends, with its exit code. COMMAND gets MERIDIAN_ADDRESS, of the global control\n" +
			"plane, and MERIDIAN_ADDRESS_NAME for each zone. What was stored is removed, unless --data-dir says where to keep it.",
		Example: "  meridian up\n  meridian up shop.scenario.yaml -- bash\n  meridian up shop.scenario.yaml --check",
	}
	cmd.Flags().StringVar(&o.dir, "data-dir", "", "folder to keep the data in; default: a temporary one, removed at the end")
	cmd.Flags().BoolVar(&o.check, "check", false, "end when the expectations are checked")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if o.dash = cmd.ArgsLenAtDash(); o.dash < 0 {
			o.dash = len(args)
		}
		if o.dash > 1 {
			return fmt.Errorf("want one scenario, found %d arguments", o.dash)
		}
		if o.check && o.dash == 0 {
			return errors.New("--check needs a scenario")
		}
		return nil
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o.command = args[o.dash:]
		if o.dash == 1 {
			return c.upScenario(ctx, args[0], o)
		}
		return withFederation(ctx, o.dir, demoZones, func(f *federation) error { return c.up(ctx, f, o) })
	})
	return cmd
}

type upOptions struct {
	dir     string
	check   bool
	dash    int // arguments before --
	command []string
}

func (c *cli) up(ctx context.Context, f *federation, o upOptions) error {
	if err := f.setUp(ctx); err != nil {
		return err
	}
	policies := filepath.Join(f.dir, "guide")
	if err := writeGuide(policies); err != nil {
		return err
	}
	fmt.Fprint(c.out, "One global and two zones are up:\n\n")
	f.printAddresses(c.out)
	fmt.Fprintf(c.out, `
Logs and data are in %[2]s. Try, in another terminal:

   export MERIDIAN_ADDRESS=%[3]s    # zone east
   %[1]s apply -f %[4]s
   %[1]s explain consumer.first-consumer --to demo-app
   %[1]s apply -f %[5]s
   %[1]s explain consumer.first-consumer --to demo-app
   %[1]s inspect dataplane consumer.first-consumer
   %[1]s --address %[6]s explain consumer.first-consumer --to demo-app    # west
   %[1]s --address %[7]s zones    # global

Ctrl-C stops all three.
`, shellWord(os.Args[0]), f.dir, f.plane("east").URL(), shellWord(filepath.Join(policies, "2-producer-timeout.yaml")),
		shellWord(filepath.Join(policies, "3-consumer-timeout.yaml")), f.plane("west").URL(), f.global.URL())

	return c.stayUp(ctx, f, o)
}

// stayUp returns when somebody asks to stop, the command has ended, or a control plane has.
func (c *cli) stayUp(ctx context.Context, f *federation, o upOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan *plane, len(f.planes()))
	for _, p := range f.planes() {
		go func() {
			select {
			case <-p.Done():
				ended <- p
			case <-ctx.Done():
			}
		}()
	}
	ran := make(chan error, 1)
	if len(o.command) > 0 {
		go func() { ran <- c.inFederation(ctx, f, o.command) }()
	}
	select {
	case <-ctx.Done():
		if len(o.command) > 0 {
			<-ran
		}
		fmt.Fprintln(c.out, "\nstopping")
		return nil
	case err := <-ran:
		return err
	case p := <-ended:
		fmt.Fprintf(c.err, "the last that %s said:\n%s\n", p.name, strings.TrimSpace(p.Tail()))
		return fmt.Errorf("%s has ended", p.name)
	}
}

// inFederation runs a command that finds the federation in its environment.
func (c *cli) inFederation(ctx context.Context, f *federation, command []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.out, c.err
	cmd.Env = append(os.Environ(), "MERIDIAN_ADDRESS="+f.global.URL())
	for _, p := range f.planes() {
		cmd.Env = append(cmd.Env, "MERIDIAN_ADDRESS_"+strings.ToUpper(strings.ReplaceAll(p.name, "-", "_"))+"="+p.URL())
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		return config.Exit(exit.ExitCode(), fmt.Errorf("%s ended with code %d", command[0], exit.ExitCode()))
	}
	return err
}

// writeGuide puts the policies of the guide into files for the commands to try.
func writeGuide(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, s := range guide {
		data, err := demoFiles.ReadFile(path.Join("demo", s.file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.file), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// shellWord returns word as a shell reads it back.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=~", r)
	}
	if word != "" && word[0] != '~' && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
