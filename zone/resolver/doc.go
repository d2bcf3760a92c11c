// Package resolver answers what is in force on the data plane proxies of a zone, from memory.
//
// A Resolver follows a store: it keeps the Meshes, Dataplanes, services and policies parsed and indexed, and applies
// each change to what the change can touch. A question then costs what its answer costs, whatever else the store holds.
// The nouns:
//
//   - Source: the part of a store that is followed.
//   - snapshot: everything at one revision, and never changed. index: one mesh of it.
//   - edit: what makes the next snapshot of a snapshot and some changes. What it leaves alone the two share.
//   - memo: parts of earlier answers, found by what they depend on.
//   - the questions: Rules (merged confs, in Kuma's form), Effective (per field, with who gave it and who lost),
//     Matching (the proxies that a policy or a service selects), Policies (those in force on a proxy, in order), Effect
//     (what one policy comes to, and where).
//
// Every question first catches up with the store, so whoever wrote something and asks sees it. Run keeps the index
// warm in between, so that catching up is short:
//
//	res := resolver.New(resolver.Config{Source: store, Log: log})
//	go res.Run(ctx)
//	answer, err := res.Rules(ctx, "default", "cart-1.shop")
//
// # What a change touches
//
// A policy touches the answers of its type on the proxies that its top-level targetRef can select, before or after: by
// namespace, by tag, by label or name, by the MeshGateway they serve, by the MeshHTTPRoute it is for. A MeshGateway
// touches the proxies that have the tags of a selector; a MeshHTTPRoute, besides, the policies that are for it. A
// service touches the types of policy of which some item names it or selects one of its labels. Nothing is computed
// when a change comes: a stamp says that what is remembered is out of date, and the next question computes it.
//
// # Memory
//
// A Dataplane takes 2.3 kB, a MeshService 2.7 kB, a policy with one item 3.8 kB, each with the six labels that zones give
// them: BenchmarkMemory, with the copy of labels and spec that came from the store, which is a quarter of it. What is
// remembered takes at most about 350 MB (the limits of memo, or Config.Memory), whatever the store holds: 300 B for each
// proxy and type of policy, 16 B for each policy in a list, which is kept as it was before and after it was sorted (equal
// lists are one), 1 kB for each rule of an answer (proxies that the same policies configure share their outbound rules;
// more than half of it is their JSON). An index of 2,000 proxies, services and policies each takes 20 MB when all proxies
// have been asked about. Where no two proxies have the same policies there is nothing to share: with 1,000 policies for
// all and one more for each of 2,000 proxies it is 121 MB, and the first answer about a proxy takes some 5 ms instead of
// 0.4 (BenchmarkOwn).
//
// Invariants: an answer shows the store at one revision, and equals what a new Resolver would say at that revision;
// questions never wait for one another or for a change that was made after they began; a stored resource that does not
// parse is left out, logged once, and breaks nothing else.
//
// Not here: what the answers mean (policy), and HTTP (api).
package resolver
