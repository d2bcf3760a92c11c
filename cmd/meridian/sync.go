package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) syncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Show and repair the sync between control planes",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.syncExplainCommand(), c.syncStatusCommand(), c.syncTraceCommand(), c.syncRetryCommand(), c.syncConfirmCommand())
	return cmd
}

// resourceUsage is how these commands take one resource.
const resourceUsage = "KRI | TYPE/NAME | TYPE NAME"

// named returns the kind and the name in the arguments of a command that takes one resource.
func named(args []string) (resource.Descriptor, string, error) {
	switch kind, name, both := strings.Cut(args[0], "/"); {
	case len(args) == 2:
		d, err := kindNamed(args[0])
		return d, args[1], err
	case strings.HasPrefix(args[0], "kri_"):
		id, _, err := resource.ParseKRI(args[0])
		if err != nil {
			return resource.Descriptor{}, "", usage("%v", err)
		}
		d, _ := resource.LookupKind(id.Kind)
		return d, args[0], nil
	case both && name != "":
		d, err := kindNamed(kind)
		return d, name, err
	}
	return resource.Descriptor{}, "", usage("%q: want a KRI, or the type and the name: meshtimeout/slow", args[0])
}

// askSync reads a view of the sync of one resource into v.
func (c *client) askSync(ctx context.Context, mesh string, args []string, view string, v any) (resource.Descriptor, error) {
	d, name, err := named(args)
	if err != nil {
		return d, err
	}
	path, err := item(d, mesh, name)
	if err != nil {
		return d, err
	}
	if _, err := c.get(ctx, path+"/"+view, v); err != nil {
		return d, fmt.Errorf("%s %q: %w", d.Singular, name, c.nearestMesh(ctx, mesh, c.standsAlone(ctx, err)))
	}
	return d, nil
}

// standsAlone says it in words if err comes from asking a zone without global about the sync.
func (c *client) standsAlone(ctx context.Context, err error) error {
	var index struct{ Mode, Zone string }
	if !isStatus(err, http.StatusNotFound) {
		return err
	}
	if _, statusErr := c.get(ctx, "/status/sync", &struct{}{}); !isStatus(statusErr, http.StatusNotFound) {
		return err
	}
	if _, indexErr := c.get(ctx, "/", &index); indexErr != nil || index.Mode != "zone" {
		return err
	}
	return fmt.Errorf("zone %s runs without a global control plane, there is no sync", index.Zone)
}

