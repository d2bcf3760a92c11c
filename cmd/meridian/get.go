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
	var allMeshes bool
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
		if format.value == "kubernetes" {
			if docs, err = toKubernetes(docs); err != nil {
				return err
			}
		}
		switch output.value {
		case "table", "wide":
			return c.printTable(d, docs, output.value == "wide")
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

// toKubernetes rewrites documents in their other form.
func toKubernetes(docs []document) ([]document, error) {
	schemas := policy.Schemas()
	out := make([]document, 0, len(docs))
	for _, doc := range docs {
		read, err := schemas.Read("", doc.JSON, resource.ReadOptions{AsStored: true, Lenient: true})
		if err != nil {
			return nil, err
		}
		r := read[0].Resource
		r.Created, r.Modified = doc.Created, doc.Modified
		data, err := resource.ToKubernetes(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", doc.Key, err)
		}
		out = append(out, document{data, doc.Resource})
	}
	return out, nil
}

func (c *cli) printTable(d resource.Descriptor, docs []document, wide bool) error {
	meshes := slices.ContainsFunc(docs, func(doc document) bool { return doc.Mesh != c.mesh }) && d.Scope == resource.ScopeMesh
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
	row("MESH", "NAME", "NAMESPACE", "ZONE", "ORIGIN", "ROLE", "AGE", "STORAGE NAME", "KRI")
	for _, doc := range docs {
		role := "-"
		if d.TargetRef {
			role = doc.Role()
		}
		row(doc.Mesh, authorName(doc.Resource), dash(doc.Namespace()), dash(doc.Zone()), cmp.Or(doc.Origin(), "local"), role,
			age(doc.Created, now), doc.Name, doc.Identity().KRI(""))
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
