package planes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// Invariant is a promise that holds whatever happens.
type Invariant string

// The invariants; the package comment says what they are.
const (
	NoLostWrite            Invariant = "no-lost-write"
	NoResurrection         Invariant = "no-resurrection"
	Reach                  Invariant = "reach"
	NoLeak                 Invariant = "no-leak"
	InspectEqualsDelivered Invariant = "inspect-equals-delivered"
)

// Invariants returns all of them.
func Invariants() []Invariant {
	return []Invariant{NoLostWrite, NoResurrection, Reach, NoLeak, InspectEqualsDelivered}
}

// BrokenError says where an invariant does not hold.
type BrokenError struct {
	Invariant Invariant
	Plane     string // global, or zone east
	Reason    string
}

// Error names all three.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("invariant %s is broken: %s: %s", e.Invariant, e.Plane, e.Reason)
}

// Check heals every link and disk, brings every plane up, lets the federation settle, and returns what is wrong then: every
// *BrokenError, or why it could not be found out.
func (f *Federation) Check() []error {
	if err := f.Restore(); err != nil {
		return []error{err}
	}
	f.Settle()
	return f.Broken()
}

// Restore heals every link, gives every disk room and brings every plane up.
func (f *Federation) Restore() error {
	for _, l := range f.links {
		l.Heal()
	}
	for _, p := range f.planes() {
		p.Heal()
		if p.Killed() {
			if err := p.Stop(); err != nil {
				return err
			}
		}
		if p.stop == nil {
			if err := p.Start(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Broken returns which invariants do not hold now. Everything must be up, and settled.
func (f *Federation) Broken() []error {
	var errs []error
	expected := f.expected()
	for _, p := range f.planes() {
		all, err := p.Contents("")
		if err != nil {
			return append(errs, err)
		}
		errs = append(errs, CheckOwn(p.String(), p.written, all, resource.Resource.SameContent)...)
		errs = append(errs, p.checkReach(all, expected[p])...)
		errs = append(errs, p.checkLog(all)...)
		errs = append(errs, CheckInspect(context.Background(), p.String(), all, p.node.Store(), func(proxy resource.Key) (int, []byte, error) {
			answer := p.Do(http.MethodGet, fmt.Sprintf("/meshes/%s/dataplanes/%s/_rules", proxy.Mesh, proxy.Name), nil)
			return answer.Code, answer.Body.Bytes(), nil
		})...)
	}
	return errs
}

// Converged says whether every plane holds what it is to get from the others and nothing else; otherwise what is the
// matter. Planes that are down are not looked at.
func (f *Federation) Converged() (bool, error) {
	expected := f.expected()
	for _, p := range f.planes() {
		if p.stop == nil {
			continue
		}
		all, err := p.Latest()
		if err != nil {
			return false, err
		}
		if errs := p.checkReach(all, expected[p]); len(errs) > 0 {
			return false, errs[0]
		}
	}
	return true, nil
}

// adopt takes what a new global control plane made itself as written.
func (p *Plane) adopt() error {
	all, err := p.Contents("")
	for _, r := range all {
		if Syncs(r.Key) {
			p.written[r.Key] = &r
		}
	}
	return err
}

// Syncs says whether the resource leaves a plane at all, as it is; Zone and ZoneInsight do not, and of the keys that sign
// zone tokens zones get something else: the public half.
func Syncs(key resource.Key) bool {
	d, _ := resource.LookupKind(key.Kind)
	return (d.FromGlobal() || d.FromZone()) && (key.Kind != "GlobalSecret" || !strings.HasPrefix(key.Name, "zone-token-"))
}

// acknowledged notes what the plane holds under key now, and where that goes.
func (p *Plane) acknowledged(key resource.Key) error {
	r, err := p.node.Store().Get(context.Background(), key)
	if errors.Is(err, resource.ErrNotFound) {
		p.written[key] = nil
		if !Syncs(key) {
			delete(p.written, key) // a Zone that joins again is no resurrection
		}
		return nil
	}
	if err != nil {
		return err
	}
	p.written[key] = &r
	wire, reaches := wireKey(r, p), p.f.reach(r, p)
	for q := range p.f.each {
		if reaches(q) {
			q.ever[wire(q)] = true
		}
	}
	return nil
}

// reach returns what says whether a resource written on p is to reach another plane, and may ever be there: Config.Goes, else
// kds/scope, hop by hop.
func (f *Federation) reach(r resource.Resource, p *Plane) func(q *Plane) bool {
	if f.goes != nil {
		return func(q *Plane) bool { return q != p && f.goes(r, p.name, q.name) }
	}
	subject, up := scope.Inspect(r), true
	if p != f.global {
		up, _ = subject.Decide(scope.Peer{Zone: p.name}, scope.Peer{})
	}
	return func(q *Plane) bool {
		return q != p && up && (q == f.global || subject.MayReach(scope.Peer{}, scope.Peer{Zone: q.name, Features: q.features}))
	}
}

// wireKey returns what says which key a resource written on p has on another plane: a zone that does not announce hashed names has what
// was written on global under its name there.
func wireKey(r resource.Resource, p *Plane) func(q *Plane) resource.Key {
	hashed := r.Key
	if d, _ := resource.LookupKind(r.Kind); !d.PlainName {
		hashed.Name = resource.WireName(r)
	}
	return func(q *Plane) resource.Key {
		if p == p.f.global && q != p && !q.features.HashedNames {
			return r.Key
		}
		return hashed
	}
}

func (p *Plane) broken(i Invariant, format string, args ...any) error {
	return &BrokenError{i, p.String(), fmt.Sprintf(format, args...)}
}

// CheckOwn returns what is wrong with all that a plane has: what was written on it, by key, is there, what was deleted (nil) is not. same says
// whether a resource is as it was written.
func CheckOwn(plane string, written map[resource.Key]*resource.Resource, all []resource.Resource, same func(got, want resource.Resource) bool) (errs []error) {
	broken := func(i Invariant, format string, key resource.Key) {
		errs = append(errs, &BrokenError{i, plane, fmt.Sprintf(format, key)})
	}
	here := make(map[resource.Key]resource.Resource, len(all))
	for _, r := range all {
		here[r.Key] = r
	}
	for _, key := range sortedKeys(written) {
		got, ok := here[key]
		switch want := written[key]; {
		case want == nil && ok:
			broken(NoResurrection, "%s is back after its deletion", key)
		case want != nil && !ok:
			broken(NoLostWrite, "%s is lost", key)
		case want != nil && !same(got, *want):
			broken(NoLostWrite, "%s is not as it was written", key)
		}
	}
	return errs
}

func sortedKeys[V any](m map[resource.Key]V) []resource.Key {
	return slices.SortedFunc(maps.Keys(m), resource.Key.Compare)
}

// enabled returns the zones that global knows, true for those that are enabled.
func (f *Federation) enabled() map[string]bool {
	zones := map[string]bool{}
	if f.global.stop == nil {
		return nil
	}
	all, err := f.global.Contents("Zone")
	if err != nil {
		return nil
	}
	for _, r := range all {
		zones[r.Name], _ = resource.ZoneEnabled(r)
	}
	return zones
}

// expected is what each plane is to have of what others wrote, under the keys that it has there.
type expected map[*Plane]map[resource.Key]*resource.Resource

// expected returns what should have gone where. What a zone sent that global has disabled is withdrawn from the other zones.
func (f *Federation) expected() expected {
	enabled := f.enabled()
	all := expected{}
	for p := range f.each {
		all[p] = map[resource.Key]*resource.Resource{}
	}
	for p := range f.each {
		withdrawn := p != f.global && enabled != nil && !enabled[p.name]
		for _, r := range p.written {
			if r == nil || !Syncs(r.Key) {
				continue
			}
			key, reaches := wireKey(*r, p), f.reach(*r, p)
			for q := range f.each {
				if reaches(q) && (!withdrawn || q == f.global) {
					all[q][key(q)] = r
				}
			}
		}
	}
	return all
}

// checkReach: what others wrote is here if and only if it is to be.
func (q *Plane) checkReach(all []resource.Resource, want map[resource.Key]*resource.Resource) (errs []error) {
	got := map[resource.Key]bool{}
	for _, r := range all {
		if _, own := q.written[r.Key]; own || !Syncs(r.Key) {
			continue
		}
		got[r.Key] = true
		switch w := want[r.Key]; {
		case w == nil:
			errs = append(errs, q.broken(Reach, "it has %s, which is not to be here", r.Identity()))
		case !bytes.Equal(r.Spec, w.Spec):
			errs = append(errs, q.broken(Reach, "it has an old %s", w.Identity()))
		}
	}
	for key, w := range want {
		if !got[key] {
			errs = append(errs, q.broken(Reach, "it lacks %s", w.Identity()))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

// checkLog: nothing was ever here, not even for a moment, that was not to come here.
func (q *Plane) checkLog(all []resource.Resource) (errs []error) {
	changes, _, err := q.node.Store().Since(context.Background(), "", 0)
	if errors.Is(err, resource.ErrCompacted) { // what is gone cannot be seen any more
		changes, err = nil, nil
		for _, r := range all {
			changes = append(changes, resource.Change{Revision: r.Version, Resource: r})
		}
	}
	if err != nil {
		return []error{err}
	}
	for _, c := range changes {
		key := c.Resource.Key
		_, own := q.written[key]
		_, fromStart := q.f.global.written[key]
		if own || !Syncs(key) || q.ever[key] || fromStart {
			continue
		}
		errs = append(errs, q.broken(NoLeak, "%s was where it must never be (deleted now: %t)", key, c.Deleted))
	}
	return errs
}

// CheckInspect returns what is wrong with the answers of a plane about its proxies: they are those of a resolver that has just read its store.
// ask asks for the _rules of a proxy.
func CheckInspect(ctx context.Context, plane string, all []resource.Resource, store resolver.Source, ask func(proxy resource.Key) (status int, body []byte, err error)) (errs []error) {
	fresh := resolver.New(resolver.Config{Source: store})
	broken := func(format string, args ...any) {
		errs = append(errs, &BrokenError{InspectEqualsDelivered, plane, fmt.Sprintf(format, args...)})
	}
	for _, proxy := range all {
		if proxy.Kind != "Dataplane" {
			continue
		}
		want, err := fresh.Rules(ctx, proxy.Mesh, proxy.Name)
		if errors.Is(err, resource.ErrNotFound) {
			continue // its mesh is gone
		}
		text, marshalErr := json.Marshal(want)
		status, body, askErr := ask(proxy.Key)
		if err := errors.Join(err, marshalErr, askErr); err != nil {
			return append(errs, err)
		}
		if status != http.StatusOK {
			broken("%s: it answers %d: %s", proxy.Key, status, body)
		} else if got := compact(body); got != compact(text) {
			broken("%s: it answers %s, its store says %s", proxy.Key, got, text)
		}
	}
	return errs
}

func compact(text []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return string(text)
	}
	return b.String()
}
