package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// errStopping ends the requests that wait when the process stops.
var errStopping = errors.New("the control plane is stopping")

// Serve answers requests on l with h until ctx ends. Then requests that wait are answered at once and the others get
// grace to finish. l is closed when Serve returns. Errors: what the listener said.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log hclog.Logger) error {
	const grace = 3 * time.Second
	// Not below ctx: its end must be told from a client that went away, and must not cut off a write.
	requests, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop(errStopping)
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(shutdown); err != nil {
		srv.Close()
	}
	<-served
	return nil
}

// URL returns scheme://HOST:PORT of l as a client on this machine writes it, with the loopback address for a listener
// on all addresses; "" for nil.
func URL(scheme string, l net.Listener) string {
	if l == nil {
		return ""
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return scheme + "://" + l.Addr().String()
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Beyond says whether l can be reached from other machines.
func Beyond(l net.Listener) bool {
	if l == nil {
		return false
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && !addr.IP.IsLoopback()
}
