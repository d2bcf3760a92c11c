package kds

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// Bounds of what a catalog remembers of the past.
const (
	maxRecent   = 4096
	maxDeparted = 50_000
)

// errMoved says that a resource has changed since the catalog saw it.
var errMoved = errors.New("resource has changed meanwhile")

// catalog is what all sessions with Meridian peers share: for every resource that this control plane may send, its name
// on the wire and what its scope depends on; and of what was deleted or has changed scope lately, what it was before. With
// it a session needs to remember of its peer nothing but a revision.
//
// It follows the store when a session asks. A session offers only states that the catalog has seen, so whatever a peer
// may hold, its departure is known, or is known to be too long ago (from).
type catalog struct {
	store   Store
	cache   *cache
	variant variant
	opened  resource.Revision // of the store before this run wrote anything

	mu      sync.Mutex // guards what follows
	built   bool
	rev     resource.Revision // seen up to here
	from    resource.Revision // every departure after this revision is known
	shelves map[string]*shelf

	recent     []recentChange // ascending; what was handed out is never modified
	recentFrom resource.Revision
	departed   []departedKey // ascending; the order in which departures are forgotten

	news     chan struct{}      // closed and replaced when there is something that a session may have to tell
	newsRev  resource.Revision  // up to which it has been announced
	sessions int                // that are told of news
	stop     context.CancelFunc // ends the goroutine that follows the store for them; nil: there is none
	stopped  chan struct{}      // closed when it has ended

	runs []*syncv1.Lineage_Run // of control planes over this store, the last is this one; nil: not read yet
}

// shelf is one kind.
type shelf struct {
	items map[resource.Key]*item
	order []resource.Key // of items, sorted; nil: not made yet. What was handed out is never modified
	gone  map[resource.Key][]departure
	from  map[string]map[resource.Key]bool // of items, those that come from a zone, by zone
}

// set makes it the state of the resource under key; nil: there is none any more.
func (s *shelf) set(key resource.Key, it *item) {
	if old := s.items[key]; old != nil {
		if zone := old.subject.From(); zone != "" {
			delete(s.from[zone], key)
		}
	}
	if it == nil {
		delete(s.items, key)
		return
	}
	s.items[key] = it
	if zone := it.subject.From(); zone != "" {
		if s.from[zone] == nil {
			s.from[zone] = map[resource.Key]bool{}
		}
		s.from[zone][key] = true
	}
}

// item is the latest state of one resource. It is never modified.
type item struct {
	name    string // on the wire
	display string
	ns      string
	subject scope.Subject
	version resource.Revision
	changed resource.Revision // when what is sent changed last, as far as is known
	digest  digest            // zero: not known
}

// departure is a state that ended at rev: the resource was deleted, or renamed, or its scope may have changed.
type departure struct {
	rev     resource.Revision
	at      time.Time // when that was committed; zero: not known
	name    string
	subject scope.Subject
}

type departedKey struct {
	rev resource.Revision
	key resource.Key
}

type recentChange struct {
	rev resource.Revision
	key resource.Key
}

func newCatalog(store Store, c *cache, v variant) *catalog {
	made := &catalog{store: store, cache: c, variant: v, news: make(chan struct{})}
	if store != nil { // else the configuration is wrong, and Run will say so
		made.opened = store.Revision()
	}
	return made
}

// view is what a catalog had seen at one moment.
type view struct {
	rev        resource.Revision
	from       resource.Revision // every departure after this revision is known
	recent     []recentChange
	recentFrom resource.Revision
}

// view follows the store and returns what there is.
func (c *catalog) view(ctx context.Context) (view, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.follow(ctx); err != nil {
		return view{}, err
	}
	return view{c.rev, c.from, c.recent, c.recentFrom}, nil
}

// quiet is how many revisions that concern no session may go by before the sessions look all the same: how far each has got
// is shown to people.
const quiet = 1000

// join has the catalog follow the store for one more session, until leave is called. One goroutine does, however many
// sessions there are: most commits concern none of them, and need not wake a thousand.
func (c *catalog) join() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions++; c.sessions == 1 {
		ctx, stop := context.WithCancel(context.Background())
		stopped := make(chan struct{})
		c.stop, c.stopped = stop, stopped
		go func() {
			defer close(stopped)
			defer stop()
			c.watch(ctx, stopped)
		}()
	}
	return func() {
		c.mu.Lock()
		c.sessions--
		stop, stopped := c.stop, c.stopped
		if c.sessions > 0 {
			stop = nil
		} else {
			c.stop = nil
		}
		c.mu.Unlock()
		if stop != nil {
			stop()
			<-stopped
		}
	}
}

