package lint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// given is one value that a policy gives.
type given struct {
	doc  *doc
	list string
	item int
	path string
}

// field returns where the value stands in the document, as far as a path of an answer leads there.
func (g given) field() string {
	if g.list == "default" {
		return "spec.default." + g.path
	}
	return g.at() + ".default." + g.path
}

// at returns where the item stands.
func (g given) at() string {
	if g.list == "default" {
		return "spec.default"
	}
	return fmt.Sprintf("spec.%s[%d]", g.list, g.item)
}

// mask is a value, and the item that is stronger, somewhere.
type mask struct {
	given
	value  any
	by     policy.Comparator
	winner given
	places []*policy.Place
	view   *view // of the first of them
}

// example names one of the proxies.
func (k mask) example() string { return nameOf(k.places[0].Groups[0].Proxies[0].Identity()) }

// proxies says on how many proxies it is so.
func (k mask) proxies() string {
	all := map[*policy.Proxy]bool{}
	seen := map[*policy.Group]bool{}
	for _, place := range k.places {
		for _, g := range place.Groups {
			if seen[g] {
				continue
			}
			seen[g] = true
			for _, px := range g.Proxies {
				all[px] = true
			}
		}
	}
	return proxies(len(all))
}

// meeting is what all policies come to on all proxies.
type meeting struct {
	order  []given // everything that is given somewhere, in the order of the documents
	known  map[given]bool
	values map[given]any    // where it wins
	masks  map[given][]mask // one for each winner and comparator
}

func newMeeting() *meeting {
	return &meeting{known: map[given]bool{}, values: map[given]any{}, masks: map[given][]mask{}}
}

// meet puts together what the zones say.
func (l *linter) meet() *meeting {
	m := newMeeting()
	for _, s := range l.sites {
		for _, mesh := range s.view.meshes() {
			for _, place := range s.view.surveys[mesh].Places {
				for _, f := range place.Fields {
					l.meetAt(m, f, place, s.view)
				}
			}
		}
	}
	m.sort()
	return m
}

func (m *meeting) sort() {
	slices.SortFunc(m.order, func(a, b given) int {
		return cmp.Or(cmp.Compare(a.doc.number, b.doc.number), cmp.Compare(a.list, b.list), cmp.Compare(a.item, b.item), cmp.Compare(a.path, b.path))
	})
}

// meetAt notes who gives one field in one place, and who lost.
func (l *linter) meetAt(m *meeting, f policy.Field, place *policy.Place, v *view) {
	winner := given{l.byKRI[f.Origin.KRI], f.Origin.List, f.Origin.Item, f.Path}
	if winner.doc != nil {
		m.add(winner)
		m.values[winner] = f.Value
	}
	for _, lost := range f.Losers {
		loser := given{l.byKRI[lost.Origin.KRI], lost.Origin.List, lost.Origin.Item, f.Path}
		if loser.doc == nil {
			continue
		}
		if lost.Path != "" {
			loser.path += "." + lost.Path
		}
		m.add(loser)
		i := slices.IndexFunc(m.masks[loser], func(k mask) bool { return k.winner == winner && k.by == lost.By })
		if i < 0 {
			i = len(m.masks[loser])
			m.masks[loser] = append(m.masks[loser], mask{given: loser, value: lost.Value, by: lost.By, winner: winner, view: v})
		}
		k := &m.masks[loser][i]
		k.places = append(k.places, place)
	}
}

func (m *meeting) add(g given) {
	if !m.known[g] {
		m.known[g] = true
		m.order = append(m.order, g)
	}
}

// differs says whether the winner gives another value. One that is nowhere known to win under the same path does.
func (m *meeting) differs(k mask) bool {
	value, ok := m.values[k.winner]
	return !ok || !reflect.DeepEqual(value, k.value)
}

