package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

// upScenario runs the federation of a scenario as processes.
func (c *cli) upScenario(ctx context.Context, path string, o upOptions) error {
	s, err := c.oneScenario(path)
	if err != nil {
		return err
	}
	return withFederation(ctx, o.dir, s.Zones, func(f *federation) error {
		if err := c.writeScenario(ctx, f, s); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "One global and %s are up, with the documents of %s:\n\n", plural(len(f.zones), "zone", "zones"), s.File)
		f.printAddresses(c.out)
		fmt.Fprintln(c.out)
		result, err := sim.Observe(ctx, s, f.asks())
		if err != nil {
			return err
		}
		of := show.Case{Name: s.Name, File: s.File, Result: result}
		if err := show.Text(c.out, of, show.TextOptions{NoTime: true}); err != nil {
			return err
		}
		if o.check {
			return verdictOf([]show.Case{of}, false)
		}
		if len(o.command) == 0 {
			c.printTries(f, s)
		}
		return c.stayUp(ctx, f, o)
	})
}

// printTries prints commands for another terminal.
func (c *cli) printTries(f *federation, s *sim.Scenario) {
	program := shellWord(os.Args[0])
	fmt.Fprintf(c.out, "\nLogs and data are in %s. Try, in another terminal:\n\n   export MERIDIAN_ADDRESS=%s    # global\n   %s zones\n", f.dir, f.global.URL(), program)
	for _, d := range s.Documents {
		if d.Resource.Kind == "Dataplane" && d.Plane != "" {
			fmt.Fprintf(c.out, "   %s --address %s explain %s    # %s\n", program, f.plane(d.Plane).URL(), shellWord(d.Resource.Name), d.Plane)
			break
		}
	}
	fmt.Fprint(c.out, "\nCtrl-C stops them all.\n")
}

// writeScenario writes the documents of a scenario on their planes, in the order that the simulator has: the Meshes, the rest of global,
// the zones. It returns when all of it is synced.
func (c *cli) writeScenario(ctx context.Context, f *federation, s *sim.Scenario) error {
	var meshes []resource.Document
	rest := map[string][]resource.Document{}
	for _, d := range s.Documents {
		if d.Resource.Kind == "Mesh" {
			meshes = append(meshes, d.Document)
		} else {
			rest[d.Plane] = append(rest[d.Plane], d.Document)
		}
	}
	if err := c.writeOn(ctx, f.global, meshes); err != nil {
		return err
	}
	if err := c.writeOn(ctx, f.global, rest[""]); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(f.zones))
	for i, zone := range f.zones {
		wg.Go(func() { errs[i] = c.writeOn(ctx, zone, rest[zone.name]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// writeOn writes documents on a control plane, and waits until whoever is to get them has them.
func (c *cli) writeOn(ctx context.Context, p *plane, docs []resource.Document) error {
	if len(docs) == 0 {
		return nil
	}
	results, err := p.api.apply(ctx, docs, applyOptions{})
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	var errs []error
	for _, r := range results {
		if r.Error != nil {
			errs = append(errs, fmt.Errorf("%s refuses it: %w", p.name, r.invalid(docs)))
		}
	}
	if len(errs) > 0 {
		for _, err := range errs {
			fmt.Fprintln(c.err, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return badDocuments(len(errs))
	}
	_, err = c.awaitSync(ctx, p.api, results, waitOptions{zones: allZones, timeout: defaultWait})
	return err
}

// asks returns what sends questions to the control planes, by name.
func (f *federation) asks() map[string]sim.Ask {
	all := map[string]sim.Ask{}
	for _, p := range f.planes() {
		all[p.name] = p.api.ask
	}
	return all
}

// ask is a sim.Ask.
func (c *client) ask(ctx context.Context, path string) (int, []byte, error) {
	a, err := c.do(ctx, http.MethodGet, path, nil)
	return a.Status, a.Body, err
}
