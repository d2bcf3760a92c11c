package kds

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/meridian-mesh/meridian/kds/scope"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestCode(t *testing.T) {
	t.Parallel()
	cases := []struct {
		err  error
		want codes.Code
	}{
		{resource.ErrNotFound, codes.NotFound},
		{resource.ErrConflict, codes.Aborted},
		{resource.ErrCompacted, codes.OutOfRange},
		{resource.ErrDamaged, codes.DataLoss},
		{resource.ErrClosed, codes.Unavailable},
		{&resource.InvalidError{}, codes.InvalidArgument},
		{errProtocol, codes.InvalidArgument},
		{errStopping, codes.Unavailable},
		{errLinkLost, codes.Unavailable},
		{errStalled, codes.Unavailable},
		{errLimit, codes.ResourceExhausted},
		{errZoneGone, codes.Unavailable},
		{errReplaced, codes.Unavailable},
		{errSecondZone, codes.AlreadyExists},
		{errUnauthenticated, codes.Unauthenticated},
		{fmt.Errorf("%w: %w", errUnauthenticated, resource.ErrClosed), codes.Unavailable},
		{errWrongZone, codes.PermissionDenied},
		{errClosed, codes.Canceled},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{status.Error(codes.Canceled, "the peer left"), codes.Canceled},
		{status.Error(codes.Unavailable, "the peer vanished"), codes.Unavailable},
		{status.Error(codes.Unimplemented, "x"), codes.Internal},
		{status.Error(codes.ResourceExhausted, "x"), codes.Internal},
		{errors.New("anything else"), codes.Internal},
	}
	for _, c := range cases {
		assert.Equal(t, c.want, code(c.err), "%v", c.err)
		assert.Equal(t, c.want, code(fmt.Errorf("with more: %w", c.err)), "%v", c.err)
		assert.NotEqual(t, codes.Unimplemented, code(c.err), "a Kuma zone would give the stream up")
		assert.NotEqual(t, codes.OK, code(c.err), "a Kuma zone would not notice")
	}
}

func TestMappedForAZone(t *testing.T) {
	t.Parallel()
	policy := resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "my-policy"}, Spec: []byte("{}")}
	got, err := mapped(policy, toZone, "")
	require.NoError(t, err)
	assert.Equal(t, "my-policy-72x44z688zbxf7wf", got.Name)
	assert.Equal(t, map[string]string{resource.LabelOrigin: "global", resource.LabelDisplayName: "my-policy"}, got.Labels)
	assert.Nil(t, policy.Labels, "the stored resource is not touched")

	got, err = mapped(policy, toPlainZone, "")
	require.NoError(t, err)
	assert.Equal(t, "my-policy", got.Name)
	assert.Equal(t, map[string]string{resource.LabelOrigin: "global"}, got.Labels)

	fromEast := policy
	fromEast.Name = "redis-84x98dx244v942z9"
	fromEast.Labels = map[string]string{
		resource.LabelOrigin: "zone", resource.LabelZone: "zone-1", resource.LabelNamespace: "kuma-demo", resource.LabelDisplayName: "redis",
	}
	got, err = mapped(fromEast, toZone, "")
	require.NoError(t, err)
	assert.Equal(t, fromEast.Name, got.Name, "the same name on every hop")
	assert.Equal(t, "global", got.Origin())
	assert.Equal(t, "zone-1", got.Zone())

	for _, kind := range []string{"Mesh", "Config", "Secret", "GlobalSecret"} {
		got, err = mapped(resource.Resource{Key: resource.Key{Kind: kind, Name: "n"}}, toZone, "")
		require.NoError(t, err)
		assert.Equal(t, "n", got.Name, kind)
	}
}