// checkOrder says where two policies meet in a way that their authors may not expect, and what is in force nowhere.
func (l *linter) checkOrder(m *meeting) {
	type pair struct {
		code       Code
		at, winner *doc
		item       int
	}
	said := map[pair]bool{}
	once := func(p pair) bool {
		fresh := !said[p]
		said[p] = true
		return fresh
	}
	explained := map[given]bool{}
	for _, g := range m.order {
		for _, k := range m.masks[g] {
			if k.winner.doc == nil || k.winner.doc == g.doc || !m.differs(k) {
				continue
			}
			switch {
			case k.by == policy.ByRole && l.isTrap(k):
				explained[g] = true
				if once(pair{RoleTrap, k.winner.doc, g.doc, k.winner.item}) {
					l.sayTrap(k, k.proxies()+" in")
				}
			case k.by == policy.ByName:
				explained[g] = true
				if once(pair{Spelling, g.doc, k.winner.doc, 0}) {
					l.say(g.doc, Spelling, g.field(), "%s gives another value on %s, such as %s, and wins %s", k.winner.doc, k.proxies(), k.example(), bySpelling(k))
				}
			case k.by == policy.ByKind && l.scopeSaysOtherwise(k):
				explained[g] = true
				if once(pair{Outranked, g.doc, k.winner.doc, 0}) {
					l.say(g.doc, Outranked, g.field(),
						"%s (%s) gives another value on %s, such as %s, and wins: its top-level targetRef is narrower, which is compared before scope; with equal targetRefs this policy (%s) would win",
						k.winner.doc, scopeOf(k.winner.doc), k.proxies(), k.example(), scopeOf(g.doc))
				}
			}
		}
	}
	l.checkWins(m, explained)
}

// sayTrap says that a default is a role trap, on some proxies of the namespace.
func (l *linter) sayTrap(k mask, proxies string) {
	l.say(k.winner.doc, RoleTrap, k.winner.at()+".targetRef",
		"this default also beats what %s says about its service: %s, on %s the namespace %s, because a consumer's role is stronger than a producer's, and the role is compared before the kind in `to`",
		k.given.doc, k.path, proxies, k.given.doc.stored.Namespace())
}

// bySpelling says why one name beats another.
func bySpelling(k mask) string {
	if k.winner.doc.stored.Display() == k.given.doc.stored.Display() {
		return "because of the hash in its storage name: both have the same name"
	}
	return "because its name comes first in the alphabet"
}

// scopeOf says in words how far the scope of a policy is.
func scopeOf(d *doc) string {
	origin := "global"
	if zone := d.stored.Zone(); zone != "" {
		origin = "zone " + zone
	}
	return d.stored.Role() + " of " + origin
}

func proxies(n int) string {
	if n == 1 {
		return "1 proxy"
	}
	return fmt.Sprintf("%d proxies", n)
}

// isTrap says whether a consumer's default for the whole mesh masks a producer of its own namespace.
func (l *linter) isTrap(k mask) bool {
	loser, winner := k.given.doc.stored, k.winner.doc.stored
	if loser.Role() != resource.RoleProducer || winner.Role() != resource.RoleConsumer ||
		loser.Namespace() != winner.Namespace() || loser.Zone() != winner.Zone() || k.winner.list != "to" {
		return false
	}
	p, err := policy.Parse(winner)
	return err == nil && k.winner.item < len(p.To) && p.To[k.winner.item].Target.Kind == "Mesh"
}

// scopeSaysOtherwise says whether the policy that wins by its top-level targetRef has the wider scope.
func (l *linter) scopeSaysOtherwise(k mask) bool {
	a, errA := k.view.policy(k.given.doc)
	b, errB := k.view.policy(k.winner.doc)
	return errA == nil && errB == nil && policy.CompareScope(a, b) > 0
}

// policy returns a document as the view has it, parsed.
func (v *view) policy(d *doc) (*policy.Policy, error) {
	return policy.Parse(v.resources[v.at[d]].Resource)
}

// isFallback says whether the value that is masked is a default, which is there to be masked: one for all proxies by one
// for some, one for all destinations by one for some, one of a producer by one of its clients. That it is masked on
// every proxy that lint sees does not mean that it will be on the next.
func isFallback(k mask) bool {
	p, err := policy.Parse(k.given.doc.stored)
	if err != nil {
		return true
	}
	forAll := p.Target.Kind == "Mesh"
	toAll := k.given.list != "to" || k.given.item >= len(p.To) || p.To[k.given.item].Target.Kind == "Mesh"
	switch k.by {
	case policy.ByKind:
		whole := p.Target.Name == "" && p.Target.Labels == nil || p.Target.SectionName == ""
		return forAll || p.Target.Kind == "Dataplane" && whole
	case policy.ByToKind, policy.BySection:
		return toAll
	case policy.ByOrigin:
		return forAll && toAll
	case policy.ByRole:
		return true
	}
	return false
}

