package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGlobalAnswersForAZoneThatIsGoneAndSaysSo(t *testing.T) {
	t.Parallel()
	global, zones := federation(t, "east")
	east := zones["east"]
	east.put("/meshes/default/dataplanes/web", `{"type":"Dataplane","mesh":"default","name":"web","networking":{"address":"192.0.2.1",
		"inbound":[{"port":80,"tags":{"kuma.io/service":"web"}}]}}`)
	east.put("/meshes/default/meshservices/backend", `{"type":"MeshService","mesh":"default","name":"backend",
		"spec":{"selector":{"dataplaneTags":{"app":"backend"}},"ports":[{"port":80,"appProtocol":"http"}]}}`)
	east.put(timeoutPath("t", ""), timeoutDoc("t", "", "4s"))
	for _, kri := range []string{"dataplanes/kri_dp_default_east__web_", "meshservices/kri_msvc_default_east__backend_", "meshtimeouts/kri_mt_default_east__t_"} {
		global.await("/meshes/default/" + kri)
	}
	const want = "web (east) to backend (east)\n  MeshTimeout connectionTimeout is 4s\n    t (system, zone east) set it in to[0]\n"
	code, stdout, stderr := global.cli("explain", "web", "--to", "backend")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, want)
	assert.Empty(t, stderr, "the zone is online")

	_, header, _, err := global.request(t.Context(), http.MethodGet, "/zone-insights/east", "")
	require.NoError(t, err)
	east.kill()
	for tag := header.Get("ETag"); ; { // the insight may change for other reasons before
		code, header, body, err := global.request(t.Context(), http.MethodGet, "/zone-insights/east?wait="+settle.String(), "", "If-None-Match", tag)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, body)
		if tag = header.Get("ETag"); strings.Contains(body, "disconnectTime") {
			break
		}
	}
	code, stdout, stderr = global.cli("explain", "web", "--to", "backend")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, want, "what it sent is still known")
	assert.Regexp(t, `^warning: zone east is offline and was last heard of \d+s ago: `, stderr)
}
