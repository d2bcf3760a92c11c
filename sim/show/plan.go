package show

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim"
)

// marks begin the line of a change.
var marks = map[sim.ChangeAction]string{sim.Added: "+", sim.Updated: "~", sim.Removed: "-"}

// Plan writes what a change does for people: each document that changes, of a policy by zone where that shows and where others mask
// it, and then every value in force that changes, by zone and namespace.
func Plan(w io.Writer, p *sim.PlanResult) error {
	var b strings.Builder
	for _, z := range p.Zones {
		fmt.Fprintf(&b, "%s zone %s\n", marks[z.Action], z.Zone)
	}
	for _, d := range p.Documents {
		documentChange(&b, d)
	}
	if len(p.Zones)+len(p.Documents) == 0 {
		b.WriteString("no document changes\n")
	}
	if rows := alike(p.Changes); len(rows) > 0 {
		b.WriteString("\nwhat is in force changes:\n\n")
		table := [][]string{{"WHERE", "PROXIES", "TYPE", "PLACE", "FIELD", "BEFORE", "AFTER"}}
		for _, r := range rows {
			where := r.Zone
			if r.Namespace != "" {
				where += "/" + r.Namespace
			}
			table = append(table, []string{
				where, r.proxies(), r.Type, place(p, r.Place), r.Path, said(r.Before, r.BeforeFrom), said(r.After, r.AfterFrom),
			})
		}
		for _, line := range aligned(table) {
			b.WriteString("  " + line + "\n")
		}
	}
	b.WriteString("\n" + PlanSummary(p) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// PlanSummary returns how much changes, in one line.
func PlanSummary(p *sim.PlanResult) string {
	proxies := map[string]bool{}
	for _, c := range p.Changes {
		proxies[c.Proxy] = true
	}
	changed := plural(len(p.Documents), "document changes", "documents change")
	if len(p.Changes) == 0 {
		return changed + ", nothing that is in force does"
	}
	return fmt.Sprintf("%s, %s on %s", changed, plural(len(p.Changes), "value in force changes", "values in force change"), plural(len(proxies), "proxy", "proxies"))
}

func documentChange(b *strings.Builder, d sim.DocumentChange) {
	line := marks[d.Action] + " " + d.Document
	if d.Role != "" {
		line += "  " + d.Role
	}
	var fields []string
	for _, f := range d.Fields {
		fields = append(fields, fmt.Sprintf("%s %s -> %s", f.Path, sim.ValueText(f.Before), sim.ValueText(f.After)))
	}
	if len(fields) > 0 {
		line += "  " + strings.Join(fields, ", ")
	}
	b.WriteString(line + "\n")
	var rows [][]string
	for _, i := range d.Zones {
		rows = append(rows, []string{"  ", i.Zone, impact(d, i)})
	}
	for _, row := range aligned(rows) {
		b.WriteString(row + "\n")
	}
}

// impact says what a change of a policy comes to in a zone.
func impact(d sim.DocumentChange, i sim.Impact) string {
	if i.Changed+i.Unchanged == 0 {
		if note := CellNote(i.Cell); note != "" && d.Action != sim.Removed {
			return note
		}
		return cmp.Or(map[sim.CellState]string{
			sim.CellNoMatch: "it selects no proxy", sim.CellNoProxy: "the zone has no proxy",
			sim.CellNotThere: "it is carried, and never resolved",
		}[i.State], "no proxy is touched")
	}
	var parts []string
	if i.Changed > 0 {
		var of []string
		for namespace, n := range i.Namespaces {
			of = append(of, fmt.Sprintf("%d in %s", n, cmp.Or(namespace, "no namespace")))
		}
		slices.Sort(of)
		parts = append(parts, fmt.Sprintf("%s (%s)", plural(i.Changed, "proxy changes", "proxies change"), strings.Join(of, ", ")))
	}
	if i.Unchanged > 0 {
		text := plural(i.Unchanged, "proxy does", "proxies do") + " not"
		if len(i.By) > 0 {
			var by []string
			for k, policy := range i.By {
				by = append(by, fmt.Sprintf("%s (%s)", policy, i.MaskedBy[k]))
			}
			text += ": masked by " + strings.Join(by, ", ")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// same is a change that is the same on some proxies of a namespace.
type same struct {
	sim.Change
	names []string
}

// alike puts the changes that differ only in the proxy together, in the order of the first.
func alike(changes []sim.Change) []same {
	at := map[string]int{}
	var rows []same
	for _, c := range changes {
		key := strings.Join([]string{
			c.Zone, c.Namespace, c.Type, c.Place, c.Path, said(c.Before, c.BeforeFrom), said(c.After, c.AfterFrom),
		}, "\x00")
		i, ok := at[key]
		if !ok {
			i = len(rows)
			at[key] = i
			rows = append(rows, same{Change: c})
		}
		rows[i].names = append(rows[i].names, lastOf(c.Proxy))
	}
	return rows
}

const namesShown = 3

func (s same) proxies() string {
	names := s.names
	if len(names) > namesShown {
		names = append(slices.Clone(names[:namesShown]), "...")
	}
	return fmt.Sprintf("%d (%s)", len(s.names), strings.Join(names, ", "))
}

// said returns a value and whose it is.
func said(value any, from string) string {
	if value == nil && from == "" {
		return "none"
	}
	return fmt.Sprintf("%s (%s)", sim.ValueText(value), from)
}

// place writes the place of a change: to a service by its key.
func place(p *sim.PlanResult, of string) string {
	if listener, ok := strings.CutPrefix(of, "listener "); ok {
		name, rest, _ := strings.Cut(listener, " ")
		if rest != "" {
			rest = " " + place(p, rest)
		}
		return "listener " + name + rest
	}
	kri, clients, _ := strings.Cut(of, " ")
	if id, section, err := resource.ParseKRI(kri); err == nil {
		if id.Kind == "Mesh" {
			return "to the mesh"
		}
		to := "to " + p.Key(id)
		if section != "" {
			to += ":" + section
		}
		return to
	}
	return strings.TrimSpace(kri + " " + clients)
}
