package kds_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/kds"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
)

func TestStormOfReconnectsIsAdmittedByTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		st := openStore(t)
		put(t, st, many("p", 30)...)
		g := startGlobalOn(t, st, func(c *kds.ServerConfig) { c.MaxLists, c.ChunkBytes = 3, 1<<10 })
		var zones []*zone
		for i := range 24 {
			zones = append(zones, g.zone(fmt.Sprint("z", i)))
		}
		converge()
		for _, z := range zones {
			assert.Len(t, names(t, z.store, "MeshTimeout"), 30, z.name)
		}
		stats := g.server.Stats()
		assert.Equal(t, 3, stats.MostLists)
		assert.Zero(t, stats.Lists)
		assert.Zero(t, stats.ListsWaiting)
	})
}

func TestSilentZoneGivesUpItsTurn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		st := openStore(t)
		put(t, st, many("p", 30)...)
		g := startGlobalOn(t, st, func(c *kds.ServerConfig) { c.MaxLists, c.ChunkBytes = 1, 1<<10 })
		silent := g.peer("silent").meridian().down()
		silent.resume("MeshTimeout", &syncv1.Resume{})
		synctest.Wait()
		kuma := g.peer("kuma").down()
		for range 2 {
			_ = kuma.stream.Send(request(kuma.peer, "MeshTimeout"))
		}
		west := g.zone("west")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Len(t, names(t, west.store, "MeshTimeout"), 30, "what one does not read costs the others two seconds")
		assert.Len(t, kuma.take(), 1)
		put(t, st, timeout("news", meshWide))
		synctest.Wait()
		assert.Len(t, names(t, west.store, "MeshTimeout"), 31)
	})
}
