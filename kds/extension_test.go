package kds_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
)

// pair is a global and one zone, each of which can be stopped and started over its store.
type pair struct {
	t            testing.TB
	global       *global
	zone         *zone
	globalStore  *bolt.Store
	zoneStore    *bolt.Store
	serverConfig func(*kds.ServerConfig)
	clientConfig func(*kds.ClientConfig)
	wrap         func(net.Conn) net.Conn // nil: as it is; to be set before the zone is started

	mu    sync.Mutex // guards what follows
	cut   bool
	conns []net.Conn
}

func newPair(t testing.TB) *pair {
	return &pair{
		t: t, globalStore: openStore(t), zoneStore: openStore(t),
		serverConfig: func(*kds.ServerConfig) {}, clientConfig: func(*kds.ClientConfig) {},
	}
}

func (p *pair) start() *pair {
	p.startGlobal()
	p.startZone()
	return p
}

func (p *pair) startGlobal() {
	g := startGlobalOn(p.t, p.globalStore, p.serverConfig)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.global = g
}

func (p *pair) startZone() {
	p.zone = startZone(p.t, "east", p.zoneStore, func(ctx context.Context, a string) (net.Conn, error) {
		p.mu.Lock()
		cut, g := p.cut, p.global
		p.mu.Unlock()
		if cut {
			return nil, errors.New("cut")
		}
		c, err := g.dial(ctx, a)
		if err != nil {
			return nil, err
		}
		if p.wrap != nil {
			c = p.wrap(c)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, c)
		return c, nil
	}, p.clientConfig)
}

func (p *pair) restartGlobal() {
	p.global.stop()
	p.startGlobal()
	converge()
}

func (p *pair) restartZone() {
	p.zone.stop()
	p.startZone()
	converge()
}

// away does something while the zone is not connected.
func (p *pair) away(do func()) {
	p.mu.Lock()
	p.cut = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	synctest.Wait()
	do()
	p.mu.Lock()
	p.cut = false
	p.mu.Unlock()
	converge()
}

// sent returns what global sends during do, after which everything is to settle: resources and names of removed ones.
func (p *pair) sent(do func()) uint64 {
	before := p.global.server.Stats().ResourcesSent
	do()
	synctest.Wait()
	return p.global.server.Stats().ResourcesSent - before
}

// same requires that the zone has exactly these timeouts.
func (p *pair) same(want ...string) {
	p.t.Helper()
	synctest.Wait()
	if want == nil {
		want = []string{}
	}
	require.Equal(p.t, want, names(p.t, p.zoneStore, "MeshTimeout"))
}

func (p *pair) verdict(r resource.Resource) kds.Verdict {
	p.t.Helper()
	list, err := p.global.server.SyncOf(context.Background(), get(p.t, p.globalStore, r.Key))
	require.NoError(p.t, err)
	require.Len(p.t, list, 1)
	return list[0]
}

func (p *pair) status() kds.PeerStatus {
	p.t.Helper()
	list, err := p.global.server.Status(context.Background())
	require.NoError(p.t, err)
	require.Len(p.t, list, 1)
	return list[0]
}

func kindStatus(t testing.TB, s kds.PeerStatus, kind string, sent bool) kds.KindStatus {
	t.Helper()
	for _, k := range s.Kinds {
		if k.Kind == kind && k.Sent == sent {
			return k
		}
	}
	require.Fail(t, "no such kind", "%s in %+v", kind, s)
	return kds.KindStatus{}
}

// picky rejects what is named so and does not have the field "ok".
func picky(c *kds.ClientConfig) {
	c.Validate = func(r resource.Resource) error {
		if strings.HasPrefix(r.Display(), "bad") && !strings.Contains(string(r.Spec), `"ok"`) {
			return &resource.InvalidError{Key: r.Key, Violations: []resource.Violation{{Field: "spec.to", Reason: "is bad"}}}
		}
		return nil
	}
}

const okSpec = `{"targetRef":{"kind":"Mesh"},"ok":1,"to":[{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"20s"}}]}`

