package kds_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
)

func TestSecondZoneOfTheSameNameIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		first := g.zone("east")
		put(t, first.store, consumer("c", "demo"))
		synctest.Wait()
		second := g.zone("east", func(c *kds.ClientConfig) { c.Instance = "other" })
		converge()
		link := second.client.Status()
		assert.False(t, link.LastError == nil)
		assert.ErrorContains(t, link.LastError, `zone "east"`)
		assert.ErrorContains(t, link.LastError, `instance "east-1"`)
		assert.Equal(t, 1, first.client.Status().Generation, "the first goes on undisturbed")
		put(t, first.store, consumer("d", "demo"))
		synctest.Wait()
		assert.Equal(t, []string{"c", "d"}, names(t, g.store, "MeshTimeout"))
		first.stop()
		converge()
		assert.True(t, second.client.Status().Connected, "the name is free")
		assert.Len(t, names(t, g.store, "MeshTimeout"), 0)
	})
}

func TestSecondKumaZoneOfTheSameNameIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		first := g.peer("east")
		d := first.down()
		d.subscribe("MeshTimeout")
		u := first.up()
		u.send("MeshTimeout", nil, fromZone(consumer("c", "demo"), "east"))

		second := g.peer("east")
		second.node.Metadata.Fields["control-plane-id"].Kind = g.peer("x").node.Metadata.Fields["control-plane-id"].Kind
		stream := second.down()
		require.NoError(t, stream.stream.Send(request(second, "MeshTimeout")))
		synctest.Wait()
		stream.mu.Lock()
		assert.ErrorContains(t, stream.err, "AlreadyExists")
		stream.mu.Unlock()
		// Its other stream alone is not let in either: it would wipe out what the first wrote.
		third := g.peer("east")
		begun := time.Now()
		s, err := meshUp(third)
		require.NoError(t, err)
		_, err = s.Recv()
		assert.ErrorContains(t, err, "AlreadyExists")
		assert.Equal(t, 10*time.Second, time.Since(begun))
		put(t, g.store, timeout("a", meshWide))
		require.Len(t, d.take(), 1, "the first goes on")
		assert.Equal(t, []string{"a", "c"}, names(t, g.store, "MeshTimeout"))
	})
}

func TestReconnectOfTheSameInstanceReplacesItsDeadSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		var dead atomic.Bool
		first := startZone(t, "east", openStore(t), func(ctx context.Context, a string) (net.Conn, error) {
			if dead.Load() {
				return nil, errors.New("cut")
			}
			c, err := g.dial(ctx, a)
			return silent{c, &dead}, err
		})
		synctest.Wait()
		require.True(t, first.client.Status().Connected)
		dead.Store(true) // global is not told
		begun := time.Now()
		second := startZone(t, "east", first.store, g.dial)
		synctest.Wait()
		assert.True(t, second.client.Status().Connected, "at once")
		put(t, g.store, timeout("a", meshWide))
		synctest.Wait()
		assert.Equal(t, []string{"a"}, names(t, second.store, "MeshTimeout"))
		assert.Zero(t, time.Since(begun))
		dead.Store(false)
		first.stop()
	})
}
