package sim

import (
	"context"
	"net/http"
	"time"
)

// Schedule returns the random steps of a seed.
func Schedule(s *Scenario, seed uint64, events int) []Step {
	return s.schedule(seed, FuzzOptions{Faults: Faults(), Events: events})
}

// While calls do while the federation of a scenario runs and has converged; ask asks its global control plane.
func While(s *Scenario, do func(ask Ask) error) error {
	_, err := play(context.Background(), s, Options{}, func(r *run, _ context.Context) error {
		time.Sleep(time.Minute)
		return do(func(_ context.Context, path string) (int, []byte, error) {
			answer := r.f.Global().Do(http.MethodGet, path, nil)
			return answer.Code, answer.Body.Bytes(), nil
		})
	})
	return err
}
