package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// file writes a document to a file of its own.
func file(t *testing.T, doc string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "doc.json")
	require.NoError(t, os.WriteFile(path, []byte(doc), 0o600))
	return path
}

// steady replaces what differs from run to run: times, revisions, durations, and the width of columns.
func steady(out string) string {
	for _, r := range []struct{ pattern, by string }{
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`, "TIME"},
		{`revision \d+`, "revision N"},
		{`@\d+`, "@N"},
		{`\b\d+(\.\d+)?(ns|µs|ms|s|m\d+s)\b`, "DURATION"},
		{` {2,}`, "  "},
		{`(?m) +$`, ""},
	} {
		out = regexp.MustCompile(r.pattern).ReplaceAllString(out, r.by)
	}
	return out
}

// occupant is the document that takes the name in a zone under which a policy of global arrives there.
func occupant(name string) (path, doc string) {
	parts := strings.Split(wirePath(name, "", ""), "/")
	taken := parts[len(parts)-1]
	return timeoutPath(taken, ""), strings.Replace(timeoutDoc(taken, "", "9s"), `"spec"`, `"labels":{"kuma.io/origin":"zone"},"spec"`, 1)
}

func TestApplyWaitsForEveryZone(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east", "north", "west")
	west := zones["west"]

	code, stdout, stderr := global.cli("apply", "--wait", "-f", file(t, timeoutDoc("good", "", "1s")))
	require.Equal(t, 0, code, stderr)
	assert.Empty(t, stderr, "no progress where there is no terminal")
	assert.Equal(t, "meshtimeout good created  system  matches 0 proxies\napplied in east, north, west after DURATION\n", steady(stdout))
	for _, zone := range zones { // it is there, nobody has to wait any more
		assert.Equal(t, []string{"good"}, zone.names("/meshes/default/meshtimeouts"))
	}

	_, _, metrics, err := global.request(t.Context(), "GET", "/metrics", "")
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^meridian_sync_commit_to_applied_seconds_count\{type="MeshTimeout",zone="north"\} 1$`, metrics)
	assert.Contains(t, metrics, `meridian_sync_lag_revisions{type="MeshTimeout",zone="west"} 0`)
	_, _, metrics, err = west.request(t.Context(), "GET", "/metrics", "")
	require.NoError(t, err)
	assert.Contains(t, metrics, `meridian_sync_peer_state{state="online",zone="global"} 1`)

	path, doc := occupant("bad")
	west.put(path, doc)
	global.await("/meshes/default/meshtimeouts/" + strings.TrimPrefix(wirePath(filepath.Base(path), "", "west"), "/meshes/default/meshtimeouts/"))
	code, stdout, stderr = global.cli("apply", "--wait", "-f", file(t, timeoutDoc("bad", "", "1s")))
	assert.Equal(t, 1, code)
	assert.Equal(t, "meshtimeout bad created  system  matches 0 proxies\n", steady(stdout))
	assert.Contains(t, stderr, "meshtimeout bad: rejected by west: occupied: ")
	assert.Contains(t, stderr, "meridian: 1 resource was rejected\n")
	code, _, stderr = global.cli("apply", "--wait=east,north", "-f", file(t, timeoutDoc("bad", "", "2s")))
	assert.Equal(t, 0, code, "the others have it: %s", stderr)

	code, stdout, stderr = global.cli("sync", "explain", "meshtimeout/bad")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `^meshtimeout kri_mt_default___bad_, revision N, stored here DURATION ago
ZONE  SYNC  AGE  WHY
east  applied@N  DURATION  -
north  applied@N  DURATION  -
west  rejected\(occupied\)  DURATION  .*
$`, steady(stdout))
	for _, args := range [][]string{{"kri_mt_default___bad_"}, {"mt", "bad"}, {"MeshTimeout/bad"}} {
		_, again, stderr := global.cli(append([]string{"sync", "explain"}, args...)...)
		assert.Equal(t, steady(stdout), steady(again), "%v: %s", args, stderr)
	}
	code, _, stderr = global.cli("sync", "explain", "meshtimeout/badd")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `"bad"`, "the nearest name")

	code, stdout, stderr = global.cli("sync", "trace", "meshtimeout/good")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, `kri_mt_default___good_
TIME  AFTER  PLANE  EVENT  DETAIL
TIME  DURATION  global  written  revision N
TIME  DURATION  global  sent  to east, with all up to revision N
TIME  DURATION  east  acked  revision N
TIME  DURATION  east  applied  revision N
TIME  DURATION  global  sent  to north, with all up to revision N
TIME  DURATION  north  acked  revision N
TIME  DURATION  north  applied  revision N
TIME  DURATION  global  sent  to west, with all up to revision N
TIME  DURATION  west  acked  revision N
TIME  DURATION  west  applied  revision N
`, strings.ReplaceAll(steady(stdout), "  0s  ", "  DURATION  "))

	// Repaired: the name is free again, and global offers it again.
	code, _, stderr = west.cli("delete", "meshtimeout", filepath.Base(path))
	require.Equal(t, 0, code, stderr)
	code, stdout, stderr = global.cli("sync", "retry", "meshtimeout/bad", "--zone", "west")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "is offered to west again; it was rejected for: occupied: ")
	code, stdout, stderr = global.cli("apply", "--wait", "-f", file(t, timeoutDoc("bad", "", "2s")))
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, steady(stdout), "applied in east, north, west after ")
	code, _, stderr = global.cli("sync", "retry", "meshtimeout/bad")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "nobody has rejected meshtimeout kri_mt_default___bad_")
}

