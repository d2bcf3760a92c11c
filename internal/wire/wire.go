package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout is for what is on the same machine.
const dialTimeout = 5 * time.Second

// Wire forwards connections until it is told not to. Its methods may be called from any goroutine.
type Wire struct {
	listener net.Listener
	far      func() string
	running  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	cut     bool
	silence Silence
	changed chan struct{} // closed and replaced when one of these changes
	conns   map[net.Conn]struct{}
}

// Silence says in which directions nothing passes.
type Silence struct {
	Up   bool // from the one who dials
	Down bool // to it
}

// Listen returns a Wire on a free port of 127.0.0.1. far returns where connections go to, HOST:PORT, or "" if nobody is there now; it is
// asked for each.
func Listen(far func() string) (*Wire, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Wire{listener: listener, far: far, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	w.running.Go(w.accept)
	return w, nil
}

// Addr returns where to dial: 127.0.0.1:PORT, the same for the life of the Wire.
func (w *Wire) Addr() string { return w.listener.Addr().String() }

// Cut resets every connection, and those that come until Heal.
func (w *Wire) Cut() {
	w.set(func() { // at once, or what is kept back would pass now
		w.cut = true
		w.reset()
	})
}

// Stall keeps bytes back until Heal, or until another Stall lets them pass.
func (w *Wire) Stall(s Silence) { w.set(func() { w.silence = s }) }

// Heal undoes Cut and Stall.
func (w *Wire) Heal() { w.set(func() { w.cut, w.silence = false, Silence{} }) }

// Close ends everything. It may be called twice.
func (w *Wire) Close() error {
	err := w.listener.Close()
	w.set(func() {
		w.closed = true
		w.reset()
	})
	w.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (w *Wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// reset ends all connections. The caller holds mu.
func (w *Wire) reset() {
	for conn := range w.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // both ends notice now, whatever they are about to send
		}
		conn.Close()
	}
}

func (w *Wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() { w.forward(near) })
	}
}

// forward joins two connections until one of them ends.
func (w *Wire) forward(near net.Conn) {
	defer near.Close()
	if !w.keep(near) {
		return
	}
	defer w.forget(near)
	address := w.far()
	if address == "" {
		return
	}
	far, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(far) {
		return
	}
	defer w.forget(far)
	var up sync.WaitGroup
	up.Go(func() {
		w.copy(far, near, func(s Silence) bool { return s.Up })
		far.Close()
	})
	w.copy(near, far, func(s Silence) bool { return s.Down })
	near.Close()
	up.Wait()
}

// keep notes an open connection, unless none may be.
func (w *Wire) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.cut {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return false
	}
	w.conns[conn] = struct{}{}
	return true
}

func (w *Wire) forget(conn net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, conn)
}

func (w *Wire) copy(to io.Writer, from io.Reader, silent func(Silence) bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		for w.waits(silent) {
			// woken by a change that is about something else
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// waits returns false if bytes may pass, or the Wire is cut or closed; otherwise true after the next change.
func (w *Wire) waits(silent func(Silence) bool) bool {
	w.mu.Lock()
	wait, changed := silent(w.silence) && !w.cut && !w.closed, w.changed
	w.mu.Unlock()
	if wait {
		<-changed
	}
	return wait
}
