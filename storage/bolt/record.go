package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "github.com/meridian-mesh/meridian/proto/store/v1"
	"github.com/meridian-mesh/meridian/resource"
)

// format is the layout of the file as doc.go describes it. A change that this program could misread gets a new number.
const format = 1

var (
	bucketMeta = []byte("meta")
	bucketRes  = []byte("res")
	bucketLog  = []byte("log")

	metaFormat    = []byte("format")
	metaEpoch     = []byte("epoch")
	metaRevision  = []byte("revision")
	metaCompacted = []byte("compacted")
	metaOwner     = []byte("owner") // not in stores that nobody has claimed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumLen = 4

// checksum covers the key too: content that ends up under another key is damage.
func checksum(key, content []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, content)
}

// seal returns what is stored under key for content.
func seal(key, content []byte) []byte {
	value := make([]byte, sumLen, sumLen+len(content))
	binary.BigEndian.PutUint32(value, checksum(key, content))
	return append(value, content...)
}

var errChecksum = errors.New("the checksum does not match")

// unseal returns the content of value; it shares value's memory.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < sumLen || binary.BigEndian.Uint32(value) != checksum(key, value[sumLen:]) {
		return nil, errChecksum
	}
	return value[sumLen:], nil
}

func sealNumber(key []byte, n uint64) []byte { return seal(key, binary.BigEndian.AppendUint64(nil, n)) }

func unsealNumber(key, value []byte) (uint64, error) {
	content, err := unseal(key, value)
	if err != nil {
		return 0, err
	}
	if len(content) != 8 {
		return 0, fmt.Errorf("%d bytes where a number has 8", len(content))
	}
	return binary.BigEndian.Uint64(content), nil
}

// checkOp refuses what the encoding cannot hold. What a good name or label is, is not for a store to say.
func checkOp(op resource.Op) error {
	key := op.Resource.Key
	var wrong []resource.Violation
	text := func(value, field string, args ...any) {
		switch {
		case !utf8.ValidString(value):
			wrong = append(wrong, resource.Violation{Field: fmt.Sprintf(field, args...), Reason: "must be UTF-8"})
		case strings.Contains(value, "\x00"):
			wrong = append(wrong, resource.Violation{Field: fmt.Sprintf(field, args...), Reason: "must not contain a NUL character"})
		}
	}
	text(key.Kind, "type")
	text(key.Mesh, "mesh")
	text(key.Name, "name")
	for name, value := range op.Resource.Labels {
		text(name, "labels[%q]", name)
		text(value, "labels[%q]", name)
	}
	if key.Kind == "" {
		wrong = append(wrong, resource.Violation{Field: "type", Reason: "must not be empty"})
	}
	if key.Name == "" {
		wrong = append(wrong, resource.Violation{Field: "name", Reason: "must not be empty"})
	}
	const separators = 2
	if n := len(key.Kind) + len(key.Mesh) + len(key.Name) + separators; n > bbolt.MaxKeySize {
		wrong = append(wrong, resource.Violation{Reason: fmt.Sprintf("type, mesh and name have %d bytes too many", n-bbolt.MaxKeySize)})
	}
	if wrong != nil {
		return &resource.InvalidError{Key: key, Violations: wrong}
	}
	return nil
}

// encodeKey keeps the order of resource.Key.Compare, since no part contains the separator.
func encodeKey(key resource.Key) []byte {
	k := make([]byte, 0, len(key.Kind)+len(key.Mesh)+len(key.Name)+2)
	k = append(append(k, key.Kind...), 0)
	k = append(append(k, key.Mesh...), 0)
	return append(k, key.Name...)
}

func decodeKey(k []byte) (resource.Key, bool) {
	parts := bytes.Split(k, []byte{0})
	if len(parts) != 3 {
		return resource.Key{}, false
	}
	return resource.Key{Kind: string(parts[0]), Mesh: string(parts[1]), Name: string(parts[2])}, true
}

// keyPrefix begins the keys of kind, and of no other kind; that of "" begins all of them.
func keyPrefix(kind string) []byte {
	if kind == "" {
		return nil
	}
	return append([]byte(kind), 0)
}

// positionLen is the length of a log position: revision, then the place within the batch.
const positionLen = 8 + 4

func position(rev resource.Revision, place int) []byte {
	p := binary.BigEndian.AppendUint64(make([]byte, 0, positionLen), uint64(rev))
	return binary.BigEndian.AppendUint32(p, uint32(place))
}

func revisionAt(position []byte) resource.Revision {
	return resource.Revision(binary.BigEndian.Uint64(position))
}

// entry is a value of bucket res. Its slices share the memory of the transaction.
type entry struct {
	position []byte
	live     bool
	record   []byte // storev1.Record; of a tombstone only when that was, empty in files of earlier versions
}

func (e entry) revision() resource.Revision { return revisionAt(e.position) }

func (e entry) seal(key []byte) []byte {
	content := make([]byte, 0, positionLen+1+len(e.record))
	content = append(content, e.position...)
	if e.live {
		content = append(content, 1)
	} else {
		content = append(content, 0)
	}
	return seal(key, append(content, e.record...))
}

func unsealEntry(key, value []byte) (entry, error) {
	content, err := unseal(key, value)
	if err != nil {
		return entry{}, err
	}
	if len(content) < positionLen+1 {
		return entry{}, fmt.Errorf("a record of %d bytes", len(content))
	}
	return entry{position: content[:positionLen], live: content[positionLen] == 1, record: content[positionLen+1:]}, nil
}

func encodeRecord(r resource.Resource, created, modified time.Time) ([]byte, error) {
	return proto.Marshal(&storev1.Record{
		Labels:    r.Labels,
		Spec:      r.Spec,
		Status:    r.Status,
		HasStatus: r.Status != nil,
		Created:   timestamppb.New(created),
		Modified:  timestamppb.New(modified),
	})
}

// encodeTombstone says when a resource was deleted.
func encodeTombstone(deleted time.Time) ([]byte, error) {
	return proto.Marshal(&storev1.Record{Modified: timestamppb.New(deleted)})
}

// deleted returns when, if e is a tombstone; zero: it does not say.
func (e entry) deleted() (time.Time, error) {
	var rec storev1.Record
	if err := proto.Unmarshal(e.record, &rec); err != nil || rec.Modified == nil {
		return time.Time{}, err
	}
	return rec.Modified.AsTime(), nil
}

// resource returns a copy that shares nothing with the transaction.
func (e entry) resource(key resource.Key) (resource.Resource, error) {
	var rec storev1.Record
	if err := proto.Unmarshal(e.record, &rec); err != nil {
		return resource.Resource{}, err
	}
	r := resource.Resource{
		Key: key, Labels: rec.Labels, Spec: rec.Spec, Version: e.revision(),
		Created: rec.Created.AsTime(), Modified: rec.Modified.AsTime(),
	}
	if r.Spec == nil {
		r.Spec = []byte{}
	}
	if rec.HasStatus {
		r.Status = append([]byte{}, rec.Status...)
	}
	return r, nil
}
