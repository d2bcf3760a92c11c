package main

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/cmd/process"
	"github.com/meridian-mesh/meridian/internal/wire"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
)

// demoFiles are the documents of `meridian demo` and `meridian up`. The policies of steps 1 to 3 are those of the
// product documentation's producer/consumer guide, unmodified.
//
//go:embed demo/*.yaml
var demoFiles embed.FS

// syncTimeout is for what takes milliseconds when it works.
const syncTimeout = "10s"

// federation is one global control plane and its zones, as child processes that keep their data below one folder. What was started can
// be ended and started again, and the links of zones can be cut: it is what sim.Play plays scenarios on.
type federation struct {
	dir    string
	global *plane
	zones  []*plane
	wires  map[string]*wire.Wire // by zone: what it dials
	tokens map[string]bool       // of zones that have one

	kds     atomic.Value // where global takes zones, HOST:PORT; "" while it is down
	changed func() error // is called when addresses are others, or other planes are up; nil: nobody asks
}

// plane is one control plane.
type plane struct {
	name    string
	program string
	args    []string

	*process.Process // that runs, or ran last
	api              *client
	down             bool
}

// demoZones are those of `meridian demo`, and of `meridian up` without a scenario.
var demoZones = []sim.Zone{{Name: "east"}, {Name: "west"}}

