package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// step writes one policy of the guide and says what must come of it.
type step struct {
	title   string
	file    string
	on      string   // the plane it is written on
	role    string   // that it must get
	reaches []string // the planes that must have it; no other may
	want    []want   // after this step; the first that fits a proxy and a destination counts
}

// want is a request timeout that must be in force. Empty proxy or destination: any.
type want struct {
	proxy, destination string
	timeout, policy    string // "": none
}

// nobody is the part of the table about which nothing was said yet.
var nobody = want{}

// guide is the producer/consumer guide of the product documentation, and a fourth step for the last place in the order.
var guide = []step{{
	title:   "Allow all traffic to the services of kuma-demo",
	file:    "1-traffic-permission.yaml",
	on:      "east",
	role:    resource.RoleWorkloadOwner,
	reaches: []string{"global", "east"},
	want:    []want{nobody},
}, {
	title:   "The owner of demo-app gives all its clients a timeout: a producer policy",
	file:    "2-producer-timeout.yaml",
	on:      "east",
	role:    resource.RoleProducer,
	reaches: []string{"global", "east", "west"},
	want:    []want{producerWant, nobody},
}, {
	title:   "One client wants to wait longer: a consumer policy in its namespace",
	file:    "3-consumer-timeout.yaml",
	on:      "east",
	role:    resource.RoleConsumer,
	reaches: []string{"global", "east"},
	want:    []want{consumerWant, producerWant, nobody},
}, {
	title:   "A default for everything else: a policy on the global control plane, last in the order",
	file:    "4-global-timeout.yaml",
	on:      "global",
	role:    resource.RoleSystem,
	reaches: []string{"global", "east", "west"},
	want:    []want{consumerWant, producerWant, {timeout: "20s", policy: "global-timeout"}},
}}

var (
	producerWant = want{destination: "demo-app", timeout: "1s", policy: "producer-timeout.kuma-demo"}
	consumerWant = want{proxy: "east/consumer.first-consumer", destination: "demo-app", timeout: "3s", policy: "consumer-timeout.first-consumer"}
)

func (c *cli) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Play the producer/consumer guide on one global and two zones, check it, and clean up",
		Long: "Start a global control plane and the zones east and west as processes in a temporary folder, play the guide\n" +
			"on producer and consumer policies, and show after each step where the policy went, by which rule, and what is in\n" +
			"force on every proxy. Exit code 1 if an expectation of the guide does not hold. Nothing is left behind.",
		Example: "  meridian demo",
		Args:    cobra.NoArgs,
		RunE:    c.run(func(ctx context.Context, _ []string) error { return c.demo(ctx) }),
	}
}

func (c *cli) demo(ctx context.Context) error {
	begin := time.Now()
	return withFederation(ctx, "", demoZones, func(f *federation) error { return c.playGuide(ctx, f, begin) })
}

