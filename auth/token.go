package auth

import (
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/meridian-mesh/meridian/resource"
)

// Use is what tokens are for. It is the first part of the names of its GlobalSecrets.
type Use string

const (
	ZoneTokens Use = "zone-token"
	UserTokens Use = "user-token"
)

// ScopeZone is what the scope of a zone token must have to open the streams of a zone control plane. The tokens of a zone's
// ingresses and egresses have other scopes.
const ScopeZone = "cp"

// Admin is the user and the group of administrators, Kuma's.
const Admin = "mesh-system:admin"

// clockSkew is how much the clock of who verifies a token or certificate may be behind that of who made it.
const (
	clockSkew       = 5 * time.Minute // of tokens, Kuma's
	certificateSkew = time.Hour
)

var (
	// ErrToken says that a token does not count: malformed, forged, expired, revoked, or for something else.
	ErrToken = errors.New("token is not valid")
	// ErrNoKey says that there is no key to sign with. It is a resource.ErrNotFound.
	ErrNoKey = fmt.Errorf("signing key: %w", resource.ErrNotFound)
)

// ZoneToken is what a zone token says.
type ZoneToken struct {
	Zone    string
	Scope   []string
	ID      string
	Expires time.Time
}

// UserToken is what a user token says.
type UserToken struct {
	Name    string
	Groups  []string
	ID      string
	Expires time.Time
}

// The claims of both uses. Their names are Kuma's.
type (
	zoneClaims struct {
		Zone  string
		Scope []string
		jwt.RegisteredClaims
	}
	userClaims struct {
		Name   string
		Groups []string
		jwt.RegisteredClaims
	}
)

// Signer is a key that signs tokens.
type Signer struct {
	Key    *rsa.PrivateKey
	Serial string // of the key, the header kid
}

// Zone returns a token for a zone.
func (s Signer) Zone(zone string, scope []string, validFor time.Duration, now time.Time) (string, error) {
	return s.sign(zoneClaims{zone, scope, registered(validFor, now)})
}

// User returns a token for a user.
func (s Signer) User(name string, groups []string, validFor time.Duration, now time.Time) (string, error) {
	return s.sign(userClaims{name, groups, registered(validFor, now)})
}

func registered(validFor time.Duration, now time.Time) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		ID: uuid.NewString(), IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-clockSkew)),
		ExpiresAt: jwt.NewNumericDate(now.Add(validFor)),
	}
}

func (s Signer) sign(claims jwt.Claims) (string, error) {
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = s.Serial
	return token.SignedString(s.Key)
}

// Keys are what signs and verifies the tokens of one use at one moment. They are never modified, but remember what they have
// verified.
type Keys struct {
	use     Use
	signer  Signer                    // Key nil: there is none
	verify  map[string]*rsa.PublicKey // by serial
	revoked map[string]bool           // by id of the token

	verified verifiedTokens
}

// maxVerified is of how many zone tokens it is remembered that they hold: each zone has one.
const maxVerified = 4096

// verifiedTokens are the zone tokens that certain Keys have found to hold, by hash. Others would have to be verified anew, so
// what is written to a GlobalSecret counts at once.
type verifiedTokens struct {
	mu     sync.Mutex // guards what follows
	byHash map[[sha256.Size]byte]ZoneToken
}

func (v *verifiedTokens) get(hash [sha256.Size]byte) (ZoneToken, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.byHash[hash]
	return t, ok
}

func (v *verifiedTokens) put(hash [sha256.Size]byte, t ZoneToken) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byHash == nil || len(v.byHash) >= maxVerified {
		v.byHash = map[[sha256.Size]byte]ZoneToken{} // rather verify again than keep account of who was here last
	}
	v.byHash[hash] = t
}

// Zone returns what a zone token says. ErrToken, with the reason: it does not count at now.
func (k *Keys) Zone(token string, now time.Time) (ZoneToken, error) {
	var c zoneClaims
	if err := k.parse(token, &c, &c.RegisteredClaims, now); err != nil {
		return ZoneToken{}, err
	}
	if c.Zone == "" {
		return ZoneToken{}, fmt.Errorf("%w: it names no zone", ErrToken)
	}
	return ZoneToken{c.Zone, c.Scope, c.ID, c.ExpiresAt.Time}, nil
}

// User returns what a user token says. ErrToken, with the reason: it does not count at now.
func (k *Keys) User(token string, now time.Time) (UserToken, error) {
	var c userClaims
	if err := k.parse(token, &c, &c.RegisteredClaims, now); err != nil {
		return UserToken{}, err
	}
	if c.Name == "" {
		return UserToken{}, fmt.Errorf("%w: it names no user", ErrToken)
	}
	return UserToken{c.Name, c.Groups, c.ID, c.ExpiresAt.Time}, nil
}

// parse verifies a token and reads its claims; registered is the part of them that all tokens have.
func (k *Keys) parse(token string, claims jwt.Claims, registered *jwt.RegisteredClaims, now time.Time) error {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Name}), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		serial, _ := t.Header["kid"].(string)
		key := k.verify[serial]
		if key == nil {
			return nil, fmt.Errorf("it is signed with the key %q; known %s", serial, k.known())
		}
		return key, nil
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return fmt.Errorf("%w: it expired at %s", ErrToken, registered.ExpiresAt.UTC().Format(time.RFC3339))
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return fmt.Errorf("%w: it does not hold before %s; compare the clocks", ErrToken, registered.NotBefore.UTC().Format(time.RFC3339))
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return fmt.Errorf("%w: its signature is not of a %s key of this control plane", ErrToken, k.use)
	case errors.Is(err, jwt.ErrTokenMalformed):
		return fmt.Errorf("%w: it is not a JSON Web Token", ErrToken)
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return fmt.Errorf("%w: it never expires (no exp)", ErrToken)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrToken, err)
	case k.revoked[registered.ID]:
		return fmt.Errorf("%w: token %s is revoked", ErrToken, registered.ID)
	}
	return nil
}

// known lists the serials that verify.
func (k *Keys) known() string {
	if len(k.verify) == 0 {
		return "is no " + string(k.use) + " key"
	}
	return strings.Join(slices.Sorted(maps.Keys(k.verify)), ", ")
}
