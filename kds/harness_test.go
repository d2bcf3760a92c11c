package kds_test

import (
	"context"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// Every test runs in a synctest bubble: time is fake, and the bubble fails if a goroutine is left when the test ends.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func openStore(t testing.TB) *bolt.Store {
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st
}

// global is a global control plane as far as KDS goes.
type global struct {
	t        testing.TB
	store    *bolt.Store
	server   *kds.Server
	listener *bufconn.Listener
	stop     func()
}

func startGlobal(t testing.TB, change ...func(*kds.ServerConfig)) *global {
	return startGlobalOn(t, openStore(t), change...)
}

func startGlobalOn(t testing.TB, st *bolt.Store, change ...func(*kds.ServerConfig)) *global {
	cfg := kds.ServerConfig{Store: st, Instance: "global-1"}
	for _, f := range change {
		f(&cfg)
	}
	g := &global{t: t, store: st, server: kds.NewServer(cfg), listener: bufconn.Listen(1 << 20)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, g.server.Serve(ctx, g.listener)) })
	g.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(g.stop)
	return g
}

func (g *global) dial(ctx context.Context, _ string) (net.Conn, error) {
	return g.listener.DialContext(ctx)
}

// zone is a zone control plane as far as KDS goes.
type zone struct {
	name   string
	store  *bolt.Store
	client *kds.Client
	stop   func()
}

func (g *global) zone(name string, change ...func(*kds.ClientConfig)) *zone {
	return startZone(g.t, name, openStore(g.t), g.dial, change...)
}

func startZone(t testing.TB, name string, st *bolt.Store, dial func(context.Context, string) (net.Conn, error), change ...func(*kds.ClientConfig)) *zone {
	cfg := kds.ClientConfig{Zone: name, Address: "grpc://global:5685", Store: st, Instance: name + "-1", Dialer: dial}
	for _, f := range change {
		f(&cfg)
	}
	z := &zone{name: name, store: st, client: kds.NewClient(cfg)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { assert.NoError(t, z.client.Run(ctx)) })
	z.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(z.stop)
	return z
}

func put(t testing.TB, st kds.Store, list ...resource.Resource) {
	t.Helper()
	ops := make([]resource.Op, len(list))
	for i, r := range list {
		ops[i] = resource.Put(r)
	}
	_, err := st.Apply(context.Background(), ops...)
	require.NoError(t, err)
}

func remove(t testing.TB, st kds.Store, key resource.Key) {
	t.Helper()
	_, err := st.Apply(context.Background(), resource.Delete(key))
	require.NoError(t, err)
}

func get(t testing.TB, st kds.Store, key resource.Key) resource.Resource {
	t.Helper()
	r, err := st.Get(context.Background(), key)
	require.NoError(t, err)
	return r
}

// list returns the resources of a kind, in key order.
func list(t testing.TB, st kds.Store, kind string) (all []resource.Resource) {
	t.Helper()
	require.NoError(t, st.View(context.Background(), kind, func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		for r, err := range seq {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	}))
	return all
}

// names returns the display names of the resources of a kind, sorted.
func names(t testing.TB, st kds.Store, kind string) []string {
	t.Helper()
	out := []string{}
	for _, r := range list(t, st, kind) {
		out = append(out, r.Display())
	}
	slices.Sort(out)
	return out
}

// timeout returns a MeshTimeout. Labels are pairs.
func timeout(name, spec string, labels ...string) resource.Resource {
	return made("MeshTimeout", "default", name, spec, labels...)
}

func made(kind, mesh, name, spec string, labels ...string) resource.Resource {
	r := resource.Resource{Key: resource.Key{Kind: kind, Mesh: mesh, Name: name}, Spec: []byte(spec), Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		r.Labels[labels[i]] = labels[i+1]
	}
	return r
}

const (
	meshWide = `{"targetRef":{"kind":"Mesh"},"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"20s"}}]}`
	consumes = `{"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"3s"}}]}`
	produces = `{"to":[{"targetRef":{"kind":"MeshService","name":"redis"},"default":{"idleTimeout":"1s"}}]}`
)

// producer and consumer return policies as a zone holds them after somebody wrote them there.
func producer(name, ns string) resource.Resource {
	return timeout(name+"."+ns, produces, resource.LabelNamespace, ns, resource.LabelDisplayName, name, resource.LabelRole, resource.RoleProducer)
}

