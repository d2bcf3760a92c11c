package policy

import (
	"encoding/json"
	"regexp"

	"github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/meridian-mesh/meridian/resource"
)

var meshProxyPatch = Type{
	Kind: "MeshProxyPatch", Single: true,
	matrix: matrix{
		top:       []RefKind{kindMesh, kindSubset, kindGateway, kindService, kindServiceSet, kindDataplane},
		systemTop: []RefKind{kindGateway},
	},
	spec: func() spec { return &MeshProxyPatch{} },
}

// MeshProxyPatch changes the configuration of Envoy that everything else came to. It is the last resort, and nothing
// keeps its work from breaking with the next version.
type MeshProxyPatch struct {
	// TargetRef selects the proxies. Default: all of the mesh.
	TargetRef *TargetRef `json:"targetRef,omitempty"`
	// Default is the conf. Required.
	Default ProxyPatchConf `json:"default" check:"required,patch"`
}

// ProxyPatchConf is the conf of a MeshProxyPatch.
type ProxyPatchConf struct {
	// AppendModifications are the changes, in this order; those of all policies come together. At least one.
	AppendModifications []ProxyModification `json:"appendModifications,omitempty"`
}

// ProxyModification is one change. One of its fields must be given, and no other.
type ProxyModification struct {
	// Cluster changes clusters.
	Cluster *ClusterModification `json:"cluster,omitempty"`
	// Listener changes listeners.
	Listener *ListenerModification `json:"listener,omitempty"`
	// VirtualHost changes the virtual hosts of routes.
	VirtualHost *VirtualHostModification `json:"virtualHost,omitempty"`
	// NetworkFilter changes the filters of listeners.
	NetworkFilter *FilterModification `json:"networkFilter,omitempty"`
	// HTTPFilter changes the filters for HTTP of listeners.
	HTTPFilter *FilterModification `json:"httpFilter,omitempty"`
}

// ProxyPatchOperation is what happens to clusters, listeners and virtual hosts.
type ProxyPatchOperation string

const (
	PatchAdd    ProxyPatchOperation = "Add"
	PatchRemove ProxyPatchOperation = "Remove"
	PatchChange ProxyPatchOperation = "Patch"
)

// Enum returns the allowed words.
func (ProxyPatchOperation) Enum() []string {
	return []string{string(PatchAdd), string(PatchRemove), string(PatchChange)}
}

// FilterOperation is what happens to filters.
type FilterOperation string

const (
	FilterAddFirst  FilterOperation = "AddFirst"
	FilterAddLast   FilterOperation = "AddLast"
	FilterAddBefore FilterOperation = "AddBefore" // the filter that the match names
	FilterAddAfter  FilterOperation = "AddAfter"
	FilterRemove    FilterOperation = "Remove"
	FilterPatch     FilterOperation = "Patch"
)

// Enum returns the allowed words.
func (FilterOperation) Enum() []string {
	return []string{
		string(FilterAddFirst), string(FilterAddLast), string(FilterAddBefore), string(FilterAddAfter), string(FilterRemove), string(FilterPatch),
	}
}

// ClusterModification changes clusters.
type ClusterModification struct {
	// Operation says how. Required.
	Operation ProxyPatchOperation `json:"operation" check:"required"`
	// Match selects the clusters; not with Add. Default: all.
	Match *ClusterMatch `json:"match,omitempty"`
	PatchContent
}

// ClusterMatch selects clusters; everything that it says must hold.
type ClusterMatch struct {
	// Origin is what the cluster was made for: inbound, outbound, transparent, prometheus, direct-access, ingress, egress,
	// gateway, probe, dns, tracing, secrets, admin, or a policy: mesh-trace, meshaccesslog, meshpassthrough,
	// open-telemetry, dynamic-config. Default: any.
	Origin *string `json:"origin,omitempty"`
	// Name of the cluster. Default: any.
	Name *string `json:"name,omitempty"`
}

// ListenerModification changes listeners.
type ListenerModification struct {
	// Operation says how. Required.
	Operation ProxyPatchOperation `json:"operation" check:"required"`
	// Match selects the listeners; not with Add. Default: all.
	Match *ListenerMatch `json:"match,omitempty"`
	PatchContent
}

// ListenerMatch selects listeners; everything that it says must hold.
type ListenerMatch struct {
	// Origin is what the listener was made for, in the words of a ClusterMatch. Default: any.
	Origin *string `json:"origin,omitempty"`
	// Name of the listener. Default: any.
	Name *string `json:"name,omitempty"`
	// Tags of the inbound or outbound that the listener is for, all of them.
	Tags map[string]string `json:"tags,omitzero"`
}

// VirtualHostModification changes virtual hosts.
type VirtualHostModification struct {
	// Operation says how. Required.
	Operation ProxyPatchOperation `json:"operation" check:"required"`
	// Match selects the virtual hosts; with Add, the routes that get one more. Required.
	Match VirtualHostMatch `json:"match" check:"required"`
	PatchContent
}

