package reconcile

import (
	"fmt"
	"slices"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Decoder finds out of the cells of two sets which items only one of them has. Make one with NewDecoder; not safe for
// concurrent use. Nothing that the other side sends makes it take more than MaxCells cells, or find more items than it
// has cells.
type Decoder struct {
	ours, theirs uint64  // items of the sets
	cells        []Cell  // of ours less theirs, without what was found
	blocks       int     // in which they came
	found        []found // in the order found
	pure         []int32 // cells that may hold one item alone
	spread       float64 // see Estimate
	done, lost   bool    // lost: the cells are of no two sets
	onlyOurs     []uint64
	onlyTheirs   []uint64
}

// found is an item that one side alone has.
type found struct {
	walk // at its first cell that is not there yet
	hash uint64
	n    uint8 // 1 ours, 255 theirs
}

// NewDecoder begins an exchange between sets of ours and theirs items, as said in both hellos. Only the choice of steps
// rests on these numbers.
func NewDecoder(ours, theirs uint64) *Decoder {
	const most = 1 << 32 // a peer may say what it likes
	return &Decoder{ours: min(ours, most), theirs: min(theirs, most)}
}

// Add takes the next block of cells of both sets, and decodes as far as it goes. It is linear in the block and the items
// found, times a few cells each. Errors wrap wire.ErrMalformed or wire.ErrTooLarge and leave d as it was.
func (d *Decoder) Add(ours, theirs []Cell) error {
	switch {
	case len(ours) != len(theirs):
		return fmt.Errorf("%w: %d cells, not %d", wire.ErrMalformed, len(theirs), len(ours))
	case len(d.cells)+len(ours) > MaxCells:
		return fmt.Errorf("%w: over %d cells", wire.ErrTooLarge, MaxCells)
	case d.done || d.lost:
		return nil
	}
	from := len(d.cells)
	d.blocks++
	d.cells = slices.Grow(d.cells, len(ours))
	for i := range ours {
		c := Cell{ours[i].Xor ^ theirs[i].Xor, ours[i].Check ^ theirs[i].Check, ours[i].Count - theirs[i].Count}
		d.observe(len(d.cells), c.Count)
		d.cells = append(d.cells, c)
	}
	for i := range d.found {
		d.take(&d.found[i])
	}
	for i := from; i < len(d.cells); i++ {
		d.look(i)
	}
	d.peel()
	d.finish()
	return nil
}

// take takes f out of the cells from where its walk is.
func (d *Decoder) take(f *found) {
	for check := checkOf(f.hash); f.cell < int64(len(d.cells)); f.next() {
		d.cells[f.cell].add(f.hash, check, -f.n)
		d.look(int(f.cell))
	}
}

// look notes cell i if one item may be alone in it.
func (d *Decoder) look(i int) {
	if d.isPure(i) {
		d.pure = append(d.pure, int32(i))
	}
}

func (d *Decoder) isPure(i int) bool {
	c := &d.cells[i]
	return (c.Count == 1 || c.Count == 255) && checkOf(c.Xor) == c.Check
}

// peel takes items that are alone in a cell out of all theirs, until there is none.
//
// Each leaves its cell to nobody, so cells of two sets hold no more items than cells. Made-up cells, where one may come
// back for ever, end there.
func (d *Decoder) peel() {
	for len(d.pure) > 0 {
		i := int(d.pure[len(d.pure)-1])
		d.pure = d.pure[:len(d.pure)-1]
		if !d.isPure(i) {
			continue
		}
		if len(d.found) == len(d.cells) {
			d.lost, d.pure = true, nil
			return
		}
		c := d.cells[i]
		f := found{hash: c.Xor, n: c.Count}
		f.walk, _ = walkOf(f.hash)
		d.take(&f)
		d.found = append(d.found, f)
	}
}

// finish sees whether all is found: no cell holds anything, and no item came twice.
func (d *Decoder) finish() {
	if slices.ContainsFunc(d.cells, func(c Cell) bool { return c != Cell{} }) {
		return
	}
	var all []uint64
	for _, f := range d.found {
		all = append(all, f.hash)
		if f.n == 1 {
			d.onlyOurs = append(d.onlyOurs, f.hash)
		} else {
			d.onlyTheirs = append(d.onlyTheirs, f.hash)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) < len(d.found) {
		d.lost, d.onlyOurs, d.onlyTheirs = true, nil, nil
		return
	}
	slices.Sort(d.onlyOurs)
	slices.Sort(d.onlyTheirs)
	d.done = len(d.cells) > 0
}

// Done says whether the difference is known.
func (d *Decoder) Done() bool { return d.done }

// Ours are the hashes of the items that only this side has, sorted; none before d is done.
func (d *Decoder) Ours() []uint64 { return d.onlyOurs }

// Theirs are the hashes of the items that only the other side has, sorted; none before d is done.
func (d *Decoder) Theirs() []uint64 { return d.onlyTheirs }
