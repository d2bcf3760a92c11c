package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canned is a control plane that answers what it was told to, and notes what was posted.
type canned struct {
	answers map[string]any
	posted  []string
}

func (c *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		c.posted = append(c.posted, r.URL.RequestURI())
	}
	answer, known := c.answers[r.URL.Path]
	if !known {
		http.NotFound(w, r)
		return
	}
	json.NewEncoder(w).Encode(answer)
}

func serve(t *testing.T, c *canned) (address string) {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return server.URL
}

type object = map[string]any

func ago(d time.Duration) string { return time.Now().Add(-d).Format(time.RFC3339Nano) }

func TestSyncStatusShowsWhatIsHeldAndHowToConfirmIt(t *testing.T) {
	t.Parallel()
	plane := &canned{answers: object{
		"/status/sync": object{"peers": []object{
			{"zone": "east", "state": "stalled", "since": ago(90 * time.Second), "heard": ago(4 * time.Second), "version": "v1", "kinds": []object{
				{"kind": "MeshTimeout", "sent": true, "offered": 31, "acked": 30, "applied": 24, "lag": 7, "lagSeconds": 61.5, "messages": 9, "bytes": 4211, "moved": true,
					"rejected": 2, "held": object{"deletes": 12}},
				{"kind": "MeshRetry", "sent": true, "offered": 31, "acked": 31, "applied": 31, "messages": 1, "bytes": 90},
			}},
			{"zone": "west", "state": "online", "since": ago(time.Hour), "kinds": []object{
				{"kind": "Dataplane", "sent": false, "offered": 5, "acked": 5, "applied": 4, "messages": 3, "bytes": 7, "moved": true,
					"held": object{"deletes": 40, "of": 50, "since": ago(5 * time.Minute)}},
			}},
		}},
		"/status/sync/confirm": object{"deleted": 40},
	}}
	address := serve(t, plane)
	code, stdout, stderr := meridian(t, "", "--address", address, "sync", "status")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, strings.Join([]string{
		"ZONE  STATE    SINCE  HEARD  VERSION",
		"east  Stalled  1m30s  4s     v1",
		"west  Online   1h0m   -      -",
		"",
		"ZONE  TYPE         DIRECTION  OFFERED  ACKED  APPLIED  LAG  BEHIND  BYTES  REJECTED",
		"east  MeshTimeout  to         31       30     24       7    1m1.5s  4211   2",
		"west  Dataplane    from       5        5      4        -    -       7      0",
		"",
		"held: east holds back 12 deletes of MeshTimeout; if they are meant, ask it: meridian --address URL-OF-EAST sync confirm meshtimeout",
		"held: a list from west lacks 40 of its 50 Dataplane, for 5m0s; if they are to be deleted: meridian sync confirm dataplane --zone west",
		"",
	}, "\n"), stdout)
	_, stdout, _ = meridian(t, "", "--address", address, "sync", "status", "--all", "east")
	assert.Regexp(t, `(?m)^east +MeshRetry +to `, stdout)
	assert.NotContains(t, stdout, "west")

	for _, args := range [][]string{{"dataplane", "--zone", "west"}, {"Dataplanes"}} {
		code, stdout, stderr = meridian(t, "", append([]string{"--address", address, "sync", "confirm"}, args...)...)
		require.Equal(t, 0, code, stderr)
		assert.Equal(t, "40 dataplanes deleted, as west has asked\n", stdout)
	}
	assert.Equal(t, []string{"/status/sync/confirm?kind=Dataplane&zone=west", "/status/sync/confirm?kind=Dataplane&zone=west"}, plane.posted)
	code, _, stderr = meridian(t, "", "--address", address, "sync", "confirm", "meshtimeout")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "no deletes of MeshTimeout are held here")
	code, _, stderr = meridian(t, "", "--address", address, "sync", "confirm", "dataplane", "--zone", "wests")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, `zone "wests" not found; did you mean west?`)
	assert.Len(t, plane.posted, 2)
}

func TestSyncExplainSaysWhy(t *testing.T) {
	t.Parallel()
	plane := &canned{answers: object{"/meshes/default/meshtimeouts/x/_sync": object{
		"kri": "kri_mt_default___x_", "revision": 12, "written": ago(time.Hour), "peers": []object{
			{"zone": "", "outcome": "applied", "revision": 12, "since": ago(time.Minute)},
			{"zone": "a", "outcome": "pending", "state": "offline", "stateSince": ago(time.Minute)},
			{"zone": "b", "outcome": "pending", "state": "unknown", "stateSince": ago(time.Minute)},
			{"zone": "c", "outcome": "quarantined", "code": "invalid", "reason": "spec.to: is bad", "since": ago(time.Second)},
			{"zone": "d", "outcome": "out-of-scope", "rule": "same-zone"},
			{"zone": "e", "outcome": "out-of-scope", "rule": "lacks-schema-level", "reason": "peer lacks MeshTimeout 2"},
		},
	}}}
	code, stdout, stderr := meridian(t, "", "--address", serve(t, plane), "sync", "explain", "mt/x")
	require.Equal(t, 0, code, stderr)
	for _, line := range []string{
		`meshtimeout kri_mt_default___x_, revision 12, stored here 1h0m ago`,
		`global +applied@12 +1m0s +-`,
		`a +pending +- +offline for 1m0s`,
		`b +pending +- +not connected since the start of this control plane 1m0s ago`,
		`c +quarantined\(invalid\) +1s +spec.to: is bad`,
		`d +out of scope\(same-zone\) +- +written in that zone, which has the original`,
		`e +out of scope\(peer lacks MeshTimeout 2\) +- +\S.*`,
	} {
		assert.Regexp(t, "(?m)^"+line+"$", stdout)
	}
	for _, args := range [][]string{{"mt"}, {"mt/"}, {"kri_mt"}, {"meshtimeuot/x"}} {
		code, _, stderr := meridian(t, "", append([]string{"--address", "http://127.0.0.1:1", "sync", "explain"}, args...)...)
		assert.Equal(t, 2, code, "%v: %s", args, stderr)
	}
}

func TestProgressIsOneLineThatIsWrittenAnew(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p := newProgress(&out)
	p.show("nobody sees this")
	p.clear()
	assert.Empty(t, out.String(), "where there is no terminal")
	p.shown = true
	for i := range 2 {
		p.show(fmt.Sprint(i, " of 2"))
	}
	p.clear()
	p.clear()
	assert.Equal(t, "0 of 2\r      \r1 of 2\r      \r", out.String())
}
