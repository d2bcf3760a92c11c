package resource

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// signingKeys are what the names of GlobalSecrets that hold signing keys begin with.
var signingKeys = []string{"zone-token-signing-key", "user-token-signing-key"}

// isSigningKey says whether r is to hold a key that signs tokens.
func isSigningKey(r Resource) bool {
	for _, prefix := range signingKeys {
		if serial, ok := strings.CutPrefix(r.Name, prefix); ok && r.Kind == "GlobalSecret" && (serial == "" || serial[0] == '-') {
			return true
		}
	}
	return false
}

// ParseSigningKey returns the RSA key that data holds in PEM, PKCS #1 or PKCS #8. No error quotes the data.
func ParseSigningKey(data []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("is PEM of a %q and not a private key", block.Type)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("is not an RSA key")
	}
	return rsaKey, nil
}
