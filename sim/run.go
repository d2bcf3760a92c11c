package sim

import (
	"context"
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
	"github.com/meridian-mesh/meridian/sim/virtual"
)

// Options of Run.
type Options struct {
	Dir string // of the stores, made if missing and left behind; "": a temporary one that is removed
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
	r := &run{scenario: s, options: o, result: newResult(s), stopped: ctx.Err}
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
		r.at[d.ref()] = Position{File: d.Source, Line: d.Line}
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

	f     *planes.Federation
	start time.Time // the zero of steps
	prev  effects   // what was in force before a step, if it asks
}

// convergeTime is how long a federation without faults may take to converge, of its own clock.
const convergeTime = 5 * time.Minute

// play runs everything in the bubble.
func (r *run) play(ctx context.Context, then func(*run, context.Context) error) (err error) {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.f.Close()) }()
	if err := r.write(r.scenario.Documents); err != nil {
		return err
	}
	if r.result.Problem, err = r.converge(convergeTime); err != nil {
		return err
	}
	r.start = time.Now()
	if err := then(r, ctx); err != nil || r.result.Problem != "" {
		return err
	}
	r.result.Virtual = time.Since(r.start)
	return r.checkInvariants()
}

// expectations checks what is expected at first, keeps the state for questions, and plays the steps.
func (r *run) expectations(ctx context.Context) error {
	now, err := r.live()
	if err != nil {
		return err
	}
	if r.result.state, err = now.kept(now.policies()); err != nil {
		return err
	}
	if err := r.expect(ctx, now, r.scenario.Expect, 0); err != nil {
		return err
	}
	if r.result.Problem != "" {
		return nil // what is expected says where; steps would say more of the same
	}
	for _, s := range r.scenario.Steps {
		if err := errors.Join(r.stopped(), r.step(ctx, s)); err != nil {
			return err
		}
	}
	return nil
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
func (r *run) write(docs []Document) error {
	var meshes []Document
	rest := map[string][]Document{}
	for _, d := range docs {
		if d.Resource.Kind == "Mesh" {
			meshes = append(meshes, d)
		} else {
			rest[d.Plane] = append(rest[d.Plane], d)
		}
	}
	for _, docs := range [][]Document{meshes, rest[""]} {
		if len(docs) == 0 {
			continue
		}
		if !r.f.Global().Running() {
			return down(docs[0])
		}
		if _, err := r.f.Global().Write(plain(docs)); err != nil {
			return refusals(err)
		}
	}
	delete(rest, "")
	synctest.Wait()
	zones := map[string][]resource.Document{}
	for name, docs := range rest {
		if p := r.f.Zone(name); p == nil || !p.Running() {
			return down(docs[0])
		}
		zones[name] = plain(docs)
	}
	err := refusals(r.f.WriteZones(zones))
	synctest.Wait()
	return err
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

func plain(docs []Document) []resource.Document {
	all := make([]resource.Document, len(docs))
	for i, d := range docs {
		all[i] = d.Document
	}
	return all
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

// converge lets time pass until every plane has what it is to have, but not longer than most. It returns what is missing then.
func (r *run) converge(most time.Duration) (problem string, err error) {
	for wait := time.Millisecond; ; wait *= 2 {
		synctest.Wait()
		converged, missing := r.f.Converged()
		if converged {
			return "", nil
		}
		if broken, ok := errors.AsType[*planes.BrokenError](missing); !ok {
			return "", missing
		} else {
			problem = broken.Plane + ": " + broken.Reason
		}
		if most <= 0 {
			return problem, nil
		}
		wait = min(wait, most)
		time.Sleep(wait)
		most -= wait
	}
}

// checkInvariants ends all faults and checks what the scenario asks for.
func (r *run) checkInvariants() error {
	if len(r.scenario.Invariants) == 0 {
		return nil
	}
	reasons := map[planes.Invariant][]string{}
	elapsed := virtual.Stopwatch()
	for _, err := range r.f.Check() {
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
