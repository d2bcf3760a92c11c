package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// step plays one step and checks what it expects. Steps of one time happen at once: nothing moves between them, unless the earlier one
// expects something.
func (r *run) step(ctx context.Context, s Step) error {
	if err := r.ground().pass(ctx, s.At); err != nil {
		return err
	}
	r.prev = nil
	if slices.ContainsFunc(s.Expect, func(x Expectation) bool { return x.Kind == ExpectChanged }) {
		before, err := r.ground().state(ctx)
		if err != nil {
			return err
		}
		if r.prev, err = before.effectsOf(ctx); err != nil {
			return err
		}
	}
	if err := r.act(ctx, s.Action, s.Pos); err != nil {
		return err
	}
	if len(s.Expect) > 0 {
		if err := r.ground().settle(ctx); err != nil {
			return err
		}
	}
	return r.expect(ctx, s.Expect, s.At)
}

// act makes happen what a step says.
func (r *run) act(ctx context.Context, a Action, at Position) error {
	cannot := func(format string, args ...any) error {
		return &Problem{at, string(a.Kind), fmt.Sprintf(format, args...)}
	}
	on := r.ground()
	possible := a
	possible.Zones = nil
	for _, name := range a.Zones {
		there, up := on.runs(name)
		switch {
		case !there && a.Kind == ActionHeal:
			continue // all
		case !there:
			return cannot("there is no zone %s now", name)
		case !up && a.Kind == ActionCrash:
			return cannot("%s is down already", planeName(name))
		}
		possible.Zones = append(possible.Zones, name)
	}
	for _, z := range a.New {
		if there, _ := on.runs(z.Name); there && a.Kind == ActionAddZone {
			return cannot("zone %s is there already", z.Name)
		} else if !there && a.Kind == ActionSkew {
			return cannot("there is no zone %s now", z.Name)
		}
	}
	switch a.Kind {
	case ActionNone:
		return nil
	case ActionApply:
		docs := slices.Clone(a.Documents)
		for _, ref := range a.Keys {
			docs = append(docs, r.scenario.documents(ref)...)
		}
		for _, p := range a.Patches {
			d, err := r.patched(ctx, p)
			if err != nil {
				return err
			}
			docs = append(docs, d)
		}
		return r.write(ctx, docs)
	case ActionDelete:
		return r.delete(ctx, a, at)
	case ActionRemoveZone:
		if _, up := on.runs(""); !up {
			return cannot("global is down")
		}
	}
	if err := on.act(ctx, possible); err != nil || a.Kind != ActionAddZone {
		return err
	}
	if err := on.settle(ctx); err != nil {
		return err
	}
	return r.write(ctx, a.Documents)
}

// directions returns those that an action is about.
func (a Action) directions() []planes.Direction {
	switch a.Direction {
	case "up":
		return []planes.Direction{planes.Up}
	case "down":
		return []planes.Direction{planes.Down}
	}
	return []planes.Direction{planes.Up, planes.Down}
}

// documents returns those that a reference ("MeshTimeout east/shop/kv") names.
func (s *Scenario) documents(ref string) []Document {
	var docs []Document
	for _, d := range s.all() {
		if d.ref() == ref {
			docs = append(docs, d)
		}
	}
	return docs
}

func (r *run) delete(ctx context.Context, a Action, at Position) error {
	now, err := r.ground().state(ctx)
	if err != nil {
		return err
	}
	for _, ref := range a.Keys {
		p, zone, ok := now.find(ref)
		if !ok {
			return &Problem{at, string(a.Kind), fmt.Sprintf("%s is not on %s now", ref, planeName(zone))}
		}
		if err := r.ground().delete(ctx, zone, p.Key); err != nil {
			return &Problem{at, string(a.Kind), err.Error()}
		}
	}
	return nil
}

// patched returns the document that a patch makes of what is stored.
func (r *run) patched(ctx context.Context, p Patch) (Document, error) {
	now, err := r.ground().state(ctx)
	if err != nil {
		return Document{}, err
	}
	old, zone, ok := now.find(p.Key)
	if !ok {
		return Document{}, &Problem{p.Pos, p.Key, fmt.Sprintf("it is not on %s now", planeName(zone))}
	}
	return p.apply(old, zone, now.home)
}

// apply returns the document that the patch makes of one on a plane.
func (p Patch) apply(old resource.Resource, plane, home string) (Document, error) {
	text, err := resource.ToJSON(old)
	if err != nil {
		return Document{}, err
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return Document{}, err
	}
	root := doc
	if spec, ok := doc["spec"].(map[string]any); ok {
		root = spec
	}
	for path, v := range p.Set {
		if err := setPath(root, strings.Split(path, "."), v); err != nil {
			return Document{}, &Problem{p.Pos, p.Key, fmt.Sprintf("%s: %s", path, err)}
		}
	}
	if text, err = json.Marshal(doc); err != nil {
		return Document{}, err
	}
	read, err := policy.Schemas().Read(p.Pos.File, text, resource.ReadOptions{})
	var problems []error
	for _, e := range eachInvalid(err) {
		for _, v := range e.Violations {
			problems = append(problems, &Problem{p.Pos, p.Key + ": " + v.Field, v.Reason})
		}
	}
	if len(problems) > 0 {
		return Document{}, errors.Join(problems...)
	}
	read[0].Source, read[0].Line = p.Pos.File, p.Pos.Line
	return Document{Document: read[0], Plane: plane, home: home}, nil
}

// setPath sets what a path leads to in a value of JSON; nil removes it. Objects on the way are made, lists are not made longer.
func setPath(in any, path []string, v any) error {
	switch at := in.(type) {
	case map[string]any:
		if len(path) == 1 {
			if v == nil {
				delete(at, path[0])
			} else {
				at[path[0]] = v
			}
			return nil
		}
		if at[path[0]] == nil {
			at[path[0]] = map[string]any{}
		}
		return setPath(at[path[0]], path[1:], v)
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil || i < 0 || i >= len(at) {
			return fmt.Errorf("found %q, want the index of one of %d items, from 0", path[0], len(at))
		}
		if len(path) == 1 {
			at[i] = v
			return nil
		}
		return setPath(at[i], path[1:], v)
	}
	return fmt.Errorf("there is nothing below %s", ValueText(in))
}
