package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/meridian-mesh/meridian/policy"
	"github.com/meridian-mesh/meridian/resource"
)

// mapping makes an object node of pairs of names and values: nodes, texts, numbers, or maps of texts.
func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(pairs); i += 2 {
		n.Content = append(n.Content, scalar(pairs[i].(string)))
		switch v := pairs[i+1].(type) {
		case *yaml.Node:
			n.Content = append(n.Content, v)
		case string:
			n.Content = append(n.Content, scalar(v))
		case int:
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(v)})
		case map[string]string:
			m := mapping()
			for _, k := range slices.Sorted(maps.Keys(v)) {
				m.Content = append(m.Content, scalar(k), scalar(v[k]))
			}
			n.Content = append(n.Content, m)
		}
	}
	return n
}

func scalar(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func sequence(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

// add writes one document that was written as a node, or expanded from shorthand at a node.
func (l *loader) add(plane string, doc, at *yaml.Node, path string, shorthand bool) {
	text, err := yaml.Marshal(doc)
	if err != nil {
		l.bad(at, path, "%s", err)
		return
	}
	read, err := policy.Schemas().Read(l.file, text, resource.ReadOptions{})
	for _, e := range eachInvalid(err) {
		for _, v := range e.Violations {
			l.bad(nearestNode(doc, at, v.Field), join(path, v.Field), "%s", v.Reason)
		}
	}
	for _, d := range read {
		d.Source, d.Line = l.file, at.Line
		if shorthand && d.Resource.Mesh == "" && d.Resource.Kind != "Mesh" {
			d.Resource.Mesh = l.scenario.Mesh
		}
		l.take(Document{Document: d, Plane: plane, Shorthand: shorthand, doc: doc, at: at}, at, path)
	}
}

// take adds a document to the scenario, or to the step that is being read.
func (l *loader) take(d Document, at *yaml.Node, path string) {
	d.home = l.scenario.Mesh
	id := placed{d.Plane, d.Resource.Key}
	if other, ok := l.seen[id]; ok && l.into == nil {
		l.bad(at, path, "%s is there already, in %s", d.Resource.Key, other)
		return
	}
	if l.into != nil {
		*l.into = append(*l.into, d)
		return
	}
	l.seen[id] = fmt.Sprintf("%s:%d", d.Source, d.Line)
	l.scenario.Documents = append(l.scenario.Documents, d)
}

// eachInvalid returns the errors about single documents that Schemas.Read has joined.
func eachInvalid(err error) []*resource.InvalidError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*resource.InvalidError
		for _, e := range joined.Unwrap() {
			all = append(all, eachInvalid(e)...)
		}
		return all
	}
	if e, ok := errors.AsType[*resource.InvalidError](err); ok {
		return []*resource.InvalidError{e}
	}
	return []*resource.InvalidError{{Violations: []resource.Violation{{Reason: err.Error()}}}}
}

// nearestNode returns the node of doc that a field (spec.to[0].targetRef, labels["a/b"]) names, or as far as it leads the one it
// is missing in; at if that was not written by anybody.
func nearestNode(doc, at *yaml.Node, field string) *yaml.Node {
	best := doc
	for n := doc; field != ""; {
		var step string
		switch {
		case strings.HasPrefix(field, `["`):
			end := strings.Index(field, `"]`)
			if end < 0 {
				end = len(field)
			}
			step, field = field[2:end], field[min(len(field), end+2):]
		case field[0] == '[':
			end := max(strings.IndexByte(field, ']'), 1)
			step, field = field[1:end], field[end+1:]
		default:
			end := strings.IndexAny(field, ".[")
			if end < 0 {
				end = len(field)
			}
			step, field = field[:end], field[end:]
		}
		field = strings.TrimPrefix(field, ".")
		next := child(n, step)
		if next == nil {
			break
		}
		if key := keyNode(n, step); key.Line > 0 {
			best = key
		} else if next.Line > 0 {
			best = next
		}
		n = next
	}
	if best.Line == 0 {
		return at
	}
	return best
}

// keyNode returns the name of a field, or else the item that a step leads to.
func keyNode(n *yaml.Node, step string) *yaml.Node {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == step {
			return n.Content[i]
		}
	}
	return child(n, step)
}

// child returns a field or an item of a node, nil if there is none.
func child(n *yaml.Node, step string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return resolved(n.Content[i+1])
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return resolved(n.Content[i])
		}
	}
	return nil
}

