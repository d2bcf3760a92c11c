package kds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

// testdata/kuma-zone.jsonl and kuma-global.jsonl are what a control plane of Kuma 2.10.11 said on its streams, message by
// message. Node metadata is there when it changes.

// said is one message, or the opening of a stream.
type said struct {
	Stream, Event, Type, Nonce, Identifier, Node, Message string

	Subscribe []string
	Metadata  map[string]any // of the call, or of the node
	Resources []recorded
	Removed   []string
}

// recorded is one resource on the wire.
type recorded struct {
	Name, Mesh string
	Labels     map[string]string
	Version    string // SHA-256 of the bytes
	Spec       json.RawMessage
	Status     json.RawMessage
}

const notShown = `"(not shown)"` // the spec of a secret

func recording(t *testing.T, file string) (all []said) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(t, err)
	for line := range bytes.Lines(data) {
		var s said
		require.NoError(t, json.Unmarshal(line, &s))
		all = append(all, s)
	}
	require.NotEmpty(t, all)
	return all
}

// resource returns what a store holds that sends r: without what the sender adds.
func (r recorded) resource(t *testing.T, kind string, added ...string) resource.Resource {
	t.Helper()
	d, known := resource.LookupKind(kind)
	require.True(t, known, kind)
	labels := maps.Clone(r.Labels)
	own := resource.Resource{Key: resource.Key{Kind: kind, Mesh: r.Mesh, Name: r.Name}, Labels: labels, Spec: r.spec(t, d), Status: r.Status}
	if !d.PlainName {
		own.Name = labels[resource.LabelDisplayName]
		delete(labels, resource.LabelDisplayName)
	}
	for _, label := range added {
		delete(labels, label)
	}
	return own
}

func (r recorded) spec(t *testing.T, d resource.Descriptor) []byte {
	t.Helper()
	if d.Message == "" {
		var b bytes.Buffer
		require.NoError(t, json.Compact(&b, r.Spec))
		return b.Bytes()
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(d.Message))
	require.NoError(t, err)
	m := typ.New().Interface()
	if string(r.Spec) != notShown {
		require.NoError(t, protojson.Unmarshal(r.Spec, m))
	}
	spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	return spec
}

// wire returns r as it was sent.
func (r recorded) wire(t *testing.T, kind string) *discovery.Resource {
	d, _ := resource.LookupKind(kind)
	return wire(t, resource.Resource{Key: resource.Key{Kind: kind, Mesh: r.Mesh, Name: r.Name}, Labels: r.Labels, Spec: r.spec(t, d), Status: r.Status})
}

// equal says whether what we send is what Kuma sent: the same name, and the same bytes, whose sum the version is.
func (r recorded) equal(t *testing.T, got *discovery.Resource) {
	t.Helper()
	m := unwire(t, got)
	assert.Equal(t, r.Name, m.Meta.Name)
	assert.Equal(t, r.Labels, m.Meta.Labels, r.Name)
	assert.Equal(t, r.Version, got.Version, r.Name)
	assert.Empty(t, got.Name)
}

// What a Kuma global sends a zone is, byte for byte, what we send if we hold the same.
func TestGlobalSendsTheBytesThatKumaSends(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		setEnabled(t, g.store, "east", true)
		want := map[string]recorded{}
		for _, s := range recording(t, "kuma-global.jsonl") {
			if s.Stream != "GlobalToZoneSync" || s.Event != "response" {
				continue
			}
			for _, r := range s.Resources {
				if string(r.Spec) == notShown {
					continue
				}
				own := r.resource(t, s.Type, resource.LabelOrigin)
				if zone := r.Labels[resource.LabelZone]; zone != "" { // another zone's: global holds it under its wire name
					own.Name, own.Labels = r.Name, maps.Clone(r.Labels)
					own.Labels[resource.LabelOrigin] = resource.OriginZone
				}
				put(t, g.store, own)
				want[s.Type+" "+r.Name] = r
			}
		}
		require.Greater(t, len(want), 15)
		d := g.peer("west").down()
		var kinds []string
		for _, k := range resource.Kinds {
			if k.FromGlobal() {
				kinds = append(kinds, k.Kind)
			}
		}
		for _, m := range d.subscribe(kinds...) {
			for _, got := range m.Resources {
				name := m.TypeUrl + " " + unwire(t, got).Meta.Name
				r, found := want[name]
				require.True(t, found, name)
				r.equal(t, got)
				delete(want, name)
			}
		}
		assert.Empty(t, want)
	})
}

