package kds

import (
	"net"
	"sync"
	"time"
)

const (
	// refusalEvery is how often the log has a line about refusing the same caller.
	refusalEvery = 10 * time.Second
	// maxRefused is of how many callers a log keeps count at once. What goes beyond that shares a line.
	maxRefused = 256
)

// refusalLog keeps those who are refused and come again from filling the log. What a caller that stays away did after its last
// line is in the metrics alone. Its zero value is ready.
type refusalLog struct {
	mu   sync.Mutex // guards what follows
	seen map[refusedCaller]*refusedTimes
}

// refusedCaller is the zone that a caller said to be, and the host that it called from; both empty: all that are too many.
type refusedCaller struct{ zone, host string }

type refusedTimes struct {
	last  time.Time // when there was a line
	since int       // refusals after that
}

// due says whether a refusal is to be logged, and how many there were of the same caller since the last line, this one
// included.
func (l *refusalLog) due(zone string, from net.Addr) (times int, now bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[refusedCaller]*refusedTimes{}
	}
	at, caller := time.Now(), refusedCaller{zone, hostOf(from)}
	if l.seen[caller] == nil && len(l.seen) >= maxRefused {
		for other, t := range l.seen {
			if at.Sub(t.last) >= refusalEvery {
				delete(l.seen, other)
			}
		}
		if len(l.seen) >= maxRefused {
			caller = refusedCaller{}
		}
	}
	t := l.seen[caller]
	if t == nil {
		t = &refusedTimes{}
		l.seen[caller] = t
	}
	t.since++
	if at.Sub(t.last) < refusalEvery {
		return 0, false
	}
	times, t.last, t.since = t.since, at, 0
	return times, true
}

// hostOf returns the host of an address: each connection has a port of its own.
func hostOf(addr net.Addr) string {
	if addr == nil {
		return "unknown"
	}
	if host, _, err := net.SplitHostPort(addr.String()); err == nil {
		return host
	}
	return addr.String()
}

func textOf(addr net.Addr) string {
	if addr == nil {
		return "unknown"
	}
	return addr.String()
}
