package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/resource"
)

func TestWhatNoMessageCanHoldIsRefusedWhereItIsWritten(t *testing.T) {
	t.Parallel()
	limit := func(c *api.Config) { c.MaxSynced = 2000 }
	large := service("big", "note", strings.Repeat("x", 60))
	large["spec"].(object)["selector"] = object{"dataplaneTags": object{"app": strings.Repeat("y", 3000)}}

	for name, p := range map[string]*plane{
		"a federated zone": newPlane(t, resource.Plane{Zone: "east", Federated: true}, limit),
		"a zone alone":     newPlane(t, alone, limit),
	} {
		want := http.StatusBadRequest
		if name == "a zone alone" {
			want = http.StatusCreated // it goes nowhere
		}
		a := p.must(want, "PUT", "/meshes/default/meshservices/big", large)
		if want == http.StatusBadRequest {
			assert.Regexp(t, `MeshService default/big has 3\d\d\d bytes, and a message to another control plane takes 2000`, a.Body.String())
		}
		p.must(http.StatusCreated, "PUT", "/meshes/default/meshservices/small", service("small"))
	}
	mesh := object{"type": "Mesh", "name": "big", "labels": object{}}
	for _, c := range strings.Split(strings.Repeat("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z", 1), ",") {
		mesh["labels"].(object)[c] = strings.Repeat("x", 63)
		mesh["labels"].(object)[c+c] = strings.Repeat("x", 63)
	}
	a := newPlane(t, onGlobal, limit).must(http.StatusBadRequest, "PUT", "/meshes/big", mesh)
	assert.Contains(t, a.Body.String(), "Mesh big has ")
}