// resources reads a list of whole documents, or the text of a YAML stream of them.
func (l *loader) resources(plane string, n *yaml.Node, path string) {
	for i, item := range l.list(n, path) {
		if item.Kind != yaml.MappingNode {
			l.bad(item, fmt.Sprintf("%s[%d]", path, i), "found %s, want a document", describe(item))
			continue
		}
		l.add(plane, item, item, fmt.Sprintf("%s[%d]", path, i), false)
	}
}

const mostCopies = 100_000 // that one shorthand makes

// services reads shorthand for MeshServices and the proxies behind them.
func (l *loader) services(zone string, n *yaml.Node, path string) {
	for _, e := range l.entries(n, path) {
		name, mesh := l.inMesh(e.key, e.at, e.path)
		namespace, protocol, portName := "", "http", ""
		port, count := 80, 1
		labels, tags := map[string]string{}, map[string]string{}
		l.object(e.value, e.path, fields{
			{"namespace", func(n *yaml.Node, p string) { namespace = l.text(n, p) }},
			{"port", func(n *yaml.Node, p string) { port = l.number(n, p, 1, 65535) }},
			{"portName", func(n *yaml.Node, p string) { portName = l.text(n, p) }},
			{"protocol", func(n *yaml.Node, p string) { protocol = l.word(n, p, "protocol", protocols) }},
			{"count", func(n *yaml.Node, p string) { count = l.number(n, p, 0, mostCopies) }},
			{"labels", func(n *yaml.Node, p string) { labels = l.textMap(n, p) }},
			{"tags", func(n *yaml.Node, p string) { tags = l.textMap(n, p) }},
		})
		selector := map[string]string{"app": name}
		if namespace != "" {
			selector[resource.LabelNamespace] = namespace
		}
		meta := maps.Clone(labels)
		meta["k8s.kuma.io/service-name"] = name
		if namespace != "" {
			meta[resource.LabelNamespace] = namespace
		}
		portNode := mapping("port", port, "targetPort", port, "appProtocol", protocol)
		if portName != "" {
			portNode.Content = append(mapping("name", portName).Content, portNode.Content...)
		}
		l.add(zone, mapping(
			"type", "MeshService", "mesh", mesh, "name", name, "labels", meta,
			"spec", mapping("selector", mapping("dataplaneTags", selector), "ports", sequence(portNode)),
		), e.at, e.path, true)
		l.proxy(zone, e, proxy{name, mesh, namespace, count, port, protocol, portName, labels, tags, false})
	}
}

var protocols = []string{"http", "http2", "grpc", "kafka", "tcp", "tls"}

// proxy is shorthand for some equal Dataplanes.
type proxy struct {
	name, mesh         string
	namespace          string
	count, port        int
	protocol, portName string
	labels, tags       map[string]string
	plain              bool // one without a number in its name
}

// proxies reads shorthand for Dataplanes.
func (l *loader) proxies(zone string, n *yaml.Node, path string) {
	for _, e := range l.entries(n, path) {
		name, mesh := l.inMesh(e.key, e.at, e.path)
		p := proxy{name: name, mesh: mesh, count: 1, port: 8080, protocol: "http", labels: map[string]string{}, tags: map[string]string{}, plain: true}
		l.object(e.value, e.path, fields{
			{"namespace", func(n *yaml.Node, at string) { p.namespace = l.text(n, at) }},
			{"count", func(n *yaml.Node, at string) { p.count, p.plain = l.number(n, at, 0, mostCopies), false }},
			{"port", func(n *yaml.Node, at string) { p.port = l.number(n, at, 1, 65535) }},
			{"protocol", func(n *yaml.Node, at string) { p.protocol = l.word(n, at, "protocol", protocols) }},
			{"labels", func(n *yaml.Node, at string) { p.labels = l.textMap(n, at) }},
			{"tags", func(n *yaml.Node, at string) { p.tags = l.textMap(n, at) }},
		})
		l.proxy(zone, e, p)
	}
}

