package gossipstate

import (
	"cmp"
	"hash/maphash"
	"iter"
	"math/bits"
	"strings"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// merged finds the leaves of all owners under a shared key. The winner is found by looking at all: writers of one key are
// few.
//
// It is a hash table whose buckets are lists through the leaves themselves: 16 bytes for each, a third of what a map of slices
// takes. It grows by one bucket at a time (linear hashing), so that no write pays for moving everything. The prefixes of the
// leaves are mixed with a random seed, so that nobody can choose keys that share a bucket; it shows in no result, for what
// leaves is sorted.
type merged struct {
	seed    [2]uint64
	buckets []*leaf
	leaves  int
}

func newMerged() merged {
	random := func() uint64 { return maphash.Bytes(maphash.MakeSeed(), nil) }
	return merged{seed: [2]uint64{random(), random()}, buckets: make([]*leaf, 1)}
}

// beats is Record.beats for leaves; nil is no entry.
func (l *leaf) beats(other *leaf) bool {
	if other == nil || l.entry.Clock != other.entry.Clock {
		return other == nil || l.entry.Clock > other.entry.Clock
	}
	return l.owner.Compare(*other.owner) > 0
}

// bucket is the place of the bucket for keys with that prefix. It is wyhash's way to mix two numbers.
func (m *merged) bucket(prefix uint64) int {
	high, low := bits.Mul64(prefix^m.seed[0], m.seed[1])
	hash := high ^ low
	full := bits.Len(uint(len(m.buckets))) - 1 // buckets at and above 1<<full are those that were split in this round
	if i := int(hash & (2<<full - 1)); i < len(m.buckets) {
		return i
	}
	return int(hash & (1<<full - 1))
}

// grow splits one bucket in two.
func (m *merged) grow() {
	from := len(m.buckets) &^ (1 << (bits.Len(uint(len(m.buckets))) - 1))
	l := m.buckets[from]
	m.buckets[from] = nil
	m.buckets = append(m.buckets, nil)
	for l != nil {
		next := l.next
		at := &m.buckets[m.bucket(l.prefix)]
		l.next, *at = *at, l
		l = next
	}
}

// swap puts next in the place of before, a leaf of the same owner under the same key; nil: there was none, or there is to be
// none, but not both. It returns the best of the other owners' leaves under that key, or nil.
func (m *merged) swap(before, next *leaf) (rival *leaf) {
	like := cmp.Or(next, before)
	bucket := &m.buckets[m.bucket(like.prefix)]
	for at := bucket; *at != nil; {
		l := *at
		if l == before {
			*at, l.next = l.next, nil
			m.leaves--
			continue
		}
		if l.prefix == like.prefix && l.entry.Key == like.entry.Key && l.beats(rival) {
			rival = l
		}
		at = &l.next
	}
	if next != nil {
		next.next, *bucket = *bucket, next
		m.leaves++
	}
	if m.leaves > len(m.buckets) {
		m.grow()
	}
	return rival
}

// of are the leaves of all owners under key, in no order.
func (m *merged) of(key string) iter.Seq[*leaf] {
	return func(yield func(*leaf) bool) {
		hash := wire.KeyHash(key)
		for l := m.buckets[m.bucket(keyPrefix(&hash))]; l != nil; l = l.next {
			if l.entry.Key == key && !yield(l) {
				return
			}
		}
	}
}

// winner is the best entry under key; the zero Record when there is none.
func (m *merged) winner(key string) Record {
	var best *leaf
	for l := range m.of(key) {
		if l.beats(best) {
			best = l
		}
	}
	return best.record()
}

// writers are the entries of all owners under key, in no order.
func (m *merged) writers(key string) []Record {
	var all []Record
	for l := range m.of(key) {
		all = append(all, l.record())
	}
	return all
}

// winners are the winners of the keys under prefix, in no order.
func (m *merged) winners(prefix string) []Record {
	var all []Record
	for _, l := range m.buckets {
		start := len(all) // a bucket holds few keys, but maybe many owners
		for ; l != nil; l = l.next {
			if strings.HasPrefix(l.entry.Key, prefix) {
				all = addWinner(all, start, l.record())
			}
		}
	}
	return all
}

// addWinner puts r among all[start:], unless one of the same key there beats it.
func addWinner(all []Record, start int, r Record) []Record {
	for i := start; i < len(all); i++ {
		if all[i].Entry.Key == r.Entry.Key {
			if r.beats(all[i]) {
				all[i] = r
			}
			return all
		}
	}
	return append(all, r)
}
