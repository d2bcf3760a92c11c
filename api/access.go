package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/meridian-mesh/meridian/resource"
)

// Access says who may do what. Reading is open to everybody, as in Kuma; the kinds that are for administrators, and tokens,
// are not.
type Access struct {
	// User returns the user that a token proves, and the user's groups. An error is shown to the caller. nil: no token counts.
	User func(ctx context.Context, token string) (name string, groups []string, err error)

	RemoteOnly     bool // requests from this machine are not those of an administrator
	ReadOnly       bool // nobody writes
	KnownUsersOnly bool // anonymous users do not write
	AnybodyWrites  bool // they do, even if it may be a web page that makes a browser on this machine do it
}

// Users and groups with a meaning, Kuma's.
const (
	adminName       = "mesh-system:admin" // a user and a group
	anonymous       = "mesh-system:anonymous"
	unauthenticated = "mesh-system:unauthenticated"
	authenticated   = "mesh-system:authenticated"
)

// user is who calls.
type user struct {
	Name   string   `json:"name"`
	Groups []string `json:"groups"`
}

func (u user) String() string { return u.Name + "/" + strings.Join(u.Groups, ",") }

func (u user) isAdmin() bool     { return u.Name == adminName || slices.Contains(u.Groups, adminName) }
func (u user) isAnonymous() bool { return slices.Contains(u.Groups, unauthenticated) }

type userKey struct{}

// caller returns who sent a request that has passed guard.
func caller(r *http.Request) user {
	u, _ := r.Context().Value(userKey{}).(user)
	return u
}

// unguarded are paths that answer whoever asks, whatever the credential.
var unguarded = []string{"/", "/healthz", "/readyz"}

// guard finds out who calls, and refuses what nobody, or no stranger, may do.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(unguarded, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		u, err := s.identify(r)
		if err == nil && writes(r) {
			err = s.mayWrite(r, u)
		}
		if err == nil && s.origins.Check(r) != nil {
			err = &failure{detail: "a web page of another site cannot write here", err: errDenied}
		}
		if err != nil {
			s.fail(w, r, titlePut, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, u)))
	})
}

// identify returns who calls.
func (s *server) identify(r *http.Request) (user, error) {
	if !s.Access.RemoteOnly && s.local(r) {
		return user{adminName, []string{adminName, authenticated}}, nil
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return user{anonymous, []string{unauthenticated}}, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return user{}, &failure{detail: "send Authorization: Bearer TOKEN", err: errUnauthenticated}
	}
	if s.Access.User == nil {
		return user{}, &failure{detail: "no tokens are known here", err: errUnauthenticated}
	}
	name, groups, err := s.Access.User(r.Context(), strings.TrimSpace(token))
	if err != nil {
		return user{}, fmt.Errorf("%w: %w", errUnauthenticated, err)
	}
	return user{name, append(slices.Clone(groups), authenticated)}, nil
}

// local says whether a request comes from somebody on this machine, who is an administrator, as in Kuma: whoever has a shell
// here can read the store. Not so what a proxy on this machine passes on, nor what a web page makes a browser on this machine
// send to the name of the page's own site.
func (s *server) local(r *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	return fromLoopback(r) && s.ownName(r.Host)
}

func fromLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// ownName says whether somebody on this machine calls it so. Who owns a domain can have its name mean 127.0.0.1, and then a
// page of that domain counts for a browser as one of this API.
func (s *server) ownName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "" || strings.EqualFold(host, "localhost") || strings.EqualFold(host, s.Hostname)
}

// writes says whether a request would change something. POST does, but for questions that are too long for a URL, and for
// tokens, which are not stored.
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	case http.MethodPost:
		if dry, err := flag(r, "dry-run"); r.URL.Path == "/_apply" && dry && err == nil {
			return false
		}
		return r.URL.Path != "/status/sync/of" && !strings.HasPrefix(r.URL.Path, "/tokens/")
	}
	return true
}

// mayWrite refuses the writes of somebody who may not write anything.
func (s *server) mayWrite(r *http.Request, u user) error {
	if s.Access.ReadOnly {
		return &failure{detail: "this control plane is read-only (--read-only): nothing is written or deleted through it", err: errReadOnly}
	}
	closed := s.Access.KnownUsersOnly || fromLoopback(r) && !s.ownName(r.Host)
	if u.isAnonymous() && closed && !s.Access.AnybodyWrites {
		return &failure{
			detail: fmt.Sprintf("user %q cannot write: send the token of a user (Authorization: Bearer TOKEN; meridian --token), or have the "+
				"control plane take writes from anybody (--anonymous-writes=true)", u),
			err: errDenied,
		}
	}
	return nil
}

// allowed refuses requests for the kinds of administrators from others.
func allowed(d resource.Descriptor, r *http.Request) error {
	if u := caller(r); d.AdminOnly && !u.isAdmin() {
		return &failure{detail: fmt.Sprintf("user %q cannot access the resource of type %q", u, d.Kind), err: errDenied}
	}
	return nil
}

// administrator refuses an action to all but administrators.
func administrator(r *http.Request, action string) error {
	if u := caller(r); !u.isAdmin() {
		return &failure{detail: fmt.Sprintf("user %q cannot %s: it takes an administrator, the user or group %s", u, action, adminName), err: errDenied}
	}
	return nil
}

// whoAmI answers with the user that the request is taken for.
func (s *server) whoAmI(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, caller(r))
}
