package api_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/api"
	"github.com/meridian-mesh/meridian/resource"
)

// as returns the plane as somebody sees it whose requests carry these headers.
func (p *plane) as(header ...string) *plane {
	next := p.Handler
	return &plane{p.t, p.store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		next.ServeHTTP(w, r)
	})}
}

// knowsUsers lets the tokens "john" and "root" count.
func knowsUsers(c *api.Config) {
	c.Access.User = func(_ context.Context, token string) (string, []string, error) {
		switch token {
		case "john":
			return "john", []string{"ops"}, nil
		case "root":
			return "root", []string{"mesh-system:admin"}, nil
		}
		return "", nil, errors.New("token is not valid: it is not a JSON Web Token")
	}
}

func TestWhoAmI(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, knowsUsers)
	who := func(p *plane) string { return p.must(http.StatusOK, "GET", "/who-am-i", nil).Body.String() }
	assert.JSONEq(t, `{"name":"mesh-system:anonymous","groups":["mesh-system:unauthenticated"]}`, who(p))
	assert.JSONEq(t, `{"name":"john","groups":["ops","mesh-system:authenticated"]}`, who(p.as("Authorization", "Bearer john")))
	assert.JSONEq(t, `{"name":"mesh-system:admin","groups":["mesh-system:admin","mesh-system:authenticated"]}`, who(p.local()))
	assert.Contains(t, who(p.local().as("Authorization", "Bearer no good")), "mesh-system:admin", "as Kuma: it is not looked at")
}

func TestATokenThatDoesNotCountIsRefusedEverywhereButAtTheDoor(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, knowsUsers)
	for header, want := range map[string]string{
		"Bearer no good": "credential is not valid: token is not valid: it is not a JSON Web Token",
		"Basic am9objp4": "send Authorization: Bearer TOKEN",
		"Bearer":         "credential is not valid: token is not valid: it is not a JSON Web Token",
	} {
		a := p.as("Authorization", header).must(http.StatusUnauthorized, "GET", "/meshes", nil)
		assert.Equal(t, "Invalid authentication data", a.doc["title"])
		assert.Equal(t, want, a.doc["detail"])
		assert.Equal(t, "Bearer", a.Header().Get("WWW-Authenticate"))
		p.as("Authorization", header).must(http.StatusOK, "GET", "/", nil)
		p.as("Authorization", header).must(http.StatusOK, "GET", "/healthz", nil)
	}
	nobody := newPlane(t, onGlobal)
	nobody.as("Authorization", "Bearer john").must(http.StatusUnauthorized, "GET", "/meshes", nil)
}

func TestAKindForAdministratorsSaysWhoAskedForIt(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, knowsUsers)
	a := p.must(http.StatusForbidden, "GET", "/global-secrets", nil)
	assert.Equal(t, "Access Denied", a.doc["title"])
	assert.Equal(t, `user "mesh-system:anonymous/mesh-system:unauthenticated" cannot access the resource of type "GlobalSecret"`, a.doc["detail"])
	a = p.as("Authorization", "Bearer john").must(http.StatusForbidden, "GET", "/secrets", nil)
	assert.Equal(t, `user "john/ops,mesh-system:authenticated" cannot access the resource of type "Secret"`, a.doc["detail"])
	p.as("Authorization", "Bearer root").must(http.StatusOK, "GET", "/secrets", nil)
	p.as("Authorization", "bearer  root").must(http.StatusOK, "GET", "/secrets", nil)
}

func TestOnlyWhoIsReallyOnThisMachineIsItsAdministrator(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal)
	from := func(p *plane, peer, host string) *plane {
		next := p.Handler
		return &plane{t, p.store, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr, r.Host = peer, host
			next.ServeHTTP(w, r)
		})}
	}
	for peer, code := range map[string]int{
		"127.0.0.1:1": 200, "127.8.0.1:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200,
		"": 403, "@": 403, "10.0.0.1:80": 403, "[fe80::1]:80": 403, "localhost:80": 403,
	} {
		from(p, peer, "127.0.0.1:5681").must(code, "GET", "/secrets", nil)
	}
	for host, code := range map[string]int{
		"": 200, "localhost": 200, "LocalHost:5681": 200, "127.0.0.1": 200, "[::1]:5681": 200, "cp:5681": 200,
		"evil.example": 403, "evil.example:5681": 403, // a page whose name was turned into 127.0.0.1
	} {
		from(p, "127.0.0.1:1", host).must(code, "GET", "/secrets", nil)
	}
	here := from(p, "127.0.0.1:1", "localhost")
	for _, header := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded"} {
		here.as(header, "127.0.0.1").must(http.StatusForbidden, "GET", "/secrets", nil)
	}
	here.as("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site").must(http.StatusForbidden, "PUT", "/meshes/m", object{"type": "Mesh", "name": "m"})

	mesh := object{"type": "Mesh", "name": "m"}
	from(p, "127.0.0.1:1", "evil.example").must(http.StatusForbidden, "PUT", "/meshes/m", mesh)
	here.as("X-Forwarded-For", "10.0.0.1").must(http.StatusCreated, "PUT", "/meshes/m", mesh)
	anybody := newPlane(t, onGlobal, func(c *api.Config) { c.Access.AnybodyWrites = true })
	from(anybody, "127.0.0.1:1", "mesh.example").must(http.StatusCreated, "PUT", "/meshes/m", mesh)

	strict := newPlane(t, onGlobal, knowsUsers, func(c *api.Config) { c.Access.RemoteOnly = true })
	strict.local().must(http.StatusForbidden, "GET", "/secrets", nil)
	strict.local().as("Authorization", "Bearer root").must(http.StatusOK, "GET", "/secrets", nil)
}

