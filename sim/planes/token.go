package planes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/golang-jwt/jwt/v5"

	"github.com/meridian-mesh/meridian/auth"
)

// signingKey is the one of all federations of the process.
var signingKey = sync.OnceValues(auth.NewSigningKey)

// Secrets of global about zone tokens.
const (
	keySecret     = "zone-token-signing-key-1"
	revokedSecret = "zone-token-revocations"
)

func (f *Federation) writeKey() error {
	key, err := signingKey()
	if err != nil {
		return err
	}
	return f.global.writeSecret(keySecret, key)
}

func (p *Plane) writeSecret(name string, data []byte) error {
	doc, err := json.Marshal(map[string]string{"type": "GlobalSecret", "name": name, "data": base64.StdEncoding.EncodeToString(data)})
	if err != nil {
		return err
	}
	return p.Apply(string(doc))
}

func (p *Plane) tokenFile() string { return p.dir + ".token" }

// NewToken has global issue a token for a zone, and gives the zone that: it shows it when it connects next. It returns what
// revokes the token. Config.Tokens must be set, and global run.
func (f *Federation) NewToken(zone string) (id string, err error) {
	body, err := json.Marshal(map[string]any{"zone": zone, "scope": []string{"cp"}, "validFor": "87600h"})
	if err != nil {
		return "", err
	}
	answer := f.global.Do(http.MethodPost, "/tokens/zone", body)
	if answer.Code != http.StatusOK {
		return "", fmt.Errorf("%s issues no token: %d: %s", f.global, answer.Code, answer.Body)
	}
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(answer.Body.String(), &claims); err != nil {
		return "", err
	}
	return claims.ID, os.WriteFile(f.zones[zone].tokenFile(), answer.Body.Bytes(), 0o600)
}

// Revoke makes the tokens of these ids worthless, and no others.
func (f *Federation) Revoke(ids ...string) error {
	return f.global.writeSecret(revokedSecret, []byte(strings.Join(ids, ",")))
}
