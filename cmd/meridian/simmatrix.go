package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
	"github.com/meridian-mesh/meridian/sim/show"
)

func (c *cli) simMatrixCommand() *cobra.Command {
	var q question
	var out string
	output := newChoice("text", "csv", "html")
	cmd := &cobra.Command{
		Use:   "matrix FILE --type KIND",
		Short: "Show the policies of a kind by zone, or the value of a field by source and destination",
		Long: "Show the policies of a kind by zone: on how many proxies they win, are masked, or why they are not there. With\n" +
			"--field, the value of that field by source and destination. Proxies that differ in their number alone are one\n" +
			"source if all their values are the same. -o html is one page without anything beside it, to send to a colleague.",
		Example: "  meridian sim matrix shop.scenario.yaml --type MeshTimeout\n" +
			"  meridian sim matrix shop.scenario.yaml --type mt --field http.requestTimeout -o html --out timeouts.html",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&q.Kind, "type", "", "kind of policy")
	cmd.Flags().StringVar(&q.field, "field", "", "show the value of this field by source and destination")
	cmd.Flags().VarP(output, "output", "o", "what to print or to write")
	cmd.Flags().StringVar(&out, "out", "", "file to write it to")
	if err := cmd.MarkFlagRequired("type"); err != nil {
		panic(err) // it is the flag above
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		path, err := q.onePath()
		if err != nil {
			return err
		}
		result, err := c.simulate(ctx, args[0])
		if err != nil {
			return err
		}
		m, err := matrixOf(ctx, result, q.Kind, path)
		if err != nil {
			return err
		}
		return c.writeTo(out, func(w io.Writer) error { return m.Write(w, output.value) })
	})
	return cmd
}

// onePath checks the type and returns the path of the field, "" if none was asked for.
func (q *question) onePath() (string, error) {
	d, err := kindNamed(q.Kind)
	if err != nil {
		return "", err
	}
	q.Kind = d.Kind
	t, ok := policy.LookupType(q.Kind)
	if !ok {
		return "", usage("%s is no policy that is resolved", q.Kind)
	}
	if q.field == "" {
		return "", nil
	}
	if err := q.checkField(); err != nil {
		return "", err
	}
	switch paths := matching(confFields(t), q.field); len(paths) {
	case 0:
		return q.field, nil // of a route
	case 1:
		return paths[0], nil
	default:
		return "", usage("--field %s names %d fields, want one: %s", q.field, len(paths), strings.Join(paths, ", "))
	}
}

func matrixOf(ctx context.Context, result *sim.Result, kind, path string) (show.Matrix, error) {
	if path == "" {
		rows, err := result.Policies(ctx)
		if err != nil {
			return show.Matrix{}, err
		}
		rows = slices.DeleteFunc(rows, func(row sim.PolicyRow) bool { return row.Type != kind })
		return show.PolicyMatrix(fmt.Sprintf("%s by zone: %s", kind, result.Scenario), rows), nil
	}
	m := show.Matrix{Title: fmt.Sprintf("%s %s: %s", kind, path, result.Scenario), Corner: "source"}
	if len(result.Proxies("")) == 0 {
		return m, nil
	}
	answers, err := result.Effective(ctx, sim.Query{Type: kind})
	if err != nil {
		return m, err
	}
	answers = withListeners(answers)
	sources := make([]map[string]show.MatrixCell, len(answers)) // by column
	seen := map[string]bool{}
	for i, a := range answers {
		cells := map[string]show.MatrixCell{}
		for _, to := range a.Destinations {
			column := columnOf(result, to)
			if cells[column] = valueAt(result, to.Rules, path); !seen[column] {
				seen[column] = true
				m.Columns = append(m.Columns, column)
			}
		}
		sources[i] = cells
	}
	if len(m.Columns) == 0 || !slices.ContainsFunc(policy.Types, func(t policy.Type) bool { return t.Kind == kind && t.To }) {
		m.Columns = inboundColumns(result, answers, sources, path)
	}
	slices.SortStableFunc(m.Columns, func(a, b string) int { return rankOf(a) - rankOf(b) })
	for i, a := range answers {
		row := show.MatrixRow{Name: a.Proxy}
		for _, column := range m.Columns {
			row.Cells = append(row.Cells, sources[i][column])
		}
		m.Rows = append(m.Rows, row)
	}
	m.Rows = sameSources(m.Rows)
	return m, nil
}

