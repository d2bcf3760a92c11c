package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// step plays one step and checks what it expects. Steps of one time happen at once: nothing moves between them, unless the earlier one
// expects something.
func (r *run) step(ctx context.Context, s Step) error {
	if wait := s.At - time.Since(r.start); wait > 0 {
		time.Sleep(wait)
		synctest.Wait()
	}
	r.prev = nil
	if slices.ContainsFunc(s.Expect, func(x Expectation) bool { return x.Kind == ExpectChanged }) {
		before, err := r.live()
		if err != nil {
			return err
		}
		if r.prev, err = before.effectsOf(ctx); err != nil {
			return err
		}
	}
	if err := r.act(s.Action, s.Pos); err != nil {
		return err
	}
	if len(s.Expect) > 0 {
		synctest.Wait()
	}
	for _, x := range s.Expect { // one may let time pass
		now, err := r.live()
		if err != nil {
			return err
		}
		if err := r.expect(ctx, now, []Expectation{x}, s.At); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) act(a Action, at Position) error {
	cannot := func(format string, args ...any) error {
		return &Problem{at, string(a.Kind), fmt.Sprintf(format, args...)}
	}
	links := func(do func(*planes.Link)) error {
		for _, zone := range a.Zones {
			if l := r.f.Link(zone); l != nil {
				do(l)
			} else if a.Kind != ActionHeal {
				return cannot("there is no zone %s now", zone)
			}
		}
		return nil
	}
	each := func(do func(*planes.Plane) error) error {
		for _, name := range a.Zones {
			p := r.plane(name)
			if p == nil {
				return cannot("there is no zone %s now", name)
			}
			if err := do(p); err != nil {
				return err
			}
		}
		return nil
	}
	switch a.Kind {
	case ActionPartition:
		return links((*planes.Link).Cut)
	case ActionHeal:
		return links((*planes.Link).Heal)
	case ActionStall:
		return links(func(l *planes.Link) {
			for _, d := range a.directions() {
				l.Stall(d)
			}
		})
	case ActionCutAfter:
		return links(func(l *planes.Link) {
			for _, d := range a.directions() {
				l.CutAfter(d, a.Pieces)
			}
		})
	case ActionCrash:
		return each(func(p *planes.Plane) error {
			if !p.Running() {
				return cannot("%s is down already", p)
			}
			return p.Stop()
		})
	case ActionRestart:
		return each(func(p *planes.Plane) error { return errors.Join(p.Stop(), p.Start()) })
	case ActionRemoveZone:
		return each(func(p *planes.Plane) error {
			if !r.f.Global().Running() {
				return cannot("global is down")
			}
			return r.f.RemoveZone(p.Name())
		})
	case ActionAddZone:
		for _, z := range a.New {
			if err := r.f.AddZone(planes.Zone{Name: z.Name, Version: z.Version, Without: z.Without}); err != nil {
				return cannot("%s", err)
			}
		}
		synctest.Wait()
		return r.write(a.Documents)
	case ActionSkew:
		for _, z := range a.New {
			if r.f.Zone(z.Name) == nil {
				return cannot("there is no zone %s now", z.Name)
			}
			if err := r.f.Skew(planes.Zone{Name: z.Name, Version: z.Version, Without: z.Without}); err != nil {
				return err
			}
		}
	case ActionApply:
		docs := slices.Clone(a.Documents)
		for _, ref := range a.Keys {
			docs = append(docs, r.scenario.documents(ref)...)
		}
		for _, p := range a.Patches {
			d, err := r.patched(p)
			if err != nil {
				return err
			}
			docs = append(docs, d)
		}
		return r.write(docs)
	case ActionDelete:
		return r.delete(a, at)
	}
	return nil
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

func (r *run) delete(a Action, at Position) error {
	now, err := r.live()
	if err != nil {
		return err
	}
	for _, ref := range a.Keys {
		p, zone, ok := now.find(ref)
		if !ok {
			return &Problem{at, string(a.Kind), fmt.Sprintf("%s is not on %s now", ref, planeName(zone))}
		}
		if err := r.plane(zone).Delete(p.Key); err != nil {
			return &Problem{at, string(a.Kind), err.Error()}
		}
	}
	return nil
}

// patched returns the document that a patch makes of what is stored.
func (r *run) patched(p Patch) (Document, error) {
	now, err := r.live()
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
