// Package scope decides which resource a control plane sends to which peer, and says by what rule.
//
// There are two streams. A zone tells global what was written in it. Global tells a zone what was written on global, and
// of what other zones wrote only what is meant for all: their MeshServices, their ingresses, their producer policies.
//
//	global := scope.Peer{Zones: map[string]bool{"east": true, "west": true}}
//	west := scope.Peer{Zone: "west", Features: scope.ParseFeatures(scope.Announced)}
//	send, rule := scope.Decide(consumerPolicyOfEast, global, west)
//	// send is false, rule is scope.NotProducer, rule.Explain() says why in one sentence
//
// Every outcome has a RuleID, also every reason for keeping a resource back; the sender, `sync explain` and the simulator
// ask the same function. Decide is pure: what it needs to know of the federation comes in through Peer.
//
// What a peer cannot read is not sent to it: see Levels.
//
// When a fact is missing the resource stays where it is. So a policy of a zone that global does not know is kept back
// (ZoneUnknown), where Kuma would send it; see docs/divergence.md.
//
// How a resource is changed on its way (name, labels, status) is not decided here but in package kds.
package scope