func TestKumaZoneSeesNothingOfTheExtensions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		put(t, g.store, timeout("a", meshWide), timeout("b", meshWide))
		p := g.peer("east")
		var header, trailer metadata.MD
		_, err := meshv1.NewGlobalKDSServiceClient(p.conn).HealthCheck(p.ctx, &meshv1.ZoneHealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		require.NoError(t, err)
		assert.Empty(t, header["meridian-features"])
		assert.Empty(t, trailer)
		d := p.down()
		for _, m := range d.subscribe("MeshTimeout", "MeshRetry", "Mesh") {
			for _, r := range m.Resources {
				assert.Equal(t, "type.googleapis.com/kuma.mesh.v1alpha1.KumaResource", r.Resource.TypeUrl)
			}
			assert.Empty(t, m.SystemVersionInfo)
			assert.Empty(t, m.ProtoReflect().GetUnknown())
		}
		md, err := d.stream.Header()
		require.NoError(t, err)
		for key := range md {
			assert.NotContains(t, key, "meridian")
		}
		u := p.up()
		for _, m := range u.subscriptions {
			assert.Nil(t, m.ErrorDetail)
			assert.NotContains(t, fmt.Sprint(m), "meridian")
		}
		bad := fromZone(consumer("x", "demo"), "east")
		bad.Spec = []byte(`[]`)
		answer := u.send("MeshTimeout", nil, bad)
		assert.Empty(t, answer.ErrorDetail.Details)
		assert.Zero(t, answer.ErrorDetail.Code)
		assert.Nil(t, u.send("MeshTimeout", nil).ErrorDetail)
		for _, r := range list(t, g.store, "SyncProgress") {
			assert.Fail(t, "progress of a Kuma zone", r.Name)
		}
		s, err := g.server.Status(t.Context())
		require.NoError(t, err)
		assert.False(t, s[0].Extended)
	})
}

func TestKumaGlobalSeesNothingOfTheExtensions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		peer := startFakeGlobal(t)
		z := startZone(t, "east", openStore(t), peer.dial, picky)
		synctest.Wait()
		peer.mu.Lock()
		requests := slices.Clone(peer.requests)
		peer.mu.Unlock()
		require.NotEmpty(t, requests)
		for _, m := range requests {
			assert.NotContains(t, fmt.Sprint(m), "meridian")
			assert.Nil(t, m.ErrorDetail)
		}
		md, _ := metadata.FromIncomingContext(peer.stream.Context())
		for key := range md {
			assert.NotContains(t, key, "meridian")
		}
		a := peer.send(t, "MeshTimeout", nil, timeout("bad", meshWide, resource.LabelOrigin, resource.OriginGlobal))
		require.NotNil(t, a.ErrorDetail)
		assert.Empty(t, a.ErrorDetail.Details)
		assert.Nil(t, peer.send(t, "MeshTimeout", nil, timeout("fine", meshWide, resource.LabelOrigin, resource.OriginGlobal)).ErrorDetail)
		time.Sleep(time.Minute)
		assert.False(t, z.client.Status().Sync.Extended)
		assert.Empty(t, list(t, z.store, "SyncProgress"))
	})
}

func TestVerdictOfEveryResource(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		synctest.Wait()
		require.True(t, p.status().Extended)
		put(t, p.globalStore, timeout("good", meshWide), timeout("bad", meshWide), timeout("local", meshWide, resource.LabelSync, "disabled"))
		p.same("good")
		v := p.verdict(timeout("good", ""))
		assert.Equal(t, kds.Applied, v.Outcome)
		assert.Equal(t, p.globalStore.Revision(), max(v.Revision, p.globalStore.Revision()))
		assert.Equal(t, scope.FromGlobal, v.Rule)
		assert.WithinDuration(t, time.Now(), v.Since, time.Second)
		v = p.verdict(timeout("bad", ""))
		assert.Equal(t, kds.Rejected, v.Outcome)
		assert.Equal(t, "invalid", v.Code)
		assert.Contains(t, v.Reason, "spec.to: is bad")
		v = p.verdict(timeout("local", ""))
		assert.Equal(t, kds.OutOfScope, v.Outcome)
		assert.Equal(t, scope.SyncDisabled, v.Rule)
		assert.Equal(t, 1, kindStatus(t, p.status(), "MeshTimeout", true).Rejected)

		p.away(func() {
			put(t, p.globalStore, timeout("late", meshWide))
			assert.Equal(t, kds.Pending, p.verdict(timeout("late", "")).Outcome)
			assert.Equal(t, kds.Applied, p.verdict(timeout("good", "")).Outcome)
		})
		assert.Equal(t, kds.Applied, p.verdict(timeout("late", "")).Outcome)

		// The other way round: what global says of what the zone wrote.
		mine := consumer("mine", "demo")
		put(t, p.zoneStore, mine)
		synctest.Wait()
		list, err := p.zone.client.SyncOf(t.Context(), get(t, p.zoneStore, mine.Key))
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, kds.Applied, list[0].Outcome)
		assert.Empty(t, list[0].Zone)
	})
}

