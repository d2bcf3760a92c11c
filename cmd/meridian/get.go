package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) getCommand() *cobra.Command {
	var allMeshes, showSecrets bool
	output := newChoice("table", "wide", "json", "yaml")
	format := newChoice("universal", "kubernetes")
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "Show the resources of a kind, or one of them",
		Long: "Show the resources of a kind, or one of them. KIND is the singular, plural, short or type name: meshtimeout,\n" +
			"meshtimeouts, mt, MeshTimeout. NAME is the name its author gave, name.namespace, the storage name or a KRI.",
		Example: "  meridian get meshtimeouts\n  meridian get mt producer-timeout -o yaml --format kubernetes",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVarP(&allMeshes, "all-meshes", "A", false, "of every mesh")
	cmd.Flags().BoolVar(&showSecrets, "show-secrets", false, "print the data of secrets")
	cmd.Flags().VarP(output, "output", "o", "what to print; wide adds the storage name and the KRI")
	cmd.Flags().Var(format, "format", "form of the documents that -o json and -o yaml print")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		d, err := kindNamed(args[0])
		if err != nil {
			return err
		}
		docs, err := c.read(ctx, d, allMeshes, args[1:])
		if err != nil {
			return err
		}
		redact := d.AdminOnly && !showSecrets
		render := resource.ToJSON
		if format.value == "kubernetes" {
			render = resource.ToKubernetes
		}
		if redact || format.value == "kubernetes" {
			if docs, err = rewrite(docs, redact, render); err != nil {
				return err
			}
		}
		switch output.value {
		case "table", "wide":
			return c.printTable(ctx, d, docs, output.value == "wide")
		case "yaml":
			return c.printStream(docs)
		}
		if len(args) == 2 {
			return c.print("json", docs[0])
		}
		return c.print("json", struct {
			Total int        `json:"total"`
			Items []document `json:"items"`
		}{len(docs), docs})
	})
	return cmd
}

// read returns the one resource that is named, or all of the kind.
func (c *cli) read(ctx context.Context, d resource.Descriptor, allMeshes bool, name []string) ([]document, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	if len(name) == 1 {
		if allMeshes {
			return nil, usage("--all-meshes is for lists: a name belongs to one mesh")
		}
		doc, err := api.find(ctx, d, c.mesh, name[0])
		return []document{doc}, err
	}
	mesh := c.mesh
	if allMeshes {
		mesh = ""
	}
	docs, err := api.list(ctx, collection(d, mesh))
	if err != nil {
		return nil, api.nearestMesh(ctx, mesh, err)
	}
	return docs, nil
}

// rewrite writes documents anew: in the form of render, and without secrets if asked to.
func rewrite(docs []document, redact bool, render func(resource.Resource) ([]byte, error)) ([]document, error) {
	schemas := policy.Schemas()
	out := make([]document, 0, len(docs))
	for _, doc := range docs {
		read, err := schemas.Read("", doc.JSON, resource.ReadOptions{AsStored: true, Lenient: true})
		if err != nil {
			return nil, err
		}
		r := read[0].Resource
		r.Created, r.Modified = doc.Created, doc.Modified
		if redact {
			r = resource.Redact(r)
		}
		data, err := render(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doc.Key, err)
		}
		out = append(out, document{data, doc.Resource})
	}
	return out, nil
}

// writtenAt returns where a resource was written: its zone, or "global" for what people write there; else "-".
func writtenAt(d resource.Descriptor, r resource.Resource, onGlobal bool) string {
	if r.Zone() == "" && !d.SystemManaged && d.Flow.Has(resource.ProvidedByGlobal) && (onGlobal || r.Origin() == resource.OriginGlobal) {
		return "global"
	}
	return dash(r.Zone())
}

// asksGlobal says whether the control plane that docs are from is a global one. It asks only if one of them is from no
// zone and does not say that it came from global.
func (c *cli) asksGlobal(ctx context.Context, docs []document) (bool, error) {
	if !slices.ContainsFunc(docs, func(doc document) bool { return doc.Zone() == "" && doc.Origin() == "" }) {
		return false, nil
	}
	api, err := c.client()
	if err != nil {
		return false, err
	}
	var index struct{ Mode string }
	_, err = api.get(ctx, "/", &index)
	return index.Mode == "global", err
}

func (c *cli) printTable(ctx context.Context, d resource.Descriptor, docs []document, wide bool) error {
	meshes := slices.ContainsFunc(docs, func(doc document) bool { return doc.Mesh != c.mesh }) && d.Scope == resource.ScopeMesh
	onGlobal, err := c.asksGlobal(ctx, docs)
	if err != nil {
		return err
	}
	now := time.Now()
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	row := func(mesh string, cells ...string) {
		if meshes {
			cells = append([]string{mesh}, cells...)
		}
		if !wide {
			cells = cells[:len(cells)-2]
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	row("MESH", "NAME", "NAMESPACE", "ZONE", "ROLE", "AGE", "STORAGE NAME", "KRI")
	for _, doc := range docs {
		role := "-"
		if d.TargetRef {
			role = doc.Role()
		}
		row(doc.Mesh, authorName(doc.Resource), dash(doc.Namespace()), writtenAt(d, doc.Resource, onGlobal), role, age(doc.Created, now),
			doc.Name, doc.Identity().KRI(""))
	}
	return w.Flush()
}

// authorName returns the name without the namespace that has a column of its own.
func authorName(r resource.Resource) string {
	name := r.Display()
	if ns := r.Namespace(); ns != "" {
		name = strings.TrimSuffix(name, "."+ns)
	}
	return name
}

func dash(s string) string { return cmp.Or(s, "-") }

// printStream prints documents as one YAML stream, which apply -f - reads.
func (c *cli) printStream(docs []document) error {
	for i, doc := range docs {
		if i > 0 {
			fmt.Fprintln(c.out, "---")
		}
		if err := c.print("yaml", doc.JSON); err != nil {
			return err
		}
	}
	return nil
}
