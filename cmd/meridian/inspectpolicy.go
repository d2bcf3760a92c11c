package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) inspectPolicyCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "policy KIND NAME",
		Short: "Show which proxies a policy configures",
		Long: "Show which proxies a policy configures: those that its role and zone let it reach, and that its targetRef selects.\n" +
			"A zone answers for its own proxies, global for all.",
		Example: "  meridian inspect policy meshtimeout producer-timeout\n" +
			"  meridian inspect policy mt producer-timeout -f mesh.yaml -f policies/",
		Args: cobra.ExactArgs(2),
	}
	cmd.Flags().VarP(output, "output", "o", "what to print")
	asked := newAskFlags(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		d, err := kindNamed(args[0])
		if err != nil {
			return err
		}
		if !d.TargetRef {
			return usage("%s is no policy that selects proxies by targetRef", d.Kind)
		}
		return c.ask(ctx, asked, func(api *client) error {
			in, err := api.configured(ctx, d, c.mesh, args[1])
			if err != nil {
				return err
			}
			if output.value != "table" {
				return c.print(output.value, in)
			}
			return c.printConfigured(in)
		})
	})
	return cmd
}

// configured is a policy and the proxies that it configures.
type configured struct {
	Policy  named   `json:"policy"`
	Proxies []named `json:"dataplanes"`
}

// named is a resource as people know it.
type named struct {
	Kind      string `json:"kind"`
	KRI       string `json:"kri"`
	Name      string `json:"name"` // the name that its author gave
	Namespace string `json:"namespace"`
	Zone      string `json:"zone"`
	Role      string `json:"role,omitempty"` // of a policy
}

func nameOf(r resource.Resource) named {
	id := r.Identity()
	n := named{Kind: r.Kind, KRI: id.KRI(""), Name: id.Name, Namespace: id.Namespace, Zone: id.Zone}
	if d, _ := resource.LookupKind(r.Kind); d.TargetRef {
		n.Role = r.Role()
	}
	return n
}

// configured asks which proxies a policy configures.
func (c *client) configured(ctx context.Context, d resource.Descriptor, mesh, name string) (configured, error) {
	doc, err := c.find(ctx, d, mesh, name)
	if err != nil {
		return configured{}, err
	}
	in := configured{Policy: nameOf(doc.Resource), Proxies: []named{}}
	path, err := item(d, doc.Mesh, doc.Name)
	if err != nil {
		return in, err
	}
	proxies, err := c.list(ctx, path+"/_resources/dataplanes")
	for _, proxy := range proxies {
		in.Proxies = append(in.Proxies, nameOf(proxy.Resource))
	}
	return in, err
}

func (c *cli) printConfigured(in configured) error {
	p := in.Policy
	fmt.Fprintf(c.out, "%s %s configures %s\n", commandName(p.Kind), by(p.Name, p.Namespace, p.Zone, p.Role), plural(len(in.Proxies), "proxy", "proxies"))
	if len(in.Proxies) == 0 {
		return nil
	}
	fmt.Fprintln(c.out)
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROXY\tNAMESPACE\tZONE")
	for _, dp := range in.Proxies {
		fmt.Fprintf(w, "%s\t%s\t%s\n", dp.Name, dash(dp.Namespace), dash(dp.Zone))
	}
	return w.Flush()
}
