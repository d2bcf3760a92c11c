package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage/bolt"
	"github.com/meridian-mesh/meridian/zone/resolver"
)

func TestSyncIsAnsweredConfirmedAndRetried(t *testing.T) {
	t.Parallel()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { st.Close() })
	_, err = st.Apply(t.Context(), resource.Put(resource.Resource{Key: resource.Key{Kind: "Mesh", Name: "default"}, Spec: []byte{}}))
	require.NoError(t, err)
	var asked []string
	h := api.New(api.Config{
		Store: st, Resolver: resolver.New(resolver.Config{Source: st}), Schemas: policy.Schemas(),
		Sync: &api.Sync{
			Status: func(context.Context) (any, error) { return []string{"east is online"}, nil },
			Of: func(_ context.Context, list []resource.Resource, peers []string, wait time.Duration) (of []any, settled []bool, err error) {
				asked = append(asked, fmt.Sprint(peers, " ", wait))
				for _, r := range list {
					of, settled = append(of, []string{r.Name + " is applied"}), append(settled, true)
				}
				return of, settled, nil
			},
			Trace: func(_ context.Context, r resource.Resource) (any, error) {
				return []string{r.Name + " was written"}, nil
			},
			Confirm: func(_ context.Context, zone, kind string) (int, error) {
				asked = append(asked, zone+" "+kind)
				if kind == "Dataplane" {
					return 0, fmt.Errorf("held deletes: %w", resource.ErrNotFound)
				}
				return 7, nil
			},
			Retry: func(zone string, id resource.Identity) error { asked = append(asked, zone+" "+id.String()); return nil },
		},
	})
	_, err = st.Apply(t.Context(), resource.Put(resource.Resource{Key: resource.Key{Kind: "Zone", Name: "east"}, Spec: []byte{}}))
	require.NoError(t, err)
	send := func(r *http.Request, want int) map[string]any {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, "%s %s: %s", r.Method, r.URL, w.Body)
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		return body
	}
	do := func(method, path string, want int) map[string]any {
		t.Helper()
		return send(httptest.NewRequest(method, path, nil), want)
	}
	assert.Equal(t, []any{"east is online"}, do("GET", "/status/sync", http.StatusOK)["peers"])
	assert.Equal(t, []any{"default is applied"}, do("GET", "/meshes/default/_sync", http.StatusOK)["peers"])
	do("GET", "/meshes/none/_sync", http.StatusNotFound)
	assert.Equal(t, []any{"default was written"}, do("GET", "/meshes/default/_trace", http.StatusOK)["hops"])
	for _, path := range []string{"/meshes/default/_sync?wait=soon", "/meshes/default/_sync?wait=1h"} {
		do("GET", path, http.StatusBadRequest)
	}
	near := do("GET", "/meshes/default/_sync?zones=eastt", http.StatusNotFound)
	assert.Contains(t, near["detail"], `zone "eastt": Not found; nearest: "east"`)
	many := func(body string, want int) map[string]any {
		r := httptest.NewRequest("POST", "/status/sync/of?zones=east&wait=2s", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return send(r, want)
	}
	got := many(`{"resources":["kri_m____default_","kri_m____default_"]}`, http.StatusOK)["resources"].([]any)
	require.Len(t, got, 2)
	assert.Equal(t, []any{"default is applied"}, got[0].(map[string]any)["peers"])
	assert.Equal(t, true, got[0].(map[string]any)["settled"])
	many(`{"resources":["default"]}`, http.StatusBadRequest)
	many(`{"resources":["kri_m____other_"]}`, http.StatusNotFound)
	assert.EqualValues(t, 7, do("POST", "/status/sync/confirm?zone=east&kind=MeshTimeout", http.StatusOK)["deleted"])
	do("POST", "/status/sync/confirm?zone=east&kind=Dataplane", http.StatusNotFound)
	do("POST", "/status/sync/confirm?zone=east&kind=Nothing", http.StatusBadRequest)
	do("POST", "/status/sync/retry?zone=east&kri=kri_mt_default_east_shop_slow_", http.StatusOK)
	do("POST", "/status/sync/retry?zone=east&kri=slow", http.StatusBadRequest)
	assert.Equal(t, []string{
		"[] 0s", "[east] 2s", "east MeshTimeout", "east Dataplane", "east kri_mt_default_east_shop_slow_",
	}, asked)
}
