package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/virtual"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// expect checks expectations, and notes the outcomes. One that lets time pass, or has to be asked again, is followed by another state.
func (r *run) expect(ctx context.Context, all []Expectation, at time.Duration) error {
	var now *state
	for _, x := range all {
		for {
			if now == nil {
				var err error
				if now, err = r.ground().state(ctx); err != nil {
					return err
				}
			}
			o, err := r.outcome(ctx, now, x, at)
			if err != nil {
				return err
			}
			again := o.Status != Passed && r.ground().again(ctx)
			if again || x.Kind == ExpectConverged {
				now = nil
			}
			if !again {
				r.result.Expectations = append(r.result.Expectations, o)
				break
			}
		}
	}
	return nil
}

// outcome checks one expectation against a state.
func (r *run) outcome(ctx context.Context, now *state, x Expectation, at time.Duration) (Outcome, error) {
	elapsed := virtual.Stopwatch()
	o := Outcome{ID: x.ID, Kind: x.Kind, File: x.Pos.File, Line: x.Pos.Line, Column: x.Pos.Column, At: at, Status: Failed}
	if err := r.check(ctx, now, x, &o); err != nil {
		return o, fmt.Errorf("%s:%d: %w", x.Pos.File, x.Pos.Line, err)
	}
	o.Duration = elapsed()
	return o, nil
}

// is fills in what was wanted and what was got.
func (o *Outcome) is(want, got string) {
	o.Want, o.Got = want, got
	if want == got {
		o.Status = Passed
	}
}

func (r *run) check(ctx context.Context, now *state, x Expectation, o *Outcome) error {
	switch x.Kind {
	case ExpectRole:
		return now.checkRole(x, o)
	case ExpectSynced:
		return now.checkSynced(x, o)
	case ExpectEffective:
		return now.checkEffective(ctx, x, o)
	case ExpectMatches:
		return now.checkMatches(ctx, x, o)
	case ExpectWarnings:
		return now.checkWarnings(ctx, x, o)
	case ExpectChanged:
		return r.checkChanged(ctx, now, x, o)
	case ExpectStale:
		return now.checkStale(x, o)
	case ExpectNoGhosts:
		return now.checkGhosts(x, o)
	case ExpectConverged:
		o.Subject = "everything has converged within " + x.Within.String()
		took, missing, err := r.ground().converge(ctx, x.Within)
		if missing == "" {
			o.Subject = "everything has converged"
			o.Status, o.Want, o.Got = Passed, "within "+x.Within.String(), "after "+took.String()
		} else {
			o.Want, o.Got = "converged within "+x.Within.String(), missing
		}
		return err
	}
	return fmt.Errorf("unknown expectation %q", x.Kind)
}

// gone fills in that a policy is nowhere.
func (o *Outcome) gone(ref, zone string) {
	o.Got = fmt.Sprintf("%s does not have it", planeName(zone))
	o.Hint = ref + " was deleted, or its control plane is down"
}

func (s *state) checkRole(x Expectation, o *Outcome) error {
	o.Subject, o.Want = short(x.Policy), x.Role
	p, zone, ok := s.find(x.Policy)
	if !ok {
		o.gone(x.Policy, zone)
		return nil
	}
	if o.is(x.Role, p.Role()); o.Status == Failed {
		o.Hint = roleHint(p)
	}
	return nil
}

// short leaves the kind out of a reference.
func short(ref string) string {
	_, key, _ := strings.Cut(ref, " ")
	return key
}

// roleHint says what makes the role of a policy.
func roleHint(p resource.Resource) string {
	switch p.Role() {
	case resource.RoleSystem:
		return "a policy without a namespace is the system's"
	case resource.RoleProducer:
		return "every `to` item names a MeshService of the policy's own namespace"
	case resource.RoleConsumer:
		return "its `to` items select by labels, or name something of another namespace"
	case resource.RoleWorkloadOwner:
		return "it has no `to`, or has both `to` and `from`"
	}
	return ""
}