// watch follows the store until ctx ends or the store fails; the sessions then find out themselves. stopped says which of the
// goroutines that did so, one after the other, it is.
func (c *catalog) watch(ctx context.Context, stopped chan struct{}) {
	for {
		v, err := c.view(ctx)
		if err != nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-c.store.Advanced(v.rev):
		}
		if works(ctx, c.store, v.rev) != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil && c.stopped == stopped { // else the last session is leaving
		c.stop = nil
		c.announce()
	}
}

// works returns why the store has stopped, if it has: it wakes its readers for ever then. It looks only if there is nothing
// after rev.
func works(ctx context.Context, st Store, rev resource.Revision) error {
	if st.Revision() > rev {
		return nil
	}
	_, _, err := st.Since(ctx, "Zone", rev)
	if errors.Is(err, resource.ErrCompacted) {
		return nil
	}
	return err
}

// announce wakes the sessions. The caller holds mu.
func (c *catalog) announce() {
	c.newsRev = c.rev
	close(c.news)
	c.news = make(chan struct{})
}

// advanced returns a channel that is closed once there is something after v for a session to look at.
func (c *catalog) advanced(v view) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.newsRev > v.rev:
		return alreadyClosed
	case c.stop == nil:
		return c.store.Advanced(v.rev)
	}
	return c.news
}

var alreadyClosed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// follow brings the catalog up to date. The caller holds mu.
func (c *catalog) follow(ctx context.Context) error {
	if c.runs == nil {
		if err := c.begin(ctx); err != nil {
			return err
		}
	}
	if c.built && c.store.Revision() <= c.rev {
		return nil
	}
	if !c.built {
		return c.rebuild(ctx)
	}
	changes, reached, err := c.store.Since(ctx, "", c.rev)
	if errors.Is(err, resource.ErrCompacted) {
		return c.rebuild(ctx)
	}
	if err != nil {
		return err
	}
	known, news := len(c.recent), reached >= c.newsRev+quiet
	var zones []resource.Change
	for _, change := range changes {
		if s := c.shelves[change.Resource.Kind]; s != nil {
			c.take(s, change)
		}
		if change.Resource.Kind == "Zone" {
			zones = append(zones, change)
		}
	}
	for _, change := range zones { // the scope of what comes from the zone depends on it, and the zone's own streams do
		news = news || change.Deleted || c.isSource(change.Resource.Name)
	}
	news = news || len(c.recent) > known
	c.rev = reached
	c.trim()
	if news {
		c.announce()
	}
	return nil
}

func (c *catalog) rebuild(ctx context.Context) error {
	if err := c.build(ctx); err != nil {
		return err
	}
	c.announce()
	return nil
}

// lineageKey is where a sender keeps its Lineage: like SyncProgress of a kind that no table lists.
var lineageKey = resource.Key{Kind: "SyncLineage", Name: "own"}

// maxRuns is how many runs a sender remembers. Who has heard of none of them starts anew.
const maxRuns = 64

// begin notes in the store that a new run has begun. A backup that is restored goes on from where it was made with a run
// of its own, so that what the lost run has told after that point is not taken for what this one will tell.
func (c *catalog) begin(ctx context.Context) error {
	for range maxTries {
		r, err := c.store.Get(ctx, lineageKey)
		if errors.Is(err, resource.ErrNotFound) {
			r, err = resource.Resource{Key: lineageKey}, nil
		}
		if err != nil {
			return err
		}
		var l syncv1.Lineage
		if err := proto.Unmarshal(r.Spec, &l); err != nil {
			return fmt.Errorf("%s: %w", lineageKey, err)
		}
		l.Runs = append(l.Runs, &syncv1.Lineage_Run{Id: rand.Text()[:12], Revision: uint64(c.opened)})
		l.Runs = l.Runs[max(0, len(l.Runs)-maxRuns):]
		if r.Spec, err = deterministic.Marshal(&l); err != nil {
			return err
		}
		if _, err = c.store.Apply(ctx, resource.Put(r).If(r.Version)); err == nil {
			c.runs = l.Runs
			return nil
		}
		if !errors.Is(err, resource.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%s: %d attempts: %w", lineageKey, maxTries, resource.ErrConflict)
}

// run returns the name of this run. A view must have been taken before.
func (c *catalog) run() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[len(c.runs)-1].Id
}

// shares says whether revision rev of the run of that name is part of the history of this store.
func (c *catalog) shares(id string, rev resource.Revision) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.runs, func(r *syncv1.Lineage_Run) bool { return r.Id == id })
	switch i {
	case -1:
		return false
	case len(c.runs) - 1:
		return rev <= c.rev
	}
	return uint64(rev) <= c.runs[i+1].Revision
}

