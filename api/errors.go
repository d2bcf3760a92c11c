package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/meridian-mesh/meridian/resource"
)

// Conditions that only the API knows.
var (
	errBadRequest = errors.New("bad request")              // neither JSON nor a parameter as it should be
	errMediaType  = errors.New("not application/json")     // a body of another kind
	errNotOwner   = errors.New("written on another plane") // the resource or kind belongs elsewhere
	errInUse      = errors.New("resource is in use")       // deleting it would pull it from under others
	errDenied     = errors.New("access denied")            // the caller may not do that

	errUnauthenticated = errors.New("credential is not valid")
	errReadOnly        = errors.New("read-only") // nobody writes on this plane
)

// failure adds to an error the words that Kuma's clients show for it. The error decides the status.
type failure struct {
	title  string // "": the status's, or the route's
	detail string // "": the status's
	params []resource.Violation
	err    error
}

func (f *failure) Error() string {
	if f.detail != "" {
		return f.detail
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// badParameter is a query parameter that does not parse.
func badParameter(detail, field, reason string) error {
	return &failure{detail: detail, params: []resource.Violation{{Field: field, Reason: reason}}, err: errBadRequest}
}

// statusClientGone is what nginx and Kuma log when nobody waits for the answer any more.
const statusClientGone = 499

// statuses maps errors to HTTP, first match first. title "": the operation's; detail "": the error's own text.
var statuses = []struct {
	err           error
	status        int
	title, detail string
}{
	{errStopping, http.StatusServiceUnavailable, "", ""},
	{errBadRequest, http.StatusBadRequest, "", ""},
	{errInUse, http.StatusBadRequest, "", ""},
	{errMediaType, http.StatusUnsupportedMediaType, "Unsupported media type", ""},
	{errNotOwner, http.StatusMethodNotAllowed, "Method not allowed", ""},
	{errReadOnly, http.StatusMethodNotAllowed, "Method not allowed", ""},
	{errUnauthenticated, http.StatusUnauthorized, "Invalid authentication data", ""},
	{errDenied, http.StatusForbidden, "Access Denied", ""},
	{resource.ErrNotFound, http.StatusNotFound, "", "Not found"},
	{resource.ErrConflict, http.StatusConflict, "Conflict", ""},
	{resource.ErrDamaged, http.StatusInternalServerError, "", "The store is damaged"},
	{resource.ErrCompacted, http.StatusInternalServerError, "", "Internal Server Error"},
	{resource.ErrClosed, http.StatusServiceUnavailable, "", "The control plane is stopping"},
	{syscall.ENOSPC, http.StatusInsufficientStorage, "", "The disk is full: nothing was written"},
	{context.Canceled, statusClientGone, "", "The client went away"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "", "Timed out"},
}

// status returns what err means on HTTP. It is the only place that knows.
func status(err error) (code int, title, detail string) {
	if _, ok := errors.AsType[*resource.InvalidError](err); ok {
		return http.StatusBadRequest, "", "Resource is not valid"
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, "Request is too large", fmt.Sprintf("The limit is %d bytes", tooLarge.Limit)
	}
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			detail = row.detail
			if detail == "" {
				detail = err.Error()
			}
			return row.status, row.title, detail
		}
	}
	return http.StatusInternalServerError, "", "Internal Server Error"
}

// problem is Kuma's error document. Details and Causes are its older names for Detail and Invalid.
type problem struct {
	Type    string      `json:"type"`
	Status  int         `json:"status"`
	Title   string      `json:"title"`
	Detail  string      `json:"detail"`
	Invalid []parameter `json:"invalid_parameters,omitempty"`
	Details string      `json:"details"`
	Causes  []cause     `json:"causes,omitempty"`
}

type parameter struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

type cause struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// newProblem returns the document of err for an operation that has this title.
func newProblem(title string, err error) *problem {
	p := &problem{Type: "/std-errors", Title: title}
	code, statusTitle, detail := status(err)
	p.Status, p.Detail = code, detail
	if statusTitle != "" {
		p.Title = statusTitle
	}
	var violations []resource.Violation
	if invalid, ok := errors.AsType[*resource.InvalidError](err); ok {
		violations = invalid.Violations
	}
	if f, ok := errors.AsType[*failure](err); ok {
		if f.title != "" {
			p.Title = f.title
		}
		if f.detail != "" {
			p.Detail = f.detail
		}
		violations = append(violations, f.params...)
	}
	for _, v := range violations {
		p.Invalid = append(p.Invalid, parameter{v.Field, v.Reason})
		p.Causes = append(p.Causes, cause{v.Field, v.Reason})
	}
	p.Details = p.Detail
	return p
}

// fail answers with the error document of err.
func (s *server) fail(w http.ResponseWriter, r *http.Request, title string, err error) {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(r.Context()), errStopping) {
		err = errStopping
	}
	p := newProblem(title, err)
	if p.Status >= http.StatusInternalServerError {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	switch p.Status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, p.Status, p)
}

// writeJSON answers with v, pretty-printed as Kuma does. That v cannot be marshalled is a bug of ours, and that the
// client does not take it is the client's affair.
func writeJSON(w http.ResponseWriter, code int, v any) error { return encodeJSON(w, code, v, " ") }

// writeCompact answers with v without white space: for answers of megabytes, where putting it in costs more than all the
// rest.
func writeCompact(w http.ResponseWriter, code int, v any) error { return encodeJSON(w, code, v, "") }

func encodeJSON(w http.ResponseWriter, code int, v any, indent string) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	enc.Encode(v)
	return nil
}
