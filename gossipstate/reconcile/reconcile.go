// Package reconcile finds out in what two replicas of a topic differ. It is pure: package replica carries the messages.
//
// A replica is a set of items: each owner with the generation, version and root of the digest that is held. Two replicas
// are equal when their sets are: then fingerprints are equal too, and nothing else is sent.
//
//	link key  = SHA-256("p2pnode/link/1" | salt of the lower owner | salt of the higher owner)
//	item hash = first 8 bytes, big-endian, of SHA-256(link key | owner | generation | version | root)
//	fingerprint = sum of the item hashes mod 2^64
//
// The key is fresh for every connection and made of both sides' randomness: sums under a known key can be forged.
//
// When fingerprints differ, a [Decoder] finds the hashes that one side alone has. It takes the cells of both sets, at a
// cost that follows the difference, not the sets: a [Sketch] keeps the first cells up to date at each change. This is the
// rateless IBLT of Yang et al., "Practical Rateless Set Reconciliation", 2024 (arXiv 2402.02668). Its cells go on for
// ever, and any beginning of about 1.4 cells a difference will do.
//
//	cell (13 bytes) = xor of the item hashes, 8 | xor of their checks, 4 | count of items mod 256, 1     big-endian
//
//	random(s): s += 0x9e3779b97f4a7c15; z = s                                       splitmix64, mod 2^64
//	           z = (z ^ z>>30) * 0xbf58476d1ce4e5b9; z = (z ^ z>>27) * 0x94d049bb133111eb; give z ^ z>>31
//	s = item hash
//	check = random(s) >> 32
//	the item is in cell 0; after cell i in cell i + 1 + floor((i + 1.5) * (2^26 / sqrt((random(s)>>12) + 0.5) - 1))
//
// The last line is in IEEE 754 doubles, so every language gets the same cells. A count mod 256 is one byte for any set and
// is enough: the decoder subtracts cells and asks whether one item is left. 257 look like one, but not to the check.
//
//	initiator                      responder
//	 <- fingerprints differ ->
//	 cells 0..7? ------------------------->
//	 <-------------------------- 8 cells       [Sketch.View], [View.Cells]
//	 decodes, or asks on ----------------->    [Decoder.Add], [Decoder.Next]
//	 <-------------------------- n cells
//	 our items that only we have,
//	 hashes of those only it has --------->    [Sketch.Items], [Decoder.Theirs]
//	                         compares them     [Sketch.Compare]
//
// Where sets differ in more than about 0.4 of their items, or cells are of no two sets, the list of all hashes takes
// their place ([Sketch.Hashes], [Sketch.Diff]). With few items the initiator sends them all to begin with, and [Compare]
// says who lacks what. [Decoder.Next] chooses.
package reconcile

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const linkLabel = "p2pnode/link/1"

// Key is the secret of one link under which both sides hash items.
type Key [32]byte

// LinkKey is the key of the link between two owners, the same for both.
func LinkKey(a wire.ID, saltA wire.Salt, b wire.ID, saltB wire.Salt) Key {
	if a.Compare(b) > 0 {
		saltA, saltB = saltB, saltA
	}
	buf := make([]byte, 0, len(linkLabel)+2*len(saltA))
	buf = append(buf, linkLabel...)
	buf = append(buf, saltA[:]...)
	buf = append(buf, saltB[:]...)
	return sha256.Sum256(buf)
}

func (k *Key) hash(item *wire.Item) uint64 {
	var buf [len(Key{}) + len(wire.ID{}) + 8 + 8 + len(wire.Root{})]byte
	b := append(buf[:0], k[:]...)
	b = append(b, item.Owner[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(item.Generation))
	b = binary.BigEndian.AppendUint64(b, uint64(item.Version))
	b = append(b, item.Root[:]...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:])
}
