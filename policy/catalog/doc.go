// Package catalog describes the kinds to people and their editors: one model of a kind, from the same Go types that
// documents are checked against, and what is made of it.
//
// The nouns:
//
//   - Kind: one kind, with its purpose, the fields of its spec, what its targetRefs may select, and examples.
//   - Field: one field of a spec, with its meaning, type, default and the fields below it.
//
// What a field looks like comes from resource.Schemas.Fields, what it means from the doc comments of the Go types. Source
// text is not there when the program runs, so `make docs` (policy/catalog/gen) writes the comments and examples into
// generated.go, and a test fails when that file is not what the sources say.
//
//	kind, err := catalog.Lookup("MeshRetry")
//	field, err := kind.Find("to.default.http.numRetries") // through lists and maps, "spec." may be left out
//	field.Doc    // numRetries is how often ...
//
// Three things are made of the model: the text of `meridian explain-type` (Explain), a JSON Schema for editors (Schema,
// Index) and a page of the reference (Page, PageIndex).
package catalog
