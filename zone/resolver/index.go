package resolver

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/policy/cow"
	"github.com/meridian-mesh/meridian/resource"
)

// snapshot is the index of everything, by name of the mesh, at one revision. It does not change.
type snapshot struct {
	rev    resource.Revision
	meshes map[string]*index
}

// index is one mesh, parsed. One that a snapshot has does not change.
type index struct {
	mesh         *policy.Mesh // nil: there are resources of a mesh that does not exist
	proxies      cow.List[*proxy]
	policies     map[string]*cow.List[*policy.Policy] // by kind; no list is empty
	services     cow.Map[string, service]             // MeshServices, by name
	gateways     cow.List[*policy.Gateway]
	destinations *policy.Destinations

	// Who a change can touch.

	byTrait   cow.Lists[policy.Trait, *policy.Proxy]
	mentioned cow.Lists[policy.Mention, *policy.Policy]
	routed    cow.Lists[string, *policy.Policy] // by the display name of the route that they are for

	// wide is, by type of policy, the last change that could touch what matches any of the proxies.
	wide stamps
	// resolved is, by type of policy, the last change that could touch what its `to` items come to, whatever the proxy.
	resolved stamps
}

// stamps is a revision for each of policy.Types, and one more.
type stamps [17]resource.Revision

// servedAt is the stamp of the MeshGateway that a proxy serves.
const servedAt = len(stamps{}) - 1

func (s *stamps) all(rev resource.Revision) {
	for i := range s {
		s[i] = rev
	}
}

// typeIndex is where each kind is in policy.Types.
var typeIndex = func() map[string]int {
	at := map[string]int{}
	for i, t := range policy.Types {
		at[t.Kind] = i
	}
	if len(at) != servedAt {
		panic("resolver: there must be a stamp for each type of policy")
	}
	return at
}()

// proxy is a Dataplane, and when it was touched last.
type proxy struct {
	*policy.Proxy
	touched stamps // by type: the last change that could touch which policies configure it
}

// service is a MeshService and the selector of its proxies.
type service struct {
	resource.Resource
	spec resource.MeshService
}

func byName(a, b *proxy) int                  { return strings.Compare(a.Name, b.Name) }
func proxiesByName(a, b *policy.Proxy) int    { return strings.Compare(a.Name, b.Name) }
func gatewaysByName(a, b *policy.Gateway) int { return strings.Compare(a.Name, b.Name) }
func policiesByName(a, b *policy.Policy) int  { return strings.Compare(a.Name, b.Name) }
func policiesByKey(a, b *policy.Policy) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
}

// find returns the element of that name in a list that is ascending by name.
func find[T any](list []T, name string, of func(T) string) (found T, ok bool) {
	i, ok := slices.BinarySearchFunc(list, name, func(v T, name string) int { return strings.Compare(of(v), name) })
	if ok {
		found = list[i]
	}
	return found, ok
}

func (ix *index) proxy(name string) (*proxy, bool) {
	return find(ix.proxies.Items(), name, func(px *proxy) string { return px.Name })
}

func (ix *index) gateway(name string) (*policy.Gateway, bool) {
	return find(ix.gateways.Items(), name, func(g *policy.Gateway) string { return g.Name })
}

func (ix *index) list(kind string) []*policy.Policy {
	if l := ix.policies[kind]; l != nil {
		return l.Items()
	}
	return nil
}

func (ix *index) policy(key resource.Key) (*policy.Policy, bool) {
	return find(ix.list(key.Kind), key.Name, func(p *policy.Policy) string { return p.Name })
}

// all returns the proxies, ascending by name.
func (ix *index) all() iter.Seq[*policy.Proxy] {
	return func(yield func(*policy.Proxy) bool) {
		for _, px := range ix.proxies.Items() {
			if !yield(px.Proxy) {
				return
			}
		}
	}
}

// within returns the proxies that may be in reach, ascending by name.
func (ix *index) within(reach policy.Reach) iter.Seq[*policy.Proxy] {
	var some []*policy.Proxy
	for _, traits := range reach {
		if len(traits) == 0 {
			return ix.all()
		}
		some = append(some, ix.rarest(traits)...)
	}
	if len(reach) > 1 {
		slices.SortFunc(some, proxiesByName)
		some = slices.Compact(some)
	}
	return slices.Values(some)
}

// rarest returns the proxies that have one of some traits: the one that the fewest have. They are ascending by name.
func (ix *index) rarest(traits []policy.Trait) []*policy.Proxy {
	rarest := ix.byTrait.Get(traits[0])
	for _, t := range traits[1:] {
		if list := ix.byTrait.Get(t); len(list) < len(rarest) {
			rarest = list
		}
	}
	return rarest
}

// around returns what the top-level targetRefs of policies lead over.
func (ix *index) around() policy.Surroundings {
	return policy.Surroundings{Gateways: ix.gateways.Items(), Routes: ix.list("MeshHTTPRoute")}
}

