package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/resource"
)

func TestEnvoyOfAProxyIsAsked(t *testing.T) {
	t.Parallel()
	var proxy resource.Resource
	var question api.EnvoyQuestion
	p := newPlane(t, alone, func(c *api.Config) {
		c.Envoy = func(_ context.Context, r resource.Resource, q api.EnvoyQuestion) ([]byte, error) {
			proxy, question = r, q
			if r.Name == "down" {
				return nil, errors.New("could not send StatsRequest: client west is not connected")
			}
			return []byte(`{"a":1}`), nil
		}
	})
	p.apply(http.StatusOK, "", dataplane("web"), dataplane("down"))
	p.stored(resource.Resource{Key: resource.Key{Kind: "ZoneIngress", Name: "in"}, Spec: []byte{}},
		resource.Resource{Key: resource.Key{Kind: "ZoneEgress", Name: "out"}, Spec: []byte{}})
	for path, want := range map[string]struct {
		question api.EnvoyQuestion
		media    string
	}{
		"/meshes/default/dataplanes/web/xds":                  {api.EnvoyQuestion{View: "xds"}, "application/json"},
		"/meshes/default/dataplanes/web/xds?include_eds=true": {api.EnvoyQuestion{View: "xds", IncludeEDS: true}, "application/json"},
		"/meshes/default/dataplanes/web/stats":                {api.EnvoyQuestion{View: "stats"}, "text/plain"},
		"/meshes/default/dataplanes/web/clusters?format=json": {api.EnvoyQuestion{View: "clusters", JSON: true}, "application/json"},
		"/zoneingresses/in/xds":                               {api.EnvoyQuestion{View: "xds"}, "application/json"},
		"/zoneegresses/out/clusters":                          {api.EnvoyQuestion{View: "clusters"}, "text/plain"},
	} {
		a := p.must(http.StatusOK, "GET", path, nil)
		assert.Equal(t, `{"a":1}`, a.Body.String(), path)
		assert.Equal(t, want.media, a.Header().Get("Content-Type"), path)
		assert.Equal(t, want.question, question, path)
		assert.NotEmpty(t, proxy.Name, path)
	}
	a := p.must(http.StatusBadRequest, "GET", "/meshes/default/dataplanes/down/stats", nil)
	assert.Equal(t, "could not send StatsRequest: client west is not connected", a.doc["detail"])
	p.must(http.StatusBadRequest, "GET", "/meshes/default/dataplanes/web/stats?format=xml", nil)
	p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/none/stats", nil)
	p.must(http.StatusNotFound, "GET", "/meshes/default/dataplanes/web/listeners", nil)
}
