package kds_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// awaiting asks for the fate of r on global from another goroutine of the bubble.
func (p *pair) awaiting(r resource.Resource, wait time.Duration) (answer chan []kds.Fate) {
	list := []resource.Resource{get(p.t, p.globalStore, r.Key)}
	answer = make(chan []kds.Fate, 1)
	go func() {
		fates, err := p.global.server.Await(context.Background(), list, nil, wait)
		assert.NoError(p.t, err)
		answer <- fates
	}()
	return answer
}

func events(hops []kds.Hop) (list []string) {
	for _, h := range hops {
		plane := h.Plane
		if plane == "" {
			plane = "global"
		}
		list = append(list, plane+" "+h.Event)
	}
	return list
}

func TestAWaitEndsWithTheLastVerdict(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		converge()
		begun := time.Now()
		for name, want := range map[string]kds.Outcome{"good": kds.Applied, "bad": kds.Rejected} {
			put(t, p.globalStore, timeout(name, meshWide))
			fates := <-p.awaiting(timeout(name, meshWide), time.Minute)
			require.True(t, fates[0].Settled)
			require.Len(t, fates[0].Peers, 1)
			assert.Equal(t, want, fates[0].Peers[0].Outcome)
		}
		assert.Zero(t, time.Since(begun), "nobody polls, and nobody waits for a timer")
	})
}

func TestAWaitForAnAbsentZoneSaysWhyAndEndsWhenItComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		converge()
		var late chan []kds.Fate
		p.away(func() {
			put(t, p.globalStore, timeout("x", meshWide))
			begun := time.Now()
			fates := <-p.awaiting(timeout("x", ""), 10*time.Second)
			assert.Equal(t, 10*time.Second, time.Since(begun))
			assert.False(t, fates[0].Settled)
			assert.Equal(t, kds.Pending, fates[0].Peers[0].Outcome)
			assert.Equal(t, kds.Offline, fates[0].Peers[0].State)
			assert.NotZero(t, fates[0].Peers[0].StateSince)
			late = p.awaiting(timeout("x", ""), 5*time.Minute)
			synctest.Wait()
			select {
			case <-late:
				assert.Fail(t, "answered although the zone is away")
			default:
			}
		})
		assert.True(t, (<-late)[0].Settled)
	})
}

func TestAWaitLooksOnlyAtTheZonesThatAreNamed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		g.zone("east")
		g.peer("west").down().subscribe("MeshTimeout") // and answers nothing
		converge()
		put(t, g.store, timeout("x", meshWide))
		list := []resource.Resource{get(t, g.store, timeout("x", "").Key)}
		fates, err := g.server.Await(t.Context(), list, []string{"east"}, time.Minute)
		require.NoError(t, err)
		assert.True(t, fates[0].Settled)
		fates, err = g.server.Await(t.Context(), list, nil, time.Second)
		require.NoError(t, err)
		assert.False(t, fates[0].Settled)
		require.Len(t, fates[0].Peers, 2)
		assert.Equal(t, kds.Applied, fates[0].Peers[0].Outcome)
		assert.Equal(t, kds.Pending, fates[0].Peers[1].Outcome)
	})
}

func TestTheWayOfAResourceHasItsTimes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = picky
		p.start()
		converge()
		put(t, p.globalStore, timeout("x", meshWide))
		time.Sleep(time.Second)
		trace := func(name string) []kds.Hop {
			hops, err := p.global.server.Trace(t.Context(), get(t, p.globalStore, timeout(name, "").Key))
			require.NoError(t, err)
			return hops
		}
		hops := trace("x")
		require.Equal(t, []string{"global written", "global sent", "east acked", "east applied"}, events(hops))
		for i, h := range hops {
			assert.WithinDuration(t, get(t, p.globalStore, timeout("x", "").Key).Modified, h.Time, time.Millisecond, "hop %d", i)
			assert.False(t, h.Latest)
		}
		for i := range 20 { // more than is remembered
			put(t, p.globalStore, timeout(fmt.Sprint("later-", i), meshWide))
			time.Sleep(time.Second)
		}
		hops = trace("x")
		require.Equal(t, []string{"global written", "global sent", "east acked", "east applied"}, events(hops))
		assert.True(t, hops[3].Latest, "its own response is forgotten")
		assert.False(t, trace("later-19")[3].Latest)

		put(t, p.globalStore, timeout("bad", meshWide))
		synctest.Wait()
		hops = trace("bad")
		require.Equal(t, []string{"global written", "global sent", "east acked", "east rejected"}, events(hops))
		assert.Equal(t, "invalid", hops[3].Code)
		assert.Equal(t, []kds.Refusals{{Code: "invalid", Sent: true, Count: 1}}, p.status().Refusals)
		assert.Equal(t, []kds.Refusals{{Code: "invalid", Count: 1}}, p.zone.client.Status().Sync.Refusals)

		mine := producer("mine", "demo")
		put(t, p.zoneStore, mine)
		synctest.Wait()
		hops, err := p.zone.client.Trace(t.Context(), get(t, p.zoneStore, mine.Key))
		require.NoError(t, err)
		assert.Equal(t, []string{"east written", "east sent", "global acked", "global applied", "global received"}, events(hops))
		hops, err = p.global.server.Trace(t.Context(), get(t, p.globalStore, hashedKey(mine, "east")))
		require.NoError(t, err)
		assert.Equal(t, []string{"east written", "global received", "east out-of-scope"}, events(hops))
		hops, err = p.zone.client.Trace(t.Context(), get(t, p.zoneStore, hashedKey(timeout("x", ""), "")))
		require.NoError(t, err)
		assert.Equal(t, []string{"global written", "east received"}, events(hops))
	})
}

func TestLagIsInRevisionsAndSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		put(t, p.globalStore, timeout("x", meshWide))
		converge()
		k := kindStatus(t, p.status(), "MeshTimeout", true)
		assert.Zero(t, k.Lag)
		assert.Zero(t, k.LagSeconds)
		p.away(func() {
			for i := range 3 {
				put(t, p.globalStore, timeout(fmt.Sprint("y", i), meshWide))
				time.Sleep(time.Minute)
			}
			s := p.status()
			k := kindStatus(t, s, "MeshTimeout", true)
			assert.Equal(t, p.globalStore.Revision()-k.Applied, k.Lag)
			assert.GreaterOrEqual(t, k.Lag, resource.Revision(3))
			assert.InDelta(t, 180, k.LagSeconds, 1)
			assert.Zero(t, kindStatus(t, s, "MeshRetry", true).Lag, "nothing of that kind was written")
		})
		k = kindStatus(t, p.status(), "MeshTimeout", true)
		assert.Zero(t, k.Lag)
		require.NotNil(t, k.Delays)
		n := uint64(0)
		for _, count := range k.Delays.Counts {
			n += count
		}
		assert.Positive(t, n)
		assert.Greater(t, k.Delays.Sum, 3*time.Minute, "the oldest change of the response that caught up counts")
		assert.Equal(t, map[string]uint64{"unavailable": 1}, p.status().Ends)
	})
}

func TestADeleteIsObservedFromItsCommit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		converge()
		put(t, p.globalStore, timeout("x", meshWide))
		converge()
		before := *kindStatus(t, p.status(), "MeshTimeout", true).Delays
		p.away(func() {
			_, err := p.globalStore.Apply(t.Context(), resource.Delete(timeout("x", "").Key))
			require.NoError(t, err)
			time.Sleep(time.Minute)
			assert.InDelta(t, 60, kindStatus(t, p.status(), "MeshTimeout", true).LagSeconds, 1)
		})
		after := *kindStatus(t, p.status(), "MeshTimeout", true).Delays
		assert.Greater(t, after.Sum-before.Sum, time.Minute)
		for i := range before.Counts {
			before.Counts[i] = after.Counts[i] - before.Counts[i]
		}
		want := [len(before.Counts)]uint64{}
		want[len(want)-2] = 1 // up to ten minutes
		assert.Equal(t, want, before.Counts)
	})
}

func TestAnIdleZoneIsHeardOfByItsKeepalive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t).start()
		time.Sleep(time.Hour)
		assert.WithinDuration(t, time.Now(), p.global.server.Heard("east"), 31*time.Second)
		assert.WithinDuration(t, time.Now(), p.status().Heard, 31*time.Second)
		assert.WithinDuration(t, time.Now(), p.zone.client.Status().LastReceived, 31*time.Second)
		p.away(func() {
			assert.Zero(t, p.global.server.Heard("east"), "of a connection that is gone nothing is heard")
		})
		assert.Zero(t, p.global.server.Heard("west"))
	})
}

