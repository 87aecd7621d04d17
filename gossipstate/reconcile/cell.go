package reconcile

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	CellBytes  = wire.CellBytes     // of one encoded cell
	FirstBlock = 8                  // cells that an exchange begins with: enough for 4 differences, as a rule
	MaxCells   = 2 * wire.MaxOwners // of one exchange
	MaxBlock   = 16384              // cells of one block: 208 KiB, within a frame
	MaxBlocks  = 32                 // of one exchange
)

// Cell sums up the items that fall on it: a coded symbol of the paper. The zero Cell is of no items.
type Cell struct {
	Xor   uint64 // of the item hashes
	Check uint32 // xor of their checks
	Count uint8  // of items, mod 256: see the package comment
}

// EncodeCells encodes one block.
func EncodeCells(cells []Cell) []byte {
	b := make([]byte, 0, CellBytes*len(cells))
	for _, c := range cells {
		b = binary.BigEndian.AppendUint64(b, c.Xor)
		b = binary.BigEndian.AppendUint32(b, c.Check)
		b = append(b, c.Count)
	}
	return b
}

// DecodeCells decodes one block of 1..MaxBlock cells. Errors wrap wire.ErrMalformed or wire.ErrTooLarge.
func DecodeCells(b []byte) ([]Cell, error) {
	switch n := len(b) / CellBytes; {
	case n > MaxBlock:
		return nil, fmt.Errorf("%w: %d cells, the limit is %d", wire.ErrTooLarge, n, MaxBlock)
	case n == 0 || len(b)%CellBytes != 0:
		return nil, fmt.Errorf("%w: cells in %d bytes", wire.ErrMalformed, len(b))
	}
	cells := make([]Cell, len(b)/CellBytes)
	for i := range cells {
		c := b[i*CellBytes:]
		cells[i] = Cell{binary.BigEndian.Uint64(c), binary.BigEndian.Uint32(c[8:]), c[12]}
	}
	return cells, nil
}

// add adds n items of the hash and check; n is 1 or, to take one out, 255.
func (c *Cell) add(hash uint64, check uint32, n uint8) {
	c.Xor ^= hash
	c.Check ^= check
	c.Count += n
}

// walk is at one of the cells of an item, whose hash seeds it, and goes through them in order.
type walk struct {
	state uint64
	cell  int64
}

// walkOf begins at cell 0, on which every item falls.
func walkOf(hash uint64) (w walk, check uint32) {
	w.state = hash
	return w, uint32(w.random() >> 32)
}

// checkOf is the check of an item.
func checkOf(hash uint64) uint32 {
	_, check := walkOf(hash)
	return check
}

// random is splitmix64. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
func (w *walk) random() uint64 {
	w.state += 0x9e3779b97f4a7c15
	z := w.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// next goes to the next cell. From cell i the distance is over g in ((i+1.5) / (i+1.5+g))^2 of all cases: the
// paper's inversion for the density 1 / (1 + i/2). Each step is exact or correctly rounded, so that every machine
// and language comes to the same cells; a product followed by a sum, which may be fused, does not occur.
func (w *walk) next() {
	u := float64(w.random()>>12) + 0.5 // of 2^52
	w.cell += 1 + int64((float64(w.cell)+1.5)*((1<<26)/math.Sqrt(u)-1))
}

// sum adds n items of hash to cells, which begin at cell from.
func sum(cells []Cell, from int, hash uint64, n uint8) {
	w, check := walkOf(hash)
	for w.cell < int64(from) {
		w.next()
	}
	for end := int64(from + len(cells)); w.cell < end; w.next() {
		cells[w.cell-int64(from)].add(hash, check, n)
	}
}
