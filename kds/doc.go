// Package kds is the sync protocol between control planes: Kuma's KDS, version 3, on the wire.
//
// A zone dials global and opens two streams. On GlobalToZoneSync the zone subscribes to kinds of resources and global
// sends them; on ZoneToGlobalSync the roles are reversed. The code of both ends is therefore the same twice: a sender,
// which follows a store and tells the peer, and a receiver, which writes what it is told into a store.
//
//	server := kds.NewServer(kds.ServerConfig{Store: st, TLS: cert})
//	err := server.Serve(ctx, listener)                        // global
//	client := kds.NewClient(kds.ClientConfig{Zone: "east", Address: "grpcs://global:5685", CAFile: "ca.pem", Store: st})
//	err := client.Run(ctx)                                    // zone; client.Status() says how the link is
//
// Sender. Per kind it knows up to which revision of the store the peer has been told, and what exactly the peer holds. A
// commit wakes it; it reads what changed since, asks kds/scope what the peer may have, and sends one response per kind. A
// kind with a response in flight waits for its ACK or NACK; what changes meanwhile goes into the next response. Nothing
// polls: an idle stream does nothing at all. One that is busy rests up to 20 ms between responses and lets changes gather.
// Of a Kuma peer the sender keeps what the peer holds (offer); of a Meridian peer only up to which revision it does (feed),
// and a catalog that all sessions share knows the rest.
//
// Receiver. It decodes a response, recomputes what the peer must not decide (zone, origin, role), and stores the valid
// resources in one batch. Then it ACKs, or NACKs with the reasons, naming resource and field.
//
// Invariants:
//
//   - A response is acknowledged after its batch is on disk.
//   - A peer that has ACKed everything holds exactly what kds/scope gives it of the store's revision.
//   - From a Kuma peer, the first response of a kind on a stream is complete: what it does not name is gone. From a Meridian
//     peer, absence means deletion at the marker that ends a snapshot, and nowhere else.
//   - A receiver's record of progress is in the batch that it is about, or later; never before.
//   - At most one response per kind is in flight.
//   - On global, a zone's streams write and delete that zone's resources only. On a zone they never touch what was
//     written there.
//
// One goroutine owns the state of a stream, a second one only receives. The end of one stream ends the others of the same
// connection, and the client dials again.
//
// A ledger keeps how far each peer has got and what it has refused: Status, SyncOf, Retry and Confirm ask it.
//
// On global a zone joins once: from then on everything that is written for it is fenced by its epoch, so that a deleted zone
// brings nothing back (join, fence). Complete lists go out by turns (admission). Drain says when nobody holds anything of a zone
// any more. What one peer may send and be sent is bounded (Tuning, ServerConfig). Three more streams let global ask the Envoys
// of a zone (AskEnvoy); a Meridian zone opens them when it is asked to.
//
// Where this differs from Kuma's KDS and from delta xDS: docs/divergence.md. What Meridian peers add: docs/protocol.md. What
// holds when things break: docs/failures.md.
package kds
