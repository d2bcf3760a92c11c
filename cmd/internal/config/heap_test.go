package config

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Not parallel: the setting is that of the process.
func TestASmallHeapMayGrowByAStepAndALargeOneDoubles(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	growHeap()
	percent := func() uint64 {
		got := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(got)
		return got[0].Value.Uint64()
	}
	settles := func(ok func(uint64) bool) {
		t.Helper()
		assert.Eventually(t, func() bool { runtime.GC(); return ok(percent()) }, 10*time.Second, time.Millisecond)
	}
	settles(func(p uint64) bool { return p > 200 })
	large := make([]byte, 4*heapStep)
	settles(func(p uint64) bool { return p == 100 })
	runtime.KeepAlive(large)
	large = nil
	settles(func(p uint64) bool { return p > 200 })
}

func TestTheHeapIsLeftToWhoeverSetsGOGC(t *testing.T) {
	t.Setenv("GOGC", "50")
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	growHeap()
	runtime.GC()
	assert.Equal(t, 50, debug.SetGCPercent(50))
}
