package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	defaultPage = 100
	maxPage     = 1000
	maxWait     = 5 * time.Minute
)

// get answers with one resource. With ?wait it answers when the resource first differs from If-None-Match, or without
// that header when it first exists, or when the wait is over.
func (s *server) get(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	render, err := format(r)
	if err != nil {
		return err
	}
	wait, err := waitParameter(r)
	if err != nil {
		return err
	}
	known := r.Header.Get("If-None-Match")
	waiting, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		rev := s.Store.Revision() // before find: what is written after it ends the wait
		res, err := s.find(r.Context(), d, requestMesh(r), r.PathValue("name"))
		if err != nil && !errors.Is(err, resource.ErrNotFound) {
			return err
		}
		same := err == nil && known != "" && matchesETag(known, res.Version)
		settled := err == nil && !same || err != nil && known != ""
		if !settled && waiting.Err() == nil {
			s.awaitChange(waiting, d.Kind, rev)
			if err := r.Context().Err(); err != nil {
				return err // we stop, or nobody waits any more
			}
			continue
		}
		if err != nil {
			return err
		}
		w.Header().Set("ETag", etag(res.Version))
		if same {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		doc, err := render(res)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, json.RawMessage(doc))
	}
}

// awaitChange returns when something of the kind may have changed after rev, or ctx ends.
func (s *server) awaitChange(ctx context.Context, kind string, rev resource.Revision) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Store.Advanced(rev):
		}
		changes, upTo, err := s.Store.Since(ctx, kind, rev)
		if err != nil || len(changes) > 0 { // of an error the reader will learn more than we can say
			return
		}
		rev = upTo
	}
}

func etag(version resource.Revision) string { return fmt.Sprintf(`"%d"`, version) }

// matchesETag says whether a header If-Match or If-None-Match names the version. Quotes may be left out.
func matchesETag(header string, version resource.Revision) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		if tag == "*" || tag == strconv.FormatUint(uint64(version), 10) {
			return true
		}
	}
	return false
}

func waitParameter(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, badParameter("Invalid wait", "wait", fmt.Sprintf("want a duration from 0s to %s, such as 30s", maxWait))
	}
	return wait, nil
}

// format returns the function that ?format asks for.
func format(r *http.Request) (func(resource.Resource) ([]byte, error), error) {
	switch f := r.URL.Query().Get("format"); f {
	case "", "universal":
		return resource.ToJSON, nil
	case "k8s", "kubernetes":
		return resource.ToKubernetes, nil
	default:
		return nil, badParameter("Invalid format", "format", fmt.Sprintf("%q is not universal or kubernetes", f))
	}
}

// page is one part of a collection.
type page struct {
	Total int               `json:"total"`
	Items []json.RawMessage `json:"items"`
	Next  *string           `json:"next"`
}

// query is what a list was asked for.
type query struct {
	size, offset int
	name         string            // substring of the resource name; "": all
	labels       map[string]string // that a resource must have

	// Of Dataplanes and ExternalServices.

	tags    map[string]string // value: a part of the tag's, or "*"; one inbound must have them all
	gateway string            // of a Dataplane: true, false, builtin, delegated; "": all
}

func parseQuery(r *http.Request) (query, error) {
	q := query{size: defaultPage, labels: map[string]string{}}
	for key, values := range r.URL.Query() {
		switch key {
		case "size":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 1 {
				return q, badParameter("Invalid page size", "size", "invalid format")
			}
			if n > maxPage {
				return q, badParameter("Invalid page size", "size",
					fmt.Sprintf("invalid page size of %d. Maximum page size is %d", n, maxPage))
			}
			q.size = n
		case "offset":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 0 {
				return q, badParameter("Invalid offset", "offset", "Invalid format")
			}
			q.offset = n
		case "name":
			q.name = values[0]
		case "tag":
			q.tags = map[string]string{}
			for _, tag := range values {
				if key, value, ok := strings.Cut(tag, ":"); ok { // Kuma ignores others, too
					q.tags[key] = value
				}
			}
		case "gateway":
			q.gateway = strings.ToLower(values[0])
			if !slices.Contains([]string{"", "true", "false", "builtin", "delegated"}, q.gateway) {
				return q, badParameter("Invalid gateway filter", "gateway", fmt.Sprintf("%q is not true, false, builtin or delegated", values[0]))
			}
		default:
			inside, isFilter := strings.CutPrefix(key, "filter[")
			if !isFilter {
				continue // Kuma's clients send parameters that it ignores, too
			}
			label, isLabel := strings.CutPrefix(strings.TrimSuffix(inside, "]"), "labels.")
			if !isLabel || label == "" {
				return q, badParameter("Invalid filter", key, "want filter[labels.KEY]=VALUE")
			}
			for _, value := range values {
				if before, ok := q.labels[label]; ok && before != value {
					return q, badParameter("Invalid filter", key, "two values for one label match nothing")
				}
				q.labels[label] = value
			}
		}
	}
	return q, nil
}

