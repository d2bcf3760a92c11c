package resolver

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// NotFoundError says what a question asked for in vain. It wraps resource.ErrNotFound.
type NotFoundError struct {
	Key resource.Key // as it was asked for; Kind says what is missing: Mesh, Dataplane, or the kind of a policy or service
	// Matches are the KRIs of the resources that have this display name, if it is more than one.
	Matches []string
}

// Error names the key, and what it might mean.
func (e *NotFoundError) Error() string {
	if len(e.Matches) > 0 {
		return fmt.Sprintf("%s: %v; the name could mean %s", e.Key, resource.ErrNotFound, strings.Join(e.Matches, ", "))
	}
	return fmt.Sprintf("%s: %v", e.Key, resource.ErrNotFound)
}

// Unwrap returns resource.ErrNotFound.
func (e *NotFoundError) Unwrap() error { return resource.ErrNotFound }

// Rules returns what is in force on a proxy, in the form of Kuma's _rules.
//
// name is the storage name of the Dataplane, its KRI, or the name or name.namespace that its author gave, if no other
// Dataplane of the mesh has the same.
//
// Errors: *NotFoundError for the Mesh or the Dataplane; what the store says.
func (r *Resolver) Rules(ctx context.Context, mesh, name string) (policy.Answer, error) {
	in, _, err := r.input(ctx, mesh, name)
	if err != nil {
		return policy.Answer{}, err
	}
	return policy.Rules(in), nil
}

// GatewayRules returns what is in force on the proxies that serve a MeshGateway, as far as they have the tags of its
// first selector and no others. name is the storage name of the MeshGateway.
//
// Errors: *NotFoundError for the Mesh or the MeshGateway; *resource.InvalidError if it has no selector; what the store
// says.
func (r *Resolver) GatewayRules(ctx context.Context, mesh, name string) (policy.Answer, error) {
	ix, _, err := r.existing(ctx, mesh)
	if err != nil {
		return policy.Answer{}, err
	}
	key := resource.Key{Kind: "MeshGateway", Mesh: mesh, Name: name}
	g, ok := ix.gateway(name)
	if !ok {
		return policy.Answer{}, &NotFoundError{Key: key}
	}
	px, err := g.Stand()
	if err != nil {
		return policy.Answer{}, &resource.InvalidError{Key: key, Violations: []resource.Violation{{Field: "selectors", Reason: err.Error()}}}
	}
	return policy.Rules(ix.input(px)), nil
}

// EffectiveAnswer is what is in force on one proxy, field by field. No list is nil.
type EffectiveAnswer struct {
	Revision     resource.Revision      `json:"revision"` // of the zone's store
	Dataplane    Dataplane              `json:"dataplane"`
	Destinations []policy.EffectiveTo   `json:"destinations"`
	Inbounds     []policy.EffectiveFrom `json:"inbounds"`
	Proxy        []policy.Applied       `json:"proxy"` // what is for the proxy as a whole; empty if one destination was asked for

	// Listeners are those of the MeshGateway that a builtin gateway serves, ascending by port and host: what the policies that select each
	// of them come to, while Destinations is what those for any of them do. nil of another proxy, and if one listener was asked for.
	Listeners []EffectiveListener `json:"listeners,omitempty"`
}

// EffectiveListener is what is in force at one listener of a MeshGateway. No list is nil.
type EffectiveListener struct {
	policy.GatewayListener
	Destinations []policy.EffectiveTo   `json:"destinations"`
	Inbounds     []policy.EffectiveFrom `json:"inbounds"` // one at most
}

// Dataplane names the proxy, or the policy, of an answer.
type Dataplane struct {
	KRI       string `json:"kri"`
	Name      string `json:"name"` // the name that its author gave
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
}

// Effective returns what is in force on a proxy, and who decided it. name is as for Rules.
//
// Errors: *NotFoundError for the Mesh, the Dataplane, or the destination of the filter; *resource.InvalidError for a
// kind in the filter that is no policy that is resolved, or an inbound that the proxy does not have; what the store
// says.
func (r *Resolver) Effective(ctx context.Context, mesh, name string, f policy.Filter) (EffectiveAnswer, error) {
	var answer EffectiveAnswer
	if err := checkKind(f.Kind); err != nil {
		return answer, err
	}
	in, rev, err := r.input(ctx, mesh, name)
	if err != nil {
		return answer, err
	}
	answer = EffectiveAnswer{Revision: rev, Dataplane: nameOf(in.Proxy.Resource)}
	if f.Listener == "" {
		answer.Listeners = atListeners(in, f)
	} else if in, err = atListener(in, f.Listener); err != nil {
		return EffectiveAnswer{}, err
	}
	answer.Destinations, answer.Inbounds = policy.Effective(in, f)
	if answer.Proxy = []policy.Applied{}; f.To == "" && f.From == "" && f.Listener == "" {
		answer.Proxy = policy.EffectiveProxy(in, f)
	}
	if f.To != "" && len(answer.Destinations) == 0 {
		return EffectiveAnswer{}, &NotFoundError{Key: resource.Key{Kind: "MeshService", Mesh: mesh, Name: f.To}}
	}
	if f.From != "" && len(answer.Inbounds) == 0 {
		reason := fmt.Sprintf("found %q, but the Dataplane has no such inbound", f.From)
		return EffectiveAnswer{}, &resource.InvalidError{Key: in.Proxy.Key, Violations: []resource.Violation{{Field: "from", Reason: reason}}}
	}
	return answer, nil
}

