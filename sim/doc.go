// Package sim says what policies do in a federation that does not exist yet: one file describes global, the zones, their
// proxies, services and policies, and what is expected of them; Run starts all of it in this process, in virtual time, and
// answers.
//
//	scenarios, err := sim.Load("checkout.scenario.yaml")   // or folders with global/ and zones/<zone>/
//	result, err := sim.Run(ctx, scenarios[0], sim.Options{})
//	for _, o := range result.Expectations {
//		fmt.Println(o.Status, o.Subject, o.Want, o.Got)
//	}
//
// The nouns:
//
//   - Scenario: what a file, or a folder of manifests, says. docs/reference/scenario.md is the reference of the format.
//   - Expectation: one thing that is to hold; Outcome: whether it did, and if not, why not.
//   - Step: something that happens at a time of the virtual clock: a write, a fault, an end of one.
//   - Result: the outcomes, and the federation as it was before the first step, for questions (Result.Effective,
//     Result.Policies, Result.Sync).
//   - Change: one effective value that differs between two scenarios (Plan).
//
// Nothing here decides what a policy means, who gets it or how it travels: sim/planes runs the control planes as the commands
// do, documents are written through their REST API, their resolvers are asked, and kds says who has what and by which rule.
//
// Invariants: equal scenarios have equal results, but for durations; Run leaves no goroutine and no file behind; a Result may be
// used by any number of goroutines. Run must not be called in a synctest bubble (sim/virtual says why).
//
// Not here: output formats and exit codes (cmd/meridian), lint (sim/lint).
package sim
