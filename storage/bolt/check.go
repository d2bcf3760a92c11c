package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"io"
	"os"

	"github.com/meridian-mesh/meridian/resource"
)

// The file format of bbolt, version 2: pages of one size, each with a header; page 0 and 1 are commit records (meta),
// written in turn. A leaf entry with flag 1 is a bucket: its value is the page where the bucket's tree starts, or page 0
// and the page itself. Numbers have the byte order of the machine. Positions count from their own element.
const (
	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	elementSize  = 16 // branch: position 4, key size 4, page 8; leaf: flags 4, position 4, key size 4, value size 4
	bucketHeader = 16 // root page 8, sequence 8

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSummed  = 56 // magic 4, version 4, page size 4, flags 4, root 8, sequence 8, freelist 8, pages 8, txid 8
	noFreelist  = ^uint64(0)
)

var native = binary.NativeEndian

// found is what check learned on its way.
type found struct {
	epoch     string
	owner     string // "": nobody's yet
	revision  resource.Revision
	compacted resource.Revision
	live      int // resources
}

// checker walks the pages of a file that nobody else writes to. It reads through the file, not through a mapping, and
// believes nothing: no position, count or page number is used before it is known to be inside the file, and no page is
// visited twice, so any content ends in an error or in a whole store.
type checker struct {
	file  io.ReaderAt
	size  uint64 // of a page
	pages uint64 // in use: those beyond were never written
	seen  []bool // by page

	depth   int
	buffers [][]byte // by depth
}

// check reads the whole store and proves that bbolt will find its way in it, that every record is as it was written,
// and that records and log agree. each is called for every record; it may be nil. Errors: resource.ErrDamaged,
// ErrNewerFormat, what the disk said, or what each did.
func check(f *os.File, each func(key []byte, e entry) error) (found, error) {
	info, err := f.Stat()
	if err != nil {
		return found{}, err
	}
	c := &checker{file: f}
	root, freelist, err := c.commitRecord(uint64(info.Size()))
	if err != nil {
		return found{}, err
	}
	buckets := map[string][]byte{}
	err = c.tree(root, nil, nil, func(flags uint32, key, value []byte) error {
		if flags == 1 {
			buckets[string(key)] = bytes.Clone(value)
		}
		return nil
	})
	if err != nil {
		return found{}, err
	}
	out, err := c.meta(buckets)
	if err != nil {
		return found{}, err
	}
	if err := c.content(buckets, &out, each); err != nil {
		return found{}, err
	}
	return out, c.freelist(freelist)
}

// commitRecord reads both meta pages and returns what the newer one refers to.
func (c *checker) commitRecord(size uint64) (root, freelist uint64, err error) {
	if size == 0 {
		return 0, 0, damaged("the file is empty, which a store never is")
	}
	first, err := c.metaPage(0)
	if err != nil {
		return 0, 0, err
	}
	c.size = uint64(native.Uint32(first[8:]))
	if c.size < 1024 || c.size > 1<<24 || c.size&(c.size-1) != 0 {
		return 0, 0, damaged("a page size of %d bytes", c.size)
	}
	second, err := c.metaPage(int64(c.size))
	if err != nil {
		return 0, 0, err
	}
	txid := func(meta []byte) uint64 { return native.Uint64(meta[48:]) }
	newer := first
	if txid(second) > txid(first) {
		newer = second
	}
	c.pages = native.Uint64(newer[40:])
	if have := size / c.size; c.pages > have {
		return 0, 0, damaged("it has %d pages of %d bytes and should have %d: the file was cut off", have, c.size, c.pages)
	}
	c.seen = make([]bool, c.pages)
	return native.Uint64(newer[16:]), native.Uint64(newer[32:]), nil
}

// metaPage returns the content of the meta page at offset. bbolt can do with one of the two, by going back to the
// commit before; we cannot, since somebody may have been told the newer revision.
func (c *checker) metaPage(offset int64) ([]byte, error) {
	buf := make([]byte, metaSummed+8)
	if err := c.read(buf, offset+pageHeader); err != nil {
		return nil, err
	}
	if magic := native.Uint32(buf); magic != metaMagic {
		return nil, damaged("no commit record at byte %d: not a store, or overwritten", offset)
	}
	if v := native.Uint32(buf[4:]); v != metaVersion {
		return nil, damaged("bbolt version %d in the commit record at byte %d, want %d", v, offset, metaVersion)
	}
	sum := fnv.New64a()
	sum.Write(buf[:metaSummed])
	if sum.Sum64() != native.Uint64(buf[metaSummed:]) {
		return nil, damaged("the commit record at byte %d: %v", offset, errChecksum)
	}
	return buf, nil
}

