package gossipstate

import (
	"math"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// tree is the set of one owner's entries: a path-compressed binary radix tree on SHA-256(key) whose nodes carry their
// Merkle hash. It is persistent: put and remove return a new tree and leave the old one as it was, so a staged update that
// does not match costs nothing to drop, and a reader may keep a tree for as long as it likes.
//
// Nodes made since the last seal are dirty: reachable from the newest tree alone, so they are changed in place, and hashed
// once by seal however many entries passed through them. A tree must be sealed before it is kept.
//
// An entry costs a leaf of 176 bytes and an inner node of 88: topics of many small entries are what memory goes to.
type tree struct {
	top        child
	entries    int
	tombstones int
	bytes      int // sum of Entry.Size
}

// child is an inner node or a leaf; in an empty tree neither.
type child struct {
	inner *inner
	leaf  *leaf
}

type inner struct {
	hash        [32]byte
	left, right child   // keys with bit clear, keys with bit set
	newest      Version // largest version below
	oldest      Version // smallest version of a tombstone below; noTombstone: there is none
	common      uint32  // the first bits of a key hash below: all below have the same before bit
	bit         uint8   // the first bit, counted from the most significant, in which the keys below differ
	dirty       bool    // hash is not up to date
}

const noTombstone Version = math.MaxUint64

// leaf is one entry. It never changes once it is in a sealed tree, but for next, which belongs to merged.
type leaf struct {
	hash   [32]byte
	prefix uint64 // of SHA-256(entry.Key), big-endian; the rest is hashed again where two keys share it
	next   *leaf  // in a bucket of merged
	entry  Entry
	owner  *ID
}

// content is the entry of l, nil when there is no leaf. It must not be written to.
func (l *leaf) content() *Entry {
	if l == nil {
		return nil
	}
	return &l.entry
}

// record is the entry of l with its owner; the zero Record when there is no leaf.
func (l *leaf) record() Record {
	if l == nil {
		return Record{}
	}
	return Record{*l.owner, &l.entry}
}

// nearest is the leaf that a search for key ends at; nil in an empty tree.
func (c child) nearest(key *[32]byte) *leaf {
	for c.inner != nil {
		if keyBit(key, c.inner.bit) {
			c = c.inner.right
		} else {
			c = c.inner.left
		}
	}
	return c.leaf
}

func (c child) newest() Version {
	if c.inner != nil {
		return c.inner.newest
	}
	return c.leaf.entry.Version
}

func (c child) oldest() Version {
	switch {
	case c.inner != nil:
		return c.inner.oldest
	case c.leaf.entry.Tombstone:
		return c.leaf.entry.Version
	}
	return noTombstone
}

func (c child) hash() *[32]byte {
	if c.inner != nil {
		return &c.inner.hash
	}
	return &c.leaf.hash
}

// sum brings up to date what n says about the versions below it.
func (n *inner) sum() {
	n.newest = max(n.left.newest(), n.right.newest())
	n.oldest = min(n.left.oldest(), n.right.oldest())
}

// find is the leaf of key, whose hash is hash, or nil.
func (t *tree) find(key string, hash *[32]byte) *leaf {
	if l := t.top.nearest(hash); l != nil && l.entry.Key == key {
		return l
	}
	return nil
}

// get is the entry under key, or nil. The entry must not be written to.
func (t *tree) get(key string) *Entry { return t.leaf(key).content() }

// leaf is the leaf of key, or nil.
func (t *tree) leaf(key string) *leaf {
	hash := wire.KeyHash(key)
	return t.find(key, &hash)
}

// remove is t without key, and the entry that was there (nil when there was none).
func (t tree) remove(key string) (tree, *Entry) {
	hash := wire.KeyHash(key)
	l := t.find(key, &hash)
	if l == nil {
		return t, nil
	}
	t.top = without(t.top, &hash)
	t.count(l, -1)
	return t, &l.entry
}

// without is c without the leaf that a search for key ends at.
func without(c child, key *[32]byte) child {
	if c.leaf != nil {
		return child{}
	}
	near, far := c.inner.left, c.inner.right
	right := keyBit(key, c.inner.bit)
	if right {
		near, far = far, near
	}
	rest := without(near, key)
	if rest == (child{}) {
		return far
	}
	n := (&maker{}).edit(c.inner)
	if right {
		n.right = rest
	} else {
		n.left = rest
	}
	n.sum()
	return child{inner: n}
}

// count adds l, which may be nil, to what t counts, or with -1 takes it out.
func (t *tree) count(l *leaf, by int) {
	if l == nil {
		return
	}
	t.entries += by
	t.bytes += by * l.entry.Size()
	if l.entry.Tombstone {
		t.tombstones += by
	}
}

// seal brings every hash up to date and returns the root. After it nothing in t changes any more.
func (t *tree) seal() Root {
	if t.entries == 0 {
		return Root{}
	}
	t.top.seal(wire.NewHasher())
	return Root(*t.top.hash())
}

func (c child) seal(h *wire.Hasher) {
	n := c.inner
	if n == nil || !n.dirty {
		return
	}
	n.left.seal(h)
	n.right.seal(h)
	n.hash = h.Node(n.left.hash(), n.right.hash())
	n.dirty = false
}

// each calls f for every entry, in the order of their key hashes, until f returns false.
func (t *tree) each(f func(*Entry) bool) {
	if t.entries > 0 {
		t.top.each(f)
	}
}

func (c child) each(f func(*Entry) bool) bool {
	if c.leaf != nil {
		return f(&c.leaf.entry)
	}
	return c.inner.left.each(f) && c.inner.right.each(f)
}

// since calls f for every entry with a version above from, in the order of their key hashes. It goes down only to these.
func (t *tree) since(from Version, f func(*Entry)) {
	if t.entries > 0 {
		t.top.since(from, f)
	}
}

func (c child) since(from Version, f func(*Entry)) {
	switch {
	case c.newest() <= from:
	case c.leaf != nil:
		f(&c.leaf.entry)
	default:
		c.inner.left.since(from, f)
		c.inner.right.since(from, f)
	}
}

// oldestTombstone is the smallest version of a tombstone; ok is false when there is none.
func (t *tree) oldestTombstone() (v Version, ok bool) {
	if t.tombstones == 0 {
		return 0, false
	}
	return t.top.oldest(), true
}

// tombstonesTo lists those at or below version, in the order of their key hashes. It goes down only to these.
func (t *tree) tombstonesTo(version Version) []*Entry {
	if t.tombstones == 0 {
		return nil
	}
	return t.top.tombstonesTo(version, nil)
}

func (c child) tombstonesTo(version Version, found []*Entry) []*Entry {
	switch {
	case c.oldest() > version:
		return found
	case c.leaf != nil:
		return append(found, &c.leaf.entry)
	}
	return c.inner.right.tombstonesTo(version, c.inner.left.tombstonesTo(version, found))
}