// proxy adds the Dataplanes that p stands for: each with one inbound whose tags are those that Kubernetes would give it.
func (l *loader) proxy(zone string, e entry, p proxy) {
	labels, tags := maps.Clone(p.labels), maps.Clone(p.labels)
	service := p.name + "_svc_" + strconv.Itoa(p.port)
	if p.namespace != "" {
		labels[resource.LabelNamespace], tags[resource.LabelNamespace] = p.namespace, p.namespace
		service = p.name + "_" + p.namespace + "_svc_" + strconv.Itoa(p.port)
	}
	for k, v := range map[string]string{"app": p.name, "kuma.io/protocol": p.protocol, resource.TagService: service, resource.LabelZone: zone} {
		if tags[k] == "" {
			tags[k] = v
		}
	}
	if labels["app"] == "" {
		labels["app"] = p.name
	}
	maps.Copy(tags, p.tags)
	for i := range p.count {
		name := p.name
		if !p.plain || p.count > 1 {
			name += "-" + strconv.Itoa(i)
		}
		l.addresses++
		address := fmt.Sprintf("10.%d.%d.%d", 1+l.addresses>>16, l.addresses>>8&255, l.addresses&255)
		inbound := mapping("port", p.port, "tags", tags)
		if p.portName != "" {
			inbound.Content = append(mapping("name", p.portName).Content, inbound.Content...)
		}
		l.add(zone, mapping(
			"type", "Dataplane", "mesh", p.mesh, "name", name, "labels", labels,
			"networking", mapping("address", address, "inbound", sequence(inbound)),
		), e.at, e.path, true)
	}
}

// policies reads shorthand for policies, by the key that says where they are written.
func (l *loader) policies(n *yaml.Node, path string) {
	for _, e := range l.entries(n, path) {
		l.policy(e)
	}
}

// policy reads one of them, and remembers that it is not valid.
func (l *loader) policy(e entry) {
	before := len(l.problems)
	l.policyShorthand(e)
	l.broken[canonical(l.scenario.Mesh, e.key)] = len(l.problems) > before
}

func (l *loader) policyShorthand(e entry) {
	zone, namespace, name, mesh, ok := l.place(e)
	if !ok {
		return
	}
	doc, kind := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, ""
	labels := map[string]string{}
	spec := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: e.value.Line, Column: e.value.Column}
	var ref *yaml.Node
	keep := func(name string) func(*yaml.Node, string) {
		return func(n *yaml.Node, _ string) { spec.Content = append(spec.Content, scalar(name), n) }
	}
	items := func(name string) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			expanded := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Column: n.Column}
			for i, item := range l.list(n, path) {
				expanded.Content = append(expanded.Content, l.item(item, fmt.Sprintf("%s[%d]", path, i)))
			}
			spec.Content = append(spec.Content, scalar(name), expanded)
		}
	}
	known := fields{
		{"kind", func(n *yaml.Node, p string) { kind = l.word(n, p, "kind of policy", policyKinds()) }},
		{"mesh", func(n *yaml.Node, p string) {
			of := l.text(n, p)
			if strings.Contains(e.key, "@") && of != mesh {
				l.bad(n, p, "found %q, but the key says %q", of, mesh)
			}
			mesh = of
		}},
		{"labels", func(n *yaml.Node, p string) { labels = l.textMap(n, p) }},
		{"targetRef", func(n *yaml.Node, p string) { ref = l.target(n, p) }},
		{"to", items("to")},
		{"from", items("from")},
		{"rules", keep("rules")},
		{"default", keep("default")},
		{"spec", func(n *yaml.Node, _ string) { spec = n }},
	}
	for _, target := range targetKinds {
		known = append(known, fields{{target, func(n *yaml.Node, p string) { ref = l.reference(target, n, p) }}}...)
	}
	found := l.object(e.value, e.path, known)
	for _, target := range targetKinds {
		if at := found[target]; at != nil && ref != nil {
			ref.Line, ref.Column = at.Line, at.Column
		}
	}
	if found["kind"] == nil {
		l.bad(e.at, e.path+".kind", "must be given: the kind of policy, such as MeshTimeout")
	}
	if kind == "" {
		return
	}
	if ref != nil {
		spec.Content = append([]*yaml.Node{scalar("targetRef"), ref}, spec.Content...)
	}
	if namespace != "" {
		labels[resource.LabelNamespace] = namespace
	}
	doc = mapping("type", kind, "mesh", mesh, "name", name)
	if len(labels) > 0 {
		doc.Content = append(doc.Content, mapping("labels", labels).Content...)
	}
	doc.Content = append(doc.Content, scalar("spec"), spec)
	l.add(zone, doc, e.at, e.path, true)
}

