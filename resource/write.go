package resource

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// ToJSON returns r as a document in the Universal form, as compact JSON: type, mesh, name, creationTime,
// modificationTime, labels, and then spec and status, or, of a kind whose spec is a protobuf message, the fields of
// the message. What is empty is left out.
//
// Errors: the kind or its message is not known to this program, or the spec does not decode.
func ToJSON(r Resource) ([]byte, error) {
	d, spec, err := specJSON(r)
	if err != nil {
		return nil, err
	}
	var o objectWriter
	o.text("type", r.Kind)
	if d.Scope == ScopeMesh {
		o.text("mesh", r.Mesh)
	}
	o.text("name", r.Name)
	o.time("creationTime", r.Created)
	o.time("modificationTime", r.Modified)
	o.labels(r.Labels)
	if d.Message == "" {
		o.raw("spec", spec)
	} else {
		o.fields(spec)
	}
	o.raw("status", r.Status)
	return o.end()
}

// ToKubernetes returns r as a document in the Kubernetes form, as compact JSON. Its name is the display name, and the
// namespace and mesh are where that form has them; the storage name of a synced resource is not in it.
//
// Errors: those of ToJSON.
func ToKubernetes(r Resource) ([]byte, error) {
	d, spec, err := specJSON(r)
	if err != nil {
		return nil, err
	}
	labels := maps.Clone(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	if d.Scope == ScopeMesh {
		labels[LabelMesh] = r.Mesh
	}
	var metadata, o objectWriter
	metadata.text("name", r.Display())
	if r.Namespace() != "" {
		metadata.text("namespace", r.Namespace())
	}
	if display, ok := labels[LabelDisplayName]; ok { // an annotation, since Kubernetes limits the values of labels
		delete(labels, LabelDisplayName)
		metadata.raw("annotations", compactJSON(map[string]any{LabelDisplayName: display}))
	}
	metadata.labels(labels)
	metadata.time("creationTimestamp", r.Created)
	meta, err := metadata.end()
	if err != nil {
		return nil, err
	}
	o.text("apiVersion", apiVersion)
	o.text("kind", r.Kind)
	o.raw("metadata", meta)
	o.raw("spec", spec)
	o.raw("status", r.Status)
	return o.end()
}

// specJSON returns the spec of r as JSON.
func specJSON(r Resource) (Descriptor, []byte, error) {
	d, ok := LookupKind(r.Kind)
	if !ok {
		return d, nil, fmt.Errorf("write %v: unknown kind", r.Key)
	}
	if d.Message == "" {
		var v json.RawMessage
		if err := json.Unmarshal(r.Spec, &v); err != nil {
			return d, nil, fmt.Errorf("write %v: the spec is not JSON: %w", r.Key, err)
		}
		return d, r.Spec, nil
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(d.Message))
	if err != nil {
		return d, nil, fmt.Errorf("write %v: %w", r.Key, err)
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(r.Spec, m); err != nil {
		return d, nil, fmt.Errorf("write %v: %w", r.Key, err)
	}
	spec, err := protojson.Marshal(m)
	if err != nil {
		return d, nil, fmt.Errorf("write %v: %w", r.Key, err)
	}
	return d, spec, nil
}

// objectWriter writes one JSON object, field by field; end compacts it, and fails if a raw value was no JSON.
type objectWriter struct{ b bytes.Buffer }

func (o *objectWriter) raw(name string, value []byte) {
	if len(value) == 0 {
		return
	}
	if o.b.Len() > 0 {
		o.b.WriteByte(',')
	}
	o.b.Write(compactJSON(name))
	o.b.WriteByte(':')
	o.b.Write(value)
}

func (o *objectWriter) text(name, value string) { o.raw(name, compactJSON(value)) }

func (o *objectWriter) time(name string, t time.Time) {
	if !t.IsZero() {
		o.text(name, t.UTC().Format(time.RFC3339Nano))
	}
}

func (o *objectWriter) labels(labels map[string]string) {
	if len(labels) > 0 {
		o.raw("labels", compactJSON(labels))
	}
}

// fields adds the fields of another object.
func (o *objectWriter) fields(object []byte) {
	if inner := bytes.TrimSpace(object[1 : len(object)-1]); len(inner) > 0 {
		o.b.WriteByte(',')
		o.b.Write(inner)
	}
}

func (o *objectWriter) end() ([]byte, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, append(append([]byte{'{'}, o.b.Bytes()...), '}')); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ToYAML returns a JSON document as YAML; the fields keep their order.
//
// Errors: the document is not JSON, or larger than a document may be.
func ToYAML(jsonDoc []byte) ([]byte, error) {
	docs, err := parseJSON(chunk{line: 1, text: jsonDoc}, limits{bytes: len(jsonDoc), depth: ReadOptions{}.limits().depth, items: len(jsonDoc)})
	if err != nil {
		return nil, fmt.Errorf("to YAML: %w", err)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, n := range docs {
		if err := enc.Encode(n.yaml()); err != nil {
			return nil, fmt.Errorf("to YAML: %w", err)
		}
	}
	return b.Bytes(), enc.Close()
}

// oldBool is a text that YAML 1.1 takes for a bool; our reader does not, others do.
var oldBool = regexp.MustCompile(`^(?i:y|yes|n|no|on|off)$`)

func (n *node) yaml() *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	switch n.kind {
	case nodeObject:
		y.Kind = yaml.MappingNode
		for _, e := range n.entries {
			key := node{kind: nodeText, text: e.key}
			y.Content = append(y.Content, key.yaml(), e.value.yaml())
		}
	case nodeList:
		y.Kind = yaml.SequenceNode
		for _, item := range n.items {
			y.Content = append(y.Content, item.yaml())
		}
	case nodeText:
		y.Tag = "!!str"
		if oldBool.MatchString(n.text) || strings.ContainsAny(n.text, "\r\u0085\u2028\u2029\ufeff") {
			y.Style = yaml.DoubleQuotedStyle // a literal text cannot hold other line breaks
		}
	case nodeNull:
		y.Value = "null"
	}
	return y
}
