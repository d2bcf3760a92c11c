package kds

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpc "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/meridian-mesh/meridian/kds/scope"
	syncv1 "github.com/meridian-mesh/meridian/proto/sync/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// Features that only Meridian peers announce, and only to each other. A peer has the first two or is spoken to as a Kuma peer.
const (
	FeatureVerdicts = "meridian-verdicts" // answers carry a syncv1.Answer
	FeatureResume   = "meridian-resume"   // subscriptions carry a syncv1.Resume, responses a syncv1.Frame
	FeatureSummons  = "meridian-summons"  // the zone opens the streams for questions to Envoys when it is asked to
)

var (
	extensions = []string{FeatureVerdicts, FeatureResume}
	offered    = append(slices.Clone(extensions), FeatureSummons) // all that a Meridian announces
)

// Keys of the metadata of calls between Meridian peers.
const (
	metaExtensions = "meridian-features" // in the header of global's answer to HealthCheck, then in every call of the zone
	metaInstance   = "meridian-instance" // of the zone
	metaAgent      = "user-agent"
	agentMark      = "; Meridian)" // ends the comment in the user agent of a Meridian zone
)

// mapping changes whenever a resource is sent otherwise than before, although it has not changed: what a peer holds from
// before is then not what it would be sent now.
const mapping = "1"

// extended says whether all our extensions are among names.
func extended(names []string) bool {
	for _, f := range extensions {
		if !slices.Contains(names, f) {
			return false
		}
	}
	return true
}

// meridianZone says whether a caller may be told of extensions.
func meridianZone(md metadata.MD) bool {
	return slices.ContainsFunc(md[metaAgent], func(agent string) bool { return strings.Contains(agent, agentMark) })
}

// announced returns the features in the node metadata of a peer's first request.
func announced(node *core.Node) (names []string) {
	for _, v := range node.GetMetadata().GetFields()["features"].GetListValue().GetValues() {
		names = append(names, v.GetStringValue())
	}
	return names
}

// programVersion returns the version of a peer's program by its node metadata.
func programVersion(node *core.Node) string {
	fields := node.GetMetadata().GetFields()["version"].GetStructValue().GetFields()["kumaCp"].GetStructValue().GetFields()
	return fields["version"].GetStringValue()
}

func instanceOf(node *core.Node) string {
	return node.GetMetadata().GetFields()["control-plane-id"].GetStringValue()
}

// levelsField is where the node metadata of a Meridian peer says which schemas it reads: KIND=LEVEL, separated by commas.
// It is in the first request of a stream only.
const levelsField = "meridian-levels"

// withLevels returns a copy of metadata that says which schemas this build reads.
func withLevels(metadata *structpb.Struct) *structpb.Struct {
	own := scope.OwnLevels()
	var list []string
	for _, kind := range slices.Sorted(maps.Keys(own)) {
		list = append(list, fmt.Sprintf("%s=%d", kind, own[kind]))
	}
	fields := maps.Clone(metadata.GetFields())
	fields[levelsField] = structpb.NewStringValue(strings.Join(list, ","))
	return &structpb.Struct{Fields: fields}
}

// levelsOf returns which schemas a peer reads by its node metadata, nil if it does not say.
func levelsOf(node *core.Node) (scope.Levels, error) {
	said, found := node.GetMetadata().GetFields()[levelsField]
	if !found {
		return nil, nil
	}
	levels := scope.Levels{}
	for entry := range strings.SplitSeq(said.GetStringValue(), ",") {
		kind, text, _ := strings.Cut(entry, "=")
		level, err := strconv.Atoi(text)
		if err != nil || kind == "" || level < 0 {
			return nil, fmt.Errorf("%w: node metadata %s has %q, want KIND=LEVEL", errProtocol, levelsField, entry)
		}
		levels[kind] = level
	}
	return levels, nil
}

// history is how a sender calls the past of its store towards one peer and kind, apart from the run: with another history
// the peer starts anew.
func history(epoch string, to scope.Peer, kind string) string {
	d, _ := resource.LookupKind(kind)
	level := ""
	if has := to.Levels.Of(kind); has < d.SchemaLevel() {
		level = fmt.Sprintf("level %d/", has) // once it has a later one it is sent what is held back now
	}
	return fmt.Sprintf("%s/%s/%s/%+v/%s", epoch, mapping, to.Zone, to.Features, level)
}

