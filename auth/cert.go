package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	selfMadeYears = 10

	// zonePath is what precedes the name of the zone in the path of a certificate's URI, spiffe://DOMAIN/zone/NAME.
	zonePath = "/zone/"
)

var (
	// ErrCertificate says that a client certificate does not name the zone.
	ErrCertificate = errors.New("client certificate is not valid")
	// ErrNoCredential says that there is neither a token nor a certificate.
	ErrNoCredential = errors.New("neither a zone token nor a client certificate")
)

// zoneOfCertificate returns the zone that a client certificate names: by the one URI spiffe://DOMAIN/zone/NAME in its
// subject alternative names, or, if it has no URI at all, by the common name of its subject.
func zoneOfCertificate(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) == 0 {
		if name := cert.Subject.CommonName; name != "" {
			return name, nil
		}
		return "", fmt.Errorf("%w: it has neither a URI spiffe://DOMAIN/zone/NAME nor a common name", ErrCertificate)
	}
	zone := ""
	for _, uri := range cert.URIs {
		name, ok := strings.CutPrefix(uri.Path, zonePath)
		if uri.Scheme != "spiffe" || !ok || name == "" || strings.Contains(name, "/") {
			continue
		}
		if zone != "" && zone != name {
			return "", fmt.Errorf("%w: it names two zones, %q and %q", ErrCertificate, zone, name)
		}
		zone = name
	}
	if zone == "" {
		return "", fmt.Errorf("%w: of its URIs none is spiffe://DOMAIN/zone/NAME", ErrCertificate)
	}
	return zone, nil
}

// file is the content of one or two files that is parsed again when they change. It looks on each use: a handshake costs
// more than reading a few kilobytes, and no watcher has to be told about symbolic links, mounts or renames.
type file[T any] struct {
	paths []string
	parse func(data [][]byte) (T, error)
	log   hclog.Logger

	mu    sync.Mutex // guards what follows
	data  [][]byte   // that value was parsed from
	value T
	bad   string // the last error that was logged
}

// openFile reads the files for the first time.
func openFile[T any](log hclog.Logger, parse func([][]byte) (T, error), paths ...string) (*file[T], error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	f := &file[T]{paths: paths, parse: parse, log: log}
	var err error
	if f.data, err = f.read(); err == nil {
		f.value, err = parse(f.data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", paths[0], err)
	}
	return f, nil
}

func (f *file[T]) read() ([][]byte, error) {
	data := make([][]byte, len(f.paths))
	var err error
	for i, path := range f.paths {
		if data[i], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// current returns what the files hold now. While they cannot be read, or one is replaced and the other not yet, it returns
// what they held before, and says so in the log.
func (f *file[T]) current() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := f.read()
	if err == nil {
		same := true
		for i := range data {
			same = same && bytes.Equal(data[i], f.data[i])
		}
		if same {
			f.bad = ""
			return f.value
		}
		var next T
		if next, err = f.parse(data); err == nil {
			f.data, f.value, f.bad = data, next, ""
			f.log.Info("certificate file has changed and was read again", "file", f.paths[0])
			return f.value
		}
	}
	if text := err.Error(); text != f.bad {
		f.bad = text
		f.log.Error("certificate file has changed but is not usable: the old one stays", "file", f.paths[0], "err", err)
	}
	return f.value
}

// Certificate is a certificate and its key in two PEM files, read again when they change.
type Certificate struct{ file *file[*tls.Certificate] }

// OpenCertificate reads a certificate. log: nil discards.
func OpenCertificate(certFile, keyFile string, log hclog.Logger) (*Certificate, error) {
	f, err := openFile(log, func(data [][]byte) (*tls.Certificate, error) {
		cert, err := tls.X509KeyPair(data[0], data[1])
		return &cert, err
	}, certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %w", err)
	}
	return &Certificate{f}, nil
}

// ClientCA are the authorities whose client certificates count, in a PEM file that is read again when it changes.
type ClientCA struct{ file *file[*x509.CertPool] }

// OpenClientCA reads the authorities. log: nil discards.
func OpenClientCA(path string, log hclog.Logger) (*ClientCA, error) {
	f, err := openFile(log, parsePool, path)
	if err != nil {
		return nil, fmt.Errorf("client CA %w", err)
	}
	return &ClientCA{f}, nil
}

// pool returns the authorities of now: the same value for as long as they do not change.
func (c *ClientCA) pool() *x509.CertPool { return c.file.current() }

// vouched says whether one of the authorities vouches for the first certificate of chain, as TLS would; the others may be
// steps on the way.
func vouched(chain []*x509.Certificate, by *x509.CertPool) error {
	steps := x509.NewCertPool()
	for _, cert := range chain[1:] {
		steps.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: by, Intermediates: steps, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return nil
}

// ServerConfig returns the configuration of a TLS server, 1.2 or later, that shows the certificate. With a clientCA the
// server takes client certificates that it vouches for, asks for one, and goes on without; nil: it asks for none.
func (c *Certificate) ServerConfig(clientCA *ClientCA) *tls.Config {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.file.current(), nil },
	}
	if clientCA == nil {
		return config
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.ClientCAs = clientCA.pool()
	outer := config.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := config.Clone()
		now.ClientCAs = clientCA.pool()
		// A ticket from before the files changed must not stand for a certificate that is no longer vouched for.
		now.SessionTicketsDisabled = true
		return now, nil
	}
	return outer
}

func parsePool(data [][]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data[0]) {
		return nil, errors.New("holds no PEM certificate")
	}
	return pool, nil
}

// SelfMade returns the files dir/NAME.crt and dir/NAME.key, made now if there is no such certificate yet: one that signs
// itself, so that it can be given to clients as their CA, valid for every name under which this machine knows itself.
func SelfMade(dir, name string, now time.Time) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	if _, err = os.Stat(certFile); errors.Is(err, fs.ErrNotExist) {
		if err = makeCertificate(certFile, keyFile, now); err != nil {
			err = fmt.Errorf("make a certificate: %w", err)
		}
	}
	return certFile, keyFile, err
}

func makeCertificate(certFile, keyFile string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	names, ips, err := localNames()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "meridian"},
		NotBefore:             now.Add(-certificateSkew),
		NotAfter:              now.AddDate(selfMadeYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:                  true, // so that it can be its own --tls-ca
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first: without the certificate both are made again, while a certificate without its key is an error.
	if err := writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// writeFile replaces a file whole: a crash leaves the old one, the new one or none.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path+".new", data, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// localNames returns the host names and addresses of this machine.
func localNames() ([]string, []net.IP, error) {
	names, ips := []string{"localhost"}, []net.IP{}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		names = append(names, host)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil, err
	}
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return names, ips, nil
}
