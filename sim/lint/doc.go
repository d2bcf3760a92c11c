// Package lint finds what a set of documents does that its authors will hardly have meant, before any control plane
// has seen them. The nouns:
//
//   - Finding: one thing to say about one document, with a code (MZ0201), a place, what is wrong and how to mend it.
//   - Rule: one row of Rules, the table of all codes. docs/lint has a page for each.
//   - File: the documents of one source, parsed, with the comments that suppress findings.
//   - Plane: the files of one control plane. Several planes are a federation: global and its zones. Run takes as many
//     federations as one has: scenarios may share files.
//
// For example:
//
//	file := lint.Parse("timeouts.yaml", data, lint.Options{})
//	for _, f := range lint.Run([]lint.Plane{{Zone: "east", Files: []lint.File{file}}}) {
//		fmt.Println(f.File, f.Line, f.Code, f.Message)
//	}
//
// Nothing here decides what a document means. Each plane accepts its documents as the REST API does (api.Accept); what
// was written elsewhere arrives where kds/scope lets it, as KDS brings it (kds.Carry); and in each zone the resolver
// says where each policy wins and who masks it (zone/resolver). lint reads these answers.
//
// # What lint does not see
//
// A repository of policies seldom holds the proxies and services that it is about: a cluster makes those. So lint says
// that something is missing only where it sees others of its kind: a policy that selects no proxy, where there are
// proxies; a service that is not there, where there are services. A finding that would rest on what may be elsewhere
// is left out: a miss is better than a false alarm. One thing is presumed: a service that a producer writes about has
// proxies in its namespace, and a role trap is one for each of them that both policies select whatever it is.
//
// Invariants: no I/O and no clock; equal input gives equal findings, ascending by file and place; every document is
// either judged or has a finding that says why it cannot be.
//
// Not here: files and folders, output and exit codes (cmd/meridian).
package lint
