package sim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/policy"
)

// Schedule returns the random steps of a seed.
func Schedule(s *Scenario, seed uint64, events int) []Step {
	return s.schedule(seed, FuzzOptions{Faults: Faults(), Events: events})
}

// EachValue calls do with every value that is in force, where that is and the key of who gave it.
func (r *Result) EachValue(ctx context.Context, do func(at string, value any, from string)) error {
	answers, err := r.Effective(ctx, Query{})
	for _, a := range answers {
		for _, fields := range []map[placedField]policy.Field{towards(a.Destinations), inbounds(a.Inbounds), whole(a.EffectiveAnswer.Proxy), atListeners(a.Listeners)} {
			for at, f := range fields {
				do(strings.Join([]string{a.Proxy, at.kind, at.place, at.path}, " "), f.Value, originKey(r.state.home, f.Origin))
			}
		}
	}
	if errors.Is(err, errNoProxy) {
		return nil
	}
	return err
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
