package sim

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// Scenario is a federation, what happens to it, and what is expected of it.
type Scenario struct {
	Name string
	File string // that it was read from, or the folder
	Seed uint64 // of what is random: fuzzed faults
	Mesh string // that shorthand is in

	Zones     []Zone     // in the order of the file
	Documents []Document // what is written before anything is expected, in the order of the file
	Manifests []Manifest // the files that Documents are from, but for the scenario's own

	Expect     []Expectation
	Steps      []Step
	Invariants []planes.Invariant // that are checked at the end

	source     map[string]*yaml.Node // parts of the file as they were written
	background []Document            // of Manifests, if Sources left them to the caller and there are steps
}

// all returns the documents that are written before anything is expected, whoever reads their manifests.
func (s *Scenario) all() []Document { return slices.Concat(s.Documents, s.background) }

// Zone is how a zone is. Its documents are in Scenario.Documents.
type Zone struct {
	Name    string
	Version string   // that it says it has; "": this one
	Without []string // features that it does not announce

	At Position
}

// Manifest is a file whose documents are written on one plane.
type Manifest struct {
	File  string
	Plane string // a zone; "": global
}

// Document is a resource and the plane that it is written on.
type Document struct {
	resource.Document
	Plane     string // a zone; "": global
	Shorthand bool   // it was expanded from shorthand, which Line is of

	home string     // the mesh of the scenario
	doc  *yaml.Node // it, as far as it was written in the scenario file; nil: it is of a manifest
	at   *yaml.Node // where that begins
}

// At returns where a field (spec.to[0].targetRef) of the document is written, or else what it is missing in.
func (d Document) At(field string) Position {
	if d.doc == nil {
		return Position{File: d.Source, Line: d.LineOf(field)}
	}
	n := nearestNode(d.doc, d.at, field)
	return Position{d.Source, n.Line, n.Column}
}

// Key returns how the scenario calls the document: zone/namespace/name, without what it has not, "global" for no zone, and with @mesh at
// the end if it is in another mesh than that of the scenario.
func (d Document) Key() string { return keyOn(d.home, d.Plane, d.Resource) }

// ref returns what names the document among those of all kinds: MeshTimeout east/shop/kv.
func (d Document) ref() string { return d.Resource.Kind + " " + d.Key() }

// Position is a place in a scenario file.
type Position struct {
	File         string
	Line, Column int // from 1
}

// Step is something that happens.
type Step struct {
	At     time.Duration // after the federation was made and had settled
	Action Action
	Expect []Expectation // right after it, when nothing moves any more
	Pos    Position
}

// ActionKind says what happens in a step.
type ActionKind string

// The kinds of actions.
const (
	ActionNone       ActionKind = ""           // time passes
	ActionApply      ActionKind = "apply"      // Documents and Patches are written; what Keys name is written as the scenario has it
	ActionDelete     ActionKind = "delete"     // Keys are deleted
	ActionPartition  ActionKind = "partition"  // the links of Zones are cut
	ActionStall      ActionKind = "stall"      // the links of Zones fall silent, in one Direction or both
	ActionCutAfter   ActionKind = "cutAfter"   // the links of Zones are cut after Pieces more, in one Direction or in each
	ActionHeal       ActionKind = "heal"       // the links of Zones are whole again
	ActionCrash      ActionKind = "crash"      // the processes of Zones end
	ActionRestart    ActionKind = "restart"    // the processes of Zones come back over their stores
	ActionRemoveZone ActionKind = "removeZone" // Zones end for ever, and global deletes them
	ActionAddZone    ActionKind = "addZone"    // New zones join, with Documents
	ActionSkew       ActionKind = "skew"       // New zones take the place of those that are there, over their stores
)

// Action is what happens in a step. The fields that its kind does not name are empty.
type Action struct {
	Kind      ActionKind
	Zones     []string // "" is global
	Direction string   // up, down; "": both
	Pieces    int      // of data, from 1
	Keys      []string
	New       []Zone
	Documents []Document
	Patches   []Patch
}

// Patch changes fields of a document.
type Patch struct {
	Key string
	Set map[string]any // by path: to.0.default.http.requestTimeout; nil removes
	Pos Position
}

// ExpectationKind says what is expected.
type ExpectationKind string

// The kinds of expectations.
const (
	ExpectRole      ExpectationKind = "role"
	ExpectSynced    ExpectationKind = "synced"
	ExpectEffective ExpectationKind = "effective"
	ExpectMatches   ExpectationKind = "matches"
	ExpectWarnings  ExpectationKind = "warnings"
	ExpectChanged   ExpectationKind = "changed"
	ExpectStale     ExpectationKind = "stale"
	ExpectConverged ExpectationKind = "convergedWithin"
	ExpectNoGhosts  ExpectationKind = "noGhosts"
)

// Expectation is one thing that is to hold. The fields that its kind does not name are empty.
type Expectation struct {
	ID   string // stable within the scenario: expect[2], steps[1].expect[0], or what the file calls it
	Kind ExpectationKind
	Pos  Position

	Policy string   // role, synced, matches, warnings, stale: a key
	Role   string   // role
	To     []string // synced: planes that have it, "" is global
	NotTo  []NotTo  // synced: planes that do not
	Only   bool     // synced: no other plane has it

	Proxies     []string       // effective, matches, changed: patterns zone/namespace/name@mesh
	Type        string         // effective: of policy
	Destination string         // effective: a key of a service, or mesh; "": Inbound, or the proxy as a whole
	Inbound     string         // effective: name or port
	Listener    string         // effective: of a MeshGateway: port, host, or host:port; "": Destination is about the proxy as a whole
	Set         map[string]any // effective: values by path, nil: none
	From        string         // effective: the key of the policy that gives the values; "": any

	Codes  []string      // warnings
	Types  []string      // changed: of policy; nil: any
	Zone   string        // stale, noGhosts
	Within time.Duration // convergedWithin
}

// NotTo is a zone that does not get something.
type NotTo struct {
	Zone string
	Rule string // of kds/scope; "": any
}