func TestValidRestOfABatchIsAppliedWithAVerdictForEachOfTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").meridian().up()
		bad := fromZone(consumer("bad", "demo"), "east")
		bad.Spec = []byte(`[]`)
		forged := fromZone(consumer("forged", "demo"), "east")
		forged.Name = "forged"
		good := fromZone(consumer("good", "demo"), "east")
		a := u.sendFramed("MeshTimeout", &syncv1.Frame{Epoch: "e", Revision: 7, Snapshot: syncv1.Snapshot_SNAPSHOT_WHOLE}, nil, bad, forged, good)
		assert.Equal(t, []string{"good"}, names(t, g.store, "MeshTimeout"))
		got := map[string]string{}
		for _, r := range a.Rejected {
			got[r.Name] = r.Code
			assert.Len(t, r.Digest, 16)
			assert.NotEmpty(t, r.Reason)
		}
		assert.Equal(t, map[string]string{bad.Name + ".default": "malformed", "forged.default": "forbidden"}, got)
	})
}

func TestRejectedResourceIsNotOfferedAgainUntilItChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		put(t, p.globalStore, timeout("bad", okSpec), timeout("good", meshWide))
		p.same("bad", "good")
		put(t, p.globalStore, timeout("bad", meshWide))
		synctest.Wait()
		assert.Equal(t, okSpec, string(get(t, p.zoneStore, hashedKey(timeout("bad", ""), "")).Spec), "the valid copy stays")
		rejected := func() uint64 { return p.zone.client.Stats().Rejected }
		require.EqualValues(t, 1, rejected())

		put(t, p.globalStore, timeout("bad", meshWide)) // a write without a difference
		synctest.Wait()
		p.away(func() {})
		require.EqualValues(t, 1, rejected(), "not again on the next connection")
		p.restartGlobal()
		require.EqualValues(t, 1, rejected(), "nor by a global that has forgotten: the zone tells it")
		assert.Equal(t, kds.Quarantined, p.verdict(timeout("bad", "")).Outcome)
		assert.Contains(t, p.verdict(timeout("bad", "")).Reason, "is bad")
		p.restartZone()
		require.Zero(t, rejected(), "the restarted zone has not even seen it")
		assert.Equal(t, okSpec, string(get(t, p.zoneStore, hashedKey(timeout("bad", ""), "")).Spec))

		put(t, p.globalStore, timeout("bad", okSpec, "x", "y"))
		p.same("bad", "good")
		assert.Equal(t, kds.Applied, p.verdict(timeout("bad", "")).Outcome)
		assert.Zero(t, kindStatus(t, p.status(), "MeshTimeout", true).Rejected)
	})
}

func TestRejectedResourceIsOfferedOnceAfterARestartWithoutAnyMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		put(t, p.globalStore, timeout("bad", meshWide))
		converge()
		for _, r := range list(t, p.zoneStore, "SyncProgress") {
			remove(t, p.zoneStore, r.Key)
		}
		p.restartGlobal()
		require.EqualValues(t, 2, p.zone.client.Stats().Rejected)
		p.away(func() {})
		p.away(func() {})
		assert.EqualValues(t, 2, p.zone.client.Stats().Rejected)
	})
}

