package api

import (
	"encoding/json"
	"net/http"

	"github.com/meridian-mesh/meridian/resource"
)

// result says what became of one document of a batch, in the order of the batch.
type result struct {
	Source string `json:"source"`
	Index  int    `json:"index"`
	Line   int    `json:"line,omitempty"`

	// The resource, as far as the document could be read.
	Key  string `json:"key,omitempty"` // MeshTimeout default/x.shop
	KRI  string `json:"kri,omitempty"`
	Kind string `json:"kind,omitempty"`
	Mesh string `json:"mesh,omitempty"`
	Name string `json:"name,omitempty"` // the storage name

	Action   string   `json:"action"`
	Role     string   `json:"role,omitempty"`    // of a policy
	Matches  *int     `json:"matches,omitempty"` // of a policy: how many proxies of this plane it selects
	Warnings []string `json:"warnings"`
	Error    *problem `json:"error,omitempty"`
}

// apply writes many documents at once: all of them in one batch, or none. With keep-going the valid ones are written;
// with dry-run nothing is.
func (s *server) apply(w http.ResponseWriter, r *http.Request) error {
	var o commitOptions
	for name, into := range map[string]*bool{"keep-going": &o.keepGoing, "dry-run": &o.dryRun, "strict-role": &o.strictRole} {
		var err error
		if *into, err = flag(r, name); err != nil {
			return err
		}
	}
	body, err := readJSON(w, r, s.MaxBody*batchFactor)
	if err != nil {
		return err
	}
	var in resource.Batch
	if err := json.Unmarshal(body, &in); err != nil {
		return &failure{title: "Bad Request", detail: err.Error(), err: errBadRequest}
	}

	drafts := make([]*draft, len(in.Documents))
	for i, doc := range in.Documents {
		drafts[i] = &draft{}
		drafts[i].Resource, drafts[i].err = s.parse(doc.Document, lenient(r))
		if desc, ok := resource.LookupKind(drafts[i].Kind); ok {
			if err := allowed(desc, r); err != nil {
				drafts[i].err = err
			}
		}
	}
	if err := s.commit(r.Context(), drafts, o); err != nil {
		return err
	}
	s.warnUnresolved(r.Context(), drafts, o.dryRun)

	answer := struct {
		Results []result `json:"results"`
	}{Results: make([]result, len(drafts))}
	code := http.StatusOK
	for i, d := range drafts {
		doc := in.Documents[i]
		res := result{Source: doc.Source, Index: doc.Index, Line: doc.Line, Action: d.action, Warnings: []string{}}
		if d.Kind != "" {
			res.Key, res.KRI = d.Key.String(), d.Identity().String()
			res.Kind, res.Mesh, res.Name = d.Kind, d.Mesh, d.Name
		}
		switch {
		case d.err != nil:
			res.Error = newProblem(titlePut, d.err)
			if !o.keepGoing {
				code = http.StatusBadRequest
			}
		case d.action != actionSkipped:
			res.Role = d.role
			res.Warnings = append(res.Warnings, d.warnings...)
			if !o.dryRun && d.role != "" {
				if res.Matches, err = s.matches(r, d.Key); err != nil { // written all the same
					res.Warnings = append(res.Warnings, "which proxies it matches is not known: "+err.Error())
				}
			}
		}
		answer.Results[i] = res
	}
	return writeJSON(w, code, answer)
}

// matches returns how many proxies of this plane a stored policy selects, or nil if it is gone again.
func (s *server) matches(r *http.Request, key resource.Key) (*int, error) {
	proxies, err := s.Resolver.Matching(r.Context(), key.Kind, key.Mesh, key.Name)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := len(proxies)
	return &n, nil
}