func consumer(name, ns string) resource.Resource {
	return timeout(name+"."+ns, consumes, resource.LabelNamespace, ns, resource.LabelDisplayName, name, resource.LabelRole, resource.RoleConsumer)
}

// hashedKey returns the key under which the other side stores r, which was written in zone ("": on global).
func hashedKey(r resource.Resource, zone string) resource.Key {
	labels := map[string]string{resource.LabelNamespace: r.Namespace()}
	if zone != "" {
		labels[resource.LabelZone] = zone
	}
	key := r.Key
	key.Name = resource.WireName(resource.Resource{Key: resource.Key{Mesh: r.Mesh, Name: r.Display()}, Labels: labels})
	return key
}

func setEnabled(t testing.TB, st kds.Store, zone string, enabled bool) {
	t.Helper()
	spec, err := proto.Marshal(&systemv1.Zone{Enabled: wrapperspb.Bool(enabled)})
	require.NoError(t, err)
	put(t, st, resource.Resource{Key: resource.Key{Kind: "Zone", Name: zone}, Spec: spec})
}

func insightOf(t testing.TB, st kds.Store, zone string) *systemv1.ZoneInsight {
	t.Helper()
	var in systemv1.ZoneInsight
	require.NoError(t, proto.Unmarshal(get(t, st, resource.Key{Kind: "ZoneInsight", Name: zone}).Spec, &in))
	return &in
}

// peer is a zone played by hand. Like a Kuma zone it compresses what it sends.
type peer struct {
	t    testing.TB
	ctx  context.Context
	zone string
	conn *grpc.ClientConn
	node *core.Node
}

func (g *global) peer(zone string) *peer {
	conn, err := grpc.NewClient("passthrough:///global", grpc.WithContextDialer(g.dial), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.UseCompressor("gzip")))
	require.NoError(g.t, err)
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(context.Background(), "client-id", zone))
	g.t.Cleanup(func() { cancel(); _ = conn.Close() })
	features := make([]any, len(scope.Announced))
	for i, f := range scope.Announced {
		features[i] = f
	}
	meta, err := structpb.NewStruct(map[string]any{
		"features": features, "control-plane-id": zone + "-cp", "config": `{"store":{"type":"memory"}}`,
		"version": map[string]any{"kumaCp": map[string]any{"version": "2.10.11"}},
	})
	require.NoError(g.t, err)
	return &peer{t: g.t, ctx: ctx, zone: zone, conn: conn, node: &core.Node{Id: zone, Metadata: meta}}
}

// down opens GlobalToZoneSync. What comes is in received, in order; receiving never blocks on the test.
func (p *peer) down() *down {
	stream, err := meshv1.NewKDSSyncServiceClient(p.conn).GlobalToZoneSync(p.ctx)
	require.NoError(p.t, err)
	d := &down{peer: p, stream: stream}
	go func() {
		for {
			m, err := stream.Recv()
			d.mu.Lock()
			if err != nil {
				d.err = err
				d.mu.Unlock()
				return
			}
			d.received = append(d.received, m)
			d.mu.Unlock()
		}
	}()
	return d
}

type down struct {
	*peer
	stream grpc.BidiStreamingClient[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]

	mu       sync.Mutex
	received []*discovery.DeltaDiscoveryResponse
	err      error
}

// subscribe asks for kinds and returns the first responses, which it ACKs.
func (d *down) subscribe(kinds ...string) []*discovery.DeltaDiscoveryResponse {
	d.t.Helper()
	for _, kind := range kinds {
		require.NoError(d.t, d.stream.Send(&discovery.DeltaDiscoveryRequest{Node: d.node, TypeUrl: kind, ResourceNamesSubscribe: []string{"*"}}))
	}
	got := d.take()
	require.Len(d.t, got, len(kinds))
	for _, m := range got {
		d.ack(m)
	}
	synctest.Wait()
	return got
}

// take waits until nothing moves and returns what has come since the last time.
func (d *down) take() []*discovery.DeltaDiscoveryResponse {
	d.t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	got := d.received
	d.received = nil
	return got
}

func (d *down) ack(m *discovery.DeltaDiscoveryResponse) {
	d.t.Helper()
	require.NoError(d.t, d.stream.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: d.zone}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce}))
}

