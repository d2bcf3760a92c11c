package sim

import (
	"context"
	"errors"
	"testing/synctest"
	"time"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// ground is the federation that a scenario is played on: a simulated one, or processes. Planes are called as in a Scenario, "" is global.
// What is expected is checked against the states that it returns, whatever it is.
type ground interface {
	// runs says whether there is such a plane now, and whether it is up.
	runs(plane string) (there, up bool)
	// state returns what the planes have that are up.
	state(ctx context.Context) (*state, error)

	// write writes documents on planes that are up, side by side, and the error is as of planes.Plane.Write. delete deletes on one.
	write(ctx context.Context, docs map[string][]resource.Document) error
	delete(ctx context.Context, plane string, key resource.Key) error
	// act does what a step says, if that is no write. The planes and zones that it names are there, and down if they are to start.
	act(ctx context.Context, a Action) error

	// pass lets time pass until it is at, counted from the first step, and everything has moved that could until then.
	pass(ctx context.Context, at time.Duration) error
	// settle returns when everything has moved that can without time passing.
	settle(ctx context.Context) error
	// converge returns when every plane that is up has what it is to have, and how long that took, or what is missing after most.
	converge(ctx context.Context, most time.Duration) (took time.Duration, missing string, err error)
	// again says whether what did not hold is to be asked again, after a pause: things move that settle cannot wait for.
	again(ctx context.Context) bool
	// broken ends all faults, and returns a *planes.BrokenError for each invariant that does not hold somewhere.
	broken(ctx context.Context) []error
}

// simulated is the ground of the planes of this process, in a bubble.
type simulated struct{ *run }

func (s simulated) runs(plane string) (there, up bool) {
	p := s.plane(plane)
	return p != nil, p != nil && p.Running()
}

func (s simulated) state(context.Context) (*state, error) { return s.live() }

func (s simulated) write(_ context.Context, docs map[string][]resource.Document) error {
	if of, ok := docs[""]; ok {
		_, err := s.f.Global().Write(of)
		return err
	}
	return s.f.WriteZones(docs)
}

func (s simulated) delete(_ context.Context, plane string, key resource.Key) error {
	return s.plane(plane).Delete(key)
}

func (s simulated) act(_ context.Context, a Action) error {
	var errs []error
	for _, name := range a.Zones {
		p, l := s.plane(name), s.f.Link(name)
		switch a.Kind {
		case ActionPartition:
			l.Cut()
		case ActionHeal:
			l.Heal()
		case ActionStall:
			for _, d := range a.directions() {
				l.Stall(d)
			}
		case ActionCutAfter:
			for _, d := range a.directions() {
				l.CutAfter(d, a.Pieces)
			}
		case ActionCrash:
			errs = append(errs, p.Stop())
		case ActionRestart:
			errs = append(errs, p.Stop(), p.Start())
		case ActionRemoveZone:
			errs = append(errs, s.f.RemoveZone(name))
		}
	}
	for _, z := range a.New {
		switch zone := (planes.Zone{Name: z.Name, Version: z.Version, Without: z.Without}); a.Kind {
		case ActionAddZone:
			errs = append(errs, s.f.AddZone(zone))
		case ActionSkew:
			errs = append(errs, s.f.Skew(zone))
		}
	}
	return errors.Join(errs...)
}

func (s simulated) pass(_ context.Context, at time.Duration) error {
	if wait := at - time.Since(s.start); wait > 0 {
		time.Sleep(wait)
		synctest.Wait()
	}
	return nil
}

func (s simulated) settle(context.Context) error {
	synctest.Wait()
	return nil
}

// converge asks again and again, at times of the virtual clock.
func (s simulated) converge(_ context.Context, most time.Duration) (took time.Duration, missing string, err error) {
	begin := time.Now()
	for wait := time.Millisecond; ; wait *= 2 {
		synctest.Wait()
		converged, reason := s.f.Converged()
		if converged {
			return time.Since(begin), "", nil
		}
		broken, ok := errors.AsType[*planes.BrokenError](reason)
		if !ok {
			return 0, "", reason
		}
		left := most - time.Since(begin)
		if left <= 0 {
			return 0, broken.Plane + ": " + broken.Reason, nil
		}
		time.Sleep(min(wait, left))
	}
}

func (s simulated) again(context.Context) bool { return false }

func (s simulated) broken(context.Context) []error { return s.f.Check() }
