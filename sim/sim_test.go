package sim_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/sim"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	scenarios, err := sim.Load("../examples")
	require.NoError(t, err)
	require.NotEmpty(t, scenarios)
	for _, s := range scenarios {
		t.Run(s.File, func(t *testing.T) {
			t.Parallel()
			result, err := sim.Run(context.Background(), s, sim.Options{})
			require.NoError(t, err)
			assert.Empty(t, result.Problem)
			for _, o := range result.Expectations {
				assert.Equal(t, sim.Passed, o.Status, "%+v", o)
			}
			for _, i := range result.Invariants {
				assert.Equal(t, sim.Passed, i.Status, "%+v", i)
			}
			assert.Equal(t, sim.Passed, result.Status)
			rows, err := result.Policies(context.Background())
			require.NoError(t, err)
			assert.Len(t, rows, result.Counts.Policies)
		})
	}
}
