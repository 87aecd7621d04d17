package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"math/bits"
)

// bbolt's file format, version 2, as far as the check needs it. Integers are in the machine's byte order.
//
//	page      id u64 | flags u16 | count u16 | overflow u32 | elements | their keys and values
//	meta      magic u32 | version u32 | page size u32 | flags u32 | root bucket | freelist u64 | pages u64 | txid u64 | FNV-1a u64
//	bucket    root page u64 | sequence u64 | inline page, when the root page is 0
//	branch    pos u32 | key size u32 | page u64                       pos counts from the element
//	leaf      flags u32 | pos u32 | key size u32 | value size u32
//	freelist  page ids u64; a count of 0xffff stands for one in the first of them
const (
	boltMagic   = 0xed0cdaed
	boltVersion = 2

	pageHeader   = 16
	elementSize  = 16
	bucketHeader = 16
	metaSize     = 64 // without the page header
	metaSummed   = 56 // of these under the checksum

	branchFlag   = 0x01
	leafFlag     = 0x02
	freelistFlag = 0x10
	bucketFlag   = 0x01 // of a leaf element

	minPage  = 1 << 10
	maxPage  = 1 << 24
	maxDepth = 64 // of a tree; 2^64 pages of two branches each
)

var order = binary.NativeEndian

// header is what a meta page says.
type header struct {
	pageSize                    int
	root, freelist, pages, txid uint64
}

func parseHeader(page []byte) (header, bool) {
	if len(page) < pageHeader+metaSize {
		return header{}, false
	}
	m := page[pageHeader:]
	h := header{
		pageSize: int(order.Uint32(m[8:])), root: order.Uint64(m[16:]), freelist: order.Uint64(m[32:]),
		pages: order.Uint64(m[40:]), txid: order.Uint64(m[48:]),
	}
	ok := order.Uint32(m) == boltMagic && order.Uint32(m[4:]) == boltVersion && order.Uint64(m[metaSummed:]) == headerSum(m) &&
		h.pageSize >= minPage && h.pageSize <= maxPage && bits.OnesCount(uint(h.pageSize)) == 1
	return h, ok
}

func headerSum(meta []byte) uint64 {
	sum := fnv.New64a()
	sum.Write(meta[:metaSummed])
	return sum.Sum64()
}

// checker walks every page that the newest header reaches. It is stricter than bbolt's own check, which runs only on a
// file that is already mapped: data must lie on the page without gaps, as bbolt writes it, so that no count or length can
// change without notice, and every page must be in use or free, once.
type checker struct {
	file   io.ReaderAt
	size   int64
	header header
	used   []bool   // by page id
	spare  [][]byte // page buffers
	visit  visitor
}

// visitor is given what is stored, in order: a bucket as (nil, name, nil), then each of its records. The slices are valid
// during the call. Its errors end the walk.
type visitor func(bucket, key, value []byte) error

// check reads a bbolt file of size bytes. lost tells of one header page that is damaged: what the other one says is whole,
// but may be one commit old. Errors match errDamaged unless reading the file failed.
func check(file io.ReaderAt, size int64, visit visitor) (lost, err error) {
	c := &checker{file: file, size: size, visit: visit}
	if lost, err = c.readHeaders(); err != nil {
		return nil, err
	}
	h := &c.header
	if h.pages < 4 || h.pages > uint64(size)/uint64(h.pageSize) {
		return nil, damagef("%d pages of %d bytes in a file of %d bytes", h.pages, h.pageSize, size)
	}
	c.used = make([]bool, h.pages)
	c.used[0], c.used[1] = true, true
	if err := c.tree(h.root, span{}, nil, 0); err != nil {
		return nil, err
	}
	if err := c.freelist(); err != nil {
		return nil, err
	}
	for id, used := range c.used {
		if !used {
			return nil, damagef("page %d is neither in use nor free", id)
		}
	}
	return lost, nil
}

// readHeaders finds the newest valid header, as bbolt does: the second one stands at the page size, which is not known when
// the first is damaged.
func (c *checker) readHeaders() (lost, err error) {
	var first, second header
	var ok0, ok1 bool
	if first, ok0, err = c.readHeader(0); err != nil {
		return nil, err
	}
	if ok0 {
		if second, ok1, err = c.readHeader(int64(first.pageSize)); err != nil {
			return nil, err
		}
	} else {
		for at := int64(minPage); at <= maxPage && !ok1; at *= 2 {
			if second, ok1, err = c.readHeader(at); err != nil {
				return nil, err
			}
			ok1 = ok1 && int64(second.pageSize) == at
		}
	}
	switch {
	case !ok0 && !ok1:
		return nil, damage("no valid header: not a state store, or its first pages are damaged")
	case !ok0:
		c.header, lost = second, damage("header page 0 is invalid; the last commit may be missing")
	case !ok1:
		c.header, lost = first, damage("header page 1 is invalid; the last commit may be missing")
	case second.txid > first.txid:
		c.header = second
	default:
		c.header = first
	}
	return lost, nil
}

