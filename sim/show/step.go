package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/meridian-mesh/meridian/sim"
)

// List writes a line for each check of a case, and below what failed why: Text without what is around.
func List(w io.Writer, c Case) error {
	if checks := c.shown(TextOptions{}); len(checks) > 0 && c.Err == nil && len(c.Result.Expectations) > 0 {
		_, err := io.WriteString(w, checkList(checks))
		return err
	}
	return nil
}

// Step says in a few words what happens in a step: "delete west/kv-timeout", "skew old", "time passes".
func Step(s sim.Step) string {
	a := s.Action
	if a.Kind == sim.ActionNone {
		return "time passes"
	}
	var about []string
	for _, name := range a.Zones {
		if name == "" {
			name = "global"
		}
		about = append(about, name)
	}
	for _, z := range a.New {
		about = append(about, z.Name)
	}
	for _, ref := range a.Keys {
		about = append(about, lastWord(ref))
	}
	for _, p := range a.Patches {
		about = append(about, lastWord(p.Key))
	}
	if a.Kind == sim.ActionApply {
		for _, d := range a.Documents {
			about = append(about, d.Key())
		}
	}
	text := fmt.Sprintf("%s %s", a.Kind, strings.Join(about, ", "))
	if a.Direction != "" {
		text += ", " + a.Direction
	}
	return text
}

// lastWord leaves the kind out of a reference.
func lastWord(ref string) string { return ref[strings.LastIndexByte(ref, ' ')+1:] }
