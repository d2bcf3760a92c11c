package kds

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	meshv1 "github.com/meridian-mesh/meridian/proto/mesh/v1alpha1"
	systemv1 "github.com/meridian-mesh/meridian/proto/system/v1alpha1"
	"github.com/meridian-mesh/meridian/resource"
)

const (
	anyPrefix = "type.googleapis.com/"

	// What a MeshService's status says in another zone: nothing. Kuma sends it in full, so do we.
	emptyServiceStatus = `{"tls":{},"dataplaneProxies":{}}`

	signingKey       = "zone-token-signing-key"
	signingPublicKey = "zone-token-signing-public-key"
)

var deterministic = proto.MarshalOptions{Deterministic: true}

// variant is one way in which a resource is changed before it is sent. Peers of one variant get the same bytes.
type variant uint8

const (
	toZone      variant = iota // to a zone that knows hashed names: all of them today
	toPlainZone                // to a zone that does not announce hash-suffix
	toGlobal                   // to the global control plane
)

// mapped returns r as it is sent; zone is the sending zone, "" on global. r is not modified.
func mapped(r resource.Resource, v variant, zone string) (resource.Resource, error) {
	labels := maps.Clone(r.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	r.Labels = labels
	if v == toGlobal {
		labels[resource.LabelOrigin], labels[resource.LabelZone] = resource.OriginZone, zone
		delete(labels, resource.LabelGracePeriod)
		var err error
		if r.Spec, err = withoutGenerations(r); err != nil {
			return resource.Resource{}, fmt.Errorf("%s: %w", r.Key, err)
		}
		return hashed(r), nil
	}
	labels[resource.LabelOrigin] = resource.OriginGlobal
	switch {
	case r.Kind == "GlobalSecret" && strings.HasPrefix(r.Name, signingKey):
		public, err := publicHalf(r.Spec)
		if err != nil {
			return resource.Resource{}, fmt.Errorf("%s: %w", r.Key, err)
		}
		labels[resource.LabelDisplayName] = r.Name
		r.Name = signingPublicKey + strings.TrimPrefix(r.Name, signingKey)
		r.Spec = public
	case r.Kind == "MeshService":
		r.Status = []byte(emptyServiceStatus)
	}
	if d, _ := resource.LookupKind(r.Kind); d.PlainName || v == toPlainZone {
		return r, nil
	}
	return hashed(r), nil
}

// wireName returns what mapped will call r, as removals do: <name>.<mesh>.
func wireName(r resource.Resource, v variant, zone string) string {
	d, _ := resource.LookupKind(r.Kind)
	name := r.Name
	switch {
	case v == toGlobal:
		labels := map[string]string{
			resource.LabelDisplayName: r.Display(), resource.LabelZone: zone, resource.LabelNamespace: r.Namespace(),
		}
		name = resource.WireName(resource.Resource{Key: r.Key, Labels: labels})
	case r.Kind == "GlobalSecret" && strings.HasPrefix(r.Name, signingKey):
		name = signingPublicKey + strings.TrimPrefix(r.Name, signingKey)
	case v == toZone && !d.PlainName:
		name = resource.WireName(r)
	}
	return name + "." + r.Mesh
}

// hashed renames r, whose labels the caller owns, to its wire name.
func hashed(r resource.Resource) resource.Resource {
	name := resource.WireName(r)
	r.Labels[resource.LabelDisplayName], r.Name = r.Display(), name
	return r
}

// withoutGenerations returns r's spec with the generation of every xDS subscription zeroed: it means something only to
// the control plane that counts it.
func withoutGenerations(r resource.Resource) ([]byte, error) {
	switch r.Kind {
	case "DataplaneInsight", "ZoneIngressInsight", "ZoneEgressInsight":
	default:
		return r.Spec, nil
	}
	var insight meshv1.DataplaneInsight // the other two are this one without mTLS
	if err := proto.Unmarshal(r.Spec, &insight); err != nil {
		return nil, err
	}
	for _, s := range insight.Subscriptions {
		s.Generation = 0
	}
	return deterministic.Marshal(&insight)
}

// publicHalf turns the secret with a zone token's signing key (PEM, RSA) into one with its public key (PEM, PKCS #1).
func publicHalf(spec []byte) ([]byte, error) {
	var secret systemv1.Secret
	if err := proto.Unmarshal(spec, &secret); err != nil {
		return nil, err
	}
	key, err := resource.ParseSigningKey(secret.GetData().GetValue())
	if err != nil {
		return nil, fmt.Errorf("signing key %w", err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
	return deterministic.Marshal(&systemv1.Secret{Data: wrapperspb.Bytes(public)})
}

// encoding is one resource ready to be sent.
type encoding struct {
	name   string // <name>.<mesh>, as removals call it
	digest digest // of everything that is sent: equal digests, equal bytes
	wire   *discovery.Resource
	bytes  int // that it takes in a message

	modified time.Time // when what is sent was committed here
}

// encode marshals an already mapped resource.
func encode(r resource.Resource) (encoding, error) {
	d, _ := resource.LookupKind(r.Kind)
	m := &meshv1.KumaResource{
		Meta: &meshv1.KumaResource_Meta{Name: r.Name, Mesh: r.Mesh, Labels: r.Labels},
		Spec: &anypb.Any{Value: r.Spec},
	}
	if d.Message != "" {
		m.Spec.TypeUrl = anyPrefix + d.Message
	}
	if r.Status != nil {
		m.Status = &anypb.Any{Value: r.Status}
	}
	value, err := deterministic.Marshal(m)
	if err != nil {
		return encoding{}, fmt.Errorf("%s: %w", r.Key, err)
	}
	sum := sha256.Sum256(value)
	e := encoding{name: r.Name + "." + r.Mesh, wire: &discovery.Resource{
		Version:  hex.EncodeToString(sum[:]),
		Resource: &anypb.Any{TypeUrl: anyPrefix + string(m.ProtoReflect().Descriptor().FullName()), Value: value},
	}}
	e.bytes = proto.Size(e.wire) + 8 // and its tag and length
	copy(e.digest[:], sum[:])
	return e, nil
}

// decode returns what the peer sent. A resource that has a name but is otherwise unusable is an *InvalidError, with its
// key in r; anything worse is errProtocol.
func decode(d resource.Descriptor, w *discovery.Resource) (r resource.Resource, err error) {
	var m meshv1.KumaResource
	if err := w.GetResource().UnmarshalTo(&m); err != nil {
		return r, fmt.Errorf("%w: %s: %w", errProtocol, d.Kind, err)
	}
	r.Key = resource.Key{Kind: d.Kind, Mesh: m.GetMeta().GetMesh(), Name: m.GetMeta().GetName()}
	r.Labels = m.GetMeta().GetLabels()
	if r.Name == "" {
		return r, fmt.Errorf("%w: %s without a name", errProtocol, d.Kind)
	}
	if (r.Mesh != "") != (d.Scope == resource.ScopeMesh) {
		return r, invalid(r.Key, "mesh", "%q does not go with the scope of the kind", r.Mesh)
	}
	if r.Spec, err = decodeSpec(r.Key, d, m.Spec); err != nil {
		return r, err
	}
	if status := m.Status.GetValue(); d.Status && len(status) > 0 {
		r.Status, err = compactObject(r.Key, "status", status)
	}
	return r, err
}

func decodeSpec(key resource.Key, d resource.Descriptor, spec *anypb.Any) ([]byte, error) {
	switch {
	case spec == nil:
		return nil, invalid(key, "spec", "is absent")
	case d.Message == "":
		return compactObject(key, "spec", spec.Value)
	case string(spec.MessageName()) != d.Message:
		return nil, invalid(key, "spec", "is a %q, want %s", spec.MessageName(), d.Message)
	}
	// Bytes of a message that is not linked in travel as they are.
	if t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(d.Message)); err == nil {
		if err := proto.Unmarshal(spec.Value, t.New().Interface()); err != nil {
			return nil, invalid(key, "spec", "%v", err)
		}
	}
	return append([]byte{}, spec.Value...), nil
}

// compactObject returns a JSON object without white space. Unknown fields and the order of fields stay.
func compactObject(key resource.Key, field string, data []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return nil, invalid(key, field, "%v", err)
	}
	if b.Len() == 0 || b.Bytes()[0] != '{' {
		return nil, invalid(key, field, "is not a JSON object")
	}
	return b.Bytes(), nil
}

// removedKey returns the key that an entry of removed_resources names: <name>.<mesh>, split at the last dot.
func removedKey(kind, entry string) resource.Key {
	if i := strings.LastIndexByte(entry, '.'); i >= 0 {
		return resource.Key{Kind: kind, Mesh: entry[i+1:], Name: entry[:i]}
	}
	return resource.Key{Kind: kind, Name: entry}
}

func invalid(key resource.Key, field, reason string, args ...any) error {
	return &resource.InvalidError{Key: key, Violations: []resource.Violation{{Field: field, Reason: fmt.Sprintf(reason, args...)}}}
}
