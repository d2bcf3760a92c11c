package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) zonesCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "zones",
		Short: "Show the zones of a global control plane; on a zone, its own link to the global",
		Example: "  meridian zones\n" +
			"  meridian --address http://east:5681 zones\n" +
			"  meridian zones drain east",
		Args: knownCommand,
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	cmd.AddCommand(c.zoneEnableCommand(), c.zoneDisableCommand(), c.zoneDrainCommand(), c.zoneDeleteCommand())
	cmd.RunE = c.run(func(ctx context.Context, _ []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		var index struct{ Mode, Zone string }
		if _, err := api.get(ctx, "/", &index); err != nil {
			return err
		}
		if index.Mode != "zone" {
			return c.printZones(ctx, api, output.value)
		}
		var status linkStatus
		switch _, err := api.get(ctx, "/status/global", &status); {
		case isStatus(err, http.StatusNotFound):
			return fmt.Errorf("zone %s runs without a global control plane", index.Zone)
		case err != nil:
			return err
		}
		status.Zone = index.Zone
		if output.value != "table" {
			return c.print(output.value, status)
		}
		return c.printLink(status)
	})
	return cmd
}

// linkStatus is the state of a zone's connection to its global control plane.
type linkStatus struct {
	Zone         string    `json:"zone"`
	Address      string    `json:"address"`
	Connected    bool      `json:"connected"`
	Since        time.Time `json:"since"`
	LastReceived time.Time `json:"lastReceived,omitzero"` // zero: never
	LastError    string    `json:"lastError,omitempty"`
}

func (c *cli) printLink(s linkStatus) error {
	now := time.Now()
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ZONE\tGLOBAL\tSTATUS\tSINCE\tLAST HEARD")
	status := "Disconnected"
	if s.Connected {
		status = "Connected"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Zone, s.Address, status, age(s.Since, now), age(s.LastReceived, now))
	if err := w.Flush(); err != nil || s.Connected {
		return err
	}
	fmt.Fprintf(c.err, "warning: zone %s has been without its global control plane for %s: what was written elsewhere since is not here (%s)\n",
		s.Zone, age(s.Since, now), cmp.Or(s.LastError, "no error yet"))
	return nil
}

// zoneOverview is one item of /zones/_overview: as much of it as a person asks for first.
type zoneOverview struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Zone   struct {
		Enabled *bool `json:"enabled"` // nil: enabled
	} `json:"zone"`
	ZoneInsight struct {
		Subscriptions []struct {
			ConnectTime    time.Time `json:"connectTime"`
			DisconnectTime time.Time `json:"disconnectTime"`
			Version        struct {
				KumaCp struct {
					Version string `json:"version"`
				} `json:"kumaCp"`
			} `json:"version"`
		} `json:"subscriptions"`
	} `json:"zoneInsight"`
}

// status returns Online or Offline, since when (zero: it never was here), and the version it announced last.
func (z zoneOverview) status() (status string, since time.Time, version string) {
	status = "Offline"
	for _, s := range z.ZoneInsight.Subscriptions {
		version = s.Version.KumaCp.Version
		if s.DisconnectTime.IsZero() {
			return "Online", s.ConnectTime, version
		}
		since = s.DisconnectTime
	}
	return status, since, version
}

// stalled returns the zones that are connected and make no progress, and since when. An overview does not say; a global of
// Kuma says nothing at all.
func (c *client) stalled(ctx context.Context) (map[string]time.Time, error) {
	var answer struct{ Peers []peerStatus }
	if _, err := c.get(ctx, "/status/sync?brief=true", &answer); isStatus(err, http.StatusNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	since := map[string]time.Time{}
	for _, p := range answer.Peers {
		if p.State == "stalled" {
			since[p.Zone] = p.Since
		}
	}
	return since, nil
}

func (c *cli) printZones(ctx context.Context, api *client, output string) error {
	docs, err := api.list(ctx, "/zones/_overview")
	if err != nil {
		return err
	}
	if output != "table" {
		return c.print(output, docs)
	}
	stalled, err := api.stalled(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATUS\tSINCE\tENABLED\tVERSION")
	for _, doc := range docs {
		var z zoneOverview
		if err := json.Unmarshal(doc.JSON, &z); err != nil {
			return err
		}
		status, since, version := z.status()
		if at, is := stalled[z.Name]; is && status == "Online" {
			status, since = "Stalled", at
		}
		enabled := z.Zone.Enabled == nil || *z.Zone.Enabled
		part := strconv.FormatBool(enabled)
		if !enabled && z.Labels[resource.LabelZoneState] == resource.ZoneDraining {
			part = resource.ZoneDraining
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", z.Name, status, age(since, now), part, dash(version))
	}
	return w.Flush()
}