func TestAZoneLearnsWhatBecameOfItsProducerPoliciesInOtherZones(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west := g.zone("east"), g.zone("west", picky)
		converge()
		await := func(r resource.Resource, wait time.Duration, zones ...string) kds.Fate {
			put(t, east.store, r)
			fates, err := east.client.Await(t.Context(), []resource.Resource{get(t, east.store, r.Key)}, zones, wait)
			require.NoError(t, err)
			require.Len(t, fates, 1)
			return fates[0]
		}
		outcomes := func(f kds.Fate) (list []string) {
			for _, v := range f.Peers {
				list = append(list, v.Zone+" "+string(v.Outcome))
			}
			return list
		}
		begun := time.Now()
		f := await(producer("good", "demo"), time.Minute)
		assert.True(t, f.Settled)
		assert.Equal(t, []string{" applied", "west applied"}, outcomes(f))
		f = await(producer("bad", "demo"), time.Minute)
		assert.True(t, f.Settled)
		assert.Equal(t, []string{" applied", "west rejected"}, outcomes(f))
		assert.Contains(t, f.Peers[1].Reason, "is bad")
		f = await(consumer("mine", "demo"), time.Minute)
		assert.Equal(t, []string{" applied"}, outcomes(f), "it goes no further")
		f = await(producer("more", "demo"), time.Minute, "")
		assert.Equal(t, []string{" applied"}, outcomes(f), "only global was asked for")
		assert.Zero(t, time.Since(begun))

		hops, err := east.client.Trace(t.Context(), get(t, east.store, producer("good", "demo").Key))
		require.NoError(t, err)
		assert.Equal(t, []string{
			"east written", "east sent", "global acked", "global applied", "global received", "global sent", "west acked", "west applied",
		}, events(hops))

		_, err = east.client.Await(t.Context(), []resource.Resource{get(t, east.store, producer("good", "demo").Key)}, []string{"north"}, time.Second)
		require.ErrorIs(t, err, resource.ErrNotFound)
		west.stop()
		synctest.Wait()
		f = await(producer("late", "demo"), 10*time.Second)
		assert.False(t, f.Settled)
		assert.Equal(t, []string{" applied", "west pending"}, outcomes(f))
		assert.Equal(t, kds.Offline, f.Peers[1].State)
	})
}

// What a zone is told about is its own only.
func TestAZoneIsToldNothingOfOtherZones(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east := g.zone("east")
		g.zone("north")
		p := producer("secret", "demo")
		put(t, east.store, p)
		put(t, g.store, timeout("of-global", meshWide))
		converge()
		west := g.peer("west")
		var names []*syncv1.FatesRequest_Name
		for _, key := range []resource.Key{hashedKey(p, "east"), timeout("of-global", "").Key, {Kind: "MeshTimeout", Mesh: "default", Name: "none"}} {
			names = append(names, &syncv1.FatesRequest_Name{Kind: key.Kind, Mesh: key.Mesh, Name: key.Name})
		}
		answer, err := syncv1.NewKnowledgeServiceClient(west.conn).Fates(west.ctx, &syncv1.FatesRequest{Resources: names, Hops: true})
		require.NoError(t, err)
		require.Len(t, answer.Fates, 3)
		for _, f := range answer.Fates {
			assert.Empty(t, f.Verdicts)
			assert.Empty(t, f.Hops)
		}
	})
}

func TestTheInsightOfAZoneSaysWhatKumasDoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t)
		p.clientConfig = func(c *kds.ClientConfig) {
			picky(c)
			c.Version, c.Settings = "0.3.1", `{"store":{"type":"memory"}}`
		}
		p.serverConfig = func(c *kds.ServerConfig) { c.Version = "0.4.0" }
		p.start()
		converge()
		put(t, p.globalStore, timeout("bad", meshWide))
		synctest.Wait() // or both might go in one response
		put(t, p.globalStore, timeout("good", meshWide))
		time.Sleep(6 * time.Minute) // the first health check came before there was a Zone
		synctest.Wait()
		in := insightOf(t, p.globalStore, "east")
		require.Len(t, in.Subscriptions, 1)
		sub := in.Subscriptions[0]
		assert.NotEmpty(t, sub.Id)
		assert.Equal(t, "global-1", sub.GlobalInstanceId)
		assert.Equal(t, "east-1", sub.ZoneInstanceId)
		assert.Equal(t, `{"store":{"type":"memory"}}`, sub.Config)
		assert.False(t, sub.AuthTokenProvided)
		assert.Equal(t, "0.3.1", sub.Version.KumaCp.Version)
		assert.True(t, sub.Version.KumaCp.KumaCpGlobalCompatible)
		assert.Equal(t, "global-1", in.EnvoyAdminStreams.GetConfigDumpGlobalInstanceId())
		assert.Equal(t, "global-1", in.EnvoyAdminStreams.GetStatsGlobalInstanceId())
		assert.Equal(t, "global-1", in.EnvoyAdminStreams.GetClustersGlobalInstanceId())
		assert.NotNil(t, in.HealthCheck.GetTime())

		timeouts, total := sub.Status.Stat["MeshTimeout"], uint64(0)
		assert.EqualValues(t, 3, timeouts.ResponsesSent, "the answer to the subscription, and two changes")
		assert.EqualValues(t, 2, timeouts.ResponsesAcknowledged)
		assert.EqualValues(t, 1, timeouts.ResponsesRejected)
		for _, stat := range sub.Status.Stat {
			total += stat.ResponsesSent
			assert.Equal(t, stat.ResponsesSent, stat.ResponsesAcknowledged+stat.ResponsesRejected, "nothing is in flight")
		}
		assert.Equal(t, total, sub.Status.Total.ResponsesSent)
		assert.Len(t, sub.Status.Stat, 41, "every kind that goes to a zone")
	})
}
