package sim

import (
	"time"

	"github.com/meridian-mesh/meridian/policy"
)

// Status is how an expectation or a scenario came out.
type Status string

// How it came out.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"  // something expected does not hold
	Unsound Status = "unsound" // of a scenario: it did not converge, or an invariant is broken
)

// Result is what came of a scenario.
type Result struct {
	Scenario string `json:"scenario"`
	File     string `json:"file,omitempty"`
	Seed     uint64 `json:"seed"`
	Counts   Counts `json:"counts"`
	Status   Status `json:"status"`

	Expectations []Outcome          `json:"expectations"`
	Invariants   []InvariantOutcome `json:"invariants"` // empty if it did not converge
	// Problem says why the federation did not converge; "": it did.
	Problem string `json:"problem,omitempty"`

	Duration time.Duration `json:"durationNs"` // of the machine's clock
	Virtual  time.Duration `json:"virtualNs"`  // that passed in the federation

	home  string              // the mesh of the scenario
	at    map[string]Position // of the documents, by kind and key
	state *state              // nil: it cannot be asked any more
}

// Counts are the sizes of a scenario.
type Counts struct {
	Zones    int `json:"zones"`
	Proxies  int `json:"proxies"`
	Services int `json:"services"`
	Policies int `json:"policies"`
	Steps    int `json:"steps"`
}

// Outcome is what came of one expectation.
type Outcome struct {
	ID     string          `json:"id"`
	Kind   ExpectationKind `json:"kind"`
	File   string          `json:"file,omitempty"`
	Line   int             `json:"line,omitempty"`
	Column int             `json:"column,omitempty"`
	At     time.Duration   `json:"atNs,omitempty"` // of a step
	Status Status          `json:"status"`

	// Subject says in a line what is expected: west/jobs/batch -> east/shop/kv  MeshTimeout http.requestTimeout = 3s.
	Subject string `json:"subject"`
	Want    string `json:"want"`
	Got     string `json:"got"`

	// Of a value that is not as expected.
	Proxy      string            `json:"proxy,omitempty"`      // the first with another value
	Candidates []Candidate       `json:"candidates,omitempty"` // weakest first; the last one is in force
	Comparator policy.Comparator `json:"comparator,omitempty"` // that decided between the last two
	Hint       string            `json:"hint,omitempty"`       // what to look at

	Duration time.Duration `json:"durationNs"` // of the machine's clock, to check it
}

// Candidate is one item that gives a field a value.
type Candidate struct {
	Policy string `json:"policy"` // its key
	Item   string `json:"item"`   // to[0]
	Role   string `json:"role"`
	Value  any    `json:"value"`
	Wins   bool   `json:"wins"`
}

// InvariantOutcome is what came of one invariant.
type InvariantOutcome struct {
	Invariant string   `json:"invariant"`
	Status    Status   `json:"status"`
	Reasons   []string `json:"reasons,omitempty"`

	// Duration is of the machine's clock: all invariants are checked at once, and each has an equal part of the time.
	Duration time.Duration `json:"durationNs"`
}

// Counted returns how many expectations passed, of how many.
func (r *Result) Counted() (passed, all int) {
	for _, o := range r.Expectations {
		if o.Status == Passed {
			passed++
		}
	}
	return passed, len(r.Expectations)
}
