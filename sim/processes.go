package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// Processes are control planes that run as processes, for Play: what can be done to them. Planes are called as in a Scenario, "" is
// global. Play calls one method at a time, but for Write and what Ask returns.
type Processes interface {
	// Ask returns what sends questions to a plane that is up.
	Ask(plane string) Ask
	// Write writes documents on a plane that is up: all, or, with a *planes.RefusedError joined for each that it refuses, none.
	Write(ctx context.Context, plane string, docs []resource.Document) error
	// Delete deletes what a plane has under a key.
	Delete(ctx context.Context, plane string, key resource.Key) error

	// Cut ends the connection of a zone to global, and lets no other come about. Stall keeps back what goes up, to global, or down, and tells
	// nobody. Heal undoes both.
	Cut(zone string)
	Stall(zone string, up, down bool)
	Heal(zone string)

	// Crash ends a process as a power cut would. Restart starts one over its store, and ends it first if it runs. Both return when that is done;
	// whether a zone is connected then does not matter.
	Crash(plane string) error
	Restart(ctx context.Context, plane string) error
	// Add starts a zone that was not there. Skew is Restart of a zone as another build.
	Add(ctx context.Context, z Zone) error
	Skew(ctx context.Context, z Zone) error
	// Remove ends a zone for ever, and deletes it on global as soon as global lets that happen.
	Remove(ctx context.Context, zone string) error
}

// PlayOptions of Play.
type PlayOptions struct {
	Patience time.Duration // how long what is to happen may take; 0: 30 s
	NoSteps  bool          // only what is expected before the first step
	Leave    bool          // the federation as it is after the last step, with its faults: invariants are not checked

	// Before is called before each step, from 0. Whoever waits in it may do to the planes what he likes. nil: nobody asks.
	Before func(i int, s Step) error
	After  After
}

const defaultPatience = 30 * time.Second

// After is called when the last step of a time has been played and everything has moved that can: i counts steps from 0, and is -1 before the
// first. now is the federation as it is then, with what came of what was expected since the last call, and may be asked until After returns. An
// error ends the run. nil: nobody asks.
type After func(ctx context.Context, i int, now *Result) error

// Play is Run for processes: it writes the documents of a scenario on planes that have just been started, plays its steps, and says what came of
// its expectations, which are checked by the same code, against what the planes answer through their REST APIs.
//
// Processes have no virtual clock. A step follows the one before it as soon as that has come to rest: until every plane that is up and linked
// has what it is to have. So whoever had to wait for a time of the clock to connect anew has done that, too; and what is expected within a
// time is waited for as long as Patience. On a link that is stalled in one direction nothing shows when it has come to rest: what is
// expected then is asked until it holds, or Patience is over.
//
// The invariants but NoLeak are checked at the end, which only the logs of stores could show.
//
// A federation that does not come to rest is a result (Unsound). Errors: as of Playable; what a plane has against a document, as a *Problem for
// each; ctx's; or what Processes say.
func Play(ctx context.Context, s *Scenario, p Processes, o PlayOptions) (*Result, error) {
	if err := s.Playable(); err != nil && !o.NoSteps {
		return nil, err
	}
	played := *s
	if o.NoSteps {
		played.Steps, played.Invariants = nil, nil
	}
	if o.Leave {
		played.Invariants = nil
	}
	played.Invariants = slices.DeleteFunc(slices.Clone(played.Invariants), func(i planes.Invariant) bool { return i == planes.NoLeak })
	on := &processes{Processes: p, home: s.Mesh, patience: o.Patience, fresh: o.Before == nil, zones: map[string]*processZone{}, written: map[string]map[resource.Key]*resource.Resource{}}
	if on.patience == 0 {
		on.patience = defaultPatience
	}
	for _, z := range s.Zones {
		on.join(z, time.Time{})
	}
	begin := time.Now()
	r := &run{scenario: &played, result: newResult(&played), stopped: ctx.Err, on: on, before: o.Before, after: o.After}
	restless := func(err error) error {
		if e, ok := errors.AsType[*restlessError](err); ok {
			r.result.Problem = e.Error()
			return nil
		}
		return err
	}
	err := restless(r.write(ctx, s.Documents))
	if err == nil {
		err = restless(r.expectations(ctx))
	}
	if err == nil && r.result.Problem == "" {
		err = r.checkInvariants(ctx)
	}
	if err != nil {
		return nil, err
	}
	r.result.Duration = time.Since(begin)
	r.result.conclude()
	return r.result, nil
}

