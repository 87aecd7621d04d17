package gossipstate

import (
	"math/bits"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// tree is the set of one owner's entries: a path-compressed binary radix tree on SHA-256(key) whose nodes carry their
// Merkle hash. It is persistent: put and remove return a new tree and leave the old one as it was, so a staged update that
// does not match costs nothing to drop, and a reader may keep a tree for as long as it likes.
//
// Nodes made since the last seal are dirty: reachable from the newest tree alone, so they are changed in place, and hashed
// once by seal however many entries passed through them. A tree must be sealed before it is kept.
type tree struct {
	top        *node
	entries    int
	tombstones int
	bytes      int // sum of Entry.Size
}

type node struct {
	hash  [32]byte
	left  *node // keys with bit clear; nil in a leaf
	right *node
	leaf  *leaf
	bit   uint8 // the first bit, counted from the most significant, in which the keys below differ
	dirty bool  // hash is not up to date
}

type leaf struct {
	key   [32]byte // SHA-256 of entry.Key
	entry Entry
}

func keyBit(key *[32]byte, bit uint8) bool { return key[bit>>3]&(0x80>>(bit&7)) != 0 }

// firstDifference is the first bit in which a and b differ; same is true when there is none.
func firstDifference(a, b *[32]byte) (bit uint8, same bool) {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return uint8(i*8 + bits.LeadingZeros8(x)), false
		}
	}
	return 0, true
}

func (n *node) child(key *[32]byte) **node {
	if keyBit(key, n.bit) {
		return &n.right
	}
	return &n.left
}

// nearest is the leaf that a search for key ends at.
func (t *tree) nearest(key *[32]byte) *leaf {
	if t.top == nil {
		return nil
	}
	n := t.top
	for n.leaf == nil {
		n = *n.child(key)
	}
	return n.leaf
}

// get is the entry under key, or nil. The entry must not be written to.
func (t *tree) get(key string) *Entry {
	hash := wire.KeyHash(key)
	if l := t.nearest(&hash); l != nil && l.key == hash {
		return &l.entry
	}
	return nil
}

// put is t with e in it, in place of the entry that has its key, which it also returns (nil when there was none).
func (t tree) put(e Entry, h wire.EntryHash) (tree, *Entry) {
	fresh := &node{hash: h.Leaf, leaf: &leaf{key: h.Key, entry: e}}
	near := t.nearest(&h.Key)
	if near == nil {
		t.top = fresh
		t.count(&e, 1)
		return t, nil
	}
	bit, same := firstDifference(&h.Key, &near.key)
	t.top = insert(t.top, fresh, bit, same)
	t.count(&e, 1)
	if !same {
		return t, nil
	}
	t.count(&near.entry, -1)
	return t, &near.entry
}

func insert(n, fresh *node, bit uint8, same bool) *node {
	if n.leaf != nil || !same && n.bit > bit {
		if same {
			return fresh
		}
		parent := &node{bit: bit, dirty: true, left: n, right: fresh}
		if !keyBit(&fresh.leaf.key, bit) {
			parent.left, parent.right = fresh, n
		}
		return parent
	}
	n = n.edit()
	at := n.child(&fresh.leaf.key)
	*at = insert(*at, fresh, bit, same)
	return n
}

// edit is n if it may be changed in place, else a dirty copy.
func (n *node) edit() *node {
	if n.dirty {
		return n
	}
	c := *n
	c.dirty = true
	return &c
}

// remove is t without key, and the entry that was there (nil when there was none).
func (t tree) remove(key [32]byte) (tree, *Entry) {
	l := t.nearest(&key)
	if l == nil || l.key != key {
		return t, nil
	}
	t.top = without(t.top, &key)
	t.count(&l.entry, -1)
	return t, &l.entry
}

func without(n *node, key *[32]byte) *node {
	if n.leaf != nil {
		return nil
	}
	at := n.child(key)
	if rest := without(*at, key); rest != nil {
		n = n.edit()
		*n.child(key) = rest
		return n
	}
	if at == &n.left {
		return n.right
	}
	return n.left
}

func (t *tree) count(e *Entry, by int) {
	t.entries += by
	t.bytes += by * e.Size()
	if e.Tombstone {
		t.tombstones += by
	}
}

// seal brings every hash up to date and returns the root. After it nothing in t changes any more.
func (t *tree) seal() Root {
	if t.top == nil {
		return Root{}
	}
	return Root(t.top.seal())
}

func (n *node) seal() [32]byte {
	if n.dirty {
		n.hash = wire.NodeHash(n.left.seal(), n.right.seal())
		n.dirty = false
	}
	return n.hash
}

// each calls f for every entry, in the order of their key hashes, until f returns false.
func (t *tree) each(f func(*Entry) bool) {
	if t.top != nil {
		t.top.each(f)
	}
}

func (n *node) each(f func(*Entry) bool) bool {
	if n.leaf != nil {
		return f(&n.leaf.entry)
	}
	return n.left.each(f) && n.right.each(f)
}
