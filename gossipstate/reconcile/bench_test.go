package reconcile

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// budget is what the design allows a difference, in bytes.
var budget = map[int]float64{10: 208, 100: 1900, 1000: 17800}

// BenchmarkReconcile decodes the difference of two sets of 100,000 items, half of it on either side. It reports the bytes
// of cells in the blocks of the plan, with doubling blocks, and those that were needed, as means over many keys.
func BenchmarkReconcile(b *testing.B) {
	for _, n := range []int{1000, wire.MaxOwners, 100_000} {
		for _, diff := range []int{1, 10, 100, 1000} {
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
	const trials = 50
	seeds := walk{state: 5}
	var cells, trips, needed, doubled int
	for range trials {
		p := randomPair(&seeds, n, diff, false)
		c, k := p.planned(b)
		m := p.cellsNeeded(b)
		block := FirstBlock
		for block < m {
			block *= 2
		}
		cells, trips, needed, doubled = cells+c, trips+k, needed+m, doubled+block
	}
	b.ReportMetric(float64(needed)/trials*CellBytes, "B-needed")
	b.ReportMetric(float64(cells)/trials*CellBytes, "B-sent")
	b.ReportMetric(float64(doubled)/trials*CellBytes, "B-doubling")
	b.ReportMetric(float64(trips)/trials, "trips")
	b.ReportMetric(budget[diff], "B-budget")
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
