package kds

import "sync/atomic"

// Fault is a rule of the protocol that tests can have broken, to see that they would notice.
type Fault string

const (
	FaultAckUnstored   Fault = "an answer and a record of progress for what was not stored"
	FaultDropTombstone Fault = "no removal of what was deleted"
	FaultNoMarker      Fault = "no marker at the end of a snapshot"
	FaultNoFence       Fault = "batches of a zone that do not depend on its epoch"
	FaultEarlyMarker   Fault = "a marker on every part of a snapshot"
	FaultForgetMissed  Fault = "nothing of what a peer has missed when it resumes"
)

var broken atomic.Value // a Fault

// Break breaks a rule in the whole process until mend is called. It is for tests of tests only.
func Break(f Fault) (mend func()) {
	broken.Store(f)
	return func() { broken.Store(Fault("")) }
}

func isBroken(f Fault) bool { return broken.Load() == f }
