package api_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// BenchmarkPut is what one PUT costs besides the disk and the socket.
func BenchmarkPut(b *testing.B) {
	p := newPlane(b, onGlobal)
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := fmt.Sprint("t", n.Add(1))
			p.must(http.StatusCreated, "PUT", timeouts+"/"+name, timeout(name, "1s"))
		}
	})
}

// BenchmarkApply is one batch of 100 policies on a plane with 100 proxies.
func BenchmarkApply(b *testing.B) {
	p := newPlane(b, alone)
	var proxies []object
	for i := range 100 {
		proxies = append(proxies, dataplane(fmt.Sprint("dp-", i)))
	}
	p.apply(http.StatusOK, "", proxies...)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var docs []object
		for k := range 100 {
			docs = append(docs, timeout(fmt.Sprint("t", k), fmt.Sprintf("%ds", i+1)))
		}
		p.apply(http.StatusOK, "", docs...)
	}
}
