package kds_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/policy"
	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

func TestResourcesReachWhoeverTheyAreFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west := g.zone("east"), g.zone("west")
		put(t, g.store, timeout("all", meshWide), made("Mesh", "", "default", ""))
		put(t, east.store, producer("p", "demo"), consumer("c", "demo"), made("MeshService", "default", "redis.demo", `{"ports":[]}`,
			resource.LabelNamespace, "demo", resource.LabelDisplayName, "redis"))
		synctest.Wait() // no timer is involved

		assert.Equal(t, []string{"all", "c", "p"}, names(t, g.store, "MeshTimeout"))
		assert.Equal(t, []string{"all", "p"}, names(t, west.store, "MeshTimeout"))
		assert.Equal(t, []string{"all", "c", "p"}, names(t, east.store, "MeshTimeout"))
		assert.Equal(t, []string{"redis"}, names(t, west.store, "MeshService"))
		assert.Equal(t, []string{"default"}, names(t, west.store, "Mesh"))

		at := hashedKey(producer("p", "demo"), "east")
		onGlobal, inWest := get(t, g.store, at), get(t, west.store, at)
		assert.Equal(t, map[string]string{
			resource.LabelOrigin: "zone", resource.LabelZone: "east", resource.LabelNamespace: "demo",
			resource.LabelDisplayName: "p", resource.LabelRole: "producer",
		}, onGlobal.Labels)
		assert.Equal(t, "global", inWest.Origin())
		assert.Equal(t, producer("p", "demo").Spec, inWest.Spec)
		assert.Equal(t, onGlobal.Identity(), inWest.Identity())

		inWest = get(t, west.store, hashedKey(timeout("all", ""), ""))
		assert.Equal(t, map[string]string{resource.LabelOrigin: "global", resource.LabelDisplayName: "all"}, inWest.Labels)
		inWest = get(t, west.store, resource.Key{Kind: "Mesh", Name: "default"})
		assert.Equal(t, map[string]string{resource.LabelOrigin: "global"}, inWest.Labels, "a Mesh keeps its name")
		service := list(t, west.store, "MeshService")[0]
		assert.JSONEq(t, `{"tls":{},"dataplaneProxies":{}}`, string(service.Status))
	})
}

func TestDeleteFollows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west := g.zone("east"), g.zone("west")
		put(t, g.store, timeout("all", meshWide))
		put(t, east.store, producer("p", "demo"))
		synctest.Wait()
		require.Equal(t, []string{"all", "p"}, names(t, west.store, "MeshTimeout"))
		remove(t, g.store, timeout("all", "").Key)
		remove(t, east.store, producer("p", "demo").Key)
		synctest.Wait()
		assert.Empty(t, names(t, g.store, "MeshTimeout"))
		assert.Empty(t, names(t, west.store, "MeshTimeout"))
	})
}

func TestChangesCoalesceWhileTheAnswerIsOutstanding(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		first := d.subscribe("MeshTimeout", "MeshRetry")
		assert.Empty(t, first[0].Resources, "a first response comes even if there is nothing")
		assert.Equal(t, []string{"1", "2"}, []string{first[0].Nonce, first[1].Nonce})
		assert.Equal(t, "global", first[0].ControlPlane.Identifier)

		put(t, g.store, timeout("a", meshWide))
		got := d.take()
		require.Len(t, got, 1)
		for i := range 10 {
			put(t, g.store, timeout("a", strings.ReplaceAll(meshWide, "20s", fmt.Sprint(i, "s"))), timeout("b", meshWide))
		}
		put(t, g.store, timeout("c", meshWide))
		remove(t, g.store, timeout("c", "").Key)
		require.Empty(t, d.take(), "one response per kind is in flight")
		put(t, g.store, made("MeshRetry", "default", "r", meshWide))
		other := d.take()
		require.Len(t, other, 1, "other kinds go on")
		assert.Equal(t, "MeshRetry", other[0].TypeUrl)

		d.ack(got[0])
		got = d.take()
		require.Len(t, got, 1)
		require.Len(t, got[0].Resources, 2)
		assert.Empty(t, got[0].RemovedResources, "the peer never heard of c")
		assert.Contains(t, string(unwire(t, got[0].Resources[0]).Spec.Value), `"9s"`)
		assert.Equal(t, "5", got[0].Nonce)
	})
}