// What a Kuma zone sends is, byte for byte, what we send if we hold the same; and what a Kuma global sends, we take.
func TestZoneSpeaksWithAKumaGlobal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		k := &kumaGlobal{t: t, listener: bufconn.Listen(1 << 20), says: recording(t, "kuma-global.jsonl"), answers: map[string]*discovery.DeltaDiscoveryResponse{}}
		server := grpc.NewServer()
		meshv1.RegisterKDSSyncServiceServer(server, k)
		go func() { _ = server.Serve(k.listener) }()
		t.Cleanup(server.Stop)

		st, want, sent := openStore(t), map[string]recorded{}, 0
		for _, s := range recording(t, "kuma-zone.jsonl") {
			if s.Stream == "ZoneToGlobalSync" && s.Event == "response" {
				for _, r := range s.Resources {
					put(t, st, r.resource(t, s.Type, resource.LabelOrigin, resource.LabelZone))
					want[s.Type+" "+r.Name] = r
				}
			}
		}
		require.Len(t, want, 5)
		z := startZone(t, "z9", st, func(ctx context.Context, _ string) (net.Conn, error) { return k.listener.DialContext(ctx) },
			func(c *kds.ClientConfig) { c.Validate = policy.Schemas().Validate })
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.True(t, z.client.Status().Connected)
		require.Equal(t, 1, z.client.Status().Generation, "%v", z.client.Status().LastError)
		k.mu.Lock()
		defer k.mu.Unlock()
		assert.Len(t, k.answers, 26, "every subscription has an answer, even if there is nothing")
		for kind, m := range k.answers {
			assert.Equal(t, "z9", m.ControlPlane.Identifier)
			for _, got := range m.Resources {
				name := kind + " " + unwire(t, got).Meta.Name
				require.Contains(t, want, name)
				want[name].equal(t, got)
				delete(want, name)
			}
		}
		assert.Empty(t, want)
		for _, s := range k.says {
			for _, r := range s.Resources {
				_, err := st.Get(context.Background(), resource.Key{Kind: s.Type, Mesh: r.Mesh, Name: r.Name})
				gone := strings.HasPrefix(r.Name, "later-") || strings.HasPrefix(r.Name, "prod-2")
				assert.Equal(t, gone, err != nil, "%s %s: %v", s.Type, r.Name, err)
				sent++
			}
		}
		assert.Greater(t, sent, 15)
	})
}

// kumaGlobal says what a Kuma global was recorded to say, whatever the zone answers: Kuma does not look at it either. Like
// Kuma's it has no Zone before GlobalToZoneSync, and ends the other stream if that brings something before.
type kumaGlobal struct {
	meshv1.UnimplementedKDSSyncServiceServer
	t        *testing.T
	listener *bufconn.Listener
	says     []said

	mu      sync.Mutex // guards what follows
	zone    bool       // the Zone is there
	answers map[string]*discovery.DeltaDiscoveryResponse
}

