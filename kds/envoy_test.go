package kds_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// proxyOf returns a Dataplane as global stores it.
func proxyOf(zone, name, ns string) resource.Resource {
	labels := []string{resource.LabelDisplayName, name}
	if ns != "" {
		labels = append(labels, resource.LabelNamespace, ns)
	}
	return fromZone(made("Dataplane", "default", name, "", labels...), zone)
}

func TestGlobalAsksTheEnvoysOfAZone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		g.zone("east", func(c *kds.ClientConfig) {
			c.Envoy = func(ctx context.Context, q kds.EnvoyQuestion) ([]byte, error) {
				switch q.Proxy.Name {
				case "slow.shop":
					<-ctx.Done()
					return nil, ctx.Err()
				case "bad.shop":
					return nil, errors.New("admin port is closed")
				case "huge.shop":
					return make([]byte, 10<<20), nil
				}
				assert.Equal(t, resource.Key{Kind: "Dataplane", Mesh: "default", Name: "dp.shop"}, q.Proxy)
				assert.Equal(t, q.View == kds.EnvoyConfig, q.IncludeEDS)
				assert.Equal(t, q.View == kds.EnvoyStats, q.JSON)
				return []byte("this is " + q.View), nil
			}
		})
		synctest.Wait()
		ask := func(zone, name string, view kds.EnvoyView) (string, error) {
			data, err := g.server.AskEnvoy(context.Background(), proxyOf(zone, name, "shop"), kds.EnvoyQuestion{
				View: view, IncludeEDS: view == kds.EnvoyConfig, JSON: view == kds.EnvoyStats,
			})
			return string(data), err
		}
		slow := make(chan error)
		go func() {
			_, err := ask("east", "slow", kds.EnvoyStats)
			slow <- err
		}()
		synctest.Wait()
		for _, view := range []kds.EnvoyView{kds.EnvoyConfig, kds.EnvoyStats, kds.EnvoyClusters} {
			got, err := ask("east", "dp", view) // a question that has no answer yet is not in the way
			require.NoError(t, err)
			assert.Equal(t, "this is "+string(view), got)
		}
		_, err := ask("east", "bad", kds.EnvoyConfig)
		assert.EqualError(t, err, "could not send XDSConfigRequest: error response from zone east: admin port is closed")
		_, err = ask("east", "huge", kds.EnvoyConfig)
		assert.EqualError(t, err, "could not send XDSConfigRequest: error response from zone east: the answer is 10485760 bytes, and a message takes 10420224")
		_, err = ask("west", "dp", kds.EnvoyClusters)
		assert.EqualError(t, err, "could not send ClustersRequest: client west is not connected")
		begun := time.Now()
		assert.ErrorContains(t, <-slow, "could not send StatsRequest: ")
		assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
		synctest.Wait()
		got, err := ask("east", "dp", kds.EnvoyStats) // the late answer of the slow one is no reason to end the stream
		require.NoError(t, err)
		assert.Equal(t, "this is stats", got)
	})
}

func TestZoneWithoutEnvoysSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		z := g.zone("east")
		synctest.Wait()
		_, err := g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", ""), kds.EnvoyQuestion{View: kds.EnvoyConfig})
		assert.EqualError(t, err, "could not send XDSConfigRequest: error response from zone east: this control plane has no Envoy to ask")
		z.stop()
		synctest.Wait()
		_, err = g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", ""), kds.EnvoyQuestion{View: kds.EnvoyConfig})
		assert.EqualError(t, err, "could not send XDSConfigRequest: client east is not connected")
	})
}

