package kds

import (
	"time"

	"github.com/meridian-mesh/meridian/kds/scope"
	"github.com/meridian-mesh/meridian/resource"
)

// State says how the sync with a peer is. It is about progress: a peer that is connected and takes nothing is Stalled.
type State string

const (
	Online  State = "online"  // connected, and what it is sent it answers
	Stalled State = "stalled" // something has been in flight or due for longer than the stall time, without progress
	Offline State = "offline" // not connected, but it was since this control plane started
	Unknown State = "unknown" // not heard of since this control plane started
)

// PeerStatus is how the sync with one peer is.
type PeerStatus struct {
	Zone     string       `json:"zone"` // the peer's name; "" is the global control plane
	State    State        `json:"state"`
	Since    time.Time    `json:"since"`              // when State became what it is
	Instance string       `json:"instance,omitempty"` // the peer's process, as it calls itself; "" if it does not
	Version  string       `json:"version,omitempty"`  // of the peer's program
	Extended bool         `json:"extended"`           // it speaks the extensions of docs/protocol.md
	Heard    time.Time    `json:"heard,omitzero"`     // when anything came from it last, be it a keepalive ping; zero: not known
	Kinds    []KindStatus `json:"kinds,omitempty"`

	Ends     map[string]uint64 `json:"ends,omitempty"`     // how often a connection ended, by Causes
	Refusals []Refusals        `json:"refusals,omitempty"` // how often resources were refused
}

// KindStatus is how far one kind has got on one stream. Revisions are those of the sender's store.
type KindStatus struct {
	Kind string `json:"kind"`
	Sent bool   `json:"sent"` // by this side to the peer; false: the other way

	// Sent: what the peer has been told, has answered, and has stored. The peer lacks nothing when all three are the
	// revision of the store. Not sent: Offered is what the peer said it has told, Applied what is stored here, and Acked
	// is Applied, or more while deletes are held.
	Offered resource.Revision `json:"offered"`
	Acked   resource.Revision `json:"acked"`
	Applied resource.Revision `json:"applied"`

	// Sent: by how many revisions Applied is behind the latest change of the kind, and how long ago the first change was
	// committed that is not applied. Both 0: nothing is missing.
	Lag        resource.Revision `json:"lag"`
	LagSeconds float64           `json:"lagSeconds"`

	Answered time.Time `json:"answered,omitzero"` // Sent: when the peer answered last; zero: not since it connected anew
	Messages uint64    `json:"messages"`          // responses since this control plane started
	Bytes    uint64    `json:"bytes"`             // of those
	Moved    bool      `json:"moved"`             // one of them had a resource, or a removal
	Rejected int       `json:"rejected"`          // resources that the receiver does not take as they are
	Waiting  time.Time `json:"waiting,omitzero"`  // since when there is something to do, without progress; zero: there is nothing
	Stalled  bool      `json:"stalled"`           // Waiting is too long ago
	Held     *Held     `json:"held,omitempty"`    // deletes that wait for Confirm; nil: none

	Delays *Delay `json:"-"` // Sent: from the commit of a change to its answer; nil: none yet
}

// Idle says whether there is nothing to see: no resource has travelled since this control plane started, and none is to.
func (k KindStatus) Idle() bool {
	return !k.Moved && k.Lag == 0 && k.Rejected == 0 && k.Held == nil && k.Delays == nil && !k.Stalled
}

// Held are deletes that a receiver keeps back: a complete list lacked too much of what it holds.
type Held struct {
	Deletes int       `json:"deletes"` // how many
	Of      int       `json:"of"`      // of how many resources
	Since   time.Time `json:"since"`
}

// Outcome is what has become of one resource in one zone.
type Outcome string

const (
	Applied     Outcome = "applied"
	Pending     Outcome = "pending"
	Rejected    Outcome = "rejected"     // refused as it is
	Quarantined Outcome = "quarantined"  // refused as it is, and therefore not offered again since
	OutOfScope  Outcome = "out-of-scope" // not for this peer
)

// Verdict is the outcome of a resource at one peer.
type Verdict struct {
	Zone     string            `json:"zone"` // the peer; "" is the global control plane
	Outcome  Outcome           `json:"outcome"`
	Revision resource.Revision `json:"revision,omitempty"` // that has been applied, or is to be
	Since    time.Time         `json:"since,omitzero"`     // when it was applied (at the latest) or rejected; zero: not known
	Code     string            `json:"code,omitempty"`     // of a rejection, one word
	Reason   string            `json:"reason,omitempty"`   // of a rejection, or what the peer lacks
	Rule     scope.RuleID      `json:"rule,omitempty"`     // that decided about the scope

	// Pending: how the sync with the peer is, and since when, which is why.
	State      State     `json:"state,omitempty"`
	StateSince time.Time `json:"stateSince,omitzero"`
}
