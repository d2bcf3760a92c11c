package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/sim"
)

func (c *cli) simFmtCommand() *cobra.Command {
	var expand, write bool
	cmd := &cobra.Command{
		Use:   "fmt FILE...",
		Short: "Print scenario files in one form, or what their shorthand stands for",
		Long: "Print scenario files in one form: indented by two, with their comments. With --expand all shorthand and every\n" +
			"include is replaced by the documents that they stand for, and comments are gone; the federation is the same.\n\n" +
			"Files that are not valid are told with line and column, and nothing is written: exit code 2.",
		Example: "  meridian sim fmt --expand first.scenario.yaml\n  meridian sim fmt -w *.scenario.yaml",
		Args:    cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVar(&expand, "expand", false, "replace shorthand by what it stands for")
	cmd.Flags().BoolVarP(&write, "write", "w", false, "write the files instead of printing")
	cmd.RunE = c.run(func(_ context.Context, args []string) error {
		scenarios, err := c.scenarios(args...)
		if err != nil {
			return err
		}
		if len(scenarios) == 0 {
			_, err := c.oneScenario(args[0])
			return err
		}
		for _, s := range scenarios {
			info, err := os.Stat(s.File)
			if !expand && (err != nil || info.IsDir()) {
				return usage("%s is no file; --expand takes folders and standard input, too", s.File)
			}
			text, err := formatted(s, expand)
			if err != nil {
				return fmt.Errorf("%s: %w", s.File, err)
			}
			file := ""
			if write {
				if err != nil || info == nil || info.IsDir() {
					return usage("%s is no file: leave -w out", s.File)
				}
				file = s.File
			}
			if err := c.writeTo(file, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
				return err
			}
		}
		return nil
	})
	return cmd
}

func formatted(s *sim.Scenario, expand bool) ([]byte, error) {
	if expand {
		return sim.Expand(s)
	}
	data, err := os.ReadFile(s.File)
	if err != nil {
		return nil, config.Usage(err)
	}
	return indented(data)
}

// indented returns a YAML document indented by two, with its comments and its blank lines.
func indented(data []byte) ([]byte, error) {
	var before, after yaml.Node
	if err := yaml.Unmarshal(data, &before); err != nil {
		return nil, err
	}
	spellNull(&before, false)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&before); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(b.Bytes(), &after); err != nil {
		return nil, err
	}
	// The encoder drops blank lines: put back those above fields and items.
	source := strings.Split(string(data), "\n")
	blank := map[int]bool{} // above this line of the result
	var walk func(a, b *yaml.Node)
	walk = func(a, b *yaml.Node) {
		for i := range min(len(a.Content), len(b.Content)) {
			from, to := startOf(a.Content[i]), startOf(b.Content[i])
			if from > 1 && strings.TrimSpace(source[from-2]) == "" {
				blank[to] = true
			}
			walk(a.Content[i], b.Content[i])
		}
	}
	walk(&before, &after)
	var out strings.Builder
	for i, line := range strings.SplitAfter(b.String(), "\n") {
		if blank[i+1] && i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(line)
	}
	return []byte(out.String()), nil
}

// startOf returns the line that a node begins in, with the comment above it.
func startOf(n *yaml.Node) int {
	if n.HeadComment == "" {
		return n.Line
	}
	return n.Line - strings.Count(n.HeadComment, "\n") - 1
}

// spellNull writes out each null in braces that is not: the encoder would make a text of it.
func spellNull(n *yaml.Node, flow bool) {
	flow = flow || n.Style&yaml.FlowStyle != 0
	if flow && n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		n.Value = "null"
	}
	for _, below := range n.Content {
		spellNull(below, flow)
	}
}