func TestMappedForGlobal(t *testing.T) {
	t.Parallel()
	spec, err := proto.Marshal(&meshv1.DataplaneInsight{
		Subscriptions: []*meshv1.DiscoverySubscription{{Id: "1", Generation: 7}}, MTLS: &meshv1.DataplaneInsight_MTLS{IssuedBackend: "b"},
	})
	require.NoError(t, err)
	r := resource.Resource{Key: resource.Key{Kind: "DataplaneInsight", Mesh: "default", Name: "dp-1"}, Spec: spec, Labels: map[string]string{
		resource.LabelGracePeriod: "now", "app": "x", resource.LabelZone: "other",
	}}
	got, err := mapped(r, toGlobal, "zone-1")
	require.NoError(t, err)
	assert.Equal(t, "dp-1-dff6z597w47d46xx", got.Name)
	assert.Equal(t, map[string]string{
		resource.LabelOrigin: "zone", resource.LabelZone: "zone-1", resource.LabelDisplayName: "dp-1", "app": "x",
	}, got.Labels)
	var in meshv1.DataplaneInsight
	require.NoError(t, proto.Unmarshal(got.Spec, &in))
	assert.Zero(t, in.Subscriptions[0].Generation)
	assert.Equal(t, "1", in.Subscriptions[0].Id)
	assert.Equal(t, "b", in.MTLS.IssuedBackend)

	r.Spec = []byte{0xff}
	_, err = mapped(r, toGlobal, "zone-1")
	assert.ErrorContains(t, err, "DataplaneInsight default/dp-1")
}

func TestSigningKeyTravelsAsItsPublicHalf(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	spec, err := proto.Marshal(&systemv1.Secret{Data: wrapperspb.Bytes(private)})
	require.NoError(t, err)
	r := resource.Resource{Key: resource.Key{Kind: "GlobalSecret", Name: "zone-token-signing-key-1"}, Spec: spec}
	got, err := mapped(r, toZone, "")
	require.NoError(t, err)
	assert.Equal(t, "zone-token-signing-public-key-1", got.Name)
	assert.Equal(t, "zone-token-signing-key-1", got.Display())
	var secret systemv1.Secret
	require.NoError(t, proto.Unmarshal(got.Spec, &secret))
	block, _ := pem.Decode(secret.Data.Value)
	require.Equal(t, "RSA PUBLIC KEY", block.Type)
	public, err := x509.ParsePKCS1PublicKey(block.Bytes)
	require.NoError(t, err)
	assert.True(t, public.Equal(&key.PublicKey))

	r.Spec, _ = proto.Marshal(&systemv1.Secret{Data: wrapperspb.Bytes([]byte("no key"))})
	_, err = mapped(r, toZone, "")
	assert.Error(t, err, "what is not understood does not leave as it is")
}

func TestEncodeThenDecode(t *testing.T) {
	t.Parallel()
	n := 0
	for _, d := range resource.Kinds {
		if !d.FromGlobal() && !d.FromZone() {
			continue
		}
		n++
		r := resource.Resource{Key: resource.Key{Kind: d.Kind, Name: "x.y"}, Labels: map[string]string{"a": "b"}, Spec: []byte{}}
		if d.Scope == resource.ScopeMesh {
			r.Mesh = "default"
		}
		if d.Message == "" {
			r.Spec = []byte(`{"unknown":1}`)
		}
		if d.Status {
			r.Status = []byte(`{"tls":{}}`)
		}
		e, err := encode(r)
		require.NoError(t, err)
		assert.Equal(t, "x.y."+r.Mesh, e.name)
		assert.Equal(t, r.Key, removedKey(d.Kind, e.name))
		assert.Len(t, e.wire.Version, 64)
		assert.Empty(t, e.wire.Name)
		assert.Equal(t, "type.googleapis.com/kuma.mesh.v1alpha1.KumaResource", e.wire.Resource.TypeUrl)
		got, err := decode(d, e.wire)
		require.NoError(t, err, d.Kind)
		assert.Equal(t, r, got)
		again, err := encode(r)
		require.NoError(t, err)
		assert.Equal(t, e.digest, again.digest)
	}
	assert.GreaterOrEqual(t, n, 40)
}

func TestUnreadableMessageIsNotARejection(t *testing.T) {
	t.Parallel()
	d, _ := resource.LookupKind("MeshTimeout")
	_, err := decode(d, &discovery.Resource{})
	assert.ErrorIs(t, err, errProtocol)
	e, err := encode(resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default"}, Spec: []byte("{}")})
	require.NoError(t, err)
	_, err = decode(d, e.wire)
	assert.ErrorIs(t, err, errProtocol, "a resource without a name cannot be rejected by name")
}

func eastAudience() *audience {
	return &audience{to: scope.Peer{Zone: "east", Features: scope.ParseFeatures(scope.Announced)}, cache: newCache("", &counters{})}
}

func policyAt(name string, version resource.Revision, spec string) resource.Resource {
	return resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: name}, Version: version, Spec: []byte(spec)}
}

