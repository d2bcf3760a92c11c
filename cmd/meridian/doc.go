// Command meridian is the command line of the control planes: it reads and writes resources over their REST API, shows
// what is in force on a proxy and why, and can play and run a whole federation on one machine.
//
//	meridian apply -f policies/
//	meridian get meshtimeouts
//	meridian explain consumer.first-consumer --to demo-app
//	meridian demo
//
// It talks to the control plane at --address (MERIDIAN_ADDRESS, default http://127.0.0.1:5681). What it prints on
// standard output is a table for people, or the same as JSON or YAML with -o; errors and warnings go to standard error.
//
// Exit codes: 0 done; 1 it failed (no answer, refused, not found); 2 bad input or usage: a document that is not valid,
// an unknown command, flag or kind. A word that is not known is answered with the nearest one that is.
//
// There is one file per command, and below them client.go (the REST API), documents.go (files and standard input) and
// federation.go (control planes as child processes, for demo and up). With -f the commands that ask (api, explain,
// inspect; ask.go) open a control plane themselves: a zone that lives for the length of the call.
package main
