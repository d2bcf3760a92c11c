// Package global is the global control plane as a value: a store, the REST API, the KDS server that zones connect to,
// and the resolver. All wiring is here, and in package control what a zone wires in the same way.
//
//	g, err := global.Open(global.Config{Config: control.Config{DataDir: dir, HTTPAddr: "127.0.0.1:5681"}, KDSAddr: ":5685"})
//	if err != nil {
//		return err // the directory, the store, the certificate or an address is not usable
//	}
//	defer g.Close()
//	return g.Run(ctx)
//
// Open takes everything that may be refused: after it, the addresses are bound and known (URL, KDSURL), and whoever
// connects is served as soon as Run runs. Run owns every goroutine and returns after all of them have; Close gives back
// what Open took.
//
// Invariants: the mesh "default" is made once, when the store is new, and never again once it was deleted; KDS is
// encrypted, and zones prove who they are, unless Insecure is asked for; there is a key to sign tokens with.
//
// What the parts promise is said where they are: storage, api, auth, kds, zone/resolver.
package global
