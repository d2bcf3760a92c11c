package federation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/sim/planes"
)

// documents are n policies of global.
func documents(prefix string, n int) string {
	var all []string
	for i := range n {
		all = append(all, timeout("", fmt.Sprintf("%s-%d", prefix, i), toMesh, "5s"))
	}
	return strings.Join(all, "---")
}

func TestLinkCutAtAnyMessageLosesNothing(t *testing.T) {
	for name, d := range map[string]planes.Direction{"from the zone": Up, "to the zone": Down} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := shop(t)
				east, west := f.Zone("east"), f.Zone("west")
				for n := 1; n <= 40; n++ {
					f.Link("west").CutAfter(d, n)
					value := fmt.Sprintf("%ds", n)
					f.Global().Apply(timeout("", "g", toMesh, value))
					west.Apply(timeout("shop", "w", byName, value))
					east.Apply(timeout("kuma-demo", "producer-timeout", byName, value))
					synctest.Wait()
					if n%2 == 0 {
						f.Global().Delete(timeout("", "g", toMesh, value))
						east.Delete(producer)
						synctest.Wait()
					}
					f.Settle()
					f.Link("west").Heal()
					f.Settle()
					require.Equal(t, n%2 != 0, west.Has(producer), "cut after %d", n)
					require.Equal(t, n%2 != 0, west.Has(timeout("", "g", toMesh, value)), "cut after %d", n)
				}
			})
		})
	}
}

// The zone comes back to what has changed meanwhile, on both ends, and the link is cut at the first, the second, … message of
// the new connection: until it stands.
func TestLinkCutAtAnyMessageOfAReconnectLosesNothing(t *testing.T) {
	for dialect, without := range map[string][]string{"Meridian": nil, "Kuma": {kds.FeatureResume}} {
		for name, d := range map[string]planes.Direction{"from the zone": Up, "to the zone": Down} {
			t.Run(dialect+" "+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := open(t, planes.Config{Zones: []planes.Zone{{Name: "east"}, {Name: "west", Without: without}}})
					east, west, link := f.Zone("east"), f.Zone("west"), f.Link("west")
					cut := true
					for n := 1; cut; n++ {
						link.Cut()
						f.Settle()
						value := fmt.Sprintf("%ds", n)
						kept := timeout("", "g", toMesh, value) + "---" + timeout("", fmt.Sprint("more-", n%5), toMesh, value)
						f.Global().Apply(kept)
						west.Apply(timeout("shop", "w", byName, value))
						if n%2 == 0 {
							f.Global().Delete(kept)
							east.Delete(producer)
							west.Delete(timeout("shop", "w", byName, value))
						} else {
							east.Apply(producer)
						}
						link.Heal()
						link.CutAfter(d, n)
						f.Settle()
						cut = link.IsCut()
						link.Heal()
						f.Settle()
						require.Equal(t, n%2 != 0, west.Has(producer), "cut after %d", n)
						require.Equal(t, n%2 != 0, west.Has(timeout("", "g", toMesh, value)), "cut after %d", n)
						require.Equal(t, n%2 != 0, f.Global().Has(timeout("shop", "w", byName, value)), "cut after %d", n)
						require.Less(t, n, 500)
						if !cut {
							require.Greater(t, n, 20, "a connection takes more messages than that")
						}
					}
				})
			})
		}
	}
}

func TestLinkCutInTheMiddleOfALongListLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Zone("west").Stop()
		f.Global().Apply(documents("many", 150))
		f.Zone("west").Start()
		for n := range 12 {
			f.Link("west").CutAfter(Down, 10+5*n)
			f.Settle()
			f.Link("west").Heal()
			f.Settle()
			f.Global().Delete(timeout("", fmt.Sprint("many-", n), toMesh, "5s"))
			f.Zone("west").Stop()
			f.Zone("west").Start()
		}
	})
}

func TestFederationSurvivesAnOlderBackupOfGlobal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		kept, lost := timeout("", "kept", toMesh, "1s"), timeout("", "lost", toMesh, "2s")
		f.Global().Apply(kept)
		f.Zone("east").Apply(producer)
		f.Settle()
		f.Global().Stop()
		restore := f.Global().Backup()
		f.Global().Start()
		f.Settle()
		f.Global().Apply(lost)
		f.Global().Apply(timeout("", "kept", toMesh, "3s"))
		f.Zone("east").Apply(timeout("kuma-demo", "second", byName, "4s"))
		f.Zone("east").Delete(producer)
		f.Settle()
		f.RequirePresent(f.Zone("west"), lost)
		f.Global().Stop()
		restore()
		f.Global().Start()
		f.Settle()
		f.RequireAbsent(f.Zone("west"), lost)
		f.RequireAbsent(f.Global(), producer)
		f.RequirePresent(f.Zone("west"), timeout("kuma-demo", "second", byName, "4s"))
	})
}

