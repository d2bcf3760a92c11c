package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// This file builds the rules that select by tag: the clients of an inbound (`from`), and, beside the rules for real
// resources, the destinations (`to`). Items whose tags overlap are cut into disjoint sets of tags, so that each set has
// one conf.

// Matcher is one condition of a rule on tags. Not inverts it; a missing tag then matches too.
type Matcher struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Not   bool   `json:"not"`
}

// Clients says in words for which clients a rule with these matchers is: " from app=web, not team=x", "" for all.
func Clients(matchers []Matcher) string {
	if len(matchers) == 0 {
		return ""
	}
	var words []string
	for _, m := range matchers {
		word := m.Key + "=" + m.Value
		if m.Not {
			word = "not " + word
		}
		words = append(words, word)
	}
	return " from " + strings.Join(words, ", ")
}

// tagRule is the entries that meet on the peers that all matchers accept, weakest first.
type tagRule struct {
	matchers []Matcher // ascending by key
	entries  []Entry
}

// accepts says whether matchers accept a peer with these tags. A negated matcher accepts a peer without the tag; but if
// the peer has none of the tags that are asked about, all of them must be negated.
func accepts(matchers []Matcher, tags map[string]string) bool {
	if len(matchers) == 0 {
		return true
	}
	if len(tags) == 0 {
		return false
	}
	overlap, negated := false, true
	for _, m := range matchers {
		value, ok := tags[m.Key]
		overlap, negated = overlap || ok, negated && m.Not
		if !m.Not && (!ok || value != m.Value) || m.Not && ok && value == m.Value {
			return false
		}
	}
	return overlap || negated
}

// tagSet is the tags of one or more items that say the same.
type tagSet struct {
	tags    []tag // ascending by key
	entries []int // positions of the items that have these tags, ascending
}

// tagSets groups the entries by their tags, in order of first occurrence. Entries that no tags can express are left
// out of used, the entries that the sets refer to.
func tagSets(entries []Entry) (sets []*tagSet, used []Entry) {
	byText := map[string]*tagSet{}
	for _, e := range entries {
		list := e.Item.tags
		if !list.ok {
			continue
		}
		s := byText[list.text]
		if s == nil {
			s = &tagSet{tags: list.tags}
			byText[list.text] = s
			sets = append(sets, s)
		}
		s.entries = append(s.entries, len(used))
		used = append(used, e)
	}
	return sets, used
}

// intersects says whether some peer can have the tags of both.
func (s *tagSet) intersects(o *tagSet) bool {
	for i, j := 0, 0; i < len(s.tags) && j < len(o.tags); {
		switch a, b := s.tags[i], o.tags[j]; {
		case a.key < b.key:
			i++
		case a.key > b.key:
			j++
		case a.value != b.value:
			return false
		default:
			i++
			j++
		}
	}
	return true
}

// tagRules returns the rules for entries, which are in the order of their policies. The order of the rules matters:
// the first that matches a peer is in force.
//
// Among destinations (from is false) whose sets use at most one key there is one rule per set: the service that a rule
// leaves over falls to the rule without matchers. Otherwise each maximal group of sets that overlap pairwise gives all
// combinations of its tags, negated or not, that some item accepts.
//
// The error says that such a group has too many tags. There are no rules then, as if there were no items: for a
// permission that is the safe side.
func tagRules(entries []Entry, from bool) ([]tagRule, error) {
	sets, used := tagSets(entries)
	cover := newCover(sets, used)
	keys := map[string]bool{}
	for _, s := range sets {
		for _, t := range s.tags {
			keys[t.key] = true
		}
	}
	var rules []tagRule
	if !from && len(keys) <= 1 {
		for _, s := range sets {
			rules = append(rules, cover.rule(s.tags, 0))
		}
	} else {
		for _, clique := range cliques(sets) {
			tags := combined(clique)
			if len(tags) > maxTags {
				return nil, fmt.Errorf("%d tags meet on one set of clients, at most %d can be combined", len(tags), maxTags)
			}
			// The lowest bit stands for the first tag, a set bit negates it. All-positive comes last.
			for n := uint64(1); n < 1<<len(tags); n++ {
				if r := cover.rule(tags, n); len(r.entries) > 0 {
					rules = append(rules, r)
				}
			}
			if r := cover.rule(tags, 0); len(r.entries) > 0 {
				rules = append(rules, r)
			}
		}
	}
	slices.SortStableFunc(rules, func(a, b tagRule) int { return cmp.Compare(b.positive(), a.positive()) })
	return rules, nil
}

