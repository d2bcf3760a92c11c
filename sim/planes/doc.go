// Package planes runs a federation in one process: a global control plane and any number of zones, wired exactly as the
// commands wire them, with real stores and real KDS streams, over wires in memory that can be cut, stalled and healed, on disks that
// can be full and under processes that can be killed in the middle of a write.
//
//	err := virtual.Run(func() error {
//		f, err := planes.Open(planes.Config{Zones: []planes.Zone{{Name: "east"}, {Name: "west"}}})
//		if err != nil {
//			return err
//		}
//		defer f.Close()
//		f.Link("east").Cut()
//		err = f.Zone("east").Apply(producerTimeout)
//		f.Link("east").Heal()
//		f.Settle() // virtual time: passes every reconnect backoff at once
//		return errors.Join(append(f.Check(), err)...)
//	})
//
// Everything here must be called in a synctest bubble: time is virtual, and Settle is what waiting is.
//
// Check asserts, after it has healed every link, brought up every plane and let the federation settle:
//
//   - NoLostWrite: every acknowledged write is on the plane that acknowledged it, as it was written last; and of a batch that
//     a plane was killed over there is all or nothing
//   - NoResurrection: what was deleted is nowhere
//   - Reach: each plane holds what it is to get from the others and nothing else
//   - NoLeak: no plane ever held anything that was not to go there (its log would show it)
//   - InspectEqualsDelivered: what a plane answers about a proxy is what a new resolver makes of the plane's store
//
// What goes where is asked of kds/scope, unless Config.Goes has a mind of its own. The harness of test/federation is this
// package with a testing.TB; package sim is a language on top of it.
package planes
