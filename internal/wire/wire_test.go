package wire_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/internal/wire"
)

// far is a server that gives its connections to the test.
func far(t *testing.T) (address string, conns <-chan net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	all := make(chan net.Conn)
	go func() {
		defer close(all)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all <- conn
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		for conn := range all {
			conn.Close()
		}
	})
	return listener.Addr().String(), all
}

// joined returns a wire and both ends of a connection over it; conns are the far ends of the next ones.
func joined(t *testing.T) (w *wire.Wire, near, there net.Conn, conns <-chan net.Conn) {
	t.Helper()
	address, conns := far(t)
	w, err := wire.Listen(func() string { return address })
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	return w, dial(t, w), <-conns, conns
}

func dial(t *testing.T, w *wire.Wire) net.Conn {
	conn, err := net.Dial("tcp", w.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, line string) {
	_, err := io.WriteString(conn, line+"\n")
	require.NoError(t, err)
}

func hear(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	got, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, line+"\n", got)
}

// silent fails if anything can be read: what passes over loopback does in far less.
func silent(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := conn.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestCutEndsConnectionsAndRefusesOthersUntilHeal(t *testing.T) {
	t.Parallel()
	w, near, there, conns := joined(t)
	say(t, near, "hello")
	hear(t, there, "hello")
	say(t, there, "welcome")
	hear(t, near, "welcome")

	w.Cut()
	ended(t, near)
	ended(t, there)
	ended(t, dial(t, w))
	w.Heal()
	near = dial(t, w)
	there = <-conns
	say(t, near, "again")
	hear(t, there, "again")
}

func TestStallKeepsBytesOfOneDirectionBackAndLosesNone(t *testing.T) {
	t.Parallel()
	w, near, there, _ := joined(t)

	w.Stall(wire.Silence{Up: true})
	say(t, near, "up")
	silent(t, there)
	say(t, there, "down")
	hear(t, near, "down")
	w.Stall(wire.Silence{Down: true})
	hear(t, there, "up")
	say(t, there, "later")
	silent(t, near)
	w.Heal()
	hear(t, near, "later")
}

func TestWhatIsKeptBackDoesNotPassACut(t *testing.T) {
	t.Parallel()
	w, near, there, _ := joined(t)
	w.Stall(wire.Silence{Up: true, Down: true})
	say(t, near, "lost")
	silent(t, there)
	w.Cut()
	ended(t, there)
}

func TestAWireFollowsTheFarEnd(t *testing.T) {
	t.Parallel()
	first, firstConns := far(t)
	second, secondConns := far(t)
	var address atomic.Value
	address.Store("")
	w, err := wire.Listen(func() string { return address.Load().(string) })
	require.NoError(t, err)
	ended(t, dial(t, w)) // nobody is there
	address.Store(first)
	say(t, dial(t, w), "one")
	hear(t, <-firstConns, "one")
	address.Store(second)
	near := dial(t, w)
	say(t, near, "two")
	there := <-secondConns
	hear(t, there, "two")

	there.Close()
	ended(t, near)
	require.NoError(t, w.Close())
	assert.NoError(t, w.Close(), "it may be closed twice")
}
