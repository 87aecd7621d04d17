package nonce

import (
	"fmt"
	"math/bits"
)

// Cells is how a job's range is cut: Count cells numbered from 0 whose lengths differ by at most 1. A worker leases and
// finishes whole cells.
type Cells struct {
	all   Range
	count uint64
}

// NewCells cuts r into the fewest cells of at most size numbers. An empty range or a size of 0 has no cells.
func NewCells(r Range, size uint64) Cells {
	if r.Len() == 0 || size == 0 {
		return Cells{}
	}
	return Cells{all: r, count: ceilDiv(r.Len(), size)}
}

// Count is how many cells there are.
func (c Cells) Count() uint64 { return c.count }

// At is the numbers of cell i, which is below Count.
func (c Cells) At(i uint64) Range { return Range{Start: c.bound(i), End: c.bound(i + 1)} }

// bound is where cell i starts: start + floor(i*length/count), in 128 bits on the way.
func (c Cells) bound(i uint64) uint64 {
	hi, lo := bits.Mul64(i, c.all.Len())
	q, _ := bits.Div64(hi, lo, c.count) // no panic: i <= count and length < 2^64, so hi < count
	return c.all.Start + q
}

// Numbers is how many numbers the cells of set hold together. All of them are below Count.
func (c Cells) Numbers(set RangeSet) uint64 {
	var n uint64
	for r := range set.Runs() {
		n += c.bound(r.End) - c.bound(r.Start)
	}
	return n
}

// run is all cells as one run.
func (c Cells) run() Range { return Range{Start: 0, End: c.count} }

// How fine a job is cut.
const (
	// MaxCells is how many cells a job has at most: 4,096 for each of 256 workers.
	MaxCells = 1 << 20

	cellSeconds       = 1.5  // of work in a cell: a worker that dies loses little, keys stay few; guess
	minCellsPerWorker = 16   // so that a small job still spreads evenly
	maxCellsPerWorker = 4096 // so that what one worker says about a job stays in a few segments
)

// DefaultCell is the cell size, in numbers, for a range of length numbers and workers that each try rate numbers a
// second: about 1.5 s of work, smaller where that gave fewer than 16 cells a worker, larger where it gave more than
// 4,096 a worker or MaxCells in all. It is at least 1; workers below 1 count as 1.
func DefaultCell(length uint64, workers int, rate float64) uint64 {
	n := uint64(max(workers, 1))
	size := uint64(min(max(rate*cellSeconds, 1), 1<<62))
	size = min(size, ceilDiv(length, minCellsPerWorker*n))
	size = max(size, ceilDiv(length, min(maxCellsPerWorker*n, MaxCells)))
	return max(size, 1)
}

// CheckCell says what is wrong with a cell size that was asked for.
func CheckCell(r Range, size uint64) error {
	if size == 0 {
		return fmt.Errorf("cell size is 0, want at least 1")
	}
	if n := NewCells(r, size).Count(); n > MaxCells {
		return fmt.Errorf("cell size %d cuts range %v into %d cells, at most %d: use %d or more",
			size, r, n, MaxCells, ceilDiv(r.Len(), MaxCells))
	}
	return nil
}

func ceilDiv(a, b uint64) uint64 {
	if a == 0 {
		return 0
	}
	return (a-1)/b + 1
}
