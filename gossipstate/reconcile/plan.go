package reconcile

import "math"

// Ask is what an exchange goes on with.
type Ask uint8

const (
	AskCells  Ask = iota // the other side's next cells
	AskHashes            // the list of all its hashes
	SendItems            // all our items, which the other side compares with its own
)

func (a Ask) String() string {
	switch a {
	case AskCells:
		return "cells"
	case AskHashes:
		return "hashes"
	default:
		return "items"
	}
}

// Step is the next step of an exchange; Cells is how many are asked for with AskCells.
type Step struct {
	Ask   Ask
	Cells int
}

// What the steps cost, to choose among them.
const (
	itemBytes = 84  // of an item in a frame
	tripBytes = 512 // what a round trip is worth: guess
)

// Next chooses the cheapest step by the bytes it takes. It is of use until d is done.
func (d *Decoder) Next() Step {
	ours, theirs := float64(d.ours), float64(d.theirs)
	diff := d.Estimate()
	// The items of the difference that are ours are sent, those that are not are asked for.
	naming := itemBytes*min(ours, max(0, diff+ours-theirs)/2) + hashBytes*min(theirs, max(0, diff+theirs-ours)/2)
	step, cost := Step{Ask: AskHashes}, hashBytes*theirs+naming
	if n := d.block(diff); n > 0 && !d.lost {
		left := max(float64(n), cellsFor(diff)-float64(len(d.cells)))
		if c := CellBytes*left + naming; c < cost {
			step, cost = Step{Ask: AskCells, Cells: n}, c
		}
	}
	if itemBytes*ours <= cost+tripBytes {
		step = Step{Ask: SendItems}
	}
	return step
}

// block is how many cells to ask for next when diff items differ; 0 when there may be no more.
//
// The counts of the cells so far tell how much differs: the more cells, the better. So a block ends where the difference may
// be found if it is one standard deviation smaller than it seems, and steps of a fourteenth follow. That comes within 5 % of
// what is needed in 3 to 6 blocks (TestBlocksAreNearWhatIsNeeded). Beyond the kept prefix a block costs the other side a walk
// over all its items: there it ends where the difference is found as a rule.
func (d *Decoder) block(diff float64) int {
	sent := len(d.cells)
	if d.blocks >= MaxBlocks {
		return 0
	}
	var n int
	switch deviation := math.Sqrt(2 / float64(max(sent, 1))); {
	case sent == 0:
		n = max(FirstBlock, int(cellsFor(diff))) // the sizes differ by so much at least
	case cellsFor(diff*(1-deviation)) > MaxPrefix && sent < MaxPrefix/2:
		n = MaxPrefix/2 - sent // to see better before the leap
	case cellsFor(diff*(1-deviation)) > MaxPrefix:
		n = int(cellsFor(diff*(1+deviation/2))) - sent
	case d.blocks == 1 && sent == FirstBlock && cellsFor(diff*(1-deviation)) < 5*FirstBlock/2:
		n = FirstBlock
	default:
		n = max(int(cellsFor(diff*(1-deviation)))-sent, sent/14)
	}
	if d.blocks >= fineBlocks {
		n = max(n, sent/4) // it is a rare set that takes so long
	}
	return min(max(n, leastBlock(sent)), MaxBlock, limit(d.ours, d.theirs)-sent)
}

// fineBlocks is after how many blocks they grow by a quarter, to come to an end. Guess: twice what exchanges take.
const fineBlocks = 8

// cellsFor is with how many cells diff items are found about every second time: fitted, TestCellsNeeded.
func cellsFor(diff float64) float64 { return min(1.33*diff+1.2*math.Sqrt(diff), MaxCells) }

// Estimate is about how many items only one of the two sets has. At a first step it is the difference of their sizes,
// with 8 cells it is right to a half, with n to sqrt(2/n) of it (standard deviation).
//
// Of d such items, a cell i > 0 holds each with probability p = 2/(i+2), ours counted up, theirs counted down. So
// counts scatter about (ours-theirs)*p with the variance d*p*(1-p): their squares tell d.
func (d *Decoder) Estimate() float64 {
	diff := math.Abs(float64(d.ours) - float64(d.theirs))
	if d.done {
		return float64(len(d.found))
	}
	if n := len(d.cells); n > 1 {
		diff = max(diff, d.spread/float64(n-1))
	}
	return max(diff, 1)
}

// observe takes the count of cell i, ours less theirs, into the estimate.
func (d *Decoder) observe(i int, count uint8) {
	if i == 0 {
		return
	}
	p := 2 / float64(i+2)
	mean := (float64(d.ours) - float64(d.theirs)) * p
	near := math.Round(mean) // the count is known mod 256 only
	dev := float64(int8(count-uint8(int64(near)))) + near - mean
	d.spread += dev * dev / (p * (1 - p))
}
