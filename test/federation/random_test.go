package federation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"

	"github.com/meridian-mesh/meridian/kds"
	"github.com/meridian-mesh/meridian/sim/planes"
)

var (
	seeds   = flag.Int("seeds", 24, "how many random lives of a federation to test")
	oneSeed = flag.Uint64("seed", 0, "the seed of the first life; 0: any")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a life is short and leaves nothing
	os.Exit(m.Run())
}

// TestRandomWritesUnderRandomFaultsKeepTheInvariants writes and breaks things at random; what it asserts is in the checks
// that every federation ends with. It runs -seeds lives, and says of one that fails how to see it again.
func TestRandomWritesUnderRandomFaultsKeepTheInvariants(t *testing.T) {
	first := *oneSeed
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	shown := newTally(*seeds, first, term.IsTerminal(int(os.Stdout.Fd())))
	t.Cleanup(shown.end)
	for i := range uint64(*seeds) {
		seed := first + i
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			shown.began(seed)
			w := newWitness(t)
			t.Cleanup(func() { shown.lived(seed, t.Failed(), w) })
			synctest.Test(t, func(t *testing.T) {
				w.TB = t
				randomLife(w, w.log, seed, false)
			})
		})
	}
}

// Zones that have to show tokens, which are revoked and replaced while all the rest goes on.
func TestRandomLivesWithTokensKeepTheInvariants(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { randomLife(t, hclog.NewNullLogger(), seed, true) })
		})
	}
}

// tokens is who has which, and which do not count any more.
type tokens struct {
	f       *Federation
	of      map[string]string // ids by zone
	revoked []string
}

func (k *tokens) renew(zone string) {
	id, err := k.f.of.NewToken(zone)
	if !k.f.Global().of.Killed() {
		require.NoError(k.f.t, err)
		k.of[zone] = id
	}
}

// revoke ends what a zone has, if the disk of global takes it.
func (k *tokens) revoke(zone string) {
	global, all := k.f.Global().of, append(slices.Clone(k.revoked), k.of[zone])
	full := global.Full()
	if err := k.f.of.Revoke(all...); err == nil || global.Killed() {
		k.revoked = all
	} else if !full {
		require.NoError(k.f.t, err)
	}
}