func (c *cli) playGuide(ctx context.Context, f *federation, begin time.Time) error {
	fmt.Fprintf(c.out, "One global and two zones, up and in touch after %s\n\n", ms(time.Since(begin)))
	f.printAddresses(c.out)
	if err := f.setUp(ctx); err != nil {
		return err
	}
	fmt.Fprint(c.out, "\nZone east has the namespaces kuma-demo (demo-app, redis), first-consumer and second-consumer;\n"+
		"zone west has first-consumer. The Mesh is written on global, services and proxies in their zones.\n")

	if err := f.awaitServices(ctx); err != nil {
		return err
	}
	for i, s := range guide {
		fmt.Fprintf(c.out, "\n%d. %s\n\n", i+1, s.title)
		if err := f.play(ctx, s, c.out); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	// What must not arrive is looked for once more now that later writes have: it was not merely slow.
	for i, s := range guide {
		r, err := s.policy()
		if err == nil {
			err = f.checkReach(ctx, s, r)
		}
		if err != nil {
			return fmt.Errorf("step %d, at the end: %w", i+1, err)
		}
	}
	fmt.Fprintf(c.out, "\nEvery expectation held. The guide took %s.\n", time.Since(begin).Round(time.Millisecond))
	return nil
}

func (f *federation) printAddresses(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range f.planes() {
		line := fmt.Sprintf("   %s\t%s\tpid %d", p.name, p.URL(), p.Pid())
		if p.KDS() != "" {
			line += "\tzones connect to " + p.KDS()
		}
		fmt.Fprintln(w, line)
	}
	w.Flush()
}

// awaitServices returns when west knows the services of east, without which it has no destination to show.
func (f *federation) awaitServices(ctx context.Context) error {
	for _, name := range []string{"demo-app", "redis"} {
		service := resource.Resource{
			Key: resource.Key{Kind: "MeshService", Mesh: resource.DefaultMesh, Name: name},
			Labels: map[string]string{
				resource.LabelZone: "east", resource.LabelNamespace: "kuma-demo", resource.LabelDisplayName: name,
			},
		}
		if err := f.plane("west").await(ctx, f.plane("west").key(service)); err != nil {
			return err
		}
	}
	return nil
}

// policy returns the policy of the step with the labels that say who it is on every plane.
func (s step) policy() (resource.Resource, error) {
	data, err := demoFiles.ReadFile(path.Join("demo", s.file))
	if err != nil {
		return resource.Resource{}, err
	}
	docs, err := policy.Schemas().Read(s.file, data, resource.ReadOptions{})
	if err != nil {
		return resource.Resource{}, err
	}
	r := docs[0].Resource
	d, _ := resource.LookupKind(r.Kind)
	var p resource.Plane
	if s.on != "global" {
		p = resource.Plane{Zone: s.on, Federated: true}
	}
	r.Labels = resource.ComputeLabels(r, d, p, "")
	return r, nil
}

// play writes the policy of the step, shows what came of it, and returns an error for every expectation that failed.
func (f *federation) play(ctx context.Context, s step, out io.Writer) error {
	r, err := s.policy()
	if err != nil {
		return err
	}
	// Whoever must get it is asked before it is written, so that the answer comes the moment it arrives.
	begin := time.Now()
	var wg sync.WaitGroup
	arrivals := make([]time.Duration, len(f.zones))
	errs := make([]error, len(f.zones))
	for i, zone := range f.zones {
		if !slices.Contains(s.reaches, zone.name) {
			continue
		}
		wg.Go(func() {
			if errs[i] = zone.await(ctx, zone.key(r)); errs[i] == nil {
				_, _, errs[i] = zone.api.inForce(ctx, r.Mesh, "consumer.first-consumer", policy.Filter{})
				arrivals[i] = time.Since(begin)
			}
		})
	}
	results, err := f.plane(s.on).applyFile(ctx, s.file)
	answered := time.Since(begin)
	wg.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	if slices.Contains(s.reaches, "global") {
		if err := f.global.await(ctx, f.global.key(r)); err != nil {
			return err
		}
	}

	fmt.Fprintf(out, "   $ meridian --address %s apply -f %s\n", f.plane(s.on).URL(), s.file)
	fmt.Fprintf(out, "   %s %s: role %s\n\n", results[0].name(), results[0].Action, results[0].Role)
	if results[0].Role != s.role {
		return fmt.Errorf("role of %s: got %q, want %q", results[0].name(), results[0].Role, s.role)
	}
	if err := f.printReach(ctx, s, r, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n   On disk and answered after %s", ms(answered))
	for i, zone := range f.zones {
		if arrivals[i] > 0 {
			fmt.Fprintf(out, "; in force in %s after %s", zone.name, ms(arrivals[i]))
		}
	}
	fmt.Fprint(out, ".\n\n")
	if err := f.printTimeouts(ctx, s, r.Mesh, out); err != nil {
		return err
	}
	return f.checkReach(ctx, s, r)
}

// printReach says to which planes the policy goes and by what rule. The rules must agree with the step.
func (f *federation) printReach(ctx context.Context, s step, r resource.Resource, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "   PLANE\tGETS IT\tRULE")
	global := scope.Peer{Zones: map[string]bool{}}
	for _, zone := range f.zones {
		global.Zones[zone.name] = true
	}
	for _, p := range f.planes() {
		gets, why := true, "it was written here"
		if p.name != s.on {
			from, to := f.global, scope.Peer{Zone: p.name, Features: scope.ParseFeatures(scope.Announced)}
			sender := global
			if p == f.global {
				from, to, sender = f.plane(s.on), scope.Peer{}, scope.Peer{Zone: s.on}
			}
			stored, err := from.stored(ctx, from.key(r)) // the rules judge what the sender has
			if err != nil {
				return err
			}
			var rule scope.RuleID
			gets, rule = scope.Decide(stored, sender, to)
			why = fmt.Sprintf("%s: %s", rule, rule.Explain())
		}
		if want := slices.Contains(s.reaches, p.name); gets != want {
			return fmt.Errorf("%s goes to %s: got %t (%s), want %t", r.Key, p.name, gets, why, want)
		}
		fmt.Fprintf(w, "   %s\t%s\t%s\n", p.name, yesNo(gets), why)
	}
	return w.Flush()
}

// stored returns a resource as the control plane has it.
func (p *plane) stored(ctx context.Context, key resource.Key) (resource.Resource, error) {
	d, _ := resource.LookupKind(key.Kind)
	doc, err := p.api.find(ctx, d, key.Mesh, key.Name)
	if err != nil {
		return resource.Resource{}, fmt.Errorf("%s: %w", p.name, err)
	}
	read, err := policy.Schemas().Read(p.name, doc.JSON, resource.ReadOptions{AsStored: true})
	if err != nil {
		return resource.Resource{}, err
	}
	return read[0].Resource, nil
}

// checkReach looks for the policy on every plane.
func (f *federation) checkReach(ctx context.Context, s step, r resource.Resource) error {
	var errs []error
	d, _ := resource.LookupKind(r.Kind)
	for _, p := range f.planes() {
		_, err := p.api.find(ctx, d, r.Mesh, p.key(r).Name)
		if err != nil && !isStatus(err, http.StatusNotFound) {
			return err
		}
		if got, want := err == nil, slices.Contains(s.reaches, p.name); got != want {
			errs = append(errs, fmt.Errorf("%s is on %s: got %s, want %s", r.Identity(), p.name, yesNo(got), yesNo(want)))
		}
	}
	return errors.Join(errs...)
}

// printTimeouts prints the request timeout in force from every proxy to every service, and checks it.
func (f *federation) printTimeouts(ctx context.Context, s step, mesh string, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "   PROXY\tTO\tREQUEST TIMEOUT\tFROM POLICY\tROLE\tWRITTEN IN")
	var errs []error
	checked := 0
	dataplanes, _ := resource.LookupKind("Dataplane")
	for _, zone := range f.zones {
		proxies, err := zone.api.list(ctx, collection(dataplanes, mesh))
		if err != nil {
			return fmt.Errorf("%s: %w", zone.name, err)
		}
		for _, proxy := range proxies {
			name := zone.name + "/" + resource.StorageName(proxy.Display(), proxy.Namespace())
			in, _, err := zone.api.inForce(ctx, mesh, proxy.Name, policy.Filter{Kind: "MeshTimeout"})
			if err != nil {
				return fmt.Errorf("%s: %w", zone.name, err)
			}
			for _, to := range in.Destinations {
				if to.Kind != "MeshService" || to.Section != "" {
					continue
				}
				checked++
				timeout, from := requestTimeout(to)
				by := ""
				if timeout == "" {
					fmt.Fprintf(w, "   %s\t%s\t-\t-\t-\t-\n", name, to.Name)
				} else {
					by = resource.StorageName(from.Name, from.Namespace)
					fmt.Fprintf(w, "   %s\t%s\t%s\t%s\t%s\t%s\n", name, to.Name, timeout, by, from.Role, cmp.Or(from.Zone, "global"))
				}
				if want := s.wantOf(name, to.Name); timeout != want.timeout || by != want.policy {
					errs = append(errs, fmt.Errorf("request timeout from %s to %s: got %q of policy %q, want %q of policy %q",
						name, to.Name, timeout, by, want.timeout, want.policy))
				}
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if want := 5 * 2; checked != want { // 4 proxies in east and 1 in west, 2 services
		errs = append(errs, fmt.Errorf("pairs of proxy and service: got %d, want %d", checked, want))
	}
	return errors.Join(errs...)
}

func (s step) wantOf(proxy, destination string) want {
	i := slices.IndexFunc(s.want, func(w want) bool {
		return (w.proxy == "" || w.proxy == proxy) && (w.destination == "" || w.destination == destination)
	})
	return s.want[i]
}

// requestTimeout returns the request timeout in force towards a service, "" if no policy sets one, and where it is from.
func requestTimeout(to policy.EffectiveTo) (string, policy.Origin) {
	for _, a := range to.Rules {
		for _, f := range a.Fields {
			if f.Path == "http.requestTimeout" {
				return text(f.Value), f.Origin
			}
		}
	}
	return "", policy.Origin{}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ms prints a short time the way people compare them: 3.2 ms.
func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