// build reads all there is. What was before is not known then. If it fails nothing has changed: sessions look things up in
// what they have seen of the catalog.
func (c *catalog) build(ctx context.Context) error {
	shelves := map[string]*shelf{}
	for _, d := range resource.Kinds {
		if d.FromZone() || c.variant != toGlobal && d.FromGlobal() { // global also looks up what a zone has sent it
			shelves[d.Kind] = &shelf{items: map[resource.Key]*item{}, gone: map[resource.Key][]departure{}, from: map[string]map[resource.Key]bool{}}
		}
	}
	var reached resource.Revision
	err := c.store.View(ctx, "", func(rev resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		for r, err := range list {
			if err != nil {
				return err
			}
			if s := shelves[r.Kind]; s != nil {
				if it := c.item(r); it != nil {
					it.changed = r.Version
					s.set(r.Key, it)
				}
			}
		}
		reached = rev
		return nil
	})
	if err != nil {
		return err
	}
	c.built, c.shelves, c.recent, c.departed = true, shelves, nil, nil
	c.rev, c.from, c.recentFrom = reached, reached, reached
	return nil
}

// item returns what is to be known of r, nil if r cannot be for anybody.
func (c *catalog) item(r resource.Resource) *item {
	if c.variant == toGlobal && !(resource.Plane{Zone: c.cache.zone}).Local(r.Labels) {
		return nil
	}
	return &item{
		name: wireName(r, c.variant, c.cache.zone), display: r.Display(), ns: r.Namespace(), subject: scope.Inspect(r), version: r.Version,
	}
}

// identity returns that of the resource under key, which is in the state it.
func (it *item) identity(key resource.Key) resource.Identity {
	return resource.Identity{Kind: key.Kind, Mesh: key.Mesh, Zone: it.subject.Zone(), Namespace: it.ns, Name: it.display}
}

// take notes one change. The caller holds mu.
func (c *catalog) take(s *shelf, change resource.Change) {
	key := change.Resource.Key
	old := s.items[key]
	var next *item
	if !change.Deleted {
		next = c.item(change.Resource)
	}
	if old != nil && (next == nil || next.name != old.name || next.subject != old.subject) {
		s.gone[key] = append(s.gone[key], departure{change.Revision, change.Resource.Modified, old.name, old.subject})
		c.departed = append(c.departed, departedKey{change.Revision, key})
	}
	if old == nil && next == nil {
		return
	}
	if (old == nil) != (next == nil) {
		s.order = nil
	}
	c.recent = append(c.recent, recentChange{change.Revision, key})
	if next == nil {
		s.set(key, nil)
		return
	}
	next.changed = next.version
	if !c.has(key.Kind) {
		s.set(key, next)
		return
	}
	if e, err := c.cache.encode(c.cache.entry(change.Resource, c.variant), change.Resource, c.variant); err == nil {
		next.digest = e.digest
		if old != nil && old.digest == e.digest {
			next.changed = old.changed
		}
	}
	s.set(key, next)
}

// trim forgets what is too much. The caller holds mu.
func (c *catalog) trim() {
	if n := len(c.recent) - maxRecent; n > maxRecent {
		c.recentFrom = c.recent[n-1].rev
		c.recent = slices.Clone(c.recent[n:])
	}
	if n := len(c.departed) - maxDeparted; n > maxDeparted/2 {
		for _, d := range c.departed[:n] {
			gone := c.shelves[d.key.Kind].gone
			if left := slices.DeleteFunc(slices.Clone(gone[d.key]), func(x departure) bool { return x.rev <= d.rev }); len(left) > 0 {
				gone[d.key] = left
			} else {
				delete(gone, d.key)
			}
		}
		c.from = c.departed[n-1].rev
		c.departed = slices.Clone(c.departed[n:])
	}
}

