package reconcile

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// budget is what the design allows a difference, in bytes of cells.
var budget = map[int]float64{10: 208, 100: 1900, 1000: 17800}

// BenchmarkReconcile decodes the difference of two sets of up to 100,000 items, half of it on either side: both sides' work is
// in the time. It reports the bytes of cells that were sent and that would have been enough, as medians over many random
// sets, and the round trips, as their mean and as the 90th percentile.
func BenchmarkReconcile(b *testing.B) {
	for _, n := range []int{1000, wire.MaxOwners, 100_000} {
		for _, diff := range []int{1, 10, 100, 1000, 10_000} {
			if diff > n/10 {
				continue
			}
			b.Run(fmt.Sprintf("items=%d/diff=%d", n, diff), func(b *testing.B) { benchmarkReconcile(b, n, diff) })
		}
	}
}

func benchmarkReconcile(b *testing.B, n, diff int) {
	left, right := NewItems(testRand()), NewItems(testRand())
	for i := range n {
		left.Put(itemOf(i, 1))
		right.Put(itemOf(i, 1))
	}
	for i := range diff {
		if i%2 == 0 {
			left.Put(itemOf(n+i, 1))
		} else {
			right.Put(itemOf(n+i, 1))
		}
	}
	ours, theirs := left.Link(testKey, MaxPrefix), right.Link(testKey, MaxPrefix)
	b.ReportAllocs()
	for b.Loop() {
		e := exchange(b, ours, theirs)
		require.Equal(b, diff, len(e.diff.Send)+len(e.diff.Ask))
	}
	b.StopTimer()
	trials := min(max(100_000/diff, 10), 400)
	seeds := walk{state: 5}
	var cells, trips, needed []int
	allTrips := 0
	for range trials {
		p := randomPair(&seeds, n, diff, false)
		c, k := p.planned(b)
		cells, trips, allTrips = append(cells, c), append(trips, k), allTrips+k
		if diff <= 1000 { // one by one: it takes the square of that
			needed = append(needed, p.cellsNeeded(b))
		}
	}
	b.ReportMetric(median(cells)*CellBytes, "B-sent")
	if len(needed) > 0 {
		b.ReportMetric(median(needed)*CellBytes, "B-needed")
	}
	b.ReportMetric(budget[diff], "B-budget")
	b.ReportMetric(float64(allTrips)/float64(trials), "trips")
	slices.Sort(trips)
	b.ReportMetric(float64(trips[len(trips)*9/10]), "trips-p90")
}

func median(values []int) float64 {
	slices.Sort(values)
	return float64(values[len(values)/2])
}

// BenchmarkDecode is the initiator's part alone: its own cells, the subtraction and the decoding.
func BenchmarkDecode(b *testing.B) {
	for _, diff := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("diff=", diff), func(b *testing.B) {
			seeds := walk{state: 6}
			p := randomPair(&seeds, 0, diff, false)
			m := max(p.cellsNeeded(b), FirstBlock)
			b.ReportAllocs()
			for b.Loop() {
				d := NewDecoder(p.a, p.b)
				if err := d.Add(p.ours[:m], p.theirs[:m]); err != nil || !d.Done() {
					b.Fatal("not decoded")
				}
			}
		})
	}
}

// BenchmarkSketchUpkeep is an update of one owner, which takes one item out and puts one in: with hash, table and journal.
func BenchmarkSketchUpkeep(b *testing.B) {
	for _, prefix := range []int{MinPrefix, 1024, MaxPrefix} {
		for _, n := range []int{1000, 100_000} {
			b.Run(fmt.Sprintf("cells=%d/items=%d", prefix, n), func(b *testing.B) {
				set := NewItems(testRand())
				for i := range n {
					set.Put(itemOf(i, 1))
				}
				set.Link(testKey, prefix)
				rng := rand.New(rand.NewPCG(3, 4))
				b.ReportAllocs()
				for v := wire.Version(2); b.Loop(); v++ {
					set.Put(itemOf(rng.IntN(n), v))
				}
			})
		}
		b.Run(fmt.Sprintf("cells=%d/cells-alone", prefix), func(b *testing.B) {
			cells, seeds := make([]Cell, prefix), walk{state: 7}
			for b.Loop() {
				sum(cells, 0, seeds.random(), 1)
			}
		})
	}
}

// BenchmarkLink is the begin of a link, and its memory.
func BenchmarkLink(b *testing.B) {
	for _, n := range []int{1000, wire.MaxOwners, 100_000} {
		b.Run(fmt.Sprint("items=", n), func(b *testing.B) {
			set := NewItems(testRand())
			for i := range n {
				set.Put(itemOf(i, 1))
			}
			for b.Loop() {
				set.Unlink(set.Link(testKey, MaxPrefix))
			}
			k := set.Link(testKey, MaxPrefix)
			b.ReportMetric(float64(8*cap(k.hashes)+4*len(k.table.slots))/float64(n), "B/item")
			runtime.KeepAlive(k)
		})
	}
}

// BenchmarkFurtherCells is a block beyond the kept prefix, summed up from all items.
func BenchmarkFurtherCells(b *testing.B) {
	for _, n := range []int{1000, wire.MaxOwners, 100_000} {
		b.Run(fmt.Sprint("items=", n), func(b *testing.B) {
			set := NewItems(testRand())
			for i := range n {
				set.Put(itemOf(i, 1))
			}
			k := set.Link(testKey, MaxPrefix)
			for b.Loop() {
				k.block(MaxPrefix, MaxPrefix)
			}
		})
	}
}

// BenchmarkHashes is the list of all hashes and its comparison.
func BenchmarkHashes(b *testing.B) {
	set := NewItems(testRand())
	for i := range wire.MaxOwners {
		set.Put(itemOf(i, 1))
	}
	k := set.Link(testKey, MaxPrefix)
	list := k.Hashes()
	for b.Loop() {
		k.Diff(list)
	}
}