func timeouts() *offer {
	d, _ := resource.LookupKind("MeshTimeout")
	return newOffer(d)
}

func TestOfferSettles(t *testing.T) {
	t.Parallel()
	o := timeouts()
	o.posted("1", &batch{})
	assert.Equal(t, stale, o.settle("2", false))
	assert.Equal(t, stale, o.settle("", false))
	assert.Equal(t, "1", o.inFlight)
	assert.Equal(t, nacked, o.settle("1", true))
	assert.Equal(t, stale, o.settle("1", false), "settled once")
	o.posted("3", &batch{})
	assert.Equal(t, acked, o.settle("3", false))
	assert.Empty(t, o.inFlight)
	assert.Equal(t, stale, o.settle("", false))
}

func TestOfferSendsDifferences(t *testing.T) {
	t.Parallel()
	o, to := timeouts(), eastAudience()
	out := o.newBatch(Tuning{}.withDefaults())
	o.beginScan(1)
	require.NoError(t, o.offer(policyAt("a", 1, `{"to":[]}`), to, out))
	require.NoError(t, o.offer(policyAt("b", 1, `{"to":[]}`), to, out))
	o.endScan(out)
	assert.Len(t, out.resources, 2)
	o.posted("1", out)

	out = o.newBatch(Tuning{}.withDefaults())
	require.NoError(t, o.change(resource.Change{Revision: 1, Deleted: true, Resource: policyAt("a", 0, "")}, to, out))
	assert.True(t, out.empty(), "a change that it has heard of already")
	require.NoError(t, o.change(resource.Change{Revision: 2, Resource: policyAt("a", 2, `{"to":[]}`)}, to, out))
	assert.True(t, out.empty(), "a write without a difference")
	require.NoError(t, o.change(resource.Change{Revision: 3, Deleted: true, Resource: policyAt("never", 0, "")}, to, out))
	assert.True(t, out.empty(), "the removal of something never sent")
	require.NoError(t, o.change(resource.Change{Revision: 4, Deleted: true, Resource: policyAt("b", 0, "")}, to, out))
	assert.Len(t, out.removed, 1)

	out = o.newBatch(Tuning{}.withDefaults())
	o.beginScan(9)
	require.NoError(t, o.offer(policyAt("c", 9, `{"to":[]}`), to, out))
	o.endScan(out)
	assert.Len(t, out.resources, 1)
	assert.Len(t, out.removed, 1, "a is gone")
	assert.Equal(t, resource.Revision(9), o.rev)
}

func TestWireNameThatMovesToAnotherKeyIsNotRemoved(t *testing.T) {
	t.Parallel()
	o, to := timeouts(), eastAudience()
	out := o.newBatch(Tuning{}.withDefaults())
	o.beginScan(1)
	require.NoError(t, o.offer(policyAt("x", 1, `{"to":[]}`), to, out))
	o.endScan(out)
	o.posted("1", out)
	out = o.newBatch(Tuning{}.withDefaults())
	moved := policyAt("y", 3, `{"to":[],"from":[]}`)
	moved.Labels = map[string]string{resource.LabelDisplayName: "x"}
	require.NoError(t, o.change(resource.Change{Revision: 2, Deleted: true, Resource: policyAt("x", 0, "")}, to, out))
	require.NoError(t, o.change(resource.Change{Revision: 3, Resource: moved}, to, out))
	out.close()
	assert.Len(t, out.resources, 1)
	assert.Empty(t, out.removed)
}

