package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// zoneServer answers every request as said, by method and path; of several answers each once, the last for ever.
func zoneServer(t *testing.T, answers map[string][]string) (address string) {
	served := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Method + " " + r.URL.Path
		list := answers[name]
		if !assert.NotEmpty(t, list, "unexpected %s", name) {
			return
		}
		i := min(served[name], len(list)-1)
		served[name]++
		if list[i][0] != '{' {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"title":"Could not delete a resource","detail":"` + list[i] + `"}`))
			return
		}
		_, _ = w.Write([]byte(list[i]))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const waitsForWest = `{"zone":"east","state":"draining","connected":true,"withdrawn":{"MeshTimeout":1,"MeshService":2},"waiting":[{"zone":"west","state":"offline","since":"2026-01-02T03:04:05Z","kinds":["MeshService"]}],"safe":false}`

func TestZonesAreSwitchedDrainedAndDeleted(t *testing.T) {
	t.Parallel()
	address := zoneServer(t, map[string][]string{
		"POST /zones/east/_disable": {`{"zone":"east","state":"disabled","connected":true,"withdrawn":{"MeshTimeout":1,"MeshService":2}}`},
		"POST /zones/east/_enable":  {`{"zone":"east","state":"enabled"}`},
		"POST /zones/east/_drain":   {waitsForWest},
		"GET /zones/east/_drain":    {waitsForWest, `{"zone":"east","state":"drained","connected":true,"waiting":[]}`},
		"DELETE /zones/east":        {"unable to delete Zone, Zone CP is still connected, please shut it down first", `{"deleted":{"Zone":1,"ZoneInsight":1,"MeshTimeout":4}}`},
	})
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"disable", "east"}, 0, "zone east is disabled: 2 MeshService, 1 MeshTimeout withdrawn from the other zones\n", ""},
		{[]string{"enable", "east"}, 0, "zone east is enabled: what it shares goes to the other zones\n", ""},
		{[]string{"drain", "east"}, 0, "zone east is drained, nothing of it is in another zone: stop its control plane, then meridian zones delete east\n",
			`zone east is draining: 2 MeshService, 1 MeshTimeout withdrawn from the other zones\nwaiting for west \(offline for .*\)`},
		{[]string{"delete", "east"}, 1, "", "zone east: .*still connected"},
		{[]string{"delete", "east"}, 0, "zone east deleted, and with it 4 MeshTimeout, 1 ZoneInsight\n", ""},
		{[]string{"delete", "East"}, 2, "", "no name of a zone"},
		{[]string{"drain"}, 2, "", "accepts 1 arg"},
	} {
		code, stdout, stderr := meridian(t, "", append([]string{"--address", address, "zones"}, c.args...)...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		assert.Equal(t, c.stdout, stdout, "%v", c.args)
		assert.Regexp(t, c.stderr, stderr, "%v", c.args)
	}
	code, stdout, _ := meridian(t, "", "--address", address, "zones", "drain", "east", "-o", "json")
	assert.Equal(t, 0, code)
	assert.JSONEq(t, waitsForWest, stdout)
}

func TestDrainThatTakesTooLongNamesWhoIsMissing(t *testing.T) {
	t.Parallel()
	address := zoneServer(t, map[string][]string{"POST /zones/east/_drain": {waitsForWest}, "GET /zones/east/_drain": {waitsForWest}})
	code, stdout, stderr := meridian(t, "", "--address", address, "zones", "drain", "east", "--timeout", "1ms")
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout)
	assert.Regexp(t, `zone east is not drained after 1ms: west \(offline for .*\) may still hold what it shared`, stderr)
}
