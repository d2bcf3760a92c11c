package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/sim"
)

func (c *cli) simFuzzCommand() *cobra.Command {
	var seeds string
	var words []string
	var events int
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "fuzz FILE",
		Short: "Play random faults on a scenario, until an invariant breaks: then show the shortest schedule that breaks it",
		Long: "Play random faults and writes on a scenario, a schedule for each seed, and check the invariants after each. The\n" +
			"first that breaks one is made as short as possible and printed as steps of a scenario file, with its seed. Equal\n" +
			"seeds make equal schedules. The steps and expectations of the scenario are left out.\n\n" +
			"The exit code is 0 if no invariant breaks, 2 if a document is not valid, and 3 if one does.",
		Example: "  meridian sim fuzz shop.scenario.yaml --seeds 1..500 --faults partition,crash",
		Args:    cobra.ExactArgs(1),
	}
	var known []string
	for _, f := range sim.Faults() {
		known = append(known, string(f))
	}
	cmd.Flags().StringVar(&seeds, "seeds", "1..100", "first and last seed, or one")
	cmd.Flags().StringSliceVar(&words, "faults", nil, "kinds of faults: "+strings.Join(known, ", ")+" (default: all)")
	cmd.Flags().IntVar(&events, "events", 0, "events of a schedule (default 30)")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		o := sim.FuzzOptions{Events: events}
		var err error
		if o.First, o.Seeds, err = seedRange(seeds); err != nil {
			return err
		}
		for _, word := range words {
			if !slices.Contains(known, word) {
				return usage("--faults: unknown fault %q%s", word, nearest(word, known))
			}
			o.Faults = append(o.Faults, sim.Fault(word))
		}
		if events < 0 {
			return usage("--events %d: want at least 1", events)
		}
		s, err := c.oneScenario(args[0])
		if err != nil {
			return err
		}
		var done atomic.Int64
		o.Done = func(uint64, bool) { done.Add(1) }
		stop := showProgressOf(c.err, &done, o.Seeds, "seeds")
		result, err := sim.Fuzz(ctx, s, o)
		stop()
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %d of %s: no invariant was broken until then", done.Load(), plural(o.Seeds, "seed", "seeds"))
		}
		if err != nil {
			return c.badScenario(err)
		}
		if output.value != "text" {
			err = c.print(output.value, result)
		} else if result.Failure == nil {
			fmt.Fprintf(c.out, "%s: no invariant is broken\n", plural(result.Seeds, "seed", "seeds"))
		} else {
			c.printFailure(s, *result.Failure)
		}
		if err == nil && result.Failure != nil {
			err = config.Exit(exitUnsound, fmt.Errorf("seed %d breaks an invariant", result.Failure.Seed))
		}
		return err
	})
	return cmd
}

func (c *cli) printFailure(s *sim.Scenario, f sim.FuzzFailure) {
	fmt.Fprintf(c.out, "seed %d breaks an invariant:\n", f.Seed)
	for _, reason := range f.Reasons {
		fmt.Fprintln(c.out, "  "+reason)
	}
	fmt.Fprintf(c.out, "\n%s, of the %d that did it first:\n\nsteps: # of %s\n", plural(len(f.Schedule), "event does it", "events do it"), f.Events, s.File)
	for _, step := range f.Schedule {
		fmt.Fprintln(c.out, "  - "+step)
	}
	if f.Broke == f.Runs {
		fmt.Fprintf(c.out, "\nIt did so again in %d of %d runs. Pasted into the file, `meridian sim run` ends with exit code %d.\n", f.Broke, f.Runs, exitUnsound)
	} else {
		fmt.Fprintf(c.out, "\nIt did so again in %d of %d runs: not each time, since what is on a wire when it is cut depends on the machine.\n", f.Broke, f.Runs)
	}
	fmt.Fprintf(c.out, "Again: meridian sim fuzz %s --seeds %d\n", shellWord(s.File), f.Seed)
}

// seedRange reads 1..500, or one seed.
func seedRange(text string) (first uint64, n int, err error) {
	from, to, both := strings.Cut(text, "..")
	if !both {
		to = from
	}
	first, errFrom := strconv.ParseUint(from, 10, 62)
	last, errTo := strconv.ParseUint(to, 10, 62)
	if errFrom != nil || errTo != nil || first == 0 || last < first || last-first >= 1<<31 {
		return 0, 0, usage("--seeds %q: want a seed from 1, or a range such as 1..500", text)
	}
	return first, int(last-first) + 1, nil
}
