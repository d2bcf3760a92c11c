package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// state is a federation at one moment: of one that runs, or of one that was.
type state struct {
	home   string   // the mesh of the scenario: see keyOf
	names  []string // of the planes: "" is global, then the zones, ascending
	planes map[string]*plane
	once   sync.Once
	byKey  map[string]proxyOf // every proxy; see proxy
	keys   []string           // of byKey, ascending
	// services are what traffic can be sent to, by key; of several kinds with one key that of the first of destinationKinds.
	services map[string]resource.Identity
	// synced returns what has become of a resource on the other planes.
	synced func(id resource.Identity) ([]SyncRow, error)
}

// plane is what one control plane has, and what answers about it.
type plane struct {
	all []resource.Resource // in key order

	once sync.Once
	res  answerer

	sorted sync.Once
	at     map[resource.Identity]int // in all

	named sync.Once
	byRef map[string]int // see called
}

// answerer says what is in force on the proxies of a plane: its resolver, or its REST API.
type answerer interface {
	Effective(ctx context.Context, mesh, name string, f policy.Filter) (resolver.EffectiveAnswer, error)
	EffectiveOn(ctx context.Context, mesh string, names []string, f policy.Filter) ([]resolver.EffectiveAnswer, error)
	Effect(ctx context.Context, kind, mesh, name string, page policy.Page) (resolver.EffectAnswer, error)
	Matching(ctx context.Context, kind, mesh, name string) ([]resource.Resource, error)
}

// find returns the resource of an identity, if the plane has it.
func (p *plane) find(id resource.Identity) (resource.Resource, bool) {
	p.sorted.Do(func() {
		p.at = make(map[resource.Identity]int, len(p.all))
		for i, r := range p.all {
			p.at[r.Identity()] = i
		}
	})
	if i, ok := p.at[id]; ok {
		return p.all[i], true
	}
	return resource.Resource{}, false
}

// live returns the state of the federation as it is now, without the planes that are down.
func (r *run) live() (*state, error) {
	s := &state{home: r.scenario.Mesh, planes: map[string]*plane{}}
	for _, p := range r.f.Planes() {
		if !p.Running() {
			continue
		}
		all, err := p.Latest()
		if err != nil {
			return nil, err
		}
		s.names = append(s.names, p.Name())
		s.planes[p.Name()] = &plane{all: all, res: p.Resolver()}
	}
	s.synced = func(id resource.Identity) ([]SyncRow, error) {
		return s.syncedOf(id, func(zone, path string) (int, []byte, error) {
			answer := r.plane(zone).Do(http.MethodGet, path, nil)
			return answer.Code, answer.Body.Bytes(), nil
		})
	}
	return s, nil
}

// kept returns the state for after the federation has ended.
func (s *state) kept(ids []resource.Identity) (*state, error) {
	k := &state{home: s.home, names: s.names, planes: map[string]*plane{}}
	for name, p := range s.planes {
		k.planes[name] = &plane{all: p.all}
	}
	rows := make(map[resource.Identity][]SyncRow, len(ids))
	for _, id := range ids {
		of, err := s.synced(id)
		if err != nil {
			return nil, err
		}
		rows[id] = of
	}
	k.synced = func(id resource.Identity) ([]SyncRow, error) {
		if of, ok := rows[id]; ok {
			return of, nil
		}
		return nil, fmt.Errorf("%s: %w", id, resource.ErrNotFound)
	}
	return k, nil
}

// still returns the state for after the federation has gone on, with what is in force now. What has become of a resource elsewhere is
// not known then.
func (s *state) still(ctx context.Context) (*state, error) {
	k, err := s.kept(nil)
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for name, p := range s.planes {
		if r, ok := p.res.(*resolver.Resolver); ok && name != "" { // nobody asks global
			group.Go(func() error {
				held, err := r.Hold(ctx)
				k.planes[name].res = held
				return err
			})
		}
	}
	return k, group.Wait()
}

// resolver returns what answers about the plane: its own, or a new one over what it had.
func (p *plane) resolver() answerer {
	p.once.Do(func() {
		if p.res == nil {
			p.res = resolver.New(resolver.Config{Source: frozen(p.all)})
		}
	})
	return p.res
}

// frozen is a store that never changes.
type frozen []resource.Resource

