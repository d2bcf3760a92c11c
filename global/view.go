package global

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// view is the store as a zone holds it: a resolver.Source. What global knows and the zone does not is not there, and the
// rest has the names and labels that it has in the zone, so that a resolver that follows the view says what the zone's
// says. Its revisions are those of global's store.
type view struct {
	storage.Store
	at kds.Vantage

	mu    sync.Mutex
	zones int                           // number of the state of zones that held is true for
	held  map[resource.Key]resource.Key // by key on global: what the zone holds, and under which key
}

// View is the store's, of what the zone holds. fn may be called again, with a later revision: the last call counts.
func (v *view) View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		enabled, zones, err := v.at.Zones(ctx)
		if err != nil {
			return err
		}
		v.zones, v.held = zones, map[resource.Key]resource.Key{}
		err = v.Store.View(ctx, kind, func(rev resource.Revision, all iter.Seq2[resource.Resource, error]) error {
			return fn(rev, func(yield func(resource.Resource, error) bool) {
				for r, err := range all {
					if err != nil {
						yield(r, err)
						return
					}
					if held, ok := v.at.Holds(r, enabled); ok {
						v.held[r.Key] = held.Key
						if !yield(held, nil) {
							return
						}
					}
				}
			})
		})
		if err != nil {
			return err
		}
		if _, now, err := v.at.Zones(ctx); err != nil || now == zones {
			return err // else a Zone was switched in between, and with it what crosses zones
		}
	}
}

// Since is the store's, of what the zone holds. When a Zone came, went or was switched it is ErrCompacted: the scope of
// everything that crosses zones has to be decided anew.
func (v *view) Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	changes, upTo, err := v.Store.Since(ctx, kind, rev)
	if err != nil {
		return nil, 0, err
	}
	enabled, zones, err := v.at.Zones(ctx)
	if err != nil {
		return nil, 0, err
	}
	if zones != v.zones {
		return nil, 0, resource.ErrCompacted
	}
	var seen []resource.Change
	for _, c := range changes {
		key := c.Resource.Key
		was, had := v.held[key]
		held, has := resource.Resource{}, false
		if !c.Deleted {
			held, has = v.at.Holds(c.Resource, enabled)
		}
		if had && (!has || held.Key != was) {
			delete(v.held, key)
			seen = append(seen, resource.Change{Revision: c.Revision, Deleted: true, Resource: resource.Resource{Key: was}})
		}
		if has {
			v.held[key] = held.Key
			seen = append(seen, resource.Change{Revision: c.Revision, Resource: held})
		}
	}
	// Of two resources one may take the name that the other gave up.
	slices.SortStableFunc(seen, func(a, b resource.Change) int {
		switch {
		case a.Deleted == b.Deleted:
			return 0
		case a.Deleted:
			return -1
		}
		return 1
	})
	return seen, upTo, nil
}

const (
	// maxViews is of how many zones the index is kept, of those that were asked about last.
	maxViews = 8
	// viewMemory is how much the resolver of a view remembers besides its index, in bytes.
	viewMemory = 32 << 20
)

// views answers questions about the proxies of zones as these would.
type views struct {
	store storage.Store
	at    func(zone string) kds.Vantage
	own   *resolver.Resolver // of what is in global's store as it is there

	mu   sync.Mutex
	kept []*zoneView // the one that was asked last is last
}

type zoneView struct {
	at       kds.Vantage
	resolver *resolver.Resolver
}

// of returns the resolver for what a zone holds.
func (vs *views) of(zone string) *resolver.Resolver {
	at := vs.at(zone)
	vs.mu.Lock()
	defer vs.mu.Unlock()
	i := slices.IndexFunc(vs.kept, func(z *zoneView) bool { return z.at == at })
	if i < 0 {
		source := &view{Store: vs.store, at: at}
		if len(vs.kept) == maxViews {
			vs.kept = slices.Delete(vs.kept, 0, 1)
		}
		i = len(vs.kept)
		vs.kept = append(vs.kept, &zoneView{at, resolver.New(resolver.Config{Source: source, Memory: viewMemory})})
	}
	z := vs.kept[i]
	vs.kept = append(slices.Delete(vs.kept, i, i+1), z)
	return z.resolver
}

// proxy returns the resolver to ask about a Dataplane of global's store, and the word for it there.
func (vs *views) proxy(ctx context.Context, mesh, name string) (*resolver.Resolver, string, error) {
	dp, err := vs.store.Get(ctx, resource.Key{Kind: "Dataplane", Mesh: mesh, Name: name})
	if err != nil {
		return nil, "", err
	}
	if dp.Zone() == "" {
		return vs.own, name, nil
	}
	return vs.of(dp.Zone()), dp.Identity().KRI(""), nil
}

func (vs *views) effective(ctx context.Context, mesh, name string, f policy.Filter) (any, error) {
	res, proxy, err := vs.proxy(ctx, mesh, name)
	if err != nil {
		return nil, err
	}
	// A storage name of global's store is none of the zone's.
	for _, kind := range policy.DestinationKinds {
		if to, err := vs.store.Get(ctx, resource.Key{Kind: kind, Mesh: mesh, Name: f.To}); err == nil && to.Name != to.Display() {
			f.To = to.Identity().KRI("")
			break
		}
	}
	return res.Effective(ctx, mesh, proxy, f)
}

func (vs *views) policies(ctx context.Context, mesh, name string) (any, error) {
	res, proxy, err := vs.proxy(ctx, mesh, name)
	if err != nil {
		return nil, err
	}
	return res.Policies(ctx, mesh, proxy)
}

// effect returns what a policy comes to on the proxies of all zones that hold it, by zone, then by name of the proxy.
func (vs *views) effect(ctx context.Context, kind, mesh, name string, page policy.Page) (any, []string, error) {
	p, err := vs.store.Get(ctx, resource.Key{Kind: kind, Mesh: mesh, Name: name})
	if err != nil {
		return nil, nil, err
	}
	zones, err := vs.own.Zones(ctx, mesh)
	if err != nil {
		return nil, nil, err
	}
	kri := p.Identity().KRI("")
	all := resolver.EffectAnswer{Effects: []resolver.Effect{}}
	asked, shown := 0, 0
	var in []string
	for _, zone := range zones {
		part := policy.Page{Name: page.Name, Offset: max(page.Offset-all.Total, 0), Size: page.Size - shown}
		one, err := vs.of(zone).Effect(ctx, kind, mesh, kri, part)
		if errors.Is(err, resource.ErrNotFound) {
			continue // the zone does not hold the policy, or its mesh
		}
		if err != nil {
			return nil, nil, err
		}
		if asked++; asked == 1 {
			all.Unresolved = one.Unresolved
		} else {
			// What finds something in one zone is no reference to nothing.
			all.Unresolved = slices.DeleteFunc(all.Unresolved, func(w resource.Warning) bool { return !slices.Contains(one.Unresolved, w) })
		}
		all.Revision, all.Policy, all.Shadow = one.Revision, one.Policy, one.Shadow
		all.Effects = append(all.Effects, one.Effects...)
		all.Total += one.Total
		for _, e := range one.Effects {
			shown += len(e.Dataplanes)
		}
		if len(one.Effects) > 0 {
			in = append(in, zone)
		}
	}
	if asked == 0 { // no zone with a proxy holds it: what global says of it itself
		own, err := vs.own.Effect(ctx, kind, mesh, name, page)
		return own, nil, err
	}
	all.Next = page.After(all.Total)
	return all, in, nil
}
