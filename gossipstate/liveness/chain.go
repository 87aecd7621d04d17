package liveness

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// chainDomain separates the hashes of beat chains from every other hash of the project.
const chainDomain = "p2pnode/beat/1"

// step hashes its way along one chain. Its bytes are the input of the next hash, so that a step costs one SHA-256
// block and no allocation: preimage (16) | tag (32) | i (4, big-endian).
type step [16 + sha256.Size + 4]byte

func newStep(owner wire.ID, generation wire.Generation) step {
	var in [len(chainDomain) + len(wire.ID{}) + 8]byte
	n := copy(in[:], chainDomain)
	n += copy(in[n:], owner[:])
	binary.BigEndian.PutUint64(in[n:], uint64(generation))
	tag := sha256.Sum256(in[:])
	var s step
	copy(s[16:], tag[:])
	return s
}

// walk returns x(to), given x(from) with from <= to. It takes s by value: the copy is its scratch space.
func (s step) walk(x [16]byte, from, to uint32) [16]byte {
	for i := from; i < to; i++ {
		copy(s[:16], x[:])
		binary.BigEndian.PutUint32(s[16+sha256.Size:], i)
		sum := sha256.Sum256(s[:])
		copy(x[:], sum[:16])
	}
	return x
}

// Chain is the secret side of an owner's beats: every preimage, 16 bytes each. It is fixed once made, so it may be
// read concurrently.
type Chain struct {
	x [][16]byte // x[0] is the seed, x[length] the anchor
}

// NewChain computes the chain of length beats (1..wire.MaxBeats) that belongs to one owner and generation: 64 KiB and
// about half a millisecond for the longest. The same arguments give the same chain. Who knows seed can beat for the
// owner: it is 16 random bytes, used for one chain only and never stored. A length out of range panics: it is a
// setting of this node, not something a peer sent.
func NewChain(owner wire.ID, generation wire.Generation, seed [16]byte, length uint32) *Chain {
	if length == 0 || length > wire.MaxBeats {
		panic(fmt.Sprintf("liveness: chain of %d beats: want 1..%d", length, wire.MaxBeats))
	}
	c := &Chain{x: make([][16]byte, length+1)}
	c.x[0] = seed
	s := newStep(owner, generation)
	for i := range length {
		c.x[i+1] = s.walk(c.x[i], i, i+1)
	}
	return c
}

// Anchor is the public end of the chain, for the owner's signed digest on the topic "members".
func (c *Chain) Anchor() wire.Anchor { return wire.Anchor(c.x[c.Length()]) }

// Length is the number of beats in the chain: Digest.BeatLength.
func (c *Chain) Length() uint32 { return uint32(len(c.x) - 1) }

// Left is how many beats follow beat k, 0 at or past the end. The owner signs a digest with the anchor of a new chain
// when ReanchorLeft or fewer are left.
func (c *Chain) Left(k uint32) uint32 { return c.Length() - min(k, c.Length()) }

// Beat is the k-th proof of life, k in 1..Length. Beats are revealed in ascending order, each once, each when its time
// has come: whoever holds beat k can compute every smaller one. A k out of range panics: the caller ran past ReanchorLeft.
func (c *Chain) Beat(k uint32) wire.Beat {
	if k == 0 || k > c.Length() {
		panic(fmt.Sprintf("liveness: beat %d of a chain of %d", k, c.Length()))
	}
	return wire.Beat{Anchor: c.Anchor().Name(), Index: k, Preimage: c.x[c.Length()-k]}
}

// verifier checks the beats of one chain against the newest one known, at first the anchor itself with index 0.
// The zero verifier belongs to an owner that does not beat: nothing proves it alive.
type verifier struct {
	step     step
	length   uint32
	index    uint32 // of the newest beat known
	preimage [16]byte
}

func newVerifier(d *wire.Digest) verifier {
	if d.BeatAnchor == (wire.Anchor{}) {
		return verifier{}
	}
	return verifier{
		step:     newStep(d.Owner, d.Generation),
		length:   d.BeatLength,
		preimage: d.BeatAnchor,
	}
}

// distance is the number of hashes that proves will take for beat k: at most wire.MaxBeats.
func (v *verifier) distance(k uint32) uint32 {
	if k < v.index {
		return v.index - k
	}
	return k - v.index
}

// proves reports whether b is a beat of this chain, newer or older than the newest known. It changes nothing.
func (v *verifier) proves(b wire.Beat) bool {
	switch {
	case b.Index == 0 || b.Index > v.length:
		return false
	case b.Index >= v.index:
		return v.step.walk(b.Preimage, v.length-b.Index, v.length-v.index) == v.preimage
	default:
		return v.step.walk(v.preimage, v.length-v.index, v.length-b.Index) == b.Preimage
	}
}

// advance makes b, which proves has accepted, the newest beat known.
func (v *verifier) advance(b wire.Beat) { v.index, v.preimage = b.Index, b.Preimage }
