package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/meridian-mesh/meridian/internal/mutation"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
	"github.com/meridian-mesh/meridian/sim/virtual"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// PlanResult is what going from one scenario to another does.
type PlanResult struct {
	Documents []DocumentChange `json:"documents"` // ascending by plane, then key and kind
	Changes   []Change         `json:"changes"`   // ascending by proxy, type, place and path
	Zones     []ZoneChange     `json:"zones"`     // that come, go, or announce other features; ascending

	Duration time.Duration `json:"durationNs"`
	Problem  string        `json:"problem,omitempty"` // why the federation did not converge; "": it did

	home string // the mesh of base
}

// Key returns how the scenario calls a resource: see Document.Key.
func (p *PlanResult) Key(id resource.Identity) string { return keyOf(p.home, id) }

// Changed says whether anything that is in force changes.
func (p *PlanResult) Changed() bool { return len(p.Changes) > 0 }

// ChangeAction says what becomes of something.
type ChangeAction string

// What becomes of it.
const (
	Added   ChangeAction = "added"
	Updated ChangeAction = "updated"
	Removed ChangeAction = "removed"
)

// ZoneChange is a zone that is not the same.
type ZoneChange struct {
	Zone   string       `json:"zone"`
	Action ChangeAction `json:"action"`
}

// DocumentChange is a document that is not the same, and where that shows.
type DocumentChange struct {
	Document string       `json:"document"` // its kind and key: MeshTimeout east/shop/kv
	Action   ChangeAction `json:"action"`
	Role     string       `json:"role,omitempty"` // of a policy, after the change, or before its removal
	Fields   []FieldDiff  `json:"fields,omitempty"`
	File     string       `json:"file,omitempty"`
	Line     int          `json:"line,omitempty"`
	Zones    []Impact     `json:"impact,omitempty"` // of a policy: every zone, ascending; of one that is removed, those that had it
}

// FieldDiff is a field of a document that differs.
type FieldDiff struct {
	Path   string `json:"path"`
	Before any    `json:"before"` // nil: it was not there
	After  any    `json:"after"`  // nil: it is not there
}

// Impact is what a change of a policy comes to in one zone.
type Impact struct {
	Cell
	Changed    int            `json:"changed"`    // proxies that the policy selects, before or after, on which a value of its type changes
	Unchanged  int            `json:"unchanged"`  // the others that it selects
	Namespaces map[string]int `json:"namespaces"` // Changed by namespace
}

// Change is one value that is in force after, and was not before.
type Change struct {
	Proxy     string `json:"proxy"` // its key
	Zone      string `json:"zone"`
	Namespace string `json:"namespace"`
	Type      string `json:"type"`  // of policy
	Place     string `json:"place"` // the KRI of a destination, inbound 8080, or proxy; listener 80, or it and a KRI, of a gateway
	Path      string `json:"path"`

	Before     any    `json:"before"` // nil: none
	After      any    `json:"after"`
	BeforeFrom string `json:"beforeFrom,omitempty"` // the key of the policy that gave it
	AfterFrom  string `json:"afterFrom,omitempty"`
}

// Plan says what going from base to head does to every proxy: it makes the federation of base, writes what is different in head, lets
// the planes sync it, and compares what is in force.
//
// Errors: as of Run.
func Plan(ctx context.Context, base, head *Scenario, o Options) (*PlanResult, error) {
	begin := time.Now()
	p := &plan{run: run{scenario: base, options: o, result: newResult(base)}, head: head, result: &PlanResult{
		Documents: []DocumentChange{}, Changes: []Change{}, Zones: []ZoneChange{}, home: base.Mesh,
	}}
	if err := virtual.Run(func() error { return p.play(context.WithoutCancel(ctx), ctx.Err) }); err != nil {
		return nil, err
	}
	p.result.Duration = time.Since(begin)
	return p.result, nil
}

