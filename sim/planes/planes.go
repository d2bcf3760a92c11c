package planes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/test/bufconn"

	"github.com/meridian-mesh/meridian/control"
	"github.com/meridian-mesh/meridian/global"
	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
	"github.com/meridian-mesh/meridian/zone"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

// settleTime passes every backoff, flush and keepalive there is.
const settleTime = 3 * time.Minute

const wireBytes = 64 << 10 // what a wire takes before its writer has to wait

// Config is what a federation is made of.
type Config struct {
	Zones []Zone
	Dir   string // of the stores, made if missing and left behind; "": a temporary one, removed by Close

	ChunkBytes int // of the parts of long lists; 0: what planes do by themselves

	// Tokens has global ask zones for their tokens. All federations of a process sign theirs with one key: making one takes long.
	Tokens bool

	Log hclog.Logger // of the planes; nil discards

	// Goes says whether a resource written on one plane is to reach another; "" is global. nil: kds/scope says so.
	Goes func(r resource.Resource, from, to string) bool
}

// Zone is how a zone is.
type Zone struct {
	Name    string
	Version string   // that it says it has; "": dev
	Without []string // features that it does not announce, see zone.Config
}

// Federation is a global control plane and its zones. Its methods are for one goroutine.
type Federation struct {
	dir    string
	ours   bool                                            // to remove dir
	chunk  int                                             // see Config
	tokens bool                                            // likewise
	log    hclog.Logger                                    // likewise
	goes   func(r resource.Resource, from, to string) bool // see Config
	global *Plane
	zones  map[string]*Plane
	links  map[string]*Link
	wire   *bufconn.Listener // that global serves, or served last
	made   int               // directories
}

// Plane is one control plane of the federation. Stop and Start are a crash and a restart: the store stays.
type Plane struct {
	f        *Federation
	name     string // "" is global
	dir      string
	open     func() (node, error)
	features scope.Features // that it announces

	node node
	stop func() error // ends Run and closes; nil while the plane is down

	ahead atomic.Int64 // of its clock, in nanoseconds
	disk  disk

	written map[resource.Key]*resource.Resource // what was acknowledged here last; nil: deleted
	ever    map[resource.Key]bool               // what other planes have sent or may have sent

	latest latest // see Latest
}

// node is global.Global or zone.Zone.
type node interface {
	Run(context.Context) error
	Close() error
	Handler() http.Handler
	Store() storage.Store
	Resolver() *resolver.Resolver
}

// Open starts a federation and waits until nothing moves. The error is that of a plane that does not start.
func Open(c Config) (_ *Federation, err error) {
	f := &Federation{dir: c.Dir, goes: c.Goes, chunk: c.ChunkBytes, tokens: c.Tokens, log: c.Log, zones: map[string]*Plane{}, links: map[string]*Link{}}
	if f.log == nil {
		f.log = hclog.NewNullLogger()
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "meridian-sim-"); err != nil {
			return nil, err
		}
		f.ours = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	f.global = f.plane("", func(dir string) (node, error) {
		f.wire = bufconn.Listen(wireBytes)
		for _, l := range f.links {
			l.set(func() { l.listener = f.wire })
		}
		c := global.Config{Config: control.Config{DataDir: dir, NoSync: true, NoKeys: true, Log: f.log.Named("global")}, KDSListener: f.wire, Insecure: true}
		c.Sync.ChunkBytes, c.Now, c.Fate = f.chunk, f.global.now, f.global.disk.fate
		if f.tokens {
			c.KDSAuth = global.KDSAuthToken
		}
		return global.Open(c)
	})
	if err := f.global.Start(); err != nil {
		return nil, err
	}
	if f.tokens {
		if err := f.writeKey(); err != nil {
			return nil, err
		}
	}
	if err := f.announce(c.Zones); err != nil {
		return nil, err
	}
	for _, z := range c.Zones {
		if _, err := f.addZone(z); err != nil {
			return nil, err
		}
	}
	if err := f.global.adopt(); err != nil {
		return nil, err
	}
	synctest.Wait()
	return f, nil
}