// A peer that answers slower than changes come gets them in ever larger responses; one that keeps up gets each at once.
func TestChangesGatherWhileTheyComeFasterThanTheAnswers(t *testing.T) {
	for name, meridian := range map[string]bool{"Kuma zone": false, "Meridian zone": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t)
				d := g.peer("east").down()
				answer := d.ack
				if meridian {
					d = g.peer("west").meridian().down()
					answer = func(m *discovery.DeltaDiscoveryResponse) { d.answer(m, &syncv1.Answer{}) }
					d.resume("MeshTimeout", &syncv1.Resume{})
					answer(d.take()[0])
				} else {
					d.subscribe("MeshTimeout")
				}
				n := 0
				write := func() {
					n++
					put(t, g.store, timeout(fmt.Sprint("t", n), meshWide))
				}
				for range 10 { // one at a time, each answered before the next
					write()
					got := d.take()
					require.Len(t, got, 1)
					answer(got[0])
					synctest.Wait()
				}
				var waits []time.Duration
				var sizes []int
				write()
				for range 10 { // each answer comes after two more changes
					got := d.take()
					begun := time.Now()
					for len(got) == 0 {
						write()
						time.Sleep(time.Millisecond)
						got = d.take()
					}
					require.Len(t, got, 1)
					waits = append(waits, time.Since(begun))
					size := len(got[0].Resources)
					if meridian {
						size-- // the frame
					}
					sizes = append(sizes, size)
					write()
					write()
					answer(got[0])
				}
				ms := time.Millisecond
				assert.Equal(t, []time.Duration{0, 0, 0, 0, ms, 2 * ms, 4 * ms, 8 * ms, 16 * ms, 20 * ms}, waits)
				assert.Equal(t, []int{1, 2, 2, 2, 3, 4, 6, 10, 18, 22}, sizes)

				time.Sleep(100 * ms)
				got := d.take()
				require.Len(t, got, 1)
				answer(got[0])
				synctest.Wait()
				write()
				assert.Len(t, d.take(), 1, "the burst is over")
			})
		})
	}
}

func TestStaleNonceIsIgnored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		first := d.subscribe("MeshTimeout")
		put(t, g.store, timeout("a", meshWide))
		got := d.take()
		require.Len(t, got, 1)
		put(t, g.store, timeout("b", meshWide))
		d.ack(first[0])
		require.Empty(t, d.take(), "an old nonce acknowledges nothing")
		d.ack(got[0])
		require.Len(t, d.take(), 1)
		assert.EqualValues(t, 1, g.server.Stats().StaleNonces)
	})
}

func TestResourceThatLeavesScopeIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		d.subscribe("MeshTimeout", "Mesh")
		put(t, g.store, timeout("a", meshWide), made("Mesh", "", "m", ""))
		for _, m := range d.take() {
			d.ack(m)
		}
		put(t, g.store, timeout("a", meshWide, resource.LabelSync, "disabled"))
		remove(t, g.store, resource.Key{Kind: "Mesh", Name: "m"})
		removed := map[string][]string{}
		for _, m := range d.take() {
			assert.Empty(t, m.Resources)
			removed[m.TypeUrl] = m.RemovedResources
		}
		assert.Equal(t, map[string][]string{
			"MeshTimeout": {hashedKey(timeout("a", ""), "").Name + ".default"},
			"Mesh":        {"m."},
		}, removed)
	})
}

func TestNothingIsSentAgainWithoutAChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		d.subscribe("MeshTimeout")
		put(t, g.store, timeout("a", meshWide))
		got := d.take()
		require.Len(t, got, 1)
		d.nack(got[0], "spec.to[0]: not today")
		put(t, g.store, timeout("a", meshWide)) // a write without a difference
		put(t, g.store, timeout("b", meshWide))
		got = d.take()
		require.Len(t, got, 1)
		require.Len(t, got[0].Resources, 1, "neither the rejected nor the same")
		assert.Equal(t, "b", unwire(t, got[0].Resources[0]).Meta.Labels[resource.LabelDisplayName])
		d.ack(got[0])
		put(t, g.store, timeout("a", consumes))
		require.Len(t, d.take(), 1, "it changed")
		assert.EqualValues(t, 1, g.server.Stats().Nacks)
		in := insightOf(t, g.store, "east")
		require.Len(t, in.Subscriptions, 1)
	})
}

func TestValidPartOfAResponseIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		put(t, g.store, timeout("good", meshWide), timeout("bad", meshWide))
		picky := func(c *kds.ClientConfig) {
			c.Validate = func(r resource.Resource) error {
				if r.Display() == "bad" && !strings.Contains(string(r.Spec), "3s") {
					return &resource.InvalidError{Key: r.Key, Violations: []resource.Violation{{Field: "spec.to", Reason: "is bad"}}}
				}
				return nil
			}
		}
		east := g.zone("east", picky)
		synctest.Wait()
		assert.Equal(t, []string{"good"}, names(t, east.store, "MeshTimeout"))
		assert.EqualValues(t, 1, g.server.Stats().Nacks)
		sent := g.server.Stats().ResponsesSent
		put(t, g.store, timeout("other", meshWide))
		synctest.Wait()
		assert.Equal(t, sent+1, g.server.Stats().ResponsesSent)
		assert.EqualValues(t, 1, g.server.Stats().Nacks, "it is not sent again unchanged")

		put(t, g.store, timeout("bad", consumes))
		synctest.Wait()
		assert.Equal(t, []string{"bad", "good", "other"}, names(t, east.store, "MeshTimeout"))
		put(t, g.store, timeout("bad", meshWide))
		synctest.Wait()
		assert.Equal(t, consumes, string(get(t, east.store, hashedKey(timeout("bad", ""), "")).Spec), "the valid copy stays")
	})
}

