package kds

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
)

// identifyTime is how long a stream waits for the other stream of its connection to say which control plane it is.
const identifyTime = 10 * time.Second

var (
	errSecondZone = errors.New("another control plane is connected under this zone's name")
	errReplaced   = errors.New("the same control plane has connected anew")
)

// links knows which connection each zone has: one, whatever the number of its streams. Two control planes under one name
// would take turns deleting what the other wrote, so the second is refused; but one that comes back before its old
// connection was found dead takes over at once. What tells the two apart is the name of the instance. A Kuma zone says it
// only in its first request on GlobalToZoneSync.
type links struct {
	mu   sync.Mutex // guards what follows
	zone map[string]*link
}

// link is the connection of one zone.
type link struct {
	conn     *connection
	instance string // "": not known yet
	since    time.Time
	streams  map[*session]struct{}
}

// connection is one transport connection.
type connection struct {
	once       sync.Once
	identified chan struct{} // closed when the instance is known
	heartbeat  *heartbeat    // nil: nobody listens for it
}

type connectionKey struct{}

// connectionTags gives each connection of a gRPC server its identity.
type connectionTags struct{}

func (connectionTags) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	c := &connection{identified: make(chan struct{})}
	if addr, ok := info.RemoteAddr.(heardAddr); ok {
		c.heartbeat = addr.heartbeat
	}
	return context.WithValue(ctx, connectionKey{}, c)
}
func (connectionTags) HandleConn(context.Context, stats.ConnStats)                     {}
func (connectionTags) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (connectionTags) HandleRPC(context.Context, stats.RPCStats)                       {}

// connectionOf returns that of a call, nil if the gRPC server does not tag them.
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}

// pulse returns the heartbeat of a connection, nil if nobody listens.
func (c *connection) pulse() *heartbeat {
	if c == nil {
		return nil
	}
	return c.heartbeat
}

// claim makes s a stream of its zone, or says that somebody else has the name. again is closed when it pays to ask again:
// this connection has not said yet who it is. The sessions that s replaces are ended.
func (l *links) claim(s *session, instance string) (again <-chan struct{}, err error) {
	if s.conn == nil {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if instance != "" {
		s.conn.once.Do(func() { close(s.conn.identified) })
	}
	has := l.zone[s.zone]
	switch {
	case has == nil:
	case has.conn == s.conn:
		if instance != "" {
			has.instance = instance
		}
		has.streams[s] = struct{}{}
		return nil, nil
	case instance == "":
		return s.conn.identified, nil
	case has.instance != "" && has.instance != instance:
		return nil, fmt.Errorf("zone %q: %w: instance %q, since %s; this is %q", s.zone, errSecondZone, has.instance,
			has.since.UTC().Format(time.RFC3339), instance)
	default:
		for old := range has.streams {
			old.end(errReplaced)
		}
	}
	l.zone[s.zone] = &link{conn: s.conn, instance: instance, since: time.Now(), streams: map[*session]struct{}{s: {}}}
	return nil, nil
}

// wait is claim, but it waits for the connection to say who it is.
func (l *links) wait(ctx context.Context, s *session, instance string) error {
	again, err := l.claim(s, instance)
	if again == nil {
		return err
	}
	timer := time.NewTimer(identifyTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return fmt.Errorf("zone %q: %w, and this one does not say which it is", s.zone, errSecondZone)
	case <-again:
	}
	// Whoever identified the connection has claimed the name for it, or was refused.
	l.mu.Lock()
	defer l.mu.Unlock()
	if has := l.zone[s.zone]; has == nil || has.conn != s.conn {
		return fmt.Errorf("zone %q: %w", s.zone, errSecondZone)
	}
	l.zone[s.zone].streams[s] = struct{}{}
	return nil
}

// leave takes s out.
func (l *links) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if has := l.zone[s.zone]; has != nil && has.conn == s.conn {
		if delete(has.streams, s); len(has.streams) == 0 {
			delete(l.zone, s.zone)
		}
	}
}