// atListeners returns what is in force at each listener of a gateway.
func atListeners(in policy.Input, f policy.Filter) []EffectiveListener {
	var all []EffectiveListener
	for _, l := range policy.Listeners(in) {
		if at, _, ok := policy.AtListener(in, l.String()); ok {
			one := EffectiveListener{GatewayListener: l}
			one.Destinations, one.Inbounds = policy.Effective(at, f)
			all = append(all, one)
		}
	}
	return all
}

// atListener is policy.AtListener with an *resource.InvalidError for what is no listener.
func atListener(in policy.Input, word string) (policy.Input, error) {
	at, found, ok := policy.AtListener(in, word)
	if ok {
		return at, nil
	}
	names := func(all []policy.GatewayListener) string {
		words := make([]string, len(all))
		for i, l := range all {
			words[i] = l.String()
		}
		return strings.Join(words, ", ")
	}
	all := policy.Listeners(in)
	reason := fmt.Sprintf("found %q, want one of %s", word, names(all))
	switch {
	case len(found) > 1:
		reason = fmt.Sprintf("found %q, which means several: want one of %s", word, names(found))
	case len(all) == 0:
		reason = fmt.Sprintf("found %q, but the Dataplane is no builtin gateway that serves a MeshGateway", word)
	}
	return in, &resource.InvalidError{Key: in.Proxy.Key, Violations: []resource.Violation{{Field: "listener", Reason: reason}}}
}

func checkKind(kind string) error {
	if _, ok := policy.LookupType(kind); ok || kind == "" {
		return nil
	}
	known := make([]string, len(policy.Types))
	for i, t := range policy.Types {
		known[i] = t.Kind
	}
	reason := fmt.Sprintf("found %q, want one of %s", kind, strings.Join(known, ", "))
	if near := resource.Nearest(kind, known); near != "" {
		reason += "; did you mean " + near + "?"
	}
	return &resource.InvalidError{Violations: []resource.Violation{{Field: "type", Reason: reason}}}
}

// Matching returns the Dataplanes that a policy configures, or that a MeshService selects, ascending by name. Shadow
// policies match like others. name is as for Rules.
//
// Errors: *NotFoundError for the Mesh or the resource (also of a kind that is never resolved); what the store says.
func (r *Resolver) Matching(ctx context.Context, kind, mesh, name string) ([]resource.Resource, error) {
	ix, _, err := r.existing(ctx, mesh)
	if err != nil {
		return nil, err
	}
	reach, matches, err := ix.matcher(resource.Key{Kind: kind, Mesh: mesh, Name: name})
	if err != nil {
		return nil, err
	}
	var found []resource.Resource
	for px := range ix.within(reach) {
		if matches(px) {
			found = append(found, px.Resource)
		}
	}
	return found, nil
}

// Unresolved returns, for each of some policies, a warning for each reference that finds nothing now
// (policy.Unresolved). The policies need not be stored. also are resources that will be stored with them: they count as
// if they were there.
//
// Errors: what the store says, or that a policy does not parse.
func (r *Resolver) Unresolved(ctx context.Context, policies, also []resource.Resource) ([][]string, error) {
	warnings := make([][]string, len(policies))
	parsed := make([]*policy.Policy, len(policies))
	ask := false
	for i, p := range policies {
		one, err := policy.Parse(p)
		if err != nil {
			return nil, err
		}
		if policy.References(one) {
			parsed[i], ask = one, true
		}
	}
	if !ask {
		return warnings, nil
	}
	extra := begin(snapshot{meshes: map[string]*index{}}, 0, map[resource.Key]resource.Revision{}, r.log)
	extra.load = true
	for _, one := range also {
		extra.put(one)
	}
	now, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	for i, p := range parsed {
		if p != nil {
			warnings[i] = policy.Unresolved(p, now.known(p.Mesh), extra.next.known(p.Mesh))
		}
	}
	return warnings, nil
}

// known returns what the references of the policies of a mesh can find.
func (s snapshot) known(mesh string) policy.Known {
	ix := s.meshes[mesh]
	if ix == nil {
		return policy.Known{Destinations: policy.NewDestinations(), Proxies: func(func(*policy.Proxy) bool) {}}
	}
	return policy.Known{Destinations: ix.destinations, Proxies: ix.all(), Around: ix.around()}
}

