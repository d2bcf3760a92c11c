package cow_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/policy/cow"
)

// state is a value made of everything in the package.
type state struct {
	m     cow.Map[int, int]
	list  cow.List[int]
	lists cow.Lists[int, int]
}

// model is what a state must show.
type model struct {
	m     map[int]int
	list  []int
	lists map[int][]int
}

func (s state) shows() model {
	lists := map[int][]int{}
	for k, l := range s.lists.All() {
		lists[k] = slices.Clone(l)
	}
	return model{maps.Collect(s.m.All()), append([]int{}, s.list.Items()...), lists}
}

func (m model) clone() model {
	lists := map[int][]int{}
	for k, l := range m.lists {
		lists[k] = slices.Clone(l)
	}
	return model{maps.Clone(m.m), append([]int{}, m.list...), lists}
}

func with(list []int, v int) []int {
	if i, ok := slices.BinarySearch(list, v); !ok {
		return slices.Insert(list, i, v)
	}
	return list
}

func without(list []int, v int) []int {
	if i, ok := slices.BinarySearch(list, v); ok {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// Every copy that was given away goes on showing what it showed then.
func TestNoChangeShowsInAnEarlierCopy(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now, want := state{}, model{map[int]int{}, []int{}, map[int][]int{}}
		var given []state
		var shown []model
		for range rapid.IntRange(1, 8).Draw(t, "batches") {
			e := cow.NewEdit()
			if rapid.Bool().Draw(t, "nil edit") {
				e = nil
			}
			for range rapid.IntRange(0, 12).Draw(t, "ops") {
				k, v := rapid.IntRange(0, 5).Draw(t, "k"), rapid.IntRange(0, 5).Draw(t, "v")
				switch rapid.IntRange(0, 5).Draw(t, "op") {
				case 0:
					now.m.Set(e, k, v)
					want.m[k] = v
				case 1:
					now.m.Delete(e, k)
					delete(want.m, k)
				case 2:
					now.list.Put(e, v, cmp.Compare)
					want.list = with(want.list, v)
				case 3:
					now.list.Delete(e, v, cmp.Compare)
					want.list = without(want.list, v)
				case 4:
					now.lists.Put(e, k, v, cmp.Compare)
					want.lists[k] = with(want.lists[k], v)
				case 5:
					now.lists.Delete(e, k, v, cmp.Compare)
					if want.lists[k] = without(want.lists[k], v); len(want.lists[k]) == 0 {
						delete(want.lists, k)
					}
				}
			}
			given, shown = append(given, now), append(shown, want.clone())
		}
		for i := range given {
			assert.Equal(t, shown[i], given[i].shows(), "batch %d", i)
			assert.Equal(t, len(shown[i].m), given[i].m.Len())
			for k := range 6 {
				v, ok := given[i].m.Get(k)
				w, has := shown[i].m[k]
				assert.Equal(t, w, v)
				assert.Equal(t, has, ok)
				assert.Equal(t, shown[i].lists[k], given[i].lists.Get(k))
			}
		}
	})
}