// announce makes the Zones known to global before they come, in one batch: otherwise each that joins is news for all others.
func (f *Federation) announce(zones []Zone) error {
	var docs []resource.Document
	for _, z := range zones {
		docs = append(docs, resource.Document{Source: "zones", Resource: resource.Resource{Key: resource.Key{Kind: "Zone", Name: z.Name}, Spec: []byte{}}})
	}
	if len(docs) == 0 {
		return nil
	}
	_, err := f.global.writeBatch(docs)
	return err
}

// path returns a directory that nobody has used.
func (f *Federation) path() string {
	f.made++
	return filepath.Join(f.dir, strconv.Itoa(f.made))
}

func (f *Federation) plane(name string, open func(dir string) (node, error)) *Plane {
	p := &Plane{f: f, name: name, dir: f.path(), written: map[resource.Key]*resource.Resource{}, ever: map[resource.Key]bool{}}
	p.open = func() (node, error) { return open(p.dir) }
	return p
}

// AddZone starts one more zone, with an empty store and a healthy link.
func (f *Federation) AddZone(z Zone) error {
	p, err := f.addZone(z)
	if err == nil {
		f.mayHave(p)
	}
	return err
}

// addZone is AddZone while nothing is written yet.
func (f *Federation) addZone(z Zone) (*Plane, error) {
	if f.zones[z.Name] != nil {
		return nil, fmt.Errorf("%s is there already", f.zones[z.Name])
	}
	l := newLink(f.wire)
	p := f.plane(z.Name, nil)
	f.links[z.Name], f.zones[z.Name] = l, p
	p.become(z, l)
	if f.tokens {
		if _, err := f.NewToken(z.Name); err != nil {
			return nil, err
		}
	}
	return p, p.Start()
}

// become makes the plane start as a zone is.
func (p *Plane) become(z Zone, l *Link) {
	p.open = func() (node, error) {
		c := zone.Config{
			Config: control.Config{DataDir: p.dir, Version: z.Version, NoSync: true, NoKeys: true, Log: p.f.log},
			Name:   z.Name, Without: z.Without, Global: "grpc://global:5685", Dialer: l.dial,
		}
		c.Sync.ChunkBytes, c.Now, c.Fate = p.f.chunk, p.now, p.disk.fate
		if p.f.tokens {
			c.TokenFile = p.tokenFile()
		}
		return zone.Open(c)
	}
	p.features = z.Features()
}

// Features returns what the zone announces.
func (z Zone) Features() scope.Features {
	return scope.ParseFeatures(slices.DeleteFunc(slices.Clone(scope.Announced), func(name string) bool {
		return slices.Contains(z.Without, name)
	}))
}

// Skew ends a zone and starts it as another build would be, over the same store.
func (f *Federation) Skew(z Zone) error {
	p := f.zones[z.Name]
	if err := p.Stop(); err != nil {
		return err
	}
	p.become(z, f.links[z.Name])
	f.mayHave(p)
	return p.Start()
}

// mayHave notes what may go to a plane of all that was written.
func (f *Federation) mayHave(p *Plane) {
	for q := range f.each {
		for _, r := range q.written {
			if r != nil && f.reach(*r, q)(p) {
				p.ever[wireKey(*r, q)(p)] = true
			}
		}
	}
}

// RemoveZone ends a zone and deletes it on global, and with it everywhere what it had synced. Its store is lost.
func (f *Federation) RemoveZone(name string) error {
	p := f.zones[name]
	if err := p.Stop(); err != nil {
		return err
	}
	synctest.Wait()
	if err := f.global.Delete(resource.Key{Kind: "Zone", Name: name}); err != nil {
		return err
	}
	delete(f.zones, name)
	delete(f.links, name)
	return nil
}

