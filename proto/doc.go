// Package proto is the room of the wire: the .proto files, and below it the Go code generated from them. The package
// itself holds no code.
//
//	kuma/mesh/v1alpha1     what control planes say to each other, and specs    -> mesh/v1alpha1, package meshv1
//	kuma/system/v1alpha1   zones, secrets and configs                         -> system/v1alpha1, package systemv1
//	meridian/store/v1      what a store writes to disk; ours alone            -> store/v1, package storev1
//	gen                    the generator
//
// The first two are a contract with a system that is not ours. Package names, message names, field names and numbers
// are those of Kuma 2.10: a full name travels in the type_url of an Any, a number in every message, and a field name,
// in lowerCamelCase, is what users write in YAML. So a field is spelled as Kuma spells it, dpCert beside
// ip_family_mode, and nothing is renamed for looks. Numbers that are gaps there are reserved here. Kinds whose spec is
// JSON have no message. The kinds from before targetRef (legacy.proto) are carried and never interpreted.
//
// The delta discovery messages of the two sync streams are Envoy's, taken from go-control-plane.
//
// After a change to a .proto file run `make proto` and commit the result; `make proto-check` fails until then. Both
// need Go and nothing else. In meridian/store/v1 a number that a release has used is never used for anything else:
// stores outlive binaries.
package proto
