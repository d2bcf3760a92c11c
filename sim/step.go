package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// defaultPause is the time between two steps of which the later one does not say when it is.
const defaultPause = time.Second

// zonesOfSteps reads which zones the steps add, so that what comes before can name them.
func (l *loader) zonesOfSteps(n *yaml.Node, _ string) {
	if n.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range n.Content {
		if zones := child(resolved(item), string(ActionAddZone)); zones != nil && zones.Kind == yaml.MappingNode {
			for i := 0; i < len(zones.Content); i += 2 {
				l.later[zones.Content[i].Value] = true
			}
		}
	}
}

func (l *loader) steps(n *yaml.Node, path string) {
	at := time.Duration(0)
	for i, item := range l.list(n, path) {
		s := l.step(item, fmt.Sprintf("%s[%d]", path, i), at)
		at = s.At + defaultPause
		l.scenario.Steps = append(l.scenario.Steps, s)
	}
}

func (l *loader) step(n *yaml.Node, path string, at time.Duration) Step {
	s := Step{At: at, Pos: l.pos(n)}
	a := &s.Action
	l.into = &a.Documents
	defer func() { l.into = nil }()
	actions, expect := 0, (*yaml.Node)(nil)
	action := func(kind ActionKind, read func(n *yaml.Node, path string)) (f struct {
		name string
		read func(n *yaml.Node, path string)
	}) {
		f.name = string(kind)
		f.read = func(n *yaml.Node, path string) {
			actions++
			a.Kind = kind
			read(n, path)
		}
		return f
	}
	zones := func(n *yaml.Node, p string) {
		a.Zones = append(a.Zones, l.wordsOf(n, p, "zone", l.zoneNames())...)
	}
	direction := func(n *yaml.Node, p string) { a.Direction = l.word(n, p, "direction", []string{"up", "down"}) }
	known := fields{
		{"at", func(n *yaml.Node, p string) {
			if s.At = l.duration(n, p); s.At < at-defaultPause {
				l.bad(n, p, "found %s, but the step before is at %s", s.At, at-defaultPause)
			}
		}},
		{"expect", func(n *yaml.Node, _ string) { expect = n }},
		action(ActionApply, l.applyAction(a)),
		action(ActionDelete, func(n *yaml.Node, p string) {
			for _, e := range l.words(n, p) {
				a.Keys = append(a.Keys, l.named(e.key, e.at, e.path))
			}
		}),
		action(ActionPartition, zones),
		action(ActionHeal, func(n *yaml.Node, p string) {
			if n.Value == "all" && n.Kind == yaml.ScalarNode {
				a.Zones = l.zoneNames()
				return
			}
			zones(n, p)
		}),
		action(ActionStall, func(n *yaml.Node, p string) {
			if n.Kind != yaml.MappingNode {
				zones(n, p)
				return
			}
			found := l.object(n, p, fields{
				{"zone", zones},
				{"direction", direction},
			})
			l.required(n, p, found, "zone")
		}),
		action(ActionCutAfter, func(n *yaml.Node, p string) {
			found := l.object(n, p, fields{
				{"zone", zones},
				{"direction", direction},
				{"pieces", func(n *yaml.Node, p string) { a.Pieces = l.number(n, p, 1, maxPieces) }},
			})
			l.required(n, p, found, "zone", "pieces")
		}),
		action(ActionCrash, func(n *yaml.Node, p string) { a.Zones = l.planeList(n, p) }),
		action(ActionRestart, func(n *yaml.Node, p string) { a.Zones = l.planeList(n, p) }),
		action(ActionRemoveZone, zones),
		action(ActionAddZone, func(n *yaml.Node, p string) {
			for _, e := range l.entries(n, p) {
				if l.goodZone(e) {
					z := Zone{Name: e.key, At: l.pos(e.at)}
					l.features(&z, e)
					a.New = append(a.New, z)
					l.zoneContent(e)
				}
			}
		}),
		action(ActionSkew, func(n *yaml.Node, p string) {
			for _, e := range l.entries(n, p) {
				if !slices.Contains(l.zoneNames(), e.key) {
					l.unknown(e.at, e.path, "zone", e.key, l.zoneNames())
				}
				z := Zone{Name: e.key, At: l.pos(e.at)}
				l.object(e.value, e.path, fields{{"version", nil}, {"without", nil}})
				l.features(&z, e)
				a.New = append(a.New, z)
			}
		}),
	}
	l.object(n, path, known)
	if actions > 1 {
		l.bad(n, path, "found %d things that happen in one step, want one: write a step for each", actions)
	}
	if expect != nil && !l.lazy {
		s.Expect = l.expectations(expect, join(path, "expect"), true)
	}
	return s
}

// maxPieces is how many pieces of data a link may let through until it is cut: more than any scenario has.
const maxPieces = 1_000_000

// applyAction reads what is written: keys of documents that are written as they were at first, or by key a whole policy in shorthand, or
// paths and values that change one that is there.
func (l *loader) applyAction(a *Action) func(n *yaml.Node, path string) {
	return func(n *yaml.Node, path string) {
		if n.Kind != yaml.MappingNode {
			for _, e := range l.words(n, path) {
				a.Keys = append(a.Keys, l.named(e.key, e.at, e.path))
			}
			return
		}
		for _, e := range l.entries(n, path) {
			if child(e.value, "kind") != nil {
				l.policy(e)
				continue
			}
			p := Patch{Key: l.named(e.key, e.at, e.path), Set: map[string]any{}, Pos: l.pos(e.at)}
			for _, field := range l.entries(e.value, e.path) {
				if strings.HasPrefix(field.key, ".") || strings.HasSuffix(field.key, ".") || field.key == "" {
					l.bad(field.at, field.path, "found the path %q, want one such as to.0.default.http.requestTimeout", field.key)
				}
				p.Set[field.key] = l.value(field.value, field.path)
			}
			if len(p.Set) == 0 {
				l.bad(e.value, e.path, "want kind and what a policy has, or paths and values such as {to.0.default.http.requestTimeout: 2s}")
			}
			a.Patches = append(a.Patches, p)
		}
	}
}
