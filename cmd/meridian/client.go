package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/meridian-mesh/meridian/cmd/internal/config"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	answerTimeout = time.Minute
	pageSize      = 1000 // the largest that the API serves
)

// client speaks the REST API of one control plane. It may be used by any number of goroutines.
type client struct {
	base  string // http://HOST:PORT, without a slash at the end
	said  string // what named it
	token string // of the user; "": none
	http  *http.Client
}

// client returns the client of the control plane that the flags, or the current context, name.
func (c *cli) client() (*client, error) {
	name, at, err := c.target()
	if err != nil {
		return nil, err
	}
	address := at.Address
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("--address %q: want http://HOST:PORT", at.Address)
	}
	api := newClient(strings.TrimSuffix(address, "/"))
	if name != "" {
		api.said = "context " + name
	}
	if api.token = at.Token; strings.HasPrefix(at.Token, "@") {
		data, err := os.ReadFile(at.Token[1:])
		if err != nil {
			return nil, usage("--token: %w", err)
		}
		api.token = strings.TrimSpace(string(data))
	}
	if at.TLSCA != "" || at.TLSSkipVerify {
		config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: at.TLSSkipVerify}
		if at.TLSCA != "" {
			data, err := os.ReadFile(at.TLSCA)
			if err != nil {
				return nil, usage("--tls-ca: %w", err)
			}
			if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(data) {
				return nil, usage("--tls-ca: %s holds no PEM certificate", at.TLSCA)
			}
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = config
		api.http.Transport = transport
	}
	return api, nil
}

func newClient(base string) *client {
	return &client{base: base, said: "--address, MERIDIAN_ADDRESS", http: &http.Client{Timeout: answerTimeout}}
}

// apiError is an answer that is not 2xx: Kuma's error document, as far as the body is one.
type apiError struct {
	Status  int    `json:"status"`
	Title   string `json:"title"`
	Detail  string `json:"detail"`
	Invalid []struct {
		Field  string `json:"field"`
		Reason string `json:"reason"`
	} `json:"invalid_parameters"`
}

func (e *apiError) Error() string {
	var b strings.Builder
	b.WriteString(e.Title)
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	for _, v := range e.Invalid {
		b.WriteString("; ")
		if v.Field != "" {
			b.WriteString(v.Field + ": ")
		}
		b.WriteString(v.Reason)
	}
	return b.String()
}

// isStatus says whether err is the API's answer with this status.
func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*apiError](err)
	return ok && e.Status == status
}

// answer is one response, read whole.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// err returns the *apiError of an answer that is not 2xx, or nil.
func (a answer) err() error {
	if a.Status/100 == 2 {
		return nil
	}
	e := &apiError{}
	if json.Unmarshal(a.Body, e) != nil || e.Title == "" {
		e.Title = fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
		e.Detail = strings.TrimSpace(string(a.Body))
	}
	e.Status = a.Status
	return e
}

// do sends one request and reads the answer, whatever its status. body is sent as JSON unless it is nil.
func (c *client) do(ctx context.Context, method, path string, body []byte) (answer, error) {
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, in)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the method and the URL once more
		}
		return answer{}, fmt.Errorf("%s does not answer (%s): %w", c.base, c.said, err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("answer of %s %s%s: %w", method, c.base, path, err)
	}
	return answer{resp.StatusCode, resp.Header, read}, nil
}

// get reads path into v. An answer that is not 2xx is an *apiError.
func (c *client) get(ctx context.Context, path string, v any) (http.Header, error) {
	a, err := c.do(ctx, http.MethodGet, path, nil)
	if err == nil {
		err = a.err()
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return nil, fmt.Errorf("answer of GET %s%s: %w", c.base, path, err)
	}
	return a.Header, nil
}

// document is one resource as the API shows it: the JSON, and what every kind has in common.
type document struct {
	JSON              json.RawMessage
	resource.Resource // without spec and status
}

