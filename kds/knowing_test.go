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
		assert.Equal(t, []string{"east written", "east sent", "global acked", "global applied"}, events(hops))
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