// Close ends everything and removes what Open made. It may be called twice.
func (f *Federation) Close() error {
	var errs []error
	for _, p := range f.planes() {
		errs = append(errs, p.Stop())
	}
	if f.ours {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}

// Global returns the global control plane.
func (f *Federation) Global() *Plane { return f.global }

// Zone returns a zone of the federation, nil if there is none of that name.
func (f *Federation) Zone(name string) *Plane { return f.zones[name] }

// Link returns the wire between a zone and global.
func (f *Federation) Link(zone string) *Link { return f.links[zone] }

// Planes returns global and then the zones, ascending by name.
func (f *Federation) Planes() []*Plane { return f.planes() }

// each yields global and the zones in any order.
func (f *Federation) each(yield func(*Plane) bool) {
	if !yield(f.global) {
		return
	}
	for _, p := range f.zones {
		if !yield(p) {
			return
		}
	}
}

func (f *Federation) planes() []*Plane {
	var planes []*Plane
	if f.global != nil {
		planes = append(planes, f.global)
	}
	for _, name := range slices.Sorted(maps.Keys(f.zones)) {
		planes = append(planes, f.zones[name])
	}
	return planes
}

// Settle lets time pass until every backoff is over and everything that can move has moved.
func (f *Federation) Settle() {
	synctest.Wait()
	time.Sleep(settleTime)
	synctest.Wait()
}

// Jump sets the clock of the plane, as far as its store asks it, forward by d, or back.
func (p *Plane) Jump(d time.Duration) { p.ahead.Add(int64(d)) }

func (p *Plane) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

// Start runs the plane over its store. It is running already after Open.
func (p *Plane) Start() error {
	node, err := p.open()
	if err != nil {
		return fmt.Errorf("start %s: %w", p, err)
	}
	p.node = node
	if err := p.learn(); err != nil {
		return errors.Join(err, node.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	p.stop = func() error {
		cancel()
		return errors.Join(<-done, node.Close())
	}
	return nil
}

// Stop ends the plane. Start brings it back over the same store. It may be called twice.
func (p *Plane) Stop() error {
	if p.stop == nil {
		return nil
	}
	err := p.stop()
	p.stop = nil
	if err != nil && !p.Killed() {
		return fmt.Errorf("stop %s: %w", p, err)
	}
	return nil
}

// Running says whether the plane is up, or was until it was killed in a write.
func (p *Plane) Running() bool { return p.stop != nil }

// Compact makes the plane forget all its deletes.
func (p *Plane) Compact() error {
	st := p.node.Store()
	return st.Compact(context.Background(), st.Revision())
}

// Backup copies what the stopped plane has. The returned function puts it back, onto the stopped plane.
func (p *Plane) Backup() (restore func() error, err error) {
	stopped := func() error {
		if p.stop != nil {
			return fmt.Errorf("%s runs", p)
		}
		return nil
	}
	saved, written := p.f.path(), maps.Clone(p.written)
	if err := errors.Join(stopped(), os.CopyFS(saved, os.DirFS(p.dir))); err != nil {
		return nil, err
	}
	return func() error {
		if err := stopped(); err != nil {
			return err
		}
		p.written = maps.Clone(written)
		return errors.Join(os.RemoveAll(p.dir), os.CopyFS(p.dir, os.DirFS(saved)))
	}, nil
}

// Name returns the name of the zone, "" of the global control plane.
func (p *Plane) Name() string { return p.name }

// String returns "global" or "zone east".
func (p *Plane) String() string {
	if p.name == "" {
		return "global"
	}
	return "zone " + p.name
}

// Resolver answers what is in force on the plane's proxies, as its API does. The plane must run.
func (p *Plane) Resolver() *resolver.Resolver { return p.node.Resolver() }

// Store returns the store of the plane. The plane must run.
func (p *Plane) Store() storage.Store { return p.node.Store() }

// Features returns what Zone.Without may name.
func Features() []string { return zone.Features() }
