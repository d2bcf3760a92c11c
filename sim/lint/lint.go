package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// Plane is the documents of one control plane.
type Plane struct {
	Zone  string // its name; "" is global
	Files []File
	// Step is that of a scenario after which it has these documents, the same for all planes of a federation, which comes after that of the
	// step before; "": it is as it is at the start.
	Step string
}

// Finding is one thing to say about one document.
type Finding struct {
	Code     Code     `json:"code"`
	Name     string   `json:"name"` // of the rule
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`               // from 1
	Column   int      `json:"column"`             // from 1, in bytes
	Document int      `json:"document,omitempty"` // index within the file, from 1; 0 if the file is one document
	Resource string   `json:"resource,omitempty"` // KRI; "" of what is no document
	Subject  string   `json:"subject,omitempty"`  // the same for people: MeshTimeout default/x
	Field    string   `json:"field,omitempty"`    // a path in the Universal form; "": the document as a whole
	Message  string   `json:"message"`
	Step     string   `json:"step,omitempty"` // of a scenario, after which it appears; "": it is there at the start
	Mend     string   `json:"mend"`
	Page     string   `json:"page"` // from the root of the repository
}

// Run returns what is to be said about the documents of some federations, each with its planes: file by file in the order
// in which they are there, ascending by line and code. A federation of one plane is a zone without a global, or a global
// whose zones are not known. What is to be said of a file that several federations have is said once; a comment in it is
// idle if it suppresses nothing in any of them. Of a federation after a step is said what was not said of it before.
//
// Cost: that of resolving every policy in every zone that has it.
func Run(federations ...[]Plane) []Finding {
	var files []string
	found := map[string][]Finding{} // by file
	times := map[Finding]int{}
	uses := map[string]int{}   // of a file
	said := map[Finding]bool{} // what lasts of the findings before, from the start of a scenario on
	for _, planes := range federations {
		step, now := planes[0].Step, run(planes)
		if step == "" {
			clear(said)
		}
		for _, f := range now {
			if times[f]++; times[f] > 1 || step != "" && said[f.lasting()] {
				continue
			}
			if f.Step = step; step != "" {
				f.Message += " (after " + step + ")"
			}
			found[f.File] = append(found[f.File], f)
		}
		for _, f := range now {
			said[f.lasting()] = true
		}
		for _, p := range planes {
			for _, f := range p.Files {
				if uses[f.Name]++; uses[f.Name] == 1 {
					files = append(files, f.Name)
				}
			}
		}
	}
	all := []Finding{}
	for _, file := range files {
		of := slices.DeleteFunc(found[file], func(f Finding) bool { return f.Code == IdleComment && (f.Step != "" || times[f] < uses[file]) })
		slices.SortStableFunc(of, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Field, b.Field))
		})
		all = append(all, of...)
	}
	return all
}

// lasting returns what a finding has in common with itself after a step that changes the document, or others.
func (f Finding) lasting() Finding {
	return Finding{Code: f.Code, Resource: f.Resource, Subject: f.Subject, Field: f.Field}
}

// run returns what is to be said of one federation.
func run(planes []Plane) (all []Finding) {
	l := &linter{federated: len(planes) > 1, byKRI: map[string]*doc{}}
	for i := range planes {
		l.accept(&planes[i])
	}
	l.checkMeshes()
	l.checkPlanes()
	found := map[*File][]Finding{}
	for _, f := range l.found {
		found[f.in] = append(found[f.in], f.Finding)
	}
	for i := range planes {
		for j := range planes[i].Files {
			f := &planes[i].Files[j]
			all = append(all, f.suppressed(append(slices.Clone(f.findings), found[f]...))...)
		}
	}
	return all
}

// linter is the work on one set of planes.
type linter struct {
	federated bool
	sites     []*site
	docs      []*doc // that some plane has accepted
	byKRI     map[string]*doc
	found     []place
}

// place is a finding and the file that it is in.
type place struct {
	Finding
	in *File
}

// site is one control plane and what its documents are once they are stored.
type site struct {
	plane resource.Plane
	docs  []*doc
	view  *view
}

// doc is one accepted document.
type doc struct {
	resource.Document
	file   *File
	site   *site
	stored resource.Resource
	kri    string
	at     func(field string) (line, column int) // nil: as the document says
	number int                                   // in the order of the planes and their files
	policy bool                                  // of a type that is resolved
}

// String names the document for people: MeshTimeout slow.shop (east).
func (d *doc) String() string { return d.stored.Kind + " " + nameOf(d.stored.Identity()) }

func nameOf(id resource.Identity) string {
	return resource.StorageName(id.Name, id.Namespace) + " (" + cmp.Or(id.Zone, "global") + ")"
}

// say adds a finding about a field of d.
func (l *linter) say(d *doc, code Code, field, format string, args ...any) {
	line, column := 0, 0
	if d.at != nil {
		line, column = d.at(field)
	} else {
		line = d.LineOf(field)
	}
	f := d.file.finding(code, subject(d.Resource.Key), d.Index, line, field, fmt.Sprintf(format, args...))
	if f.Resource = d.kri; column > 0 {
		f.Column = column
	}
	l.found = append(l.found, place{f, d.file})
}

// accept stores the documents of a plane, and says what is to be said about each alone.
func (l *linter) accept(p *Plane) {
	s := &site{plane: resource.Plane{Zone: p.Zone, Federated: l.federated && p.Zone != ""}}
	l.sites = append(l.sites, s)
	seen := map[resource.Key]*doc{}
	schemas := policy.Schemas()
	for i := range p.Files {
		file := &p.Files[i]
		for j, read := range file.Documents {
			d := &doc{Document: read, file: file, site: s, number: len(l.docs)}
			if file.whole {
				d.at = file.at[j]
			}
			stored, role, err := api.Accept(s.plane, read.Resource)
			d.stored, d.kri = stored, stored.Identity().KRI("")
			if err != nil {
				l.refused(d, err)
				continue
			}
			if first := seen[stored.Key]; first != nil {
				l.say(d, Duplicate, "name", "%s:%d describes the same resource", first.file.Name, first.Line)
				continue
			}
			seen[stored.Key] = d
			if other := policy.DeclaredRole(read.Resource, role); other != "" {
				l.say(d, OtherRole, policy.RoleField, "%s", other)
			}
			for _, w := range append(policy.Advice(stored), schemas.Advice(stored)...) {
				l.warn(d, w)
			}
			_, d.policy = policy.LookupType(stored.Kind)
			s.docs, l.docs = append(s.docs, d), append(l.docs, d)
			if _, taken := l.byKRI[d.kri]; !taken {
				l.byKRI[d.kri] = d
			}
		}
	}
}

// warn passes a warning on.
func (l *linter) warn(d *doc, w resource.Warning) {
	l.say(d, codeOf[w.Code], w.Field, "%s", strings.TrimLeft(strings.TrimPrefix(w.Text, w.Field), ": "))
}

// refused says why a plane does not take a document.
func (l *linter) refused(d *doc, err error) {
	invalid, ok := errors.AsType[*resource.InvalidError](err)
	if !ok {
		hint := ""
		if !l.federated {
			hint = "; lint it with --zone NAME, or in a folder with global/ and zones/NAME/"
			if d.site.plane.Zone != "" {
				hint = ""
			}
		}
		l.say(d, WrongPlane, "", "%v%s", err, hint)
		return
	}
	for _, v := range invalid.Violations {
		code := WrongPlane
		if v.Field != "name" && !strings.HasPrefix(v.Field, "labels[") {
			code = InvalidCode(d.stored.Kind, v)
		}
		l.say(d, code, v.Field, "%s", v.Reason)
	}
}

// checkMeshes says which documents are of a mesh that is not there. Where no Mesh is, it may be kept elsewhere.
func (l *linter) checkMeshes() {
	known := []string{resource.DefaultMesh}
	some := false
	for _, d := range l.docs {
		if d.stored.Kind == "Mesh" {
			known, some = append(known, d.stored.Name), true
		}
	}
	for _, d := range l.docs {
		if some && d.stored.Mesh != "" && !slices.Contains(known, d.stored.Mesh) {
			hint := ""
			if near := resource.Nearest(d.stored.Mesh, known); near != "" {
				hint = "; did you mean " + near + "?"
			}
			l.say(d, NoMesh, "mesh", "there is no mesh %q%s", d.stored.Mesh, hint)
		}
	}
}

// checkPlanes looks at what the documents come to together.
func (l *linter) checkPlanes() {
	l.spread()
	ctx := context.Background() // nothing here waits
	var wg sync.WaitGroup
	for _, s := range l.sites {
		if s.plane.Zone != "" || !l.federated { // global knows the proxies of the zones, but configures none
			wg.Go(func() { s.view.answer(ctx) })
		}
	}
	wg.Wait()
	m := l.meet()
	l.checkReferences()
	l.checkOrder(m)
	l.presumeTraps(ctx)
	l.checkReach()
	l.checkServices(ctx)
	l.checkPermissions()
}