func (s *state) checkSynced(x Expectation, o *Outcome) error {
	o.Subject = short(x.Policy)
	p, zone, ok := s.find(x.Policy)
	if !ok {
		o.gone(x.Policy, zone)
		return nil
	}
	rows, err := s.synced(p.Identity())
	if err != nil {
		return err
	}
	at := map[string]SyncRow{}
	for _, row := range rows {
		at[row.Plane] = row
	}
	var want, got, hints []string
	note := func(plane, expected, found string) {
		want = append(want, plane+": "+expected)
		if got = append(got, plane+": "+found); expected != found {
			hints = append(hints, fmt.Sprintf("%s: %s", plane, at[plane].Because))
		}
	}
	const has = "has it"
	hasNot := func(plane string, withRule bool) string {
		if row, ok := at[plane]; !ok {
			return "down"
		} else if row.Has {
			return has
		}
		if withRule {
			return "has it not (" + string(at[plane].Rule) + ")"
		}
		return "has it not"
	}
	for _, name := range x.To {
		note(planeName(name), has, hasNot(planeName(name), at[planeName(name)].Rule != ""))
	}
	for _, not := range x.NotTo {
		expected := "has it not"
		if not.Rule != "" {
			expected += " (" + not.Rule + ")"
		}
		note(planeName(not.Zone), expected, hasNot(planeName(not.Zone), not.Rule != ""))
	}
	if x.Only {
		for _, row := range rows {
			listed := slices.Contains(x.To, row.Plane) || row.Plane == globalPlane && slices.Contains(x.To, "")
			if !listed && row.Has && !row.Written {
				note(row.Plane, "has it not", has)
			}
		}
	}
	o.is(strings.Join(want, ", "), strings.Join(got, ", "))
	o.Hint = strings.Join(hints, "; ")
	return nil
}

func (s *state) checkMatches(ctx context.Context, x Expectation, o *Outcome) error {
	o.Subject = short(x.Policy)
	p, zone, ok := s.find(x.Policy)
	if !ok {
		o.gone(x.Policy, zone)
		return nil
	}
	matched, err := s.matched(ctx, p.Identity())
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, pattern := range x.Proxies {
		found := s.proxies(pattern)
		if len(found) == 0 {
			wanted[pattern] = true // and nothing has this name
		}
		for _, px := range found {
			wanted[px.key] = true
		}
	}
	o.is(enumerate(sortedWords(wanted)), enumerate(matched))
	if o.Status == Failed {
		if row := s.unreached(p.Identity()); row != "" {
			o.Hint = row
		}
	}
	return nil
}