// plan is one run of Plan.
type plan struct {
	run
	head   *Scenario
	result *PlanResult

	touched  map[string]map[string]bool // types ("": all) by proxy
	selected map[string]map[string]bool // proxies by document: those that a policy configures before or after
	removed  map[string]PolicyRow       // by document: what policies that are removed came to
}

// placedField is where a value is in force on a proxy.
type placedField struct{ kind, place, path string }

func (p *plan) play(ctx context.Context, stopped func() error) (err error) {
	if err := p.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.f.Close()) }()
	if err := p.write(ctx, p.scenario.Documents); err != nil {
		return err
	}
	if p.result.Problem, err = p.converge(ctx, convergeTime); err != nil || p.result.Problem != "" {
		return err
	}
	if err := stopped(); err != nil {
		return err
	}
	was, err := p.live()
	if err != nil {
		return err
	}
	writes, removals, err := p.compare()
	if err != nil {
		return err
	}
	if err := p.noteRemoved(ctx, was); err != nil {
		return err
	}
	if was, err = was.still(ctx); err != nil {
		return err
	}
	if err := p.change(ctx, writes, removals); err != nil {
		return err
	}
	if p.result.Problem, err = p.converge(ctx, convergeTime); err != nil || p.result.Problem != "" {
		return err
	}
	if err := stopped(); err != nil {
		return err
	}
	now, err := p.live()
	if err != nil {
		return err
	}
	if err := p.touch(ctx, was, now); err != nil {
		return err
	}
	if err := p.diff(ctx, was, now); err != nil {
		return err
	}
	p.noteFields(was, now)
	return p.judge(ctx, now)
}

// open makes the federation of the scenario.
func (r *run) open() (err error) {
	config := planes.Config{Dir: r.options.Dir}
	for _, z := range r.scenario.Zones {
		config.Zones = append(config.Zones, planes.Zone{Name: z.Name, Version: z.Version, Without: z.Without})
	}
	r.f, err = planes.Open(config)
	return err
}

// compare returns what is to be written and what is to be deleted, and notes both. A document that a plane would store as it has it is no
// change, whatever the labels and tags that the plane adds.
func (p *plan) compare() (writes []Document, removals []Document, err error) {
	key := func(d Document) placed { return placed{d.Plane, d.Resource.Key} }
	base := map[placed]Document{}
	for _, d := range p.scenario.Documents {
		base[key(d)] = d
	}
	kept := map[placed]bool{}
	others := map[string][]resource.Document{} // by plane
	for _, d := range p.head.Documents {
		old, there := base[key(d)]
		kept[key(d)] = true
		if !there || !old.Resource.SameContent(d.Resource) {
			others[d.Plane] = append(others[d.Plane], d.Document)
		}
	}
	note := func(d Document, action ChangeAction) {
		p.result.Documents = append(p.result.Documents, DocumentChange{
			Document: d.Resource.Kind + " " + keyOn(p.scenario.Mesh, d.Plane, d.Resource), Action: action, File: d.Source, Line: d.Line,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		docs := others[name]
		tried := make([]planes.Written, len(docs)) // of a zone that is not there yet
		if plane := p.plane(name); plane != nil {
			if tried, err = plane.Try(docs); err != nil {
				return nil, nil, err
			}
		}
		for i, doc := range docs {
			d := Document{Document: doc, Plane: name}
			if tried[i].Action == "unchanged" {
				continue
			}
			writes = append(writes, d)
			if _, there := base[key(d)]; there || tried[i].Action == "updated" {
				note(d, Updated)
			} else {
				note(d, Added)
			}
		}
	}
	for _, d := range p.scenario.Documents {
		if !kept[key(d)] {
			removals = append(removals, d)
			note(d, Removed)
		}
	}
	slices.SortFunc(p.result.Documents, func(a, b DocumentChange) int {
		_, keyA, _ := strings.Cut(a.Document, " ")
		_, keyB, _ := strings.Cut(b.Document, " ")
		if c := strings.Compare(keyA, keyB); c != 0 {
			return c
		}
		return strings.Compare(a.Document, b.Document)
	})
	return writes, removals, nil
}

// noteFields says what differs in documents, as they are stored but for the labels that planes compute.
func (p *plan) noteFields(was, now *state) {
	for i, c := range p.result.Documents {
		old, _, there := was.find(c.Document)
		fresh, _, still := now.find(c.Document)
		if c.Action == Updated && there && still {
			p.result.Documents[i].Fields = fieldDiffs(authored(old), authored(fresh))
		}
	}
}

// fieldDiffs returns the fields of two versions of a document that differ, ascending by path.
func fieldDiffs(a, b resource.Resource) []FieldDiff {
	before, after := leaves(a), leaves(b)
	var diffs []FieldDiff
	for path := range differing(before, after) {
		d := FieldDiff{Path: path}
		if v, ok := before[path]; ok {
			d.Before = v
		}
		if v, ok := after[path]; ok {
			d.After = v
		}
		diffs = append(diffs, d)
	}
	slices.SortFunc(diffs, func(a, b FieldDiff) int { return strings.Compare(a.Path, b.Path) })
	return diffs
}

// leaves returns the values of a document by path.
func leaves(r resource.Resource) map[string]string {
	all := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, v := range v {
				walk(join(path, k), v)
			}
		case []any:
			for i, v := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), v)
			}
		default:
			all[path] = ValueText(v)
		}
	}
	text, err := resource.ToJSON(r)
	if err != nil {
		return all
	}
	doc, err := resource.ParseText(string(text))
	if err == nil {
		walk("", doc)
	}
	return all
}

