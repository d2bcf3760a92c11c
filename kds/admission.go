package kds

import (
	"sync"
	"time"
)

const (
	// turnTime is how long a session keeps its turn without making progress: a peer that does not answer must not keep the
	// others waiting.
	turnTime = 2 * time.Second
	// placeTime is how long a zone that went away keeps its place in the queue.
	placeTime = 10 * time.Minute
)

// admission lets so many sessions send complete lists at a time, and the others wait in the order in which their zones
// came: what a thousand zones that come back at once cost in memory is what a few cost. Changes never wait.
type admission struct {
	mu    sync.Mutex // guards what follows, and the turns
	free  int
	busy  int
	most  int // that busy ever was
	queue []*turn
	since map[string]time.Time // when a zone that has not been done with yet asked first
}

// turn is that of one session.
type turn struct {
	of      *admission
	zone    string
	queued  bool
	held    bool
	granted chan struct{} // has a value when held became true
	timer   *time.Timer   // takes the turn away
}

func newAdmission(sessions int) *admission {
	return &admission{free: sessions, since: map[string]time.Time{}}
}

// turn returns that of a new session, which has not asked for anything yet.
func (a *admission) turn(zone string) *turn {
	return &turn{of: a, zone: zone, granted: make(chan struct{}, 1)}
}

// ask says whether the session may send a part of a complete list now. If not it is in the queue, and granted fires when it
// pays to ask again.
func (t *turn) ask() bool {
	if t == nil {
		return true
	}
	a := t.of
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case t.held:
		t.timer.Reset(turnTime)
		return true
	case t.queued:
		return false
	}
	now := time.Now()
	if a.since[t.zone].IsZero() {
		a.since[t.zone] = now
		for zone, came := range a.since {
			if len(a.since) > 2*len(a.queue)+1000 && now.Sub(came) > placeTime {
				delete(a.since, zone)
			}
		}
	}
	t.queued = true
	a.queue = append(a.queue, t)
	a.next()
	select {
	case <-t.granted: // it was free
	default:
	}
	return t.held
}

// usage returns how many sessions send complete lists, how many wait, and how many sent at once at most.
func (a *admission) usage() (sending, waiting, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.busy, len(a.queue), a.most
}

// due returns the channel that fires when the session has got its turn.
func (t *turn) due() <-chan struct{} {
	if t == nil {
		return nil
	}
	return t.granted
}

// done gives the turn back: the lists are complete.
func (t *turn) done() {
	if t == nil {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	if t.held || t.queued {
		delete(t.of.since, t.zone)
		t.leave()
	}
}

// end gives the turn back because the session ends; the zone keeps its place.
func (t *turn) end() {
	if t == nil {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.leave()
}

// leave takes the session out. The caller holds mu.
func (t *turn) leave() {
	a := t.of
	if t.queued {
		t.queued = false
		for i, other := range a.queue {
			if other == t {
				a.queue = append(a.queue[:i], a.queue[i+1:]...)
				break
			}
		}
	}
	if t.held {
		t.held = false
		t.timer.Stop()
		a.free++
		a.busy--
		a.next()
	}
}

// next gives free turns to those who came first. The caller holds mu.
func (a *admission) next() {
	for a.free > 0 && len(a.queue) > 0 {
		first := 0
		for i, t := range a.queue {
			if a.since[t.zone].Before(a.since[a.queue[first].zone]) {
				first = i
			}
		}
		t := a.queue[first]
		a.queue = append(a.queue[:first], a.queue[first+1:]...)
		a.free--
		t.queued, t.held = false, true
		t.timer = time.AfterFunc(turnTime, t.end)
		a.busy++
		a.most = max(a.most, a.busy)
		select {
		case t.granted <- struct{}{}:
		default:
		}
	}
}
