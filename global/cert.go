package global

import (
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
	"time"
)

// The certificate that a global control plane makes for itself, in its data directory. Zones get the .crt as --tls-ca.
const (
	selfMadeCert = "kds.crt"
	selfMadeKey  = "kds.key"

	selfMadeYears = 10
	clockSkew     = time.Hour // a zone whose clock is behind must accept a fresh certificate
)

// certificate returns the certificate of the KDS server: the configured one, or else the self-made one of dir, made
// now if there is none yet.
func certificate(certFile, keyFile, dir string, now time.Time) (tls.Certificate, error) {
	if certFile == "" {
		certFile, keyFile = filepath.Join(dir, selfMadeCert), filepath.Join(dir, selfMadeKey)
		if _, err := os.Stat(certFile); errors.Is(err, fs.ErrNotExist) {
			if err := makeCertificate(certFile, keyFile, now); err != nil {
				return tls.Certificate{}, fmt.Errorf("make a KDS certificate: %w", err)
			}
		}
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("KDS certificate %s: %w", certFile, err)
	}
	return cert, nil
}

// makeCertificate writes a certificate that signs itself, valid for every name under which this machine knows itself.
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
		Subject:               pkix.Name{CommonName: "meridian-global"},
		NotBefore:             now.Add(-clockSkew),
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
