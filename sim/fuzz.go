package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// Fault is a kind of fault that Fuzz makes.
type Fault string

// The kinds of faults.
const (
	FaultPartition Fault = "partition" // links are cut, and heal
	FaultStall     Fault = "stall"     // links fall silent in one direction, and heal
	FaultCrash     Fault = "crash"     // processes end, and come back over their stores
	FaultSkew      Fault = "skew"      // zones come back as older builds, and as new ones
	FaultCut       Fault = "cut"       // links are cut in the middle of a message
)

// Faults returns all of them.
func Faults() []Fault {
	return []Fault{FaultPartition, FaultStall, FaultCrash, FaultSkew, FaultCut}
}

// FuzzOptions say what Fuzz does. The zero value is one seed with every fault.
type FuzzOptions struct {
	First  uint64  // seed; 0: that of the scenario
	Seeds  int     // how many; 0: 1
	Faults []Fault // nil: all
	Events int     // of one schedule; 0: 30
	// Done is called after each seed, in order. nil: nobody asks.
	Done func(seed uint64, failed bool)
}

// FuzzResult is what came of random faults.
type FuzzResult struct {
	Scenario string       `json:"scenario"`
	Seeds    int          `json:"seeds"` // that were tried
	Failure  *FuzzFailure `json:"failure,omitempty"`

	Duration time.Duration `json:"durationNs"`
}

// FuzzFailure is a schedule under which the federation does not converge, or an invariant breaks.
type FuzzFailure struct {
	Seed     uint64   `json:"seed"`
	Schedule []string `json:"schedule"` // the shortest that was found, as steps of a scenario file, in YAML
	Events   int      `json:"events"`   // of the schedule that was found first
	Reasons  []string `json:"reasons"`  // which invariants break, where
}

const (
	fuzzEvents   = 30
	fuzzSpan     = 90 * time.Second // between two events, at most
	shrinkRounds = 200              // runs that shrinking may take
)

// Fuzz plays random faults and writes on a scenario, one schedule for each seed, until one of them breaks an invariant; that one it makes as
// short as it can. Equal seeds make equal schedules. The steps and expectations of the scenario are left out.
//
// Errors: as of Run.
func Fuzz(ctx context.Context, s *Scenario, o FuzzOptions) (*FuzzResult, error) {
	begin := time.Now()
	if o.Faults == nil {
		o.Faults = Faults()
	}
	if o.Events == 0 {
		o.Events = fuzzEvents
	}
	if o.First == 0 {
		o.First = s.Seed
	}
	result := &FuzzResult{Scenario: s.Name}
	for i := range uint64(max(1, o.Seeds)) {
		seed := o.First + i
		schedule := s.schedule(seed, o)
		reasons, err := s.broken(ctx, schedule)
		if err != nil {
			return nil, err
		}
		result.Seeds++
		if o.Done != nil {
			o.Done(seed, len(reasons) > 0)
		}
		if len(reasons) == 0 {
			continue
		}
		result.Failure = &FuzzFailure{Seed: seed, Events: len(schedule), Reasons: reasons}
		if schedule, result.Failure.Reasons, err = s.shrink(ctx, schedule, reasons); err != nil {
			return nil, err
		}
		for _, e := range schedule {
			result.Failure.Schedule = append(result.Failure.Schedule, e.String())
		}
		break
	}
	result.Duration = time.Since(begin)
	return result, nil
}

// event is a step of a schedule.
type event struct {
	at     time.Duration
	action Action
	cut    int // pieces of data until the link is cut; of FaultCut
}

// String returns the event as a step of a scenario file.
func (e event) String() string {
	what := string(e.action.Kind)
	at := fmt.Sprintf("{at: %s, ", e.at)
	names := make([]string, len(e.action.Zones))
	for i, name := range e.action.Zones {
		names[i] = planeName(name)
	}
	switch {
	case e.cut > 0:
		return fmt.Sprintf("%s%s: %s} # after %d more pieces of data %s", at, ActionPartition, names[0], e.cut, e.action.Direction)
	case e.action.Kind == ActionStall:
		return fmt.Sprintf("%s%s: {zone: %s, direction: %s}}", at, what, names[0], e.action.Direction)
	case e.action.Kind == ActionSkew:
		return fmt.Sprintf("%s%s: {%s: {without: [%s]}}}", at, what, e.action.New[0].Name, strings.Join(e.action.New[0].Without, ", "))
	case e.action.Kind == ActionDelete:
		return fmt.Sprintf("%s%s: %q}", at, what, e.action.Keys[0])
	case e.action.Kind == ActionApply:
		d := e.action.Documents[0]
		return fmt.Sprintf("%s%s: %s} # as it was at first", at, what, d.Resource.Kind+" "+d.Key())
	case e.action.Kind == ActionNone:
		return at[:len(at)-2] + "}"
	}
	return fmt.Sprintf("%s%s: %s}", at, what, strings.Join(names, ", "))
}