func TestApplyNamesTheZonesThatAreAway(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east", "west")
	zones["west"].kill()
	require.Eventually(t, func() bool {
		_, stdout, _ := global.cli("sync", "status", "west")
		return strings.Contains(stdout, "Offline")
	}, settle, 10*time.Millisecond)

	code, stdout, stderr := global.cli("apply", "--wait", "--timeout", "300ms", "-o", "json", "-f", file(t, timeoutDoc("x", "", "1s")))
	assert.Equal(t, 3, code)
	assert.Regexp(t, `meshtimeout x: pending in west \(offline for \d+s\)\nmeridian: 1 resource is not settled after 300ms\n$`, stderr)
	var results []struct {
		Sync []struct{ Zone, Outcome string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &results))
	require.Len(t, results[0].Sync, 2)
	assert.Equal(t, "applied", results[0].Sync[0].Outcome)
	assert.Equal(t, "pending", results[0].Sync[1].Outcome)

	code, _, stderr = global.cli("apply", "--wait=wests", "-f", file(t, timeoutDoc("y", "", "1s")))
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `"west"`, "the nearest zone")
	assert.NotContains(t, global.names("/meshes/default/meshtimeouts"), "y", "nothing was written")
	for _, args := range [][]string{{"--timeout", "1s"}, {"--wait", "--dry-run"}, {"--wait", "--timeout", "0s"}} {
		code, _, _ = global.cli(append([]string{"apply", "-f", file(t, timeoutDoc("y", "", "1s"))}, args...)...)
		assert.Equal(t, 2, code, "%v", args)
	}

	_, stdout, _ = global.cli("sync", "status")
	assert.Regexp(t, `(?m)^ZONE +STATE +SINCE +HEARD +VERSION\neast +Online +\d+s +\d+s +\S+\nwest +Offline +\d+s +\S+ +\S+\n`, stdout)
	assert.Regexp(t, `(?m)^west +MeshTimeout +to +\d+ +\d+ +\d+ +[1-9]\d* +\S+ +\d+ +0$`, stdout, "it lags")
	assert.Regexp(t, `(?m)^east +MeshTimeout +to +(\d+) .* 0 +0s +\d+ +0$`, stdout)
	code, _, stderr = global.cli("sync", "status", "eastt")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "did you mean east?")
	zones["west"].start()
	code, _, stderr = global.cli("apply", "--wait", "--timeout", settle.String(), "-f", file(t, timeoutDoc("x", "", "1s")))
	assert.Equal(t, 0, code, stderr)
}

func TestApplyInAZoneWaitsForGlobal(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east", "west")
	east := zones["east"]
	code, stdout, stderr := east.cli("apply", "--wait", "-f", file(t, timeoutDoc("mine", "shop", "1s")))
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, steady(stdout), "applied in global, west after ", "a producer policy goes on to the other zones")
	assert.NotEmpty(t, zones["west"].await(wirePath("mine", "shop", "east")))
	r := resource.Resource{
		Key:    resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "mine"},
		Labels: map[string]string{resource.LabelZone: "east", resource.LabelNamespace: "shop"},
	}
	code, stdout, stderr = global.cli("sync", "explain", r.Identity().String())
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^east +out of scope\(same-zone\) `, stdout)
	assert.Regexp(t, `(?m)^west +applied@\d+ `, stdout)
	code, stdout, stderr = east.cli("sync", "trace", "mt/mine")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?s)east +written .* east +sent .* global +acked .* global +applied .* global +received .* global +sent .* west +applied `, stdout)
	code, stdout, stderr = east.cli("sync", "explain", "mt/mine")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^global +applied@\d+ .*\nwest +applied@\d+ `, stdout)
	code, _, stderr = east.cli("apply", "--wait=wests", "-f", file(t, timeoutDoc("more", "shop", "1s")))
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `zone "wests"`)
	assert.NotContains(t, east.names("/meshes/default/meshtimeouts"), "more", "nothing was written")
	code, stdout, stderr = east.cli("sync", "status")
	require.Equal(t, 0, code, stderr)
	assert.Regexp(t, `(?m)^global +Online `, stdout)
	assert.Regexp(t, `(?m)^global +MeshTimeout +to `, stdout)

	alone := newZone(t, "alone", nil, "--http-addr", "127.0.0.1:0")
	code, _, stderr = alone.cli("sync", "status")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "zone alone runs without a global control plane")
	code, _, stderr = alone.cli("apply", "--wait", "-f", file(t, timeoutDoc("mine", "shop", "1s")))
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "zone alone runs without a global control plane")
}
