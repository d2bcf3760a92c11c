package sim

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// Suffixes are how the names of scenario files end.
var Suffixes = []string{".scenario.yaml", ".scenario.yml"}

// Load reads scenarios: of each path that is a file, the one in it; of each folder, those of all scenario files in it and below,
// ascending by path; or, of a folder with no scenario file but with folders global or zones in it, the one of its manifests
// (LoadFolder). "-" is standard input.
//
// Errors: everything that is wrong with every file, each a *Problem, joined; or what the system says of a path. A folder without any
// scenario is no error.
func Load(paths ...string) ([]*Scenario, error) {
	var all []*Scenario
	var errs []error
	for _, path := range paths {
		scenarios, err := load(path)
		all, errs = append(all, scenarios...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

func load(path string) ([]*Scenario, error) {
	if path == "-" {
		data, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, err
		}
		return one(Parse("<stdin>", ".", data))
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file or folder", path)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return one(loadFile(path))
	}
	files, err := scenarioFiles(path)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 && isLayout(path) {
		return one(LoadFolder(path))
	}
	var all []*Scenario
	var errs []error
	for _, file := range files {
		s, err := loadFile(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, s)
	}
	return all, errors.Join(errs...)
}

func one(s *Scenario, err error) ([]*Scenario, error) {
	if err != nil {
		return nil, err
	}
	return []*Scenario{s}, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// IsScenario says whether a file is a scenario by its name.
func IsScenario(name string) bool {
	return slices.ContainsFunc(Suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

func scenarioFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != dir && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		if err == nil && !e.IsDir() && IsScenario(e.Name()) {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

func loadFile(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, filepath.Dir(path), data)
}

// Sources reads scenarios as Load does, but only what control planes are there, and what is written on them at the start and in steps. It
// leaves manifests to the caller: Scenario.Manifests names them, and Documents is what the scenario file itself says, without the Mesh that
// Run makes if nobody has written it. If a manifest has a document that is not valid, the steps are left out. Of a folder with scenario
// files the manifests in its folders global and zones are a scenario, too. A file that is no scenario, and a folder with none of these,
// give none.
//
// Errors: as of Load.
func Sources(path string) ([]*Scenario, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = scenarioFiles(path); err != nil {
			return nil, err
		}
	}
	var all []*Scenario
	var errs []error
	add := func(l *loader, read func()) {
		l.lazy = true
		read()
		s, err := l.done()
		if errs = append(errs, err); err == nil {
			all = append(all, s)
		}
	}
	for _, file := range files {
		if !IsScenario(file) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		l := newLoader(file, filepath.Dir(file))
		add(l, func() { l.parse(data) })
	}
	if isLayout(path) {
		l := newLoader(path, path)
		add(l, func() { l.folder(path, &yaml.Node{}, "") })
	}
	return all, errors.Join(errs...)
}

// isLayout says whether a path is a folder with folders global or zones in it.
func isLayout(path string) bool {
	return isFolder(filepath.Join(path, "global")) || isFolder(filepath.Join(path, "zones"))
}

// LoadFolder reads the manifests of a folder as a scenario without expectations: what is below global is written on global, what is
// below zones/<zone> in that zone. Documents that are not of a mesh (Deployments, Namespaces) are left out.
//
// Errors: as of Load.
func LoadFolder(dir string) (*Scenario, error) {
	l := newLoader(dir, dir)
	l.scenario.Name = filepath.Base(dir)
	if abs, err := filepath.Abs(dir); err == nil {
		l.scenario.Name = filepath.Base(abs)
	}
	l.folder(dir, &yaml.Node{}, "")
	l.scenario.Invariants = planes.Invariants()
	return l.done()
}

// Parse reads the text of a scenario file. name is for messages; the paths in the file are relative to dir.
//
// Errors: every *Problem of the file, joined.
func Parse(name, dir string, data []byte) (*Scenario, error) {
	l := newLoader(name, dir)
	l.parse(data)
	return l.done()
}

func (l *loader) parse(data []byte) {
	if root := l.document(data); root != nil {
		l.root(root)
	}
}

// loader reads one scenario.
type loader struct {
	reader
	dir       string
	scenario  *Scenario
	seen      map[placed]string // where each document is
	addresses int               // given out to proxies of shorthand
	into      *[]Document       // where documents go; nil: to the start of the scenario
	later     map[string]bool   // zones that steps add
	lazy      bool              // manifests are not read, but for the background of steps
	blind     bool              // some manifest could not be read
	broken    map[string]bool   // keys of policies that are not valid, so that nothing names them
}

// placed is a resource on a plane.
type placed struct {
	plane string
	key   resource.Key
}

func newLoader(file, dir string) *loader {
	return &loader{
		reader: reader{file: file}, dir: dir, seen: map[placed]string{}, later: map[string]bool{}, broken: map[string]bool{},
		scenario: &Scenario{File: file, Mesh: resource.DefaultMesh, Seed: 1},
	}
}

func (l *loader) done() (*Scenario, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	return l.scenario, nil
}

// root reads the scenario: first what it is made of, then what is said about that, in whatever order the file has it.
func (l *loader) root(n *yaml.Node) {
	s := l.scenario
	s.Name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(l.file), Suffixes[0]), Suffixes[1])
	nodes := map[string]*yaml.Node{}
	keep := func(name string) func(*yaml.Node, string) {
		return func(n *yaml.Node, _ string) { nodes[name] = n }
	}
	l.object(n, "", fields{
		{"scenario", func(n *yaml.Node, p string) { s.Name = l.text(n, p) }},
		{"seed", func(n *yaml.Node, p string) { s.Seed = uint64(l.number(n, p, 0, 1<<62)) }},
		{"mesh", func(n *yaml.Node, p string) { s.Mesh = l.text(n, p) }},
		{"folder", keep("folder")},
		{"include", keep("include")},
		{"resources", keep("resources")},
		{"zones", keep("zones")},
		{"policies", keep("policies")},
		{"expect", keep("expect")},
		{"steps", keep("steps")},
		{"invariants", keep("invariants")},
	})
	s.source = nodes
	in := func(name string, read func(n *yaml.Node, path string)) {
		if nodes[name] != nil {
			read(nodes[name], name)
		}
	}
	in("zones", l.zoneList)
	in("steps", l.zonesOfSteps)
	in("folder", func(n *yaml.Node, p string) { l.folder(filepath.Join(l.dir, l.text(n, p)), n, p) })
	in("include", func(n *yaml.Node, p string) { l.include("", n, p) })
	in("resources", func(n *yaml.Node, p string) { l.resources("", n, p) })
	in("zones", l.zoneContents)
	in("policies", l.policies)
	if l.lazy {
		if !l.blind {
			in("steps", l.steps)
		}
		return
	}
	l.addMesh()
	in("expect", func(n *yaml.Node, p string) { s.Expect = l.expectations(n, p, false) })
	in("steps", l.steps)
	s.Invariants = planes.Invariants()
	in("invariants", l.invariants)
}

// addMesh writes the Mesh of the scenario if it is not the one that global makes and nobody has written it.
func (l *loader) addMesh() {
	mesh := l.scenario.Mesh
	key := resource.Key{Kind: "Mesh", Name: mesh}
	if _, ok := l.seen[placed{"", key}]; ok || mesh == resource.DefaultMesh {
		return
	}
	r := resource.Document{Source: l.file, Line: 1, Resource: resource.Resource{Key: key, Spec: []byte{}}}
	l.scenario.Documents = append([]Document{{Document: r, Shorthand: true, home: mesh}}, l.scenario.Documents...)
}

func (l *loader) zoneNames() []string {
	var names []string
	for _, z := range l.scenario.Zones {
		names = append(names, z.Name)
	}
	return append(names, sortedWords(l.later)...)
}

func sortedWords(set map[string]bool) []string {
	var words []string
	for w := range set {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}

func (l *loader) knows(zone string) bool { return slices.Contains(l.zoneNames(), zone) }

// zoneList reads which zones there are.
func (l *loader) zoneList(n *yaml.Node, path string) {
	for _, e := range l.entries(n, path) {
		if l.goodZone(e) {
			z := Zone{Name: e.key, At: l.pos(e.at)}
			l.features(&z, e)
			l.scenario.Zones = append(l.scenario.Zones, z)
		}
	}
}

func (l *loader) goodZone(e entry) bool {
	switch {
	case e.key == globalPlane:
		l.bad(e.at, e.path, `no zone can be called "global" here: that is the global control plane; its documents go under include, resources or policies`)
	case !resource.ValidZoneName(e.key):
		l.bad(e.at, e.path, `found the zone name %q, want a DNS name of at most 63: lower case letters, digits, "-" and dots, a letter or digit first and last`, e.key)
	case e.value.Kind != yaml.MappingNode && e.value.Tag != "!!null":
		l.bad(e.value, e.path, "found %s, want an object", describe(e.value))
	default:
		return true
	}
	return false
}

// features reads version and without.
func (l *loader) features(z *Zone, e entry) {
	for _, f := range []string{"version", "without"} {
		n := child(e.value, f)
		switch {
		case n == nil:
		case f == "version":
			z.Version = l.text(n, join(e.path, f))
		default:
			z.Without = l.wordsOf(n, join(e.path, f), "feature", planes.Features())
		}
	}
}

// zoneContents reads what is in the zones.
func (l *loader) zoneContents(n *yaml.Node, path string) {
	for _, e := range l.entries(n, path) {
		l.zoneContent(e)
	}
}

func (l *loader) zoneContent(e entry) {
	if e.value.Kind != yaml.MappingNode {
		return
	}
	l.object(e.value, e.path, fields{
		{"version", nil},
		{"without", nil},
		{"include", func(n *yaml.Node, p string) { l.include(e.key, n, p) }},
		{"resources", func(n *yaml.Node, p string) { l.resources(e.key, n, p) }},
		{"services", func(n *yaml.Node, p string) { l.services(e.key, n, p) }},
		{"proxies", func(n *yaml.Node, p string) { l.proxies(e.key, n, p) }},
	})
}

// folder reads the layout global/ and zones/<zone>/. A zone that is not known yet is added.
func (l *loader) folder(dir string, at *yaml.Node, path string) {
	if !isLayout(dir) {
		l.bad(at, path, "found no folder global or zones in %s", dir)
		return
	}
	l.files("", l.below(filepath.Join(dir, "global"), at, path), at, path)
	zones, err := os.ReadDir(filepath.Join(dir, "zones"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.bad(at, path, "%s", err)
	}
	for _, e := range zones {
		if !e.IsDir() {
			continue
		}
		if !resource.ValidZoneName(e.Name()) || e.Name() == globalPlane {
			l.bad(at, path, "found the folder %s, which is no name of a zone", filepath.Join(dir, "zones", e.Name()))
			continue
		}
		if !l.knows(e.Name()) {
			l.scenario.Zones = append(l.scenario.Zones, Zone{Name: e.Name(), At: Position{File: filepath.Join(dir, "zones", e.Name())}})
		}
		l.files(e.Name(), l.below(filepath.Join(dir, "zones", e.Name()), at, path), at, path)
	}
}

// below returns the manifests in a folder and below, ascending by path.
func (l *loader) below(dir string, at *yaml.Node, path string) []string {
	var files []string
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && isManifest(file) {
			files = append(files, file)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.bad(at, path, "%s", err)
	}
	return files
}

func isManifest(file string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(file))) && !IsScenario(file)
}

// include reads the files that patterns name, relative to the scenario; ** is any number of folders. A pattern without a file is a
// problem.
func (l *loader) include(plane string, n *yaml.Node, path string) {
	for _, e := range l.words(n, path) {
		files, err := glob(l.dir, e.key)
		switch {
		case err != nil:
			l.bad(e.at, e.path, "%q: %s", e.key, err)
		case len(files) == 0:
			l.bad(e.at, e.path, "%q names no manifest (.yaml, .yml or .json) below %s%s", e.key, l.dir, l.nearFile(e.key))
		}
		l.files(plane, files, e.at, e.path)
	}
}

// nearFile returns a hint for a pattern that names nothing: the file or folder that is nearest to the first part of it that is not there.
func (l *loader) nearFile(pattern string) string {
	before := ""
	for part := range strings.SplitSeq(filepath.ToSlash(pattern), "/") {
		if strings.ContainsAny(part, `*?[\\`) {
			break
		}
		if _, err := os.Stat(filepath.Join(l.dir, before, part)); err == nil {
			before = filepath.Join(before, part)
			continue
		}
		entries, err := os.ReadDir(filepath.Join(l.dir, before))
		if err != nil {
			break
		}
		var names []string
		for _, e := range entries {
			if e.IsDir() || isManifest(e.Name()) {
				names = append(names, e.Name())
			}
		}
		if near := resource.Nearest(part, names); near != "" {
			return "; did you mean " + filepath.ToSlash(filepath.Join(before, near)) + "?"
		}
		break
	}
	return ""
}

// glob returns the manifests that a pattern names, ascending by path.
func glob(dir, pattern string) ([]string, error) {
	before, after, deep := strings.Cut(filepath.ToSlash(pattern), "**")
	if !deep {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		var files []string
		for _, file := range found {
			if info, err := os.Stat(file); err == nil && info.IsDir() {
				more, err := glob(file, "**")
				if err != nil {
					return nil, err
				}
				files = append(files, more...)
			} else if isManifest(file) {
				files = append(files, file)
			}
		}
		return files, err
	}
	after = strings.TrimPrefix(after, "/")
	if _, err := filepath.Match(after, ""); err != nil {
		return nil, err
	}
	roots, err := filepath.Glob(filepath.Join(dir, before))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, root := range roots {
		err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !isManifest(file) {
				return err
			}
			ok, err := filepath.Match(after, filepath.Base(file))
			if ok || after == "" {
				files = append(files, file)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// files reads manifests; documents of other APIs in them are left out.
func (l *loader) files(plane string, files []string, at *yaml.Node, path string) {
	for _, file := range files {
		l.scenario.Manifests = append(l.scenario.Manifests, Manifest{file, plane})
		if l.lazy && l.scenario.source["steps"] == nil {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			l.bad(at, path, "%s", err)
			continue
		}
		docs, err := policy.Schemas().Read(file, data, resource.ReadOptions{})
		if l.lazy {
			for _, d := range docs {
				l.scenario.background = append(l.scenario.background, Document{Document: d, Plane: plane, home: l.scenario.Mesh})
			}
		}
		for _, e := range eachInvalid(err) {
			if e.Foreign() {
				continue
			}
			if l.lazy {
				l.blind = true
				continue
			}
			for _, v := range e.Violations {
				field := v.Field
				if e.Key.Kind != "" {
					field = strings.TrimSuffix(e.Key.String()+": "+v.Field, ": ")
				}
				l.problems = append(l.problems, &Problem{Position{File: cmp.Or(e.Source, file), Line: v.Line}, field, v.Reason})
			}
		}
		for _, d := range docs {
			if !l.lazy {
				l.take(Document{Document: d, Plane: plane}, &yaml.Node{Line: d.Line}, file)
			}
		}
	}
}

// invariants reads which invariants to check.
func (l *loader) invariants(n *yaml.Node, path string) {
	var known []string
	for _, i := range planes.Invariants() {
		known = append(known, string(i))
	}
	l.scenario.Invariants = nil
	for _, word := range l.wordsOf(n, path, "invariant", known) {
		l.scenario.Invariants = append(l.scenario.Invariants, planes.Invariant(word))
	}
}