// VirtualHostMatch selects virtual hosts; everything that it says must hold.
type VirtualHostMatch struct {
	// Origin is what the route was made for, in the words of a ClusterMatch. Default: any.
	Origin *string `json:"origin,omitempty"`
	// Name of the virtual host; not with Add. Default: any.
	Name *string `json:"name,omitempty"`
	// RouteConfigurationName is the name of the route that the virtual host is part of. Default: any.
	RouteConfigurationName *string `json:"routeConfigurationName,omitempty"`
}

// FilterModification changes filters.
type FilterModification struct {
	// Operation says how. Required.
	Operation FilterOperation `json:"operation" check:"required"`
	// Match selects the filters; with AddFirst and AddLast, the listeners that get one more. Default: all.
	Match *FilterMatch `json:"match,omitempty"`
	PatchContent
}

// FilterMatch selects filters; everything that it says must hold.
type FilterMatch struct {
	// Origin is what the listener was made for, in the words of a ClusterMatch. Default: any.
	Origin *string `json:"origin,omitempty"`
	// Name of the filter. Required with AddBefore, AddAfter and Patch.
	Name *string `json:"name,omitempty"`
	// ListenerName is the name of the listener that the filter is part of. Default: any.
	ListenerName *string `json:"listenerName,omitempty"`
	// ListenerTags are tags of the inbound or outbound that the listener is for, all of them.
	ListenerTags map[string]string `json:"listenerTags,omitzero"`
}

// PatchContent is what is added, or what changes: with Patch one of its fields.
type PatchContent struct {
	// Value is a text in YAML or JSON: what is added, or what is merged into what is there. Required with the operations
	// that add, refused with Remove.
	Value *string `json:"value,omitempty"`
	// JSONPatches are changes at single places (RFC 6902), in this order; only with Patch.
	JSONPatches []JSONPatch `json:"jsonPatches,omitzero"`
}

// JSONPatch is a change at one place.
type JSONPatch struct {
	// Op is what happens. Required.
	Op JSONPatchOp `json:"op" check:"required"`
	// Path of the place, a JSON pointer: /filterChains/0/name. Required.
	Path string `json:"path" check:"required"`
	// From is the path of what is moved or copied. Required with move and copy, refused with other words.
	From *string `json:"from,omitempty"`
	// Value that is added or replaces what is there. Required with add and replace, refused with other words.
	Value json.RawMessage `json:"value,omitempty"`
}

// JSONPatchOp is what happens at a place.
type JSONPatchOp string

const (
	JSONAdd     JSONPatchOp = "add"
	JSONRemove  JSONPatchOp = "remove"
	JSONReplace JSONPatchOp = "replace"
	JSONMove    JSONPatchOp = "move"
	JSONCopy    JSONPatchOp = "copy"
)

// Enum returns the allowed words.
func (JSONPatchOp) Enum() []string {
	return []string{string(JSONAdd), string(JSONRemove), string(JSONReplace), string(JSONMove), string(JSONCopy)}
}

func (s *MeshProxyPatch) validate(c *check) {
	c.target(s.TargetRef, false)
	at := "spec.default.appendModifications"
	if len(s.Default.AppendModifications) == 0 {
		c.report(at, "must have at least one item")
	}
	for i, m := range s.Default.AppendModifications {
		m.validate(c, item(at, i))
	}
}

func (m ProxyModification) validate(c *check, at string) {
	given := 0
	for _, g := range []bool{m.Cluster != nil, m.Listener != nil, m.VirtualHost != nil, m.NetworkFilter != nil, m.HTTPFilter != nil} {
		if g {
			given++
		}
	}
	if given != 1 {
		c.report(at, "has %d of cluster, listener, virtualHost, networkFilter, httpFilter, want one", given)
		return
	}
	noMatch := func(at string) { c.report(at, "must not be given with operation %s, which selects nothing", PatchAdd) }
	switch {
	case m.Cluster != nil:
		at += ".cluster"
		if m.Cluster.Operation == PatchAdd && m.Cluster.Match != nil {
			noMatch(at + ".match")
		}
		m.Cluster.validate(c, at, m.Cluster.Operation.step(), &clusterv3.Cluster{})
	case m.Listener != nil:
		at += ".listener"
		if m.Listener.Operation == PatchAdd && m.Listener.Match != nil {
			noMatch(at + ".match")
		}
		m.Listener.validate(c, at, m.Listener.Operation.step(), &listenerv3.Listener{})
	case m.VirtualHost != nil:
		at += ".virtualHost"
		if m.VirtualHost.Operation == PatchAdd && m.VirtualHost.Match.Name != nil {
			noMatch(at + ".match.name")
		}
		m.VirtualHost.validate(c, at, m.VirtualHost.Operation.step(), &routev3.VirtualHost{})
	case m.NetworkFilter != nil:
		m.NetworkFilter.filter(c, at+".networkFilter", &listenerv3.Filter{})
	case m.HTTPFilter != nil:
		m.HTTPFilter.filter(c, at+".httpFilter", &http_connection_managerv3.HttpFilter{})
	}
}

