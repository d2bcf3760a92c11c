package api

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/meridian-mesh/meridian/resource"
)

// allowed refuses requests for the kinds of administrators from others. Requests from this machine are those of an
// administrator, as in Kuma: whoever has a shell here can read the store. So a proxy in front of the API that runs on
// the same machine must not let everybody reach these kinds.
func allowed(d resource.Descriptor, r *http.Request) error {
	if !d.AdminOnly || local(r) {
		return nil
	}
	return &failure{detail: fmt.Sprintf("user %q cannot access the resource of type %q", anonymous, d.Kind), err: errDenied}
}

// administrator refuses requests to do what for anybody but administrators.
func administrator(r *http.Request, what string) error {
	if local(r) {
		return nil
	}
	return &failure{detail: fmt.Sprintf("user %q cannot %s: it takes an administrator, or a request from the same machine", anonymous, what), err: errDenied}
}

const anonymous = "mesh-system:anonymous/mesh-system:unauthenticated"

func local(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
