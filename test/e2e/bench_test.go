package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const minSamples = 300

// BenchmarkGlobalWriteInAllZones measures from the start of a client's write on global until the last of three zones
// has answered a wait, opened before the write, with the new value. Real processes, every commit on disk.
func BenchmarkGlobalWriteInAllZones(b *testing.B) {
	global, zones := threeZones(b)
	benchmarkWrite(b, global, "", []*plane{zones["east"], zones["west"], zones["north"]})
}

// BenchmarkZoneWriteInOtherZones is the same for a producer policy written in a zone, until both others have it.
func BenchmarkZoneWriteInOtherZones(b *testing.B) {
	_, zones := threeZones(b)
	benchmarkWrite(b, zones["east"], "shop", []*plane{zones["west"], zones["north"]})
}

// threeZones starts zones that dial the global directly.
func threeZones(b *testing.B) (global *plane, zones map[string]*plane) {
	global = newGlobal(b)
	zones = map[string]*plane{}
	for _, name := range []string{"east", "west", "north"} {
		zones[name] = newZone(b, name, nil, "--global", global.process.KDS(), "--tls-ca", filepath.Join(global.dir, "kds.crt"),
			"--zone-token-file", global.zoneToken(name))
		zones[name].await("/meshes/default")
	}
	return global, zones
}

func benchmarkWrite(b *testing.B, on *plane, namespace string, others []*plane) {
	const name = "measured"
	path, wire := timeoutPath(name, namespace), wirePath(name, namespace, zoneName(on.name))
	on.put(path, timeoutDoc(name, namespace, "1s"))
	tags := make([]string, len(others))
	for i, p := range others {
		p.await(wire)
		_, header, _, err := p.request(b.Context(), http.MethodGet, wire, "")
		require.NoError(b, err)
		tags[i] = header.Get("ETag")
	}
	var all, writes []time.Duration
	n := 0
	once := func() {
		n++
		value := (time.Duration(n) * time.Millisecond).String()
		errs := make([]error, len(others))
		arrived := make([]time.Time, len(others))
		var wg, waiting sync.WaitGroup
		for i, p := range others {
			waiting.Add(1)
			wg.Go(func() {
				waiting.Done()
				code, header, body, err := p.request(b.Context(), http.MethodGet, wire+"?wait=10s", "", "If-None-Match", tags[i])
				arrived[i] = time.Now()
				if err == nil && (code != http.StatusOK || !strings.Contains(body, `"`+value+`"`)) {
					err = fmt.Errorf("%s answered %d %s, want %s", p.name, code, body, value)
				}
				errs[i], tags[i] = err, header.Get("ETag")
			})
		}
		waiting.Wait()
		begin := time.Now()
		on.put(path, timeoutDoc(name, namespace, value))
		writes = append(writes, time.Since(begin))
		wg.Wait()
		for i := range others {
			require.NoError(b, errs[i])
		}
		all = append(all, slices.MaxFunc(arrived, time.Time.Compare).Sub(begin))
	}
	for b.Loop() {
		once()
	}
	for len(all) < minSamples {
		once()
	}
	reportQuantiles(b, "", all)
	reportQuantiles(b, "write-", writes)
}

func reportQuantiles(b *testing.B, prefix string, all []time.Duration) {
	slices.Sort(all)
	for _, q := range []int{50, 99} {
		at := all[(len(all)-1)*q/100]
		b.ReportMetric(float64(at)/float64(time.Millisecond), fmt.Sprintf("%sp%d-ms", prefix, q))
	}
}

// usage returns the CPU time that a process has used and the bytes that it has written to disk.
func (p *plane) usage() (cpu time.Duration, written float64) {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.process.Pid()))
	require.NoError(p.t, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		require.NoError(p.t, err)
		cpu += time.Duration(n) * tick
	}
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.process.Pid()))
	require.NoError(p.t, err)
	_, after, _ := strings.Cut(string(io), "\nwrite_bytes: ")
	_, err = fmt.Sscan(after, &written)
	require.NoError(p.t, err)
	return cpu, written
}

// used returns what the planes have used since they were at the given marks.
func used(planes []*plane, since map[*plane]time.Duration) (cpu time.Duration, written float64) {
	for _, p := range planes {
		c, w := p.usage()
		cpu, written = cpu+c-since[p], written+w
	}
	return cpu, written
}

