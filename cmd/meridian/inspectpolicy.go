package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func (c *cli) inspectPolicyCommand() *cobra.Command {
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "policy KIND NAME",
		Short: "Show which proxies a policy configures, and where it wins or loses there",
		Long: "Show which proxies a policy configures: those that its role and zone let it reach, and that its targetRef selects.\n" +
			"For each it says which of the policy's fields are in force, and which lose, to whom and by which rule.\n" +
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
			role, in, header, err := api.effectOf(ctx, d, c.mesh, args[1])
			if err != nil {
				return err
			}
			c.warnOld(header)
			if output.value != "table" {
				return c.print(output.value, in)
			}
			return c.printEffect(d, role, in)
		})
	})
	return cmd
}

// effectOf asks what a policy comes to, page by page, until it has all of it.
func (c *client) effectOf(ctx context.Context, d resource.Descriptor, mesh, name string) (role string, in resolver.EffectAnswer, _ http.Header, _ error) {
	doc, err := c.find(ctx, d, mesh, name)
	if err != nil {
		return "", in, nil, err
	}
	path, err := item(d, doc.Mesh, doc.Name)
	if err != nil {
		return "", in, nil, err
	}
	header := http.Header{}
	in.Effects = []resolver.Effect{}
	for next := path + "/_effect?size=1000"; next != ""; {
		var page resolver.EffectAnswer
		of, err := c.get(ctx, next, &page)
		if err != nil {
			return "", in, nil, err
		}
		for name, values := range of {
			header[name] = append(header[name], values...)
		}
		if next, err = pathOf(page.Next); err != nil {
			return "", in, nil, err
		}
		page.Next, page.Effects = "", together(in.Effects, page.Effects)
		in = page
	}
	return doc.Role(), in, header, nil
}

// together returns the effects of two pages, those with the same places as one.
func together(all, more []resolver.Effect) []resolver.Effect {
	for _, e := range more {
		i := slices.IndexFunc(all, func(known resolver.Effect) bool { return reflect.DeepEqual(known.Places, e.Places) })
		if i < 0 {
			all = append(all, e)
		} else {
			all[i].Dataplanes = append(all[i].Dataplanes, e.Dataplanes...)
		}
	}
	return all
}

func (c *cli) printEffect(d resource.Descriptor, role string, in resolver.EffectAnswer) error {
	verb := "configures"
	if in.Shadow {
		verb = "is a trial (" + resource.LabelEffect + ": shadow), never in force; it would configure"
	}
	p := in.Policy
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s\n", d.Singular, by(p.Name, p.Namespace, p.Zone, role), verb, plural(in.Total, "proxy", "proxies"))
	// Proxies whose inbounds differ may still read the same.
	var texts []string
	alike := map[string][]resolver.Dataplane{}
	for _, e := range in.Effects {
		text := placesText(e.Places)
		if alike[text] == nil {
			texts = append(texts, text)
		}
		alike[text] = append(alike[text], e.Dataplanes...)
	}
	for _, text := range texts {
		fmt.Fprintf(&b, "\n%s\n%s", proxyNames(alike[text]), text)
	}
	for _, warning := range in.Unresolved {
		fmt.Fprintf(&b, "\n%s\n", warning)
	}
	_, err := io.WriteString(c.out, b.String())
	return err
}

func placesText(places []policy.PlaceEffect) string {
	if len(places) == 0 {
		return "  none of its items applies to anything\n"
	}
	var b strings.Builder
	for _, place := range places {
		where := placeOf(place)
		for _, w := range place.Wins {
			value := text(w.Value) + " is in force"
			if w.Value == nil {
				value = "is removed (null)"
			}
			fmt.Fprintf(&b, "  %s: %s %s\n", where, w.Path, value)
		}
		for _, m := range place.Masked {
			fmt.Fprintf(&b, "  %s: %s %s loses by %s to %s\n", where, m.Path, text(m.Value), m.By, byOrigin(m.Winner))
		}
	}
	return b.String()
}

// maxNamed is of how many proxies with the same effect the names are shown.
const maxNamed = 5

func proxyNames(proxies []resolver.Dataplane) string {
	var names []string
	for i, dp := range proxies {
		if i == maxNamed {
			names = append(names, fmt.Sprintf("and %d more", len(proxies)-i))
			break
		}
		names = append(names, inZone(resource.StorageName(dp.Name, dp.Namespace), dp.Zone))
	}
	return strings.Join(names, ", ")
}

// placeOf returns the place of an effect: to cart.shop (east), inbound http :8080, the proxy.
func placeOf(p policy.PlaceEffect) string {
	where := "the proxy"
	switch {
	case p.KRI != "":
		to := policy.EffectiveTo{Kind: p.Kind, Section: p.Section}
		if id, _, err := resource.ParseKRI(p.KRI); err == nil {
			to.Name, to.Namespace, to.Zone = id.Name, id.Namespace, id.Zone
		}
		where = "to " + destination(to)
	case p.Port != 0:
		where = strings.TrimSpace("inbound "+p.Inbound) + " :" + strconv.FormatUint(uint64(p.Port), 10)
	case p.List == "to":
		return strings.Replace("traffic"+policy.Clients(p.Matchers), " from ", " to ", 1)
	}
	return where + policy.Clients(p.Matchers)
}
