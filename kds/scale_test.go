package kds_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

const manyResources = 100_000

// fill writes n timeouts, a thousand in a batch.
func fill(t testing.TB, st kds.Store, n int) {
	for batch := range slices.Chunk(many("p", n), 1000) {
		put(t, st, batch...)
	}
}

// stored waits until the zone has stored n resources.
func stored(t testing.TB, z *zone, n uint64) {
	for deadline := time.Now().Add(5 * time.Minute); z.client.Stats().Applied < n; time.Sleep(10 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline))
	}
}

// BenchmarkFreshZone connects a zone that has nothing to a global with 100,000 policies. Nothing is fsynced.
func BenchmarkFreshZone(b *testing.B) {
	g := startGlobal(b)
	fill(b, g.store, manyResources)
	n := 0
	for b.Loop() {
		n++
		z := g.zone(fmt.Sprint("z", n))
		stored(b, z, manyResources)
		z.stop()
	}
	b.ReportMetric(float64(g.server.Stats().BytesSent)/float64(n)/1e6, "MB/zone")
}

// BenchmarkReconnect changes ten of 100,000 policies while a zone is cut off, and measures from the moment that it dials
// until it has stored them.
func BenchmarkReconnect(b *testing.B) {
	g := startGlobal(b)
	fill(b, g.store, manyResources)
	var mu sync.Mutex
	var conn net.Conn
	var cut bool
	var dialled time.Time
	z := startZone(b, "east", openStore(b), func(ctx context.Context, a string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if cut {
			return nil, errors.New("cut")
		}
		dialled = time.Now()
		var err error
		conn, err = g.dial(ctx, a)
		return conn, err
	})
	stored(b, z, manyResources)
	time.Sleep(2 * time.Second) // the progress that came last is written down
	var took []time.Duration
	var bytes uint64
	n := 0
	for b.Loop() {
		n++
		mu.Lock()
		cut = true
		_ = conn.Close()
		mu.Unlock()
		for z.client.Status().Connected {
			time.Sleep(time.Millisecond)
		}
		for i := range 10 {
			put(b, g.store, timeout(fmt.Sprintf("p-%03d", 1000*i+n), strings.ReplaceAll(meshWide, "20s", fmt.Sprint(n, "h"))))
		}
		before := g.server.Stats()
		mu.Lock()
		cut = false
		mu.Unlock()
		for i := range 10 {
			waitFor(b, z.store, hashedKey(timeout(fmt.Sprintf("p-%03d", 1000*i+n), ""), ""), fmt.Sprintf(`"%dh"`, n))
		}
		mu.Lock()
		took = append(took, time.Since(dialled))
		mu.Unlock()
		for z.client.Status().Sync.State != kds.Online {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond)
		bytes += g.server.Stats().BytesSent - before.BytesSent
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(bytes)/float64(n), "sent-B/op")
}

const (
	lightAddress = "KDS_LIGHT_ADDRESS" // set in the process that plays the zones
	lightZones   = 1000
)