// Playable says which steps only a simulation can play, a *Problem for each.
func (s *Scenario) Playable() error {
	var errs []error
	for _, step := range s.Steps {
		if step.Action.Kind == ActionCutAfter {
			errs = append(errs, &Problem{step.Pos, string(step.Action.Kind),
				"processes cannot play it: the pieces of data that it counts are those of simulated links; `meridian sim` plays it, and partition cuts a link here"})
		}
	}
	return errors.Join(errs...)
}

// restlessError says what is missing when patience is over.
type restlessError struct {
	missing string
	after   time.Duration
}

func (e *restlessError) Error() string { return fmt.Sprintf("%s, still after %s", e.missing, e.after) }

// Pauses between two looks at processes.
const (
	firstLook  = 2 * time.Millisecond
	longestLap = 100 * time.Millisecond
)

// processes is the ground of Play. One goroutine uses it.
type processes struct {
	Processes
	home     string // the mesh of the scenario
	patience time.Duration
	fresh    bool // nobody else touches the planes

	zones      map[string]*processZone
	globalDown bool
	at         time.Duration // of the clock of the scenario
	begun      time.Time     // of what was done last
	reached    time.Time     // of now
	now        *state        // that was come to rest in; nil: something was done since

	disabled map[string]bool // zones, when global was asked last

	written map[string]map[resource.Key]*resource.Resource // what a plane has acknowledged last; nil: deleted
}

// processZone is a zone that is there, and what was done to it.
type processZone struct {
	features scope.Features
	down     bool
	cut      bool
	up, dn   bool      // stalled
	since    time.Time // a connection of before does not count
}

func (e *processes) join(z Zone, since time.Time) {
	e.zones[z.Name] = &processZone{features: planes.Zone{Without: z.Without}.Features(), since: since}
}

// whole says whether nothing keeps a zone from global.
func (e *processes) whole(z *processZone) bool {
	return !z.down && !e.globalDown && !z.cut && !z.up && !z.dn
}

func (e *processes) runs(plane string) (there, up bool) {
	if plane == "" {
		return true, !e.globalDown
	}
	z := e.zones[plane]
	return z != nil, z != nil && !z.down
}

// done notes that something is about to happen.
func (e *processes) done() { e.now, e.begun = nil, time.Now() }

