package resource

import "errors"

// ParseText returns the value of a YAML or JSON text that stands in a field of a document: nil, bool, int64, uint64,
// float64, string, []any or map[string]any. Of fields with one name the last wins. Size, depth and aliases are limited
// as in a document.
//
// Errors: what is wrong, with the line within the text.
func ParseText(text string) (any, error) {
	nodes, err := chunk{line: 1, text: []byte(text), empty: text == ""}.parse(ReadOptions{}.limits())
	if err != nil {
		return nil, err
	}
	if len(nodes) != 1 {
		return nil, errors.New("want one value")
	}
	if nodes[0] == nil {
		return nil, nil
	}
	return (&checker{lastWins: true}).anything(nodes[0], nil), nil
}
