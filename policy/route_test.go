package policy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

func TestMatchesAreDescribedInOneLine(t *testing.T) {
	t.Parallel()
	path := func(kind policy.HTTPPathMatchType, value string) *policy.HTTPPathMatch {
		return &policy.HTTPPathMatch{Type: kind, Value: value}
	}
	header := func(kind policy.HeaderMatchType, value string) policy.HTTPMatch {
		return policy.HTTPMatch{Headers: []policy.HeaderMatch{{Type: kind, Name: "x", Value: value}}}
	}
	for want, match := range map[string]policy.HTTPMatch{
		"*":             {},
		"GET *":         {Method: "GET"},
		"/a":            {Path: path(policy.PathExact, "/a")},
		"/a*":           {Path: path(policy.PathPrefix, "/a")},
		`"/a*"`:         {Path: path(policy.PathExact, "/a*")},
		`~"/a|/b"`:      {Path: path(policy.PathRegularExpression, "/a|/b")},
		"* ?a=b ?c~d":   {QueryParams: []policy.HTTPQueryMatch{{Type: "Exact", Name: "a", Value: "b"}, {Type: "RegularExpression", Name: "c", Value: "d"}}},
		"* x=1":         header(policy.HeaderExact, "1"),
		`* x=""`:        header(policy.HeaderExact, ""),
		`* x="1 2"`:     header(policy.HeaderExact, "1 2"),
		"* x":           header(policy.HeaderPresent, ""),
		"* !x":          header(policy.HeaderAbsent, ""),
		"* x^=1":        header(policy.HeaderPrefix, "1"),
		`* x~".*"`:      header(policy.HeaderRegularExpression, ".*"),
		"PUT /a* x y=1": {Method: "PUT", Path: path(policy.PathPrefix, "/a"), Headers: []policy.HeaderMatch{{Type: policy.HeaderPresent, Name: "x"}, {Name: "y", Value: "1"}}},
	} {
		assert.Equal(t, want, match.String())
	}
}

func TestAStoredRouteThatIsNoneDoesNotParse(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{
		`{"to":[{"targetRef":{"kind":"Mesh"},"rules":{}}]}`,
		`{"to":[{"targetRef":{"kind":"Mesh"},"rules":[{"matches":[{"path":"/a"}]}]}]}`,
		`{"to":[{"targetRef":{"kind":"Mesh"},"hostnames":[1]}]}`,
	} {
		_, err := policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshHTTPRoute", Mesh: "default", Name: "r"}, Spec: []byte(spec)})
		require.ErrorContains(t, err, "MeshHTTPRoute", spec)
	}
	_, err := policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshTCPRoute", Mesh: "default", Name: "r"}, Spec: []byte(`{"to":[{"targetRef":{"kind":"Mesh"},"rules":1}]}`)})
	require.ErrorContains(t, err, "to[0]")
	_, err = policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshTimeout", Mesh: "default", Name: "r"}, Spec: []byte(`{"to":[{"targetRef":{"kind":"Mesh"},"rules":1}]}`)})
	require.NoError(t, err, "what a newer peer may have sent")
}

func TestARouteWithoutRulesSaysNothing(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{`{"to":[{"targetRef":{"kind":"MeshService","name":"a"}}]}`, `{"to":[{"targetRef":{"kind":"MeshService","name":"a"},"rules":[],"hostnames":[]}]}`} {
		p, err := policy.Parse(resource.Resource{Key: resource.Key{Kind: "MeshHTTPRoute", Mesh: "default", Name: "r"}, Spec: []byte(spec)})
		require.NoError(t, err)
		assert.Equal(t, map[string]any{}, p.To[0].Conf)
	}
}
