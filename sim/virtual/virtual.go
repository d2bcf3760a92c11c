// Package virtual runs functions in virtual time: whoever sleeps or waits for a timer waits for nothing, and minutes pass in
// no time once all goroutines of the function wait for one another.
//
//	err := virtual.Run(func() error {
//		time.Sleep(time.Hour) // at once
//		return nil
//	})
package virtual

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Stopwatch returns a function that says how long ago Stopwatch was called by the clock of the machine, to the microsecond: also in a bubble,
// where the one of time.Now stands still while something is computed.
func Stopwatch() (elapsed func() time.Duration) {
	begin := machineTime()
	return func() time.Duration { return max(0, machineTime()-begin) } // the clock may be set back
}

func machineTime() time.Duration {
	var now syscall.Timeval
	if syscall.Gettimeofday(&now) != nil {
		return 0
	}
	return time.Duration(now.Sec)*time.Second + time.Duration(now.Usec)*time.Microsecond
}

// Run calls f in a synctest bubble of its own and returns its error. The clock of the bubble begins at 2000-01-01 UTC. It
// may be called from several goroutines at once, but not from within a bubble.
//
// Every goroutine that f starts must end: those that wait for one another for ever when f has returned are a deadlock, and Run
// panics. If f panics Run does, with the same value.
//
// testing/synctest is made for tests, and a bubble can be had only with a testing.T. The zero one will do: nothing is asked of
// it unless the test fails, and f cannot make it fail, since it never sees it. That this works in a program is not promised
// anywhere; TestRunWorksInAProgram notices a Go release in which it does not. docs/adr/0008 has the reasons.
func Run(f func() error) (err error) {
	var panicked any
	defer func() {
		if panicked != nil {
			_ = recover() // of the goroutines that it has left waiting
			panic(panicked)
		}
	}()
	synctest.Test(new(testing.T), func(*testing.T) {
		defer func() { panicked = recover() }() // a panic in here would end in the T
		err = f()
	})
	return err
}