// everyType stands for all types of policy.
const everyType = ""

func (p *plan) touchProxy(key, kind string) {
	if p.touched[key] == nil {
		p.touched[key] = map[string]bool{}
	}
	p.touched[key][kind] = true
}

// typeOf returns the type of policy whose answers a change of a kind can touch, everyType for several.
func typeOf(kind string) string {
	if _, ok := policy.LookupType(kind); !ok || kind == "MeshHTTPRoute" {
		return everyType // policies can be for a route
	}
	return kind
}

// touch notes the proxies that the changes can touch, and by type of policy what on them: a policy what it configures before and after, a
// Dataplane itself, and anything else all there is.
func (p *plan) touch(ctx context.Context, was, now *state) error {
	p.touched, p.selected = map[string]map[string]bool{}, map[string]map[string]bool{}
	all := len(p.result.Zones) > 0
	for _, c := range p.result.Documents {
		kind, key, _ := strings.Cut(c.Document, " ")
		switch desc, _ := resource.LookupKind(kind); {
		case desc.Policy:
			p.selected[c.Document] = map[string]bool{}
			if err := p.touchBy(ctx, was, c.Document); err != nil {
				return err
			}
			if mutation.PlanLooksBack.Load() {
				continue
			}
			if err := p.touchBy(ctx, now, c.Document); err != nil {
				return err
			}
		case kind == "Dataplane":
			p.touchProxy(key, everyType)
		default:
			all = true
		}
	}
	if all {
		for _, s := range []*state{was, now} {
			for _, px := range s.everyProxy() {
				p.touchProxy(px.key, everyType)
			}
		}
	}
	return nil
}

func (p *plan) touchBy(ctx context.Context, s *state, ref string) error {
	r, _, ok := s.find(ref)
	if !ok {
		return nil
	}
	keys, err := s.matched(ctx, r.Identity())
	for _, key := range keys {
		p.touchProxy(key, typeOf(r.Kind))
		p.selected[ref][key] = true
	}
	return err
}