func (f frozen) View(_ context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error {
	return fn(1, func(yield func(resource.Resource, error) bool) {
		for _, r := range f {
			if (kind == "" || r.Kind == kind) && !yield(r, nil) {
				return
			}
		}
	})
}

func (f frozen) Since(context.Context, string, resource.Revision) ([]resource.Change, resource.Revision, error) {
	return nil, 1, nil
}

func (f frozen) Advanced(resource.Revision) <-chan struct{} { return nil }

func (f frozen) Revision() resource.Revision { return 1 }

// find returns the resource that a reference ("MeshTimeout east/shop/kv", with the key as keyOf writes it) names, on the plane where it
// was written.
func (s *state) find(ref string) (resource.Resource, string, bool) {
	_, key, _ := strings.Cut(ref, " ")
	zone, _, _ := strings.Cut(key, "/")
	if zone == globalPlane {
		zone = ""
	}
	p := s.planes[zone]
	if p == nil {
		return resource.Resource{}, zone, false
	}
	if at, ok := p.called(s.home, zone)[ref]; ok {
		return p.all[at], zone, true
	}
	return resource.Resource{}, zone, false
}

// called returns where in all the resources are that were written on the plane, by kind and key.
func (p *plane) called(home, zone string) map[string]int {
	p.named.Do(func() {
		p.byRef = map[string]int{}
		for i := len(p.all) - 1; i >= 0; i-- { // of two of one key the first
			if r := p.all[i]; writtenOn(r, zone) {
				p.byRef[r.Kind+" "+keyOn(home, zone, r)] = i
			}
		}
	})
	return p.byRef
}

// writtenOn says whether a resource that a plane has was written on it.
func writtenOn(r resource.Resource, zone string) bool {
	return resource.Plane{Zone: zone, Federated: true}.Local(r.Labels)
}

// has says whether a plane has the resource of an identity, and which version of its spec.
func (s *state) has(zone string, id resource.Identity) (resource.Resource, bool) {
	if p := s.planes[zone]; p != nil {
		return p.find(id)
	}
	return resource.Resource{}, false
}

// proxyOf is a proxy and the zone that it is in.
type proxyOf struct {
	zone string
	key  string
	resource.Resource
}

// index finds every proxy and service on the plane that it was written on.
func (s *state) index() {
	s.once.Do(func() {
		s.byKey, s.services = map[string]proxyOf{}, map[string]resource.Identity{}
		for _, zone := range s.names {
			for _, r := range s.planes[zone].all {
				rank := slices.Index(destinationKinds, r.Kind)
				if rank < 0 && (r.Kind != "Dataplane" || zone == "") || !writtenOn(r, zone) {
					continue
				}
				key := keyOn(s.home, zone, r)
				if r.Kind == "Dataplane" {
					s.byKey[key] = proxyOf{zone, key, r}
				} else if other, taken := s.services[key]; !taken || rank < slices.Index(destinationKinds, other.Kind) {
					s.services[key] = r.Identity()
				}
			}
		}
		s.keys = sortedKeys(s.byKey)
	})
}

// proxy returns the proxy of a key.
func (s *state) proxy(key string) (proxyOf, bool) {
	s.index()
	px, ok := s.byKey[key]
	return px, ok
}

// everyProxy returns all of them, ascending by key.
func (s *state) everyProxy() []proxyOf { return s.proxies(everywhere) }

// proxies returns those that a pattern names, ascending by key.
func (s *state) proxies(pattern string) []proxyOf {
	if px, ok := s.proxy(pattern); ok {
		return []proxyOf{px}
	}
	var found []proxyOf
	for _, key := range s.keys {
		if matchesPattern(s.home, pattern, key) {
			found = append(found, s.byKey[key])
		}
	}
	return found
}

// SyncRow is what has become of a resource on one plane.
type SyncRow struct {
	Plane   string       `json:"plane"` // a zone, or global
	Has     bool         `json:"has"`
	Written bool         `json:"written"`        // it was written here
	Rule    scope.RuleID `json:"rule,omitempty"` // that sends it there, or keeps it back
	Because string       `json:"because"`        // the rule as a sentence
	Outcome kds.Outcome  `json:"outcome"`        // what the sender knows
	Reason  string       `json:"reason,omitempty"`
}

// syncedOf asks the sync of the planes about a resource: that of its zone how it is with global, and that of global how it is with
// the zones. ask asks the API of a plane of the state.
func (s *state) syncedOf(id resource.Identity, ask func(zone, path string) (int, []byte, error)) ([]SyncRow, error) {
	var all []kds.Verdict
	hops := []string{id.Zone}
	if id.Zone != "" {
		hops = append(hops, "")
	}
	for _, hop := range hops {
		r, ok := s.has(hop, id) // not where the plane is down
		if !ok {
			continue
		}
		of, err := verdictsOf(r, hop, ask)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return s.syncRows(id, all), nil
}

// syncRows says what has become of a resource on every plane, by what its senders say.
func (s *state) syncRows(id resource.Identity, said []kds.Verdict) []SyncRow {
	verdicts := map[string]kds.Verdict{}
	for _, v := range said {
		verdicts[v.Zone] = v
	}
	var rows []SyncRow
	for _, name := range s.names {
		row := SyncRow{Plane: planeName(name), Written: name == id.Zone}
		_, row.Has = s.has(name, id)
		switch v, ok := verdicts[name]; {
		case row.Written:
			row.Because = "written here"
		case ok:
			row.Rule, row.Outcome, row.Reason, row.Because = v.Rule, v.Outcome, v.Reason, v.Rule.Explain()
		default:
			row.Because = "global does not have it"
			if name == "" {
				row.Because = "its zone cannot be asked"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func planeName(zone string) string {
	if zone == "" {
		return globalPlane
	}
	return zone
}

// verdictsOf asks the API of a plane what has become of a resource of its store elsewhere.
func verdictsOf(r resource.Resource, zone string, ask func(zone, path string) (int, []byte, error)) ([]kds.Verdict, error) {
	path := pathOf(r.Key) + "/_sync"
	code, body, err := ask(zone, path)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", planeName(zone), path, body)
	}
	var got struct{ Peers []kds.Verdict }
	err = json.Unmarshal(body, &got)
	return got.Peers, err
}

// pathOf returns where the API of a plane has a resource.
func pathOf(key resource.Key) string {
	d, _ := resource.LookupKind(key.Kind)
	path := "/" + d.Plural + "/" + url.PathEscape(key.Name)
	if d.Scope == resource.ScopeMesh {
		path = "/meshes/" + url.PathEscape(key.Mesh) + path
	}
	return path
}

// Query is a question about proxies. Empty fields mean everything.
type Query struct {
	Proxy   string // a pattern zone/namespace/name@mesh; "" is every proxy
	Type    string // of policy
	To      string // the key of a service, key:port, or a KRI
	Inbound string // name or port, and tags of a client, as in policy.Filter
	// Listener is one of the MeshGateway that a builtin gateway serves, as in policy.Filter; proxies without it are an error.
	Listener string
}

// ProxyAnswer is what is in force on one proxy.
type ProxyAnswer struct {
	Proxy string `json:"proxy"` // its key
	resolver.EffectiveAnswer
}

// errNoProxy is about a pattern.
var errNoProxy = errors.New("no proxy has such a name")

// effective returns what is in force on the proxies that a query names, ascending by key.
func (s *state) effective(ctx context.Context, q Query) ([]ProxyAnswer, error) {
	proxies := s.called(q.Proxy)
	if len(proxies) == 0 {
		return nil, fmt.Errorf("%q: %w", q.Proxy, errNoProxy)
	}
	filter := policy.Filter{Kind: q.Type, From: q.Inbound, Listener: q.Listener}
	if q.To != "" {
		var err error
		if filter.To, err = s.destination(q.To); err != nil {
			return nil, err
		}
	}
	if filter.To == "" && filter.From == "" && filter.Listener == "" {
		return s.answers(ctx, proxies, filter)
	}
	var answers []ProxyAnswer
	for _, px := range proxies {
		a, err := s.planes[px.zone].resolver().Effective(ctx, px.Mesh, px.Name, filter)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", px.key, err)
		}
		answers = append(answers, ProxyAnswer{px.key, a})
	}
	return answers, nil
}

// answers returns what is in force on proxies, in their order; zones are asked side by side. Proxies of a zone share parts of the
// answers.
func (s *state) answers(ctx context.Context, proxies []proxyOf, f policy.Filter) ([]ProxyAnswer, error) {
	type place struct{ zone, mesh string }
	groups := map[place][]int{}
	for i, px := range proxies {
		at := place{px.zone, px.Mesh}
		groups[at] = append(groups[at], i)
	}
	answers := make([]ProxyAnswer, len(proxies))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for at, of := range groups {
		group.Go(func() error {
			names := make([]string, len(of))
			for n, i := range of {
				names[n] = proxies[i].Name
			}
			all, err := s.planes[at.zone].resolver().EffectiveOn(ctx, at.mesh, names, f)
			if err != nil {
				return fmt.Errorf("zone %s: %w", at.zone, err)
			}
			for n, i := range of {
				answers[i] = ProxyAnswer{proxies[i].key, all[n]}
			}
			return nil
		})
	}
	return answers, group.Wait()
}

// called returns the proxies that a pattern of somebody who asks names: "" every proxy, and a pattern without a mesh those of other
// meshes if the scenario's has none.
func (s *state) called(pattern string) []proxyOf {
	if pattern == "" {
		return s.everyProxy()
	}
	s.index()
	found, several := meantPattern(s.home, pattern, s.keys)
	if found != "" {
		return s.proxies(found)
	}
	var all []proxyOf
	for _, pattern := range several {
		all = append(all, s.proxies(pattern)...)
	}
	return all
}

// destination returns the KRI of the service that a key names, with the section after a colon; what is no key stays. The error is
// that several services have the key.
func (s *state) destination(to string) (string, error) {
	s.index()
	word, section, _ := strings.Cut(to, ":")
	if id, ok := s.services[word]; ok {
		return id.KRI(section), nil
	}
	key, several := meant(s.home, word, sortedKeys(s.services))
	switch {
	case len(several) > 0:
		return "", errors.New(ambiguous(word, several))
	case key == "":
		return to, nil
	}
	return s.services[key].KRI(section), nil
}

// originKey returns the key of the policy that gives a value.
func (s *state) originKey(o policy.Origin) string { return originKey(s.home, o) }

func originKey(home string, o policy.Origin) string {
	id, _, err := resource.ParseKRI(o.KRI)
	if err != nil { // of an answer that came from elsewhere
		id = resource.Identity{Zone: o.Zone, Namespace: o.Namespace, Name: o.Name}
	}
	return keyOf(home, id)
}