// checkWins says what is masked wherever it applies, by policies that give another value. What another finding has
// explained is left out, and so are defaults.
func (l *linter) checkWins(m *meeting, explained map[given]bool) {
	type item struct {
		doc  *doc
		list string
		item int
	}
	dead := map[item][]given{}
	alive := map[item]bool{}
	var order []item
	for _, g := range m.order {
		it := item{g.doc, g.list, g.item}
		masks := m.masks[g]
		other := slices.DeleteFunc(slices.Clone(masks), func(k mask) bool { return k.winner.doc == nil || !m.differs(k) || isFallback(k) })
		if _, wins := m.values[g]; wins || len(other) < len(masks) || explained[g] {
			alive[it] = true
			continue
		}
		if dead[it] == nil {
			order = append(order, it)
		}
		dead[it] = append(dead[it], g)
	}
	for _, it := range order {
		fields := dead[it]
		if alive[it] {
			for _, g := range fields {
				l.say(it.doc, NeverWins, g.field(), "is in force nowhere: %s", winners(m, []given{g}))
			}
			continue
		}
		l.say(it.doc, NeverWins, fields[0].at(), "nothing of it is in force anywhere: %s", winners(m, fields))
	}
}

// winners names who masks some values, and why.
func winners(m *meeting, all []given) string {
	var words []string
	for _, g := range all {
		for _, k := range m.masks[g] {
			who := k.winner.doc.String()
			if k.winner.doc == g.doc {
				who = k.winner.at()
			}
			if word := fmt.Sprintf("%s is stronger by %s", who, k.by); !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	const most = 3
	if more := len(words) - most; more > 0 {
		words = append(words[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, ", ")
}

// checkReferences says which references find nothing, in any zone that has the policy.
func (l *linter) checkReferences() {
	for _, d := range l.docs {
		if !d.policy {
			continue
		}
		var left []resource.Warning
		asked := 0
		for _, s := range l.sites {
			found, ok := s.view.unresolved(d)
			if !ok {
				continue
			}
			missing := slices.DeleteFunc(slices.Clone(found), func(w resource.Warning) bool { return !l.evident(d, s.view, w) })
			if asked++; asked == 1 {
				left = missing
				continue
			}
			left = slices.DeleteFunc(left, func(w resource.Warning) bool {
				return !slices.ContainsFunc(missing, func(o resource.Warning) bool { return o.Code == w.Code && o.Field == w.Field })
			})
		}
		for _, w := range left {
			l.warn(d, w)
		}
	}
}

// evident says whether what is missing would be seen if it were there.
func (l *linter) evident(d *doc, v *view, w resource.Warning) bool {
	ref, ok := refAt(d.stored.Spec, w.Field)
	if !ok {
		return false
	}
	if w.Code == resource.WarnSelectsNoProxy {
		zone := v.site.plane.Zone
		return zone != "" && v.count[meshKind{d.stored.Mesh, "Dataplane"}] > 0 && (ref.Kind != "MeshGateway" || v.count[meshKind{d.stored.Mesh, "MeshGateway"}] > 0)
	}
	if len(ref.Labels) > 0 && !l.federated && ref.Labels[resource.LabelZone] != v.site.plane.Zone {
		return false // it may be in another zone
	}
	if !l.federated && ref.Kind == "MeshMultiZoneService" {
		return false
	}
	return v.count[meshKind{d.stored.Mesh, string(ref.Kind)}] > 0
}

// refAt returns the targetRef or backendRef at a path of a spec.
func refAt(spec []byte, field string) (ref policy.TargetRef, ok bool) {
	value, ok := valueAt(spec, strings.TrimPrefix(field, "spec."))
	if !ok {
		return ref, false
	}
	data, err := json.Marshal(value)
	return ref, err == nil && json.Unmarshal(data, &ref) == nil
}

// valueAt returns the value at a path such as to[0].targetRef of a JSON document.
func valueAt(data []byte, path string) (value any, ok bool) {
	if json.Unmarshal(data, &value) != nil {
		return nil, false
	}
	for part := range strings.SplitSeq(path, ".") {
		name, indexes, _ := strings.Cut(part, "[")
		object, isObject := value.(map[string]any)
		if value, ok = object[name]; !isObject || !ok {
			return nil, false
		}
		for index := range strings.SplitSeq(indexes, "[") {
			if index == "" {
				continue
			}
			var i int
			list, isList := value.([]any)
			if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || !isList || i < 0 || i >= len(list) {
				return nil, false
			}
			value = list[i]
		}
	}
	return value, true
}
