package sim

import (
	"fmt"
	"slices"
)

// Stage is what is there after a step of a scenario.
type Stage struct {
	Step      string // steps[2]
	Line      int    // of the step
	Zones     []Zone
	Documents []Document // of the scenario file and of its manifests; those that a step has changed are of the step
}

// Stages returns what is written on the control planes after each step that writes, deletes, adds or removes something, in order, as the
// steps say it: nothing is run.
//
// Errors: a *Problem for a step that changes what is not there.
func (s *Scenario) Stages() ([]Stage, error) {
	docs, zones := s.all(), slices.Clone(s.Zones)
	put := func(d Document) {
		i := slices.IndexFunc(docs, func(o Document) bool { return o.Plane == d.Plane && o.Resource.Key == d.Resource.Key })
		if i < 0 {
			docs = append(docs, d)
		} else {
			docs[i] = d
		}
	}
	var stages []Stage
	for i, step := range s.Steps {
		a := step.Action
		switch a.Kind {
		case ActionApply:
			for _, d := range a.Documents {
				put(d)
			}
			for _, ref := range a.Keys {
				for _, d := range s.documents(ref) {
					put(d)
				}
			}
			for _, p := range a.Patches {
				at := slices.IndexFunc(docs, func(d Document) bool { return d.ref() == p.Key })
				if at < 0 {
					return nil, &Problem{p.Pos, p.Key, "it is not there now"}
				}
				d, err := p.apply(docs[at].Resource, docs[at].Plane, s.Mesh)
				if err != nil {
					return nil, err
				}
				docs[at] = d
			}
		case ActionDelete:
			docs = slices.DeleteFunc(docs, func(d Document) bool { return slices.Contains(a.Keys, d.ref()) })
		case ActionAddZone:
			zones = append(zones, a.New...)
			for _, d := range a.Documents {
				put(d)
			}
		case ActionRemoveZone:
			gone := func(zone string) bool { return slices.Contains(a.Zones, zone) }
			zones = slices.DeleteFunc(zones, func(z Zone) bool { return gone(z.Name) })
			docs = slices.DeleteFunc(docs, func(d Document) bool { return gone(d.Plane) })
		default:
			continue
		}
		stages = append(stages, Stage{fmt.Sprintf("steps[%d]", i), step.Pos.Line, slices.Clone(zones), slices.Clone(docs)})
	}
	return stages, nil
}