func TestFederationSurvivesAnOlderBackupOfAZone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		east := f.Zone("east")
		f.Global().Apply(timeout("", "kept", toMesh, "1s") + "---" + timeout("", "deleted", toMesh, "1s"))
		east.Apply(producer)
		f.Settle()
		east.Stop()
		restore := east.Backup()
		east.Start()
		f.Settle()
		f.Global().Apply(timeout("", "kept", toMesh, "2s"))
		f.Global().Delete(timeout("", "deleted", toMesh, "1s"))
		lost := timeout("kuma-demo", "lost", byName, "2s")
		east.Apply(lost)
		f.Settle()
		f.RequirePresent(f.Zone("west"), lost)
		east.Stop()
		restore()
		east.Start()
		f.Settle()
		f.RequireAbsent(f.Zone("west"), lost)
		f.RequireAbsent(east, timeout("", "deleted", toMesh, "1s"))
		assert.True(t, f.Zone("west").Has(producer))
	})
}

func TestDeletesAreForgottenWhileAZoneIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		f.Global().Apply(documents("d", 10))
		f.Zone("east").Apply(producer)
		f.Settle()
		f.Link("west").Cut()
		for i := range 5 {
			f.Global().Delete(timeout("", fmt.Sprint("d-", i), toMesh, "5s"))
		}
		f.Zone("east").Delete(producer)
		f.Settle()
		f.Global().Compact()
		f.Global().Stop()
		f.Global().Start()
		f.Settle()
		f.Link("west").Heal()
		f.Settle()
		f.RequireAbsent(f.Zone("west"), producer)
	})
}

func TestAZoneThatComesBackAfterItsDeletionResurrectsNothing(t *testing.T) {
	for name, back := range map[string]func(f *Federation){
		"after a partition":                  func(f *Federation) { f.Link("east").Heal() },
		"after a partition and its restart":  func(f *Federation) { f.Zone("east").Stop(); f.Link("east").Heal(); f.Zone("east").Start() },
		"after a partition, global restarts": func(f *Federation) { f.Global().Stop(); f.Link("east").Heal(); f.Global().Start() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := shop(t)
				east, west := f.Zone("east"), f.Zone("west")
				second := timeout("kuma-demo", "second", byName, "4s")
				east.Apply(producer + "---" + consumer + "---" + second)
				f.RequirePresent(west, producer)
				f.Link("east").Stall(Up) // nobody hears of it
				f.Settle()
				answer := f.Global().Do(http.MethodDelete, "/zones/east", nil)
				require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
				var gone struct{ Deleted map[string]int }
				require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &gone))
				assert.Equal(t, map[string]int{"Zone": 1, "ZoneInsight": 1, "MeshTimeout": 3, "MeshService": 1, "Dataplane": 3}, gone.Deleted)
				f.RequireAbsent(f.Global(), producer)
				f.RequireAbsent(west, producer)
				east.Delete(producer)
				f.Settle()
				back(f)
				f.Settle()
				f.RequireAbsent(f.Global(), producer)
				f.RequireAbsent(west, producer)
				f.RequirePresent(f.Global(), consumer) // what it has now, it tells
				f.RequirePresent(west, second)
			})
		})
	}
}

func TestAZoneUnderAnotherNameIsAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := New(t, "east", "renamed", "west")
		f.Zone("renamed").Stop()
		zones := func(p *Plane) (zones []string) {
			f.Settle()
			for _, r := range p.contents("MeshTimeout") {
				zones = append(zones, r.Zone())
			}
			slices.Sort(zones)
			return zones
		}
		f.Zone("east").Apply(producer)
		assert.Equal(t, []string{"east"}, zones(f.Zone("west")))
		f.Zone("east").Stop() // to come back under another name, with what it was told to have
		f.Zone("renamed").Start()
		f.Zone("renamed").Apply(producer)
		assert.Equal(t, []string{"east", "renamed"}, zones(f.Zone("west")), "nobody has said that the old one is gone")
		answer := f.Global().Do(http.MethodDelete, "/zones/east", nil)
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
		assert.Equal(t, []string{"renamed"}, zones(f.Global()))
		assert.Equal(t, []string{"renamed"}, zones(f.Zone("west")))
	})
}

func TestAZoneIsDrainedAndThenDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := shop(t)
		east, west := f.Zone("east"), f.Zone("west")
		east.Apply(producer)
		f.RequirePresent(west, producer)
		f.Link("west").Cut()
		f.Settle()
		state := func(method, path string) (state string, waiting int, safe bool) {
			t.Helper()
			synctest.Wait()
			answer := f.Global().Do(method, "/zones/east/"+path, []byte("{}"))
			require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
			var got struct {
				State   string
				Waiting []struct{ Zone string }
				Safe    bool
			}
			require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &got))
			return got.State, len(got.Waiting), got.Safe
		}
		got, waiting, _ := state(http.MethodPost, "_drain")
		assert.Equal(t, "draining", got)
		assert.Equal(t, 1, waiting, "west still has it")
		f.Link("west").Heal()
		f.Settle()
		f.RequireAbsent(west, producer)
		f.RequirePresent(f.Global(), producer)
		later := timeout("", "later", toMesh, "5s")
		f.Global().Apply(later)
		f.RequirePresent(east, later) // it goes on receiving
		got, waiting, safe := state(http.MethodGet, "_drain")
		assert.Equal(t, "drained", got)
		assert.Zero(t, waiting)
		assert.False(t, safe, "its control plane is connected")

		got, _, _ = state(http.MethodPost, "_enable") // somebody thinks better of it
		assert.Equal(t, "enabled", got)
		f.RequirePresent(west, producer)
		state(http.MethodPost, "_drain")
		east.Stop()
		_, _, safe = state(http.MethodGet, "_drain")
		assert.True(t, safe)
		answer := f.Global().Do(http.MethodDelete, "/zones/east", nil)
		require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
		f.RequireAbsent(f.Global(), producer)
		answer = f.Global().Do(http.MethodPost, "/zones/east/_drain", []byte("{}"))
		assert.Equal(t, http.StatusNotFound, answer.Code)
	})
}

func TestAKillInTheMiddleOfAWriteLeavesNoHalfBatch(t *testing.T) {
	for _, victim := range []string{"", "east", "west"} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprintf("killed %q, whole %t", victim, whole), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					f := shop(t)
					p := f.Global()
					if victim != "" {
						p = f.Zone(victim)
					}
					kills := 0
					for n := 1; n <= 12; n++ {
						p.of.KillInWrite(1+n%4, whole)
						value := fmt.Sprintf("%ds", n)
						for _, q := range f.all() { // each is told in batches of two what the others write
							namespace := "shop"
							if q == f.Global() {
								namespace = ""
							}
							if !q.of.Killed() {
								q.attempt(timeout(namespace, "a", byName, value)+"---"+timeout(namespace, "b", byName, value), false)
							}
						}
						synctest.Wait()
						if p.of.Killed() {
							kills++
							p.Stop()
							p.Start() // which fails for half a batch
						}
						p.of.Heal()
						f.Settle()
						require.Empty(t, f.of.Broken(), "write %d", n)
					}
					assert.Greater(t, kills, 2)
				})
			})
		}
	}
}

func TestAFederationWithoutRoomOnItsDisksCatchesUp(t *testing.T) {
	for _, victim := range []string{"", "east"} {
		t.Run(fmt.Sprintf("full %q", victim), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := shop(t)
				p := f.Global()
				if victim != "" {
					p = f.Zone(victim)
				}
				before := timeout("", "before", toMesh, "1s")
				f.Global().Apply(before)
				f.Settle()
				p.of.FillDisk()
				for _, q := range f.all() {
					namespace := "shop"
					if q == f.Global() {
						namespace = ""
					}
					document := timeout(namespace, "new", byName, "5s")
					q.attempt(document, false)
					assert.Equal(t, q != p, q.Has(document), "%s", q)
				}
				time.Sleep(time.Hour)
				p.Stop() // it comes back without room
				p.Start()
				f.Settle()
				f.RequirePresent(p, before)
				f.RequirePresent(f.Zone("west"), before)
				require.False(t, p.Has(timeout("shop", "new", byName, "5s")))
				p.of.Heal()
				f.Settle()
				for _, err := range f.of.Broken() {
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestARevokedTokenCutsAZoneOffUntilItHasANewOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := open(t, planes.Config{Tokens: true}, "east", "west")
		id, err := f.of.NewToken("east")
		require.NoError(t, err)
		f.Zone("east").Stop()
		f.Zone("east").Start() // with it
		f.Settle()
		document := timeout("", "g", toMesh, "5s")
		require.NoError(t, f.of.Revoke(id))
		f.Settle()
		f.Global().Apply(document)
		f.Settle()
		f.RequirePresent(f.Zone("west"), document)
		f.RequireAbsent(f.Zone("east"), document)
		_, err = f.of.NewToken("east")
		require.NoError(t, err)
		f.Settle()
		f.RequirePresent(f.Zone("east"), document)
	})
}
