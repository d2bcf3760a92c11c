// Package resolver answers what is in force on the data plane proxies of a zone, from memory.
//
// A Resolver follows a store: it keeps the Meshes, Dataplanes, services and policies parsed and indexed, and applies
// each change to the one entry it is about. A question then costs what its answer costs, whatever else the store holds.
// The nouns:
//
//   - Source: the part of a store that is followed.
//   - index: one mesh, parsed: policies by kind in name order, services by identity and by label.
//   - the questions: Rules (merged confs, in Kuma's form), Effective (per field, with who gave it and who lost),
//     Matching (the proxies that a policy or a service selects).
//
// Every question first catches up with the store, so whoever wrote something and asks sees it. Run keeps the index
// warm in between, so that catching up is short:
//
//	res := resolver.New(resolver.Config{Source: store, Log: log})
//	go res.Run(ctx)
//	answer, err := res.Rules(ctx, "default", "cart-1.shop")
//
// Invariants: an answer shows the store at one revision; a stored resource that does not parse is left out, logged
// once, and breaks nothing else.
//
// Not here: what the answers mean (policy), and HTTP (api).
package resolver