// matched returns the keys of the proxies that a policy configures, in every zone that has it, ascending.
func (s *state) matched(ctx context.Context, id resource.Identity) ([]string, error) {
	var keys []string
	for _, zone := range s.names {
		p, ok := s.has(zone, id)
		if zone == "" || !ok {
			continue
		}
		found, err := s.planes[zone].resolver().Matching(ctx, p.Kind, p.Mesh, p.Name)
		if err != nil && !errors.Is(err, resource.ErrNotFound) {
			return nil, err
		}
		for _, px := range found {
			keys = append(keys, keyOn(s.home, zone, px))
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// unreached says which zones do not have a policy, and why.
func (s *state) unreached(id resource.Identity) string {
	rows, err := s.synced(id)
	if err != nil {
		return ""
	}
	var parts []string
	for _, row := range rows {
		if !row.Has {
			parts = append(parts, fmt.Sprintf("%s does not have it: %s", row.Plane, row.Because))
		}
	}
	return strings.Join(parts, "; ")
}

// enumerate writes a list; an empty one is "none".
func enumerate(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func (s *state) checkWarnings(ctx context.Context, x Expectation, o *Outcome) error {
	o.Subject = short(x.Policy)
	p, zone, ok := s.find(x.Policy)
	if !ok {
		o.gone(x.Policy, zone)
		return nil
	}
	warnings, err := s.warnings(ctx, p, zone)
	if err != nil {
		return err
	}
	codes := map[string]bool{}
	for _, w := range warnings {
		codes[string(w.Code)] = true
	}
	want := slices.Clone(x.Codes)
	slices.Sort(want)
	if o.is(enumerate(want), enumerate(sortedWords(codes))); o.Status == Failed {
		o.Hint = strings.Join(resource.Texts(warnings), "; ")
	}
	return nil
}

// warnings returns what the plane where a resource was written says about it. A policy of global refers to what is in the zones, so
// a reference that finds nothing on global alone does not count there.
func (s *state) warnings(ctx context.Context, r resource.Resource, zone string) ([]resource.Warning, error) {
	warnings := slices.Concat(policy.Advice(r), policy.Schemas().Advice(r))
	if _, ok := policy.LookupType(r.Kind); !ok {
		return warnings, nil
	}
	effect, err := s.planes[zone].resolver().Effect(ctx, r.Kind, r.Mesh, r.Name, policy.Page{})
	if err != nil {
		return nil, err
	}
	return append(warnings, effect.Unresolved...), nil
}

func (s *state) checkStale(x Expectation, o *Outcome) error {
	o.Subject = fmt.Sprintf("%s is stale on %s", x.Zone, short(x.Policy))
	p, zone, ok := s.find(x.Policy)
	if !ok {
		o.gone(x.Policy, zone)
		return nil
	}
	const old, current = "an old version, or none", "the current version"
	got := old
	if there, ok := s.has(x.Zone, p.Identity()); ok && string(there.Spec) == string(p.Spec) {
		got = current
	}
	o.is(old, got)
	return nil
}

func (s *state) checkGhosts(x Expectation, o *Outcome) error {
	o.Subject = "nothing of zone " + x.Zone + " is left"
	var ghosts []string
	for _, name := range s.names {
		if name == x.Zone {
			continue
		}
		for _, r := range s.planes[name].all {
			if r.Zone() == x.Zone && r.Kind != "ZoneInsight" {
				ghosts = append(ghosts, fmt.Sprintf("%s on %s", r.Identity(), planeName(name)))
			}
		}
	}
	o.is(enumerate(nil), enumerate(ghosts))
	return nil
}

// flat writes the leaves of a value by path.
func flat(path string, v any, into map[string]any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		into[path] = v
		return
	}
	for k, v := range m {
		flat(join(path, k), v, into)
	}
}

func (s *state) checkEffective(ctx context.Context, x Expectation, o *Outcome) error {
	set := map[string]any{}
	for path, v := range x.Set {
		flat(path, v, set)
	}
	paths := slices.Sorted(maps.Keys(set))
	var parts []string
	for _, path := range paths {
		parts = append(parts, path+" = "+ValueText(set[path]))
	}
	o.Want = strings.Join(parts, ", ")
	if x.From != "" {
		o.Want += " from " + short(x.From)
	}
	where := ""
	switch {
	case x.Destination != "":
		where = " -> " + x.Destination
	case x.Inbound != "":
		where = " <- " + x.Inbound
	}
	if x.Listener != "" {
		where = " listener " + x.Listener + where
	}
	o.Subject = strings.Join(x.Proxies, ", ") + where + "  " + x.Type
	var proxies []proxyOf
	for _, pattern := range x.Proxies {
		proxies = append(proxies, s.proxies(pattern)...)
	}
	if len(proxies) == 0 {
		o.Got = "no such proxy in a zone that is up"
		return nil
	}
	good := 0
	for _, px := range proxies {
		problem, field, err := s.mismatch(ctx, px, x, paths, set)
		if err != nil {
			return err
		}
		if problem == "" {
			good++
			continue
		}
		if o.Proxy == "" {
			o.Proxy, o.Got = px.key, problem
			s.explain(px, x, field, o)
		}
	}
	if good == len(proxies) {
		o.Got, o.Status = o.Want, Passed
	} else if len(proxies) > 1 {
		o.Got = fmt.Sprintf("%s on %s (%d of %d proxies are as wanted)", o.Got, o.Proxy, good, len(proxies))
	}
	return nil
}

// mismatch returns the first thing that is not as an expectation wants it on one proxy, "" if all is, and the field that it is
// about, if there is one.
func (s *state) mismatch(ctx context.Context, px proxyOf, x Expectation, paths []string, set map[string]any) (string, *policy.Field, error) {
	rules, missing, err := s.rules(ctx, px, x)
	if err != nil || missing != "" {
		return missing, nil, err
	}
	for _, path := range paths {
		field := fieldOf(rules, path)
		switch {
		case field == nil && set[path] == nil:
		case field == nil:
			return path + " is not set", nil, nil
		case !sameValue(set[path], field.Value):
			return fmt.Sprintf("%s = %s from %s", path, ValueText(field.Value), s.originKey(field.Origin)), field, nil
		case x.From != "" && s.originKey(field.Origin) != short(x.From):
			return fmt.Sprintf("%s = %s from %s", path, ValueText(field.Value), s.originKey(field.Origin)), field, nil
		}
	}
	return "", nil, nil
}

// rules returns what is in force of a type of policy in the place that an expectation is about.
func (s *state) rules(ctx context.Context, px proxyOf, x Expectation) (rules []policy.Applied, missing string, err error) {
	filter := policy.Filter{Kind: x.Type, From: x.Inbound, Listener: x.Listener}
	if x.Destination != "" && x.Destination != "mesh" {
		if filter.To, err = s.destination(x.Destination); err != nil {
			return nil, "", err
		}
	}
	answer, err := s.planes[px.zone].resolver().Effective(ctx, px.Mesh, px.Name, filter)
	if invalid, ok := errors.AsType[*resource.InvalidError](err); ok && x.Listener != "" && len(invalid.Violations) == 1 {
		return nil, "there is no such listener: " + invalid.Violations[0].Reason, nil
	}
	if _, ok := errors.AsType[*resource.InvalidError](err); ok && x.Inbound != "" {
		return nil, s.noInbound(ctx, px, x.Inbound), nil
	}
	if _, ok := errors.AsType[*resolver.NotFoundError](err); ok {
		return nil, fmt.Sprintf("zone %s does not know %s", px.zone, x.Destination), nil
	}
	if _, ok := errors.AsType[*resource.InvalidError](err); ok {
		return nil, err.Error(), nil
	}
	if err != nil {
		return nil, "", err
	}
	switch {
	case x.Destination != "":
		for _, to := range answer.Destinations {
			if x.Destination != "mesh" || to.Kind == "Mesh" {
				rules = append(rules, to.Rules...)
			}
		}
	case x.Inbound != "":
		for _, from := range answer.Inbounds {
			rules = append(rules, from.Rules...)
		}
	default:
		rules = answer.Proxy
		if len(rules) == 0 { // a type for inbounds, whichever
			for _, from := range answer.Inbounds {
				rules = append(rules, from.Rules...)
			}
		}
	}
	return rules, "", nil
}

// noInbound says that a proxy does not have an inbound, and which it has.
func (s *state) noInbound(ctx context.Context, px proxyOf, inbound string) string {
	answer, err := s.planes[px.zone].resolver().Effective(ctx, px.Mesh, px.Name, policy.Filter{Kind: "MeshTimeout"})
	if err != nil || len(answer.Inbounds) == 0 {
		return fmt.Sprintf("there is no inbound %s", inbound)
	}
	var names []string
	for _, in := range answer.Inbounds {
		name := fmt.Sprint(in.Port)
		if in.Name != "" {
			name = in.Name + " (" + name + ")"
		}
		names = append(names, name)
	}
	return fmt.Sprintf("there is no inbound %s, but %s", inbound, strings.Join(names, ", "))
}

// fieldOf returns the first field of a path, nil if no rule has it.
func fieldOf(rules []policy.Applied, path string) *policy.Field {
	for _, rule := range rules {
		for i := range rule.Fields {
			if rule.Fields[i].Path == path {
				return &rule.Fields[i]
			}
		}
	}
	return nil
}

// ValueText writes a value as JSON, a text without quotes, and nil as none.
func ValueText(v any) string {
	if v == nil {
		return "none"
	}
	if text, ok := v.(string); ok {
		return text
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// sameValue compares values as JSON, and texts that are durations by how long they are: 1m is 60s.
func sameValue(want, got any) bool {
	if a, ok := want.(string); ok {
		if b, ok := got.(string); ok && a != b {
			x, errA := time.ParseDuration(a)
			y, errB := time.ParseDuration(b)
			return errA == nil && errB == nil && x == y
		}
	}
	a, errA := json.Marshal(want)
	b, errB := json.Marshal(got)
	return errA == nil && errB == nil && string(a) == string(b)
}

// explain adds who gave a field, and a hint.
func (s *state) explain(px proxyOf, x Expectation, field *policy.Field, o *Outcome) {
	if field != nil {
		for _, loser := range slices.Backward(field.Losers) {
			o.Candidates = append(o.Candidates, s.candidate(loser.Origin, loser.Value, false))
		}
		o.Candidates = append(o.Candidates, s.candidate(field.Origin, field.Value, true))
		if len(field.Losers) > 0 {
			o.Comparator = field.Losers[0].By
			o.Hint = hints[o.Comparator]
		}
	}
	if x.From == "" || slices.ContainsFunc(o.Candidates, func(c Candidate) bool { return c.Policy == short(x.From) }) {
		return
	}
	p, zone, ok := s.find(x.From)
	if !ok {
		o.Hint = fmt.Sprintf("%s is not on %s", short(x.From), planeName(zone))
		return
	}
	if _, there := s.has(px.zone, p.Identity()); !there {
		o.Hint = fmt.Sprintf("zone %s does not have %s", px.zone, short(x.From))
		if rows, err := s.synced(p.Identity()); err == nil {
			for _, row := range rows {
				if row.Plane == px.zone && row.Rule != "" {
					o.Hint += fmt.Sprintf(": %s, %s", row.Rule, scope.RuleID(row.Rule).Explain())
				}
			}
		}
		return
	}
	o.Hint = fmt.Sprintf("zone %s has %s, but it does not select this proxy, or no item of it applies there or sets this field", px.zone, short(x.From))
}

func (s *state) candidate(from policy.Origin, value any, wins bool) Candidate {
	item := from.List
	if item != "default" {
		item = fmt.Sprintf("%s[%d]", from.List, from.Item)
	}
	return Candidate{Policy: s.originKey(from), Item: item, Role: from.Role, Value: value, Wins: wins}
}

// hints say what a comparator means for who is surprised by it.
var hints = map[policy.Comparator]string{
	policy.ByKind:    "the top-level targetRef is compared first: the one that describes the proxy more closely wins, whoever wrote it and wherever",
	policy.ByOrigin:  "what was written in this zone outranks what came to it over global, also from other zones",
	policy.ByRole:    "the role is compared before what `to` names: workload-owner outranks consumer, then producer, then system",
	policy.ByToKind:  "of equal roles, the `to` that describes the destination more closely wins",
	policy.BySection: "a `to` with a section outranks one without",
	policy.ByName:    "everything else is equal, so the name that comes first in the alphabet wins: give the weaker one another name, or a narrower target",
	policy.ByItem:    "of two items of one policy the later one wins",
}

// effects is what is in force, by proxy.
type effects map[string]resolver.EffectiveAnswer

// effectsOf returns what is in force on every proxy.
func (s *state) effectsOf(ctx context.Context) (effects, error) {
	answers, err := s.answers(ctx, s.everyProxy(), policy.Filter{})
	if err != nil {
		return nil, err
	}
	all := effects{}
	for _, a := range answers {
		all[a.Proxy] = a.EffectiveAnswer
	}
	return all, nil
}

// checkChanged: the values that a step has changed are those of some proxies and types, and no others.
func (r *run) checkChanged(ctx context.Context, now *state, x Expectation, o *Outcome) error {
	after, err := now.effectsOf(ctx)
	if err != nil {
		return err
	}
	changed := map[string]bool{}
	var other []string
	d := newDiffer(r.scenario.Mesh)
	for _, key := range slices.Sorted(maps.Keys(after)) {
		for _, c := range d.changes(r.prev[key], after[key]) {
			if x.Types != nil && !slices.Contains(x.Types, c.Type) {
				other = append(other, key+" ("+c.Type+")")
				continue
			}
			changed[key] = true
		}
	}
	wanted := map[string]bool{}
	for _, pattern := range x.Proxies {
		found := now.proxies(pattern)
		if len(found) == 0 {
			wanted[pattern] = true
		}
		for _, px := range found {
			wanted[px.key] = true
		}
	}
	slices.Sort(other)
	o.Subject = "what is in force changes on " + enumerate(x.Proxies) + " alone"
	o.is(enumerate(sortedWords(wanted)), enumerate(append(sortedWords(changed), slices.Compact(other)...)))
	return nil
}

// differing returns the fields of two answers whose values differ.
func differing(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			all[k] = true
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			all[k] = true
		}
	}
	return all
}
