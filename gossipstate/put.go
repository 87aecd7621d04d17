package gossipstate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// keyBits is the number of bits of a key hash: the first difference of two equal ones.
const keyBits = 256

func keyBit(key *[32]byte, bit uint8) bool { return key[bit>>3]&(0x80>>(bit&7)) != 0 }

func keyPrefix(key *[32]byte) uint64 { return binary.BigEndian.Uint64(key[:8]) }

// firstDifference is the first bit in which a and b differ, or keyBits.
func firstDifference(a, b *[32]byte) int {
	for i := 0; i < len(a); i += 8 {
		if x := binary.BigEndian.Uint64(a[i:]) ^ binary.BigEndian.Uint64(b[i:]); x != 0 {
			return i*8 + bits.LeadingZeros64(x)
		}
	}
	return keyBits
}

// swap is what one put did: after is the new leaf, before the one of the same key that it took the place of, or nil.
type swap struct{ before, after *leaf }

// put is t with e of owner in it.
func (t tree) put(owner *ID, e Entry, h *wire.EntryHash) (tree, swap) {
	l := &leaf{hash: h.Leaf, prefix: keyPrefix(&h.Key), entry: e, owner: owner}
	hashes, swaps, puts := [1]wire.EntryHash{*h}, [1]swap{{after: l}}, [1]put{{prefix: l.prefix}}
	m := maker{hashes: hashes[:], swaps: swaps[:]}
	t.merge(&m, puts[:])
	return t, swaps[0]
}

// putAll is t with the entries of owner in it; of two under one key the later. swaps has one element for each entry, zero for
// those that a later one took the place of.
func (t tree) putAll(owner *ID, entries []Entry, hashes []wire.EntryHash) (_ tree, swaps []swap) {
	swaps = make([]swap, len(entries))
	m := maker{bulk: t.entries == 0 && len(entries) >= innerSlab, hashes: hashes, swaps: swaps}
	puts := make([]put, len(entries))
	for i := range entries {
		l := m.leaf(&entries[i])
		l.hash, l.prefix, l.entry, l.owner = hashes[i].Leaf, keyPrefix(&hashes[i].Key), entries[i], owner
		puts[i] = put{prefix: l.prefix, at: i}
		swaps[i].after = l
	}
	t.merge(&m, m.lastOfEach(m.sort(puts)))
	return t, swaps
}

// merge takes puts into t. They are sorted by key hash, and no two have the same.
func (t *tree) merge(m *maker, puts []put) {
	switch {
	case len(puts) == 0:
		return
	case t.entries == 0:
		t.top = m.build(puts)
	default:
		t.top = m.merge(t.top, puts)
	}
	for _, sw := range m.swaps {
		t.count(sw.after, 1)
		t.count(sw.before, -1)
	}
}

// put is a leaf on its way into a tree: the place of its entry in the update, and what it is sorted by.
type put struct {
	prefix uint64 // as in leaf
	at     int
}

// maker makes the nodes of one change of a tree.
type maker struct {
	hashes []wire.EntryHash // of the entries
	swaps  []swap           // of the entries: before is set when the leaf is in its place
	bulk   bool             // nodes come in slabs: the tree was empty
	leaves []leaf
	inners []inner
}

func (m *maker) key(p put) *[32]byte { return &m.hashes[p.at].Key }

// has says whether bit of the key hash of p is set.
func (m *maker) has(p put, bit uint8) bool {
	if bit < 64 {
		return p.prefix>>(63-bit)&1 != 0
	}
	return keyBit(m.key(p), bit)
}

func (m *maker) compare(a, b put) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	return bytes.Compare(m.key(a)[:], m.key(b)[:])
}

// sort sorts by key hash; puts of one key keep their order. Hashes are spread evenly, so that one pass over as many buckets as
// there are puts leaves little to sort; who picks keys that fall in one bucket gets an ordinary sort.
func (m *maker) sort(puts []put) []put {
	if len(puts) < 2*innerSlab {
		slices.SortStableFunc(puts, m.compare)
		return puts
	}
	width := bits.Len(uint(len(puts)))
	ends := make([]int32, 1<<width+1)
	for i := range puts {
		ends[puts[i].prefix>>(64-width)+1]++
	}
	for i := range 1 << width {
		ends[i+1] += ends[i]
	}
	sorted := make([]put, len(puts))
	for i := range puts {
		end := &ends[puts[i].prefix>>(64-width)]
		sorted[*end] = puts[i]
		*end++
	}
	start := int32(0)
	for _, end := range ends[:1<<width] {
		if end-start > 1 {
			slices.SortStableFunc(sorted[start:end], m.compare)
		}
		start = end
	}
	return sorted
}

// lastOfEach is sorted puts without those that a later put of the same key follows: their swaps become zero.
func (m *maker) lastOfEach(puts []put) []put {
	kept := puts[:0]
	for _, p := range puts {
		if n := len(kept); n > 0 && m.compare(kept[n-1], p) == 0 {
			m.swaps[kept[n-1].at] = swap{}
			kept = kept[:n-1]
		}
		kept = append(kept, p)
	}
	return kept
}