func TestRejectedResourceIsOfferedToAnotherVersion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		put(t, p.globalStore, timeout("bad", meshWide))
		converge()
		require.EqualValues(t, 1, p.zone.client.Stats().Rejected)
		p.clientConfig = func(c *kds.ClientConfig) { c.Version = "2.0.0" }
		p.restartZone()
		p.same("bad")
		assert.Equal(t, kds.Applied, p.verdict(timeout("bad", "")).Outcome)
	})
}

func TestRetryOffersARejectedResourceAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		var broken atomic.Bool
		broken.Store(true)
		p.clientConfig = func(c *kds.ClientConfig) {
			c.Validate = func(r resource.Resource) error {
				if broken.Load() && r.Display() == "x" {
					return &resource.InvalidError{Key: r.Key, Violations: []resource.Violation{{Field: "spec", Reason: "not today"}}}
				}
				return nil
			}
		}
		p.start()
		put(t, p.globalStore, timeout("x", meshWide), timeout("y", meshWide))
		p.same("y")
		id := get(t, p.globalStore, timeout("x", "").Key).Identity()
		assert.ErrorIs(t, p.global.server.Retry("east", get(t, p.globalStore, timeout("y", "").Key).Identity()), resource.ErrNotFound)
		assert.ErrorIs(t, p.global.server.Retry("west", id), resource.ErrNotFound)
		require.NoError(t, p.global.server.Retry("east", id))
		p.same("y")
		assert.EqualValues(t, 2, p.zone.client.Stats().Rejected, "offered once more")
		broken.Store(false)
		require.NoError(t, p.global.server.Retry("east", id))
		p.same("x", "y")
		assert.ErrorIs(t, p.global.server.Retry("east", id), resource.ErrNotFound)

		broken.Store(true)
		put(t, p.globalStore, timeout("x", consumes))
		synctest.Wait()
		broken.Store(false)
		p.away(func() { require.NoError(t, p.global.server.Retry("east", id)) })
		assert.Equal(t, consumes, string(get(t, p.zoneStore, hashedKey(timeout("x", ""), "")).Spec))
	})
}

func TestStatusTellsHowFarEachKindIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.startGlobal()
		setEnabled(t, p.globalStore, "east", true)
		s := p.status()
		assert.Equal(t, kds.Unknown, s.State)
		begun := s.Since
		assert.WithinDuration(t, time.Now(), begun, time.Second)
		p.startZone()
		put(t, p.zoneStore, consumer("mine", "demo"))
		put(t, p.globalStore, timeout("a", meshWide), timeout("b", meshWide))
		converge()
		s = p.status()
		assert.Equal(t, kds.Online, s.State)
		assert.Equal(t, "east-1", s.Instance)
		k := kindStatus(t, s, "MeshTimeout", true)
		assert.Equal(t, k.Offered, k.Acked)
		assert.Equal(t, k.Acked, k.Applied)
		assert.GreaterOrEqual(t, k.Applied, get(t, p.globalStore, timeout("a", "").Key).Version)
		assert.NotZero(t, k.Bytes)
		assert.Zero(t, k.Waiting)
		up := kindStatus(t, s, "MeshTimeout", false)
		assert.NotZero(t, up.Applied)
		there := p.zone.client.Status().Sync
		assert.Equal(t, kds.Online, there.State)
		assert.Equal(t, "global-1", there.Instance)
		assert.LessOrEqual(t, kindStatus(t, there, "MeshTimeout", false).Applied, k.Applied)
		assert.NotZero(t, kindStatus(t, there, "MeshTimeout", true).Acked)

		p.away(func() {
			s = p.status()
			assert.Equal(t, kds.Offline, s.State)
			assert.WithinDuration(t, time.Now(), s.Since, time.Second)
		})
		p.restartGlobal()
		k = kindStatus(t, p.status(), "MeshTimeout", true)
		assert.GreaterOrEqual(t, k.Applied, get(t, p.globalStore, timeout("a", "").Key).Version, "the zone says how far it is")
	})
}