func TestRejectedResourceOfACompleteListKeepsItsOlderCopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		a, b := fromZone(consumer("a", "demo"), "east"), fromZone(consumer("b", "demo"), "east")
		p := g.peer("east")
		require.Nil(t, p.up().send("MeshTimeout", nil, a, b).ErrorDetail)
		require.NoError(t, p.conn.Close())
		synctest.Wait()
		bad := a
		bad.Spec = []byte(`{"to":[`)
		answer := g.peer("east").up().send("MeshTimeout", nil, bad) // the first of its stream: what it does not name is gone
		require.NotNil(t, answer.ErrorDetail)
		assert.Equal(t, []string{"a"}, names(t, g.store, "MeshTimeout"))
		assert.Equal(t, a.Spec, get(t, g.store, a.Key).Spec)
	})
}

func TestReconnectPrunesWhatWasDeletedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east := g.zone("east")
		put(t, g.store, timeout("a", meshWide), timeout("b", meshWide))
		put(t, east.store, consumer("x", "demo"), consumer("y", "demo"))
		synctest.Wait()
		require.Equal(t, []string{"a", "b", "x", "y"}, names(t, g.store, "MeshTimeout"))
		east.stop()
		remove(t, g.store, timeout("a", "").Key)
		remove(t, east.store, consumer("x", "demo").Key)
		east = startZone(t, "east", east.store, g.dial)
		synctest.Wait()
		assert.Equal(t, []string{"b", "y"}, names(t, g.store, "MeshTimeout"))
		assert.Equal(t, []string{"b", "y"}, names(t, east.store, "MeshTimeout"))
	})
}

func TestAZoneCannotTouchWhatIsNotItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east := g.zone("east")
		put(t, east.store, consumer("c", "demo"))
		put(t, g.store, timeout("all", meshWide))
		synctest.Wait()
		before := list(t, g.store, "MeshTimeout")
		require.Len(t, before, 2)
		theirs := hashedKey(consumer("c", "demo"), "east")

		u := g.peer("evil").up()
		a := u.send("MeshTimeout", nil)
		assert.Nil(t, a.ErrorDetail)
		assert.Equal(t, before, list(t, g.store, "MeshTimeout"), "a complete list of nothing is about its own resources")

		a = u.send("MeshTimeout", []string{theirs.Name + ".default", "all.default"})
		assert.Nil(t, a.ErrorDetail)
		assert.Equal(t, before, list(t, g.store, "MeshTimeout"), "removals of others' resources are ignored")
		assert.EqualValues(t, 2, g.server.Stats().Forged, "and counted")

		stolen := fromZone(consumer("c", "demo"), "east")
		stolen.Spec = []byte(meshWide)
		squatter := timeout("all", consumes)
		a = u.send("MeshTimeout", nil, stolen, squatter)
		require.NotNil(t, a.ErrorDetail)
		assert.Contains(t, a.ErrorDetail.Message, stolen.Name)
		assert.Contains(t, a.ErrorDetail.Message, "MeshTimeout default/all")
		assert.Equal(t, []string{"*"}, a.ResourceNamesSubscribe)
		assert.Equal(t, before, list(t, g.store, "MeshTimeout"))
	})
}

func TestZoneOriginAndRoleAreRecomputed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		west := g.zone("west")
		u := g.peer("evil").up()
		forged := timeout("f", consumes, resource.LabelNamespace, "demo", resource.LabelDisplayName, "f",
			resource.LabelOrigin, resource.OriginGlobal, resource.LabelZone, "west", resource.LabelRole, resource.RoleProducer)
		forged.Name = hashedKey(forged, "evil").Name
		ingress, err := proto.Marshal(&meshv1.ZoneIngress{Zone: "west", Networking: &meshv1.ZoneIngress_Networking{Port: 1}})
		require.NoError(t, err)
		gate := fromZone(made("ZoneIngress", "", "zi", string(ingress)), "evil")
		assert.Nil(t, u.send("MeshTimeout", nil, forged).ErrorDetail)
		assert.Nil(t, u.send("ZoneIngress", nil, gate).ErrorDetail)
		synctest.Wait()

		stored := get(t, g.store, forged.Key)
		assert.Equal(t, "evil", stored.Zone())
		assert.Equal(t, resource.OriginZone, stored.Origin())
		assert.Equal(t, resource.RoleConsumer, stored.Role())
		assert.Empty(t, names(t, west.store, "MeshTimeout"), "a consumer policy stays in its zone")
		var zi meshv1.ZoneIngress
		require.NoError(t, proto.Unmarshal(get(t, g.store, gate.Key).Spec, &zi))
		assert.Equal(t, "evil", zi.Zone)
		assert.EqualValues(t, 1, zi.Networking.Port)
		assert.Equal(t, []string{"zi"}, names(t, west.store, "ZoneIngress"))
	})
}

