package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func (c *cli) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show what is in force and why",
		Args:  knownCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.inspectDataplaneCommand(), c.inspectPolicyCommand())
	return cmd
}

const fromUsage = "traffic that the proxy takes: an inbound's name or port, tags of a client as key=value, or both with commas between"

const listenerUsage = "of a builtin gateway, one listener of the MeshGateway that it serves: its port, its host, or HOST:PORT"

func (c *cli) inspectDataplaneCommand() *cobra.Command {
	var f policy.Filter
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "dataplane NAME",
		Short: "Show what is in force on one proxy: per destination and field, the value and the policy it is from",
		Long: "Show what is in force on one proxy: per destination and field, the value, and the policy it is from with its\n" +
			"role and the zone it was written in. -o json adds the values that lost, and why.",
		Example: "  meridian inspect dataplane consumer.first-consumer\n" +
			"  meridian inspect dataplane consumer.first-consumer --type meshtimeout --to demo-app",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&f.Kind, "type", "", "only policies of this kind")
	cmd.Flags().StringVar(&f.To, "to", "", "only this destination: its name, name.namespace or KRI")
	cmd.Flags().StringVar(&f.From, "from", "", fromUsage)
	cmd.Flags().StringVar(&f.Listener, "listener", "", listenerUsage)
	cmd.Flags().VarP(output, "output", "o", "what to print")
	asked := newAskFlags(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if f.Kind != "" {
			d, err := kindNamed(f.Kind)
			if err != nil {
				return err
			}
			f.Kind = d.Kind
		}
		return c.ask(ctx, asked, func(api *client) error {
			in, header, err := api.inForce(ctx, c.mesh, args[0], f)
			if err != nil {
				return err
			}
			c.warnOld(header)
			if output.value != "table" {
				return c.print(output.value, in)
			}
			return c.printInForce(in)
		})
	})
	return cmd
}

// inForce asks what is in force on one data plane proxy.
func (c *client) inForce(ctx context.Context, mesh, name string, f policy.Filter) (in resolver.EffectiveAnswer, _ http.Header, _ error) {
	d, _ := resource.LookupKind("Dataplane")
	path, err := item(d, mesh, name)
	if err != nil {
		return in, nil, err
	}
	query := url.Values{"type": {f.Kind}, "to": {f.To}, "from": {f.From}}
	if f.Listener != "" {
		query.Set("listener", f.Listener)
	}
	header, err := c.get(ctx, path+"/_effective?"+query.Encode(), &in)
	if isStatus(err, http.StatusBadRequest) && f.From != "" {
		if none := c.noInbound(ctx, path, f.From); none != nil {
			err = none
		}
	}
	if err != nil {
		err = fmt.Errorf("dataplane %q: %w", name, c.nearestMesh(ctx, mesh, err))
	}
	return in, header, err
}

// noInbound returns the error about a --from that none of the proxy's inbounds goes by; nil if it is not that.
func (c *client) noInbound(ctx context.Context, path, from string) error {
	var all resolver.EffectiveAnswer
	if _, err := c.get(ctx, path+"/_effective", &all); err != nil {
		return err
	}
	var known []string
	for _, in := range all.Inbounds {
		known = append(known, cmp.Or(in.Name, strconv.FormatUint(uint64(in.Port), 10)))
	}
	for word := range strings.SplitSeq(from, ",") {
		number, _ := strconv.ParseUint(word, 10, 32)
		there := slices.ContainsFunc(all.Inbounds, func(in policy.EffectiveFrom) bool {
			return in.Name == word || uint64(in.Port) == number
		})
		if word != "" && !strings.Contains(word, "=") && !there {
			return fmt.Errorf("it has no inbound %q%s", word, nearest(word, known))
		}
	}
	return nil
}

func (c *cli) printInForce(in resolver.EffectiveAnswer) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DESTINATION\tFIELD\tVALUE\tPOLICY\tROLE\tZONE")
	rows := func(where string, all []policy.Applied) {
		if len(all) == 0 {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\n", where)
		}
		for _, a := range all {
			for _, f := range a.Fields {
				fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s\n", where+policy.Clients(a.Matchers), commandName(a.Type), f.Path, text(f.Value),
					resource.StorageName(f.Origin.Name, f.Origin.Namespace), f.Origin.Role, cmp.Or(f.Origin.Zone, "global"))
			}
		}
	}
	for _, to := range in.Destinations {
		rows(destination(to), to.Rules)
	}
	for _, l := range in.Listeners {
		for _, to := range l.Destinations {
			rows("listener "+l.String()+" to "+destination(to), to.Rules)
		}
	}
	for _, from := range in.Inbounds {
		rows(strings.TrimSpace("inbound "+from.Name)+" :"+strconv.FormatUint(uint64(from.Port), 10), from.Rules)
	}
	if len(in.Proxy) > 0 {
		rows("the proxy", in.Proxy)
	}
	return w.Flush()
}

// destination returns "demo-app.kuma-demo:http (east)", or what the mesh as a whole is called in a table.
func destination(to policy.EffectiveTo) string {
	if to.Kind == "Mesh" {
		return "anything else"
	}
	label := resource.StorageName(to.Name, to.Namespace)
	if to.Section != "" {
		label += ":" + to.Section
	}
	return inZone(label, to.Zone)
}

// text returns a value for a table: a string as it is, anything else as JSON.
func text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}
