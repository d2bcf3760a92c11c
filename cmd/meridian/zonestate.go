package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/resource"
)

// drainPoll is how often a drain that is waited for is asked about: a person waits, and zones may be away for long.
const drainPoll = 500 * time.Millisecond

// zoneState is how far the other zones have let go of a zone; see kds.Drain.
type zoneState struct {
	Zone      string         `json:"zone"`
	State     string         `json:"state"`
	Connected bool           `json:"connected"`
	Withdrawn map[string]int `json:"withdrawn"`
	Waiting   []struct {
		Zone  string    `json:"zone"`
		State string    `json:"state"`
		Since time.Time `json:"since"`
		Kinds []string  `json:"kinds"`
	} `json:"waiting"`
	Safe bool `json:"safe"`
}

// waiting names the zones that may still hold something.
func (z zoneState) waiting(now time.Time) string {
	var list []string
	for _, w := range z.Waiting {
		why := fmt.Sprintf("%s for %s", w.State, age(w.Since, now))
		if w.State == "online" && len(w.Kinds) > 0 { // it could let go, and does not
			why = "holds " + strings.Join(w.Kinds, ", ")
		}
		list = append(list, fmt.Sprintf("%s (%s)", w.Zone, why))
	}
	return strings.Join(list, ", ")
}

// counted is "3 MeshService, 1 ZoneIngress", kinds ascending; "nothing" if there is nothing.
func counted(counts map[string]int) string {
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

func (c *cli) zoneEnableCommand() *cobra.Command {
	return c.zoneCommand("enable", "Let a zone take part again: what it shares goes to the other zones", func(_ context.Context, _ *client, z zoneState) error {
		fmt.Fprintf(c.out, "zone %s is enabled: what it shares goes to the other zones\n", z.Zone)
		return nil
	})
}

func (c *cli) zoneDisableCommand() *cobra.Command {
	return c.zoneCommand("disable", "Withdraw what a zone shares from the other zones; it stays connected", func(_ context.Context, _ *client, z zoneState) error {
		fmt.Fprintf(c.out, "zone %s is disabled: %s withdrawn from the other zones\n", z.Zone, counted(z.Withdrawn))
		return nil
	})
}

func (c *cli) zoneDrainCommand() *cobra.Command {
	timeout := time.Minute
	cmd := c.zoneCommand("drain", "Withdraw what a zone shares, and say when it is safe to delete it", func(ctx context.Context, api *client, z zoneState) error {
		fmt.Fprintf(c.err, "zone %s is draining: %s withdrawn from the other zones\n", z.Zone, counted(z.Withdrawn))
		said := ""
		for end := time.Now().Add(timeout); len(z.Waiting) > 0; {
			now := time.Now()
			names := z.waiting(now)
			if !now.Before(end) {
				return fmt.Errorf("zone %s is not drained after %s: %s may still hold what it shared; ask again when they are back, or delete it all the same", z.Zone, timeout, names)
			}
			if key := fmt.Sprint(len(z.Waiting)); key != said {
				fmt.Fprintf(c.err, "waiting for %s\n", names)
				said = key
			}
			timer := time.NewTimer(min(drainPoll, time.Until(end)))
			select {
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			case <-timer.C:
			}
			path, err := zonePath(z.Zone, "_drain")
			if err != nil {
				return err
			}
			z = zoneState{}
			if _, err := api.get(ctx, path, &z); err != nil {
				return err
			}
		}
		if z.State != "drained" {
			return fmt.Errorf("zone %s is %s: somebody else has switched it", z.Zone, z.State)
		}
		first := ""
		if z.Connected {
			first = "stop its control plane, then "
		}
		fmt.Fprintf(c.out, "zone %s is drained, nothing of it is in another zone: %smeridian zones delete %s\n", z.Zone, first, z.Zone)
		return nil
	})
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the other zones")
	return cmd
}

// zoneCommand is a command that switches a zone and says what came of it.
func (c *cli) zoneCommand(action, short string, say func(context.Context, *client, zoneState) error) *cobra.Command {
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{Use: action + " NAME", Short: short, Args: cobra.ExactArgs(1)}
	cmd.Flags().VarP(output, "output", "o", "what to print; json and yaml say how it is now and wait for nothing")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		path, err := zonePath(args[0], "_"+action)
		if err != nil {
			return err
		}
		answer, err := api.zone(ctx, http.MethodPost, path, []byte("{}"))
		if err != nil {
			return fmt.Errorf("zone %s: %w", args[0], err)
		}
		var z zoneState
		if err := json.Unmarshal(answer.Body, &z); err != nil {
			return fmt.Errorf("answer of %s: %w", path, err)
		}
		if output.value != "text" {
			return c.print(output.value, z)
		}
		return say(ctx, api, z)
	})
	return cmd
}

func (c *cli) zoneDeleteCommand() *cobra.Command {
	output := newChoice("text", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a zone that is not connected, and everything that it has synced, everywhere",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		path, err := zonePath(args[0], "")
		if err != nil {
			return err
		}
		answer, err := api.zone(ctx, http.MethodDelete, path, nil)
		if err != nil {
			return fmt.Errorf("zone %s: %w", args[0], err)
		}
		var gone struct {
			Deleted map[string]int `json:"deleted"`
		}
		if err := json.Unmarshal(answer.Body, &gone); err != nil {
			return fmt.Errorf("answer of %s: %w", path, err)
		}
		if output.value != "text" {
			return c.print(output.value, gone)
		}
		delete(gone.Deleted, "Zone")
		fmt.Fprintf(c.out, "zone %s deleted, and with it %s\n", args[0], counted(gone.Deleted))
		return nil
	})
	return cmd
}

// zone sends a request about a zone, which global alone can do something about.
func (c *client) zone(ctx context.Context, method, path string, body []byte) (answer, error) {
	a, err := c.do(ctx, method, path, body)
	if err == nil {
		err = a.err()
	}
	if isStatus(err, http.StatusNotFound) {
		var index struct{ Mode, Zone string }
		if _, indexErr := c.get(ctx, "/", &index); indexErr == nil && index.Mode == "zone" {
			return a, fmt.Errorf("%s is the control plane of zone %s: ask the global one (--address)", c.base, index.Zone)
		}
	}
	return a, err
}

// zonePath returns the path of a Zone, or of something below it.
func zonePath(name, below string) (string, error) {
	if !resource.ValidZoneName(name) {
		return "", usage("%q is no name of a zone: a DNS name, a-z, 0-9, - and dots, at most 63", name)
	}
	path := "/zones/" + url.PathEscape(name)
	if below != "" {
		path += "/" + below
	}
	return path, nil
}
