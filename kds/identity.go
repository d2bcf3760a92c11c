package kds

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/meridian-mesh/meridian/resource"
)

var (
	errUnauthenticated = errors.New("no valid credential")
	errWrongZone       = errors.New("credential of another zone")
)

const (
	metaCredential = "authorization"
	bearer         = "Bearer "
)

// caller returns who calls: the zone that the metadata names, which must be the one that the credential proves. If the
// credential ceases to hold before release is called, lapsed is called once; it may be nil.
//
// The error is logged and counted: nothing that the caller has said may touch the zone whose name it used.
func (s *Server) caller(ctx context.Context, lapsed func(error)) (zone string, md metadata.MD, release func(), err error) {
	md, _ = metadata.FromIncomingContext(ctx)
	names := md[metaZone]
	if len(names) != 1 || !resource.ValidZoneName(names[0]) {
		return "", nil, nil, fmt.Errorf("%w: metadata %s is %q, want one zone name", errProtocol, metaZone, names)
	}
	zone = names[0]
	if s.cfg.Authenticate == nil {
		return zone, md, func() {}, nil
	}
	if release, err = s.authenticate(ctx, zone, md, lapsed); err != nil {
		s.stats.refused.Add(1)
		s.refused(ctx, zone, err)
		return "", nil, nil, err
	}
	return zone, md, release, nil
}

// refused logs that a zone was refused.
func (s *Server) refused(ctx context.Context, zone string, err error) {
	var from net.Addr
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr
	}
	if times, now := s.refusals.due(zone, from); now {
		s.log.Warn("zone refused", "zone", zone, "from", textOf(from), "times", times, "err", err)
	}
}

func (s *Server) authenticate(ctx context.Context, zone string, md metadata.MD, lapsed func(error)) (release func(), err error) {
	token := ""
	switch values := md[metaCredential]; len(values) {
	case 0:
	case 1:
		token = strings.TrimPrefix(values[0], bearer)
	default:
		return nil, fmt.Errorf("zone %q: %w: metadata %s is there %d times", zone, errUnauthenticated, metaCredential, len(values))
	}
	end := lapsed
	if lapsed != nil {
		end = func(err error) { lapsed(fmt.Errorf("zone %q: %w any more: %w", zone, errUnauthenticated, err)) }
	}
	proven, release, err := s.cfg.Authenticate(ctx, token, clientCertificate(ctx), end)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w: %w", zone, errUnauthenticated, err)
	}
	if proven != zone {
		release()
		return nil, fmt.Errorf("%w: the caller says that it is zone %q, its credential is of zone %q", errWrongZone, zone, proven)
	}
	return release, nil
}

// clientCertificate returns the certificate that the caller has shown, and those that TLS has verified it by; nil if there is
// none.
func clientCertificate(ctx context.Context) []*x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0]
}

// handshakes are credentials that log why a handshake failed: gRPC itself keeps that to itself, and what the other end gets
// to know of it depends on timing.
type handshakes struct {
	credentials.TransportCredentials
	log  hclog.Logger
	fail *refusalLog
}

func (h handshakes) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := h.TransportCredentials.ServerHandshake(conn)
	if err != nil && !errors.Is(err, io.EOF) { // a probe connects and leaves
		if times, now := h.fail.due("", conn.RemoteAddr()); now {
			h.log.Warn("tls handshake failed", "from", conn.RemoteAddr().String(), "times", times, "err", err)
		}
	}
	return secured, info, err
}

func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.log, h.fail}
}