// has says whether resources of a kind are sent at all. A view must have been taken before.
func (c *catalog) has(kind string) bool {
	d, _ := resource.LookupKind(kind)
	return c.variant == toGlobal && d.FromZone() || c.variant != toGlobal && d.FromGlobal()
}

// reachesBack says whether after can tell what happened after rev.
func (c *catalog) reachesBack(rev resource.Revision) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return rev >= c.from && rev <= c.rev
}

// after returns the resources of a kind that were written or deleted after rev, oldest change first. It costs as much as
// there are resources of the kind; view.after is for what is recent.
func (c *catalog) after(kind string, rev resource.Revision) []resource.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shelves[kind]
	latest := map[resource.Key]resource.Revision{}
	for key, it := range s.items {
		if it.version > rev {
			latest[key] = it.version
		}
	}
	for key, list := range s.gone {
		if last := list[len(list)-1]; last.rev > rev {
			latest[key] = max(latest[key], last.rev)
		}
	}
	return slices.SortedFunc(maps.Keys(latest), func(a, b resource.Key) int {
		return cmp.Or(cmp.Compare(latest[a], latest[b]), a.Compare(b))
	})
}

// after returns the resources of a kind that were written or deleted after rev, oldest change first; ok is false if that
// is too long ago.
func (v view) after(kind string, rev resource.Revision) (keys []resource.Key, ok bool) {
	if rev < v.recentFrom {
		return nil, false
	}
	at, _ := slices.BinarySearchFunc(v.recent, rev+1, func(c recentChange, rev resource.Revision) int { return cmp.Compare(c.rev, rev) })
	for _, c := range v.recent[at:] {
		if c.key.Kind == kind {
			keys = append(keys, c.key)
		}
	}
	if len(keys) > 1 {
		seen := make(map[resource.Key]bool, len(keys))
		last := keys[:len(keys):len(keys)]
		keys = nil
		for _, key := range slices.Backward(last) {
			if !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
		slices.Reverse(keys)
	}
	return keys, true
}

// all returns every resource of a kind, in key order.
func (c *catalog) all(kind string) []resource.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shelves[kind]
	if s.order == nil {
		s.order = slices.SortedFunc(maps.Keys(s.items), resource.Key.Compare)
	}
	return s.order
}

// fromZones returns the resources of a kind that come from one of the zones, in key order.
func (c *catalog) fromZones(kind string, zones map[string]bool) (keys []resource.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for zone := range zones {
		keys = slices.AppendSeq(keys, maps.Keys(c.shelves[kind].from[zone]))
	}
	slices.SortFunc(keys, resource.Key.Compare)
	return keys
}

// sources returns those of the zones that any resource comes from. A zone that has just joined is none.
func (c *catalog) sources(zones map[string]bool) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	for zone := range zones {
		if c.isSource(zone) {
			found[zone] = true
		}
	}
	return found
}

// isSource says whether any resource comes from a zone. The caller holds mu.
func (c *catalog) isSource(zone string) bool {
	for _, s := range c.shelves {
		if len(s.from[zone]) > 0 {
			return true
		}
	}
	return false
}

// count returns how many resources come from a zone.
func (c *catalog) count(zone string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.shelves {
		n += len(s.from[zone])
	}
	return n
}

// named returns the resources of a kind that have one of the names on the wire.
func (c *catalog) named(kind string, names map[string]bool) map[string]resource.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]resource.Key{}
	for key, it := range c.shelves[kind].items {
		if names[it.name] {
			found[it.name] = key
		}
	}
	return found
}

// lookup returns the state of a resource, nil if there is none, and what it was before that has ended after rev.
func (c *catalog) lookup(key resource.Key, rev resource.Revision) (it *item, left []departure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.shelves[key.Kind]
	for i, d := range s.gone[key] {
		if d.rev > rev {
			left = s.gone[key][i:]
			break
		}
	}
	return s.items[key], slices.Clip(left)
}

// encoding returns what is sent of the state it of the resource under key. errMoved: the resource has another state now.
func (c *catalog) encoding(ctx context.Context, key resource.Key, it *item) (encoding, error) {
	return c.cache.load(key, it.version, c.variant, func() (resource.Resource, error) {
		r, err := c.store.Get(ctx, key)
		if errors.Is(err, resource.ErrNotFound) || err == nil && r.Version != it.version {
			return r, fmt.Errorf("%s: %w", key, errMoved)
		}
		return r, err
	})
}