// BenchmarkTenThousandPolicies measures how long 8 writers take to write 10,000 policies on global, one request each,
// and until three zones have them all.
func BenchmarkTenThousandPolicies(b *testing.B) {
	const policies, writers = 10_000, 8
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = writers
	for b.Loop() {
		b.StopTimer()
		global, zones := threeZones(b)
		others := slices.Collect(maps.Values(zones))
		before := map[*plane]time.Duration{}
		for _, p := range append(others, global) {
			before[p], _ = p.usage()
		}
		b.StartTimer()
		begin := time.Now()
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range policies / writers {
					name := fmt.Sprintf("p-%d-%d", w, i)
					global.put(timeoutPath(name, ""), timeoutDoc(name, "", "1s"))
				}
			})
		}
		wg.Wait()
		b.ReportMetric(time.Since(begin).Seconds(), "written-s")
		for _, zone := range zones {
			for w := range writers {
				zone.await(wirePath(fmt.Sprintf("p-%d-%d", w, policies/writers-1), "", ""))
			}
		}
		b.ReportMetric(time.Since(begin).Seconds(), "converged-s")
		b.StopTimer()
		for name, planes := range map[string][]*plane{"global": {global}, "zones": others} {
			cpu, written := used(planes, before)
			b.ReportMetric(cpu.Seconds(), name+"-cpu-s")
			b.ReportMetric(written/1e6, name+"-disk-MB")
		}
		for _, zone := range zones {
			require.Len(b, zone.names("/meshes/default/meshtimeouts"), policies)
		}
		b.StartTimer()
	}
}

// BenchmarkFreshZone measures how long a zone that has nothing takes, from its start, to hold 100,000 policies, over TLS
// and on disk; how much the memory of global grows at most meanwhile; and what global and zone do when all is said.
func BenchmarkFreshZone(b *testing.B) {
	const policies, perFile = 100_000, 1000
	dir := b.TempDir()
	for file := range policies / perFile {
		var text strings.Builder
		for i := range perFile {
			fmt.Fprintf(&text, "---\n%s\n", timeoutDoc(fmt.Sprintf("p-%06d", file*perFile+i), "", "1s"))
		}
		require.NoError(b, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.yaml", file)), []byte(text.String()), 0o600))
	}
	global := newGlobal(b)
	code, _, stderr := global.cli("apply", "-f", dir)
	require.Equal(b, 0, code, stderr)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		held, _ := global.memory()
		global.forgetPeak()
		before, _ := global.usage()
		name := fmt.Sprint("fresh-", n)
		b.StartTimer()
		begin := time.Now()
		zone := newZone(b, name, nil, "--global", global.process.KDS(), "--tls-ca", filepath.Join(global.dir, "kds.crt"),
			"--zone-token-file", global.zoneToken(name))
		zone.await(wirePath(fmt.Sprintf("p-%06d", policies-1), "", ""))
		b.ReportMetric(time.Since(begin).Seconds(), "fresh-s")
		b.StopTimer()
		_, peak := global.memory()
		b.ReportMetric((peak-held)/(1<<20), "global-growth-MiB")
		after, _ := global.usage()
		b.ReportMetric((after - before).Seconds(), "global-cpu-s")
		used, _ := zone.usage()
		b.ReportMetric(used.Seconds(), "zone-cpu-s")
		time.Sleep(3 * time.Second) // what came last is written down
		quiet, _ := global.usage()
		const idle = 10 * time.Second
		time.Sleep(idle)
		rested, _ := global.usage()
		b.ReportMetric(100*(rested-quiet).Seconds()/idle.Seconds(), "global-idle-%cpu")
		b.StartTimer()
	}
}

// memory returns how many bytes of a process are in memory, and how many were at most since forgetPeak.
func (p *plane) memory() (now, peak float64) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Pid()))
	require.NoError(p.t, err)
	for name, v := range map[string]*float64{"VmRSS": &now, "VmHWM": &peak} {
		_, after, _ := strings.Cut(string(status), "\n"+name+":")
		_, err = fmt.Sscan(after, v)
		require.NoError(p.t, err)
		*v *= 1 << 10
	}
	return now, peak
}

func (p *plane) forgetPeak() {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.process.Pid()), []byte("5"), 0))
}
