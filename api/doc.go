// Package api is the REST API that both planes serve: Kuma's paths and documents, so that kumactl and people's scripts
// keep working, and a few endpoints of our own. docs/reference/http-api.md lists what goes beyond Kuma.
//
// New returns a handler over a store. Reads go through find, which takes whatever word a person has for a resource: a
// storage name, a KRI, or a display name that only one resource has. All writes, of one document or of many, are one
// call of commit: read what is stored, decide (plan), and write everything as one batch that holds only if nothing of
// what was read has changed; if it has, read and decide again.
//
//	h := api.New(api.Config{Store: st, Resolver: res, Schemas: policy.Schemas(), Plane: resource.Plane{Zone: "east"}})
//	go api.Serve(ctx, listener, h)
//
// Invariants: a batch is written whole or not at all; what would change nothing is not written; a resource is written
// only on the plane that owns it; every error is Kuma's error document, and status is the one place that maps errors
// to HTTP. Which proxies a policy matches, and what is in force on one, is asked of the resolver.
package api
