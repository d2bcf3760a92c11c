package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestARestartLosesNothing(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east", "west")
	east, west := zones["east"], zones["west"]
	global.put(timeoutPath("of-global", ""), timeoutDoc("of-global", "", "1s"))
	east.put(timeoutPath("of-east", "shop"), timeoutDoc("of-east", "shop", "2s"))
	west.await(wirePath("of-global", "", ""))
	west.await(wirePath("of-east", "shop", "east"))

	for _, p := range []*plane{global, east, west} {
		before := p.names("/meshes/default/meshtimeouts")
		p.stop() // asserts exit code 0
		p.start()
		assert.ElementsMatch(t, before, p.names("/meshes/default/meshtimeouts"), "%s after its restart", p.name)
	}
	// Each is still in touch with the others, from both ends.
	global.put(timeoutPath("of-global", ""), timeoutDoc("of-global", "", "3s"))
	east.put(timeoutPath("later", "shop"), timeoutDoc("later", "shop", "4s"))
	west.await(wirePath("later", "shop", "east"))
	require.Eventually(t, func() bool {
		return strings.Contains(west.await(wirePath("of-global", "", "")), `"3s"`)
	}, settle, 10*time.Millisecond)
}

func TestAZoneServesWithoutItsGlobalAndSaysSo(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east")
	east := zones["east"]
	code, stdout, stderr := east.cli("zones")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "Connected")
	assert.Empty(t, stderr)
	code, stdout, stderr = global.cli("zones")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^east +Online +\d+s +true `, stdout)

	global.put(timeoutPath("before", ""), timeoutDoc("before", "", "1s"))
	east.await(wirePath("before", "", ""))
	global.stop()
	require.Eventually(t, func() bool {
		_, header, _, err := east.request(t.Context(), http.MethodGet, "/meshes/default/meshtimeouts", "")
		return err == nil && header.Get("Meridian-Stale-Since") != ""
	}, settle, 10*time.Millisecond, "the zone notices")
	code, stdout, stderr = east.cli("zones")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^east +grpcs://\S+ +Disconnected +\d+s +\d+s`, stdout, "since when, and when it last heard")
	assert.Contains(t, stderr, "without its global control plane for")

	assert.Equal(t, []string{"before"}, east.names("/meshes/default/meshtimeouts"), "it serves what it has")
	east.put(timeoutPath("meanwhile", "shop"), timeoutDoc("meanwhile", "shop", "2s"))
	global.start()
	global.await(wirePath("meanwhile", "shop", "east"))
}

func TestASecondProcessOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	global := newGlobal(t)
	_, err := global.run()
	require.ErrorContains(t, err, "ended before it was ready")
	require.ErrorContains(t, err, global.dir, "it names the folder")
	global.put(timeoutPath("still-fine", ""), timeoutDoc("still-fine", "", "1s"))
}

func TestZonesConnectWithAndWithoutTLS(t *testing.T) {
	t.Parallel()
	secure, plain := newGlobal(t), newGlobal(t, "--insecure")
	for name, c := range map[string]struct {
		global *plane
		args   func(address string) []string
	}{
		"its certificate": {secure, func(a string) []string {
			return []string{"--global", a, "--tls-ca", filepath.Join(secure.dir, "kds.crt"), "--zone-token-file", secure.zoneToken("its-certificate")}
		}},
		"any certificate": {secure, func(a string) []string {
			return []string{"--global", a, "--tls-skip-verify", "--zone-token-file", secure.zoneToken("any-certificate")}
		}},
		"without": {plain, func(a string) []string { return []string{"--global", a} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone := newZone(t, strings.ReplaceAll(name, " ", "-"), nil, c.args(c.global.process.KDS())...)
			zone.await("/meshes/default")
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		zone := newZone(t, "stranger", nil, "--global", secure.process.KDS())
		require.Eventually(t, func() bool {
			_, stdout, stderr := zone.cli("zones")
			return strings.Contains(stdout, "Disconnected") && strings.Contains(stderr, "certificate")
		}, settle, 50*time.Millisecond, "a certificate that nobody vouches for")
		assert.Empty(t, zone.names("/meshes"))
	})
}
