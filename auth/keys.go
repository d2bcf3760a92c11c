package auth

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	keyBits = 2048 // Kuma's

	kind       = "GlobalSecret"
	adminToken = "admin-user-token"

	adminYears = 10
)

// keyName is the GlobalSecret of the key with a serial, revocations that of the tokens that no longer count.
func (u Use) keyName(serial string) string { return string(u) + "-signing-key-" + serial }
func (u Use) revocations() string          { return string(u) + "-revocations" }

// serial returns the serial of the key that a GlobalSecret of that name holds. The bare name is serial 0.
func (u Use) serial(name string) (n uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, string(u)+"-signing-key")
	if !ok || rest == "" {
		return 0, ok
	}
	if rest[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[1:], 10, 64)
	return n, err == nil
}

// parseKeys returns the keys of a use among the data of all GlobalSecrets by name, and what is wrong with those that do
// not count.
func parseKeys(use Use, secrets map[string][]byte) (*Keys, error) {
	k := &Keys{use: use, verify: map[string]*rsa.PublicKey{}, revoked: map[string]bool{}}
	var errs []error
	var highest uint64
	for name, data := range secrets {
		n, ok := use.serial(name)
		if !ok {
			continue
		}
		key, err := resource.ParseSigningKey(data)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", kind, name, err))
			continue
		}
		serial := strconv.FormatUint(n, 10)
		k.verify[serial] = &key.PublicKey
		if k.signer.Key == nil || n >= highest {
			highest, k.signer = n, Signer{key, serial}
		}
	}
	for id := range strings.SplitSeq(string(secrets[use.revocations()]), ",") {
		if id = strings.TrimSpace(id); id != "" {
			k.revoked[id] = true
		}
	}
	return k, errors.Join(errs...)
}

// NewSigningKey returns a new key in PEM.
func NewSigningKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
}

// MakeKeys gives a store that has no key of a use its first one, serial 1; with that of user tokens also the token of an
// administrator, in the GlobalSecret admin-user-token.
func MakeKeys(ctx context.Context, st Store, now time.Time, uses ...Use) error {
	secrets, _, err := readSecrets(ctx, st)
	if err != nil {
		return err
	}
	var ops []resource.Op
	for _, use := range uses {
		// A secret that is no good is not replaced: somebody meant it.
		has := false
		for name := range secrets {
			_, ok := use.serial(name)
			has = has || ok
		}
		if has {
			continue
		}
		key, err := NewSigningKey()
		if err != nil {
			return err
		}
		ops = append(ops, secretOp(use.keyName("1"), key))
		if _, exists := secrets[adminToken]; use == UserTokens && !exists {
			parsed, err := resource.ParseSigningKey(key)
			if err != nil {
				return err
			}
			token, err := Signer{parsed, "1"}.User(Admin, []string{Admin}, now.AddDate(adminYears, 0, 0).Sub(now), now)
			if err != nil {
				return err
			}
			ops = append(ops, secretOp(adminToken, []byte(token)))
		}
	}
	_, err = st.Apply(ctx, ops...)
	return err
}

func secretOp(name string, data []byte) resource.Op {
	return resource.Put(resource.Resource{Key: resource.Key{Kind: kind, Name: name}, Spec: secretSpec(data)})
}

func secretSpec(data []byte) []byte {
	spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(&systemv1.Secret{Data: wrapperspb.Bytes(data)})
	if err != nil {
		panic(err) // bytes always marshal
	}
	return spec
}

// readSecrets returns the data of all GlobalSecrets by name, as of a revision.
func readSecrets(ctx context.Context, st Store) (secrets map[string][]byte, rev resource.Revision, err error) {
	secrets = map[string][]byte{}
	err = st.View(ctx, kind, func(at resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		rev = at
		for r, err := range list {
			if err != nil {
				return err
			}
			secrets[r.Name] = secretData(r)
		}
		return nil
	})
	return secrets, rev, err
}

// secretData returns what a GlobalSecret holds; nil if nobody can tell.
func secretData(r resource.Resource) []byte {
	var secret systemv1.Secret
	if proto.Unmarshal(r.Spec, &secret) != nil {
		return nil
	}
	return secret.GetData().GetValue()
}
