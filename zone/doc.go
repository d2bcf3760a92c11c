// Package zone is the control plane of one zone as a value: a store, the REST API, the resolver, and the KDS client
// that keeps it in step with the global control plane. All wiring is here, and in package control what global wires in the
// same way.
//
//	z, err := zone.Open(zone.Config{
//		Config: control.Config{DataDir: dir}, Name: "east", Global: "grpcs://global:5685", TLSCA: "kds.crt", TokenFile: "east.token",
//	})
//	if err != nil {
//		return err // the directory, the store, the certificates or the address is not usable
//	}
//	defer z.Close()
//	return z.Run(ctx)
//
// Open takes everything that may be refused, but it does not wait for the global control plane, and neither does Run: a
// zone serves what it has and accepts its own writes, and says since when it has been alone (Link). Run owns every
// goroutine and returns after all of them have; Close gives back what Open took.
//
// Without Global the zone stands alone: it owns everything in it, and makes the mesh "default" when its store is new. In
// a federation meshes come from global.
//
// Invariant: a data directory belongs to one zone for ever. Its resources carry the zone's name, and another zone that
// opened it would claim them.
//
// What the parts promise is said where they are: storage, api, auth, kds, zone/resolver.
package zone
