package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/meridian-mesh/meridian/resource"
)

// written is the answer to PUT.
type written struct {
	Warnings []string `json:"warnings,omitempty"`
}

// put writes one document: 201 when it is new, 200 otherwise.
func (s *server) put(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	if err := writable(s.Plane, d); err != nil {
		return err
	}
	doc, err := s.readPut(d, w, r)
	if err != nil && d.Scope == resource.ScopeMesh {
		// That there is no such mesh says more than what is wrong with the document. The commit looks again.
		if err := s.requireMesh(r.Context(), requestMesh(r)); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	o := commitOptions{}
	if o.strictRole, err = flag(r, "strict-role"); err != nil {
		return err
	}
	if err := s.commit(r.Context(), []*draft{doc}, o); err != nil {
		return err
	}
	if doc.err != nil {
		return doc.err
	}
	s.warnUnresolved(r.Context(), []*draft{doc}, false)
	code := http.StatusOK
	if doc.action == actionCreated {
		code = http.StatusCreated
	}
	return writeJSON(w, code, written{doc.warnings})
}

// readPut returns the document that a request brings.
func (s *server) readPut(d resource.Descriptor, w http.ResponseWriter, r *http.Request) (*draft, error) {
	body, err := readJSON(w, r, s.MaxBody)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		key := resource.Key{Kind: d.Kind, Mesh: requestMesh(r), Name: r.PathValue("name")}
		size := "more bytes"
		if r.ContentLength > 0 {
			size = fmt.Sprintf("%d bytes", r.ContentLength)
		}
		return nil, &failure{detail: fmt.Sprintf("%s has %s, and a document may have %d", key, size, tooLarge.Limit), err: err}
	}
	if err != nil {
		return nil, err
	}
	res, err := s.parse(body, lenient(r))
	if err != nil {
		return nil, err
	}
	return &draft{Resource: res, ifMatch: r.Header.Get("If-Match")}, sameAsPath(d, r, res)
}

// lenient says whether the request wants unknown fields dropped, as Kuma does, instead of refused.
func lenient(r *http.Request) bool { return r.URL.Query().Get("strict") == "false" }

// flag returns a parameter of the query that is true or false; left out it is false.
func flag(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, badParameter("Invalid parameter", name, fmt.Sprintf("%q is not true or false", text))
	}
	return value, nil
}

// readJSON returns the body, which must be JSON of at most limit bytes.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if !isJSON(r) {
		return nil, &failure{detail: "send the document with Content-Type: application/json", err: errMediaType}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, err
	} else if err != nil {
		return nil, &failure{title: "Bad Request", detail: "the body ended early", err: errBadRequest}
	}
	if !json.Valid(body) {
		var any json.RawMessage
		return nil, &failure{title: "Bad Request", detail: fmt.Sprint(json.Unmarshal(body, &any)), err: errBadRequest}
	}
	return body, nil
}

// parse returns the one document that data is. With an error, the resource has the key as far as it is known.
func (s *server) parse(data []byte, lenient bool) (resource.Resource, error) {
	docs, err := s.Schemas.Read("", data, resource.ReadOptions{Lenient: lenient, MaxBytes: int(s.MaxBody)})
	if invalid, ok := errors.AsType[*resource.InvalidError](err); ok {
		return resource.Resource{Key: invalid.Key}, err
	}
	if err == nil && len(docs) != 1 {
		err = &failure{title: "Bad Request", detail: fmt.Sprintf("want one document, not %d", len(docs)), err: errBadRequest}
	}
	if err != nil {
		return resource.Resource{}, err
	}
	return docs[0].Resource, nil
}

// sameAsPath refuses a document that is not the one that the path names. The path may leave out the namespace.
func sameAsPath(d resource.Descriptor, r *http.Request, res resource.Resource) error {
	var vs []resource.Violation
	differ := func(field, path, body string) {
		vs = append(vs, resource.Violation{Field: field, Reason: fmt.Sprintf("%s from the URL has to be the same as in body: %q is not %q", field, path, body)})
	}
	if name := r.PathValue("name"); name != res.Name && resource.StorageName(name, res.Namespace()) != res.Name {
		differ("name", name, res.Name)
	}
	if d.Kind != res.Kind {
		differ("type", d.Kind, res.Kind)
	}
	if mesh := requestMesh(r); d.Kind == res.Kind && mesh != res.Mesh {
		differ("mesh", mesh, res.Mesh)
	}
	if len(vs) == 0 {
		return nil
	}
	return &resource.InvalidError{Key: res.Key, Violations: vs}
}

// removed is the answer to DELETE: empty, or what went with the resource.
type removed struct {
	Deleted map[string]int `json:"deleted,omitempty"`
}

// delete removes one resource. The path takes a storage name or a KRI, never a mere display name: a client that
// repeats a request must not delete the next resource of that name.
func (s *server) delete(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	if err := writable(s.Plane, d); err != nil {
		return err
	}
	name := r.PathValue("name")
	res, err := s.find(r.Context(), d, requestMesh(r), name)
	if err != nil {
		return err
	}
	if res.Name != name && res.Identity().String() != name {
		return &failure{err: resource.ErrNotFound, detail: "Not found; nearest: " + join([]resource.Resource{res}, res.Mesh)}
	}
	counts, err := s.remove(r.Context(), d, res.Key, r.Header.Get("If-Match"))
	if err != nil {
		return err
	}
	var answer removed
	if d.Kind == "Mesh" || d.Kind == "Zone" {
		answer.Deleted = counts
	}
	return writeJSON(w, http.StatusOK, answer)
}