// peerVerdict is what has become of a resource at one peer.
type peerVerdict struct {
	Zone       string            `json:"zone"` // "" is global
	Outcome    string            `json:"outcome"`
	Revision   resource.Revision `json:"revision,omitempty"`
	Since      time.Time         `json:"since,omitzero"`
	Code       string            `json:"code,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Rule       scope.RuleID      `json:"rule,omitempty"`
	State      string            `json:"state,omitempty"`
	StateSince time.Time         `json:"stateSince,omitzero"`
}

func (v peerVerdict) refused() bool { return v.Outcome == "rejected" || v.Outcome == "quarantined" }

// words returns the outcome as one word, what is behind it in brackets.
func (v peerVerdict) words() string {
	switch {
	case v.Outcome == "applied":
		return fmt.Sprintf("applied@%d", v.Revision)
	case v.Outcome == "out-of-scope":
		return fmt.Sprintf("out of scope(%s)", cmp.Or(v.Reason, string(v.Rule)))
	case v.refused():
		return fmt.Sprintf("%s(%s)", v.Outcome, v.Code)
	}
	return v.Outcome
}

// why returns the reason of an outcome that is not applied.
func (v peerVerdict) why(now time.Time) string {
	switch {
	case v.Outcome == "out-of-scope":
		return v.Rule.Explain()
	case v.refused():
		return v.Reason
	case v.Outcome == "pending":
		return v.waiting(now)
	}
	return ""
}

// waiting says why a verdict is pending.
func (v peerVerdict) waiting(now time.Time) string {
	switch v.State {
	case "online":
		return "on its way"
	case "unknown":
		return "not connected since the start of this control plane " + age(v.StateSince, now) + " ago"
	case "":
		return "on its way"
	}
	return fmt.Sprintf("%s for %s", v.State, age(v.StateSince, now))
}

// planeName returns the name of a control plane as people know it.
func planeName(zone string) string { return cmp.Or(zone, "global") }

// fate is what has become of one resource at each peer.
type fate struct {
	KRI      string            `json:"kri"`
	Revision resource.Revision `json:"revision"`
	Written  time.Time         `json:"written"`
	Settled  bool              `json:"settled"`
	Peers    []peerVerdict     `json:"peers"`
}

func (c *cli) syncExplainCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "explain " + resourceUsage,
		Short: "Say what has become of a resource in each zone; on a zone, on global",
		Long: "Say what has become of a resource in each zone, on a zone on global and beyond it: applied, with the revision\n" +
			"and since when; pending, and why; rejected or quarantined, with the code and the reason of the other side; or\n" +
			"out of scope, and by which rule.",
		Example: "  meridian sync explain meshtimeout/slow\n  meridian sync explain kri_mt_default_east_shop_slow_ -o json",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		var f fate
		d, err := api.askSync(ctx, c.mesh, args, "_sync", &f)
		if err != nil {
			return err
		}
		if output.value != "table" {
			return c.print(output.value, f)
		}
		return c.printFate(d, f)
	})
	return cmd
}

func (c *cli) printFate(d resource.Descriptor, f fate) error {
	now := time.Now()
	fmt.Fprintf(c.out, "%s %s, revision %d, stored here %s ago\n", d.Singular, f.KRI, f.Revision, age(f.Written, now))
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ZONE\tSYNC\tAGE\tWHY")
	for _, v := range f.Peers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", planeName(v.Zone), v.words(), age(v.Since, now), dash(v.why(now)))
	}
	return w.Flush()
}

func (c *cli) syncTraceCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "trace " + resourceUsage,
		Short: "Show the way of a resource through the control planes, hop by hop with times",
		Long: "Show the way of a resource through the control planes, hop by hop: where it was written, when it was sent to whom,\n" +
			"answered and applied. Times are by the clock of the control plane that is asked. Of each zone and type it remembers\n" +
			"its last 16 responses; of what is older the time is marked with <=: it was then, or before.",
		Example: "  meridian sync trace meshtimeout/slow",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		var t trace
		if _, err := api.askSync(ctx, c.mesh, args, "_trace", &t); err != nil {
			return err
		}
		if output.value != "table" {
			return c.print(output.value, t)
		}
		return c.printTrace(t)
	})
	return cmd
}

// trace is the way of a resource.
type trace struct {
	KRI  string `json:"kri"`
	Hops []hop  `json:"hops"`
}

type hop struct {
	Event    string            `json:"event"`
	Plane    string            `json:"plane"` // "" is global, as in peer
	Peer     string            `json:"peer,omitempty"`
	Revision resource.Revision `json:"revision,omitempty"`
	Time     time.Time         `json:"time,omitzero"`
	Latest   bool              `json:"latest,omitempty"` // it was then at the latest
	Code     string            `json:"code,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Rule     scope.RuleID      `json:"rule,omitempty"`
}

// detail says in words what a hop brought.
func (h hop) detail() string {
	switch h.Event {
	case "written", "acked", "applied":
		if h.Revision > 0 {
			return fmt.Sprintf("revision %d", h.Revision)
		}
	case "received":
		if h.Revision > 0 {
			return fmt.Sprintf("from %s, stored as revision %d", planeName(h.Peer), h.Revision)
		}
		return "from " + planeName(h.Peer)
	case "sent":
		return fmt.Sprintf("to %s, with all up to revision %d", planeName(h.Peer), h.Revision)
	case "rejected", "quarantined":
		return h.Code + ": " + h.Reason
	case "out-of-scope":
		return string(h.Rule) + ": " + h.Rule.Explain()
	}
	return ""
}

