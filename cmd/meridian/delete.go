package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) deleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "delete KIND NAME...",
		Short:   "Delete resources by name, or those that files describe",
		Example: "  meridian delete meshtimeout producer-timeout\n  meridian delete -f policies/",
	}
	files := filesFlag(cmd)
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		api, err := c.client()
		if err != nil {
			return err
		}
		if len(*files) > 0 {
			if len(args) > 0 {
				return usage("either KIND NAME... or -f, not both")
			}
			return c.deleteDocuments(ctx, api, *files)
		}
		if len(args) < 2 {
			return usage("want KIND NAME... or -f PATH")
		}
		d, err := kindNamed(args[0])
		if err != nil {
			return err
		}
		// Every name is looked up before the first is deleted: a typing error in the third must not cost the first two.
		var keys []resource.Key
		for _, name := range args[1:] {
			doc, err := api.find(ctx, d, c.mesh, name)
			if err != nil {
				return err
			}
			keys = append(keys, doc.Key)
		}
		return c.deleteAll(ctx, api, keys)
	})
	return cmd
}

// deleteDocuments deletes what the files describe, last document first: what was applied last goes first.
func (c *cli) deleteDocuments(ctx context.Context, api *client, paths []string) error {
	docs, err := c.goodDocuments(ctx, paths, resource.ReadOptions{MaxBytes: c.maxDocumentBytes})
	if err == nil && len(docs) == 0 {
		err = noDocuments(paths)
	}
	if err != nil {
		return err
	}
	var keys []resource.Key
	for i := len(docs) - 1; i >= 0; i-- {
		keys = append(keys, docs[i].Resource.Key)
	}
	return c.deleteAll(ctx, api, keys)
}

func (c *cli) deleteAll(ctx context.Context, api *client, keys []resource.Key) error {
	for _, key := range keys {
		if err := api.delete(ctx, key); err != nil {
			return fmt.Errorf("%s %s: %w", commandName(key.Kind), key.Name, err)
		}
		fmt.Fprintf(c.out, "%s %s deleted\n", commandName(key.Kind), key.Name)
	}
	return nil
}
