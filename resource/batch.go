package resource

import (
	"encoding/json"
	"fmt"
)

// Batch is the body of POST /_apply.
type Batch struct {
	Documents []BatchDocument `json:"documents"`
}

// BatchDocument is one document of a batch, and where it comes from.
type BatchDocument struct {
	Source   string          `json:"source"` // a file; comes back in the result
	Index    int             `json:"index"`  // of the document in the source, from 1
	Line     int             `json:"line"`
	Document json.RawMessage `json:"document"` // in either form
}

// MarshalBatch returns the batch of docs as JSON. The error names the resource that has no JSON.
func MarshalBatch(docs []Document) ([]byte, error) {
	var b Batch
	for _, d := range docs {
		doc, err := ToJSON(d.Resource)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Resource.Key, err)
		}
		b.Documents = append(b.Documents, BatchDocument{d.Source, d.Index, d.Line, doc})
	}
	return json.Marshal(b)
}
