// Package federation runs a global control plane and any number of zones in one process, for tests: real stores and real
// streams, over wires in memory that can be cut, stalled and healed.
//
//	synctest.Test(t, func(t *testing.T) {
//		f := federation.New(t, "east", "west")
//		f.Link("east").Cut()
//		f.Zone("east").Apply(producerTimeout)
//		f.RequireAbsent("west", producerTimeout)
//		f.Link("east").Heal()
//		f.Settle()                      // fake time: passes every reconnect backoff at once
//		f.RequirePresent("west", producerTimeout)
//	})
//
// It is package sim/planes, where the faults and the invariants are, with a testing.TB. New must be called in a synctest bubble. It
// registers a cleanup that heals every link, lets the federation settle, and checks all invariants in every test, whatever the
// test was about. What is to go where it says itself (goesTo) instead of asking kds/scope.
package federation