func TestGlobalCannotOverwriteWhatWasWrittenInTheZone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		peer := startFakeGlobal(t)
		st := openStore(t)
		own := producer("p", "demo")
		own.Labels[resource.LabelOrigin], own.Labels[resource.LabelZone] = resource.OriginZone, "east"
		secret := made("Secret", "default", "key", "")
		put(t, st, own, secret, made("Mesh", "", "default", ""))
		startZone(t, "east", st, peer.dial)
		synctest.Wait()

		over := own
		over.Spec, over.Labels = []byte(meshWide), map[string]string{resource.LabelOrigin: resource.OriginGlobal}
		asOurs := timeout("q", meshWide, resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "east")
		// Written on global with the label of this zone, as policies are that were exported from it once.
		returned := timeout("returned", meshWide, resource.LabelOrigin, resource.OriginGlobal, resource.LabelZone, "east")
		fine := timeout("fine", meshWide, resource.LabelOrigin, resource.OriginGlobal)
		answer := peer.send(t, "MeshTimeout", nil, over, asOurs, returned, fine)
		require.NotNil(t, answer.ErrorDetail)
		for _, name := range []string{own.Name, "default/q"} {
			assert.Contains(t, answer.ErrorDetail.Message, name)
		}
		assert.NotContains(t, answer.ErrorDetail.Message, "fine")
		assert.NotContains(t, answer.ErrorDetail.Message, "returned")
		assert.Equal(t, []string{"fine", "p", "returned"}, names(t, st, "MeshTimeout"), "a complete list is about what came from global")
		assert.Nil(t, peer.send(t, "MeshTimeout", []string{returned.Name + ".default"}).ErrorDetail)
		assert.Equal(t, produces, string(get(t, st, own.Key).Spec))

		assert.Nil(t, peer.send(t, "MeshTimeout", []string{own.Name + ".default"}).ErrorDetail)
		assert.Nil(t, peer.send(t, "Secret", nil).ErrorDetail)
		assert.Nil(t, peer.send(t, "Mesh", nil, made("Mesh", "", "other", "", resource.LabelOrigin, resource.OriginGlobal)).ErrorDetail)
		assert.Equal(t, []string{"fine", "p"}, names(t, st, "MeshTimeout"))
		assert.Equal(t, []string{"key"}, names(t, st, "Secret"))
		assert.Equal(t, []string{"other"}, names(t, st, "Mesh"), "of kinds that only global provides it owns all")
	})
}

// A zone may have a DNS name with dots. It is none of the zones whose names are in its own.
func TestZoneWithDotsInItsName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		dotted, west := g.zone("eu.west"), g.zone("west")
		put(t, dotted.store, producer("p", "demo"))
		put(t, west.store, producer("q", "demo"))
		converge()
		assert.Equal(t, []string{"p", "q"}, names(t, dotted.store, "MeshTimeout"))
		assert.Equal(t, []string{"p", "q"}, names(t, west.store, "MeshTimeout"))
		at := hashedKey(producer("p", "demo"), "eu.west")
		assert.Equal(t, "eu.west", get(t, g.store, at).Zone())
		id, section, err := resource.ParseKRI(get(t, g.store, at).Identity().KRI(""))
		require.NoError(t, err)
		assert.Equal(t, get(t, g.store, at).Identity(), id)
		assert.Empty(t, section)

		p := g.peer("eu.south.1") // a Kuma
		assert.Nil(t, p.up().send("MeshTimeout", nil, fromZone(producer("r", "demo"), "eu.south.1")).ErrorDetail)
		synctest.Wait()
		assert.Equal(t, []string{"p", "q", "r"}, names(t, west.store, "MeshTimeout"))

		progress := resource.Resource{Key: resource.Key{Kind: resource.KindSyncProgress, Name: "MeshTimeout.eu.west"}}
		assert.False(t, resource.GoesWithZone(progress, "west"))
		assert.True(t, resource.GoesWithZone(progress, "eu.west"))
	})
}

// Kong Mesh calls the system's namespace otherwise. Which it is only the control plane in it knows.
func TestPolicyOfASystemNamespaceKeepsItsRole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		system := func(name string, labels ...string) resource.Resource {
			return timeout(name, `{"to":[{"targetRef":{"kind":"MeshService","name":"a"},"default":{"idleTimeout":"1s"}},{"targetRef":{"kind":"Mesh"},"default":{"idleTimeout":"2s"}}]}`,
				append(labels, resource.LabelNamespace, "kong-mesh-system", resource.LabelDisplayName, name, resource.LabelRole, resource.RoleSystem)...)
		}
		peer, st := startFakeGlobal(t), openStore(t)
		startZone(t, "east", st, peer.dial, func(c *kds.ClientConfig) { c.Validate = policy.Schemas().Validate })
		synctest.Wait()
		ofGlobal := system("of-global", resource.LabelOrigin, resource.OriginGlobal)
		ofWest := system("of-west", resource.LabelOrigin, resource.OriginGlobal, resource.LabelZone, "west")
		answer := peer.send(t, "MeshTimeout", nil, ofGlobal, ofWest)
		require.NotNil(t, answer.ErrorDetail)
		assert.NotContains(t, answer.ErrorDetail.Message, "of-global")
		assert.Contains(t, answer.ErrorDetail.Message, "of-west", "of other zones come producer policies alone, and this is none")
		assert.Equal(t, resource.RoleSystem, get(t, st, ofGlobal.Key).Role())

		g := startGlobal(t, func(c *kds.ServerConfig) { c.Validate = policy.Schemas().Validate })
		west := g.zone("west")
		assert.Nil(t, g.peer("east").up().send("MeshTimeout", nil, fromZone(system("of-east"), "east")).ErrorDetail)
		synctest.Wait()
		require.Len(t, list(t, g.store, "MeshTimeout"), 1)
		assert.Equal(t, resource.RoleSystem, list(t, g.store, "MeshTimeout")[0].Role())
		assert.Empty(t, list(t, west.store, "MeshTimeout"))
	})
}

func TestDisabledZoneIsKeptFromTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west := g.zone("east"), g.zone("west")
		put(t, east.store, producer("p", "demo"), consumer("c", "demo"), made("MeshService", "default", "redis", `{}`))
		put(t, g.store, timeout("all", meshWide))
		synctest.Wait()
		require.Equal(t, []string{"all", "p"}, names(t, west.store, "MeshTimeout"))

		setEnabled(t, g.store, "east", false)
		synctest.Wait()
		assert.Equal(t, []string{"all"}, names(t, west.store, "MeshTimeout"))
		assert.Empty(t, names(t, west.store, "MeshService"))
		put(t, east.store, producer("p2", "demo"))
		synctest.Wait()
		assert.Equal(t, []string{"all", "c", "p", "p2"}, names(t, g.store, "MeshTimeout"), "global still hears it")
		assert.Equal(t, []string{"all", "c", "p", "p2"}, names(t, east.store, "MeshTimeout"), "it still hears global")

		setEnabled(t, g.store, "east", true)
		synctest.Wait()
		assert.Equal(t, []string{"all", "p", "p2"}, names(t, west.store, "MeshTimeout"))
		assert.Equal(t, []string{"redis"}, names(t, west.store, "MeshService"))

		remove(t, g.store, resource.Key{Kind: "Zone", Name: "east"})
		synctest.Wait()
		assert.Equal(t, []string{"all"}, names(t, west.store, "MeshTimeout"), "what is of no known zone goes to nobody")
	})
}

func TestManyResourcesOfSeveralKindsBothWays(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		east, west := g.zone("east"), g.zone("west")
		synctest.Wait()
		kinds := []string{"MeshTimeout", "MeshRetry", "MeshTrafficPermission", "MeshHealthCheck", "MeshCircuitBreaker"}
		const each = 2000
		down, up := make([]resource.Resource, 0, each), make([]resource.Resource, 0, each)
		for _, kind := range kinds {
			down, up = down[:0], up[:0]
			for i := range each {
				r := producer(fmt.Sprint("p", i), "demo")
				r.Kind = kind
				up = append(up, r)
				r = timeout(fmt.Sprint("g", i), meshWide)
				r.Kind = kind
				down = append(down, r)
			}
			put(t, g.store, down...)
			put(t, east.store, up...)
		}
		converge()
		for _, kind := range kinds {
			assert.Len(t, list(t, g.store, kind), 2*each, kind)
			assert.Len(t, list(t, east.store, kind), 2*each, kind)
			assert.Len(t, list(t, west.store, kind), 2*each, kind)
		}
		assert.Equal(t, 1, west.client.Status().Generation, "no connection was lost over it")
	})
}

func TestStreamGoesOnAfterCompaction(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		d.subscribe("MeshTimeout")
		put(t, g.store, timeout("a", meshWide), timeout("b", meshWide))
		inFlight := d.take()
		require.Len(t, inFlight, 1)
		remove(t, g.store, timeout("a", "").Key)
		put(t, g.store, timeout("c", meshWide))
		require.NoError(t, g.store.Compact(context.Background(), g.store.Revision()))
		d.ack(inFlight[0])
		got := d.take()
		require.Len(t, got, 1)
		assert.Equal(t, []string{hashedKey(timeout("a", ""), "").Name + ".default"}, got[0].RemovedResources)
		require.Len(t, got[0].Resources, 1, "only the difference")
		assert.Equal(t, "c", unwire(t, got[0].Resources[0]).Meta.Labels[resource.LabelDisplayName])
	})
}

func TestKindOfTheFutureIsAnsweredEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		put(t, g.store, made("Dataplane", "default", "x", "", resource.LabelOrigin, resource.OriginZone, resource.LabelZone, "west"))
		for _, m := range d.subscribe("MeshMagic", "", "Dataplane") {
			assert.Empty(t, m.Resources, m.TypeUrl)
		}
		assert.Empty(t, d.take())
	})
}

func TestMalformedResourceIsRejectedByName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").up()
		bad := fromZone(consumer("bad", "demo"), "east")
		bad.Spec = []byte(`{"to":`)
		array := fromZone(consumer("array", "demo"), "east")
		array.Spec = []byte(`[]`)
		unknown := fromZone(consumer("unknown", "demo"), "east")
		unknown.Spec = []byte(`{ "future" : {"x":1}, "to":[] }`)
		noMesh := fromZone(consumer("nomesh", "demo"), "east")
		noMesh.Mesh = ""
		a := u.send("MeshTimeout", nil, bad, array, unknown, noMesh)
		require.NotNil(t, a.ErrorDetail)
		assert.Contains(t, a.ErrorDetail.Message, bad.Name+": spec: ")
		assert.Contains(t, a.ErrorDetail.Message, array.Name+": spec: is not a JSON object")
		assert.Contains(t, a.ErrorDetail.Message, noMesh.Name+": mesh: ")
		assert.Equal(t, []string{"unknown"}, names(t, g.store, "MeshTimeout"))
		assert.Equal(t, `{"future":{"x":1},"to":[]}`, string(get(t, g.store, unknown.Key).Spec), "unknown fields stay")

		wrong := fromZone(made("Dataplane", "default", "dp", ""), "east")
		wrong.Spec = []byte{0xff}
		a = u.send("Dataplane", nil, wrong)
		require.NotNil(t, a.ErrorDetail)
		assert.Contains(t, a.ErrorDetail.Message, wrong.Name)
	})
}