func (c *checker) readHeader(at int64) (header, bool, error) {
	var b [pageHeader + metaSize]byte
	if err := c.read(b[:], at); err != nil {
		return header{}, false, ignoreDamage(err)
	}
	h, ok := parseHeader(b[:])
	return h, ok, nil
}

func ignoreDamage(err error) error {
	if errors.Is(err, errDamaged) {
		return nil
	}
	return err
}

func (c *checker) read(b []byte, at int64) error {
	if at > c.size-int64(len(b)) {
		return damagef("%d bytes at %d are beyond the end of the file", len(b), at)
	}
	n, err := c.file.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return damage("the file shrinks")
	}
	return err
}

// page claims page id with its overflow and reads them. The caller gives the buffer back by release.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.header.pages {
		return nil, damagef("page %d of %d", id, c.header.pages)
	}
	size := c.header.pageSize
	b := c.buffer()
	if err := c.read(b, int64(id)*int64(size)); err != nil {
		return nil, err
	}
	if got := order.Uint64(b); got != id {
		return nil, damagef("page %d says that it is page %d", id, got)
	}
	overflow := uint64(order.Uint32(b[12:]))
	if overflow >= c.header.pages-id {
		return nil, damagef("page %d spans %d pages of %d", id, overflow+1, c.header.pages)
	}
	for i := id; i <= id+overflow; i++ {
		if err := c.claim(i); err != nil {
			return nil, err
		}
	}
	if overflow > 0 {
		rest := make([]byte, (int(overflow)+1)*size)
		copy(rest, b)
		if err := c.read(rest[size:], int64(id+1)*int64(size)); err != nil {
			return nil, err
		}
		c.release(b)
		b = rest
	}
	return b, nil
}

func (c *checker) claim(id uint64) error {
	if id < 2 || id >= c.header.pages {
		return damagef("page %d of %d", id, c.header.pages)
	}
	if c.used[id] {
		return damagef("page %d is used twice", id)
	}
	c.used[id] = true
	return nil
}

func (c *checker) buffer() []byte {
	if n := len(c.spare); n > 0 {
		b := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return b
	}
	return make([]byte, c.header.pageSize)
}

func (c *checker) release(b []byte) {
	if len(b) == c.header.pageSize {
		c.spare = append(c.spare, b)
	}
}

func (c *checker) freelist() error {
	id := c.header.freelist
	b, err := c.page(id)
	if err != nil {
		return err
	}
	if order.Uint16(b[8:]) != freelistFlag {
		return damagef("page %d is no freelist", id)
	}
	count, ids := uint64(order.Uint16(b[10:])), b[pageHeader:]
	if count == 0xffff {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return damagef("freelist of %d pages in %d bytes", count, len(ids))
	}
	for i := range count {
		if err := c.claim(order.Uint64(ids[8*i:])); err != nil {
			return err
		}
	}
	return nil
}

// span is the range of keys on a page: lo is the first one, all are below hi; nil is no bound. bbolt finds the branch to
// change by lo: a page that begins with another key passes its own check and is torn at the next commit.
type span struct{ lo, hi []byte }

// tree walks the page id and all below it. bucket is nil in the root bucket.
func (c *checker) tree(id uint64, within span, bucket []byte, depth int) error {
	if depth > maxDepth {
		return damagef("page %d is %d pages deep", id, depth)
	}
	b, err := c.page(id)
	if err != nil {
		return err
	}
	defer c.release(b)
	switch flags := order.Uint16(b[8:]); flags {
	case leafFlag:
		_, err := c.leaf(b, within, bucket, depth)
		return err
	case branchFlag:
		return c.branch(b, within, bucket, depth)
	default:
		return damagef("page %d is of type %#x", id, flags)
	}
}

func (c *checker) branch(b []byte, within span, bucket []byte, depth int) error {
	s := newScan(b, within)
	if s.count == 0 {
		return damage("a branch page without branches")
	}
	e, err := s.next()
	for ; err == nil && e.key != nil; e, err = s.next() {
		child := span{lo: e.key, hi: s.peek()}
		if child.hi == nil {
			child.hi = within.hi
		}
		if err := c.tree(e.child, child, bucket, depth+1); err != nil {
			return err
		}
	}
	return err
}