// answersOn returns what is in force on proxies, of the types that they are touched in: one type, or all if it is several. A proxy that is not
// there is left out.
func (s *state) answersOn(ctx context.Context, touched map[string]map[string]bool) (map[string]resolver.EffectiveAnswer, error) {
	byType := map[string][]proxyOf{}
	for _, key := range sortedKeys(touched) {
		px, ok := s.proxy(key)
		if !ok {
			continue
		}
		kind := everyType
		if types := sortedKeys(touched[key]); len(types) == 1 {
			kind = types[0]
		}
		byType[kind] = append(byType[kind], px)
	}
	all := map[string]resolver.EffectiveAnswer{}
	for kind, proxies := range byType {
		answers, err := s.answers(ctx, proxies, policy.Filter{Kind: kind})
		if err != nil {
			return nil, err
		}
		for _, a := range answers {
			all[a.Proxy] = a.EffectiveAnswer
		}
	}
	return all, nil
}

// placed returns the fields of places.
func placedFields[T any](places []T, of func(T) (place string, rules []policy.Applied)) map[placedField]policy.Field {
	fields := map[placedField]policy.Field{}
	for _, p := range places {
		place, rules := of(p)
		for _, rule := range rules {
			at := place + policy.Clients(rule.Matchers)
			for _, f := range rule.Fields {
				fields[placedField{rule.Type, at, f.Path}] = f
			}
		}
	}
	return fields
}

// fieldsOf returns the fields of an answer, part by part.
func fieldsOf(a resolver.EffectiveAnswer) []map[placedField]policy.Field {
	return []map[placedField]policy.Field{towards(a.Destinations), inbounds(a.Inbounds), whole(a.Proxy), atListeners(a.Listeners, nil)}
}

// towards, inbounds and whole are three of the parts.
func towards(tos []policy.EffectiveTo) map[placedField]policy.Field {
	return placedFields(tos, func(to policy.EffectiveTo) (string, []policy.Applied) { return to.KRI, to.Rules })
}

func inbounds(froms []policy.EffectiveFrom) map[placedField]policy.Field {
	return placedFields(froms, func(from policy.EffectiveFrom) (string, []policy.Applied) {
		return fmt.Sprint("inbound ", from.Port), from.Rules
	})
}

func whole(rules []policy.Applied) map[placedField]policy.Field {
	return placedFields([][]policy.Applied{rules}, func(rules []policy.Applied) (string, []policy.Applied) { return "proxy", rules })
}

// withPorts returns tos and the ports that other lists and tos does not: a port that no item names has what its service has.
func withPorts(tos, other []policy.EffectiveTo) []policy.EffectiveTo {
	services, listed := map[resource.Identity]policy.EffectiveTo{}, map[string]bool{}
	service := func(to policy.EffectiveTo) resource.Identity {
		return resource.Identity{Kind: to.Kind, Zone: to.Zone, Namespace: to.Namespace, Name: to.Name}
	}
	for _, to := range tos {
		listed[to.KRI] = true
		if to.Section == "" {
			services[service(to)] = to
		}
	}
	tos = slices.Clip(tos)
	for _, port := range other {
		if of, there := services[service(port)]; there && !listed[port.KRI] {
			of.KRI, of.Section = port.KRI, port.Section
			tos = append(tos, of)
		}
	}
	return tos
}

// atListeners are the fields at the listeners of a gateway, with the ports that the same ones of other have.
func atListeners(listeners, other []resolver.EffectiveListener) map[placedField]policy.Field {
	ports := map[string][]policy.EffectiveTo{}
	for _, l := range other {
		ports[l.String()] = l.Destinations
	}
	all := map[placedField]policy.Field{}
	for _, l := range listeners {
		at := "listener " + l.String()
		maps.Copy(all, placedFields(withPorts(l.Destinations, ports[l.String()]), func(to policy.EffectiveTo) (string, []policy.Applied) { return at + " " + to.KRI, to.Rules }))
		maps.Copy(all, placedFields(l.Inbounds, func(from policy.EffectiveFrom) (string, []policy.Applied) { return at, from.Rules }))
	}
	return all
}