// Nodes of a new tree are allocated several at a time: as many as make 880 bytes, which is what fits the allocator's class of
// 896 with its header. One that stays keeps all, with what is below them, which is part of that first tree and so no more than
// an owner may have. Nodes of later updates come one by one: those that one of them kept would keep the trees before them, and
// so all that the owner ever wrote.
const (
	leafSlab  = 5
	innerSlab = 10
	// slabEntry is the largest entry, in bytes, whose leaf is in a slab: who remembers a leaf keeps the entries beside it. Guess.
	slabEntry = 256
)

// leaf is for e.
func (m *maker) leaf(e *Entry) *leaf {
	if !m.bulk || e.Size() > slabEntry {
		return new(leaf)
	}
	if len(m.leaves) == 0 {
		m.leaves = make([]leaf, leafSlab)
	}
	l := &m.leaves[0]
	m.leaves = m.leaves[1:]
	return l
}

func (m *maker) inner() *inner {
	if !m.bulk {
		return new(inner)
	}
	if len(m.inners) == 0 {
		m.inners = make([]inner, innerSlab)
	}
	n := &m.inners[0]
	m.inners = m.inners[1:]
	return n
}

// edit is n if it may be changed in place, else a dirty copy.
func (m *maker) edit(n *inner) *inner {
	if n.dirty {
		return n
	}
	c := m.inner()
	*c = *n
	c.dirty = true
	return c
}

// build makes a tree of puts, at least one.
func (m *maker) build(puts []put) child {
	if len(puts) == 1 {
		return child{leaf: m.swaps[puts[0].at].after}
	}
	bit := m.spread(puts)
	k := m.leftOf(puts, uint8(bit))
	return m.join(puts[0], uint8(bit), m.build(puts[:k]), m.build(puts[k:]))
}

// join is a new node over left and right, which part at bit; p is below one of them.
func (m *maker) join(p put, bit uint8, left, right child) child {
	n := m.inner()
	n.left, n.right, n.common, n.bit, n.dirty = left, right, uint32(p.prefix>>32), bit, true
	n.sum()
	return child{inner: n}
}

// spread is the first bit in which two of puts differ; keyBits when there is one alone.
func (m *maker) spread(puts []put) int {
	first, last := puts[0], puts[len(puts)-1]
	if x := first.prefix ^ last.prefix; x != 0 {
		return bits.LeadingZeros64(x)
	}
	return firstDifference(m.key(first), m.key(last))
}

// leftOf is how many puts have bit clear; all are equal in the bits before it.
func (m *maker) leftOf(puts []put, bit uint8) int {
	low, high := 0, len(puts)
	for low < high {
		if mid := (low + high) / 2; m.has(puts[mid], bit) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// apart is the first bit in which the key hash of p differs from those below c, of the bits in which these agree. When there is
// none it is a later bit, or keyBits: p belongs below c.
func (m *maker) apart(p put, c child) int {
	if n := c.inner; n != nil {
		if x := n.common ^ uint32(p.prefix>>32); x != 0 || n.bit <= 32 {
			return bits.LeadingZeros32(x)
		}
	}
	l := c.nearest(m.key(p))
	if x := l.prefix ^ p.prefix; x != 0 {
		return bits.LeadingZeros64(x)
	}
	if l.entry.Key == m.swaps[p.at].after.entry.Key {
		return keyBits
	}
	other := wire.KeyHash(l.entry.Key)
	return firstDifference(&other, m.key(p))
}

// merge is c with puts in it.
func (m *maker) merge(c child, puts []put) child {
	if len(puts) == 0 {
		return c
	}
	bit := keyBits
	if c.inner != nil {
		bit = int(c.inner.bit)
	}
	apart := m.apart(puts[0], c)
	at := min(apart, m.spread(puts))
	if at >= bit {
		return m.into(c, puts)
	}
	k := m.leftOf(puts, uint8(at)) // all of c is on one side of a new node: on the right if the first put is not
	if at == apart && k > 0 {
		return m.join(puts[0], uint8(at), m.build(puts[:k]), m.merge(c, puts[k:]))
	}
	return m.join(puts[0], uint8(at), m.merge(c, puts[:k]), m.build(puts[k:]))
}

// into is merge where every key that c can hold is one that puts can: each goes to one of its children, or is the leaf's own.
func (m *maker) into(c child, puts []put) child {
	if c.leaf != nil {
		sw := &m.swaps[puts[0].at]
		sw.before = c.leaf
		return child{leaf: sw.after}
	}
	n := m.edit(c.inner)
	k := m.leftOf(puts, n.bit)
	n.left, n.right = m.merge(n.left, puts[:k]), m.merge(n.right, puts[k:])
	n.sum()
	return child{inner: n}
}