// randomLife lets three zones and global live through 60 random events. It logs them, and so do the planes.
func randomLife(t testing.TB, log hclog.Logger, seed uint64, withTokens bool) {
	dice := rand.New(rand.NewPCG(seed, 1))
	names := []string{"east", "west", "north"}
	f, kinds := open(t, planes.Config{Tokens: withTokens, Log: log}, names...), 23
	held := &tokens{f: f, of: map[string]string{}}
	if withTokens {
		kinds += 3
		for _, name := range names {
			held.renew(name)
		}
	}
	for _, name := range names {
		f.Zone(name).Apply(dataplane("shop", "proxy", "proxy") + "---" + meshService("shop", "demo-app"))
	}
	targets := []string{byName, byLabels, toMesh}
	for range 60 {
		zone := names[dice.IntN(len(names))]
		p := f.all()[dice.IntN(4)]
		for _, q := range f.all() {
			if q.of.Killed() && q.of.Running() {
				log.Info("it was killed in a write", "at", q)
				q.Stop()
			}
		}
		switch dice.IntN(kinds) {
		case 0:
			log.Info("cut", "link", zone)
			f.Link(zone).Cut()
		case 1:
			d := planes.Direction(dice.IntN(2))
			log.Info("stall", "link", zone, "direction", d)
			f.Link(zone).Stall(d)
		case 2, 3:
			log.Info("heal", "link", zone)
			f.Link(zone).Heal()
		case 4:
			if p.of.Running() {
				log.Info("stop", "at", p)
				p.Stop()
			} else {
				log.Info("start", "at", p)
				p.of.Heal() // a full disk is what it died of
				p.Start()
			}
		case 5:
			d := time.Duration(dice.IntN(90)) * time.Second
			log.Info("wait", "for", d)
			time.Sleep(d)
		case 6:
			d, n := planes.Direction(dice.IntN(2)), 1+dice.IntN(40)
			log.Info("cut soon", "link", zone, "direction", d, "after", n)
			f.Link(zone).CutAfter(d, n)
		case 7:
			if p.of.Running() && !p.of.Full() && dice.IntN(3) == 0 {
				log.Info("compact", "at", p)
				if err := p.of.Compact(); !p.of.Killed() {
					require.NoError(t, err)
				}
			}
		case 8:
			log.Info("stall", "link", zone)
			f.Link(zone).Stall(Up)
			f.Link(zone).Stall(Down)
		case 9, 10:
			if f.Global().of.Running() {
				action := []string{"_enable", "_disable", "_drain"}[dice.IntN(3)]
				log.Info(action, "of", zone)
				f.ask(http.MethodPost, "/zones/"+zone+"/"+action, http.StatusNotFound) // it may be deleted
			}
		case 11, 12:
			if f.Global().of.Running() {
				log.Info("delete", "of", zone)
				f.ask(http.MethodDelete, "/zones/"+zone, http.StatusNotFound, http.StatusBadRequest) // it may be connected
			}
		case 13:
			days := dice.IntN(200) - 100
			log.Info("set the clock", "at", p, "days", days)
			p.of.Jump(time.Duration(days) * 24 * time.Hour)
		case 14, 15:
			n, whole := 1+dice.IntN(6), dice.IntN(2) == 0
			log.Info("kill soon", "at", p, "write", n, "whole", whole)
			p.of.KillInWrite(n, whole)
		case 16:
			log.Info("fill the disk", "at", p)
			p.of.FillDisk()
		case 17:
			log.Info("heal", "at", p)
			p.of.Heal()
		case 23:
			if f.Global().of.Running() {
				log.Info("revoke", "of", zone)
				held.revoke(zone)
			}
		case 24, 25:
			if f.Global().of.Running() {
				log.Info("new token", "of", zone)
				held.renew(zone)
			}
		default:
			if !p.of.Running() {
				continue
			}
			namespace := "shop"
			if p.of.Name() == "" {
				namespace = ""
			}
			n, target, value := dice.IntN(4), targets[dice.IntN(3)], fmt.Sprint(1+dice.IntN(9), "s")
			doc := timeout(namespace, fmt.Sprint("t", n), target, value)
			switch {
			case p.of.Wrote(p.read(doc)[0].Resource.Key) && dice.IntN(3) == 0:
				log.Info("remove", "at", p, "timeout", n)
				p.attempt(doc, true)
			case dice.IntN(3) == 0:
				log.Info("write two", "at", p, "timeout", n, "target", target, "value", value)
				p.attempt(doc+"---"+timeout(namespace, fmt.Sprint("t", (n+1)%4), target, value), false)
			default:
				log.Info("write", "at", p, "timeout", n, "target", target, "value", value)
				p.attempt(doc, false)
			}
		}
		if dice.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	log.Info("restore all")
	require.NoError(t, f.of.Restore())
	for _, zone := range names {
		if withTokens {
			held.renew(zone)
		}
	}
	for _, zone := range names { // what is disabled is not where the checks look for it
		f.ask(http.MethodPost, "/zones/"+zone+"/_enable", http.StatusNotFound) // it may be deleted
	}
}

// ask has global do something about a zone. It may answer also, and what its disk says.
func (f *Federation) ask(method, path string, also ...int) {
	full := f.Global().of.Full()
	answer := f.Global().Do(method, path, []byte("{}"))
	if full {
		also = append(also, http.StatusInsufficientStorage)
	}
	if !f.Global().of.Killed() {
		require.Contains(f.t, append(also, http.StatusOK), answer.Code, "%s", answer.Body)
	}
}

// TestRandomLivesNoticeABrokenProtocol breaks one rule at a time and requires that the lives above fail.
func TestRandomLivesNoticeABrokenProtocol(t *testing.T) {
	for _, fault := range []kds.Fault{kds.FaultAckUnstored, kds.FaultDropTombstone, kds.FaultNoMarker, kds.FaultEarlyMarker} {
		t.Run(string(fault), func(t *testing.T) {
			defer kds.Break(fault)()
			for seed := range uint64(40) {
				noticed := ""
				synctest.Test(t, func(t *testing.T) {
					noticed = failureOf(t, func(t testing.TB) { randomLife(t, hclog.NewNullLogger(), seed, false) })
				})
				if noticed != "" {
					t.Logf("life %d: %.400s", seed, strings.Join(strings.Fields(noticed), " "))
					return
				}
			}
			assert.Fail(t, "nobody noticed")
		})
	}
}

// failureOf returns what test fails with, "" if it does not.
func failureOf(t *testing.T, test func(testing.TB)) string {
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.finish()
		test(p)
	}()
	<-done
	return p.failure
}

// probe is a test whose failure is a result.
type probe struct {
	testing.TB
	failure  string
	cleanups []func()
}

func (p *probe) finish() {
	for len(p.cleanups) > 0 {
		last := p.cleanups[len(p.cleanups)-1]
		p.cleanups = p.cleanups[:len(p.cleanups)-1]
		done := make(chan struct{})
		go func() { // FailNow ends the goroutine
			defer close(done)
			last()
		}()
		<-done
	}
}

func (p *probe) Cleanup(f func()) { p.cleanups = append(p.cleanups, f) }
func (p *probe) Failed() bool     { return p.failure != "" }
func (p *probe) FailNow()         { runtime.Goexit() }
func (p *probe) Helper()          {}
func (p *probe) Errorf(format string, args ...any) {
	if p.failure == "" {
		p.failure = fmt.Sprintf(format, args...)
	}
}

func (p *probe) TempDir() string {
	dir, err := os.MkdirTemp(p.TB.TempDir(), "")
	require.NoError(p.TB, err)
	return dir
}
