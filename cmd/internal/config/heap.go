package config

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapStep is how much a heap may always grow from one collection to the next. By itself Go collects when the heap has
// doubled, and with the few megabytes that are alive in most control planes that is all the time: a burst of writes spent
// a third of its time on it.
const heapStep = 64 << 20

// growHeap has the collector wait until the heap has grown by heapStep or doubled, whichever is more. It changes nothing
// if the environment sets GOGC or GOMEMLIMIT: then somebody has decided.
func growHeap() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	percent := 0
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var collected func()
	collected = func() {
		metrics.Read(live)
		want := max(100, int(heapStep*100/max(live[0].Value.Uint64(), 1<<20)))
		if want < percent || want > percent+percent/8 { // setting it stops the world
			percent = want
			debug.SetGCPercent(percent)
		}
		// The next collection finds this one dead.
		runtime.AddCleanup(new(*byte), func(struct{}) { collected() }, struct{}{})
	}
	collected()
}
