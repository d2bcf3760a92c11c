// Package auth says who somebody is: it signs and verifies tokens, keeps the keys for that in step with the store, and
// reads certificates. Who may do what is decided where it is done: kds for zones, api for people.
//
// Its nouns. A Use is what tokens are for, zones or users; each use has keys of its own. Keys are what signs and verifies
// at one moment: values without I/O. A Keyring follows the GlobalSecrets of a store and has the Keys of now; it also ends
// what rests on a credential that ceases to hold. A Certificate is a pair of files that is read again when it changes.
//
//	ring := auth.NewKeyring(st, nil, log)
//	go ring.Run(ctx)
//	token, err := ring.IssueZone(ctx, "east", []string{auth.ScopeZone}, 24*time.Hour)
//	zone, release, err := ring.AuthenticateZone(ctx, token, nil, func(err error) { … }) // called when it is revoked or expires
//
// Tokens, names and claims are Kuma's: JSON Web Tokens, RS256, signed with the key of the highest serial; the header kid
// is the serial. The keys are GlobalSecrets zone-token-signing-key-N and user-token-signing-key-N, the tokens that no longer
// count are listed by id, with commas between, in zone-token-revocations and user-token-revocations. So rotation is a
// write of key N+1, after which N still verifies, and then a delete of N, which ends what it had signed.
//
// Invariants:
//   - What was written before a question counts for the answer: a token is refused from the moment its revocation is stored.
//   - A token says of itself what it is for; one that is not for zones opens no stream, even with a right signature.
//   - No error and no log shows a token or a key.
//   - A zone token is verified once for each change of a GlobalSecret, not for each call: the last 4096 that hold are remembered. Keys are
//     parsed as often.
package auth