// leaf walks a leaf page and returns where its data end.
func (c *checker) leaf(b []byte, within span, bucket []byte, depth int) (end int, err error) {
	s := newScan(b, within)
	if s.count == 0 && len(bytes.Trim(b[pageHeader:], "\x00")) > 0 {
		return 0, damage("an empty page with data") // bbolt clears pages before it writes them
	}
	e, err := s.next()
	for ; err == nil && e.key != nil; e, err = s.next() {
		switch {
		case bucket == nil && e.flags == bucketFlag:
			err = c.bucket(e.key, e.value, depth)
		case bucket != nil && e.flags == 0:
			err = c.visit(bucket, e.key, e.value)
		default:
			err = damagef("element %x of type %#x", e.key, e.flags)
		}
		if err != nil {
			return 0, err
		}
	}
	return s.end, err
}

// bucket walks the bucket of that name, whose records are on pages of its own or, when they are few, inside value.
func (c *checker) bucket(name, value []byte, depth int) error {
	if err := c.visit(nil, name, nil); err != nil {
		return err
	}
	if len(value) < bucketHeader {
		return damagef("bucket of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		if len(value) != bucketHeader {
			return damagef("bucket of %d bytes with pages of its own", len(value))
		}
		return c.tree(root, span{}, name, depth+1)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || order.Uint16(inline[8:]) != leafFlag {
		return damage("bucket without a page")
	}
	end, err := c.leaf(inline, span{}, name, depth)
	if err == nil && end != len(inline) {
		err = damagef("bucket of %d bytes that uses %d", len(inline), end)
	}
	return err
}

// element is one of a page. key is nil after the last.
type element struct {
	flags      uint32
	child      uint64 // of a branch
	key, value []byte
}

// scan reads the elements of a page in turn.
type scan struct {
	page   []byte
	leaf   bool
	count  int
	i      int
	end    int    // where the data of the elements read so far end
	prev   []byte // key of the last one read
	within span
}

func newScan(page []byte, within span) *scan {
	count := int(order.Uint16(page[10:]))
	return &scan{
		page: page, leaf: order.Uint16(page[8:]) == leafFlag, count: count, end: pageHeader + elementSize*count, within: within,
	}
}

// next returns the next element, its data checked to follow those of the one before and its key to be larger.
func (s *scan) next() (element, error) {
	if s.i == s.count {
		return element{}, nil
	}
	e, end, ok := s.at(s.i, s.end)
	if !ok {
		return element{}, damagef("element %d of %d does not fit its page", s.i, s.count)
	}
	first := s.i == 0 && s.within.lo != nil
	if first && !bytes.Equal(e.key, s.within.lo) || s.i > 0 && bytes.Compare(e.key, s.prev) <= 0 ||
		s.within.hi != nil && bytes.Compare(e.key, s.within.hi) >= 0 {
		return element{}, damagef("key %x is out of order", e.key)
	}
	s.i, s.end, s.prev = s.i+1, end, e.key
	return e, nil
}

// peek returns the key of the next element; nil when there is none, or none that next would return.
func (s *scan) peek() []byte {
	if s.i == s.count {
		return nil
	}
	e, _, _ := s.at(s.i, s.end)
	return e.key
}

// at reads element i, whose data begin at start.
func (s *scan) at(i, start int) (e element, end int, ok bool) {
	head := pageHeader + elementSize*i
	if start > len(s.page) {
		return element{}, 0, false
	}
	h := s.page[head : head+elementSize]
	var pos, ksize, vsize uint32
	if s.leaf {
		e.flags, pos, ksize, vsize = order.Uint32(h), order.Uint32(h[4:]), order.Uint32(h[8:]), order.Uint32(h[12:])
	} else {
		pos, ksize, e.child = order.Uint32(h), order.Uint32(h[4:]), order.Uint64(h[8:])
	}
	left := uint64(len(s.page) - start)
	if uint64(head)+uint64(pos) != uint64(start) || ksize == 0 || uint64(ksize)+uint64(vsize) > left {
		return element{}, 0, false
	}
	keyEnd := start + int(ksize)
	end = keyEnd + int(vsize)
	e.key, e.value = s.page[start:keyEnd:keyEnd], s.page[keyEnd:end:end]
	return e, end, true
}