func (ix *index) empty() bool {
	return ix.mesh == nil && len(ix.proxies.Items()) == 0 && len(ix.policies) == 0 && len(ix.gateways.Items()) == 0 && ix.destinations.Len() == 0
}

// edit is the next snapshot while it is made. One goroutine has it.
type edit struct {
	next snapshot
	own  map[string]bool // meshes whose index is a copy already
	cow  *cow.Edit
	// load says that there is no earlier snapshot, so that nobody remembers anything that a change could touch.
	load bool
	// logged is the version of each resource that was reported as unreadable, so that it is reported once.
	logged map[resource.Key]resource.Revision
	log    hclog.Logger
}

// begin returns the edit that leads from one snapshot to the one at rev.
func begin(from snapshot, rev resource.Revision, logged map[resource.Key]resource.Revision, log hclog.Logger) *edit {
	return &edit{
		next: snapshot{rev: rev, meshes: maps.Clone(from.meshes)}, own: map[string]bool{}, cow: cow.NewEdit(), logged: logged, log: log,
	}
}

// of returns the index of a mesh, for changing.
func (e *edit) of(mesh string) *index {
	if e.own[mesh] {
		return e.next.meshes[mesh]
	}
	ix := &index{destinations: policy.NewDestinations(), policies: map[string]*cow.List[*policy.Policy]{}}
	ix.wide.all(e.next.rev)
	ix.resolved.all(e.next.rev)
	if old := e.next.meshes[mesh]; old != nil {
		*ix = *old
		ix.destinations = old.destinations.Clone()
		ix.policies = make(map[string]*cow.List[*policy.Policy], len(old.policies))
		for kind, l := range old.policies {
			c := *l
			ix.policies[kind] = &c
		}
	}
	e.next.meshes[mesh], e.own[mesh] = ix, true
	return ix
}

// put indexes r in place of what is under its key. One that does not parse is left out, and so is what it replaces.
func (e *edit) put(r resource.Resource) {
	err := e.parse(r)
	if err == nil {
		return
	}
	e.delete(r.Key)
	if e.logged[r.Key] != r.Version {
		e.logged[r.Key] = r.Version
		e.log.Error("stored resource does not parse and is ignored", "kind", r.Kind, "mesh", r.Mesh, "name", r.Name, "err", err)
	}
}

func (e *edit) parse(r resource.Resource) error {
	switch _, isPolicy := typeIndex[r.Kind]; {
	case isPolicy:
		p, err := policy.Parse(r)
		if err == nil {
			e.setPolicy(e.of(r.Mesh), r.Key, p)
		}
		return err
	case r.Kind == "Mesh":
		mesh, err := policy.ParseMesh(r)
		if err == nil {
			e.of(r.Name).mesh = mesh
		}
		return err
	case r.Kind == "Dataplane":
		px, err := policy.ParseProxy(r)
		if err == nil {
			e.setProxy(e.of(r.Mesh), r.Name, px)
		}
		return err
	case r.Kind == "MeshGateway":
		g, err := policy.ParseGateway(r)
		if err == nil {
			e.setGateway(e.of(r.Mesh), r.Name, g)
		}
		return err
	case slices.Contains(policy.DestinationKinds, r.Kind):
		d, err := policy.ParseDestination(r)
		if err != nil {
			return err
		}
		var spec resource.MeshService
		if r.Kind == "MeshService" {
			if spec, err = resource.Spec[resource.MeshService](r); err != nil {
				return err
			}
		}
		ix := e.of(r.Mesh)
		e.setDestination(ix, r.Key, d)
		if r.Kind == "MeshService" {
			ix.services.Set(e.cow, r.Name, service{r, spec})
		}
	}
	return nil
}

func (e *edit) delete(key resource.Key) {
	mesh := key.Mesh
	if key.Kind == "Mesh" {
		mesh = key.Name
	}
	if e.next.meshes[mesh] == nil {
		return
	}
	ix := e.of(mesh)
	switch _, isPolicy := typeIndex[key.Kind]; {
	case key.Kind == "Mesh":
		ix.mesh = nil
	case isPolicy:
		e.setPolicy(ix, key, nil)
	case key.Kind == "Dataplane":
		e.setProxy(ix, key.Name, nil)
	case key.Kind == "MeshGateway":
		e.setGateway(ix, key.Name, nil)
	default:
		e.setDestination(ix, key, nil)
		if key.Kind == "MeshService" {
			ix.services.Delete(e.cow, key.Name)
		}
	}
	if ix.empty() {
		delete(e.next.meshes, mesh)
		delete(e.own, mesh)
	}
}