func (c *cli) printTrace(t trace) error {
	fmt.Fprintln(c.out, t.KRI)
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tAFTER\tPLANE\tEVENT\tDETAIL")
	var begun time.Time
	for _, h := range t.Hops {
		at, after := "-", "-"
		if !h.Time.IsZero() {
			if begun.IsZero() {
				begun = h.Time
			}
			at, after = h.Time.UTC().Format("2006-01-02T15:04:05.000Z"), took(h.Time.Sub(begun))
			if h.Latest {
				at = "<=" + at
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", at, after, planeName(h.Plane), h.Event, dash(h.detail()))
	}
	return w.Flush()
}

// took returns a duration to three figures or so.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// peerStatus is how the sync with one peer is.
type peerStatus struct {
	Zone    string       `json:"zone"` // "" is global
	State   string       `json:"state"`
	Since   time.Time    `json:"since"`
	Heard   time.Time    `json:"heard"`
	Version string       `json:"version"`
	Kinds   []kindStatus `json:"kinds"`
}

type kindStatus struct {
	Kind       string            `json:"kind"`
	Sent       bool              `json:"sent"`
	Offered    resource.Revision `json:"offered"`
	Acked      resource.Revision `json:"acked"`
	Applied    resource.Revision `json:"applied"`
	Lag        resource.Revision `json:"lag"`
	LagSeconds float64           `json:"lagSeconds"`
	Bytes      uint64            `json:"bytes"`
	Moved      bool              `json:"moved"`
	Rejected   int               `json:"rejected"`
	Held       *struct {
		Deletes int       `json:"deletes"`
		Of      int       `json:"of"`
		Since   time.Time `json:"since"`
	} `json:"held"`
}

// idle says whether there is nothing to see: no resource has travelled, and none is to.
func (k kindStatus) idle() bool {
	return !k.Moved && k.Lag == 0 && k.Rejected == 0 && k.Held == nil
}

func (c *cli) syncStatusCommand() *cobra.Command {
	var all bool
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "status [ZONE...]",
		Short: "Show how the sync with each zone is, type by type; on a zone, with global",
		Long: "Show how the sync with each zone is, and per type how far it has got: the revision that was offered, answered and\n" +
			"applied, how far that lags behind the latest change of the type, and deletes that are held back. Types of which\n" +
			"nothing has travelled since the start are left out; --all shows them.",
		Example: "  meridian sync status\n  meridian sync status east -o json",
	}
	cmd.Flags().BoolVar(&all, "all", false, "types of which nothing has travelled, too")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, zones []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		peers, raw, err := api.syncStatus(ctx, zones)
		if err != nil {
			return err
		}
		if output.value != "table" {
			return c.print(output.value, map[string]any{"peers": raw})
		}
		return c.printSyncStatus(peers, all)
	})
	return cmd
}

// syncStatus returns how the sync with the named zones is, or with all; raw is the same as it came.
func (c *client) syncStatus(ctx context.Context, zones []string) (peers []peerStatus, raw []json.RawMessage, err error) {
	var answer struct{ Peers []json.RawMessage }
	if _, err := c.get(ctx, "/status/sync", &answer); err != nil {
		return nil, nil, c.standsAlone(ctx, err)
	}
	var known []string
	for _, data := range answer.Peers {
		var p peerStatus
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, nil, fmt.Errorf("answer of GET %s/status/sync: %w", c.base, err)
		}
		known = append(known, planeName(p.Zone))
		if len(zones) == 0 || slices.Contains(zones, planeName(p.Zone)) {
			peers, raw = append(peers, p), append(raw, data)
		}
	}
	for _, zone := range zones {
		if !slices.Contains(known, zone) {
			return nil, nil, fmt.Errorf("zone %q not found%s", zone, nearest(zone, known))
		}
	}
	return peers, raw, nil
}