// matches says whether r passes the filters.
func (q query) matches(r resource.Resource) bool {
	for key, value := range q.labels {
		if got, ok := r.Labels[key]; !ok || got != value {
			return false
		}
	}
	return strings.Contains(r.Name, q.name)
}

// matchesSpec says whether r passes the filters that look into Dataplanes and ExternalServices. One that cannot be read
// passes only if there are none.
func (q query) matchesSpec(r resource.Resource) bool {
	if len(q.tags) == 0 && q.gateway == "" {
		return true
	}
	switch r.Kind {
	case "Dataplane":
		dp, err := resource.Spec[*meshv1.Dataplane](r)
		if err != nil {
			return false
		}
		gw := dp.GetNetworking().GetGateway()
		switch q.gateway {
		case "true":
			if gw == nil {
				return false
			}
		case "false":
			if gw != nil {
				return false
			}
		case "builtin":
			if gw == nil || gw.GetType() != meshv1.Dataplane_Networking_Gateway_BUILTIN {
				return false
			}
		case "delegated":
			if gw == nil || gw.GetType() != meshv1.Dataplane_Networking_Gateway_DELEGATED {
				return false
			}
		}
		return q.matchesTags(gw.GetTags()) || slices.ContainsFunc(dp.GetNetworking().GetInbound(),
			func(in *meshv1.Dataplane_Networking_Inbound) bool { return q.matchesTags(in.GetTags()) })
	case "ExternalService":
		es, err := resource.Spec[*meshv1.ExternalService](r)
		return err == nil && q.matchesTags(es.GetTags())
	}
	return true
}

func (q query) matchesTags(tags map[string]string) bool {
	for key, value := range q.tags {
		if got, ok := tags[key]; !ok || value != "*" && !strings.Contains(got, value) {
			return false
		}
	}
	return true
}

// page returns the part of rs that q asks for, and the address of the next one (nil at the end).
func (q query) page(r *http.Request, rs []resource.Resource) ([]resource.Resource, *string) {
	from := min(q.offset, len(rs))
	to := min(from+q.size, len(rs))
	if to == len(rs) {
		return rs[from:to], nil
	}
	next := q.address(r, to)
	return rs[from:to], &next
}

// address returns where the page of the answer to r is that begins at offset.
func (q query) address(r *http.Request, offset int) string {
	next := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path}
	if r.TLS != nil {
		next.Scheme = "https"
	}
	params := r.URL.Query()
	params.Set("size", strconv.Itoa(q.size))
	params.Set("offset", strconv.Itoa(offset))
	next.RawQuery = params.Encode()
	return next.String()
}

// list answers with one page of a collection, by mesh, then name.
func (s *server) list(d resource.Descriptor, w http.ResponseWriter, r *http.Request) error {
	return s.writePage(w, r, d, resource.ToJSON)
}

func (s *server) writePage(w http.ResponseWriter, r *http.Request, d resource.Descriptor, render func(resource.Resource) ([]byte, error)) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	mesh := requestMesh(r)
	if mesh != "" {
		if err := s.requireMesh(r.Context(), mesh); err != nil {
			return err
		}
	}
	all, err := s.all(r.Context(), d.Kind, func(res resource.Resource) bool {
		return (mesh == "" || res.Mesh == mesh) && q.matches(res) && q.matchesSpec(res)
	})
	if err != nil {
		return err
	}
	part, next := q.page(r, all)
	answer := page{Total: len(all), Items: []json.RawMessage{}, Next: next}
	for _, res := range part {
		doc, err := render(res)
		if err != nil {
			return err
		}
		answer.Items = append(answer.Items, doc)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// all returns the resources of kind ("": of every kind) that want says yes to, by key.
func (s *server) all(ctx context.Context, kind string, want func(resource.Resource) bool) ([]resource.Resource, error) {
	var rs []resource.Resource
	err := s.Store.View(ctx, kind, func(_ resource.Revision, seq iter.Seq2[resource.Resource, error]) error {
		for r, err := range seq {
			if err != nil {
				return err
			}
			if want(r) {
				rs = append(rs, r)
			}
		}
		return nil
	})
	return rs, err
}

// metaKeys are the keys of a document that are not part of the spec of a kind whose spec sits beside them.
var metaKeys = []string{"type", "mesh", "name", "creationTime", "modificationTime", "labels"}

// flatSpec returns the spec of a document whose spec sits beside its metadata.
func flatSpec(r resource.Resource) (map[string]json.RawMessage, error) {
	data, err := resource.ToJSON(r)
	if err != nil {
		return nil, err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	for _, key := range metaKeys {
		delete(doc, key)
	}
	return doc, nil
}