func TestLargeBacklogIsSentInParts(t *testing.T) {
	t.Parallel()
	o, to := timeouts(), eastAudience()
	o.posted("1", o.newBatch(Tuning{}.withDefaults()))
	o.settle("1", false)
	o.scan = false
	big := `{"to":[],"pad":"` + strings.Repeat("x", 1<<20) + `"}`
	out := o.newBatch(Tuning{}.withDefaults())
	var all []resource.Resource
	for i := range 20 {
		all = append(all, policyAt(fmt.Sprint("p", i), 5, big))
		require.NoError(t, o.change(resource.Change{Revision: 5, Resource: all[i]}, to, out))
	}
	total, rounds := 0, 0
	for {
		rounds++
		total += len(out.resources)
		assert.Less(t, out.bytes, kumaMessageBytes)
		o.posted("n", out)
		o.settle("n", false)
		if !o.scan {
			break
		}
		require.Less(t, rounds, 10)
		out = o.newBatch(Tuning{}.withDefaults())
		o.beginScan(5)
		for _, r := range all {
			require.NoError(t, o.offer(r, to, out))
		}
		o.endScan(out)
	}
	assert.Equal(t, 20, total)
	assert.Equal(t, 3, rounds)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	d, _ := resource.LookupKind("MeshTimeout")
	mine := func(name string, version resource.Revision, spec string) resource.Resource {
		r := policyAt(name, version, spec)
		r.Labels = map[string]string{resource.LabelOrigin: resource.OriginZone, resource.LabelZone: "east"}
		return r
	}
	stored := map[resource.Key]resource.Resource{}
	for _, r := range []resource.Resource{mine("same", 1, "{}"), mine("changed", 2, "{}"), mine("gone", 3, "{}"), mine("bad", 4, "{}"), policyAt("global", 5, "{}")} {
		stored[r.Key] = r
	}
	in := &intake{
		kind: d, complete: true,
		valid:   []resource.Resource{mine("same", 0, "{}"), mine("changed", 0, `{"to":[]}`), mine("new", 0, "{}"), mine("global", 0, "{}"), mine("new", 0, `{"x":1}`)},
		invalid: map[resource.Key]bool{policyAt("bad", 0, "").Key: true},
	}
	ops, deletes, owned, refused := source{zone: "east", onGlobal: true}.plan(in, stored)
	assert.Equal(t, 4, owned)
	ops = append(ops, deletes...)
	got := map[string]string{}
	for _, op := range ops {
		require.NotNil(t, op.Expect)
		got[op.Resource.Name] = fmt.Sprint(op.Delete, *op.Expect)
	}
	assert.Equal(t, map[string]string{"changed": "false 2", "new": "false 0", "gone": "true 3"}, got)
	require.Len(t, refused, 2)
	assert.ErrorContains(t, refused[0], "MeshTimeout default/global: name: belongs to this control plane")
	assert.ErrorContains(t, refused[1], "twice")
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	var errs []error
	for i := range 5000 {
		errs = append(errs, fmt.Errorf("MeshTimeout default/p%d: spec: is wrong", i))
	}
	text := reasons(errs)
	assert.LessOrEqual(t, len(text), maxReasons)
	assert.True(t, strings.HasPrefix(text, "MeshTimeout default/p0: spec: is wrong\n"))
	assert.True(t, strings.HasSuffix(text, "is wrong\n(and more)"), text[len(text)-60:])
	assert.Equal(t, "x", reasons([]error{errors.New("x")}))
}

func TestCompatible(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		theirs, ours string
		want         bool
	}{
		{"2.10.11", "0.1.0", true}, {"2.8.0", "0.1.0", true}, {"2.7.9", "0.1.0", false}, {"2.13.0", "0.1.0", false},
		{"unknown", "0.1.0", true}, {"", "dev", true}, {"3.0.0", "dev", false}, {"0.3.0", "0.1.0", true}, {"0.4.0", "0.1.0", false},
		{"2.7.0-preview.v1", "0.1.0", true},
	} {
		assert.Equal(t, c.want, compatible(c.theirs, c.ours), "%s with %s", c.theirs, c.ours)
	}
}

func TestCacheForgetsWhatIsNotAskedFor(t *testing.T) {
	t.Parallel()
	stats := &counters{}
	c := newCache("", stats)
	hot := policyAt("hot", 1, "{}")
	first := c.entry(hot, toZone)
	for i := range 10 * cacheEntries {
		c.entry(policyAt("cold", resource.Revision(i+2), "{}"), toZone)
		if i%(cacheEntries/2) == 0 {
			require.Same(t, first, c.entry(hot, toZone))
		}
	}
	assert.LessOrEqual(t, len(c.young)+len(c.old), 2*cacheEntries)
	require.NotSame(t, first, c.entry(hot, toGlobal), "other bytes for another variant")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := c.encode(first, hot, toZone)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, stats.snapshot().Marshals)
}

