// Package control is what the global control plane and the one of a zone have in common: a store, the keys of its tokens,
// the resolver, and the REST API with its listeners. What makes one of them a global or a zone, the sync above all, is in
// packages global and zone, which embed both types of this one.
//
//	p, err := control.Open(c.Config, control.Role{Owner: "zone east", StoreFile: "zone.db", ...})
//	if err != nil {
//		return err // the directory, the store, a certificate or an address is not usable
//	}
//	defer p.Close()
//	p.Serve(api.Config{Plane: ..., Sync: ...}) // adds what is the same everywhere
//	return p.Run(ctx, client.Run)              // and the other parts, until ctx ends
//
// Config has the settings that both know, with their checks and their flags, so that a setting is described once.
//
// Invariants: who may write by default follows from the addresses that are really listened on, not from those that were
// asked for; Open leaves neither a lock nor a listener behind when it fails.
package control
