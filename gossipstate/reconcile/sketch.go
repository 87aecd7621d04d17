package reconcile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Bounds of how many cells a sketch keeps up to date, 16 bytes each. A change touches few of them: 8 of the least, 14 of
// the most, 0.09 and 0.13 us (BenchmarkSketchUpkeep). 1,024 will do for 600 differences. An exchange that goes beyond
// sums its further cells up from all items: 0.15 us an item and block (BenchmarkFurtherCells).
const (
	MinPrefix = 128
	MaxPrefix = 2048
)

// journalSize is how many changes an exchange outlives: 128 updates of owners between its begin and its last block.
// Guess: at a trip of 50 ms, 1,000 updates a second with some to spare.
const journalSize = 256

// ErrChanged says that a set changed too much since a View of it was taken. The list of hashes still works.
var ErrChanged = errors.New("set changed during the exchange")

// Sketch sums up a set of items under one link's key. Items.Link makes one, Items keeps it up to date.
type Sketch struct {
	items   *Items
	key     Key
	sum     uint64
	cells   []Cell
	hashes  []uint64 // by number
	table   table    // of hashes
	journal [journalSize]change
	changes uint64 // made so far; the newest is in journal[(changes-1) % journalSize]
}

type change struct {
	hash uint64
	n    uint8 // 1 put in, 255 taken out
}

// Fingerprint is equal for equal sets under one key, and differs for others but for one chance in 2^64.
func (k *Sketch) Fingerprint() uint64 { return k.sum }

// Len is the number of items.
func (k *Sketch) Len() int { return len(k.hashes) }

// add puts in the item of number, whose place in hashes is the last or free.
func (k *Sketch) add(number uint32) {
	hash := k.key.hash(&k.items.items[number])
	if int(number) == len(k.hashes) {
		k.hashes = append(k.hashes, hash)
	} else {
		k.hashes[number] = hash
	}
	k.table.insert(k.hashes, number)
	k.sum += hash
	k.change(hash, 1)
}

func (k *Sketch) remove(number uint32) {
	hash := k.hashes[number]
	k.table.remove(k.hashes, number)
	k.sum -= hash
	k.change(hash, 255)
}

func (k *Sketch) change(hash uint64, n uint8) {
	sum(k.cells, 0, hash, n)
	k.journal[k.changes%journalSize] = change{hash, n}
	k.changes++
}

// renumberLast gives the item of the last number the free number to, which may be the last itself.
func (k *Sketch) renumberLast(to uint32) {
	last := uint32(len(k.hashes) - 1)
	if to != last {
		k.hashes[to] = k.hashes[last]
		k.table.renumber(k.hashes, last, to)
	}
	k.hashes = k.hashes[:last]
}

// block is cells from..from+n-1. Beyond the kept prefix it costs a walk over from+n cells for every item.
func (k *Sketch) block(from, n int) []Cell {
	cells := make([]Cell, n)
	kept := 0
	if from < len(k.cells) {
		kept = copy(cells, k.cells[from:])
	}
	if kept < n {
		for _, hash := range k.hashes {
			sum(cells[kept:], from+kept, hash, 1)
		}
	}
	return cells
}

// Items are the items of hashes, sorted by owner, without repeats. What is not held (any more) is left out.
func (k *Sketch) Items(hashes []uint64) []wire.Item {
	items := make([]wire.Item, 0, min(len(hashes), len(k.hashes)))
	for _, hash := range hashes {
		if number, held := k.table.find(k.hashes, hash); held {
			items = append(items, k.items.items[number])
		}
	}
	return sorted(items)
}

func sorted(items []wire.Item) []wire.Item {
	slices.SortFunc(items, func(a, b wire.Item) int { return a.Owner.Compare(b.Owner) })
	return slices.Compact(items)
}

// Compare is what the function Compare would say of all items here and there, from those that differ: theirs are the
// items that only the other side has, sorted by owner without repeats, hashes of those that only this side has.
func (k *Sketch) Compare(theirs []wire.Item, hashes []uint64) Difference {
	ours := k.Items(hashes)
	for _, item := range theirs {
		if number, held := k.items.numbers[item.Owner]; held {
			ours = append(ours, k.items.items[number])
		}
	}
	return Compare(sorted(ours), theirs)
}

// View is a sketch as it was when an exchange began, block by block.
type View struct {
	sketch  *Sketch
	changes uint64 // of the sketch, at that time
	sent    int
	blocks  int
	limit   int
}

// View begins an exchange between sets of ours and theirs items: as said in both hellos, since the limit follows.
func (k *Sketch) View(ours, theirs uint64) *View {
	return &View{sketch: k, changes: k.changes, limit: limit(ours, theirs)}
}

// limit is how many cells an exchange may take. With so many, the list of the larger set is cheaper by far.
func limit(ours, theirs uint64) int {
	return int(min(max(2*min(max(ours, theirs), MaxCells), FirstBlock), MaxCells))
}

// leastBlock is how many cells must follow sent ones: large blocks beyond what is kept of a large set, since one costs a walk
// over all items.
func leastBlock(sent int) int {
	if sent < MaxPrefix {
		return FirstBlock / 2
	}
	return sent / 4
}

// Cells are the next n cells. It costs n, and beyond the kept prefix, all items. Errors wrap ErrChanged, or, where n is
// not what a Decoder asks for, wire.ErrMalformed.
func (v *View) Cells(n int) ([]Cell, error) {
	left := v.limit - v.sent
	if n > min(left, MaxBlock) || n < min(left, leastBlock(v.sent)) || n <= 0 || v.blocks == MaxBlocks {
		return nil, fmt.Errorf("%w: block of %d cells after %d of at most %d in %d blocks", wire.ErrMalformed, n, v.sent, v.limit, v.blocks)
	}
	k := v.sketch
	if k.changes-v.changes > journalSize {
		return nil, fmt.Errorf("%w: %d changes", ErrChanged, k.changes-v.changes)
	}
	cells := k.block(v.sent, n)
	for i := v.changes; i != k.changes; i++ {
		c := k.journal[i%journalSize]
		sum(cells, v.sent, c.hash, -c.n)
	}
	v.sent += n
	v.blocks++
	return cells, nil
}