// matcher returns which proxies a policy or a MeshService may select, and the test whether it does.
func (ix *index) matcher(key resource.Key) (policy.Reach, func(*policy.Proxy) bool, error) {
	if key.Kind == "MeshService" {
		s, ok := ix.services.Get(key.Name)
		if !ok {
			var err error
			if s, err = named(key, values(ix.services.All()), func(s service) resource.Resource { return s.Resource }); err != nil {
				return nil, nil, err
			}
		}
		return policy.ServiceReach(s.spec), func(px *policy.Proxy) bool { return px.Selected(s.spec) }, nil
	}
	p, err := ix.named(key)
	if err != nil {
		return nil, nil, err
	}
	return p.Reach(ix.around()), func(px *policy.Proxy) bool { return policy.Matches(p, px, ix.around()) }, nil
}

// named returns the policy that key.Name stands for.
func (ix *index) named(key resource.Key) (*policy.Policy, error) {
	if p, ok := ix.policy(key); ok {
		return p, nil
	}
	return named(key, slices.Values(ix.list(key.Kind)), func(p *policy.Policy) resource.Resource { return p.Resource })
}

func values[K, V any](pairs iter.Seq2[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range pairs {
			if !yield(v) {
				return
			}
		}
	}
}

// existing returns the index of a mesh whose Mesh is stored, and its revision.
func (r *Resolver) existing(ctx context.Context, mesh string) (*index, resource.Revision, error) {
	now, err := r.current(ctx)
	if err != nil {
		return nil, 0, err
	}
	if ix := now.meshes[mesh]; ix != nil && ix.mesh != nil {
		return ix, now.rev, nil
	}
	return nil, 0, &NotFoundError{Key: resource.Key{Kind: "Mesh", Name: mesh}}
}

// input returns everything that the answer for one proxy depends on, and the revision that it is true for.
func (r *Resolver) input(ctx context.Context, mesh, name string) (policy.Input, resource.Revision, error) {
	ix, rev, err := r.existing(ctx, mesh)
	if err != nil {
		return policy.Input{}, 0, err
	}
	px, ok := ix.proxy(name)
	if !ok {
		key := resource.Key{Kind: "Dataplane", Mesh: mesh, Name: name}
		px, err = named(key, slices.Values(ix.proxies.Items()), func(px *proxy) resource.Resource { return px.Resource })
		if err != nil {
			return policy.Input{}, 0, err
		}
	}
	return r.about(ix, px), rev, nil
}

// about returns the input for a proxy of the index.
func (r *Resolver) about(ix *index, px *proxy) policy.Input {
	in := ix.input(px.Proxy)
	in.Memo = memory{r.memo, ix, px}
	return in
}

// input returns the input for any proxy.
func (ix *index) input(px *policy.Proxy) policy.Input {
	policies := make(map[string][]*policy.Policy, len(ix.policies))
	for kind, l := range ix.policies {
		policies[kind] = l.Items()
	}
	return policy.Input{Mesh: ix.mesh, Proxy: px, Policies: policies, Gateways: ix.gateways.Items(), Destinations: ix.destinations}
}

// named returns the one of all that key.Name stands for, when it is no storage name: a KRI, or the display name, alone
// or with the namespace.
func named[T any](key resource.Key, all iter.Seq[T], of func(T) resource.Resource) (T, error) {
	var found T
	var matches []string
	id, _, err := resource.ParseKRI(key.Name)
	for v := range all {
		switch got := of(v).Identity(); {
		case err == nil && got == id, got.Name == key.Name, got.Name+"."+got.Namespace == key.Name:
			found = v
			matches = append(matches, got.KRI(""))
		}
	}
	if len(matches) == 1 {
		return found, nil
	}
	slices.Sort(matches)
	var none T
	return none, &NotFoundError{Key: key, Matches: matches}
}

// EffectiveOn returns what Effective does, for many proxies at one revision, in the order of names: storage names of Dataplanes. Proxies that
// the same policies configure share what is in force towards destinations, in time and in memory, so nobody modifies the answers.
//
// Errors: as of Effective; *NotFoundError for the first name that is none.
func (r *Resolver) EffectiveOn(ctx context.Context, mesh string, names []string, f policy.Filter) ([]EffectiveAnswer, error) {
	if err := checkKind(f.Kind); err != nil {
		return nil, err
	}
	ix, rev, err := r.existing(ctx, mesh)
	if err != nil {
		return nil, err
	}
	answers := make([]EffectiveAnswer, len(names))
	var shared policy.Sharing
	for i, name := range names {
		px, ok := ix.proxy(name)
		if !ok {
			return nil, &NotFoundError{Key: resource.Key{Kind: "Dataplane", Mesh: mesh, Name: name}}
		}
		in := r.about(ix, px)
		a := EffectiveAnswer{Revision: rev, Dataplane: nameOf(px.Resource), Proxy: []policy.Applied{}}
		if f.Listener != "" {
			if in, err = atListener(in, f.Listener); err != nil {
				return nil, err
			}
			a.Destinations, a.Inbounds = policy.Effective(in, f)
			answers[i] = a
			continue
		}
		a.Listeners = atListeners(in, f)
		a.Destinations, a.Inbounds = shared.Effective(in, f)
		if f.To == "" && f.From == "" {
			a.Proxy = policy.EffectiveProxy(in, f)
		}
		answers[i] = a
	}
	return answers, nil
}