func TestSubscriptionsOfGlobal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		u := g.peer("east").up()
		assert.Len(t, u.subscriptions, 26)
		for _, m := range u.subscriptions {
			assert.Equal(t, "east", m.GetNode().GetId(), "the node is the zone, also when global asks")
			assert.Equal(t, []string{"*"}, m.ResourceNamesSubscribe)
			assert.Empty(t, m.ResponseNonce)
			assert.Len(t, m.Node.Metadata.Fields["features"].GetListValue().Values, 5)
		}
	})
}

func TestCleanCloseReconnects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		peer := startFakeGlobal(t)
		z := startZone(t, "east", openStore(t), peer.dial)
		time.Sleep(time.Second) // this global has nothing to say
		synctest.Wait()
		assert.EqualValues(t, 1, peer.opened.Load())
		require.True(t, z.client.Status().Connected)
		peer.finish() // with OK
		synctest.Wait()
		link := z.client.Status()
		assert.False(t, link.Connected)
		assert.ErrorContains(t, link.LastError, "closed by the peer")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, peer.opened.Load())
		assert.True(t, z.client.Status().Connected)
		assert.Equal(t, 2, z.client.Status().Generation)
	})
}

func TestClientBacksOffAndComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		var down atomic.Bool
		var dials atomic.Int32
		z := startZone(t, "east", openStore(t), func(ctx context.Context, a string) (net.Conn, error) {
			dials.Add(1)
			if down.Load() {
				return nil, errors.New("cut")
			}
			return g.dial(ctx, a)
		})
		synctest.Wait()
		down.Store(true)
		time.Sleep(time.Hour)
		n := dials.Load()
		assert.Equal(t, int32(1), n, "a connection that works is left alone")
		g.stop()
		time.Sleep(time.Hour)
		link := z.client.Status()
		assert.False(t, link.Connected)
		assert.WithinDuration(t, time.Now().Add(-time.Hour), link.Since, time.Minute)
		n = dials.Load()
		assert.Greater(t, n, int32(60), "it does not give up")
		assert.Less(t, n, int32(400), "nor hammer")

		g2 := startGlobalOn(t, g.store)
		g.listener = g2.listener
		put(t, g2.store, timeout("a", meshWide))
		down.Store(false)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"))
		assert.True(t, z.client.Status().Connected)
	})
}

func TestServerStopEndsStreamsPolitely(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		d := g.peer("east").down()
		d.subscribe("MeshTimeout")
		g.stop()
		synctest.Wait()
		d.mu.Lock()
		assert.ErrorContains(t, d.err, "Unavailable")
		d.mu.Unlock()
		in := insightOf(t, g.store, "east")
		require.Len(t, in.Subscriptions, 1)
		assert.NotNil(t, in.Subscriptions[0].DisconnectTime)
	})
}

func TestStopDoesNotWaitForAPeerThatTakesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		huge := fmt.Sprintf(`{"targetRef":{"kind":"Mesh"},"pad":"%s"}`, strings.Repeat("x", 4<<20))
		put(t, g.store, timeout("a", huge), made("MeshRetry", "default", "b", huge))
		p := g.peer("east")
		stream, err := meshv1.NewKDSSyncServiceClient(p.conn).GlobalToZoneSync(p.ctx, grpc.UseCompressor("identity"))
		require.NoError(t, err)
		for _, kind := range []string{"MeshTimeout", "MeshRetry"} {
			require.NoError(t, stream.Send(&discovery.DeltaDiscoveryRequest{Node: p.node, TypeUrl: kind}))
		}
		synctest.Wait()
		require.EqualValues(t, 1, g.server.Stats().ResponsesSent, "the session hangs in the second Send")
		begun := time.Now()
		g.stop()
		assert.Less(t, time.Since(begun), 5*time.Second)
	})
}

func TestTLS(t *testing.T) {
	certificate, caFile := selfSigned(t, "global")
	_, otherCA := selfSigned(t, "global")
	cases := []struct {
		name   string
		change func(*kds.ClientConfig)
		want   string // of the error; "": it works
	}{
		{"with the CA", func(c *kds.ClientConfig) { c.CAFile = caFile }, ""},
		{"without verification", func(c *kds.ClientConfig) { c.SkipVerify = true }, ""},
		{"with another CA", func(c *kds.ClientConfig) { c.CAFile = otherCA }, "x509"},
		{"with the system's roots", func(c *kds.ClientConfig) {}, "x509"},
		{"by another name", func(c *kds.ClientConfig) { c.CAFile, c.Address = caFile, "grpcs://other:5685" }, "x509"},
		{"in plain text", func(c *kds.ClientConfig) { c.Address = "grpc://global:5685" }, "Unavailable"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := startGlobal(t, func(s *kds.ServerConfig) { s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}} })
				put(t, g.store, timeout("a", meshWide))
				z := g.zone("east", func(cfg *kds.ClientConfig) {
					cfg.Address = "grpcs://global:5685"
					c.change(cfg)
				})
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if c.want != "" {
					assert.ErrorContains(t, z.client.Status().LastError, c.want)
					assert.Empty(t, names(t, z.store, "MeshTimeout"))
					return
				}
				assert.Equal(t, []string{"a"}, names(t, z.store, "MeshTimeout"))
			})
		})
	}
}

