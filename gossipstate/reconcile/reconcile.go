// Package reconcile finds out in what two replicas of a topic differ. It is pure: package replica carries the messages.
//
// A replica is a set of items: each owner with the generation, version and root of the digest that is held. Two replicas
// are equal when their sets are. A [Set] keeps the fingerprint of one replica up to date at one keyed hash a change; when
// fingerprints differ, the sides exchange their items and [Compare] says who lacks what.
//
//	link key  = SHA-256("p2pnode/link/1" | salt of the lower owner | salt of the higher owner)
//	item hash = first 8 bytes, big-endian, of SHA-256(link key | owner | generation | version | root)
//	fingerprint = sum of the item hashes mod 2^64
//
// The key is fresh for every connection and made of both sides' randomness: sums under a known key can be forged.
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

// Set is the fingerprint of a set of items under one link's key. Make one with NewSet; not safe for concurrent use.
type Set struct {
	key Key
	sum uint64
	n   int
}

// NewSet is the Set of items, which must be distinct.
func NewSet(key Key, items []wire.Item) *Set {
	s := &Set{key: key}
	for _, it := range items {
		s.Add(it)
	}
	return s
}

// Add puts item into s. It must not be in it.
func (s *Set) Add(item wire.Item) {
	s.sum += s.key.hash(&item)
	s.n++
}

// Remove takes item out of s. It must be in it.
func (s *Set) Remove(item wire.Item) {
	s.sum -= s.key.hash(&item)
	s.n--
}

// Len is the number of items.
func (s *Set) Len() int { return s.n }

// Fingerprint is equal for equal sets under one key, and differs for others but for one chance in 2^64.
func (s *Set) Fingerprint() uint64 { return s.sum }
