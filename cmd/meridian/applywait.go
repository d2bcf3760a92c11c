package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
)

const (
	defaultWait = 30 * time.Second
	longestPoll = 30 * time.Second // of one request; under what a client waits for an answer
	redrawEvery = time.Second      // of the progress on a terminal
)

// waitOptions say for whom apply waits.
type waitOptions struct {
	zones   string // "": nobody, allZones, or names with commas between
	timeout time.Duration
}

const allZones = "*"

// waitFlags adds --wait and --timeout.
func waitFlags(flags *pflag.FlagSet) *waitOptions {
	o := &waitOptions{}
	flags.StringVar(&o.zones, "wait", "", "return when every zone in scope, or these (--wait=east,west), has applied or rejected what was written")
	flags.Lookup("wait").NoOptDefVal = allZones
	flags.DurationVar(&o.timeout, "timeout", defaultWait, "longest time to wait: exit code 3")
	return o
}

func (o waitOptions) check(dryRun, timeoutGiven bool) error {
	switch {
	case o.zones == "" && timeoutGiven:
		return usage("--timeout is for --wait")
	case o.zones != "" && dryRun:
		return usage("--wait excludes --dry-run: nothing is written")
	case o.timeout <= 0:
		return usage("--timeout %s: want more than 0, such as 30s", o.timeout)
	}
	return nil
}

// query returns the parameters of a request that waits.
func (o waitOptions) query(wait time.Duration) string {
	q := url.Values{"wait": {wait.Round(time.Millisecond).String()}}
	if o.zones != allZones {
		q.Set("zones", o.zones)
	}
	return q.Encode()
}

// fates asks what has become of resources, and waits for it for as long as wait.
func (c *client) fates(ctx context.Context, kris []string, o waitOptions, wait time.Duration) ([]fate, error) {
	var answer struct{ Resources []fate }
	body := map[string][]string{"resources": append([]string{}, kris...)}
	if err := c.post(ctx, "/status/sync/of?"+o.query(wait), body, &answer); err != nil {
		return nil, err
	}
	if len(answer.Resources) != len(kris) {
		return nil, fmt.Errorf("answer of POST %s/status/sync/of: %d resources, want %d", c.base, len(answer.Resources), len(kris))
	}
	return answer.Resources, nil
}

// canWait fails if the control plane knows nothing of the sync, or not the zones: before anything is written.
func (c *client) canWait(ctx context.Context, o waitOptions) error {
	_, err := c.fates(ctx, nil, o, 0)
	if isStatus(err, http.StatusNotFound) {
		return fmt.Errorf("--wait: %w", c.standsAlone(ctx, err))
	}
	return err
}

// awaitSync waits until all that results name is settled, tells what came to nothing, and returns the fates by KRI.
func (c *cli) awaitSync(ctx context.Context, api *client, results []result, o waitOptions) (map[string]fate, error) {
	begun := time.Now()
	names := map[string]string{}
	var open []string
	for _, r := range results {
		if r.Error == nil && r.KRI != "" {
			names[r.KRI] = r.name()
			open = append(open, r.KRI)
		}
	}
	slices.Sort(open)
	open = slices.Compact(open)
	total, fates := len(open), map[string]fate{}
	progress := newProgress(c.err)
	defer progress.clear()
	for len(open) > 0 {
		left := o.timeout - time.Since(begun)
		wait := min(max(left, 0), longestPoll)
		if progress.shown {
			wait = min(wait, redrawEvery)
		}
		got, err := api.fates(ctx, open, o, wait)
		if err != nil {
			return nil, err
		}
		open = open[:0]
		for _, f := range got {
			fates[f.KRI] = f
			if !f.Settled {
				open = append(open, f.KRI)
			}
		}
		if left <= 0 {
			break
		}
		if len(open) > 0 {
			progress.show(fmt.Sprintf("%d of %s to go, waiting for %s", len(open), plural(total, "resource", "resources"), waitedFor(fates)))
		}
	}
	progress.clear()
	rejected := 0
	for _, kri := range slices.Sorted(maps.Keys(fates)) {
		bad := false
		for _, v := range fates[kri].Peers {
			if v.refused() {
				bad = true
				fmt.Fprintf(c.err, "%s: rejected by %s: %s: %s\n", names[kri], planeName(v.Zone), v.Code, v.Reason)
			}
		}
		if bad {
			rejected++
		}
	}
	for i, kri := range open {
		if i == maxOpenShown {
			fmt.Fprintf(c.err, "and %s more\n", plural(len(open)-i, "resource", "resources"))
			break
		}
		fmt.Fprintf(c.err, "%s: pending in %s\n", names[kri], waitedFor(map[string]fate{kri: fates[kri]}))
	}
	switch {
	case rejected > 0:
		return fates, fmt.Errorf("%s rejected", plural(rejected, "resource was", "resources were"))
	case len(open) > 0:
		return fates, config.TimedOut(fmt.Errorf("%s not settled after %s", plural(len(open), "resource is", "resources are"), o.timeout))
	}
	return fates, nil
}

// maxOpenShown is how many resources that are still pending are named.
const maxOpenShown = 20

// waitedFor names the planes where something is pending, and why.
func waitedFor(fates map[string]fate) string {
	now := time.Now()
	why := map[string]string{}
	for _, f := range fates {
		for _, v := range f.Peers {
			if v.Outcome == "pending" {
				why[planeName(v.Zone)] = v.waiting(now)
			}
		}
	}
	var list []string
	for _, zone := range slices.Sorted(maps.Keys(why)) {
		list = append(list, fmt.Sprintf("%s (%s)", zone, why[zone]))
	}
	if len(list) == 0 { // a zone that cannot ask its global any more
		return "other zones (global does not answer)"
	}
	return strings.Join(list, ", ")
}

// appliedIn says in words where everything has been applied.
func appliedIn(fates map[string]fate, took time.Duration) string {
	zones := map[string]bool{}
	for _, f := range fates {
		for _, v := range f.Peers {
			if v.Outcome == "applied" {
				zones[planeName(v.Zone)] = true
			}
		}
	}
	if len(zones) == 0 {
		return "no zone is in scope"
	}
	return fmt.Sprintf("applied in %s after %s", strings.Join(slices.Sorted(maps.Keys(zones)), ", "), took.Round(time.Millisecond))
}

// progress is one line that is written anew again and again, on a terminal only.
type progress struct {
	w     io.Writer
	shown bool // it is a terminal
	width int
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, shown: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) show(line string) {
	if p.shown {
		p.clear()
		p.width = len([]rune(line))
		fmt.Fprint(p.w, line)
	}
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
		p.width = 0
	}
}