// selfSigned makes a certificate for name that is valid in the bubbles' time, and a file that vouches for it.
func selfSigned(t *testing.T, name string) (tls.Certificate, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), DNSNames: []string{name}, IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestZoneLifecycleIsRecorded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		begun := time.Now()
		p := g.peer("east")
		d := p.down()
		d.subscribe("MeshTimeout", "Mesh")
		var z systemv1.Zone
		require.NoError(t, proto.Unmarshal(get(t, g.store, resource.Key{Kind: "Zone", Name: "east"}).Spec, &z))
		assert.True(t, z.Enabled.GetValue())

		sub := insightOf(t, g.store, "east").Subscriptions[0]
		assert.Equal(t, "global-1", sub.GlobalInstanceId)
		assert.Equal(t, "east-cp", sub.ZoneInstanceId)
		assert.Equal(t, "2.10.11", sub.Version.KumaCp.Version)
		assert.True(t, sub.Version.KumaCp.KumaCpGlobalCompatible)
		assert.Equal(t, `{"store":{"type":"memory"}}`, sub.Config)
		assert.WithinDuration(t, begun, sub.ConnectTime.AsTime(), time.Second)
		assert.Nil(t, sub.DisconnectTime)
		assert.Zero(t, sub.Status.Total.ResponsesSent, "counters are written later")

		time.Sleep(10 * time.Second)
		synctest.Wait()
		sub = insightOf(t, g.store, "east").Subscriptions[0]
		assert.EqualValues(t, 2, sub.Status.Total.ResponsesSent)
		assert.EqualValues(t, 2, sub.Status.Total.ResponsesAcknowledged)
		assert.EqualValues(t, 1, sub.Status.Stat["Mesh"].ResponsesSent)

		rev := g.store.Revision()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.Equal(t, rev, g.store.Revision(), "an idle stream writes nothing")

		require.NoError(t, p.conn.Close())
		synctest.Wait()
		assert.NotNil(t, insightOf(t, g.store, "east").Subscriptions[0].DisconnectTime)
		for range 12 {
			p := g.peer("east")
			p.down().subscribe("Mesh")
			require.NoError(t, p.conn.Close())
			synctest.Wait()
		}
		in := insightOf(t, g.store, "east")
		assert.Len(t, in.Subscriptions, 10)
		for _, sub := range in.Subscriptions {
			assert.NotNil(t, sub.DisconnectTime)
		}
	})
}

func TestSubscriptionsOfAKilledRunAreClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		g.peer("east").down().subscribe("Mesh")
		before := get(t, g.store, resource.Key{Kind: "ZoneInsight", Name: "east"}) // as a kill -9 would leave it
		g.stop()
		put(t, g.store, before)
		require.Nil(t, insightOf(t, g.store, "east").Subscriptions[0].DisconnectTime)
		startGlobalOn(t, g.store)
		synctest.Wait()
		assert.NotNil(t, insightOf(t, g.store, "east").Subscriptions[0].DisconnectTime)
	})
}

func TestSubscriptionsOfAKilledRunAreClosedWhenThereIsRoomAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		g.peer("east").down().subscribe("Mesh")
		before := get(t, g.store, resource.Key{Kind: "ZoneInsight", Name: "east"}) // as a kill -9 would leave it
		g.stop()
		put(t, g.store, before)
		full := &faulty{Store: g.store}
		full.fail.Store(true)
		again := startGlobalOn(t, g.store, func(c *kds.ServerConfig) { c.Store, c.Instance = full, "another" })
		synctest.Wait()
		require.Nil(t, insightOf(t, g.store, "east").Subscriptions[0].DisconnectTime)
		full.fail.Store(false)
		again.peer("west").down().subscribe("Mesh") // zones do not wait for that
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.NotNil(t, insightOf(t, g.store, "east").Subscriptions[0].DisconnectTime)
		assert.Nil(t, insightOf(t, g.store, "west").Subscriptions[0].DisconnectTime)
	})
}

func TestHealthCheckFollowsTheInterval(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t, func(c *kds.ServerConfig) { c.HealthInterval = 3 * time.Second })
		g.zone("east")
		time.Sleep(time.Minute)
		synctest.Wait()
		in := insightOf(t, g.store, "east")
		assert.WithinDuration(t, time.Now(), in.HealthCheck.Time.AsTime(), 3*time.Second)
		assert.Len(t, in.Subscriptions, 1)
	})
}