// withListeners adds a source for each listener of a gateway after the gateway.
func withListeners(answers []sim.ProxyAnswer) []sim.ProxyAnswer {
	var all []sim.ProxyAnswer
	for _, a := range answers {
		all = append(all, a)
		for _, l := range a.Listeners {
			at := sim.ProxyAnswer{Proxy: a.Proxy + " listener " + l.String()}
			at.Destinations, at.Inbounds = l.Destinations, l.Inbounds
			all = append(all, at)
		}
	}
	return all
}

// inboundColumns fills in what is in force on the inbounds of proxies, and on proxies as a whole, and returns the columns.
func inboundColumns(result *sim.Result, answers []sim.ProxyAnswer, sources []map[string]show.MatrixCell, path string) []string {
	var columns []string
	for i, a := range answers {
		sources[i] = map[string]show.MatrixCell{}
		put := func(column string, rules []policy.Applied) {
			if sources[i][column] = valueAt(result, rules, path); !slices.Contains(columns, column) {
				columns = append(columns, column)
			}
		}
		for _, from := range a.Inbounds {
			put("inbound "+strconv.FormatUint(uint64(from.Port), 10), from.Rules)
		}
		if len(a.EffectiveAnswer.Proxy) > 0 {
			put("the proxy", a.EffectiveAnswer.Proxy)
		}
	}
	return columns
}

// rankOf puts what the mesh as a whole is called last.
func rankOf(column string) int {
	if column == anythingElse {
		return 1
	}
	return 0
}

const anythingElse = "anything else"

func columnOf(result *sim.Result, to policy.EffectiveTo) string {
	if to.Kind == "Mesh" {
		return anythingElse
	}
	key := keyOf(result, to.KRI)
	if to.Section != "" {
		key += ":" + to.Section
	}
	return key
}

// keyOf returns what the scenario calls a resource of an answer.
func keyOf(result *sim.Result, kri string) string {
	id, _, err := resource.ParseKRI(kri)
	if err != nil {
		return kri
	}
	return result.Key(id)
}

// valueAt returns the value of a field, and whose it is; of rules for several clients all of them.
func valueAt(result *sim.Result, rules []policy.Applied, path string) show.MatrixCell {
	var cell show.MatrixCell
	for _, rule := range rules {
		for _, f := range rule.Fields {
			if f.Path != path {
				continue
			}
			one := show.ValueCell(f.Value, keyOf(result, f.Origin.KRI)+" ("+f.Origin.Role+")")
			if from := policy.Clients(rule.Matchers); from != "" {
				one.Text += from
			}
			if cell.Text != "" {
				one.Text, one.Note = cell.Text+"; "+one.Text, cell.Note+"; "+one.Note
			}
			cell = one
		}
	}
	return cell
}

// sameSources puts neighbours together that differ in the number at the end of their names alone.
func sameSources(rows []show.MatrixRow) []show.MatrixRow {
	stem := func(name string) string { return strings.TrimRight(name, "0123456789") }
	var all []show.MatrixRow
	for i := 0; i < len(rows); {
		end := i + 1
		for end < len(rows) && strings.HasSuffix(stem(rows[i].Name), "-") && stem(rows[end].Name) == stem(rows[i].Name) && slices.Equal(rows[end].Cells, rows[i].Cells) {
			end++
		}
		row := rows[i]
		if end-i > 1 {
			row.Name = fmt.Sprintf("%s* (%d)", stem(row.Name), end-i)
		}
		all = append(all, row)
		i = end
	}
	return all
}