func (c *checker) read(buf []byte, offset int64) error {
	_, err := c.file.ReadAt(buf, offset)
	if errors.Is(err, io.EOF) {
		return damaged("the file ends before byte %d", offset+int64(len(buf)))
	}
	return err
}

// page reads page id with the pages that it extends over. The result is good until the next page of its depth, which
// is that of the tree of pages that are being read.
func (c *checker) page(id uint64) ([]byte, error) {
	if err := c.claim(id, 1); err != nil {
		return nil, err
	}
	if c.depth == len(c.buffers) {
		c.buffers = append(c.buffers, make([]byte, c.size))
	}
	buf := c.buffers[c.depth][:c.size]
	if err := c.read(buf, int64(id*c.size)); err != nil {
		return nil, err
	}
	if got := native.Uint64(buf); got != id {
		return nil, damaged("page %d says that it is page %d", id, got)
	}
	more := uint64(native.Uint32(buf[12:]))
	if more == 0 {
		return buf, nil
	}
	if err := c.claim(id+1, more); err != nil {
		return nil, err
	}
	buf = append(buf, make([]byte, more*c.size)...)
	c.buffers[c.depth] = buf
	return buf, c.read(buf[c.size:], int64((id+1)*c.size))
}

// claim marks the count pages from id as seen.
func (c *checker) claim(id, count uint64) error {
	if id < 2 || id >= c.pages || count > c.pages-id {
		return damaged("a reference to %d pages from page %d on; there are %d", count, id, c.pages)
	}
	for i := id; i < id+count; i++ {
		if c.seen[i] {
			return damaged("two references to page %d", i)
		}
		c.seen[i] = true
	}
	return nil
}

// visitor gets the entries of a tree in order. key and value are only valid during the call.
type visitor func(flags uint32, key, value []byte) error

// tree visits the tree under page id. Its first key must be first (nil: any), and all must be less than high (nil: any).
// bbolt could read a tree whose branches have smaller keys than what they lead to, but not write to it.
func (c *checker) tree(id uint64, first, high []byte, visit visitor) error {
	p, err := c.page(id)
	if err != nil {
		return err
	}
	c.depth++
	defer func() { c.depth-- }()
	switch flags := native.Uint16(p[8:]); flags {
	case pageLeaf:
		return c.leaf(id, p, first, high, visit)
	case pageBranch:
		return c.branch(id, p, first, high, visit)
	default:
		return damaged("page %d is neither branch nor leaf: %#x", id, flags)
	}
}

func (c *checker) branch(id uint64, p, first, high []byte, visit visitor) error {
	count := int(native.Uint16(p[10:]))
	if count == 0 {
		return damaged("page %d is a branch without children", id)
	}
	if pageHeader+count*elementSize > len(p) {
		return damaged("page %d has %d elements", id, count)
	}
	key := func(i int) ([]byte, error) {
		at := pageHeader + i*elementSize
		return slice(id, p[at:], uint64(native.Uint32(p[at:])), uint64(native.Uint32(p[at+4:])))
	}
	this, err := key(0)
	if err != nil {
		return err
	}
	if first != nil && !bytes.Equal(this, first) {
		return damaged("page %d: another first key than in the page above", id)
	}
	for i := range count {
		next := high
		if i+1 < count {
			if next, err = key(i + 1); err != nil {
				return err
			}
		}
		if next != nil && bytes.Compare(this, next) >= 0 {
			return damaged("page %d: keys out of order", id)
		}
		if err := c.tree(native.Uint64(p[pageHeader+i*elementSize+8:]), this, next, visit); err != nil {
			return err
		}
		this = next
	}
	return nil
}

func (c *checker) leaf(id uint64, p, first, high []byte, visit visitor) error {
	count := int(native.Uint16(p[10:]))
	if pageHeader+count*elementSize > len(p) {
		return damaged("page %d has %d elements", id, count)
	}
	if count == 0 && first != nil {
		return damaged("page %d is empty", id)
	}
	var before []byte
	for i := range count {
		at := pageHeader + i*elementSize
		flags, pos := native.Uint32(p[at:]), uint64(native.Uint32(p[at+4:]))
		keyLen, valueLen := uint64(native.Uint32(p[at+8:])), uint64(native.Uint32(p[at+12:]))
		key, err := slice(id, p[at:], pos, keyLen)
		if err != nil {
			return err
		}
		var value []byte
		if valueLen > 0 {
			if value, err = slice(id, p[at:], pos+keyLen, valueLen); err != nil {
				return err
			}
		}
		switch {
		case i == 0 && first != nil && !bytes.Equal(key, first):
			return damaged("page %d: another first key than in the page above", id)
		case before != nil && bytes.Compare(before, key) >= 0, high != nil && bytes.Compare(key, high) >= 0:
			return damaged("page %d: keys out of order", id)
		}
		if err := visit(flags, key, value); err != nil {
			return err
		}
		before = key
	}
	return nil
}

