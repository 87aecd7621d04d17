package gossipstate

import (
	"hash/maphash"
	"math/bits"
	"strings"
)

// merged finds the leaves of all owners under a shared key. The winner is found by looking at all: writers of one key are
// few.
//
// It is a hash table whose buckets are lists through the leaves themselves: 16 bytes for each, a third of what a map of slices
// takes. It grows by one bucket at a time (linear hashing), so that no write pays for moving everything. The seed is random, so
// that nobody can choose keys that share a bucket; it shows in no result, for what leaves is sorted.
type merged struct {
	seed    maphash.Seed
	buckets []*leaf
	leaves  int
}

func newMerged() merged { return merged{seed: maphash.MakeSeed(), buckets: make([]*leaf, 1)} }

// beats is Record.beats for leaves; nil is no entry.
func (l *leaf) beats(other *leaf) bool {
	if other == nil || l.entry.Clock != other.entry.Clock {
		return other == nil || l.entry.Clock > other.entry.Clock
	}
	return l.owner.Compare(*other.owner) > 0
}

func (m *merged) bucket(key string) int {
	hash := maphash.String(m.seed, key)
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
		at := &m.buckets[m.bucket(l.entry.Key)]
		l.next, *at = *at, l
		l = next
	}
}

// swap makes next (nil: none) the leaf of owner under key, and returns the best of the other owners' leaves, or nil.
func (m *merged) swap(owner *ID, key string, next *leaf) (rival *leaf) {
	bucket := &m.buckets[m.bucket(key)]
	var mine **leaf
	for at := bucket; *at != nil; at = &(*at).next {
		if l := *at; l.entry.Key != key {
			continue
		} else if l.owner == owner || *l.owner == *owner {
			mine = at
		} else if l.beats(rival) {
			rival = l
		}
	}
	if mine != nil {
		old := *mine
		*mine, old.next = old.next, nil
		m.leaves--
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

// winner is the best entry under key; the zero Record when there is none.
func (m *merged) winner(key string) Record {
	var best *leaf
	for l := m.buckets[m.bucket(key)]; l != nil; l = l.next {
		if l.entry.Key == key && l.beats(best) {
			best = l
		}
	}
	return best.record()
}

// writers are the entries of all owners under key, in no order.
func (m *merged) writers(key string) []Record {
	var all []Record
	for l := m.buckets[m.bucket(key)]; l != nil; l = l.next {
		if l.entry.Key == key {
			all = append(all, l.record())
		}
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
