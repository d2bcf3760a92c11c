package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// mergePatch returns target with patch applied: RFC 7396, except that an array whose member name starts with "append"
// is added to the one that is there. Neither argument is modified; the result may share parts of both.
// mergePatch(nil, patch) is patch without its nulls.
func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, _ := target.(map[string]any)
	merged := make(map[string]any, max(len(t), len(p)))
	maps.Copy(merged, t)
	for name, v := range p {
		if v == nil {
			delete(merged, name)
			continue
		}
		if more, ok := v.([]any); ok && appends(name) {
			have, _ := merged[name].([]any)
			merged[name] = append(append(make([]any, 0, len(have)+len(more)), have...), more...) // never nil: [] is a value
			continue
		}
		merged[name] = mergePatch(merged[name], v)
	}
	return merged
}

func appends(member string) bool { return strings.HasPrefix(member, "append") }

// merge returns the conf that entries come to, the last one winning.
func merge(entries []Entry) any {
	conf := entries[0].Item.plain
	for _, e := range entries[1:] {
		conf = mergePatch(conf, e.Item.Conf)
	}
	return conf
}

// trace merges like merge, and keeps for every field who wrote it. The fields are those of the merged conf, plus the
// ones that a null removed; ascending by path, member by member.
func trace(entries []Entry, compare func(a, b Entry) (int, Comparator)) []Field {
	root := &cell{}
	for i, e := range entries {
		root.write("", e.Item.Conf, i)
	}
	t := tracer{entries: entries, compare: compare}
	t.walk("", root, nil)
	return t.fields
}

// cell is one place of a conf while confs are written over it.
type cell struct {
	state   state
	by      int // the entry that wrote last
	value   any // of a leaf
	list    []write
	members map[string]*cell // kept after a null, for what they remember
	lost    []write          // leaves that this cell held earlier, oldest first
}

type state uint8

const (
	absent state = iota
	leaf         // a scalar, an array, or null
	list         // an array that grows: one write per element
	object
)

// write is a value that one entry gave. below is its path below the cell that remembers it, "" for the cell itself.
type write struct {
	value any
	by    int
	below string
}

func (c *cell) write(name string, v any, by int) {
	if members, ok := v.(map[string]any); ok {
		if c.state != object {
			c.lose()
		}
		c.state, c.by = object, by
		for name, v := range members {
			c.member(name).write(name, v, by)
		}
		return
	}
	if v == nil && c.state == object {
		// A null takes an object away field by field, so that each field knows who removed it.
		for name, m := range c.members {
			m.write(name, nil, by)
		}
		c.state = absent
		return
	}
	if elements, ok := v.([]any); ok && appends(name) {
		if c.state != list {
			c.lose()
			c.state, c.list = list, nil
		}
		c.by = by
		for _, e := range elements {
			c.list = append(c.list, write{value: e, by: by})
		}
		return
	}
	c.lose()
	c.state, c.by, c.value, c.members = leaf, by, v, nil
}

func (c *cell) member(name string) *cell {
	m := c.members[name]
	if m == nil {
		m = &cell{}
		if c.members == nil {
			c.members = map[string]*cell{}
		}
		c.members[name] = m
	}
	return m
}

// lose remembers what the cell holds, before something of another shape takes its place.
func (c *cell) lose() {
	if c.state == leaf && c.value == nil {
		c.lost = append(c.lost, write{by: c.by})
		return
	}
	c.lost = append(c.lost, c.leaves("")...)
}

// leaves returns what a cell and its members hold now.
func (c *cell) leaves(below string) []write {
	var held []write
	switch c.state {
	case leaf:
		if c.value != nil {
			held = append(held, write{c.value, c.by, below})
		}
	case list:
		for _, w := range c.list {
			held = append(held, write{w.value, w.by, below})
		}
	case object:
		for _, name := range slices.Sorted(maps.Keys(c.members)) {
			held = append(held, c.members[name].leaves(join(below, name))...)
		}
	}
	return held
}

func (c *cell) present() bool { return c.state != absent && (c.state != leaf || c.value != nil) }

// join returns the path of a member; a name that is no plain word is written ["so"].
func join(path, name string) string {
	switch {
	case strings.ContainsAny(name, ".[]\" /*"):
		return path + "[" + strconv.Quote(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

type tracer struct {
	entries []Entry
	compare func(a, b Entry) (int, Comparator)
	fields  []Field
}

// walk adds the fields at and below c. above is what was lost at a place above, when it turned into an object.
func (t *tracer) walk(path string, c *cell, above []write) {
	switch c.state {
	case list:
		for i, w := range c.list {
			t.field(path+"["+strconv.Itoa(i)+"]", w.value, w.by, nil)
		}
		if len(c.list) == 0 {
			t.field(path, []any{}, c.by, c.lost)
		}
		return
	case leaf:
		lost := slices.Concat(above, c.lost)
		removed := c.value == nil && slices.ContainsFunc(lost, func(w write) bool { return w.value != nil })
		if c.value != nil || removed {
			t.field(path, c.value, c.by, lost)
		}
	case object:
		above = slices.Concat(above, c.lost)
		empty := true
		for _, m := range c.members {
			empty = empty && !m.present()
		}
		if empty && path != "" {
			t.field(path, map[string]any{}, c.by, above)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.members)) {
		t.walk(join(path, name), c.members[name], above)
	}
}

func (t *tracer) field(path string, value any, by int, lost []write) {
	winner := t.entries[by]
	f := Field{Path: path, Value: value, Origin: originOf(winner)}
	lost = slices.Clone(lost)
	slices.SortStableFunc(lost, func(a, b write) int { return b.by - a.by })
	for _, w := range lost {
		if w.by == by {
			continue // one conf says it twice, as with a field below an object that it also removes
		}
		f.Losers = append(f.Losers, Loser{
			Path: w.below, Value: w.value, Origin: originOf(t.entries[w.by]),
			By: decidedBy(t.compare, winner, t.entries[w.by]),
		})
	}
	t.fields = append(t.fields, f)
}
