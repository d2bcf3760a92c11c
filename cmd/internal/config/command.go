package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/meridian-mesh/meridian/resource"
)

// Exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitTimedOut = 3
)

// usageError marks a failure that a look at --help may mend.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks err as the caller's mistake: exit code 2. Usage(nil) is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// codeError is a failure with an exit code of its own.
type codeError struct {
	error
	code int
}

func (e codeError) Unwrap() error { return e.error }

// Exit gives err an exit code of its own, for commands whose scripts tell failures apart. Exit(code, nil) is nil.
func Exit(code int, err error) error {
	if err == nil {
		return nil
	}
	return codeError{err, code}
}

// TimedOut marks err as the end of a wait that had a limit: exit code 3.
func TimedOut(err error) error { return Exit(exitTimedOut, err) }

// Main runs a command until it is done or the process is asked to stop (SIGINT, SIGTERM; a second signal ends it at
// once), and ends the process: 0 done, 1 failed, 2 wrong usage, 3 timed out, or what Exit says. It prints errors as
// one line on standard error.
func Main(cmd *cobra.Command) {
	growHeap()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the next signal is the default one
	os.Exit(Run(ctx, cmd, os.Args[1:], os.Stdout, os.Stderr))
}

// Run is Main without the process: it returns the exit code.
func Run(ctx context.Context, cmd *cobra.Command, args []string, out, errOut io.Writer) int {
	started := false
	noteStart(cmd, &started)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.SetFlagErrorFunc(nearestFlag)
	explainArgs(cmd)
	cmd.SetHelpCommand(helpCommand())
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(errOut, "%s: %s\n", cmd.Name(), strings.ReplaceAll(err.Error(), "\n", "; "))
	if own, ok := errors.AsType[codeError](err); ok {
		return own.code
	}
	if _, usage := errors.AsType[usageError](err); usage || !started { // cobra found fault with the command line
		return exitUsage
	}
	return exitFailed
}

// helpCommand is cobra's, but it knows what it does not know.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(help *cobra.Command, args []string) error {
			cmd, rest, err := help.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return Usage(fmt.Errorf("unknown command %q", strings.Join(args, " ")))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// noteStart has the body of cmd, and of all commands below it, set started: cobra looks for required flags after its other hooks.
func noteStart(cmd *cobra.Command, started *bool) {
	for _, sub := range cmd.Commands() {
		noteStart(sub, started)
	}
	if body := cmd.RunE; body != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return body(cmd, args)
		}
	}
}

// explainArgs has the errors about arguments of cmd, and of all commands below it, say what is wanted.
func explainArgs(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		explainArgs(sub)
	}
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil || len(args) > 0 && !strings.HasSuffix(err.Error(), fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())) && !strings.Contains(err.Error(), "arg(s)") {
			return err
		}
		if len(args) == 0 || strings.Contains(err.Error(), "arg(s)") {
			return fmt.Errorf("%w: %s", err, cmd.UseLine())
		}
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" {
				names = append(names, sub.Name())
			}
		}
		switch near := resource.Nearest(args[0], names); {
		case near != "":
			return fmt.Errorf("unknown command %q; did you mean %s?", args[0], near)
		case len(names) > 0:
			return fmt.Errorf("unknown command %q; known: %s", args[0], strings.Join(names, ", "))
		}
		return fmt.Errorf("unexpected argument %q: %s", args[0], cmd.UseLine())
	}
}

// nearestFlag adds the nearest flag to the error about an unknown one.
func nearestFlag(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := resource.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}