// differ compares answers. What proxies share is compared once.
type differ struct {
	home  string // the mesh of the scenario
	known map[[2]*policy.EffectiveTo][]Change
}

func newDiffer(home string) *differ {
	return &differ{home: home, known: map[[2]*policy.EffectiveTo][]Change{}}
}

func (d *differ) changes(before, after resolver.EffectiveAnswer) []Change {
	changes := append(differences(d.home, inbounds(before.Inbounds), inbounds(after.Inbounds)), differences(d.home, whole(before.Proxy), whole(after.Proxy))...)
	changes = append(changes, differences(d.home, atListeners(before.Listeners, after.Listeners), atListeners(after.Listeners, before.Listeners))...)
	var key [2]*policy.EffectiveTo
	if len(before.Destinations) > 0 {
		key[0] = &before.Destinations[0]
	}
	if len(after.Destinations) > 0 {
		key[1] = &after.Destinations[0]
	}
	out, ok := d.known[key]
	if !ok {
		out = differences(d.home, towards(withPorts(before.Destinations, after.Destinations)), towards(withPorts(after.Destinations, before.Destinations)))
		d.known[key] = out
	}
	return append(changes, out...)
}

// differences returns the fields whose values are not the same, without the proxy.
func differences(home string, before, after map[placedField]policy.Field) []Change {
	var changes []Change
	note := func(at placedField, old, new policy.Field, was, is bool) {
		c := Change{Type: at.kind, Place: at.place, Path: at.path}
		if was {
			c.Before, c.BeforeFrom = old.Value, originKey(home, old.Origin)
		}
		if is {
			c.After, c.AfterFrom = new.Value, originKey(home, new.Origin)
		}
		changes = append(changes, c)
	}
	for at, old := range before {
		if new, is := after[at]; !is || ValueText(old.Value) != ValueText(new.Value) {
			note(at, old, new, true, is)
		}
	}
	for at, new := range after {
		if _, was := before[at]; !was {
			note(at, policy.Field{}, new, false, true)
		}
	}
	return changes
}

