package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
	"github.com/meridian-mesh/meridian/sim/virtual"
)

// Options of Run.
type Options struct {
	Dir   string // of the stores, made if missing and left behind; "": a temporary one that is removed
	After After  // is called in the bubble, and must not use what was made outside: results leave as plain values
}

// Run makes the federation of a scenario, plays its steps, and says what came of its expectations. It takes no time of the
// machine's clock but for computing.
//
// A federation that does not converge, or an invariant that is broken, is a result (Unsound). Errors: what a control plane has
// against a document, as a *Problem for each; ctx's; or that the machine lacks something, such as space for the stores.
func Run(ctx context.Context, s *Scenario, o Options) (*Result, error) {
	return play(ctx, s, o, (*run).expectations)
}

// play makes the federation of a scenario and lets it converge, does something with it, and checks the invariants.
func play(ctx context.Context, s *Scenario, o Options, then func(*run, context.Context) error) (*Result, error) {
	begin := time.Now()
	r := &run{scenario: s, options: o, result: newResult(s), stopped: ctx.Err, after: o.After}
	// A context of the caller's cannot be used in the bubble, since its Done channel was made outside.
	err := virtual.Run(func() error { return r.play(context.WithoutCancel(ctx), then) })
	if err != nil {
		return nil, err
	}
	r.result.Duration = time.Since(begin)
	r.result.conclude()
	return r.result, nil
}

func newResult(s *Scenario) *Result {
	r := &Result{Scenario: s.Name, home: s.Mesh, at: map[string]Position{}, File: s.File, Seed: s.Seed, Expectations: []Outcome{}, Invariants: []InvariantOutcome{}}
	r.Counts = Counts{Zones: len(s.Zones), Steps: len(s.Steps)}
	for _, d := range s.Documents {
		desc, _ := resource.LookupKind(d.Resource.Kind)
		r.at[d.Resource.Kind+" "+keyOn(s.Mesh, d.Plane, d.Resource)] = Position{File: d.Source, Line: d.Line}
		switch {
		case desc.Policy:
			r.Counts.Policies++
		case d.Resource.Kind == "Dataplane":
			r.Counts.Proxies++
		case slices.Contains(destinationKinds, d.Resource.Kind):
			r.Counts.Services++
		}
	}
	return r
}

// conclude sets the status.
func (r *Result) conclude() {
	r.Status = Passed
	for _, o := range r.Expectations {
		if o.Status != Passed {
			r.Status = Failed
		}
	}
	for _, i := range r.Invariants {
		if i.Status != Passed {
			r.Status = Unsound
		}
	}
	if r.Problem != "" {
		r.Status = Unsound
	}
}

// run is one run of a scenario. All of it but the result lives and dies in a bubble.
type run struct {
	scenario *Scenario
	options  Options
	result   *Result
	stopped  func() error // an error when the caller has had enough

	on    ground             // nil: simulated
	f     *planes.Federation // of a simulation
	start time.Time          // the zero of steps
	prev  effects            // what was in force before a step, if it asks

	before func(i int, s Step) error // may be nil
	after  After
	seen   int // outcomes that after has seen
}

// ground returns what the scenario is played on.
func (r *run) ground() ground {
	if r.on == nil {
		r.on = simulated{r}
	}
	return r.on
}

// convergeTime is how long a federation without faults may take to converge, of its own clock.
const convergeTime = 5 * time.Minute

// play runs everything in the bubble.
func (r *run) play(ctx context.Context, then func(*run, context.Context) error) (err error) {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.f.Close()) }()
	if err := r.write(ctx, r.scenario.Documents); err != nil {
		return err
	}
	if r.result.Problem, err = r.converge(ctx, convergeTime); err != nil {
		return err
	}
	r.start = time.Now()
	if err := then(r, ctx); err != nil || r.result.Problem != "" {
		return err
	}
	r.result.Virtual = time.Since(r.start)
	return r.checkInvariants(ctx)
}

