package planes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
	"github.com/meridian-mesh/meridian/storage"
)

// batchDocuments is how many documents one request carries: far fewer than the API takes.
const batchDocuments = 4000

// Written is what a plane says about one document that it took.
type Written struct {
	Key      resource.Key
	Action   string // created, updated or unchanged; see Try
	Role     string // of a policy
	Matches  *int   // of a policy: how many proxies of the plane it selects; nil: not known
	Warnings []string
}

// Apply writes YAML documents through the plane's API.
func (p *Plane) Apply(documents string) error {
	read, err := Read(documents)
	if err == nil {
		_, err = p.Write(read)
	}
	return err
}

// Read reads YAML documents of any kind. None is an error.
func Read(documents string) ([]resource.Document, error) {
	read, err := policy.Schemas().Read("document", []byte(documents), resource.ReadOptions{})
	if err == nil && len(read) == 0 {
		err = errors.New("no documents")
	}
	return read, err
}

// Write writes documents through the plane's API, up to 4,000 in one batch, and returns what it says about each. The error
// says what a plane has against the first documents that it refused; of their batch nothing was written.
func (p *Plane) Write(docs []resource.Document) ([]Written, error) {
	all, err := p.writeAll(docs)
	var keys []resource.Key
	for _, w := range all {
		keys = append(keys, w.Key)
	}
	return all, p.settled(batch{docs: docs}, keys, err)
}

// settled notes what became of a batch which p took (keys are what it wrote), or answered with err.
func (p *Plane) settled(b batch, keys []resource.Key, err error) error {
	b.acknowledged = err == nil
	for _, key := range keys {
		if err == nil || !p.Killed() {
			err = errors.Join(err, p.acknowledged(key))
		}
	}
	if err != nil && p.Killed() {
		p.disk.unknown = append(p.disk.unknown, b)
	}
	return err
}

// WriteZones does Write in zones side by side; every zone must run.
func (f *Federation) WriteZones(docs map[string][]resource.Document) error {
	names := slices.Sorted(maps.Keys(docs))
	written, errs := make([][]Written, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() error {
			written[i], errs[i] = f.zones[name].writeAll(docs[name])
			return nil
		})
	}
	_ = group.Wait()
	for i, name := range names { // notes on all planes, so one zone after the other
		for _, w := range written[i] {
			errs = append(errs, f.zones[name].acknowledged(w.Key))
		}
	}
	return errors.Join(errs...)
}

func (p *Plane) writeAll(docs []resource.Document) (all []Written, err error) {
	for batch := range slices.Chunk(docs, batchDocuments) {
		written, err := p.writeBatch(batch)
		if err != nil {
			return all, err
		}
		all = append(all, written...)
	}
	return all, nil
}

func (p *Plane) writeBatch(docs []resource.Document) ([]Written, error) {
	return p.post("/_apply", docs)
}

// Try returns what Write would do with documents, one by one, and writes nothing. Of one that the plane would refuse Action is "invalid".
func (p *Plane) Try(docs []resource.Document) (all []Written, err error) {
	for batch := range slices.Chunk(docs, batchDocuments) {
		written, err := p.post("/_apply?dry-run=true&keep-going=true", batch)
		if len(written) != len(batch) {
			return nil, err
		}
		all = append(all, written...)
	}
	return all, nil
}

// post sends one batch.
func (p *Plane) post(path string, docs []resource.Document) ([]Written, error) {
	body, err := resource.MarshalBatch(docs)
	if err != nil {
		return nil, err
	}
	answer := p.Do(http.MethodPost, path, body)
	var got struct {
		Results []struct {
			Kind, Mesh, Name, Action, Role string
			Matches                        *int
			Warnings                       []string
			Error                          *struct {
				Title, Detail string
				Invalid       []struct{ Field, Reason string } `json:"invalid_parameters"`
			}
		}
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || len(got.Results) != len(docs) {
		return nil, fmt.Errorf("%s answers %d: %s", p, answer.Code, answer.Body)
	}
	var written []Written
	var errs []error
	for i, r := range got.Results {
		written = append(written, Written{
			Key: resource.Key{Kind: r.Kind, Mesh: r.Mesh, Name: r.Name}, Action: r.Action, Role: r.Role, Matches: r.Matches, Warnings: r.Warnings,
		})
		if r.Error == nil {
			continue
		}
		refused := &RefusedError{Plane: p.String(), Document: docs[i], Reasons: []string{strings.Trim(r.Error.Title+": "+r.Error.Detail, ": ")}}
		if len(r.Error.Invalid) > 0 {
			refused.Reasons = nil
		}
		for _, v := range r.Error.Invalid {
			refused.Reasons = append(refused.Reasons, v.Field+": "+v.Reason)
		}
		errs = append(errs, refused)
	}
	return written, errors.Join(errs...)
}

// RefusedError is a document that a plane does not take.
type RefusedError struct {
	Plane    string // global, or zone east
	Document resource.Document
	Reasons  []string
}

// Error names the document and its place, and all reasons.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s:%d: %s refuses %s", e.Document.Source, e.Document.Line, e.Plane, e.Document.Resource.Key)
	for i, reason := range e.Reasons {
		if i > 0 {
			text += ";"
		} else {
			text += ":"
		}
		text += " " + reason
	}
	return text
}

