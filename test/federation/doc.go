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
// New must be called in a synctest bubble. It registers a cleanup that heals every link, lets the federation settle, and
// checks the invariants in every test, whatever the test was about:
//
//   - no lost write: every acknowledged write is on the plane that acknowledged it, as it was written last
//   - no resurrection: what was deleted is nowhere
//   - scope: each plane holds what it is to get from the others and nothing else, and no plane ever held anything that
//     was not to go there (its log would show it)
//   - inspect equals delivered: what a zone answers about a proxy is what a new resolver makes of the zone's store
package federation