func TestNobodyWritesOnAReadOnlyPlane(t *testing.T) {
	t.Parallel()
	p := newPlane(t, onGlobal, func(c *api.Config) { c.Access.ReadOnly = true }).local()
	a := p.must(http.StatusMethodNotAllowed, "PUT", timeouts+"/x", timeout("x", "1s"))
	assert.Equal(t, "Method not allowed", a.doc["title"])
	assert.Contains(t, a.doc["detail"], "--read-only")
	assert.Equal(t, "GET, HEAD", a.Header().Get("Allow"))
	p.must(http.StatusMethodNotAllowed, "DELETE", "/meshes/default", nil)
	p.must(http.StatusMethodNotAllowed, "POST", "/_apply", object{"documents": []object{}})
	p.must(http.StatusOK, "POST", "/_apply?dry-run=true", object{"documents": []object{{"document": timeout("x", "1s")}}})
	p.must(http.StatusOK, "GET", "/meshes/default", nil)
	for _, path := range []string{"/_resources", "/policies"} {
		assert.NotContains(t, p.get(path).Body.String(), `"readOnly": false`, path)
	}
}

func TestAnonymousWritesCanBeClosed(t *testing.T) {
	t.Parallel()
	open := newPlane(t, onGlobal)
	open.must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	p := newPlane(t, onGlobal, knowsUsers, func(c *api.Config) { c.Access.KnownUsersOnly = true })
	a := p.must(http.StatusForbidden, "PUT", timeouts+"/x", timeout("x", "1s"))
	assert.Contains(t, a.doc["detail"], `user "mesh-system:anonymous/mesh-system:unauthenticated" cannot write`)
	assert.Contains(t, a.doc["detail"], "--anonymous-writes")
	p.must(http.StatusForbidden, "DELETE", "/meshes/default", nil)
	p.must(http.StatusForbidden, "POST", "/_apply", object{"documents": []object{}})
	p.must(http.StatusOK, "GET", "/meshes/default", nil)
	p.as("Authorization", "Bearer john").must(http.StatusCreated, "PUT", timeouts+"/x", timeout("x", "1s"))
	p.local().must(http.StatusOK, "PUT", timeouts+"/x", timeout("x", "2s"))
}

func TestTokensAreIssuedToAdministrators(t *testing.T) {
	t.Parallel()
	var asked []any
	p := newPlane(t, onGlobal, knowsUsers, func(c *api.Config) {
		c.Access.ReadOnly = true // a token is not written anywhere
		c.Tokens = &api.Tokens{
			Zone: func(_ context.Context, zone string, scope []string, validFor time.Duration) (string, error) {
				asked = []any{zone, scope, validFor}
				return "zone.to.ken", nil
			},
			User: func(_ context.Context, name string, groups []string, validFor time.Duration) (string, error) {
				asked = []any{name, groups, validFor}
				return "", resource.ErrNotFound
			},
		}
	})
	root := p.as("Authorization", "Bearer root")
	a := root.must(http.StatusOK, "POST", "/tokens/zone", object{"zone": "east", "scope": []string{"ingress", "cp"}, "validFor": "24h0m0s"})
	assert.Equal(t, "zone.to.ken", a.Body.String())
	assert.Equal(t, "text/plain", a.Header().Get("Content-Type"))
	assert.Equal(t, []any{"east", []string{"ingress", "cp"}, 24 * time.Hour}, asked)
	root.must(http.StatusOK, "POST", "/tokens/zone", object{"zone": "east", "scope": []string{"cp"}})
	assert.Equal(t, 10*365*24*time.Hour, asked[2], "Kuma's default")

	for _, c := range []struct {
		path   string
		body   object
		fields []string
	}{
		{"/tokens/zone", object{"zone": "east"}, []string{"scope"}},
		{"/tokens/zone", object{}, []string{"zone", "scope"}},
		{"/tokens/zone", object{"zone": "Not A Label", "scope": []string{"cp"}, "validFor": "soon"}, []string{"zone", "validFor"}},
		{"/tokens/zone", object{"zone": "east", "scope": []string{"cp"}, "validFor": "-1h"}, []string{"validFor"}},
		{"/tokens/user", object{}, []string{"name", "validFor"}},
	} {
		a := root.must(http.StatusBadRequest, "POST", c.path, c.body)
		assert.Equal(t, "Could not issue a token", a.doc["title"])
		assert.Equal(t, c.fields, a.fields(t))
	}
	a = root.must(http.StatusNotFound, "POST", "/tokens/user", object{"name": "john", "validFor": "1h"})
	assert.Equal(t, "Signing Key not found", a.doc["title"])

	for _, path := range []string{"/tokens/zone", "/tokens/user"} {
		a := p.as("Authorization", "Bearer john").must(http.StatusForbidden, "POST", path, object{})
		assert.Contains(t, a.doc["detail"], `user "john/ops,mesh-system:authenticated" cannot generate `)
		assert.Contains(t, a.doc["detail"], "mesh-system:admin")
	}
	require.Equal(t, http.StatusNotFound, newPlane(t, onGlobal).local().call("POST", "/tokens/zone", object{}).Code, "where nobody issues tokens")
}