func (k *kumaGlobal) GlobalToZoneSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]) error {
	time.Sleep(5 * time.Millisecond) // it takes its time
	k.mu.Lock()
	k.zone = true
	k.mu.Unlock()
	for range 41 {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		config := m.Node.Metadata.Fields["config"].GetStringValue()
		assert.Contains(k.t, config, `"store":{"type":"memory"}`, "Kuma reads it to inspect proxies")
	}
	for _, say := range k.says {
		if say.Stream != "GlobalToZoneSync" || say.Event != "response" {
			continue
		}
		m := &discovery.DeltaDiscoveryResponse{
			TypeUrl: say.Type, Nonce: say.Nonce, ControlPlane: &core.ControlPlane{Identifier: say.Identifier}, RemovedResources: say.Removed,
		}
		for _, r := range say.Resources {
			m.Resources = append(m.Resources, r.wire(k.t, say.Type))
		}
		if err := s.Send(m); err != nil {
			return err
		}
		answer, err := s.Recv()
		if err != nil {
			return err
		}
		want := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "z9"}, TypeUrl: say.Type, ResponseNonce: say.Nonce}
		assert.True(k.t, proto.Equal(want, answer), "an ACK and nothing else: %v", answer)
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (k *kumaGlobal) ZoneToGlobalSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]) error {
	for _, say := range k.says {
		if say.Stream != "ZoneToGlobalSync" || say.Event != "request" {
			continue
		}
		if err := s.Send(say.request(k.t, "z9")); err != nil {
			return err
		}
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		k.mu.Lock()
		if !k.zone && len(m.Resources) > 0 {
			k.mu.Unlock()
			return status.Error(codes.Internal, "stream failed")
		}
		k.answers[m.TypeUrl] = m
		k.mu.Unlock()
	}
}

// request is s as it was sent, by or to a zone.
func (s said) request(t *testing.T, zone string) *discovery.DeltaDiscoveryRequest {
	node := &core.Node{Id: zone}
	if s.Metadata != nil {
		var err error
		node.Metadata, err = structpb.NewStruct(s.Metadata)
		assert.NoError(t, err)
	}
	return &discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: s.Type, ResourceNamesSubscribe: s.Subscribe, ResponseNonce: s.Nonce}
}