// zoneChanges returns the zones that are not the same in base and head.
func (p *plan) zoneChanges() []ZoneChange {
	base, head := map[string]Zone{}, map[string]Zone{}
	for _, z := range p.scenario.Zones {
		base[z.Name] = z
	}
	for _, z := range p.head.Zones {
		head[z.Name] = z
	}
	var changes []ZoneChange
	for _, name := range slices.Sorted(maps.Keys(base)) {
		switch z, ok := head[name]; {
		case !ok:
			changes = append(changes, ZoneChange{name, Removed})
		case z.Version != base[name].Version || !slices.Equal(z.Without, base[name].Without):
			changes = append(changes, ZoneChange{name, Updated})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(head)) {
		if _, ok := base[name]; !ok {
			changes = append(changes, ZoneChange{name, Added})
		}
	}
	return changes
}

// change makes the federation that of head.
func (p *plan) change(ctx context.Context, writes, removals []Document) error {
	p.result.Zones = append(p.result.Zones, p.zoneChanges()...)
	gone := map[string]bool{}
	for _, c := range p.result.Zones {
		z := planes.Zone{Name: c.Zone}
		for _, of := range p.head.Zones {
			if of.Name == c.Zone {
				z.Version, z.Without = of.Version, of.Without
			}
		}
		var err error
		switch c.Action {
		case Added:
			err = p.f.AddZone(z)
		case Removed:
			gone[c.Zone] = true
			err = p.f.RemoveZone(c.Zone)
		case Updated:
			err = p.f.Skew(z)
		}
		if err != nil {
			return err
		}
	}
	synctest.Wait()
	for _, d := range removals {
		if gone[d.Plane] {
			continue
		}
		if err := p.plane(d.Plane).Delete(d.Resource.Key); err != nil {
			return &Problem{Position{File: d.Source, Line: d.Line}, d.Resource.Key.String(), err.Error()}
		}
	}
	return p.write(ctx, writes)
}

// diff notes the values that are not as before, on the proxies that were touched.
func (p *plan) diff(ctx context.Context, was, now *state) error {
	before, err := was.answersOn(ctx, p.touched)
	if err != nil {
		return err
	}
	after, err := now.answersOn(ctx, p.touched)
	if err != nil {
		return err
	}
	d := newDiffer(p.scenario.Mesh)
	for _, key := range sortedKeys(p.touched) {
		zone, namespace := placeOf(key)
		for _, c := range d.changes(before[key], after[key]) {
			c.Proxy, c.Zone, c.Namespace = key, zone, namespace
			p.result.Changes = append(p.result.Changes, c)
		}
	}
	slices.SortFunc(p.result.Changes, func(a, b Change) int {
		return strings.Compare(strings.Join([]string{a.Proxy, a.Type, a.Place, a.Path}, "\x00"), strings.Join([]string{b.Proxy, b.Type, b.Place, b.Path}, "\x00"))
	})
	return nil
}

// noteRemoved notes what the policies come to that will be gone.
func (p *plan) noteRemoved(ctx context.Context, was *state) error {
	p.removed = map[string]PolicyRow{}
	for _, c := range p.result.Documents {
		kind, _, _ := strings.Cut(c.Document, " ")
		r, _, ok := was.find(c.Document)
		if desc, _ := resource.LookupKind(kind); !desc.Policy || c.Action != Removed || !ok {
			continue
		}
		row, err := was.row(ctx, r.Identity())
		if err != nil {
			return err
		}
		p.removed[c.Document] = row
	}
	return nil
}

// judge says what each change of a policy comes to in every zone.
func (p *plan) judge(ctx context.Context, now *state) error {
	changed := map[string]map[string]bool{} // types by proxy
	for _, c := range p.result.Changes {
		if changed[c.Proxy] == nil {
			changed[c.Proxy] = map[string]bool{}
		}
		changed[c.Proxy][c.Type] = true
	}
	for i := range p.result.Documents {
		c := &p.result.Documents[i]
		if p.selected[c.Document] == nil {
			continue
		}
		row, gone := p.removed[c.Document]
		if r, _, ok := now.find(c.Document); ok {
			var err error
			if row, err = now.row(ctx, r.Identity()); err != nil {
				return err
			}
			gone = false
		}
		kind, _, _ := strings.Cut(c.Document, " ")
		c.Role = row.Role
		impacts := p.impacts(p.selected[c.Document], changed, kind)
		for _, cell := range row.Cells {
			if gone && cell.State == CellNotSent {
				continue
			}
			if gone {
				cell = Cell{Zone: cell.Zone, State: CellNotSent, Because: "it is removed", By: cell.By, MaskedBy: cell.MaskedBy}
			}
			impact := Impact{Namespaces: map[string]int{}}
			if of := impacts[cell.Zone]; of != nil {
				impact = *of
			}
			impact.Cell = cell
			c.Zones = append(c.Zones, impact)
		}
	}
	return nil
}

// impacts counts by zone on which of some proxies a value of a type changes.
func (p *plan) impacts(selected map[string]bool, changed map[string]map[string]bool, kind string) map[string]*Impact {
	zones := map[string]*Impact{}
	for key := range selected {
		zone, namespace := placeOf(key)
		i := zones[zone]
		if i == nil {
			i = &Impact{Namespaces: map[string]int{}}
			zones[zone] = i
		}
		if changed[key][kind] {
			i.Changed++
			i.Namespaces[namespace]++
		} else {
			i.Unchanged++
		}
	}
	return zones
}

// placeOf returns the zone and the namespace ("": none) of the key of a proxy.
func placeOf(key string) (zone, namespace string) {
	zone, rest, _ := strings.Cut(key, "/")
	namespace, _, ok := strings.Cut(rest, "/")
	if !ok {
		namespace = ""
	}
	return zone, namespace
}