func (d *document) UnmarshalJSON(data []byte) error {
	var meta struct {
		Type, Mesh, Name string
		Labels           map[string]string
		CreationTime     time.Time
		ModificationTime time.Time
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return err
	}
	d.JSON = bytes.Clone(data)
	d.Resource = resource.Resource{
		Key:    resource.Key{Kind: meta.Type, Mesh: meta.Mesh, Name: meta.Name},
		Labels: meta.Labels, Created: meta.CreationTime, Modified: meta.ModificationTime,
	}
	return nil
}

// MarshalJSON returns the document as it came.
func (d document) MarshalJSON() ([]byte, error) { return d.JSON, nil }

// list reads a whole collection, page after page.
func (c *client) list(ctx context.Context, path string) ([]document, error) {
	all, _, err := c.listed(ctx, path)
	return all, err
}

// listed is list with the headers of the pages.
func (c *client) listed(ctx context.Context, path string) ([]document, http.Header, error) {
	all := []document{}
	headers := http.Header{}
	path += fmt.Sprintf("?size=%d", pageSize)
	for {
		var page struct {
			Items []document
			Next  *string
		}
		header, err := c.get(ctx, path, &page)
		if err != nil {
			return nil, nil, err
		}
		for name, values := range header {
			headers[name] = append(headers[name], values...)
		}
		all = append(all, page.Items...)
		if page.Next == nil || *page.Next == "" {
			return all, headers, nil
		}
		if path, err = pathOf(*page.Next); err != nil {
			return nil, nil, err
		}
	}
}

// pathOf returns the path and the query of the address of a page, "" of none. The host is the one we know: the server may
// sit behind another name.
func pathOf(next string) (string, error) {
	if next == "" {
		return "", nil
	}
	parsed, err := url.Parse(next)
	if err != nil {
		return "", fmt.Errorf("address of the next page: %w", err)
	}
	return parsed.RequestURI(), nil
}

// collection returns the path of a kind's resources in one mesh, or in all of them when mesh is "".
func collection(d resource.Descriptor, mesh string) string {
	if d.Scope == resource.ScopeMesh && mesh != "" {
		return "/meshes/" + url.PathEscape(mesh) + "/" + d.Plural
	}
	return "/" + d.Plural
}

// item returns the path of one resource. name is its storage name, name.namespace, the name its author gave, or a KRI,
// which knows its mesh: the API understands them all.
func item(d resource.Descriptor, mesh, name string) (string, error) {
	if strings.HasPrefix(name, "kri_") {
		id, _, err := resource.ParseKRI(name)
		if err != nil {
			return "", config.Usage(err)
		}
		if id.Kind != d.Kind {
			return "", usage("%s is a %s, not a %s", name, id.Kind, d.Kind)
		}
		mesh = id.Mesh
	}
	return collection(d, mesh) + "/" + url.PathEscape(name), nil
}

// find returns the resource that name means (see item).
func (c *client) find(ctx context.Context, d resource.Descriptor, mesh, name string) (document, error) {
	path, err := item(d, mesh, name)
	if err != nil {
		return document{}, err
	}
	var doc document
	if _, err = c.get(ctx, path, &doc); err != nil {
		return document{}, fmt.Errorf("%s %q: %w", d.Singular, name, c.nearestMesh(ctx, mesh, err))
	}
	return doc, nil
}

// nearestMesh adds to the API's 404 which mesh may have been meant, if it is the mesh that is missing.
func (c *client) nearestMesh(ctx context.Context, mesh string, err error) error {
	if !isStatus(err, http.StatusNotFound) {
		return err
	}
	meshes, listErr := c.list(ctx, "/meshes")
	var names []string
	for _, m := range meshes {
		names = append(names, m.Name)
	}
	if listErr != nil || slices.Contains(names, mesh) {
		return err
	}
	return fmt.Errorf("mesh %q not found%s", mesh, nearest(mesh, names))
}

// delete deletes one resource by its storage name.
func (c *client) delete(ctx context.Context, key resource.Key) error {
	d, _ := resource.LookupKind(key.Kind)
	path, err := item(d, key.Mesh, key.Name)
	if err != nil {
		return err
	}
	a, err := c.do(ctx, http.MethodDelete, path, nil)
	if err != nil {
		return err
	}
	return a.err()
}