func (e *processes) write(ctx context.Context, docs map[string][]resource.Document) error {
	e.done()
	errs := make(chan error, len(docs))
	for plane, of := range docs {
		go func() { errs <- e.Write(ctx, plane, of) }()
	}
	var all []error
	for range docs {
		all = append(all, <-errs)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	for plane, of := range docs {
		if e.written[plane] == nil {
			e.written[plane] = map[resource.Key]*resource.Resource{}
		}
		for _, d := range of {
			e.written[plane][d.Resource.Key] = &d.Resource
		}
	}
	return nil
}

func (e *processes) delete(ctx context.Context, plane string, key resource.Key) error {
	e.done()
	if err := e.Delete(ctx, plane, key); err != nil {
		return err
	}
	if key.Kind == "Mesh" { // takes along what is in it
		maps.DeleteFunc(e.written[plane], func(k resource.Key, _ *resource.Resource) bool { return k.Mesh == key.Name })
	}
	if of := e.written[plane]; of != nil && key.Kind != "Zone" { // which joins again by itself
		of[key] = nil
	}
	return nil
}

func (e *processes) act(ctx context.Context, a Action) error {
	e.done()
	for _, name := range a.Zones {
		if err := e.actOn(ctx, a, name); err != nil {
			return err
		}
	}
	for _, z := range a.New {
		var err error
		begun := time.Now()
		if a.Kind == ActionSkew {
			err = e.Skew(ctx, z)
		} else {
			err = e.Add(ctx, z)
		}
		if err != nil {
			return err
		}
		old := e.zones[z.Name]
		if e.join(z, begun); old != nil { // the link stays as it is
			e.zones[z.Name].cut, e.zones[z.Name].up, e.zones[z.Name].dn = old.cut, old.up, old.dn
		}
	}
	return nil
}

func (e *processes) actOn(ctx context.Context, a Action, plane string) error {
	z := e.zones[plane] // nil: global
	switch a.Kind {
	case ActionPartition:
		e.Cut(plane)
		z.cut, z.since = true, time.Now()
	case ActionStall:
		z.up, z.dn = z.up || a.Direction != "down", z.dn || a.Direction != "up"
		e.Stall(plane, z.up, z.dn)
	case ActionHeal:
		e.Heal(plane)
		z.cut, z.up, z.dn = false, false, false
	case ActionCrash, ActionRestart:
		do := e.Crash
		if a.Kind == ActionRestart {
			do = func(plane string) error { return e.Restart(ctx, plane) }
		}
		begun := time.Now()
		if err := do(plane); err != nil {
			return err
		}
		if z != nil {
			z.down, z.since = a.Kind == ActionCrash, begun
			break
		}
		e.globalDown = a.Kind == ActionCrash
		for _, z := range e.zones {
			z.since = begun
		}
	case ActionRemoveZone:
		if err := e.Remove(ctx, plane); err != nil {
			return err
		}
		delete(e.zones, plane)
		delete(e.written, plane)
	}
	return nil
}

// pass lets everything come to rest: no more can happen until then.
func (e *processes) pass(ctx context.Context, at time.Duration) error {
	if !e.fresh {
		e.now = nil
	}
	if at <= e.at {
		return nil
	}
	e.at = at
	return e.settle(ctx)
}

func (e *processes) settle(ctx context.Context) error {
	missing, err := e.rest(ctx, e.patience)
	if err == nil && missing != "" {
		err = &restlessError{missing, e.patience}
	}
	return err
}

// converge is rest for zones that cannot come to have what they are to have, too: then, unless a link is silent in one direction, there is nothing
// to wait for.
func (e *processes) converge(ctx context.Context, most time.Duration) (took time.Duration, missing string, err error) {
	most = max(most, e.patience)
	for begin := time.Now(); ; {
		if missing, err = e.rest(ctx, most); missing == "" && err == nil {
			missing = e.lacking(e.now, func(z *processZone) bool { return !z.down })
		}
		if missing == "" || err != nil || time.Since(begin) > most || !e.again(ctx) {
			return e.reached.Sub(e.begun), missing, err
		}
	}
}

// rest returns when everything has come to rest, or with what is missing after most. What was found then is the state.
func (e *processes) rest(ctx context.Context, most time.Duration) (missing string, err error) {
	begin := time.Now()
	for wait := firstLook; e.now == nil; wait = min(2*wait, longestLap) {
		now, missing, err := e.look(ctx)
		if err != nil {
			return "", errors.Join(context.Cause(ctx), err)
		}
		if missing == "" {
			e.now, e.reached = now, time.Now()
			break
		}
		if time.Since(begin) > most {
			return missing, nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(wait):
		}
	}
	return "", nil
}

func (e *processes) state(ctx context.Context) (*state, error) {
	if e.now == nil {
		return e.read(ctx)
	}
	return e.now, nil
}

// read returns what the planes have that are up.
func (e *processes) read(ctx context.Context) (*state, error) {
	asks := map[string]Ask{}
	for _, name := range append(sortedKeys(e.zones), "") {
		if _, up := e.runs(name); up {
			asks[name] = e.Ask(name)
		}
	}
	return observed(ctx, e.home, asks)
}

// look returns the state, or what is missing until it is at rest: a connection, an answer to what was sent, or, which is what counts, something
// that a plane is to have.
func (e *processes) look(ctx context.Context) (now *state, missing string, err error) {
	if missing, err = e.busy(ctx); err != nil || missing != "" {
		return nil, missing, err
	}
	if now, err = e.read(ctx); err != nil {
		return nil, "", err
	}
	if missing = e.lacking(now, e.whole); missing == "" {
		missing, err = e.busy(ctx) // what has arrived is not answered yet
	}
	return now, missing, err
}

// busy says who is not connected though the link is whole, or has not answered; "": nobody.
func (e *processes) busy(ctx context.Context) (missing string, err error) {
	if e.globalDown {
		return "", nil
	}
	peers, err := e.peers(ctx, "")
	if err != nil {
		return "", err
	}
	for _, name := range sortedKeys(e.zones) {
		z := e.zones[name]
		if !e.whole(z) {
			continue
		}
		if missing := waiting(peers, name, z.since); missing != "" {
			return "global: " + missing, nil
		}
		global, err := e.peers(ctx, name)
		if err != nil {
			return "", err
		}
		if missing := waiting(global, "", z.since); missing != "" {
			return name + ": " + missing, nil
		}
	}
	return "", nil
}

// peers asks a plane how the sync with the others is.
func (e *processes) peers(ctx context.Context, plane string) ([]kds.PeerStatus, error) {
	var answer struct{ Peers []kds.PeerStatus }
	if err := get(ctx, e.Ask(plane), "/status/sync", &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", planeName(plane), err)
	}
	return answer.Peers, nil
}

// waiting says what a peer has not answered yet, "" if nothing, on a connection that is younger than since.
func waiting(peers []kds.PeerStatus, peer string, since time.Time) string {
	for _, p := range peers {
		if p.Zone != peer {
			continue
		}
		if p.State != kds.Online || p.Since.Before(since) {
			return planeName(peer) + " is not connected"
		}
		for _, k := range p.Kinds {
			if k.Sent && !k.Waiting.IsZero() && k.Held == nil {
				return fmt.Sprintf("%s does not answer about %s", planeName(peer), k.Kind)
			}
		}
		return ""
	}
	return planeName(peer) + " is not connected"
}

// lacking says what a plane has not of what others have written, or should not have: on the way from a zone to global, and from global to a
// zone, as far as zones are taken into account. "": nothing. Without global it says it of the way from zone to zone.
func (e *processes) lacking(now *state, counts func(*processZone) bool) string {
	global := now.planes[""]
	if global != nil {
		e.disabled = map[string]bool{}
		for _, r := range global.all {
			if r.Kind == "Zone" {
				enabled, err := resource.ZoneEnabled(r)
				e.disabled[r.Name] = err == nil && !enabled
			}
		}
	}
	goesUp := func(zone string) func(resource.Resource) bool {
		return func(r resource.Resource) bool {
			sent, _ := scope.Decide(r, scope.Peer{Zone: zone}, scope.Peer{})
			return sent
		}
	}
	goesDown := func(zone string) func(resource.Resource) bool {
		to := scope.Peer{Zone: zone, Features: e.zones[zone].features}
		return func(r resource.Resource) bool {
			own := writtenOn(r, "")
			return (own || r.Zone() != zone && !e.disabled[r.Zone()]) && scope.Inspect(r).MayReach(scope.Peer{}, to)
		}
	}
	of := func(zone string) func(resource.Resource) bool {
		return func(r resource.Resource) bool { return !writtenOn(r, "") && r.Zone() == zone }
	}
	for _, name := range now.names {
		if name == "" || !counts(e.zones[name]) {
			continue
		}
		zone := now.planes[name]
		if global != nil {
			if missing := hop(zone.all, goesUp(name), global, of(name)); missing != "" {
				return "global: " + missing
			}
			elsewhere := func(r resource.Resource) bool { return !writtenOn(r, name) }
			if missing := hop(global.all, goesDown(name), zone, elsewhere); missing != "" {
				return "zone " + name + ": " + missing
			}
			continue
		}
		for _, other := range now.names {
			if other == name || !counts(e.zones[other]) {
				continue
			}
			up, down := goesUp(other), goesDown(name)
			over := func(r resource.Resource) bool { return up(r) && down(asOf(r, other)) }
			if missing := hop(now.planes[other].all, over, zone, of(other)); missing != "" {
				return "zone " + name + ": " + missing
			}
		}
	}
	return ""
}

// asOf returns a resource of a zone as global has it.
func asOf(r resource.Resource, zone string) resource.Resource {
	r.Labels = maps.Clone(r.Labels)
	if r.Labels == nil {
		r.Labels = map[string]string{}
	}
	r.Labels[resource.LabelOrigin], r.Labels[resource.LabelZone] = resource.OriginZone, zone
	return r
}

// hop says how what a plane has of those that came from another differs from what the other sends it; "": not at all.
func hop(all []resource.Resource, sends func(resource.Resource) bool, to *plane, came func(resource.Resource) bool) string {
	sent := map[resource.Identity]bool{}
	for _, r := range all {
		if !planes.Syncs(r.Key) || !sends(r) {
			continue
		}
		sent[r.Identity()] = true
		there, ok := to.find(r.Identity())
		if !ok {
			return fmt.Sprintf("it lacks %s", r.Identity())
		}
		if !bytes.Equal(there.Spec, r.Spec) {
			return fmt.Sprintf("it has an old %s", r.Identity())
		}
	}
	i := slices.IndexFunc(to.all, func(r resource.Resource) bool { return planes.Syncs(r.Key) && came(r) && !sent[r.Identity()] })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("it has %s, which is not to be here", to.all[i].Identity())
}

// again says yes, after a pause, until patience is over, while a link is silent in one direction.
func (e *processes) again(ctx context.Context) bool {
	for _, z := range e.zones {
		if z.up == z.dn || z.down || e.globalDown {
			continue
		}
		if time.Since(e.begun) > e.patience {
			return false
		}
		e.now = nil
		select {
		case <-ctx.Done():
			return false
		case <-time.After(longestLap):
			return true
		}
	}
	return false
}

// broken is planes.Federation.Check, as far as can be seen from outside.
func (e *processes) broken(ctx context.Context) []error {
	for _, name := range append([]string{""}, sortedKeys(e.zones)...) {
		a := Action{Kind: ActionHeal}
		if _, up := e.runs(name); !up {
			a.Kind = ActionRestart
		} else if name == "" {
			continue
		}
		e.done()
		if err := e.actOn(ctx, a, name); err != nil {
			return []error{err}
		}
		if name != "" && a.Kind == ActionRestart {
			if err := e.actOn(ctx, Action{Kind: ActionHeal}, name); err != nil {
				return []error{err}
			}
		}
	}
	missing, err := e.rest(ctx, e.patience)
	if err != nil {
		return []error{err}
	}
	if missing != "" {
		plane, reason, _ := strings.Cut(missing, ": ")
		return []error{&planes.BrokenError{Invariant: planes.Reach, Plane: plane, Reason: reason}}
	}
	var errs []error
	for _, name := range e.now.names {
		errs = append(errs, e.brokenOn(ctx, name, e.now.planes[name].all)...)
	}
	return errs
}

// brokenOn says what is wrong with what a plane has, and with what it says of that.
func (e *processes) brokenOn(ctx context.Context, name string, all []resource.Resource) []error {
	// A plane has labels that nobody wrote.
	same := func(got, want resource.Resource) bool { return bytes.Equal(got.Spec, want.Spec) }
	ask := func(proxy resource.Key) (int, []byte, error) { return e.Ask(name)(ctx, pathOf(proxy)+"/_rules") }
	return append(planes.CheckOwn(planeName(name), e.written[name], all, same),
		planes.CheckInspect(ctx, planeName(name), all, frozen(all), ask)...)
}
