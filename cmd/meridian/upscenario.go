package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

// upScenario runs the federation of a scenario as processes.
func (c *cli) upScenario(ctx context.Context, path string, o upOptions) error {
	s, err := c.oneScenario(path)
	if err != nil {
		return err
	}
	if o.steps() {
		if err := errors.Join(c.badScenario(s.Playable()), isNew(o.dir)); err != nil {
			return err
		}
	}
	return withFederation(ctx, o.dir, s.Zones, func(f *federation) (err error) {
		if err := f.prepareLater(ctx, s); err != nil {
			return err
		}
		say := c.out
		if o.test {
			say = io.Discard
		}
		fmt.Fprintf(say, "One global and %s are up:\n\n", plural(len(f.zones), "zone", "zones"))
		f.printAddresses(say)
		fmt.Fprintln(say)
		f.sayAddresses(say)
		federation, remove := c.shareContexts(f, nameOf(s.File))
		defer func() { err = errors.Join(err, remove()) }()
		result, err := sim.Play(ctx, s, f, c.playOptions(ctx, s, o))
		if problems, rest := problemsOf(err); len(problems) > 0 && len(rest) == 0 {
			for _, p := range problems {
				fmt.Fprintln(c.err, p)
			}
			return usage("%s, the processes are stopped", plural(len(problems), "problem", "problems"))
		}
		if err != nil {
			return err
		}
		of := show.Case{Name: s.Name, File: s.File, Result: result}
		if o.play || o.pause {
			fmt.Fprintln(say)
		}
		if o.output == "json" {
			err = c.printCases([]show.Case{of}, "json")
		} else {
			err = show.Text(c.out, of, show.TextOptions{NoTime: !o.test || o.noTime})
		}
		if err != nil {
			return err
		}
		if o.test {
			return verdictOf([]show.Case{of}, false)
		}
		if len(o.command) == 0 {
			c.printTries(f, s, federation)
		}
		return c.stayUp(ctx, f, o)
	})
}

// sayAddresses has a line printed for each control plane that comes up at a new address.
func (f *federation) sayAddresses(out io.Writer) {
	known := map[string]string{}
	for _, p := range f.planes() {
		known[p.name] = p.URL()
	}
	f.changed = func() error {
		for _, p := range f.planes() {
			if known[p.name] != p.URL() {
				fmt.Fprintf(out, "   %s  %s  pid %d\n", p.name, p.URL(), p.Pid())
				known[p.name] = p.URL()
			}
		}
		return nil
	}
}

// isNew fails if there is something in the folder: a scenario is played on planes that know nothing yet.
func isNew(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return usage("--data-dir %s is not empty: the steps of a scenario are played on a new federation", dir)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// prepareLater gives tokens to the zones that the steps of a scenario add: global may be down then.
func (f *federation) prepareLater(ctx context.Context, s *sim.Scenario) error {
	for _, step := range s.Steps {
		for _, zone := range step.Action.New {
			if err := f.giveToken(ctx, zone.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// playOptions returns how the scenario is played: with a word about each step, and a pause before it, if that was asked for.
func (c *cli) playOptions(ctx context.Context, s *sim.Scenario, o upOptions) sim.PlayOptions {
	play := sim.PlayOptions{Patience: o.timeout, NoSteps: !o.steps(), Leave: !o.test}
	if o.test || !o.steps() {
		return play
	}
	var lines <-chan struct{}
	if o.pause {
		lines = linesOf(c.in)
	}
	play.After = func(_ context.Context, _ int, now *sim.Result) error {
		return show.List(c.out, show.Case{Name: s.Name, File: s.File, Result: now})
	}
	play.Before = func(i int, step sim.Step) error {
		fmt.Fprintf(c.out, "\nstep %d of %d, at %s: %s\n", i+1, len(s.Steps), step.At, show.Step(step))
		if lines == nil {
			return nil
		}
		fmt.Fprintln(c.out, "press Enter to play it")
		select {
		case <-lines: // closed at the end of the input: nobody is there to ask
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return play
}

// linesOf returns a channel that gives something for each line of in, and is closed at its end. The goroutine that reads ends with the process.
func linesOf(in io.Reader) <-chan struct{} {
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- struct{}{}
		}
	}()
	return lines
}

// printTries prints commands for another terminal.
func (c *cli) printTries(f *federation, s *sim.Scenario, federation string) {
	program := shellWord(os.Args[0])
	fmt.Fprintf(c.out, "\nLogs and data are in %s. Try, in another terminal:\n\n", f.dir)
	if p := f.running("global"); p != nil {
		word := " " + at(p, federation)
		if federation != "" { // it is the current one
			word = ""
		}
		fmt.Fprintf(c.out, "   %s%s zones\n", program, word)
	}
	for _, d := range s.Documents {
		p := f.running(d.Plane)
		if d.Resource.Kind == "Dataplane" && d.Plane != "" && p != nil {
			fmt.Fprintf(c.out, "   %s %s explain %s\n", program, at(p, federation), shellWord(d.Resource.Name))
			break
		}
	}
	fmt.Fprint(c.out, "\nCtrl-C stops them all.\n")
}
