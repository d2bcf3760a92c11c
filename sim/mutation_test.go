package sim_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
}

func breakRule(rule *atomic.Bool) (mend func()) {
	rule.Store(true)
	return func() { rule.Store(false) }
}

const mutated = "MERIDIAN_TEST_MUTATION"

// TestExamplesNoticeMutations breaks one rule at a time, each in a process of its own since it is broken for the whole process, and requires
// that some example turns red.
func TestExamplesNoticeMutations(t *testing.T) {
	t.Parallel()
	for name := range mutations {
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
	mutate := mutations[os.Getenv(mutated)]
	if mutate == nil {
		os.Exit(m.Run())
	}
	mutate()
	scenarios, err := sim.Load("../examples")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
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
