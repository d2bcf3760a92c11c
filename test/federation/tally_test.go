package federation

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// tally says how far the lives are: on a terminal all the time, elsewhere twice a minute and when all are over. What is wrong
// with one that fails it says at once: the testing package keeps that until all are over.
type tally struct {
	of       int
	first    uint64
	start    time.Time
	terminal bool
	stop     chan struct{} // closed in the end

	mu            sync.Mutex // guards what follows, and the output
	lives, broken int
	printed       time.Time
	running       map[uint64]time.Time // seeds of those that have begun and are not over, and since when
}

func newTally(of int, first uint64, terminal bool) *tally {
	s := &tally{of: of, first: first, start: time.Now(), terminal: terminal, stop: make(chan struct{}), running: map[uint64]time.Time{}}
	go s.watch()
	return s
}

func (s *tally) watch() {
	every := time.NewTicker(30 * time.Second)
	defer every.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-every.C:
		}
		s.mu.Lock()
		line := s.String()
		if slow := s.slowest(); time.Since(s.running[slow]) > 10*time.Second {
			line += fmt.Sprintf(", seed %d goes on for %s", slow, time.Since(s.running[slow]).Round(time.Second))
		}
		s.line("%s\n", line)
		s.mu.Unlock()
	}
}

// slowest returns the seed of the life that goes on for longest. The caller holds mu.
func (s *tally) slowest() uint64 {
	seeds := slices.SortedFunc(maps.Keys(s.running), func(a, b uint64) int {
		return cmp.Or(s.running[a].Compare(s.running[b]), cmp.Compare(a, b))
	})
	return append(seeds, 0)[0]
}

func (s *tally) began(seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[seed] = time.Now()
}

// lived notes that a life is over, and w has seen what there was to see. It takes that from w: the testing package holds
// what tests hold until all are over, and thousands of lives are many gigabytes.
func (s *tally) lived(seed uint64, failed bool, w *witness) {
	said, log := w.said, w.text.Bytes()
	w.TB, w.log, w.said, w.text = nil, nil, nil, bytes.Buffer{}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, seed)
	if s.lives++; failed {
		s.broken++
		s.line("seed %d is broken. Again: go test ./test/federation -run TestRandomWrites -args -seed %d -seeds 1\n", seed, seed)
		for _, text := range said {
			s.line("  %s\n", strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  "))
		}
		s.line("  what happened: %s\n", keep(seed, log))
	}
	if s.terminal && (failed || time.Since(s.printed) > 200*time.Millisecond) {
		s.printed = time.Now()
		s.line("%s", s)
	}
}

// keep writes what happened in a life to a file that stays, and returns its name, or why there is none.
func keep(seed uint64, log []byte) string {
	f, err := os.CreateTemp("", fmt.Sprintf("meridian-life-%d-*.log", seed))
	if err == nil {
		defer f.Close()
		if _, err = f.Write(log); err == nil {
			return f.Name()
		}
	}
	return err.Error()
}

func (s *tally) end() {
	close(s.stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lives > 100 || s.terminal {
		s.line("%s, seeds %d to %d\n", s, s.first, s.first+uint64(s.of)-1)
	}
}

// line prints over the line that shows how far the lives are.
func (s *tally) line(format string, args ...any) {
	if s.terminal {
		format = "\r\x1b[K" + format
	}
	fmt.Printf(format, args...)
}

func (s *tally) String() string {
	took := time.Since(s.start)
	return fmt.Sprintf("%d of %d lives in %s, %.1f a second, %d broken", s.lives, s.of, took.Round(time.Second), float64(s.lives)/took.Seconds(), s.broken)
}

// witness is a test that remembers what is wrong with it, and what happened.
type witness struct {
	testing.TB
	log hclog.Logger

	mu   sync.Mutex // guards what follows
	said []string
	text bytes.Buffer
}

func newWitness(t testing.TB) *witness {
	w := &witness{TB: t}
	w.log = hclog.New(&hclog.LoggerOptions{Output: &w.text, Level: hclog.Debug, Mutex: &w.mu, TimeFormat: "15:04:05.000"})
	return w
}

func (w *witness) Errorf(format string, args ...any) {
	w.Helper()
	w.mu.Lock()
	w.said = append(w.said, fmt.Sprintf(format, args...))
	w.mu.Unlock()
	w.TB.Errorf(format, args...)
}