func TestStoreFailureIsNoNack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		broken := &faulty{Store: openStore(t)}
		broken.fail.Store(true)
		put(t, g.store, timeout("a", meshWide))
		z := g.zone("east", func(c *kds.ClientConfig) { c.Store = broken })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.ErrorContains(t, z.client.Status().LastError, "disk on fire")
		assert.Zero(t, g.server.Stats().Nacks)
		broken.fail.Store(false)
		converge()
		assert.Equal(t, []string{"a"}, names(t, broken, "MeshTimeout"))
	})
}

func TestConcurrentWriteIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		racy := &faulty{Store: openStore(t)}
		z := g.zone("east", func(c *kds.ClientConfig) { c.Store = racy })
		put(t, g.store, timeout("a", meshWide))
		synctest.Wait()
		key := hashedKey(timeout("a", ""), "")
		old := get(t, racy, key)
		racy.before = func() { // somebody writes between the read and the write of the receiver
			racy.before = nil
			old.Labels = map[string]string{resource.LabelOrigin: resource.OriginGlobal, "by": "somebody"}
			put(t, racy.Store, old)
		}
		put(t, g.store, timeout("a", consumes))
		synctest.Wait()
		assert.Equal(t, consumes, string(get(t, racy, key).Spec))
		assert.Equal(t, 1, z.client.Status().Generation)
	})
}

func TestCallWithoutAZoneNameIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		for _, name := range []string{"", "Not_A_Name", strings.Repeat("a", 64)} {
			d := g.peer(name).down()
			synctest.Wait()
			d.mu.Lock()
			assert.ErrorContains(t, d.err, "InvalidArgument", name)
			d.mu.Unlock()
		}
		assert.Empty(t, names(t, g.store, "Zone"))
	})
}

func TestEncodedOnceForAllZones(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := startGlobal(t)
		for i := range 10 {
			g.zone(fmt.Sprint("z", i))
		}
		synctest.Wait()
		before := g.server.Stats()
		put(t, g.store, timeout("a", meshWide))
		synctest.Wait()
		after := g.server.Stats()
		assert.EqualValues(t, 1, after.Marshals-before.Marshals)
		assert.EqualValues(t, 10, after.ResponsesSent-before.ResponsesSent)
	})
}

// faulty is a store that fails when told to, or lets somebody else write first.
type faulty struct {
	kds.Store
	fail   atomic.Bool
	before func()
}

func (f *faulty) Apply(ctx context.Context, ops ...resource.Op) (resource.Revision, error) {
	if f.fail.Load() {
		return 0, errors.New("disk on fire")
	}
	if f.before != nil {
		f.before()
	}
	return f.Store.Apply(ctx, ops...)
}

// fakeGlobal is a global played by hand.
type fakeGlobal struct {
	meshv1.UnimplementedKDSSyncServiceServer
	listener *bufconn.Listener
	opened   atomic.Int32 // GlobalToZoneSync streams
	mu       sync.Mutex   // guards requests
	requests []*discovery.DeltaDiscoveryRequest
	finished chan struct{}
	stream   grpc.BidiStreamingServer[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]
	nonce    int
}

func startFakeGlobal(t *testing.T) *fakeGlobal {
	f := &fakeGlobal{listener: bufconn.Listen(1 << 20), finished: make(chan struct{}, 1)}
	server := grpc.NewServer()
	meshv1.RegisterKDSSyncServiceServer(server, f)
	go func() { _ = server.Serve(f.listener) }()
	t.Cleanup(server.Stop)
	return f
}

func (f *fakeGlobal) dial(ctx context.Context, _ string) (net.Conn, error) {
	return f.listener.DialContext(ctx)
}

func (f *fakeGlobal) GlobalToZoneSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryRequest, discovery.DeltaDiscoveryResponse]) error {
	f.opened.Add(1)
	kinds := map[string]bool{}
	for range 41 {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		kinds[m.TypeUrl] = true
		f.mu.Lock()
		f.requests = append(f.requests, m)
		f.mu.Unlock()
	}
	if len(kinds) != 41 {
		return fmt.Errorf("subscribed to %d kinds", len(kinds))
	}
	f.stream = s
	select {
	case <-f.finished:
		return nil
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

func (f *fakeGlobal) ZoneToGlobalSync(s grpc.BidiStreamingServer[discovery.DeltaDiscoveryResponse, discovery.DeltaDiscoveryRequest]) error {
	if err := s.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: "Dataplane", ResourceNamesSubscribe: []string{"*"}}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (f *fakeGlobal) finish() { f.finished <- struct{}{} }

func (f *fakeGlobal) send(t *testing.T, kind string, removed []string, list ...resource.Resource) *discovery.DeltaDiscoveryRequest {
	t.Helper()
	var sent []*discovery.Resource
	for _, r := range list {
		sent = append(sent, wire(t, r))
	}
	return f.sendWire(t, kind, removed, sent...)
}

func (f *fakeGlobal) sendWire(t *testing.T, kind string, removed []string, list ...*discovery.Resource) *discovery.DeltaDiscoveryRequest {
	t.Helper()
	f.nonce++
	m := &discovery.DeltaDiscoveryResponse{TypeUrl: kind, Nonce: fmt.Sprint(f.nonce), RemovedResources: removed, Resources: list}
	require.NoError(t, f.stream.Send(m))
	answer, err := f.stream.Recv()
	require.NoError(t, err)
	return answer
}
