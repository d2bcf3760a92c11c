package bolt_test

import (
	"cmp"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// model is a store in a few maps.
type model struct {
	live      map[resource.Key]resource.Resource
	dead      map[resource.Key]deletion
	revision  resource.Revision
	compacted resource.Revision // newest delete that is forgotten
}

// deletion is when a resource was deleted.
type deletion struct {
	rev  resource.Revision
	time time.Time
}

// apply returns the model after ops, or the error that they end in.
func (m model) apply(ops []resource.Op, now time.Time) (model, error) {
	m.live, m.dead = maps.Clone(m.live), maps.Clone(m.dead)
	m.revision++
	for _, op := range ops {
		key := op.Resource.Key
		old, ok := m.live[key]
		switch {
		case op.Expect != nil && *op.Expect != old.Version:
			return m, resource.ErrConflict
		case op.Delete && !ok:
			return m, resource.ErrNotFound
		case op.Delete:
			delete(m.live, key)
			m.dead[key] = deletion{m.revision, now}
		default:
			r := op.Resource
			r.Version, r.Modified, r.Created = m.revision, now, now
			if ok {
				r.Created = old.Created
			}
			m.live[key] = r
			delete(m.dead, key)
		}
	}
	return m, nil
}

func (m *model) compact(rev resource.Revision) {
	maps.DeleteFunc(m.dead, func(_ resource.Key, at deletion) bool {
		if at.rev <= rev {
			m.compacted = max(m.compacted, at.rev)
		}
		return at.rev <= rev
	})
}

func (m model) view(kind string) (list []resource.Resource) {
	for _, r := range m.live {
		if kind == "" || r.Kind == kind {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b resource.Resource) int { return a.Key.Compare(b.Key) })
	return list
}

func (m model) since(kind string, rev resource.Revision) (changes []resource.Change) {
	for _, r := range m.view(kind) {
		if r.Version > rev {
			changes = append(changes, resource.Change{Revision: r.Version, Resource: r})
		}
	}
	for key, at := range m.dead {
		if at.rev > rev && (kind == "" || key.Kind == kind) {
			changes = append(changes, resource.Change{Revision: at.rev, Deleted: true, Resource: resource.Resource{Key: key, Modified: at.time}})
		}
	}
	slices.SortFunc(changes, compareChanges)
	return changes
}

// compareChanges orders by revision; within one revision the contract promises no order, so by key.
func compareChanges(a, b resource.Change) int {
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.Resource.Key.Compare(b.Resource.Key))
}

func TestAStoreDoesWhatAMapWould(t *testing.T) {
	t.Parallel()
	rapid.Check(t, followModel)
}

func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(followModel)) }

// followModel asks a store and the model for a random sequence of everything that there is to ask.
func followModel(t *rapid.T) {
	dir, err := os.MkdirTemp("", "model")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	reopen := func() *bolt.Store {
		st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{NoSync: true, Now: func() time.Time { return now }})
		require.NoError(t, err)
		return st
	}
	st := reopen()
	defer func() { require.NoError(t, st.Close()) }()
	epoch := st.Epoch()
	m := model{live: map[resource.Key]resource.Resource{}, dead: map[resource.Key]deletion{}}

	kinds := rapid.SampledFrom([]string{"Mesh", "MeshTimeout", "MeshTimeouts"})
	anyKind := rapid.SampledFrom([]string{"", "Mesh", "MeshTimeout", "MeshTimeouts", "Zone"})
	key := rapid.Custom(func(t *rapid.T) resource.Key {
		return resource.Key{
			Kind: kinds.Draw(t, "kind"),
			Mesh: rapid.SampledFrom([]string{"", "default"}).Draw(t, "mesh"),
			Name: rapid.SampledFrom([]string{"a", "aa", "b", "b.ns"}).Draw(t, "name"),
		}
	})
	revision := func(t *rapid.T) resource.Revision {
		return resource.Revision(rapid.Uint64Range(0, uint64(m.revision)+2).Draw(t, "rev"))
	}
	op := rapid.Custom(func(t *rapid.T) resource.Op {
		k := key.Draw(t, "key")
		op := resource.Delete(k)
		if rapid.IntRange(0, 3).Draw(t, "put") > 0 {
			r := resource.Resource{Key: k, Spec: []byte(strings.Repeat("spec ", rapid.SampledFrom([]int{1, 30, 2000}).Draw(t, "size")))}
			if rapid.Bool().Draw(t, "labels") {
				r.Labels = map[string]string{"a": rapid.StringN(0, 5, -1).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(t, "label")}
			}
			if rapid.Bool().Draw(t, "status") {
				r.Status = []byte(rapid.StringN(0, 5, -1).Draw(t, "word"))
			}
			op = resource.Put(r)
		}
		switch rapid.IntRange(0, 3).Draw(t, "if") {
		case 0:
			return op.If(m.live[k].Version)
		case 1:
			return op.If(revision(t))
		}
		return op
	})
	t.Repeat(map[string]func(*rapid.T){
		"apply": func(t *rapid.T) {
			now = now.Add(time.Second)
			ops := rapid.SliceOfN(op, 1, 4).Draw(t, "ops")
			rev, err := st.Apply(t.Context(), ops...)
			after, want := m.apply(ops, now)
			if want != nil {
				require.ErrorIs(t, err, want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, after.revision, rev)
			m = after
		},
		"since": func(t *rapid.T) {
			kind, rev := anyKind.Draw(t, "kind"), revision(t)
			changes, upTo, err := st.Since(t.Context(), kind, rev)
			if rev < m.compacted {
				require.ErrorIs(t, err, resource.ErrCompacted)
				return
			}
			require.NoError(t, err)
			require.Equal(t, m.revision, upTo)
			require.True(t, slices.IsSortedFunc(changes, func(a, b resource.Change) int { return cmp.Compare(a.Revision, b.Revision) }))
			slices.SortFunc(changes, compareChanges)
			require.Equal(t, m.since(kind, rev), changes)
		},
		"view": func(t *rapid.T) {
			kind := anyKind.Draw(t, "kind")
			var list []resource.Resource
			require.NoError(t, st.View(t.Context(), kind, func(rev resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
				require.Equal(t, m.revision, rev)
				for r, err := range seq {
					require.NoError(t, err)
					list = append(list, r)
				}
				return nil
			}))
			require.Equal(t, m.view(kind), list)
		},
		"get": func(t *rapid.T) {
			k := key.Draw(t, "key")
			r, err := st.Get(t.Context(), k)
			if want, ok := m.live[k]; ok {
				require.NoError(t, err)
				require.Equal(t, want, r)
			} else {
				require.ErrorIs(t, err, resource.ErrNotFound)
			}
		},
		"compact": func(t *rapid.T) {
			rev := revision(t)
			require.NoError(t, st.Compact(t.Context(), rev))
			m.compact(rev)
		},
		"reopen": func(t *rapid.T) {
			require.NoError(t, st.Close())
			st = reopen()
		},
		"": func(t *rapid.T) {
			require.Equal(t, epoch, st.Epoch())
			require.Equal(t, m.revision, st.Revision())
		},
	})
}
