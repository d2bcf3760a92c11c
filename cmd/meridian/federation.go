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
	"sync"
	"syscall"
	"time"

	"github.com/meridian-mesh/meridian/auth"
	"github.com/meridian-mesh/meridian/cmd/process"
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

// federation is one global control plane and its zones, as child processes that keep their data below one folder.
type federation struct {
	dir    string
	global *plane
	zones  []*plane
}

// plane is one control plane.
type plane struct {
	name string
	*process.Process
	api *client
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
	f := &federation{dir: dir}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.startAll(ctx, zones); err != nil {
		return err
	}
	return fn(f)
}

func (f *federation) startAll(ctx context.Context, zones []sim.Zone) (err error) {
	if f.global, err = f.start(ctx, "global", "meridian-global", "--kds-addr", "127.0.0.1:0"); err != nil {
		return err
	}
	var wg sync.WaitGroup
	f.zones = make([]*plane, len(zones))
	errs := make([]error, len(zones))
	for i, zone := range zones {
		wg.Go(func() { f.zones[i], errs[i] = f.startZone(ctx, zone) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// startZone starts a zone, and returns when it has received the mesh of the global.
func (f *federation) startZone(ctx context.Context, zone sim.Zone) (*plane, error) {
	tokenFile := filepath.Join(f.dir, zone.Name+".token")
	if err := f.giveToken(ctx, zone.Name, tokenFile); err != nil {
		return nil, err
	}
	args := []string{
		"--name", zone.Name, "--zone-token-file", tokenFile, "--global", f.global.KDS(), "--tls-ca", filepath.Join(f.dir, "global", "kds.crt"),
	}
	if zone.Version != "" {
		args = append(args, "--act-as-version", zone.Version)
	}
	if len(zone.Without) > 0 {
		args = append(args, "--act-without", strings.Join(zone.Without, ","))
	}
	p, err := f.start(ctx, zone.Name, "meridian-zone", args...)
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, resource.Key{Kind: "Mesh", Name: resource.DefaultMesh})
}

// tokenValidity is how long the tokens of zones hold: a federation that is kept gets new ones when it is started again.
const tokenValidity = 30 * 24 * time.Hour

// giveToken writes to file the token that proves a zone to the global.
func (f *federation) giveToken(ctx context.Context, zone, file string) error {
	token, err := f.global.api.newToken(ctx, "zone", map[string]any{
		"zone": zone, "scope": []string{auth.ScopeZone}, "validFor": tokenValidity.String(),
	})
	if err != nil {
		return fmt.Errorf("token of %s: %w", zone, err)
	}
	return os.WriteFile(file, []byte(token), 0o600)
}

// start runs one control plane; what it prints goes to dir/NAME.log.
func (f *federation) start(ctx context.Context, name, program string, args ...string) (*plane, error) {
	bin, err := findProgram(program)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(f.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	args = append([]string{"--data-dir", filepath.Join(f.dir, name), "--http-addr", "127.0.0.1:0"}, args...)
	p, err := process.Start(ctx, process.Config{Path: bin, Args: args, Log: log})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &plane{name, p, newClient(p.URL())}, nil
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

// planes returns the global and the zones, as far as they were started.
func (f *federation) planes() []*plane {
	var all []*plane
	for _, p := range append([]*plane{f.global}, f.zones...) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func (f *federation) plane(name string) *plane {
	for _, p := range f.planes() {
		if p.name == name {
			return p
		}
	}
	panic("no control plane " + name)
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
