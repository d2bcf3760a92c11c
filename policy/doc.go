// Package policy says what a policy is and what a set of policies comes to on one data plane proxy.
//
// A policy has a top-level targetRef (which proxies it configures) and lists of items, each with a conf: `to` (traffic
// to a destination), `from` and `rules` (traffic that comes in), or one `default` for the proxy as a whole. The nouns:
//
//   - Policy: a stored resource, parsed. Its role (RoleOf) and its labels say how far it reaches and how strong it is.
//   - Proxy, Gateway, Destination, Mesh: the other resources that an answer depends on, parsed.
//   - Input: everything that one proxy's answer depends on.
//   - Entry: one item of one policy, placed in the order of all that apply.
//
// Resolving takes four steps, each in a file of its own: match (does the policy select the proxy, match.go), order
// (which of two is stronger, order.go), group (which items meet on one destination, inbound or set of clients,
// outbound.go and legacy.go) and merge (RFC 7396, the strongest last, merge.go; rules of routes by what they match,
// route.go). These functions render the groups:
//
//	answer := policy.Rules(in)                          // merged confs and origins: GET .../_rules
//	tos, froms := policy.Effective(in, policy.Filter{}) // per field: who gave it, who lost and why
//	proxy := policy.EffectiveProxy(in, policy.Filter{}) // the same of what is for the proxy as a whole
//	all := policy.Policies(in, policy.Filter{})         // the policies themselves, in order
//	conf := policy.OnOutbound(in, t, policy.Outbound{}) // of one type towards one destination, with the whole chain
//	places, _, _ := policy.NewEffects(p).On(in)         // the other way about: where one policy wins, and who masks it
//
// policy.OnEgress answers for a zone egress, which no policy selects as a proxy. Input.Memo lets a caller that is asked
// the same time and again keep the parts of answers; touch.go says which of them a change can touch.
//
// For example, a proxy of namespace shop, a producer policy that gives the service cart http.requestTimeout 1s, and a
// consumer policy of shop that gives it 3s: both match, the role decides, Rules says {"http":{"requestTimeout":"3s"}}
// with both origins, and Effective names the consumer as the origin and the producer as a loser by "role".
//
// Invariants: nothing here does I/O or reads a clock; equal input gives equal output; no argument is modified, so
// parsed values can be shared by any number of goroutines. Answers equal those of Kuma 2.10, the peer whose policies
// these are, except where docs/adr says otherwise.
//
// Not here: where the resources come from and how the index is kept (zone/resolver), who receives a policy (kds/scope),
// and the shapes and names of documents (resource).
package policy
