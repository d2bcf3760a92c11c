package sim_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/internal/mutation"
	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/sim"
)

// mutations are rules that are broken on purpose, to see that some example notices.
var mutations = map[string]func() (mend func()){
	"two comparators are swapped":        func() func() { return breakRule(&mutation.KindLast) },
	"a consumer's policy is sent":        func() func() { return breakRule(&mutation.SendConsumer) },
	"the removal of a policy is dropped": func() func() { return kds.Break(kds.FaultDropTombstone) },

	"a plan forgets whom a policy selects after its change": func() func() { return breakRule(&mutation.PlanLooksBack) },
}

func breakRule(rule *atomic.Bool) (mend func()) {
	rule.Store(true)
	return func() { rule.Store(false) }
}

const (
	mutated    = "MERIDIAN_TEST_MUTATION"
	properties = "MERIDIAN_TEST_PROPERTIES" // run tests under the mutation, in place of the examples
)

// TestExamplesNoticeMutations breaks one rule at a time, each in a process of its own since it is broken for the whole process, and requires
// that some example turns red.
func TestExamplesNoticeMutations(t *testing.T) {
	t.Parallel()
	for name := range mutations {
		if strings.HasPrefix(name, "a plan") {
			continue // TestAPlanThatForgetsProxiesIsNoticed
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), mutated+"="+name)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%s", out)
			var red []string
			for line := range strings.Lines(string(out)) {
				if _, scenario, ok := strings.Cut(line, "red: "); ok {
					red = append(red, strings.TrimSpace(scenario))
				}
			}
			t.Log(strings.Join(red, "\n"))
			assert.NotEmpty(t, red, "no example notices that %s\n%s", name, out)
		})
	}
}

// TestMain is the process of one mutation if it is asked to be: it prints the examples that turn red.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // as the commands, which let a small heap grow
	mutate := mutations[os.Getenv(mutated)]
	if mutate == nil {
		os.Exit(m.Run())
	}
	mutate()
	if os.Getenv(properties) != "" {
		os.Exit(m.Run())
	}
	scenarios, err := sim.Load("../examples")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if os.Getenv(fuzzed) != "" {
		fuzz()
		return
	}
	for _, s := range scenarios {
		if strings.Contains(s.File, "failing") {
			continue
		}
		result, err := sim.Run(context.Background(), s, sim.Options{})
		switch {
		case err != nil:
			fmt.Printf("red: %s: %s\n", s.File, err)
		case result.Status != sim.Passed:
			passed, all := result.Counted()
			fmt.Printf("red: %s: %s, %d of %d expectations passed, %s\n", s.File, result.Status, passed, all, result.Problem)
		}
	}
}

const fuzzed = "MERIDIAN_TEST_FUZZ"

// fuzz prints the shortest schedule that shows what is broken.
func fuzz() {
	s, err := sim.Parse("shop.scenario.yaml", ".", []byte(shop))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	result, err := sim.Fuzz(context.Background(), s, sim.FuzzOptions{First: 1, Seeds: 20})
	if err != nil || result.Failure == nil {
		fmt.Println("nothing was found", err)
		os.Exit(1)
	}
	fmt.Printf("seed %d: %d of %d events\n", result.Failure.Seed, len(result.Failure.Schedule), result.Failure.Events)
	for _, step := range result.Failure.Schedule {
		fmt.Println("step:", step)
	}
	for _, reason := range result.Failure.Reasons {
		fmt.Println("reason:", reason)
	}
	text := shop + "steps:\n"
	for _, step := range result.Failure.Schedule {
		text += "  - " + step + "\n"
	}
	pasted, err := sim.Parse("pasted.scenario.yaml", ".", []byte(text))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	pasted.Expect = nil
	again, err := sim.Run(context.Background(), pasted, sim.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, i := range again.Invariants {
		for _, reason := range i.Reasons {
			fmt.Printf("again: %s: %s\n", i.Invariant, reason)
		}
	}
}

// A broken protocol is found by random faults, and shown by a schedule that is much shorter than the one that found it, and that fails in the
// same way as the steps of a scenario file.
func TestFuzzFindsABrokenProtocolAndShrinksTheSchedule(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), mutated+"=the removal of a policy is dropped", fuzzed+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Log(string(out))
	steps := strings.Count(string(out), "step: ")
	assert.Positive(t, steps)
	assert.LessOrEqual(t, steps, 4)
	assert.Contains(t, string(out), "delete:", "the step without which nothing is wrong")
	assert.Contains(t, string(out), "reason: reach: ")
	var reasons, again []string
	for line := range strings.Lines(string(out)) {
		if reason, ok := strings.CutPrefix(line, "reason: "); ok {
			reasons = append(reasons, reason)
		}
		if reason, ok := strings.CutPrefix(line, "again: "); ok {
			again = append(again, reason)
		}
	}
	assert.ElementsMatch(t, reasons, again, "pasted into the file")
}