func TestKumaZoneIsAskedByTheNameThatItKnows(t *testing.T) {
	for name, c := range map[string]struct {
		settings, ns, want string
	}{
		"kubernetes":            {`{"store":{"type":"kubernetes"}}`, "kuma-system", "dp.kuma-system"},
		"universal":             {`{"store":{"type":"postgres"}}`, "", "dp"},
		"one with a namespace":  {`{"store":{"type":"memory"}}`, "shop", "dp"}, // a label, and no part of the name
		"says nothing readable": {`-`, "shop", "dp"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t)
				p := g.peer("east")
				p.node.Metadata.Fields["config"] = structpb.NewStringValue(c.settings)
				p.down().subscribe("Mesh")
				stream, err := meshv1.NewGlobalKDSServiceClient(p.conn).StreamStats(p.ctx)
				require.NoError(t, err)
				synctest.Wait()
				go func() {
					m, err := stream.Recv()
					if assert.NoError(t, err) {
						assert.Equal(t, c.want, m.ResourceName)
						assert.NoError(t, stream.Send(&meshv1.StatsResponse{RequestId: m.RequestId, Result: &meshv1.StatsResponse_Stats{Stats: []byte("1")}}))
					}
				}()
				got, err := g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", c.ns), kds.EnvoyQuestion{View: kds.EnvoyStats})
				require.NoError(t, err)
				assert.Equal(t, "1", string(got))

				require.NoError(t, stream.Send(&meshv1.StatsResponse{RequestId: "nobody's"}))
				_, err = stream.Recv()
				assert.Equal(t, codes.InvalidArgument, status.Code(err), "an answer that nobody asked for")
			})
		})
	}
}

func TestAMeridianZoneHasAStreamForQuestionsOnlyWhileSomebodyAsks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		z := g.zone("east", func(c *kds.ClientConfig) {
			c.Envoy = func(context.Context, kds.EnvoyQuestion) ([]byte, error) { return []byte("fine"), nil }
		})
		ask := func() {
			got, err := g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", ""), kds.EnvoyQuestion{View: kds.EnvoyStats})
			require.NoError(t, err)
			assert.Equal(t, "fine", string(got))
		}
		converge()
		assert.Zero(t, g.server.EnvoyStreams())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(ask)
		}
		wg.Wait()
		assert.Equal(t, 1, g.server.EnvoyStreams(), "of the view that was asked for")
		for range 3 {
			time.Sleep(50 * time.Second)
			ask()
		}
		synctest.Wait()
		assert.Equal(t, 1, g.server.EnvoyStreams())
		time.Sleep(61 * time.Second)
		synctest.Wait()
		assert.Zero(t, g.server.EnvoyStreams())
		ask()
		for range 20 { // at the moment at which it closes, too
			time.Sleep(time.Minute)
			ask()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Zero(t, g.server.EnvoyStreams())
		assert.Equal(t, 1, z.client.Status().Generation, "the end of such a stream is not that of the connection")
		list, err := g.server.Status(context.Background())
		require.NoError(t, err)
		assert.Equal(t, kds.Online, list[0].State)
		assert.Empty(t, list[0].Ends)
		z.stop()
		synctest.Wait()
		list, err = g.server.Status(context.Background())
		require.NoError(t, err)
		assert.Equal(t, map[string]uint64{"unavailable": 1}, list[0].Ends)
	})
}

func TestAZoneThatCannotBeSummonedHasItsStreamsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		g.zone("east", func(c *kds.ClientConfig) { c.Without = []string{kds.FeatureSummons} })
		converge()
		assert.Equal(t, 3, g.server.EnvoyStreams())
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 3, g.server.EnvoyStreams())
	})
}

func TestAQuestionToAZoneThatIsSummonedInVainEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		p := g.peer("east").meridian()
		features := p.node.Metadata.Fields["features"].GetListValue()
		features.Values = append(features.Values, structpb.NewStringValue(kds.FeatureSummons))
		p.down().resume("Mesh", &syncv1.Resume{})
		synctest.Wait()
		begun := time.Now()
		asked := make(chan error, 1)
		go func() {
			_, err := g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", ""), kds.EnvoyQuestion{View: kds.EnvoyClusters})
			asked <- err
		}()
		assert.EqualError(t, <-asked, "could not send ClustersRequest: zone east does not answer")
		assert.Equal(t, 10*time.Second, time.Since(begun))
		go func() {
			_, err := g.server.AskEnvoy(context.Background(), proxyOf("east", "dp", ""), kds.EnvoyQuestion{View: kds.EnvoyClusters})
			asked <- err
		}()
		time.Sleep(time.Second)
		p.conn.Close()
		assert.EqualError(t, <-asked, "could not send ClustersRequest: client east is not connected")
		assert.Equal(t, 11*time.Second, time.Since(begun))
	})
}