// BenchmarkThousandZones has 1,000 light zones, played by another process, on a global with 100,000 policies, and measures
// from a write to the last ACK. The memory is that of global alone, beyond what it has for one zone.
func BenchmarkThousandZones(b *testing.B) {
	st := openStore(b)
	fill(b, st, manyResources)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := kds.NewServer(kds.ServerConfig{Store: st, Instance: "global-1"})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { require.NoError(b, server.Serve(ctx, listener)) })
	defer wg.Wait()
	defer cancel()

	players := exec.Command(os.Args[0], "-test.run", "^TestLightZonesOfTheBenchmark$", "-test.timeout", "1h")
	players.Env = append(os.Environ(), lightAddress+"="+listener.Addr().String())
	players.Stderr = os.Stderr
	online := func(n int) {
		for {
			list, err := server.Status(ctx)
			require.NoError(b, err)
			ready := 0
			for _, s := range list {
				if s.State == kds.Online && len(s.Kinds) == 41+26 {
					ready++
				}
			}
			if ready >= n {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
	}
	memory := func() (heap, stack, goroutines float64) {
		for range 4 { // stacks shrink by half in one
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc), float64(m.StackInuse), float64(runtime.NumGoroutine())
	}
	stdin, err := players.StdinPipe()
	require.NoError(b, err)
	require.NoError(b, players.Start())
	defer func() { _ = stdin.Close(); _ = players.Wait() }()
	online(1)
	heap, stack, goroutines := memory()
	_, err = fmt.Fprintln(stdin, "the others")
	require.NoError(b, err)
	online(lightZones)
	idleHeap, idleStack, idleGoroutines := memory()
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		want := server.Stats().Acks + lightZones
		begun := time.Now()
		put(b, st, timeout("p-001", strings.ReplaceAll(meshWide, "20s", fmt.Sprint(n, "h"))))
		for server.Stats().Acks < want {
			time.Sleep(200 * time.Microsecond)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	const more = lightZones - 1
	b.ReportMetric((idleHeap-heap+idleStack-stack)/more/1024, "kB/zone")
	b.ReportMetric((idleStack-stack)/more/1024, "kB-stack/zone")
	b.ReportMetric((idleGoroutines-goroutines)/more, "goroutines/zone")
}

// TestLightZonesOfTheBenchmark plays the zones of BenchmarkThousandZones, in a process of its own; in others it does nothing.
func TestLightZonesOfTheBenchmark(t *testing.T) {
	address := os.Getenv(lightAddress)
	if address == "" {
		t.Skip("only as the other process of BenchmarkThousandZones")
	}
	var token atomic.Pointer[syncv1.Frame]
	go lightZone(t, address, 0, &token)
	var line string
	_, _ = fmt.Scanln(&line)
	for i := 1; i < lightZones; i++ {
		go lightZone(t, address, i, &token)
		time.Sleep(2 * time.Millisecond)
	}
	for err := error(nil); err == nil || err.Error() != "EOF"; {
		_, err = fmt.Scanln(&line)
	}
}

// lightZone holds nothing and acknowledges everything. All but the first pretend to hold what the first was sent.
func lightZone(t *testing.T, address string, i int, first *atomic.Pointer[syncv1.Frame]) {
	name := "z" + strconv.Itoa(i)
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(10<<20)))
	require.NoError(t, err)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "client-id", name, "meridian-instance", name,
		"meridian-features", kds.FeatureVerdicts, "meridian-features", kds.FeatureResume, "meridian-features", kds.FeatureSummons)
	features := []any{kds.FeatureVerdicts, kds.FeatureResume, kds.FeatureSummons}
	for _, f := range scope.Announced {
		features = append(features, f)
	}
	meta, err := structpb.NewStruct(map[string]any{"features": features, "control-plane-id": name})
	require.NoError(t, err)
	client := meshv1.NewKDSSyncServiceClient(conn)
	down, err := client.GlobalToZoneSync(ctx)
	require.NoError(t, err)
	up, err := client.ZoneToGlobalSync(ctx)
	require.NoError(t, err)
	go func() {
		for nonce := 1; ; nonce++ {
			m, err := up.Recv()
			if err != nil {
				return
			}
			if m.ResponseNonce != "" {
				continue
			}
			r := &discovery.DeltaDiscoveryResponse{TypeUrl: m.TypeUrl, Nonce: strconv.Itoa(nonce), ControlPlane: &core.ControlPlane{Identifier: name}}
			withFrame(t, r, &syncv1.Frame{Epoch: "light", Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE})
			_ = up.Send(r)
		}
	}()
	resume := &syncv1.Resume{}
	if f := first.Load(); f != nil {
		resume = &syncv1.Resume{Epoch: strings.Replace(f.Epoch, "/z0/", "/"+name+"/", 1), Revision: f.Revision}
	}
	for _, d := range resource.Kinds {
		if d.FromGlobal() {
			require.NoError(t, down.Send(&discovery.DeltaDiscoveryRequest{
				Node: &core.Node{Id: name, Metadata: meta}, TypeUrl: d.Kind, ResourceNamesSubscribe: []string{"*"}, ErrorDetail: details(t, resume),
			}))
		}
	}
	ok := details(t, &syncv1.Answer{})
	for {
		m, err := down.Recv()
		if err != nil {
			return
		}
		if f := frame(t, m); i == 0 && f.Revision > 0 {
			first.Store(f)
		}
		_ = down.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: name}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce, ErrorDetail: ok})
	}
}
