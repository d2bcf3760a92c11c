package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
)

// encoded is the JSON of the lists that many answers share, made when the first of them is written.
type encoded struct {
	once              sync.Once
	tagged, resources json.RawMessage
	err               error
}

// encode returns what json.Marshal does, without escaping <, > and &: whoever writes the answer decides about that.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// MarshalJSON returns the Meta as it was encoded when its resource was parsed.
func (m Meta) MarshalJSON() ([]byte, error) {
	if m.encoded != nil {
		return m.encoded, nil
	}
	type plain Meta
	return encode(plain(m))
}

// MarshalJSON encodes the rules. Those that many proxies share are encoded once for all of them, and put between the
// others here: to have them checked and copied by the encoder once more would take longer than all the rest.
func (r TypeRules) MarshalJSON() ([]byte, error) {
	type plain TypeRules
	if r.to == nil {
		return encode(plain(r))
	}
	shared := &r.to.encoded
	shared.once.Do(func() {
		if shared.tagged, shared.err = encode(r.to.tagged); shared.err == nil {
			shared.resources, shared.err = encode(r.to.resources)
		}
	})
	if shared.err != nil {
		return nil, shared.err
	}
	own := struct {
		Type         string         `json:"type"`
		FromRules    []FromRules    `json:"fromRules"`
		InboundRules []InboundRules `json:"inboundRules"`
		ProxyRule    *ProxyRule     `json:"proxyRule,omitempty"`
		Warnings     []string       `json:"warnings"`
	}{r.Type, r.FromRules, r.InboundRules, r.ProxyRule, r.Warnings}
	data, err := encode(own)
	if err != nil {
		return nil, err
	}
	data = slices.Grow(data, len(shared.tagged)+len(shared.resources)+len(`,"toRules":,"toResourceRules":`))
	data = append(append(data[:len(data)-1], `,"toRules":`...), shared.tagged...)
	data = append(append(data, `,"toResourceRules":`...), shared.resources...)
	return append(data, '}'), nil
}
