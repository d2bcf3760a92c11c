package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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

	Parallel int // seeds that are tried at a time; 0: one for each core
	// Done is called after each seed, in any order, from several goroutines. nil: nobody asks.
	Done func(seed uint64, failed bool)
}

// FuzzResult is what came of random faults.
type FuzzResult struct {
	Scenario string       `json:"scenario"`
	Seeds    int          `json:"seeds"` // that were tried: all, or those up to the first that fails
	Failure  *FuzzFailure `json:"failure,omitempty"`

	Duration time.Duration `json:"durationNs"`
}

// FuzzFailure is a schedule under which the federation does not converge, or an invariant breaks.
type FuzzFailure struct {
	Seed     uint64   `json:"seed"`
	Schedule []string `json:"schedule"` // the shortest that was found, as steps of a scenario file, in YAML
	Events   int      `json:"events"`   // of the schedule that was found first
	Reasons  []string `json:"reasons"`  // which invariants break, where

	// Runs is how often Run has played the schedule in the end, and Broke how often that broke something. It is not the same where the moment
	// counts at which a link is cut: what is on the wire then is up to the scheduler of the machine.
	Runs  int `json:"runs"`
	Broke int `json:"broke"`
}

const (
	fuzzEvents   = 30
	fuzzSpan     = 90 * time.Second // between two events, at most
	shrinkRounds = 200              // runs that shrinking may take
	runsAgain    = 5                // of what was shrunk
)

// Fuzz plays random faults and writes on a scenario, one schedule for each seed, some at a time, until one of them breaks an invariant; the
// first that does it makes as short as it can. Equal seeds make equal schedules. The steps and expectations of the scenario are left out.
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
	result := &FuzzResult{Scenario: s.Name, Seeds: max(1, o.Seeds)}
	found, err := s.firstBroken(ctx, o, result.Seeds)
	if err != nil {
		return nil, err
	}
	if found != nil {
		result.Seeds = found.at + 1
		result.Failure = &FuzzFailure{Seed: o.First + uint64(found.at), Events: o.Events, Reasons: found.reasons}
		if err := s.shrink(ctx, found.played, result.Failure); err != nil {
			return nil, err
		}
	}
	result.Duration = time.Since(begin)
	return result, nil
}

// brokenSeed is a seed that breaks something.
type brokenSeed struct {
	at      int // its place among all
	played  []Step
	reasons []string
}

// firstBroken tries seeds until one breaks something and all before it have been tried. nil: none does.
func (s *Scenario) firstBroken(ctx context.Context, o FuzzOptions, seeds int) (*brokenSeed, error) {
	var mu sync.Mutex
	var first *brokenSeed // guarded by mu
	later := func(i int) bool {
		mu.Lock()
		defer mu.Unlock()
		return first != nil && first.at < i
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(cmp.Or(o.Parallel, runtime.GOMAXPROCS(0)))
	for i := 0; i < seeds && inner.Err() == nil && !later(i); i++ {
		group.Go(func() error {
			if later(i) {
				return nil
			}
			seed := o.First + uint64(i)
			reasons, played, err := s.broken(inner, s.schedule(seed, o))
			if err != nil {
				return err
			}
			if o.Done != nil {
				o.Done(seed, len(reasons) > 0)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(reasons) > 0 && (first == nil || i < first.at) {
				first = &brokenSeed{i, played, reasons}
			}
			return nil
		})
	}
	if err := cmp.Or(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	return first, nil
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
	result, err := play(ctx, s.quiet(nil), Options{}, func(r *run, ctx context.Context) error {
		played, err = r.fuzz(ctx, schedule)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return result.brokenBy(), played, nil
}

// quiet returns the scenario with other steps and nothing expected but that all invariants hold.
func (s *Scenario) quiet(steps []Step) *Scenario {
	quiet := *s
	quiet.Expect, quiet.Steps, quiet.Invariants = nil, steps, planes.Invariants()
	return &quiet
}

// brokenBy says which invariants are broken, and where.
func (r *Result) brokenBy() (reasons []string) {
	if r.Problem != "" {
		reasons = append(reasons, r.Problem)
	}
	for _, i := range r.Invariants {
		for _, reason := range i.Reasons {
			reasons = append(reasons, i.Invariant+": "+reason)
		}
	}
	return reasons
}

// fuzz plays a schedule and returns the steps that it has played; what cannot happen as things are, a crash of what is down, does not.
func (r *run) fuzz(ctx context.Context, schedule []Step) (played []Step, err error) {
	for _, s := range schedule {
		if err := r.stopped(); err != nil {
			return nil, err
		}
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

// shrink puts the shortest schedule that it finds which still breaks something into f: it leaves out halves, then quarters, then single events,
// as long as that helps. What is left has been played as the steps of a scenario file are, and broke something then, too.
func (s *Scenario) shrink(ctx context.Context, schedule []Step, f *FuzzFailure) error {
	rounds := 0
	again := func(steps []Step) ([]string, error) {
		result, err := Run(ctx, s.quiet(steps), Options{})
		if err != nil {
			return nil, err
		}
		return result.brokenBy(), nil
	}
	for size := len(schedule) / 2; size > 0 && rounds < shrinkRounds; {
		smaller := false
		for at := 0; at < len(schedule) && rounds < shrinkRounds; {
			shorter := slices.Delete(slices.Clone(schedule), at, min(at+size, len(schedule)))
			rounds++
			reasons, played, err := s.broken(ctx, shorter)
			if err == nil && len(reasons) > 0 {
				reasons, err = again(played)
			}
			if err != nil {
				return err
			}
			if len(reasons) > 0 {
				schedule, f.Reasons, smaller = played, reasons, true
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
	for _, e := range schedule {
		f.Schedule = append(f.Schedule, e.String())
	}
	for f.Runs = 0; f.Runs < runsAgain; f.Runs++ {
		reasons, err := again(schedule)
		if err != nil {
			return err
		}
		if len(reasons) > 0 {
			f.Reasons = reasons
			f.Broke++
		}
	}
	return nil
}
