package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/meridian-mesh/meridian/internal/wire"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// The methods of a federation as sim.Processes. "" is global.
var _ sim.Processes = (*federation)(nil)

// Ask returns what sends questions to a control plane.
func (f *federation) Ask(name string) sim.Ask { return f.plane(name).api.ask }

// ask is a sim.Ask.
func (c *client) ask(ctx context.Context, path string) (int, []byte, error) {
	a, err := c.do(ctx, http.MethodGet, path, nil)
	return a.Status, a.Body, err
}

// Write writes documents, all or none.
func (f *federation) Write(ctx context.Context, name string, docs []resource.Document) error {
	p := f.plane(name)
	results, err := p.api.apply(ctx, docs, applyOptions{})
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if len(results) != len(docs) {
		return fmt.Errorf("%s: it answers about %d of %d documents", p.name, len(results), len(docs))
	}
	var errs []error
	for i, r := range results {
		if r.Error == nil {
			continue
		}
		refused := &planes.RefusedError{Plane: p.name, Document: docs[i]}
		for _, v := range r.Error.Invalid {
			refused.Reasons = append(refused.Reasons, v.Field+": "+v.Reason)
		}
		if len(refused.Reasons) == 0 {
			refused.Reasons = []string{r.Error.Error()}
		}
		errs = append(errs, refused)
	}
	return errors.Join(errs...)
}

// Delete deletes what is stored under a key.
func (f *federation) Delete(ctx context.Context, name string, key resource.Key) error {
	p := f.plane(name)
	if err := p.api.delete(ctx, key); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, key, err)
	}
	return nil
}

// Cut cuts the link of a zone.
func (f *federation) Cut(zone string) { f.wires[zone].Cut() }

// Stall silences the link of a zone.
func (f *federation) Stall(zone string, up, down bool) {
	f.wires[zone].Stall(wire.Silence{Up: up, Down: down})
}

// Heal mends the link of a zone.
func (f *federation) Heal(zone string) { f.wires[zone].Heal() }

// Crash kills a process.
func (f *federation) Crash(name string) error {
	p := f.plane(name)
	if p == f.global {
		f.kds.Store("")
	}
	p.down = true
	p.Kill()
	p.api.http.CloseIdleConnections()
	return f.tell()
}

// Restart starts a process over its data, after it has killed the one that runs.
func (f *federation) Restart(ctx context.Context, name string) error {
	if p := f.plane(name); !p.down {
		if err := f.Crash(name); err != nil {
			return err
		}
	}
	return f.start(ctx, f.plane(name))
}

// Add starts one more zone.
func (f *federation) Add(ctx context.Context, zone sim.Zone) error {
	if err := f.prepare(ctx, zone); err != nil {
		return err
	}
	return f.start(ctx, f.plane(zone.Name))
}

// Skew starts a zone as another build over its data.
func (f *federation) Skew(ctx context.Context, zone sim.Zone) error {
	f.plane(zone.Name).args = f.zoneArgs(zone)
	return f.Restart(ctx, zone.Name)
}

// pollEvery is between two questions about what takes milliseconds when it works.
const pollEvery = 5 * time.Millisecond

// Remove ends a zone, and deletes it on global when global has noticed.
func (f *federation) Remove(ctx context.Context, zone string) error {
	p := f.plane(zone)
	if !p.down {
		if err := p.Stop(); err != nil {
			return fmt.Errorf("stop %s: %w", zone, err)
		}
		p.api.http.CloseIdleConnections()
	}
	p.down = true
	f.zones = slices.DeleteFunc(f.zones, func(q *plane) bool { return q == p })
	if err := errors.Join(f.wires[zone].Close(), f.tell()); err != nil {
		return err
	}
	delete(f.wires, zone)
	if err := os.RemoveAll(filepath.Join(f.dir, zone)); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		peers, _, err := f.global.api.syncStatus(ctx, []string{zone})
		if err != nil {
			return err
		}
		if connected := peers[0].State == "online" || peers[0].State == "stalled"; !connected || time.Since(begun) > defaultWait {
			return f.global.api.delete(ctx, resource.Key{Kind: "Zone", Name: zone})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}
