package resource

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Since says with which schema level a field of a kind came. A resource that sets the field cannot be read by a control
// plane below that level: it would leave the field out, and so do something else than was written.
type Since struct {
	Level int    // 2 or more
	Field string // as in the JSON of the spec, [] for every item of a list: to[].default.http.maxRetries
}

// SchemaLevel returns the newest schema level of the kind that this build reads. Level 1 is Kuma 2.10's.
func (d Descriptor) SchemaLevel() int {
	level := 1
	for _, since := range d.Newer {
		level = max(level, since.Level)
	}
	return level
}

// Needs returns the newest field that a spec of the kind sets, nil if level 1 has them all. What cannot be read needs
// nothing. Cost: none for a kind without newer fields.
func (d Descriptor) Needs(spec []byte) (needs *Since) {
	if len(d.Newer) == 0 {
		return nil
	}
	if d.Message != "" {
		t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(d.Message))
		if err != nil {
			return nil
		}
		m := t.New().Interface()
		if decodeSpec(spec, m) != nil {
			return nil
		}
		if spec, err = protojson.Marshal(m); err != nil {
			return nil
		}
	}
	var doc any
	if json.Unmarshal(spec, &doc) != nil {
		return nil
	}
	for i := range d.Newer {
		since := &d.Newer[i]
		if (needs == nil || since.Level > needs.Level) && sets(doc, strings.Split(since.Field, ".")) {
			needs = since
		}
	}
	return needs
}

// sets says whether doc has the field that path leads to, be it null.
func sets(doc any, path []string) bool {
	if len(path) == 0 {
		return true
	}
	object, _ := doc.(map[string]any)
	name, isList := strings.CutSuffix(path[0], "[]")
	value, found := object[name]
	if !isList || !found {
		return found && sets(value, path[1:])
	}
	items, _ := value.([]any)
	for _, item := range items {
		if sets(item, path[1:]) {
			return true
		}
	}
	return false
}