// slice returns the size bytes at pos of p, which is a part of page id. Keys are never empty.
func slice(id uint64, p []byte, pos, size uint64) ([]byte, error) {
	if size == 0 || pos+size > uint64(len(p)) {
		return nil, damaged("page %d refers to %d bytes at %d, beyond its end", id, size, pos)
	}
	return p[pos : pos+size], nil
}

// bucket visits the entries of a bucket that the root has under name. Buckets of a store have no buckets in them.
func (c *checker) bucket(buckets map[string][]byte, name []byte, visit func(key, value []byte) error) error {
	header := buckets[string(name)]
	if len(header) < bucketHeader {
		return damaged("bucket %s is not there", name)
	}
	entries := func(flags uint32, key, value []byte) error {
		if flags != 0 {
			return damaged("bucket %s: an entry with flags %#x", name, flags)
		}
		return visit(key, value)
	}
	if root := native.Uint64(header); root != 0 {
		return c.tree(root, nil, nil, entries)
	}
	inline := header[bucketHeader:]
	if len(inline) < pageHeader || native.Uint16(inline[8:]) != pageLeaf {
		return damaged("bucket %s has no page", name)
	}
	return c.leaf(0, inline, nil, nil, entries)
}

func (c *checker) meta(buckets map[string][]byte) (out found, err error) {
	if _, ok := buckets[string(bucketMeta)]; !ok {
		return found{}, damaged("a bbolt database, but not a store of this program")
	}
	values := map[string][]byte{}
	err = c.bucket(buckets, bucketMeta, func(key, value []byte) error {
		values[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return found{}, err
	}
	number := func(key []byte) (n uint64) {
		if err != nil {
			return 0
		}
		if n, err = unsealNumber(key, values[string(key)]); err != nil {
			err = damaged("%s: %v", key, err)
		}
		return n
	}
	if f := number(metaFormat); err == nil && f > format {
		return found{}, fmt.Errorf("%w: its format is %d, this program knows up to %d", ErrNewerFormat, f, format)
	}
	out.revision = resource.Revision(number(metaRevision))
	out.compacted = resource.Revision(number(metaCompacted))
	epoch, epochErr := unseal(metaEpoch, values[string(metaEpoch)])
	if epochErr != nil {
		err = errors.Join(err, damaged("%s: %v", metaEpoch, epochErr))
	}
	out.epoch = string(epoch)
	if sealed, claimed := values[string(metaOwner)]; claimed {
		owner, ownerErr := unseal(metaOwner, sealed)
		if ownerErr != nil {
			err = errors.Join(err, damaged("%s: %v", metaOwner, ownerErr))
		}
		out.owner = string(owner)
	}
	return out, err
}

// content reads every record and every log entry. That each has its partner is shown by two sums over them that must
// come out alike, which takes no lookups.
func (c *checker) content(buckets map[string][]byte, out *found, each func(key []byte, e entry) error) error {
	seed := maphash.MakeSeed()
	pair := func(position, key []byte) uint64 {
		return maphash.Bytes(seed, position) ^ 3*maphash.Bytes(seed, key)
	}
	var records, entries uint64
	err := c.bucket(buckets, bucketRes, func(key, value []byte) error {
		e, err := unsealEntry(key, value)
		if err != nil {
			return damaged("the record of %q: %v", key, err)
		}
		switch rev := e.revision(); {
		case rev == 0, rev > out.revision:
			return damaged("the record of %q has revision %d, the store %d", key, rev, out.revision)
		case e.live:
			out.live++
		case rev <= out.compacted:
			return damaged("the delete of %q at revision %d should be forgotten", key, rev)
		}
		records += pair(e.position, key)
		if each != nil {
			return each(key, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.bucket(buckets, bucketLog, func(position, key []byte) error {
		entries += pair(position, key)
		return nil
	})
	if err != nil {
		return err
	}
	if records != entries {
		return damaged("records and log disagree")
	}
	return nil
}

// freelist checks that no page is both free and used. Pages that are neither are lost, not dangerous.
func (c *checker) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	if flags := native.Uint16(p[8:]); flags != pageFreelist {
		return damaged("page %d is no list of free pages: %#x", id, flags)
	}
	ids, count := p[pageHeader:], uint64(native.Uint16(p[10:]))
	if count == 0xFFFF { // too many for the header: the first element is their number
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damaged("page %d lists %d free pages", id, count)
	}
	for i := range count {
		if err := c.claim(native.Uint64(ids[8*i:]), 1); err != nil {
			return err
		}
	}
	return nil
}