func TestPeerThatNeverAnswersIsStalledAndThenRecycled(t *testing.T) {
	for name, meridian := range map[string]bool{"Kuma zone": false, "Meridian zone": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t)
				west := g.zone("west")
				peer := g.peer("east")
				var d *down
				if meridian {
					d = peer.meridian().down()
					d.resume("MeshTimeout", &syncv1.Resume{})
				} else {
					d = peer.down()
					require.NoError(t, d.stream.Send(&discovery.DeltaDiscoveryRequest{Node: d.node, TypeUrl: "MeshTimeout", ResourceNamesSubscribe: []string{"*"}}))
				}
				require.Len(t, d.take(), 1)
				state := func() kds.State {
					list, err := g.server.Status(t.Context())
					require.NoError(t, err)
					for _, s := range list {
						if s.Zone == "east" {
							return s.State
						}
					}
					return ""
				}
				time.Sleep(29 * time.Second)
				assert.Equal(t, kds.Online, state())
				time.Sleep(2 * time.Second)
				assert.Equal(t, kds.Stalled, state())
				put(t, g.store, timeout("a", meshWide))
				synctest.Wait()
				assert.Equal(t, []string{"a"}, names(t, west.store, "MeshTimeout"), "the others are not held up")
				d.mu.Lock()
				assert.NoError(t, d.err, "shown before it is recycled")
				d.mu.Unlock()
				time.Sleep(30 * time.Second)
				synctest.Wait()
				d.mu.Lock()
				assert.ErrorContains(t, d.err, "no progress")
				d.mu.Unlock()
				assert.Equal(t, kds.Offline, state())
			})
		})
	}
}

func TestPeerThatAnswersOneAfterTheOtherMakesProgress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		kinds := []string{"MeshTimeout", "MeshRetry", "MeshHealthCheck", "MeshTrace", "MeshMetric", "Mesh"}
		for _, kind := range kinds {
			require.NoError(t, d.stream.Send(request(d.peer, kind)))
		}
		state := func() kds.State {
			list, err := g.server.Status(t.Context())
			require.NoError(t, err)
			return list[0].State
		}
		got := d.take()
		require.Len(t, got, len(kinds))
		for _, m := range got[:5] { // as a zone that takes 25 s to store each
			time.Sleep(25 * time.Second)
			assert.Equal(t, kds.Online, state())
			d.ack(m)
			synctest.Wait()
		}
		put(t, g.store, timeout("a", meshWide)) // and then forgets the last, while it goes on answering others
		for range 7 {
			for _, m := range d.take() {
				d.ack(m)
			}
			time.Sleep(5 * time.Second)
			put(t, g.store, timeout("a", strings.ReplaceAll(meshWide, "20s", fmt.Sprint(time.Now().Unix(), "s"))))
		}
		assert.Equal(t, kds.Stalled, state())
	})
}

func TestSilentGlobalIsRedialled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.start()
		synctest.Wait()
		first := p.zone.client.Status().Generation
		// Global's receiver hangs: it has taken a response and never answers.
		stop := make(chan struct{})
		p.global.stop()
		p.serverConfig = func(c *kds.ServerConfig) {
			c.Validate = func(resource.Resource) error { <-stop; return nil }
		}
		p.startGlobal()
		t.Cleanup(func() { close(stop) }) // before the global is stopped
		put(t, p.zoneStore, consumer("c", "demo"))
		time.Sleep(45 * time.Second)
		synctest.Wait()
		assert.Equal(t, kds.Stalled, p.zone.client.Status().Sync.State)
		time.Sleep(5 * time.Minute)
		assert.Greater(t, p.zone.client.Status().Generation, first+2)
		assert.ErrorContains(t, p.zone.client.Status().LastError, "no progress")
	})
}

// meridian makes a peer announce our extensions.
func (p *peer) meridian() *peer {
	q := *p
	q.ctx = metadata.AppendToOutgoingContext(p.ctx, "meridian-features", kds.FeatureVerdicts, "meridian-features", kds.FeatureResume)
	q.node = proto.Clone(p.node).(*core.Node)
	features := q.node.Metadata.Fields["features"].GetListValue()
	for _, f := range []string{kds.FeatureVerdicts, kds.FeatureResume} {
		features.Values = append(features.Values, structpb.NewStringValue(f))
	}
	return &q
}

func details(t testing.TB, m proto.Message) *rpc.Status {
	t.Helper()
	a, err := anypb.New(m)
	require.NoError(t, err)
	return &rpc.Status{Details: []*anypb.Any{a}}
}