// The recorded life of a Kuma zone, played to our global: it joins, refuses a policy, writes and deletes, loses its streams and
// comes back. What it answers is about the responses that we sent.
func TestKumaZoneIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t, func(c *kds.ServerConfig) { c.Validate = policy.Schemas().Validate; c.HealthInterval = 3 * time.Second })
		put(t, g.store, made("Mesh", "", "default", ""), timeout("doomed", meshWide))
		steps := []func(){ // what happened on global, each before the zone's next answer of a kind that it had answered
			func() { put(t, g.store, made("MeshRetry", "default", "later", `{"to":[]}`)) },
			func() { remove(t, g.store, timeout("doomed", "").Key) },
			func() { put(t, g.store, timeout("bad", meshWide), timeout("good-next-to-bad", meshWide)) },
		}
		var p *peer
		var d *down
		var u grpc.BidiStreamingClient[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]
		unanswered := map[string]*discovery.DeltaDiscoveryResponse{}
		lives, subscribed := 0, map[string]bool{}
		for _, s := range recording(t, "kuma-zone.jsonl") {
			switch s.Stream + " " + s.Event {
			case "ZoneToGlobalSync open": // the first call of each life
				if p != nil {
					require.NoError(t, p.conn.Close())
				}
				lives++
				synctest.Wait()
				p = g.peer("z9")
				md := metadata.MD{}
				for key, values := range s.Metadata {
					for _, v := range values.([]any) {
						md.Append(key, v.(string))
					}
				}
				p.ctx = metadata.NewOutgoingContext(p.ctx, md)
				var err error
				u, err = meshUp(p)
				require.NoError(t, err)
				for range 26 {
					m, err := u.Recv()
					require.NoError(t, err)
					subscribed[m.TypeUrl] = true
					assert.Equal(t, "z9", m.Node.Id)
				}
			case "GlobalToZoneSync open":
				d = p.down()
				clear(unanswered)
			case "StreamXDSConfigs open", "StreamStats open", "StreamClusters open":
				open(t, p, s.Stream)
			case "HealthCheck health":
				answer, err := meshv1.NewGlobalKDSServiceClient(p.conn).HealthCheck(p.ctx, &meshv1.ZoneHealthCheckRequest{})
				require.NoError(t, err)
				assert.Equal(t, 3*time.Second, answer.Interval.AsDuration())
			case "GlobalToZoneSync request":
				require.NoError(t, d.stream.Send(s.request(t, "z9")))
			case "GlobalToZoneSync ack", "GlobalToZoneSync nack":
				took(t, d, unanswered)
				if unanswered[s.Type] == nil {
					require.NotEmpty(t, steps)
					steps[0]()
					steps = steps[1:]
					took(t, d, unanswered)
				}
				m := unanswered[s.Type]
				require.NotNil(t, m, "%s %s", s.Event, s.Type)
				delete(unanswered, s.Type)
				answer := s.request(t, "z9")
				if answer.ResponseNonce = m.Nonce; s.Event == "nack" {
					answer.ErrorDetail = &rpc.Status{Message: s.Message}
				}
				require.NoError(t, d.stream.Send(answer))
			case "ZoneToGlobalSync response":
				m := &discovery.DeltaDiscoveryResponse{
					TypeUrl: s.Type, Nonce: s.Nonce, ControlPlane: &core.ControlPlane{Identifier: s.Identifier}, RemovedResources: s.Removed,
				}
				for _, r := range s.Resources {
					m.Resources = append(m.Resources, r.wire(t, s.Type))
				}
				require.NoError(t, u.Send(m))
				answer, err := u.Recv()
				require.NoError(t, err)
				want := &discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "z9"}, TypeUrl: s.Type, ResponseNonce: s.Nonce}
				assert.True(t, proto.Equal(want, answer), "an ACK and nothing else: %v", answer)
			default:
				t.Fatalf("%s %s", s.Stream, s.Event)
			}
		}
		synctest.Wait()
		assert.Equal(t, 2, lives)
		assert.Len(t, subscribed, 26)
		assert.Empty(t, steps)
		assert.Empty(t, d.take(), "what was refused is not sent again")
		assert.NoError(t, d.err)

		assert.Equal(t, []string{"zone-own"}, fromZoneZ9(t, g, "MeshTimeout"))
		assert.Equal(t, []string{"dp-1"}, fromZoneZ9(t, g, "Dataplane"))
		assert.Equal(t, []string{"local-mesh-external-service", "local-universal-mesh-service"}, fromZoneZ9(t, g, "HostnameGenerator"))
		assert.Empty(t, fromZoneZ9(t, g, "MeshRetry"), "it was deleted again")
		assert.EqualValues(t, lives, g.server.Stats().Nacks, "but to a new stream")
		assert.Zero(t, g.server.Stats().Rejected)
		assert.Zero(t, g.server.Stats().StaleNonces)
		in := insightOf(t, g.store, "z9")
		require.Len(t, in.Subscriptions, 2)
		assert.NotNil(t, in.Subscriptions[0].DisconnectTime)
		assert.Nil(t, in.Subscriptions[1].DisconnectTime)
		assert.Equal(t, "vm-cfc1", in.Subscriptions[1].ZoneInstanceId)
		assert.NotNil(t, in.HealthCheck)
	})
}

// took notes what has come and awaits an answer.
func took(t *testing.T, d *down, unanswered map[string]*discovery.DeltaDiscoveryResponse) {
	t.Helper()
	for _, m := range d.take() {
		require.Nil(t, unanswered[m.TypeUrl], "one response of a kind is in flight")
		assert.Equal(t, "global", m.ControlPlane.Identifier)
		unanswered[m.TypeUrl] = m
	}
}

// open opens one of the streams for questions about Envoys.
func open(t *testing.T, p *peer, stream string) {
	t.Helper()
	global := meshv1.NewGlobalKDSServiceClient(p.conn)
	var err error
	switch stream {
	case "StreamXDSConfigs":
		_, err = global.StreamXDSConfigs(p.ctx)
	case "StreamStats":
		_, err = global.StreamStats(p.ctx)
	default:
		_, err = global.StreamClusters(p.ctx)
	}
	require.NoError(t, err)
}

func fromZoneZ9(t *testing.T, g *global, kind string) (names []string) {
	for _, r := range list(t, g.store, kind) {
		if r.Origin() == resource.OriginZone {
			assert.Equal(t, "z9", r.Zone())
			names = append(names, r.Display())
		}
	}
	slices.Sort(names)
	return names
}