func (f *FilterModification) filter(c *check, at string, into envoyMessage) {
	switch f.Operation {
	case FilterAddBefore, FilterAddAfter, FilterPatch:
		if f.Match == nil || f.Match.Name == nil || *f.Match.Name == "" {
			c.report(at+".match.name", "must be given with operation %s", f.Operation)
		}
	}
	f.validate(c, at, f.Operation.step(), into)
}

// patchStep is what an operation does, wherever it does it.
type patchStep uint8

const (
	stepUnknown patchStep = iota
	stepAdd
	stepRemove
	stepPatch
)

func (o ProxyPatchOperation) step() patchStep {
	return map[ProxyPatchOperation]patchStep{PatchAdd: stepAdd, PatchRemove: stepRemove, PatchChange: stepPatch}[o]
}

func (o FilterOperation) step() patchStep {
	switch o {
	case FilterAddFirst, FilterAddLast, FilterAddBefore, FilterAddAfter:
		return stepAdd
	case FilterRemove:
		return stepRemove
	case FilterPatch:
		return stepPatch
	}
	return stepUnknown
}

// validate checks what an operation works with. into is an empty message of the kind that is added or changed.
func (p PatchContent) validate(c *check, at string, step patchStep, into envoyMessage) {
	switch step {
	case stepAdd:
		if p.Value == nil {
			c.report(at+".value", "must be given with an operation that adds")
			return
		}
		c.envoyValue(at+".value", *p.Value, into, true)
	case stepRemove:
		if p.Value != nil {
			c.report(at+".value", "must not be given with operation %s", PatchRemove)
		}
	case stepPatch:
		if (p.Value != nil) == (p.JSONPatches != nil) {
			c.report(at, "must have one of value and jsonPatches with operation %s", PatchChange)
			return
		}
		if p.Value != nil {
			c.envoyValue(at+".value", *p.Value, into, false)
		}
		for i, patch := range p.JSONPatches {
			patch.validate(c, item(at+".jsonPatches", i))
		}
	}
}

func (p JSONPatch) validate(c *check, at string) {
	rule := func(field string, given, wanted bool) {
		switch {
		case given && !wanted:
			c.report(at+"."+field, "must not be given with op %s", p.Op)
		case wanted && !given:
			c.report(at+"."+field, "must be given with op %s", p.Op)
		}
	}
	if p.Op != "" {
		rule("from", p.From != nil, p.Op == JSONMove || p.Op == JSONCopy)
		rule("value", p.Value != nil, p.Op == JSONAdd || p.Op == JSONReplace)
	}
	if p.Op == JSONRemove && (p.Path == "" || p.Path == "/") {
		c.report(at+".path", "found %q, which is everything: use operation %s to remove it", p.Path, PatchRemove)
	}
}

// envoyMessage is a message of Envoy's configuration with the rules that Envoy has for it.
type envoyMessage interface {
	proto.Message
	Validate() error
}

// protoNoise begins the errors of protojson; the position is not one of the text that its author wrote.
var protoNoise = regexp.MustCompile(`^proto:[\s\x{a0}]*(\(line [^)]*\):[\s\x{a0}]*)?`)

// envoyValue checks a text that holds a message, or, if it is not whole, fields of one. Fields that we do not know are
// accepted: Envoy may be newer than we are. So are the settings of extensions that we do not know.
func (c *check) envoyValue(at, text string, into envoyMessage, whole bool) {
	v, err := resource.ParseText(text)
	if err != nil {
		c.report(at, "%v", err)
		return
	}
	if _, ok := v.(map[string]any); !ok {
		c.report(at, "want an object of Envoy's configuration, in YAML or JSON")
		return
	}
	data, err := json.Marshal(withKnownTypes(v))
	if err == nil {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, into)
	}
	if err == nil && whole {
		err = into.Validate()
	}
	if err != nil {
		c.report(at, "no %s of Envoy: %s", into.ProtoReflect().Descriptor().Name(), protoNoise.ReplaceAllString(err.Error(), ""))
	}
}

// withKnownTypes returns v with every object whose "@type" is not linked into this program replaced by an empty one.
func withKnownTypes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if url, ok := v["@type"].(string); ok {
			if _, err := protoregistry.GlobalTypes.FindMessageByURL(url); err != nil {
				return map[string]any{"@type": "type.googleapis.com/google.protobuf.Empty", "value": map[string]any{}}
			}
		}
		known := make(map[string]any, len(v))
		for name, m := range v {
			known[name] = withKnownTypes(m)
		}
		return known
	case []any:
		known := make([]any, len(v))
		for i, e := range v {
			known[i] = withKnownTypes(e)
		}
		return known
	}
	return v
}