func (d *down) nack(m *discovery.DeltaDiscoveryResponse, reason string) {
	d.t.Helper()
	require.NoError(d.t, d.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: &core.Node{Id: d.zone}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce, ResourceNamesSubscribe: []string{"*"},
		ErrorDetail: &rpc.Status{Message: reason},
	}))
}

// up opens ZoneToGlobalSync and takes the subscriptions.
func (p *peer) up() *up {
	stream, err := meshv1.NewKDSSyncServiceClient(p.conn).ZoneToGlobalSync(p.ctx)
	require.NoError(p.t, err)
	u := &up{peer: p, stream: stream, subscriptions: map[string]*discovery.DeltaDiscoveryRequest{}}
	for range 26 {
		m, err := stream.Recv()
		require.NoError(p.t, err)
		u.subscriptions[m.TypeUrl] = m
	}
	return u
}

type up struct {
	*peer
	stream        grpc.BidiStreamingClient[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]
	subscriptions map[string]*discovery.DeltaDiscoveryRequest
	nonce         int
	err           error // the stream ended instead of an answer
}

// send sends a response and returns the answer.
func (u *up) send(kind string, removed []string, list ...resource.Resource) *discovery.DeltaDiscoveryRequest {
	u.t.Helper()
	var sent []*discovery.Resource
	for _, r := range list {
		sent = append(sent, wire(u.t, r))
	}
	return u.sendWire(kind, sent, removed...)
}

func (u *up) sendWire(kind string, list []*discovery.Resource, removed ...string) *discovery.DeltaDiscoveryRequest {
	u.t.Helper()
	u.nonce++
	m := &discovery.DeltaDiscoveryResponse{
		TypeUrl: kind, Nonce: fmt.Sprint(u.nonce), ControlPlane: &core.ControlPlane{Identifier: u.zone}, Resources: list, RemovedResources: removed,
	}
	require.NoError(u.t, u.stream.Send(m))
	answer, err := u.stream.Recv()
	require.NoError(u.t, err)
	require.Equal(u.t, m.Nonce, answer.ResponseNonce)
	require.Equal(u.t, u.zone, answer.GetNode().GetId(), "node is in every request")
	return answer
}

// wire encodes a resource as Kuma does.
func wire(t testing.TB, r resource.Resource) *discovery.Resource {
	t.Helper()
	m := &meshv1.KumaResource{
		Meta: &meshv1.KumaResource_Meta{Name: r.Name, Mesh: r.Mesh, Labels: r.Labels}, Spec: &anypb.Any{Value: r.Spec},
	}
	if d, _ := resource.LookupKind(r.Kind); d.Message != "" {
		m.Spec.TypeUrl = "type.googleapis.com/" + d.Message
	}
	a, err := anypb.New(m)
	require.NoError(t, err)
	return &discovery.Resource{Version: "1", Resource: a}
}

// unwire decodes one.
func unwire(t testing.TB, w *discovery.Resource) *meshv1.KumaResource {
	t.Helper()
	var m meshv1.KumaResource
	require.NoError(t, w.Resource.UnmarshalTo(&m))
	require.NotNil(t, m.Spec)
	return &m
}

// fromZone returns r as that zone sends it.
func fromZone(r resource.Resource, zone string) resource.Resource {
	labels := map[string]string{resource.LabelDisplayName: r.Display(), resource.LabelOrigin: resource.OriginZone, resource.LabelZone: zone}
	for k, v := range r.Labels {
		labels[k] = v
	}
	r.Labels = labels
	r.Name = resource.WireName(r)
	return r
}

// converge lets everything settle, reconnects included.
func converge() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// request is the first request of a kind of a Kuma zone.
func request(p *peer, kind string) *discovery.DeltaDiscoveryRequest {
	return &discovery.DeltaDiscoveryRequest{Node: p.node, TypeUrl: kind, ResourceNamesSubscribe: []string{"*"}}
}

func meshUp(p *peer) (grpc.BidiStreamingClient[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest], error) {
	return meshv1.NewKDSSyncServiceClient(p.conn).ZoneToGlobalSync(p.ctx)
}

// silent is a connection that says nothing more, in either direction, once it is dead; nobody is told.
type silent struct {
	net.Conn
	dead *atomic.Bool
}

func (s silent) Write(b []byte) (int, error) {
	if s.dead.Load() {
		return len(b), nil
	}
	return s.Conn.Write(b)
}
