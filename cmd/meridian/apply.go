package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/resource"
)

func (c *cli) applyCommand() *cobra.Command {
	var o applyOptions
	output := newChoice("table", "json", "yaml")
	cmd := &cobra.Command{
		Use:   "apply -f PATH...",
		Short: "Create or update the resources of files, folders or standard input, all or none",
		Long: "Create or update the resources of files, folders or standard input.\n\n" +
			"Every document is checked before anything is sent. If one is bad, all that is wrong is told and nothing is\n" +
			"written; with --keep-going the good ones are written all the same. The exit code is 2 in both cases.\n\n" +
			"With --wait it returns when every zone in scope has applied or rejected each of them: exit code 1 if one was\n" +
			"rejected, 3 if --timeout was over first.",
		Example: "  meridian apply -f policies/\n  meridian apply -f policies/ --wait --timeout 1m\n  meridian get meshtimeouts -o yaml | meridian --address http://other:5681 apply -f -",
	}
	files := filesFlag(cmd)
	cmd.Flags().BoolVar(&o.KeepGoing, "keep-going", false, "write the good documents although some are bad")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would happen, write nothing")
	cmd.Flags().BoolVar(&o.StrictRole, "strict-role", false, "a declared role that a policy does not have is an error, not a warning")
	cmd.Flags().VarP(output, "output", "o", "what to print")
	wait := waitFlags(cmd.Flags())
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if err := wait.check(o.DryRun, cmd.Flags().Changed("timeout")); err != nil {
			return err
		}
		return c.apply(ctx, append(*files, args...), o, *wait, output.value)
	})
	return cmd
}

type applyOptions struct{ KeepGoing, DryRun, StrictRole bool }

func (c *cli) apply(ctx context.Context, paths []string, o applyOptions, wait waitOptions, output string) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	docs, bad, err := c.documents(ctx, paths, resource.ReadOptions{MaxBytes: c.maxDocumentBytes})
	if err != nil {
		return err
	}
	switch {
	case bad > 0 && (!o.KeepGoing || len(docs) == 0):
		return badDocuments(bad)
	case len(docs) == 0:
		return noDocuments(paths)
	}
	if wait.zones != "" {
		if err := api.canWait(ctx, wait); err != nil {
			return err
		}
	}
	results, err := api.apply(ctx, docs, o)
	if err != nil {
		return err
	}
	for _, r := range results {
		for _, warning := range r.Warnings {
			fmt.Fprintf(c.err, "%s: warning: %s\n", r.name(), warning)
		}
		if r.Error != nil {
			bad++
			fmt.Fprintln(c.err, r.invalid(docs))
		}
	}
	if bad > 0 && !o.KeepGoing {
		return badDocuments(bad)
	}
	var waited error
	if wait.zones == "" || output == "table" { // who waits reads meanwhile what was written
		err = c.printResults(results, o, output)
	}
	if wait.zones != "" && err == nil {
		begun := time.Now()
		var fates map[string]fate
		if fates, waited = c.awaitSync(ctx, api, results, wait); output != "table" && fates != nil {
			for i := range results {
				results[i].Sync = fates[results[i].KRI].Peers
			}
			err = c.print(output, results)
		} else if waited == nil {
			fmt.Fprintln(c.out, appliedIn(fates, time.Since(begun)))
		}
	}
	switch {
	case err != nil:
		return err
	case bad > 0:
		return usage("%s left out", plural(bad, "bad document", "bad documents"))
	}
	return waited
}

// result is what became of one document.
type result struct {
	Source   string        `json:"source"`
	Index    int           `json:"index"`
	Kind     string        `json:"kind"`
	Mesh     string        `json:"mesh,omitempty"`
	Name     string        `json:"name"`
	KRI      string        `json:"kri,omitempty"`
	Action   string        `json:"action"` // created, updated, unchanged, invalid, skipped
	Role     string        `json:"role,omitempty"`
	Matches  *int          `json:"matches,omitempty"` // proxies of this zone; nil where that means nothing
	Warnings []string      `json:"warnings,omitempty"`
	Error    *apiError     `json:"error,omitempty"`
	Sync     []peerVerdict `json:"sync,omitempty"` // with --wait: what has become of it elsewhere
}

func (r result) name() string { return commandName(r.Kind) + " " + r.Name }

// invalid returns the server's complaint in terms of the file that the document came from.
func (r result) invalid(docs []resource.Document) error {
	e := &resource.InvalidError{Source: r.Source, Key: resource.Key{Kind: r.Kind, Mesh: r.Mesh, Name: r.Name}}
	line, ofSource := 0, 0
	for _, doc := range docs {
		if doc.Source == r.Source {
			ofSource++
			if doc.Index == r.Index {
				line, e.Key = doc.Line, doc.Resource.Key
			}
		}
	}
	if ofSource > 1 {
		e.Index = r.Index
	}
	for _, v := range r.Error.Invalid {
		e.Violations = append(e.Violations, resource.Violation{Line: line, Field: v.Field, Reason: v.Reason})
	}
	if len(e.Violations) == 0 {
		e.Violations = []resource.Violation{{Line: line, Reason: r.Error.Error()}}
	}
	return e
}

// apply sends docs as one batch. Bad documents are results, not an error.
func (c *client) apply(ctx context.Context, docs []resource.Document, o applyOptions) ([]result, error) {
	body, err := resource.MarshalBatch(docs)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if o.KeepGoing {
		query.Set("keep-going", "true")
	}
	if o.DryRun {
		query.Set("dry-run", "true")
	}
	if o.StrictRole {
		query.Set("strict-role", "true")
	}
	a, err := c.do(ctx, http.MethodPost, "/_apply?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	var response struct {
		Results []result `json:"results"`
	}
	if err := json.Unmarshal(a.Body, &response); err == nil && len(response.Results) > 0 {
		return response.Results, nil
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("answer of POST %s/_apply: no results", c.base)
}

func (c *cli) printResults(results []result, o applyOptions, output string) error {
	if output != "table" {
		return c.print(output, results)
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, r := range results {
		if r.Error != nil {
			continue
		}
		action := r.Action
		if o.DryRun {
			action += " (dry run)"
		}
		line := []string{r.name() + " " + action, r.Role}
		if r.Matches != nil {
			line = append(line, "matches "+plural(*r.Matches, "proxy", "proxies"))
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(line, "\t"), "\t"))
	}
	return w.Flush()
}

// plural returns "1 proxy", "3 proxies".
func plural(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
