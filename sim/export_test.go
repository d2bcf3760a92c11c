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
		for _, fields := range fieldsOf(a.EffectiveAnswer) {
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

// EachPort calls do with every port of a destination that is listed, and with its service: each as at of EachValue begins, but for the type.
func (r *Result) EachPort(ctx context.Context, do func(proxy, port, service string)) error {
	answers, err := r.Effective(ctx, Query{})
	if errors.Is(err, errNoProxy) {
		return nil
	}
	for _, a := range answers {
		ports := func(prefix string, tos []policy.EffectiveTo) {
			service := ""
			for _, to := range tos { // the ports of a service come after it
				if to.Section == "" {
					service = to.KRI
				} else {
					do(a.Proxy, prefix+to.KRI, prefix+service)
				}
			}
		}
		ports("", a.Destinations)
		for _, l := range a.Listeners {
			ports("listener "+l.String()+" ", l.Destinations)
		}
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