// maxTags bounds the tags that are combined in one place: n tags give up to 2^n rules.
const maxTags = 16

func (r tagRule) positive() int {
	n := 0
	for _, m := range r.matchers {
		if !m.Not {
			n++
		}
	}
	return n
}

// combined returns all tags of a clique, ascending by key; its sets do not differ in the value of any key.
func combined(clique []*tagSet) []tag {
	all := map[tag]bool{}
	for _, s := range clique {
		for _, t := range s.tags {
			all[t] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b tag) int { return cmp.Compare(a.key, b.key) })
}

// cover finds the items whose tags are all among given ones.
type cover struct {
	used   []Entry
	always []*tagSet         // the set without tags
	first  map[tag][]*tagSet // by the first tag of the set
}

func newCover(sets []*tagSet, used []Entry) cover {
	c := cover{used: used, first: map[tag][]*tagSet{}}
	for _, s := range sets {
		if len(s.tags) == 0 {
			c.always = append(c.always, s)
		} else {
			c.first[s.tags[0]] = append(c.first[s.tags[0]], s)
		}
	}
	return c
}

// rule returns the rule for tags, of which the set bits of negated are negated, with every item that accepts it: an
// item asks for tags, so only the positive ones can satisfy it.
func (c cover) rule(tags []tag, negated uint64) tagRule {
	r := tagRule{matchers: make([]Matcher, 0, len(tags))}
	positive := make([]tag, 0, len(tags))
	for i, t := range tags {
		not := negated&(1<<i) != 0
		r.matchers = append(r.matchers, Matcher{Key: t.key, Value: t.value, Not: not})
		if !not {
			positive = append(positive, t)
		}
	}
	var at []int
	for _, s := range c.always {
		at = append(at, s.entries...)
	}
	for _, t := range positive {
		for _, s := range c.first[t] {
			if containsAll(positive, s.tags) {
				at = append(at, s.entries...)
			}
		}
	}
	slices.Sort(at)
	r.entries = make([]Entry, len(at))
	for i, e := range at {
		r.entries[i] = c.used[e]
	}
	return r
}

func containsAll(have, want []tag) bool {
	for _, t := range want {
		if !slices.Contains(have, t) {
			return false
		}
	}
	return true
}

// cliques returns the maximal groups of sets that overlap pairwise: Bron and Kerbosch's algorithm with a pivot. They
// are ordered as Kuma's answers are: by the positions of their items written as text, "2:9" before "2:10", descending.
func cliques(sets []*tagSet) [][]*tagSet {
	overlap := make([][]bool, len(sets))
	for i, s := range sets {
		overlap[i] = make([]bool, len(sets))
		for j, o := range sets {
			overlap[i][j] = i != j && s.intersects(o)
		}
	}
	neighbours := func(of int, among []int) []int {
		var n []int
		for _, v := range among {
			if overlap[of][v] {
				n = append(n, v)
			}
		}
		return n
	}
	var found [][]*tagSet
	var grow func(chosen, open, done []int)
	grow = func(chosen, open, done []int) {
		if len(open) == 0 && len(done) == 0 {
			clique := make([]*tagSet, len(chosen))
			for i, v := range chosen {
				clique[i] = sets[v]
			}
			found = append(found, clique)
			return
		}
		pivot, most := -1, -1
		for _, v := range slices.Concat(open, done) {
			if n := len(neighbours(v, open)); n > most {
				pivot, most = v, n
			}
		}
		for _, v := range slices.Clone(open) {
			if overlap[pivot][v] {
				continue
			}
			grow(append(slices.Clone(chosen), v), neighbours(v, open), neighbours(v, done))
			open = slices.Delete(slices.Clone(open), slices.Index(open, v), slices.Index(open, v)+1)
			done = append(slices.Clone(done), v)
		}
	}
	all := make([]int, len(sets))
	for i := range all {
		all[i] = i
	}
	if len(all) > 0 {
		grow(nil, all, nil)
	}
	slices.SortFunc(found, func(a, b []*tagSet) int { return strings.Compare(cliqueText(b), cliqueText(a)) })
	return found
}

// cliqueText writes the positions of all items of a clique, ascending and joined by colons.
func cliqueText(clique []*tagSet) string {
	var at []int
	for _, s := range clique {
		at = append(at, s.entries...)
	}
	slices.Sort(at)
	text := make([]string, len(at))
	for i, n := range at {
		text[i] = strconv.Itoa(n)
	}
	return strings.Join(text, ":")
}
