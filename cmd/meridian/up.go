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
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

func (c *cli) upCommand() *cobra.Command {
	var o upOptions
	output := newChoice("text", "json")
	cmd := &cobra.Command{
		Use:   "up [SCENARIO] [-- COMMAND ARGUMENTS...]",
		Short: "Run the federation of a scenario, or of the demo, as processes until Ctrl-C",
		Long: "Start a global control plane and zones as processes of this machine: those of a scenario, with its documents, or\n" +
			"without one the zones east and west of the demo, with commands to try. What the scenario expects before its first\n" +
			"step is asked of the processes. Until it ends every `meridian` command talks to it, in any terminal: to global, and\n" +
			"with --context NAME to a zone.\n\n" +
			"It runs until Ctrl-C; with COMMAND until that ends, with its exit code. --steps plays the steps of the scenario first:\n" +
			"documents are written and deleted, links cut and mended, processes killed and started again. --pause waits for Enter\n" +
			"before each. --test plays them, checks all that is expected, the invariants too, and ends, with the exit codes of\n" +
			"`meridian sim run`. COMMAND gets MERIDIAN_ADDRESS, of the global control plane, and MERIDIAN_ADDRESS_NAME for each\n" +
			"zone. What was stored is removed, unless --data-dir says where to keep it.",
		Example: "  meridian up\n  meridian up shop.scenario.yaml -- bash\n  meridian up partition.scenario.yaml --pause\n  meridian up partition.scenario.yaml --test",
	}
	cmd.Flags().StringVar(&o.dir, "data-dir", "", "folder to keep the data in; default: a temporary one, removed at the end")
	cmd.Flags().BoolVar(&o.play, "steps", false, "play the steps of the scenario, and leave what has become of it running")
	cmd.Flags().BoolVar(&o.pause, "pause", false, "--steps, and wait for Enter before each")
	cmd.Flags().BoolVar(&o.test, "test", false, "play the steps, check all that is expected, and end")
	cmd.Flags().DurationVar(&o.timeout, "timeout", defaultWait, "longest time that the processes may take after each step to come to rest")
	cmd.Flags().VarP(output, "output", "o", "what --test prints")
	cmd.Flags().BoolVar(&o.noTime, "no-time", false, "leave out of what --test prints how long it took")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if o.dash = cmd.ArgsLenAtDash(); o.dash < 0 {
			o.dash = len(args)
		}
		switch {
		case o.dash > 1:
			return fmt.Errorf("want one scenario, found %d arguments", o.dash)
		case o.steps() && o.dash == 0:
			return errors.New("--steps, --pause and --test need a scenario")
		case o.test && (o.pause || o.play):
			return errors.New("--test excludes --steps and --pause: it ends by itself")
		case o.test && len(args) > o.dash:
			return errors.New("--test excludes a command: nothing would be left for it")
		case !o.test && (cmd.Flags().Changed("output") || o.noTime):
			return errors.New("-o and --no-time are for --test")
		case o.timeout <= 0:
			return fmt.Errorf("--timeout %s: want more than 0, such as 30s", o.timeout)
		}
		return nil
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o.command, o.output = args[o.dash:], output.value
		if o.dash == 1 {
			return c.upScenario(ctx, args[0], o)
		}
		return withFederation(ctx, o.dir, demoZones, func(f *federation) error { return c.up(ctx, f, o) })
	})
	return cmd
}

type upOptions struct {
	dir     string
	play    bool
	pause   bool
	test    bool
	noTime  bool
	output  string
	timeout time.Duration
	dash    int // arguments before --
	command []string
}

// steps says whether the steps of the scenario are to be played.
func (o upOptions) steps() bool { return o.play || o.pause || o.test }

func (c *cli) up(ctx context.Context, f *federation, o upOptions) (err error) {
	if err := f.setUp(ctx); err != nil {
		return err
	}
	policies := filepath.Join(f.dir, "guide")
	if err := writeGuide(policies); err != nil {
		return err
	}
	federation, remove := c.shareContexts(f, "demo")
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Fprint(c.out, "One global and two zones are up:\n\n")
	f.printAddresses(c.out)
	fmt.Fprintf(c.out, `
Logs and data are in %[2]s. Try, in another terminal:

   %[1]s %[3]s apply -f %[4]s
   %[1]s %[3]s explain consumer.first-consumer --to demo-app
   %[1]s %[3]s apply -f %[5]s
   %[1]s %[3]s explain consumer.first-consumer --to demo-app
   %[1]s %[3]s inspect dataplane consumer.first-consumer
   %[1]s %[6]s explain consumer.first-consumer --to demo-app
   %[1]s %[7]s zones

Ctrl-C stops all three.
`, shellWord(os.Args[0]), f.dir, at(f.plane("east"), federation), shellWord(filepath.Join(policies, "2-producer-timeout.yaml")),
		shellWord(filepath.Join(policies, "3-consumer-timeout.yaml")), at(f.plane("west"), federation), at(f.global, federation))

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
