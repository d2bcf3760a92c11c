package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/lint"
)

// Exit codes of lint besides those of all commands. The simulator has the same.
const (
	exitWarnings    = 4
	exitNoDocuments = 5 // or, of sim test, no test
)

func (c *cli) lintCommand() *cobra.Command {
	output := newChoice("text", "json", "yaml", "sarif", "github")
	failOn := newChoice("error", "warn")
	var zone string
	cmd := &cobra.Command{
		Use:   "lint PATH...",
		Args:  cobra.MinimumNArgs(1),
		Short: "Find what documents do that their authors will hardly have meant, without a control plane",
		Long: "Find what documents do that their authors will hardly have meant, without a control plane: references that find\n" +
			"nothing, policies that are in force nowhere, surprises of role and order. Each finding has a code with a page in\n" +
			"docs/lint. PATH is a file, a folder or - for standard input.\n\n" +
			"A folder with global/ and zones/NAME/ is a federation, and so is each scenario (*.scenario.yaml), as it is before\n" +
			"its first step and after each that writes or deletes something. Anything else is the documents of one control\n" +
			"plane: the zone that --zone names, or global.\n\n" +
			"A comment `# meridian:ignore CODE reason` above a field or a document suppresses findings in it.\n\n" +
			"The exit code is 0 if nothing is to be said, or only warnings; 1 if there are errors; 4 if there are only\n" +
			"warnings and --fail-on is warn; 2 if PATH cannot be read or a scenario is not valid; 5 if there is no document.",
		Example: "  meridian lint policies/\n  meridian lint federation/ --fail-on warn -o github\n  meridian lint --zone east east/*.yaml",
	}
	cmd.Flags().VarP(output, "output", "o", "what to print; sarif (2.1.0) and github are for code review tools")
	cmd.Flags().Var(failOn, "fail-on", "what makes the command fail")
	cmd.Flags().StringVar(&zone, "zone", "", "the documents are those of this zone, alone")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		federations, err := c.federations(ctx, args, zone)
		if err != nil {
			return err
		}
		r := lintReport{Findings: lint.Run(federations...)}
		counted := map[string]bool{} // files that are of several federations
		for _, planes := range federations {
			for _, p := range planes {
				for _, f := range p.Files {
					if id := p.Zone + " " + f.Name; !counted[id] {
						counted[id] = true
						r.Documents += f.Len()
					}
				}
			}
		}
		for _, f := range r.Findings {
			if f.Severity == lint.Error {
				r.Errors++
			} else {
				r.Warnings++
			}
		}
		if r.Documents == 0 {
			return config.Exit(exitNoDocuments, fmt.Errorf("no document in %s", strings.Join(args, ", ")))
		}
		if err := c.printLint(output.value, r); err != nil {
			return err
		}
		summary := fmt.Sprintf("%s and %s in %s", plural(r.Errors, "error", "errors"), plural(r.Warnings, "warning", "warnings"), plural(r.Documents, "document", "documents"))
		switch {
		case r.Errors > 0:
			return errors.New(summary)
		case r.Warnings > 0 && failOn.value == "warn":
			return config.Exit(exitWarnings, fmt.Errorf("%s, and --fail-on is warn", summary))
		case output.value == "text":
			fmt.Fprintln(c.out, summary)
		}
		return nil
	})
	return cmd
}

// lintReport is what lint found.
type lintReport struct {
	Documents int            `json:"documents"`
	Errors    int            `json:"errors"`
	Warnings  int            `json:"warnings"`
	Findings  []lint.Finding `json:"findings"` // in the order of the files, and by line
}

// printLint prints what was found in one of the forms of -o.
func (c *cli) printLint(output string, r lintReport) error {
	var shown []finding
	for _, f := range r.Findings {
		shown = append(shown, finding{
			Level: string(f.Severity), Rule: string(f.Code), File: f.File, Line: f.Line, Column: f.Column, Document: f.Document,
			Resource: f.Subject, Field: f.Field, Reason: f.Message,
		})
	}
	switch output {
	case "json", "yaml":
		return c.print(output, r)
	case "sarif":
		var rules []rule
		for _, r := range lint.Rules {
			rules = append(rules, rule{string(r.Code), r.Title, fmt.Sprintf("To mend it: %s. See %s.", r.Mend, r.Page())})
		}
		return c.print("json", sarif(rules, shown))
	case "github":
		return c.printLines(shown, finding.github)
	}
	var errs error
	for i, f := range r.Findings {
		_, err := fmt.Fprintf(c.out, "%s:%d:%d: %s %s: %s\n    %s; see %s\n", f.File, f.Line, f.Column, f.Severity, f.Code, shown[i].message(), f.Mend, f.Page)
		errs = errors.Join(errs, err)
	}
	return errs
}