func policyKinds() []string {
	var kinds []string
	for _, t := range policy.Types {
		kinds = append(kinds, t.Kind)
	}
	return kinds
}

// targetKinds are the kinds of targetRefs that shorthand knows.
var targetKinds = []string{
	"Mesh", "MeshSubset", "Dataplane", "MeshService", "MeshServiceSubset", "MeshMultiZoneService", "MeshExternalService", "MeshGateway",
	"MeshHTTPRoute",
}

// inMesh takes the mesh off a key: that of the scenario if it has none.
func (l *loader) inMesh(key string, at *yaml.Node, path string) (rest, mesh string) {
	rest, mesh, ok := strings.Cut(key, "@")
	if !ok {
		return rest, l.scenario.Mesh
	}
	known := []string{resource.DefaultMesh}
	if l.scenario.Mesh != resource.DefaultMesh {
		known = append(known, l.scenario.Mesh)
	}
	for _, d := range l.scenario.Documents {
		if name := d.Resource.Name; d.Resource.Kind == "Mesh" && !slices.Contains(known, name) {
			known = append(known, name)
		}
	}
	if !slices.Contains(known, mesh) && !l.lazy { // else the Mesh may be in a manifest
		l.unknown(at, path, "mesh", mesh, known)
	}
	return rest, mesh
}

// place takes the key of a policy apart.
func (l *loader) place(e entry) (zone, namespace, name, mesh string, ok bool) {
	key, mesh := l.inMesh(e.key, e.at, e.path)
	parts := strings.Split(key, "/")
	if slices.Contains(parts, "") || len(parts) < 2 || len(parts) > 3 {
		l.bad(e.at, e.path, "found the key %q, want zone/namespace/name, zone/name, or global/name, with @mesh at the end if it is in another mesh", e.key)
		return "", "", "", "", false
	}
	zone, name = parts[0], parts[len(parts)-1]
	if len(parts) == 3 {
		namespace = parts[1]
	}
	if zone == globalPlane {
		return "", namespace, name, mesh, true
	}
	if !l.knows(zone) {
		l.unknown(e.at, e.path, "zone", zone, append(l.zoneNames(), globalPlane))
		return "", "", "", "", false
	}
	return zone, namespace, name, mesh, true
}

// item expands an item of a policy: {MeshService: kv, default: {...}}.
func (l *loader) item(n *yaml.Node, path string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
	for _, e := range l.entries(n, path) {
		switch {
		case slices.Contains(targetKinds, e.key):
			ref := l.reference(e.key, e.value, e.path)
			ref.Line, ref.Column = e.at.Line, e.at.Column
			out.Content = append(out.Content, scalar("targetRef"), ref)
		case e.key == "targetRef":
			out.Content = append(out.Content, e.at, l.target(e.value, e.path))
		default:
			out.Content = append(out.Content, e.at, e.value)
		}
	}
	return out
}

// target expands a targetRef of one field that is a kind, and leaves others as they are.
func (l *loader) target(n *yaml.Node, _ string) *yaml.Node {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && slices.Contains(targetKinds, n.Content[0].Value) {
		return l.reference(n.Content[0].Value, resolved(n.Content[1]), "")
	}
	return n
}

// reference writes a targetRef of a kind: of a name (namespace/name, name:section), of fields, or of nothing more.
func (l *loader) reference(kind string, n *yaml.Node, path string) *yaml.Node {
	ref := mapping("kind", kind)
	ref.Line, ref.Column = n.Line, n.Column
	switch {
	case n.Kind == yaml.MappingNode:
		ref.Content = append(ref.Content, n.Content...)
	case n.Kind == yaml.SequenceNode:
		l.bad(n, path, "found %s, want a name or an object such as {labels: {...}}", describe(n))
	case n.Tag == "!!str":
		name, section, _ := strings.Cut(n.Value, ":")
		if namespace, rest, ok := strings.Cut(name, "/"); ok {
			ref.Content = append(ref.Content, mapping("namespace", namespace).Content...)
			name = rest
		}
		ref.Content = append(ref.Content, mapping("name", name).Content...)
		if section != "" {
			ref.Content = append(ref.Content, mapping("sectionName", section).Content...)
		}
	}
	return ref
}
