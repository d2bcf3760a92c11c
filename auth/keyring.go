package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/meridian-mesh/meridian/resource"
)

// Store is what this package needs of a store. Promises: package storage.
type Store interface {
	Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error)
	View(ctx context.Context, kind string, fn func(resource.Revision, iter.Seq2[resource.Resource, error]) error) error
	Since(ctx context.Context, kind string, rev resource.Revision) ([]resource.Change, resource.Revision, error)
	Advanced(rev resource.Revision) <-chan struct{}
	Revision() resource.Revision
}

// Keyring has the keys of a store. Its methods may be called from any goroutine.
type Keyring struct {
	store Store
	log   hclog.Logger
	ca    *ClientCA // nil: whoever TLS has let in stays in

	mu      sync.Mutex // guards what follows
	read    bool
	rev     resource.Revision
	secrets map[string][]byte // GlobalSecrets by name; never modified
	zone    *Keys
	user    *Keys
	pool    *x509.CertPool // of ca, that the leases were last verified with
	leases  map[*lease]struct{}
}

// lease is something that lasts as long as a credential holds.
type lease struct {
	token  string              // "": rests on no token
	chain  []*x509.Certificate // nil: rests on no certificate
	lapsed func(error)
	timer  *time.Timer // nil: the credential does not expire
}

// NewKeyring returns the keys of a store. ca vouches for the client certificates of zones; nil: whatever TLS has verified
// holds until it expires. log: nil discards.
func NewKeyring(st Store, ca *ClientCA, log hclog.Logger) *Keyring {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &Keyring{store: st, ca: ca, log: log.Named("auth"), leases: map[*lease]struct{}{}}
}

// caPoll is how often it is looked whether the authorities have changed: a stream that is open asks for nothing.
const caPoll = 5 * time.Second

// Run follows the store and the file of the authorities until ctx ends, and ends what rests on keys, tokens and certificates
// that no longer count. nil: it was asked to stop.
func (k *Keyring) Run(ctx context.Context) error {
	var poll <-chan time.Time // never, without authorities
	if k.ca != nil {
		ticker := time.NewTicker(caPoll)
		defer ticker.Stop()
		poll = ticker.C
	}
	for {
		rev, err := k.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, resource.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the signing keys: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-k.store.Advanced(rev):
		case <-poll:
			k.followCA()
		}
	}
}

// followCA ends the leases of certificates that are not vouched for any more, if the authorities have changed.
func (k *Keyring) followCA() {
	pool := k.ca.pool()
	ended := map[*lease]error{}
	k.mu.Lock()
	if pool != k.pool {
		k.pool = pool
		for l := range k.leases {
			if l.chain == nil {
				continue
			}
			if err := vouched(l.chain, pool); err != nil {
				ended[l] = err
			}
		}
	}
	k.mu.Unlock()
	for l, reason := range ended {
		k.end(l, reason)
	}
}

// IssueZone returns a new token for a zone. ErrNoKey: there is nothing to sign it with.
func (k *Keyring) IssueZone(ctx context.Context, zone string, scope []string, validFor time.Duration) (string, error) {
	keys, err := k.keys(ctx, ZoneTokens)
	if err == nil && keys.signer.Key == nil {
		err = ErrNoKey
	}
	if err != nil {
		return "", err
	}
	return keys.signer.Zone(zone, scope, validFor, time.Now())
}

// IssueUser returns a new token for a user. ErrNoKey: there is nothing to sign it with.
func (k *Keyring) IssueUser(ctx context.Context, name string, groups []string, validFor time.Duration) (string, error) {
	keys, err := k.keys(ctx, UserTokens)
	if err == nil && keys.signer.Key == nil {
		err = ErrNoKey
	}
	if err != nil {
		return "", err
	}
	return keys.signer.User(name, groups, validFor, time.Now())
}

// AuthenticateUser returns the user that a token proves, and the user's groups. ErrToken: it does not count.
func (k *Keyring) AuthenticateUser(ctx context.Context, token string) (name string, groups []string, err error) {
	keys, err := k.keys(ctx, UserTokens)
	if err != nil {
		return "", nil, err
	}
	proven, err := keys.User(token, time.Now())
	return proven.Name, proven.Groups, err
}