// schedule returns the random events of a seed.
func (s *Scenario) schedule(seed uint64, o FuzzOptions) []event {
	dice := rand.New(rand.NewPCG(seed, 2))
	var policies []Document
	for _, d := range s.Documents {
		if desc, _ := resource.LookupKind(d.Resource.Kind); desc.Policy {
			policies = append(policies, d)
		}
	}
	var events []event
	at := time.Duration(0)
	for len(events) < o.Events && len(s.Zones) > 0 {
		at += time.Duration(dice.Int64N(int64(fuzzSpan/time.Millisecond))).Truncate(100) * time.Millisecond
		if dice.IntN(2) == 0 && len(events) > 0 {
			at = events[len(events)-1].at // at once
		}
		z := s.Zones[dice.IntN(len(s.Zones))]
		e := event{at: at, action: Action{Zones: []string{z.Name}}}
		e.action.Direction = []string{"up", "down"}[dice.IntN(2)]
		if dice.IntN(2) == 0 && len(policies) > 0 {
			d := policies[dice.IntN(len(policies))]
			if e.action = (Action{Kind: ActionApply, Documents: []Document{d}}); dice.IntN(2) == 0 {
				e.action = Action{Kind: ActionDelete, Keys: []string{d.Resource.Kind + " " + d.Key()}}
			}
			events = append(events, e)
			continue
		}
		switch fault := o.Faults[dice.IntN(len(o.Faults))]; fault {
		case FaultPartition:
			e.action.Kind = []ActionKind{ActionPartition, ActionHeal}[dice.IntN(2)]
		case FaultStall:
			e.action.Kind = []ActionKind{ActionStall, ActionHeal}[dice.IntN(2)]
		case FaultCut:
			e.action.Kind, e.cut = ActionPartition, 1+dice.IntN(40)
			if dice.IntN(2) == 0 {
				e.action.Kind, e.cut = ActionHeal, 0
			}
		case FaultCrash:
			if dice.IntN(4) == 0 {
				e.action.Zones = []string{""}
			}
			e.action.Kind = []ActionKind{ActionCrash, ActionRestart}[dice.IntN(2)]
		case FaultSkew:
			e.action = Action{Kind: ActionSkew, New: []Zone{{Name: z.Name, Version: z.Version, Without: z.Without}}}
			if feature := planes.Features()[dice.IntN(len(planes.Features()))]; dice.IntN(2) == 0 && !slices.Contains(z.Without, feature) {
				e.action.New[0].Without = append(slices.Clone(z.Without), feature)
			}
		}
		events = append(events, e)
	}
	return events
}

// broken plays a schedule and returns which invariants it breaks.
func (s *Scenario) broken(ctx context.Context, schedule []event) ([]string, error) {
	quiet := *s
	quiet.Expect, quiet.Steps, quiet.Invariants = nil, nil, planes.Invariants()
	result, err := play(ctx, &quiet, Options{}, func(r *run, ctx context.Context) error { return r.fuzz(ctx, schedule) })
	if err != nil {
		return nil, err
	}
	var reasons []string
	if result.Problem != "" {
		reasons = append(reasons, result.Problem)
	}
	for _, i := range result.Invariants {
		for _, reason := range i.Reasons {
			reasons = append(reasons, i.Invariant+": "+reason)
		}
	}
	return reasons, nil
}

// fuzz plays a schedule; what cannot happen as things are, a crash of what is down, does not.
func (r *run) fuzz(_ context.Context, schedule []event) error {
	for _, e := range schedule {
		time.Sleep(max(0, e.at-time.Since(r.start)))
		if !r.possible(e.action) {
			continue
		}
		if e.cut > 0 {
			d := planes.Up
			if e.action.Direction == "down" {
				d = planes.Down
			}
			r.f.Link(e.action.Zones[0]).CutAfter(d, e.cut)
			continue
		}
		if err := r.act(e.action, Position{File: r.scenario.File}); err != nil {
			return err
		}
	}
	return nil
}

// possible says whether an action can happen now.
func (r *run) possible(a Action) bool {
	switch a.Kind {
	case ActionCrash:
		return r.plane(a.Zones[0]).Running()
	case ActionRestart:
		return !r.plane(a.Zones[0]).Running()
	case ActionApply:
		return r.plane(a.Documents[0].Plane).Running()
	case ActionDelete:
		now, err := live(r.f)
		if err != nil {
			return false
		}
		_, _, there := now.find(a.Keys[0])
		return there
	}
	return true
}

// shrink returns the shortest schedule that it finds which still breaks something: it leaves out halves, then quarters, then single
// events, as long as that helps.
func (s *Scenario) shrink(ctx context.Context, schedule []event, reasons []string) ([]event, []string, error) {
	rounds := 0
	for size := len(schedule) / 2; size > 0 && rounds < shrinkRounds; {
		smaller := false
		for at := 0; at < len(schedule) && rounds < shrinkRounds; {
			shorter := slices.Delete(slices.Clone(schedule), at, min(at+size, len(schedule)))
			rounds++
			still, err := s.broken(ctx, shorter)
			if err != nil {
				return nil, nil, err
			}
			if len(still) > 0 {
				schedule, reasons, smaller = shorter, still, true
			} else {
				at += size
			}
		}
		if !smaller || size > len(schedule)/2 {
			size = min(size/2, max(len(schedule)/2, 1))
			if smaller && size == 0 {
				size = 1
			}
		}
	}
	return schedule, reasons, nil
}