// stuck is a stream whose peer sends without end and takes nothing.
type stuck struct {
	sending, release chan struct{}
	sent             int
}

func (s *stuck) Send(*discovery.DeltaDiscoveryResponse) error {
	close(s.sending)
	<-s.release
	return errors.New("cut")
}

func (s *stuck) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	s.sent++
	return &discovery.DeltaDiscoveryRequest{TypeUrl: "MeshMagic"}, nil
}

func TestReaderIsBoundedWhenThePeerTakesNothing(t *testing.T) {
	t.Parallel()
	st := &stuck{sending: make(chan struct{}), release: make(chan struct{})}
	s := &sender{
		stream: st, stats: &counters{}, log: hclog.NewNullLogger(), to: *eastAudience(), tuning: Tuning{}.withDefaults(),
		account: newLedger(time.Minute, hclog.NewNullLogger()).account("east"),
	}
	var readers sync.WaitGroup
	done := make(chan error)
	go func() { done <- s.run(t.Context(), &readers) }()
	<-st.sending
	readers.Wait() // the reader gives up although the session still sends
	assert.LessOrEqual(t, st.sent, maxPending+3)
	close(st.release)
	assert.Error(t, <-done)
}

func TestClientConfigCheck(t *testing.T) {
	t.Parallel()
	assert.NoError(t, ClientConfig{Zone: "east", Address: "grpcs://global:5685"}.Check())
	assert.NoError(t, ClientConfig{Zone: "east", Address: "grpc://[::1]:5685"}.Check())
	err := ClientConfig{Zone: "East", Address: "http://global", CAFile: "/nowhere.pem"}.Check()
	for _, part := range []string{`"East"`, `"http://global"`, "/nowhere.pem"} {
		assert.ErrorContains(t, err, part)
	}
	assert.Error(t, NewClient(ClientConfig{Zone: "east", Address: "global:5685"}).Run(t.Context()))
}

// A code that Codes lacks would be counted as another's.
func TestEveryCodeIsCounted(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("extension.go")
	require.NoError(t, err)
	declared := regexp.MustCompile(`(?m)^\tcode[A-Z]\w* += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	require.GreaterOrEqual(t, len(declared), 7)
	for _, d := range declared {
		assert.Contains(t, Codes(), d[1])
	}
	for _, err := range []error{nil, errClosed, errStalled, errReplaced, errSecondZone, errUnauthenticated, errProtocol, errStopping, errZoneGone, errLinkLost} {
		assert.Contains(t, Causes(), causeOf(err), "%v", err)
	}
}

func TestRefusalsOfOneCallerShareALine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l refusalLog
		port := 0
		at := func(host string) net.Addr { port++; return &net.TCPAddr{IP: net.ParseIP(host), Port: port} }
		lines := func(zone, host string, n int) (total, lines int) {
			for range n {
				if times, now := l.due(zone, at(host)); now {
					total, lines = total+times, lines+1
				}
			}
			return total, lines
		}
		_, n := lines("east", "10.0.0.1", 100)
		assert.Equal(t, 1, n, "the first is logged at once")
		_, n = lines("west", "10.0.0.1", 1)
		assert.Equal(t, 1, n, "another zone has its own")
		_, n = lines("east", "10.0.0.2", 1)
		assert.Equal(t, 1, n, "and another host")
		time.Sleep(refusalEvery)
		total, n := lines("east", "10.0.0.1", 1)
		assert.Equal(t, 1, n)
		assert.Equal(t, 100, total, "99 and this one")

		n = 0
		for i := range 10_000 { // of whom each calls itself by a name of its own
			_, more := lines(fmt.Sprint("z", i), "10.0.0.3", 1)
			n += more
		}
		assert.LessOrEqual(t, n, maxRefused+1)
		assert.LessOrEqual(t, len(l.seen), maxRefused+1)
		time.Sleep(refusalEvery)
		_, n = lines("later", "10.0.0.4", 1)
		assert.Equal(t, 1, n)
	})
}