// AuthenticateZone returns the zone that a credential proves: a token ("": none), a client certificate as the transport has
// verified it, with those that it was verified by (nil: none), or both, which must agree. If the credential ceases to hold before release is called, lapsed is
// called with the reason, once; lapsed may be nil. release is nil with an error.
//
// Errors: ErrToken, ErrCertificate, ErrNoCredential, or that of the store.
func (k *Keyring) AuthenticateZone(ctx context.Context, token string, chain []*x509.Certificate, lapsed func(error)) (zone string, release func(), err error) {
	var expires time.Time
	var keys *Keys          // that the token was verified with
	var pool *x509.CertPool // that the certificate was
	if len(chain) > 0 {
		if k.ca != nil { // the connection may be older than the authorities of now
			pool = k.ca.pool()
			if err = vouched(chain, pool); err != nil {
				return "", nil, err
			}
		}
		if zone, err = zoneOfCertificate(chain[0]); err != nil {
			return "", nil, err
		}
		expires = chain[0].NotAfter
	}
	switch {
	case token == "" && len(chain) == 0:
		return "", nil, ErrNoCredential
	case token != "":
		if keys, err = k.keys(ctx, ZoneTokens); err != nil {
			return "", nil, err
		}
		proven, err := keys.zoneControlPlane(token)
		if err != nil {
			return "", nil, err
		}
		if zone != "" && zone != proven.Zone {
			return "", nil, fmt.Errorf("%w: it is of zone %q, and the token of zone %q", ErrCertificate, zone, proven.Zone)
		}
		zone = proven.Zone
		if expires.IsZero() || proven.Expires.Before(expires) {
			expires = proven.Expires
		}
	}
	if lapsed == nil {
		return zone, func() {}, nil
	}
	l := &lease{token: token, chain: chain, lapsed: lapsed}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leases[l] = struct{}{}
	if pool != k.pool {
		k.pool = nil // have followCA look at all
	}
	l.timer = time.AfterFunc(time.Until(expires), func() {
		k.end(l, fmt.Errorf("the credential of the zone expired at %s", expires.UTC().Format(time.RFC3339)))
	})
	if token != "" && keys != k.zone { // they have changed since it was verified
		if _, err := k.zone.zoneControlPlane(token); err != nil {
			delete(k.leases, l)
			l.timer.Stop()
			return "", nil, err
		}
	}
	return zone, func() { k.release(l) }, nil
}

// zoneControlPlane returns what a token says that is good for the streams of a zone control plane. A zone shows the same token
// with each of its calls; its signature is verified for the first of them.
func (k *Keys) zoneControlPlane(token string) (ZoneToken, error) {
	hash, now := sha256.Sum256([]byte(token)), time.Now()
	if known, ok := k.verified.get(hash); ok && now.Before(known.Expires) {
		return known, nil
	}
	proven, err := k.Zone(token, now)
	if err == nil && !slices.Contains(proven.Scope, ScopeZone) {
		err = fmt.Errorf("%w: its scope is %q, want %q for a zone control plane", ErrToken, strings.Join(proven.Scope, ","), ScopeZone)
	}
	if err == nil {
		k.verified.put(hash, proven)
	}
	return proven, err
}

// release takes a lease out, and says whether it was in.
func (k *Keyring) release(l *lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, held := k.leases[l]
	delete(k.leases, l)
	l.timer.Stop()
	return held
}

func (k *Keyring) end(l *lease, reason error) {
	if k.release(l) {
		l.lapsed(reason)
	}
}

// keys returns those of a use that count now.
func (k *Keyring) keys(ctx context.Context, use Use) (*Keys, error) {
	if _, err := k.follow(ctx); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if use == ZoneTokens {
		return k.zone, nil
	}
	return k.user, nil
}

// follow brings the keys up to what the store holds, ends the leases of tokens that no longer count, and returns the
// revision that it has reached.
func (k *Keyring) follow(ctx context.Context) (resource.Revision, error) {
	k.mu.Lock()
	rev, changed, err := k.update(ctx)
	ended := map[*lease]error{}
	if changed {
		for l := range k.leases {
			if l.token == "" {
				continue
			}
			if _, err := k.zone.zoneControlPlane(l.token); err != nil {
				ended[l] = err
			}
		}
	}
	k.mu.Unlock()
	for l, reason := range ended {
		k.end(l, reason)
	}
	return rev, err
}

// update reads what changed. The caller holds mu.
func (k *Keyring) update(ctx context.Context) (rev resource.Revision, changed bool, err error) {
	if k.read && k.store.Revision() <= k.rev {
		return k.rev, false, nil
	}
	var next map[string][]byte
	if k.read {
		var changes []resource.Change
		changes, rev, err = k.store.Since(ctx, kind, k.rev)
		if err == nil && len(changes) == 0 {
			k.rev = rev
			return rev, false, nil
		}
		next = maps.Clone(k.secrets)
		for _, c := range changes {
			if c.Deleted {
				delete(next, c.Resource.Name)
			} else {
				next[c.Resource.Name] = secretData(c.Resource)
			}
		}
	}
	if !k.read || errors.Is(err, resource.ErrCompacted) {
		next, rev, err = readSecrets(ctx, k.store)
	}
	if err != nil {
		return k.rev, false, err
	}
	var zoneErr, userErr error
	k.zone, zoneErr = parseKeys(ZoneTokens, next)
	k.user, userErr = parseKeys(UserTokens, next)
	if err := errors.Join(zoneErr, userErr); err != nil {
		k.log.Error("signing key is of no use", "err", err)
	}
	k.secrets, k.rev, k.read = next, rev, true
	return rev, true, nil
}
