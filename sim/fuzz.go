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
		reasons, played, err := s.broken(ctx, schedule)
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
		if schedule, result.Failure.Reasons, err = s.shrink(ctx, played, reasons); err != nil {
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

// String returns a step of those that schedules are made of as it is written in a scenario file.
func (s Step) String() string {
	a := s.Action
	names := make([]string, len(a.Zones))
	for i, name := range a.Zones {
		names[i] = planeName(name)
	}
	list := func(words []string) string {
		if len(words) == 1 {
			return words[0]
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	what := list(names)
	switch a.Kind {
	case ActionNone:
		return fmt.Sprintf("{at: %s}", s.At)
	case ActionStall, ActionCutAfter:
		what = "{zone: " + what
		if a.Direction != "" {
			what += ", direction: " + a.Direction
		}
		if a.Kind == ActionCutAfter {
			what += fmt.Sprint(", pieces: ", a.Pieces)
		}
		what += "}"
	case ActionSkew:
		zones := make([]string, len(a.New))
		for i, z := range a.New {
			fields := []string{"without: [" + strings.Join(z.Without, ", ") + "]"}
			if z.Version != "" {
				fields = append(fields, fmt.Sprintf("version: %q", z.Version))
			}
			zones[i] = z.Name + ": {" + strings.Join(fields, ", ") + "}"
		}
		what = "{" + strings.Join(zones, ", ") + "}"
	case ActionApply, ActionDelete:
		what = list(a.Keys)
	}
	return fmt.Sprintf("{at: %s, %s: %s}", s.At, a.Kind, what)
}

// schedule returns the random events of a seed.
func (s *Scenario) schedule(seed uint64, o FuzzOptions) []Step {
	dice := rand.New(rand.NewPCG(seed, 2))
	var policies []Document
	for _, d := range s.Documents {
		if desc, _ := resource.LookupKind(d.Resource.Kind); desc.Policy {
			policies = append(policies, d)
		}
	}
	var events []Step
	at := time.Duration(0)
	for len(events) < o.Events && len(s.Zones) > 0 {
		at += time.Duration(dice.Int64N(int64(fuzzSpan/time.Millisecond))).Truncate(100) * time.Millisecond
		if dice.IntN(2) == 0 && len(events) > 0 {
			at = events[len(events)-1].At // at once
		}
		z := s.Zones[dice.IntN(len(s.Zones))]
		a := Action{Zones: []string{z.Name}}
		direction := []string{"up", "down"}[dice.IntN(2)]
		if dice.IntN(2) == 0 && len(policies) > 0 {
			a = Action{Kind: []ActionKind{ActionApply, ActionDelete}[dice.IntN(2)], Keys: []string{policies[dice.IntN(len(policies))].ref()}}
			events = append(events, Step{At: at, Action: a})
			continue
		}
		switch fault := o.Faults[dice.IntN(len(o.Faults))]; fault {
		case FaultPartition:
			a.Kind = []ActionKind{ActionPartition, ActionHeal}[dice.IntN(2)]
		case FaultStall:
			if a.Kind = ActionHeal; dice.IntN(2) == 0 {
				a.Kind, a.Direction = ActionStall, direction
			}
		case FaultCut:
			a.Kind, a.Direction, a.Pieces = ActionCutAfter, direction, 1+dice.IntN(40)
			if dice.IntN(2) == 0 {
				a.Kind, a.Direction, a.Pieces = ActionHeal, "", 0
			}
		case FaultCrash:
			if dice.IntN(4) == 0 {
				a.Zones = []string{""}
			}
			a.Kind = []ActionKind{ActionCrash, ActionRestart}[dice.IntN(2)]
		case FaultSkew:
			a = Action{Kind: ActionSkew, New: []Zone{{Name: z.Name, Version: z.Version, Without: z.Without}}}
			if feature := planes.Features()[dice.IntN(len(planes.Features()))]; dice.IntN(2) == 0 && !slices.Contains(z.Without, feature) {
				a.New[0].Without = append(slices.Clone(z.Without), feature)
			}
		}
		events = append(events, Step{At: at, Action: a})
	}
	return events
}

// broken plays a schedule and returns which invariants it breaks, and the steps that were possible when they were due.
func (s *Scenario) broken(ctx context.Context, schedule []Step) (reasons []string, played []Step, err error) {
	quiet := *s
	quiet.Expect, quiet.Steps, quiet.Invariants = nil, nil, planes.Invariants()
	result, err := play(ctx, &quiet, Options{}, func(r *run, ctx context.Context) error {
		played, err = r.fuzz(ctx, schedule)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if result.Problem != "" {
		reasons = append(reasons, result.Problem)
	}
	for _, i := range result.Invariants {
		for _, reason := range i.Reasons {
			reasons = append(reasons, i.Invariant+": "+reason)
		}
	}
	return reasons, played, nil
}

// fuzz plays a schedule and returns the steps that it has played; what cannot happen as things are, a crash of what is down, does not.
func (r *run) fuzz(ctx context.Context, schedule []Step) (played []Step, err error) {
	for _, s := range schedule {
		if err := r.step(ctx, Step{At: s.At}); err != nil { // the time has come
			return nil, err
		}
		if !r.possible(s.Action) {
			continue
		}
		s.Pos = Position{File: r.scenario.File}
		if err := r.step(ctx, s); err != nil {
			return nil, err
		}
		played = append(played, s)
	}
	return played, nil
}

// possible says whether an action can happen now.
func (r *run) possible(a Action) bool {
	switch a.Kind {
	case ActionCrash:
		return r.plane(a.Zones[0]).Running()
	case ActionRestart:
		return !r.plane(a.Zones[0]).Running()
	case ActionApply:
		return r.plane(r.scenario.documents(a.Keys[0])[0].Plane).Running()
	case ActionDelete:
		now, err := r.live()
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
func (s *Scenario) shrink(ctx context.Context, schedule []Step, reasons []string) ([]Step, []string, error) {
	rounds := 0
	for size := len(schedule) / 2; size > 0 && rounds < shrinkRounds; {
		smaller := false
		for at := 0; at < len(schedule) && rounds < shrinkRounds; {
			shorter := slices.Delete(slices.Clone(schedule), at, min(at+size, len(schedule)))
			rounds++
			still, played, err := s.broken(ctx, shorter)
			if err != nil {
				return nil, nil, err
			}
			if len(still) > 0 {
				schedule, reasons, smaller = played, still, true
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
