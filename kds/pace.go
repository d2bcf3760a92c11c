package kds

import "time"

const (
	// patience is how many answers in a row must find more to send before the sender begins to rest between responses.
	patience  = 3
	firstRest = time.Millisecond
	// longestRest is what a change can wait for others while there is a stream of them. It is also what a peer saves: a
	// response costs it a commit, and one response of a hundred changes costs hardly more than one of a single change.
	longestRest = 20 * time.Millisecond
)

// streak counts, for one kind, the answers in a row that found more to send.
type streak struct {
	n        int
	answered bool // an answer has come, and what it found is not known yet
}

// found notes whether there is something to send.
func (s *streak) found(more bool) {
	switch {
	case !s.answered:
	case more:
		s.n++
	default:
		s.n = 0
	}
	s.answered = false
}

// pace lets changes gather while they come faster than the peer takes them one by one: a streak makes the rest before the
// next response twice as long, up to longestRest, and the first answer that finds nothing ends it. So a change that comes
// alone never waits, and there is no timer unless there is something new in the store.
type pace struct {
	timer *time.Timer // runs during a rest; nil: there is none
}

// answered begins a rest if s is long enough and there may be more.
func (p *pace) answered(s *streak, more bool) {
	s.answered = true
	if n := s.n - patience; n >= 0 && more && p.timer == nil {
		p.timer = time.NewTimer(min(firstRest<<min(n, 10), longestRest))
	}
}

func (p *pace) resting() bool { return p.timer != nil }

// over returns the channel that ends the rest, nil if there is none.
func (p *pace) over() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

// end ends the rest.
func (p *pace) end() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}
