package planes

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

var errCut = errors.New("link is cut")

// Link is the wire between one zone and global, with the faults that wires have.
type Link struct {
	mu       sync.Mutex // guards what follows
	listener *bufconn.Listener
	cut      bool
	stalled  [2]bool       // by direction
	budget   [2]int        // writes and reads until it is cut, by direction; 0: no limit
	changed  chan struct{} // closed and replaced when stalled changes
	conns    map[*conn]struct{}
}

// Direction of bytes on a link.
type Direction int

const (
	Up   Direction = iota // from the zone to global
	Down                  // from global to the zone
)

func (d Direction) String() string { return [...]string{"up", "down"}[d] }

func newLink(listener *bufconn.Listener) *Link {
	return &Link{listener: listener, changed: make(chan struct{}), conns: map[*conn]struct{}{}}
}

// Cut ends every connection and refuses new ones until Heal.
func (l *Link) Cut() {
	l.mu.Lock()
	open := l.cutOff()
	l.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

// cutOff refuses new connections and returns those that are to be closed. The caller holds mu.
func (l *Link) cutOff() map[*conn]struct{} {
	l.cut = true
	open := l.conns
	l.conns = map[*conn]struct{}{}
	return open
}

// CutAfter cuts the link after n more pieces of data in one direction: in the middle of whatever is going on then.
func (l *Link) CutAfter(d Direction, n int) { l.set(func() { l.budget[d] = n }) }

// IsCut says whether the link is cut, be it by CutAfter.
func (l *Link) IsCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// spend takes one piece off the budget, and cuts the link when nothing is left: in one step, or else a Heal that comes in
// between would be undone.
func (l *Link) spend(d Direction) {
	var open map[*conn]struct{}
	l.mu.Lock()
	if l.budget[d] == 1 {
		open = l.cutOff()
	}
	l.budget[d] = max(0, l.budget[d]-1)
	l.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

// Stall keeps bytes of one direction back until Heal, as if the wire had gone silent: neither end is told.
func (l *Link) Stall(d Direction) { l.set(func() { l.stalled[d] = true }) }

// Heal undoes Cut, CutAfter and Stall.
func (l *Link) Heal() { l.set(func() { l.cut, l.stalled, l.budget = false, [2]bool{}, [2]int{} }) }

func (l *Link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) dial(ctx context.Context, _ string) (net.Conn, error) {
	l.mu.Lock()
	cut, listener := l.cut, l.listener
	l.mu.Unlock()
	if cut {
		return nil, errCut
	}
	inner, err := listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, link: l, closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut { // meanwhile
		inner.Close()
		return nil, errCut
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// conn is the zone's end of a connection.
type conn struct {
	net.Conn
	link   *Link
	once   sync.Once
	closed chan struct{}
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if waitErr := c.pass(Down); waitErr != nil {
		return 0, waitErr
	}
	c.link.spend(Down)
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.pass(Up); err != nil {
		return 0, err
	}
	c.link.spend(Up)
	return c.Conn.Write(b)
}

// pass returns once the link lets bytes of direction d through.
func (c *conn) pass(d Direction) error {
	for {
		c.link.mu.Lock()
		stalled, changed := c.link.stalled[d], c.link.changed
		c.link.mu.Unlock()
		if !stalled {
			return nil
		}
		select {
		case <-changed:
		case <-c.closed:
			return net.ErrClosed
		}
	}
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// Deadlines end the silence of neither direction: grpc sets them for its handshake only.
func (c *conn) SetDeadline(t time.Time) error { return c.Conn.SetDeadline(t) }