// expectations checks what is expected at first, keeps the state for questions, and plays the steps.
func (r *run) expectations(ctx context.Context) error {
	now, err := r.ground().state(ctx)
	if err != nil {
		return err
	}
	if r.result.state, err = now.kept(now.policies()); err != nil {
		return err
	}
	if err := r.expect(ctx, r.scenario.Expect, 0); err != nil {
		return err
	}
	if r.result.Problem != "" {
		return nil // what is expected says where; steps would say more of the same
	}
	if err := r.show(ctx, -1); err != nil {
		return err
	}
	for i, s := range r.scenario.Steps {
		if r.before != nil {
			if err := r.before(i, s); err != nil {
				return err
			}
		}
		if err := errors.Join(r.stopped(), r.step(ctx, s)); err != nil {
			return err
		}
		if i+1 < len(r.scenario.Steps) && r.scenario.Steps[i+1].At == s.At {
			continue
		}
		if err := r.show(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// show shows what is now to who asked for that.
func (r *run) show(ctx context.Context, i int) error {
	if r.after == nil {
		return nil
	}
	if err := r.ground().settle(ctx); err != nil {
		return err
	}
	now, err := r.ground().state(ctx)
	if err != nil {
		return err
	}
	shown := newResult(r.scenario)
	shown.state = now
	shown.Expectations = slices.Clone(r.result.Expectations[r.seen:])
	r.seen = len(r.result.Expectations)
	shown.conclude()
	return r.after(ctx, i, shown)
}

// policies returns the identities of all policies, as far as their plane is up.
func (s *state) policies() []resource.Identity {
	var ids []resource.Identity
	for _, zone := range s.names {
		for _, r := range s.planes[zone].all {
			if d, _ := resource.LookupKind(r.Kind); d.Policy && writtenOn(r, zone) {
				ids = append(ids, r.Identity())
			}
		}
	}
	return ids
}

// write writes documents on their planes: the Meshes first, then the rest of global, then the zones, which need the Meshes.
func (r *run) write(ctx context.Context, docs []Document) error {
	on := r.ground()
	var meshes []resource.Document
	rest := map[string][]resource.Document{}
	for _, d := range docs {
		if _, up := on.runs(d.Plane); !up {
			return down(d)
		}
		if d.Resource.Kind == "Mesh" {
			meshes = append(meshes, d.Document)
		} else {
			rest[d.Plane] = append(rest[d.Plane], d.Document)
		}
	}
	for _, docs := range [][]resource.Document{meshes, rest[""]} {
		if len(docs) == 0 {
			continue
		}
		if err := on.write(ctx, map[string][]resource.Document{"": docs}); err != nil {
			return refusals(err)
		}
	}
	delete(rest, "")
	if err := on.settle(ctx); err != nil || len(rest) == 0 {
		return err
	}
	if err := on.write(ctx, rest); err != nil {
		return refusals(err)
	}
	return on.settle(ctx)
}

func (r *run) plane(name string) *planes.Plane {
	if name == "" {
		return r.f.Global()
	}
	return r.f.Zone(name)
}

// down is about a document that cannot be written.
func down(d Document) error {
	return &Problem{Position{File: d.Source, Line: d.Line}, d.Resource.Key.String(), planeName(d.Plane) + " is down, so it cannot be written"}
}

// refusals makes problems of what a plane has against documents.
func refusals(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		if _, more := e.(interface{ Unwrap() []error }); more {
			errs = append(errs, refusals(e))
			continue
		}
		refused, ok := errors.AsType[*planes.RefusedError](e)
		if !ok {
			errs = append(errs, e)
			continue
		}
		for _, reason := range refused.Reasons {
			at := Position{File: refused.Document.Source, Line: refused.Document.Line}
			errs = append(errs, &Problem{at, refused.Document.Resource.Key.String(), refused.Plane + " refuses it: " + reason})
		}
	}
	return errors.Join(errs...)
}

// converge waits until every plane has what it is to have, but not longer than most. It returns what is missing then.
func (r *run) converge(ctx context.Context, most time.Duration) (problem string, err error) {
	_, problem, err = r.ground().converge(ctx, most)
	return problem, err
}

// checkInvariants ends all faults and checks what the scenario asks for.
func (r *run) checkInvariants(ctx context.Context) error {
	if len(r.scenario.Invariants) == 0 {
		return nil
	}
	reasons := map[planes.Invariant][]string{}
	elapsed := virtual.Stopwatch()
	for _, err := range r.ground().broken(ctx) {
		broken, ok := errors.AsType[*planes.BrokenError](err)
		if !ok {
			return err
		}
		reasons[broken.Invariant] = append(reasons[broken.Invariant], broken.Plane+": "+broken.Reason)
	}
	share := elapsed() / time.Duration(len(r.scenario.Invariants))
	for _, i := range r.scenario.Invariants {
		o := InvariantOutcome{Invariant: string(i), Status: Passed, Reasons: reasons[i], Duration: share}
		if len(o.Reasons) > 0 {
			o.Status = Failed
		}
		r.result.Invariants = append(r.result.Invariants, o)
	}
	return nil
}