// withFederation starts a global and zones, calls fn when all zones have received the mesh of the global, and returns when fn
// has and nothing of the federation is left: no process, and, unless dir says where to keep it, no file. dir "": a
// temporary folder.
func withFederation(ctx context.Context, dir string, zones []sim.Zone, fn func(*federation) error) (err error) {
	// The children must be gone before this process may end: a second Ctrl-C would leave them behind.
	held := make(chan os.Signal, 1)
	signal.Notify(held, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(held)
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errors.New("interrupted")
		}
	}()

	if dir == "" {
		if dir, err = os.MkdirTemp("", "meridian-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f := &federation{dir: dir, wires: map[string]*wire.Wire{}, tokens: map[string]bool{}}
	f.kds.Store("")
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.startAll(ctx, zones); err != nil {
		return err
	}
	return fn(f)
}

func (f *federation) startAll(ctx context.Context, zones []sim.Zone) error {
	f.global = &plane{name: "global", program: "meridian-global", args: []string{"--kds-addr", "127.0.0.1:0"}}
	if err := f.start(ctx, f.global); err != nil {
		return err
	}
	for _, zone := range zones {
		if err := f.prepare(ctx, zone); err != nil {
			return err
		}
	}
	var group errgroup.Group
	for _, p := range f.zones {
		group.Go(func() error {
			if err := f.start(ctx, p); err != nil {
				return err
			}
			return p.await(ctx, resource.Key{Kind: "Mesh", Name: resource.DefaultMesh})
		})
	}
	return group.Wait()
}

// prepare makes what a zone needs before it is started: a token, and a wire to global.
func (f *federation) prepare(ctx context.Context, zone sim.Zone) error {
	if err := f.giveToken(ctx, zone.Name); err != nil {
		return err
	}
	w, err := wire.Listen(func() string { return f.kds.Load().(string) })
	if err != nil {
		return err
	}
	f.wires[zone.Name] = w
	f.zones = append(f.zones, &plane{name: zone.Name, program: "meridian-zone", args: f.zoneArgs(zone)})
	return nil
}

// zoneArgs returns how a zone is started that is as the scenario says.
func (f *federation) zoneArgs(zone sim.Zone) []string {
	args := []string{
		"--name", zone.Name, "--zone-token-file", f.tokenFile(zone.Name), "--global", "grpcs://" + f.wires[zone.Name].Addr(),
		"--tls-ca", filepath.Join(f.dir, "global", "kds.crt"),
	}
	if zone.Version != "" {
		args = append(args, "--act-as-version", zone.Version)
	}
	if len(zone.Without) > 0 {
		args = append(args, "--act-without", strings.Join(zone.Without, ","))
	}
	return args
}

// tokenValidity is how long the tokens of zones hold: a federation that is kept gets new ones when it is started again.
const tokenValidity = 30 * 24 * time.Hour

func (f *federation) tokenFile(zone string) string { return filepath.Join(f.dir, zone+".token") }

// giveToken makes sure that there is the token that proves a zone to the global. One that is made before it is needed needs no global later.
func (f *federation) giveToken(ctx context.Context, zone string) error {
	if f.tokens[zone] {
		return nil
	}
	token, err := f.global.api.newToken(ctx, "zone", map[string]any{
		"zone": zone, "scope": []string{auth.ScopeZone}, "validFor": tokenValidity.String(),
	})
	if err != nil {
		return fmt.Errorf("token of %s: %w", zone, err)
	}
	if err := os.WriteFile(f.tokenFile(zone), []byte(token), 0o600); err != nil {
		return err
	}
	f.tokens[zone] = true
	return nil
}

// start runs a control plane; what it prints goes to dir/NAME.log. One that ran before has the address that it had, so that people find it,
// unless somebody else has that now.
func (f *federation) start(ctx context.Context, p *plane) error {
	bin, err := findProgram(p.program)
	if err != nil {
		return err
	}
	addresses := []string{"127.0.0.1:0"}
	if p.Process != nil {
		addresses = []string{strings.TrimPrefix(p.URL(), "http://"), addresses[0]}
	}
	for _, address := range addresses {
		log, openErr := os.OpenFile(filepath.Join(f.dir, p.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if openErr != nil {
			return openErr
		}
		args := append([]string{"--data-dir", filepath.Join(f.dir, p.name), "--http-addr", address}, p.args...)
		var started *process.Process
		if started, err = process.Start(ctx, process.Config{Path: bin, Args: args, Log: log}); err != nil {
			continue
		}
		p.Process, p.api, p.down = started, newClient(started.URL()), false
		if p == f.global {
			f.kds.Store(strings.TrimPrefix(p.KDS(), "grpcs://"))
		}
		return f.tell()
	}
	return fmt.Errorf("start %s: %w", p.name, err)
}

// tell tells who wants to know that planes have come, gone or moved.
func (f *federation) tell() error {
	if f.changed == nil {
		return nil
	}
	return f.changed()
}

// findProgram returns the path of a program of this build, or else of the PATH.
func findProgram(name string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		if next := filepath.Join(filepath.Dir(self), name); executable(next) {
			return next, nil
		}
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither next to %s nor in the PATH: `make build` puts the three programs into bin/", name, self)
	}
	return found, nil
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// planes returns the global and the zones that run.
func (f *federation) planes() []*plane {
	var all []*plane
	for _, p := range append([]*plane{f.global}, f.zones...) {
		if p != nil && p.Process != nil && !p.down {
			all = append(all, p)
		}
	}
	return all
}

func (f *federation) plane(name string) *plane {
	for _, p := range append([]*plane{f.global}, f.zones...) {
		if p.name == cmp.Or(name, "global") {
			return p
		}
	}
	panic("no control plane " + name)
}

// running returns a control plane, nil if it is not up or not there any more.
func (f *federation) running(name string) *plane {
	for _, p := range f.planes() {
		if p.name == cmp.Or(name, "global") {
			return p
		}
	}
	return nil
}

// stop ends the zones and then the global, and returns when all are gone.
func (f *federation) stop() error {
	var errs []error
	planes := f.planes()
	for i := len(planes) - 1; i >= 0; i-- {
		planes[i].api.http.CloseIdleConnections() // a server that stops gives unused connections time to speak
		if err := planes[i].Stop(); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", planes[i].name, err))
		}
	}
	for _, w := range f.wires {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}

// setUp writes the mesh, proxies and services of the guide.
func (f *federation) setUp(ctx context.Context) error {
	for _, p := range f.planes() {
		if _, err := p.applyFile(ctx, "setup-"+p.name+".yaml"); err != nil {
			return err
		}
	}
	return nil
}

// applyFile writes the documents of one embedded file.
func (p *plane) applyFile(ctx context.Context, file string) ([]result, error) {
	data, err := demoFiles.ReadFile(path.Join("demo", file))
	if err != nil {
		return nil, err
	}
	docs, err := policy.Schemas().Read(file, data, resource.ReadOptions{})
	if err != nil {
		return nil, err
	}
	results, err := p.api.apply(ctx, docs, applyOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", file, p.name, err)
	}
	for _, r := range results {
		if r.Error != nil {
			return nil, fmt.Errorf("%s on %s: %w", file, p.name, r.invalid(docs))
		}
	}
	return results, nil
}

// await returns when the control plane has the resource: at once, or as soon as it arrives.
func (p *plane) await(ctx context.Context, key resource.Key) error {
	d, _ := resource.LookupKind(key.Kind)
	path, err := item(d, key.Mesh, key.Name)
	if err != nil {
		return err
	}
	var doc document
	if _, err := p.api.get(ctx, path+"?wait="+syncTimeout, &doc); err != nil {
		return fmt.Errorf("%s has no %s after %s: %w", p.name, key, syncTimeout, err)
	}
	return nil
}

// key returns the key of r on this control plane: its own name where it was written, its wire name elsewhere.
func (p *plane) key(r resource.Resource) resource.Key {
	key := r.Key
	if cmp.Or(r.Zone(), "global") != p.name {
		key.Name = resource.WireName(r)
	}
	return key
}