// detail wraps a message of ours for a request.
func detail(m proto.Message) (*rpc.Status, error) {
	a, err := anypb.New(m)
	if err != nil {
		return nil, err
	}
	return &rpc.Status{Details: []*anypb.Any{a}}, nil
}

// readDetail reads the message of ours in a request of an extended stream.
func readDetail(m *discovery.DeltaDiscoveryRequest, into proto.Message) error {
	details := m.GetErrorDetail().GetDetails()
	if len(details) != 1 {
		return fmt.Errorf("%w: request of kind %q with %d details, want a %s", errProtocol, m.TypeUrl, len(details), into.ProtoReflect().Descriptor().Name())
	}
	if err := details[0].UnmarshalTo(into); err != nil {
		return fmt.Errorf("%w: request of kind %q: %w", errProtocol, m.TypeUrl, err)
	}
	return nil
}

// putFrame adds f to a response.
func putFrame(m *discovery.DeltaDiscoveryResponse, f *syncv1.Frame) error {
	a, err := anypb.New(f)
	if err != nil {
		return err
	}
	m.Resources = append(m.Resources, &discovery.Resource{Resource: a})
	return nil
}

// takeFrame removes the frame from a response of an extended stream.
func takeFrame(m *discovery.DeltaDiscoveryResponse) (*syncv1.Frame, error) {
	n := len(m.Resources) - 1
	if n < 0 || !m.Resources[n].GetResource().MessageIs((*syncv1.Frame)(nil)) {
		return nil, fmt.Errorf("%w: response of kind %q without a frame", errProtocol, m.TypeUrl)
	}
	f := &syncv1.Frame{}
	if err := m.Resources[n].Resource.UnmarshalTo(f); err != nil {
		return nil, fmt.Errorf("%w: response of kind %q: %w", errProtocol, m.TypeUrl, err)
	}
	if len(f.Kept)%nameHashBytes != 0 {
		return nil, fmt.Errorf("%w: response of kind %q: %d bytes of kept names", errProtocol, m.TypeUrl, len(f.Kept))
	}
	m.Resources = m.Resources[:n]
	return f, nil
}

// summonsType is the type of a response that brings no resources and wants no answer: the name of the only one in it is
// that of a call that the zone is to open.
const summonsType = "meridian-summons"

func summons(view EnvoyView) *discovery.DeltaDiscoveryResponse {
	return &discovery.DeltaDiscoveryResponse{TypeUrl: summonsType, Resources: []*discovery.Resource{{Name: envoyCalls[view].stream}}}
}

// summoned returns the view that a zone is to open, "" if m is no summons or one to something that this build lacks.
func summoned(m *discovery.DeltaDiscoveryResponse) (view EnvoyView, is bool) {
	if m.TypeUrl != summonsType {
		return "", false
	}
	for v, call := range envoyCalls {
		if len(m.Resources) == 1 && m.Resources[0].GetName() == call.stream {
			view = v
		}
	}
	return view, true
}

const nameHashBytes = 8

type nameHash [nameHashBytes]byte

// hashName stands for the name <name>.<mesh> of a resource that is kept. Not for a short sum that somebody could
// construct: two resources of one sum are one too few deletes.
func hashName(name string) nameHash {
	sum := sha256.Sum256([]byte(name))
	return nameHash(sum[:nameHashBytes])
}

// Words for why a resource was rejected, as they travel.
const (
	codeMalformed = "malformed" // cannot be decoded
	codeForbidden = "forbidden" // the sender may not send such a resource
	codeInvalid   = "invalid"   // the receiver's validation says no
	codeOccupied  = "occupied"  // the name is somebody else's
	codeDuplicate = "duplicate" // twice in one response
	codeTooLarge  = "too-large" // no message can hold it; said by the sender itself
	codeTooMany   = "too-many"  // the zone has as many resources as it may have
	codeUnclear   = "unclear"   // one or more of a response were refused, and the peer did not say which
)

// rejectedError is why one resource was not stored.
type rejectedError struct {
	code string
	err  error
}

func (e *rejectedError) Error() string { return e.err.Error() }
func (e *rejectedError) Unwrap() error { return e.err }

func rejectionCode(err error) string {
	if r, ok := errors.AsType[*rejectedError](err); ok {
		return r.code
	}
	return codeInvalid
}

// maxReason bounds the reason of one rejection.
const maxReason = 512

func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason-3], "") + "..."
	}
	return text
}