// federations reads what PATHs name: each scenario is a federation, and so is a folder with global/ and zones/NAME/; the
// rest is one plane.
func (c *cli) federations(ctx context.Context, paths []string, zone string) ([][]lint.Plane, error) {
	if zone != "" && !resource.ValidZoneName(zone) {
		return nil, usage("--zone %q is no DNS name (at most 63 of a-z, 0-9, - and dots)", zone)
	}
	var scenarios []*sim.Scenario
	var rest []string
	for _, path := range paths {
		if path == "-" {
			rest = append(rest, path)
			continue
		}
		path = filepath.Clean(path)
		found, err := sim.Sources(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, usage("%s: there is no such file or folder", path)
		} else if err != nil {
			return nil, config.Usage(err)
		}
		if len(found) > 0 && zone != "" {
			return nil, usage("%s is a federation, which has zones of its own: leave --zone out", found[0].File)
		}
		scenarios = append(scenarios, found...)
		if !slices.ContainsFunc(found, func(s *sim.Scenario) bool { return s.File == path }) {
			more, err := documentsBelow(path)
			if err != nil {
				return nil, config.Usage(err)
			}
			rest = append(rest, more...)
		}
	}
	mine := map[string]bool{} // files of scenarios
	var names []string
	for _, s := range scenarios {
		mine[s.File] = true
		for _, m := range s.Manifests {
			if !mine[m.File] {
				names = append(names, m.File)
			}
			mine[m.File] = true
		}
	}
	rest = slices.DeleteFunc(rest, func(file string) bool { return mine[file] })
	parsed, err := c.parseFiles(ctx, append(names, rest...))
	if err != nil {
		return nil, err
	}
	files := map[string]lint.File{}
	for i, name := range names {
		files[name] = parsed[i]
	}
	var all [][]lint.Plane
	for _, s := range scenarios {
		stages, err := s.Stages()
		if err != nil {
			return nil, config.Usage(err)
		}
		of := lintScenario{Scenario: s, files: files}
		if s.File != "" && sim.IsScenario(s.File) {
			if of.data, err = os.ReadFile(s.File); err != nil {
				return nil, config.Usage(err)
			}
		}
		all = append(all, of.start())
		for _, stage := range stages {
			all = append(all, of.after(stage))
		}
	}
	if len(rest) > 0 {
		all = append(all, []lint.Plane{{Zone: zone, Files: parsed[len(names):]}})
	}
	return all, nil
}

// lintScenario makes the planes of a scenario: global first, and then the zones in its order.
type lintScenario struct {
	*sim.Scenario
	data  []byte               // of its file
	files map[string]lint.File // its manifests
}

// start returns them before the first step.
func (s lintScenario) start() []lint.Plane {
	return s.planes(sim.Stage{Zones: s.Zones, Documents: s.Documents}, func(f lint.File, _ string) lint.File { return f })
}

// after returns them after a step: of the manifests what is still there, and not changed.
func (s lintScenario) after(stage sim.Stage) []lint.Plane {
	type placed struct {
		plane, file string
		key         resource.Key
	}
	there := map[placed]bool{}
	stage.Documents = slices.DeleteFunc(stage.Documents, func(d sim.Document) bool {
		there[placed{d.Plane, d.Source, d.Resource.Key}] = true
		_, manifest := s.files[d.Source]
		return manifest
	})
	return s.planes(stage, func(f lint.File, plane string) lint.File {
		return f.Only(func(d resource.Document) bool { return there[placed{plane, f.Name, d.Resource.Key}] })
	})
}

func (s lintScenario) planes(stage sim.Stage, manifest func(f lint.File, plane string) lint.File) []lint.Plane {
	planes := []lint.Plane{{Step: stage.Step}}
	for _, z := range stage.Zones {
		planes = append(planes, lint.Plane{Zone: z.Name, Step: stage.Step})
	}
	for i := range planes {
		var docs []lint.Described
		for _, d := range stage.Documents {
			if d.Plane == planes[i].Zone {
				docs = append(docs, lint.Described{Document: d.Document, At: func(field string) (line, column int) {
					at := d.At(field)
					return at.Line, at.Column
				}})
			}
		}
		if len(docs) > 0 {
			planes[i].Files = append(planes[i].Files, lint.Scenario(s.File, s.data, docs))
		}
		for _, m := range s.Manifests {
			if m.Plane == planes[i].Zone {
				planes[i].Files = append(planes[i].Files, manifest(s.files[m.File], m.Plane))
			}
		}
	}
	mesh := resource.Key{Kind: "Mesh", Name: s.Mesh}
	written := slices.ContainsFunc(planes[0].Files, func(f lint.File) bool {
		return slices.ContainsFunc(f.Documents, func(d resource.Document) bool { return d.Resource.Key == mesh })
	})
	if s.Mesh != resource.DefaultMesh && !written { // the simulator makes it
		made := resource.Document{Source: s.File, Line: 1, Resource: resource.Resource{Key: mesh, Spec: []byte{}}}
		at := func(string) (line, column int) { return 1, 1 }
		planes[0].Files = append(planes[0].Files, lint.Scenario(s.File, nil, []lint.Described{{Document: made, At: at}}))
	}
	return planes
}

// parseFiles reads files, several at a time, and keeps their order.
func (c *cli) parseFiles(ctx context.Context, names []string) ([]lint.File, error) {
	files := make([]lint.File, len(names))
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	stop := showProgress(c.err, &done, len(names))
	defer stop()
	for i, name := range names {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			src, err := c.source(ctx, name)
			if err != nil {
				return err
			}
			files[i] = lint.Parse(src.name, src.data, lint.Options{MaxBytes: c.maxDocumentBytes})
			done.Add(1)
			return nil
		})
	}
	return files, g.Wait()
}