// setProxy puts px in place of the proxy of that name; nil: none.
func (e *edit) setProxy(ix *index, name string, px *policy.Proxy) {
	if old, ok := ix.proxy(name); ok {
		for _, t := range old.Traits() {
			ix.byTrait.Delete(e.cow, t, old.Proxy, proxiesByName)
		}
		if px == nil {
			ix.proxies.Delete(e.cow, old, byName)
		}
	}
	if px == nil {
		return
	}
	fresh := &proxy{Proxy: px}
	fresh.touched.all(e.next.rev)
	ix.proxies.Put(e.cow, fresh, byName)
	for _, t := range px.Traits() {
		ix.byTrait.Put(e.cow, t, px, proxiesByName)
	}
}

// setPolicy puts p in place of the policy of that key; nil: none.
func (e *edit) setPolicy(ix *index, key resource.Key, p *policy.Policy) {
	old, ok := ix.policy(key)
	if ok {
		for _, m := range old.Mentions() {
			ix.mentioned.Delete(e.cow, m, old, policiesByKey)
		}
		if route := old.Routed(); route != "" {
			ix.routed.Delete(e.cow, route, old, policiesByKey)
		}
	}
	if !ok && p == nil {
		return
	}
	put := func() {
		list := ix.policies[key.Kind]
		if list == nil {
			list = &cow.List[*policy.Policy]{}
			ix.policies[key.Kind] = list
		}
		if p != nil {
			list.Put(e.cow, p, policiesByName)
			return
		}
		if list.Delete(e.cow, old, policiesByName); len(list.Items()) == 0 {
			delete(ix.policies, key.Kind)
		}
	}
	if p != nil {
		for _, m := range p.Mentions() {
			ix.mentioned.Put(e.cow, m, p, policiesByKey)
		}
		if route := p.Routed(); route != "" {
			ix.routed.Put(e.cow, route, p, policiesByKey)
		}
	}
	if e.load {
		put()
		return
	}

	at := typeIndex[key.Kind]
	touch := func(p *policy.Policy) {
		if p != nil {
			e.touch(ix, p.Reach(ix.around()), at)
		}
	}
	// A route also says where the policies are in force that are for it, or for one of its name.
	var names []string
	if key.Kind == "MeshHTTPRoute" {
		for _, route := range []*policy.Policy{old, p} {
			if route != nil && !slices.Contains(names, route.Display()) {
				names = append(names, route.Display())
			}
		}
	}
	attached := func() {
		for _, name := range names {
			for _, p := range ix.routed.Get(name) {
				at := typeIndex[p.Kind]
				ix.resolved[at] = e.next.rev
				e.touch(ix, p.Reach(ix.around()), at)
			}
		}
	}
	touch(old)
	attached()
	put()
	touch(p)
	attached()
}

// setGateway puts g in place of the MeshGateway of that name; nil: none.
func (e *edit) setGateway(ix *index, name string, g *policy.Gateway) {
	old, ok := ix.gateway(name)
	if ok && !e.load {
		e.touchAll(ix, old.Reach())
	}
	if g != nil {
		ix.gateways.Put(e.cow, g, gatewaysByName)
		if !e.load {
			e.touchAll(ix, g.Reach())
		}
	} else if ok {
		ix.gateways.Delete(e.cow, old, gatewaysByName)
	}
}

// setDestination puts d in place of the service under key; nil: none.
func (e *edit) setDestination(ix *index, key resource.Key, d *policy.Destination) {
	old := ix.destinations.Get(key)
	if !e.load {
		for _, one := range []*policy.Destination{old, d} {
			if one == nil {
				continue
			}
			for _, m := range one.Mentions() {
				for _, p := range ix.mentioned.Get(m) {
					ix.resolved[typeIndex[p.Kind]] = e.next.rev
				}
			}
		}
	}
	if d != nil {
		ix.destinations.Put(d)
	} else {
		ix.destinations.Delete(key)
	}
}

// touchAll notes that the gateway that the proxies in reach serve, and which policies of any type configure them, may be
// different now.
func (e *edit) touchAll(ix *index, reach policy.Reach) {
	for at := range (stamps{}) {
		e.touch(ix, reach, at)
	}
}

// touch notes the same of one type, or of the gateway.
func (e *edit) touch(ix *index, reach policy.Reach, at int) {
	for _, traits := range reach {
		if len(traits) == 0 {
			ix.wide[at] = e.next.rev
			return
		}
		rarest := ix.rarest(traits)
		const most = 4 // to touch a fourth of the proxies one by one costs more than to ask all of them again
		if len(rarest) > len(ix.proxies.Items())/most && len(rarest) > 1000 {
			ix.wide[at] = e.next.rev
			return
		}
		for _, px := range rarest {
			old, ok := ix.proxy(px.Name)
			if !ok || old.touched[at] == e.next.rev {
				continue
			}
			touched := *old
			touched.touched[at] = e.next.rev
			ix.proxies.Put(e.cow, &touched, byName)
		}
	}
}
