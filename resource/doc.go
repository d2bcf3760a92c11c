// Package resource holds the words that all of Meridian shares: what a resource is, what it is called, which kinds
// there are, and how documents become resources and back.
//
// The nouns:
//
//   - Resource: one document as a control plane stores and sends it. Its Key (kind, mesh, name) is unique within one
//     store, its Identity (kind, mesh, zone, namespace, display name) is the same on every control plane.
//   - Descriptor: one row of Kinds, the literal table of all kinds: scope, encoding, and which way it flows over KDS.
//   - Schema: what the spec of a kind looks like and what else must hold. BaseSchemas has the kinds that are no policies;
//     a kind without a schema is known, but its documents are refused.
//   - Violation: one thing that is wrong with one field of a document. InvalidError has all of them.
//   - FieldInfo: a view of what documents of a kind may hold, for whoever explains or draws it.
//
// A document is YAML or JSON, in the Universal form (type, mesh, name, labels) or the Kubernetes form (apiVersion,
// kind, metadata). Reading one:
//
//	docs, err := policy.Schemas().Read("timeouts.yaml", data, resource.ReadOptions{})
//	// docs[0].Resource: Key{MeshTimeout default slow.kuma-demo}, Spec {"to":[{"default":{"idleTimeout":"1h0m0s"}, ...
//	// err:  timeouts.yaml:17: document 2: MeshTimeout default/fast: spec.to[0].default.http.requestTimout:
//	//       unknown field; did you mean requestTimeout?
//
// Reading compares the document with a tree of shapes that is built from the type of the spec. For a protobuf message
// that is its JSON form. For a Go struct the json tags give the names; a named string type with a method
// Enum() []string gives the allowed words; and the struct tag check adds, separated by commas:
//
//	required     the field must be given when its object is
//	patch        a value for merging (RFC 7396): below it an explicit null removes a field, and is kept. Not below a
//	             list, which a merge replaces whole
//	min=, max=   bounds of a whole number
//	default=     the value of a field that is left out of an object that is given
//	secret       no message shows the value
//
// A document is checked in one pass: whatever its shape leaves of it goes to the rules of its kind too, and what only
// follows from another violation is dropped. Where Kuma takes something that cannot be meant, Warnings says so.
//
// Invariants:
//
//   - Resource.Spec is canonical when it comes from Read: equal documents have equal bytes. JSON has sorted keys and no
//     white space, durations are in Go's notation, a list that is given but empty differs from one that is absent;
//     protobuf is deterministic.
//   - What ToJSON writes of such a resource, Read reads back as the same resource.
//   - Fields that this version does not know stay in the spec of a resource that came from a peer, and go on to others.
//     A JSON spec shows them. A document of a protobuf message cannot: whoever writes one over the resource drops them.
//   - Reading costs time and memory in proportion to the input. ReadOptions limits the size, the nesting and the number of
//     fields and items of a document; what aliases expand to and how many violations are reported is limited too.
//   - No error shows the data of a secret. Redact takes them out of a resource that is to be shown.
//   - A resource is a value. Nobody modifies its maps and slices.
//
// Left to others: what policies mean (package policy), who may write what (package api), what is sent where (package
// kds/scope).
package resource