// Delete removes a resource of the plane through its API.
func (p *Plane) Delete(key resource.Key) error {
	d, ok := resource.LookupKind(key.Kind)
	if !ok {
		return fmt.Errorf("unknown kind %q", key.Kind)
	}
	path := "/" + d.Plural + "/" + key.Name
	if d.Scope == resource.ScopeMesh {
		path = "/meshes/" + key.Mesh + path
	}
	b := batch{docs: []resource.Document{{Resource: resource.Resource{Key: key}}}, deleted: true}
	if answer := p.Do(http.MethodDelete, path, nil); answer.Code != http.StatusOK {
		return p.settled(b, nil, fmt.Errorf("%s does not delete %s: %s", p, key, answer.Body))
	}
	return p.settled(b, []resource.Key{key}, nil)
}

// Do sends one request to the plane's API, from the machine that it runs on. The plane must run.
func (p *Plane) Do(method, path string, body []byte) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, bytes.NewReader(body))
	request.RemoteAddr, request.Host = "127.0.0.1:1", "localhost" // as an administrator
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	p.node.Handler().ServeHTTP(answer, request)
	return answer
}

// Wrote says whether the plane has acknowledged a write of the resource, and no deletion since.
func (p *Plane) Wrote(key resource.Key) bool { return p.written[key] != nil }

// Contents returns the resources of a kind ("": of every kind) in the plane's store, in key order.
func (p *Plane) Contents(kind string) ([]resource.Resource, error) {
	var list []resource.Resource
	err := p.node.Store().View(context.Background(), kind, func(_ resource.Revision, all iter.Seq2[resource.Resource, error]) error {
		for r, err := range all {
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// Latest returns what Contents("") does, and reads only what has changed since it was asked last. Nobody modifies the list.
func (p *Plane) Latest() ([]resource.Resource, error) {
	st := p.node.Store()
	if p.latest.of == st && st.Revision() == p.latest.rev {
		return p.latest.all, nil
	}
	if p.latest.of == st {
		changes, rev, err := st.Since(context.Background(), "", p.latest.rev)
		if err == nil {
			p.latest.all, p.latest.rev = changed(p.latest.all, changes), rev
			return p.latest.all, nil
		}
		if !errors.Is(err, resource.ErrCompacted) {
			return nil, err
		}
	}
	var all []resource.Resource
	err := st.View(context.Background(), "", func(rev resource.Revision, list iter.Seq2[resource.Resource, error]) error {
		p.latest.of, p.latest.rev = st, rev
		for r, err := range list {
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	if err != nil {
		p.latest = latest{}
		return nil, err
	}
	p.latest.all = all
	return all, nil
}

// latest is what a store had at a revision.
type latest struct {
	of  storage.Store
	rev resource.Revision
	all []resource.Resource // in key order
}

// changed returns a list in key order with changes made to it, one for each key.
func changed(all []resource.Resource, changes []resource.Change) []resource.Resource {
	changes = slices.SortedFunc(slices.Values(changes), func(a, b resource.Change) int { return a.Resource.Key.Compare(b.Resource.Key) })
	merged := make([]resource.Resource, 0, len(all)+len(changes))
	for _, c := range changes {
		at, found := slices.BinarySearchFunc(all, c.Resource.Key, func(r resource.Resource, key resource.Key) int { return r.Key.Compare(key) })
		merged = append(merged, all[:at]...)
		if !c.Deleted {
			merged = append(merged, c.Resource)
		}
		if all = all[at:]; found {
			all = all[1:]
		}
	}
	return append(merged, all...)
}

// Find returns the resource of an identity, wherever it was written, if the plane has it.
func (p *Plane) Find(id resource.Identity) (resource.Resource, bool, error) {
	all, err := p.Contents(id.Kind)
	for _, r := range all {
		if r.Identity() == id {
			return r, true, err
		}
	}
	return resource.Resource{}, false, err
}
