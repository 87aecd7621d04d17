package reconcile

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// pair is the cells of two random sets that differ in diff items: of ours all of them, or half, beside a common part.
type pair struct {
	ours, theirs []Cell
	a, b         uint64 // sizes
}

func randomPair(seeds *walk, common, diff int, oneSided bool) pair {
	n := 4*diff + 200
	p := pair{make([]Cell, n), make([]Cell, n), uint64(common), uint64(common)}
	for i := range diff {
		if oneSided || i%2 == 0 {
			sum(p.ours, 0, seeds.random(), 1)
			p.a++
		} else {
			sum(p.theirs, 0, seeds.random(), 1)
			p.b++
		}
	}
	return p
}

// cellsNeeded is how many of the cells it takes to decode.
func (p *pair) cellsNeeded(t testing.TB) int {
	d := NewDecoder(p.a, p.b)
	for m := range p.ours {
		require.NoError(t, d.Add(p.ours[m:m+1], p.theirs[m:m+1]))
		if d.Done() {
			return m + 1
		}
	}
	return len(p.ours) // one in ten thousand
}

// planned runs the exchange and gives its cells and round trips.
func (p *pair) planned(t testing.TB) (cells, trips int) {
	d := NewDecoder(p.a, p.b)
	for cells < len(p.ours) && !d.Done() {
		step := d.Next()
		require.Equal(t, AskCells, step.Ask)
		n := min(step.Cells, len(p.ours)-cells)
		require.NoError(t, d.Add(p.ours[cells:cells+n], p.theirs[cells:cells+n]))
		cells += n
		trips++
	}
	return cells, trips
}

// TestCellsNeeded holds the code to the figures of the design, whatever is common, and cellsFor to what is needed.
func TestCellsNeeded(t *testing.T) {
	seeds := walk{state: 1}
	for _, c := range []struct{ diff, budget, trials int }{{10, 208, 1000}, {100, 1900, 200}, {1000, 17900, 40}} {
		var needed []int
		enough := 0
		for range c.trials {
			p := randomPair(&seeds, 5, c.diff, false)
			n := p.cellsNeeded(t)
			needed = append(needed, n)
			if float64(n) <= cellsFor(float64(c.diff)) {
				enough++
			}
		}
		slices.Sort(needed)
		require.LessOrEqual(t, CellBytes*needed[len(needed)/2], c.budget, "bytes at %d, median", c.diff)
		require.InDelta(t, 0.55, float64(enough)/float64(c.trials), 0.15, "cellsFor(%d)", c.diff)
	}
}

// TestBlocksAreNearWhatIsNeeded holds the plan to a few trips and little over what is needed, as means over many sets.
func TestBlocksAreNearWhatIsNeeded(t *testing.T) {
	seeds := walk{state: 2}
	for _, c := range []struct {
		diff, trials int
		oneSided     bool
		trips, over  float64
	}{
		{1, 100, false, 1, 8}, {10, 500, false, 3, 1.15}, {100, 200, false, 6, 1.09}, {1000, 30, false, 4.5, 1.07}, {5000, 5, false, 4.5, 1.07},
		{100, 200, true, 3, 1.07}, {1000, 30, true, 3, 1.07},
	} {
		var cells, trips, needed float64
		for range c.trials {
			p := randomPair(&seeds, 100_000, c.diff, c.oneSided)
			n, k := p.planned(t)
			cells, trips, needed = cells+float64(n), trips+float64(k), needed+float64(p.cellsNeeded(t))
		}
		require.LessOrEqual(t, trips/float64(c.trials), c.trips, "round trips at %d", c.diff)
		require.LessOrEqual(t, cells/needed, c.over, "cells over those needed at %d", c.diff)
	}
}

func TestTheFirstCellsTellTheSizeOfTheDifference(t *testing.T) {
	seeds := walk{state: 3}
	for _, diff := range []int{40, 1000, 20000} {
		for _, skew := range []int{0, diff / 3} {
			var sum, squares float64
			const trials = 60
			for range trials {
				p := pair{make([]Cell, 32), make([]Cell, 32), 500, 500}
				for i := range diff {
					if i < (diff-skew)/2 {
						p.b++
						sumInto(p.theirs, &seeds)
					} else {
						p.a++
						sumInto(p.ours, &seeds)
					}
				}
				d := NewDecoder(p.a, p.b)
				require.NoError(t, d.Add(p.ours, p.theirs))
				e := d.Estimate() / float64(diff)
				sum, squares = sum+e, squares+(e-1)*(e-1)
			}
			require.InDelta(t, 1, sum/trials, 0.12, "mean at %d, %d", diff, skew)
			require.Less(t, math.Sqrt(squares/trials), 0.33, "deviation at %d, %d", diff, skew)
		}
	}
}

func sumInto(cells []Cell, seeds *walk) { sum(cells, 0, seeds.random(), 1) }

func TestTheFirstStepIsTheCheapest(t *testing.T) {
	for _, c := range []struct {
		ours, theirs uint64
		want         Step
	}{
		{0, 0, Step{Ask: SendItems}},
		{0, 16384, Step{Ask: SendItems}}, // who joins has nothing to compare
		{1, 16384, Step{Ask: SendItems}},
		{5, 5, Step{Ask: SendItems}},
		{50, 0, Step{Ask: SendItems}},
		{50, 10, Step{Ask: AskHashes}},
		{60, 60, Step{Ask: AskCells, Cells: 8}},
		{100_000, 100_000, Step{Ask: AskCells, Cells: 8}},
		{16384, 16284, Step{Ask: AskCells, Cells: 145}}, // at least 100 differ
		{8192, 16384, Step{Ask: AskHashes}},
		{16384, 1 << 63, Step{Ask: SendItems}}, // a lie
		{1 << 63, 1 << 63, Step{Ask: AskCells, Cells: 8}},
	} {
		require.Equal(t, c.want, NewDecoder(c.ours, c.theirs).Next(), "%d and %d", c.ours, c.theirs)
	}
}

// TestLargeDifferencesGoOverToTheList finds where the list is cheaper.
func TestLargeDifferencesGoOverToTheList(t *testing.T) {
	seeds := walk{state: 4}
	const n = 10_000
	for percent, want := range map[int]Ask{5: AskCells, 20: AskCells, 80: AskHashes} {
		p := randomPair(&seeds, n, n*percent/100, false)
		d := NewDecoder(n, n)
		require.NoError(t, d.Add(p.ours[:64], p.theirs[:64]))
		require.Equal(t, want, d.Next().Ask, "%d %%", percent)
	}
}

func TestAsksHaveNames(t *testing.T) {
	require.Equal(t, []string{"cells", "hashes", "items"}, []string{AskCells.String(), AskHashes.String(), SendItems.String()})
}

// TestItemBytes holds the cost of an item to its encoding.
func TestItemBytes(t *testing.T) {
	items := make([]wire.Item, 1000)
	for i := range items {
		items[i] = itemOf(i, 300)
		items[i].Generation = 1_900_000_000 << 16
	}
	f := wire.MarshalSyncFrame(&wire.SyncFrame{Items: &wire.SyncItems{Topic: "main", Items: items}})
	require.InDelta(t, itemBytes, float64(len(f))/float64(len(items)), 2)
}
