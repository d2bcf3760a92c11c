package api

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/meridian-mesh/meridian/resource"
)

// sentinels returns the names of the error values that a file declares.
func sentinels(t *testing.T, path string) []string {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		call, ok := spec.Values[0].(*ast.CallExpr)
		if !ok {
			return true
		}
		if fn, ok := call.Fun.(*ast.SelectorExpr); ok && fmt.Sprint(fn.X, fn.Sel) == "errors New" {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	require.NotEmpty(t, names, path)
	return names
}

func TestEveryErrorHasItsStatus(t *testing.T) {
	t.Parallel()
	invalid := &resource.InvalidError{Violations: []resource.Violation{{Field: "name", Reason: "must be given"}}}
	cases := map[string]struct {
		err    error
		status int
		title  string // "op": the operation's
		detail string
	}{
		"ErrNotFound":  {resource.ErrNotFound, 404, "op", "Not found"},
		"ErrConflict":  {resource.ErrConflict, 409, "Conflict", "wrapped: resource version conflict"},
		"ErrCompacted": {resource.ErrCompacted, 500, "op", "Internal Server Error"},
		"ErrDamaged":   {resource.ErrDamaged, 500, "op", "The store is damaged"},
		"ErrClosed":    {resource.ErrClosed, 503, "op", "The control plane is stopping"},

		"errBadRequest": {errBadRequest, 400, "op", "wrapped: bad request"},
		"errDenied":     {errDenied, 403, "Access Denied", "wrapped: access denied"},
		"errInUse":      {errInUse, 400, "op", "wrapped: resource is in use"},
		"errMediaType":  {errMediaType, 415, "Unsupported media type", "wrapped: not application/json"},
		"errNotOwner":   {errNotOwner, 405, "Method not allowed", "wrapped: written on another plane"},
		"errReadOnly":   {errReadOnly, 405, "Method not allowed", "wrapped: read-only"},
		"errStopping":   {errStopping, 503, "op", "wrapped: the control plane is stopping"},

		"errUnauthenticated": {errUnauthenticated, 401, "Invalid authentication data", "wrapped: credential is not valid"},

		"invalid document": {invalid, 400, "op", "Resource is not valid"},
		"body too large":   {&http.MaxBytesError{Limit: 7}, 413, "Request is too large", "The limit is 7 bytes"},
		"disk full":        {syscall.ENOSPC, 507, "op", "The disk is full: nothing was written"},
		"client gone":      {context.Canceled, 499, "op", "The client went away"},
		"timeout":          {context.DeadlineExceeded, 503, "op", "Timed out"},
		"anything else":    {errors.New("secret path"), 500, "op", "Internal Server Error"},
	}
	for name, c := range cases {
		p := newProblem("op", fmt.Errorf("wrapped: %w", c.err))
		assert.Equal(t, c.status, p.Status, name)
		assert.Equal(t, c.title, p.Title, name)
		assert.Equal(t, c.detail, p.Detail, name)
		assert.Equal(t, p.Detail, p.Details, name)
	}
	for _, file := range []string{"../resource/errors.go", "errors.go", "serve.go"} {
		for _, name := range sentinels(t, file) {
			assert.Contains(t, cases, name, "declared in %s and not in this table", file)
		}
	}
	p := newProblem("op", fmt.Errorf("wrapped: %w", invalid))
	assert.Equal(t, []parameter{{"name", "must be given"}}, p.Invalid)
	assert.Equal(t, []cause{{"name", "must be given"}}, p.Causes)
}
