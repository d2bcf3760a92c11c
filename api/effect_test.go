package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEffectComesInPages(t *testing.T) {
	t.Parallel()
	p := newPlane(t, inEast)
	for i := range 5 {
		name := fmt.Sprint("dp", i)
		p.must(http.StatusCreated, "PUT", "/meshes/default/dataplanes/"+name, map[string]any{
			"type": "Dataplane", "mesh": "default", "name": name,
			"networking": map[string]any{"address": "10.0.0.1", "inbound": []any{map[string]any{"port": 80, "tags": map[string]any{"kuma.io/service": "s"}}}},
		})
	}
	p.must(http.StatusCreated, "PUT", timeouts+"/t", timeout("t", "1s"))
	first := timeouts + "/t/_effect?size=2"
	var pages [][]string
	for path := first; path != ""; {
		doc := p.get(path).doc
		assert.EqualValues(t, 5, doc["total"])
		var names []string
		for _, e := range doc["effects"].([]any) {
			for _, dp := range e.(map[string]any)["dataplanes"].([]any) {
				names = append(names, dp.(map[string]any)["name"].(string))
			}
		}
		pages, path = append(pages, names), ""
		if next, ok := doc["next"]; ok {
			parsed, err := url.Parse(next.(string))
			require.NoError(t, err)
			path = parsed.RequestURI()
		}
	}
	assert.Equal(t, [][]string{{"dp0", "dp1"}, {"dp2", "dp3"}, {"dp4"}}, pages)

	doc := p.get(timeouts + "/t/_effect?name=p3").doc
	assert.EqualValues(t, 1, doc["total"])
	assert.Len(t, doc["effects"], 1)
	assert.NotContains(t, doc, "next")
	doc = p.get(timeouts + "/t/_effect?offset=9").doc
	assert.EqualValues(t, 5, doc["total"])
	assert.Empty(t, doc["effects"])
	p.must(http.StatusBadRequest, "GET", timeouts+"/t/_effect?size=1001", nil)
}