func (c *cli) printSyncStatus(peers []peerStatus, all bool) error {
	now := time.Now()
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ZONE\tSTATE\tSINCE\tHEARD\tVERSION")
	for _, p := range peers {
		state := strings.ToUpper(p.State[:1]) + p.State[1:]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", planeName(p.Zone), state, age(p.Since, now), age(p.Heard, now), dash(p.Version))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w = tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	rows := 0
	var held []string
	for _, p := range peers {
		for _, k := range p.Kinds {
			if k.Held != nil {
				held = append(held, heldLine(p, k, now))
			}
			if k.idle() && !all {
				continue
			}
			if rows++; rows == 1 {
				fmt.Fprintln(w, "\nZONE\tTYPE\tDIRECTION\tOFFERED\tACKED\tAPPLIED\tLAG\tBEHIND\tBYTES\tREJECTED")
			}
			direction, lag, behind := "from", "-", "-"
			if k.Sent {
				direction, lag, behind = "to", fmt.Sprint(k.Lag), took(time.Duration(k.LagSeconds*float64(time.Second)))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\n", planeName(p.Zone), k.Kind, direction, k.Offered, k.Acked, k.Applied,
				lag, behind, k.Bytes, k.Rejected)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(held) > 0 {
		fmt.Fprintf(c.out, "\n%s\n", strings.Join(held, "\n"))
	}
	return nil
}

// heldLine says what is held back, and which command carries it out.
func heldLine(p peerStatus, k kindStatus, now time.Time) string {
	name := commandName(k.Kind)
	if k.Sent { // the other side holds it
		return fmt.Sprintf("held: %s holds back %s of %s; if they are meant, ask it: meridian --address URL-OF-%s sync confirm %s",
			planeName(p.Zone), plural(k.Held.Deletes, "delete", "deletes"), k.Kind, strings.ToUpper(planeName(p.Zone)), name)
	}
	confirm := "meridian sync confirm " + name
	if p.Zone != "" {
		confirm += " --zone " + p.Zone
	}
	return fmt.Sprintf("held: a list from %s lacks %d of its %d %s, for %s; if they are to be deleted: %s",
		planeName(p.Zone), k.Held.Deletes, k.Held.Of, k.Kind, age(k.Held.Since, now), confirm)
}

func (c *cli) syncRetryCommand() *cobra.Command {
	var zone string
	cmd := &cobra.Command{
		Use:   "retry " + resourceUsage,
		Short: "Offer a zone again what it has rejected; on a zone, global",
		Long: "Offer a resource again, unchanged, to the zones that have rejected it: now, or when the zone is connected again.\n" +
			"What has become of it then, sync explain tells.",
		Example: "  meridian sync retry meshtimeout/slow --zone west",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().StringVar(&zone, "zone", "", "only this zone; without it every zone that has rejected it")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		var f fate
		d, err := api.askSync(ctx, c.mesh, args, "_sync", &f)
		if err != nil {
			return err
		}
		var known []string
		asked := 0
		for _, v := range f.Peers {
			known = append(known, planeName(v.Zone))
			if !v.refused() || zone != "" && zone != planeName(v.Zone) {
				continue
			}
			query := url.Values{"kri": {f.KRI}, "zone": {v.Zone}}
			if err := api.post(ctx, "/status/sync/retry?"+query.Encode(), nil, nil); err != nil {
				return fmt.Errorf("%s %s at %s: %w", d.Singular, f.KRI, planeName(v.Zone), err)
			}
			asked++
			fmt.Fprintf(c.out, "%s %s is offered to %s again; it was rejected for: %s: %s\n", d.Singular, f.KRI, planeName(v.Zone), v.Code, v.Reason)
		}
		switch {
		case zone != "" && !slices.Contains(known, zone):
			return fmt.Errorf("zone %q not found%s", zone, nearest(zone, known))
		case asked == 0 && zone != "":
			return fmt.Errorf("%s has not rejected %s %s", zone, d.Singular, f.KRI)
		case asked == 0:
			return fmt.Errorf("nobody has rejected %s %s", d.Singular, f.KRI)
		}
		return nil
	})
	return cmd
}

func (c *cli) syncConfirmCommand() *cobra.Command {
	var zone string
	cmd := &cobra.Command{
		Use:   "confirm TYPE",
		Short: "Carry out deletes that were held back because they were too many",
		Long: "Carry out the deletes of a type that a zone (on a zone: global) has asked for by a list that lacked too much, and\n" +
			"that are held back for it. sync status shows them.",
		Example: "  meridian sync confirm meshtimeout --zone west",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&zone, "zone", "", "the zone that asked; may be left out on a zone, or if there is one only")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		d, err := kindNamed(args[0])
		if err != nil {
			return err
		}
		api, err := c.client()
		if err != nil {
			return err
		}
		var asked []string
		if zone != "" {
			asked = []string{zone}
		}
		peers, _, err := api.syncStatus(ctx, asked)
		if err != nil {
			return err
		}
		var holds []string
		for _, p := range peers {
			if slices.ContainsFunc(p.Kinds, func(k kindStatus) bool { return k.Kind == d.Kind && !k.Sent && k.Held != nil }) {
				holds = append(holds, p.Zone)
			}
		}
		switch len(holds) {
		case 0:
			return fmt.Errorf("no deletes of %s are held here", d.Kind)
		case 1:
		default:
			return usage("deletes of %s from several zones are held: %s; say which with --zone", d.Kind, strings.Join(holds, ", "))
		}
		var answer struct{ Deleted int }
		query := url.Values{"kind": {d.Kind}, "zone": {holds[0]}}
		if err := api.post(ctx, "/status/sync/confirm?"+query.Encode(), nil, &answer); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s deleted, as %s has asked\n", plural(answer.Deleted, d.Singular, d.Plural), planeName(holds[0]))
		return nil
	})
	return cmd
}

// post sends body as JSON (nil: none) and reads the answer into v, unless v is nil.
func (c *client) post(ctx context.Context, path string, body, v any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	a, err := c.do(ctx, http.MethodPost, path, data)
	if err == nil {
		err = a.err()
	}
	if err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("answer of POST %s%s: %w", c.base, path, err)
	}
	return nil
}
