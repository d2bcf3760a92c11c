// Package wire is the link between two processes of this machine, with the faults that links have: for `meridian up`, which runs
// the steps of a scenario on processes, and for the tests that cut what they have started.
//
// A Wire listens on 127.0.0.1 and forwards every connection to an address that may change while the process behind it comes and goes:
//
//	w, err := wire.Listen(func() string { return "127.0.0.1:5685" }) // "": nobody is there now
//	if err != nil {
//		return err
//	}
//	defer w.Close()
//	// a zone dials w.Addr()
//	w.Cut()                                  // its connections are reset, and so is whatever it dials
//	w.Heal()
//	w.Stall(wire.Silence{Up: true})          // nobody is told, and nothing arrives at the far end
//
// Its nouns: the near end dials the Wire, the far end is dialled by it; up is from near to far. It knows bytes, no protocol, so TLS passes through
// it as it is.
//
// Invariants: once Cut has returned, no byte passes until Heal; once Stall has, none in that direction, and none is lost: what was read and
// not yet written is written after Heal. Close ends every connection and returns when nothing runs any more.
//
// The links of simulations, in memory and in virtual time, are those of sim/planes.
package wire
