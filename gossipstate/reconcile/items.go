package reconcile

import (
	"math/rand/v2"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Items is the set of items of one topic and keeps a sketch of it up to date for every link. Make one with NewItems; not
// safe for concurrent use, nor are its sketches. It is as large as its caller lets it become: about 170 bytes an
// item, and 16 for every link.
type Items struct {
	items   []wire.Item        // by number
	numbers map[wire.ID]uint32 // the last takes the number of one that goes, so there are no gaps
	links   []*Sketch
	rng     *rand.Rand
}

// NewItems makes an empty set. What rng gives decides only where things lie in memory.
func NewItems(rng *rand.Rand) *Items {
	return &Items{numbers: map[wire.ID]uint32{}, rng: rng}
}

// Len is the number of items.
func (s *Items) Len() int { return len(s.items) }

// Put adds item, in place of what is held of its owner. It costs one hash and at most two rounds of a few cells a link.
func (s *Items) Put(item wire.Item) {
	number, held := s.numbers[item.Owner]
	switch {
	case !held:
		number = uint32(len(s.items))
		s.numbers[item.Owner] = number
		s.items = append(s.items, item)
	case s.items[number] == item:
		return
	default:
		s.items[number] = item
	}
	for _, link := range s.links {
		if held {
			link.remove(number)
		}
		link.add(number)
	}
}

// Delete takes the item of owner out, if there is one.
func (s *Items) Delete(owner wire.ID) {
	number, held := s.numbers[owner]
	if !held {
		return
	}
	for _, link := range s.links {
		link.remove(number)
		link.renumberLast(number)
	}
	last := len(s.items) - 1
	s.items[number] = s.items[last]
	s.numbers[s.items[number].Owner] = number
	s.items = s.items[:last]
	delete(s.numbers, owner)
}

// Link starts the sketch of a link, in time proportional to the items. It keeps MinPrefix..MaxPrefix cells up to date.
func (s *Items) Link(key Key, prefix int) *Sketch {
	k := &Sketch{
		items:  s,
		key:    key,
		cells:  make([]Cell, min(max(prefix, MinPrefix), MaxPrefix)),
		hashes: make([]uint64, 0, len(s.items)),
		table:  table{seed: s.rng.Uint64()},
	}
	for number := range s.items {
		k.add(uint32(number))
	}
	s.links = append(s.links, k)
	return k
}

// Unlink ends the upkeep of a sketch, which is of no use afterwards.
func (s *Items) Unlink(k *Sketch) {
	s.links = slices.DeleteFunc(s.links, func(link *Sketch) bool { return link == k })
}