// resume subscribes as a Meridian zone does.
func (d *down) resume(kind string, from *syncv1.Resume) {
	d.t.Helper()
	require.NoError(d.t, d.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: d.node, TypeUrl: kind, ResourceNamesSubscribe: []string{"*"}, ErrorDetail: details(d.t, from),
	}))
}

// answer answers a framed response.
func (d *down) answer(m *discovery.DeltaDiscoveryResponse, a *syncv1.Answer) {
	d.t.Helper()
	require.NoError(d.t, d.stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: &core.Node{Id: d.zone}, TypeUrl: m.TypeUrl, ResponseNonce: m.Nonce, ErrorDetail: details(d.t, a),
	}))
}

// frame takes the frame out of a response.
func frame(t testing.TB, m *discovery.DeltaDiscoveryResponse) *syncv1.Frame {
	t.Helper()
	require.NotEmpty(t, m.Resources)
	var f syncv1.Frame
	require.NoError(t, m.Resources[len(m.Resources)-1].Resource.UnmarshalTo(&f))
	m.Resources = m.Resources[:len(m.Resources)-1]
	return &f
}

// sendFramed sends a response as a Meridian zone does, and returns the answer.
func (u *up) sendFramed(kind string, f *syncv1.Frame, removed []string, list ...resource.Resource) *syncv1.Answer {
	u.t.Helper()
	u.nonce++
	m := &discovery.DeltaDiscoveryResponse{
		TypeUrl: kind, Nonce: fmt.Sprint(u.nonce), ControlPlane: &core.ControlPlane{Identifier: u.zone}, RemovedResources: removed,
	}
	for _, r := range list {
		m.Resources = append(m.Resources, wire(u.t, r))
	}
	if f != nil {
		withFrame(u.t, m, f)
	}
	require.NoError(u.t, u.stream.Send(m))
	answer, err := u.stream.Recv()
	if err != nil {
		u.err = err
		return nil
	}
	require.Equal(u.t, m.Nonce, answer.ResponseNonce)
	var a syncv1.Answer
	require.Len(u.t, answer.ErrorDetail.GetDetails(), 1)
	require.NoError(u.t, answer.ErrorDetail.Details[0].UnmarshalTo(&a))
	return &a
}

func withFrame(t testing.TB, m *discovery.DeltaDiscoveryResponse, f *syncv1.Frame) {
	t.Helper()
	a, err := anypb.New(f)
	require.NoError(t, err)
	m.Resources = append(m.Resources, &discovery.Resource{Resource: a})
}

// muteGlobal is a Meridian global that takes subscriptions and answers none of them.
type muteGlobal struct {
	meshv1.UnimplementedKDSSyncServiceServer
	meshv1.UnimplementedGlobalKDSServiceServer
}

func (muteGlobal) HealthCheck(ctx context.Context, _ *meshv1.ZoneHealthCheckRequest) (*meshv1.ZoneHealthCheckResponse, error) {
	header := metadata.MD{"meridian-features": {kds.FeatureVerdicts, kds.FeatureResume}}
	return &meshv1.ZoneHealthCheckResponse{}, grpc.SetHeader(ctx, header)
}

func (muteGlobal) GlobalToZoneSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]) error {
	for {
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
}

func (muteGlobal) ZoneToGlobalSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]) error {
	<-s.Context().Done()
	return s.Context().Err()
}

func TestGlobalThatAnswersNoSubscriptionIsRedialled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		listener, server := bufconn.Listen(1<<20), grpc.NewServer()
		meshv1.RegisterKDSSyncServiceServer(server, muteGlobal{})
		meshv1.RegisterGlobalKDSServiceServer(server, muteGlobal{})
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		z := startZone(t, "east", openStore(t), func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) },
			func(c *kds.ClientConfig) { c.StallTime = 5 * time.Second }) // before the pings are too many for this global
		time.Sleep(9 * time.Second)
		synctest.Wait()
		assert.Equal(t, 1, z.client.Status().Generation)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.Equal(t, 2, z.client.Status().Generation)
		assert.ErrorContains(t, z.client.Status().LastError, "subscriptions have no answer")
	})
}
