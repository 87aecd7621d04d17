package reconcile

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// cellsOf are the first n cells of hashes.
func cellsOf(n int, hashes ...uint64) []Cell {
	cells := make([]Cell, n)
	for _, hash := range hashes {
		sum(cells, 0, hash, 1)
	}
	return cells
}

func randomHashes(rng *rand.Rand, n int) []uint64 {
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = rng.Uint64()
	}
	slices.Sort(hashes)
	return hashes
}

// without is the slow obvious difference of two sets, sorted.
func without(a, b []uint64) []uint64 {
	in := map[uint64]bool{}
	for _, hash := range b {
		in[hash] = true
	}
	var left []uint64
	for _, hash := range a {
		if !in[hash] {
			left = append(left, hash)
		}
	}
	slices.Sort(left)
	return left
}

// TestDecodingFindsTheDifference compares the decoder with sets, in blocks of any size.
func TestDecodingFindsTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		most := rapid.SampledFrom([]int{3, 30, 600}).Draw(t, "size")
		common := randomHashes(rng, rapid.IntRange(0, most).Draw(t, "common"))
		ours := append(randomHashes(rng, rapid.IntRange(0, most).Draw(t, "ours")), common...)
		theirs := append(randomHashes(rng, rapid.IntRange(0, most).Draw(t, "theirs")), common...)
		enough := 64 + 4*(len(ours)+len(theirs)-2*len(common))
		a, b := cellsOf(enough, ours...), cellsOf(enough, theirs...)
		d := NewDecoder(uint64(len(ours)), uint64(len(theirs)))
		for !d.Done() && len(a) > 0 {
			require.Empty(t, d.Ours())
			require.Empty(t, d.Theirs())
			n := min(rapid.IntRange(1, 300).Draw(t, "block"), len(a))
			require.NoError(t, d.Add(a[:n], b[:n]))
			a, b = a[n:], b[n:]
		}
		if !d.Done() {
			t.Skip("one in thousands needs more cells")
		}
		require.Equal(t, without(ours, theirs), d.Ours())
		require.Equal(t, without(theirs, ours), d.Theirs())
	})
}

// TestAnExchangeNeedsOnlyTheDifference runs whole exchanges, encodings included: what follows from the items that
// differ is what follows from all.
func TestAnExchangeNeedsOnlyTheDifference(t *testing.T) {
	asked := map[Ask]bool{}
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := drawSets(t)
		e := exchange(t, sketchOf(ours), sketchOf(theirs))
		asked[e.how] = true
		require.Equal(t, Compare(theirs, ours), e.diff, "as the responder sees it")
	})
	require.Len(t, asked, 3, "every way was taken")
}

// drawSets draws two sets of up to 600 owners that differ little or much.
func drawSets(t *rapid.T) (ours, theirs []wire.Item) {
	n := rapid.SampledFrom([]int{1, 10, 100, 600}).Draw(t, "owners")
	percent := rapid.SampledFrom([]int{1, 5, 50, 100}).Draw(t, "percent that differ")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	for i := range n {
		a, b := itemOf(i, 2), itemOf(i, 2)
		if rng.IntN(100) < percent {
			b.Version = wire.Version(rng.IntN(4)) // 2 is a fork
			b.Root[1] = byte(1 + rng.IntN(2))
			if rng.IntN(2) == 0 {
				a, b = b, a
			}
		}
		if a.Version > 0 {
			ours = append(ours, a)
		}
		if b.Version > 0 {
			theirs = append(theirs, b)
		}
	}
	return ours, theirs
}

// outcome is how an exchange went.
type outcome struct {
	diff  Difference // the responder's
	how   Ask        // the last step
	bytes int        // of cells and of the list of hashes
	cells int
	trips int
}

// exchange runs the steps between an initiator and a responder.
func exchange(t require.TestingT, ours, theirs *Sketch) outcome {
	a, b := uint64(ours.Len()), uint64(theirs.Len())
	mine, served, d := ours.View(a, b), theirs.View(b, a), NewDecoder(a, b)
	var e outcome
	for {
		step := d.Next()
		e.how = step.Ask
		switch e.trips++; step.Ask {
		case SendItems:
			e.diff = Compare(theirs.Items(theirs.Hashes()), ours.Items(ours.Hashes()))
			return e
		case AskHashes:
			encoded := EncodeHashes(theirs.Hashes())
			e.bytes += len(encoded)
			list, err := DecodeHashes(encoded)
			require.NoError(t, err)
			onlyOurs, onlyTheirs := ours.Diff(list)
			e.diff = theirs.Compare(ours.Items(onlyOurs), onlyTheirs)
			return e
		}
		cells, err := served.Cells(step.Cells)
		require.NoError(t, err)
		encoded := EncodeCells(cells)
		e.bytes += len(encoded)
		e.cells += len(cells)
		cells, err = DecodeCells(encoded)
		require.NoError(t, err)
		local, err := mine.Cells(step.Cells)
		require.NoError(t, err)
		require.NoError(t, d.Add(local, cells))
		if d.Done() {
			e.diff = theirs.Compare(ours.Items(d.Ours()), d.Theirs())
			return e
		}
	}
}

func TestListsFindTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := drawSets(t)
		a, b := sketchOf(ours), sketchOf(theirs)
		onlyOurs, onlyTheirs := a.Diff(b.Hashes())
		require.Equal(t, without(a.Hashes(), b.Hashes()), onlyOurs)
		require.Equal(t, without(b.Hashes(), a.Hashes()), onlyTheirs)
	})
}

func TestEqualSetsAreDoneAtOnce(t *testing.T) {
	d := NewDecoder(3, 3)
	require.False(t, d.Done(), "nothing was compared")
	require.NoError(t, d.Add(nil, nil))
	require.False(t, d.Done(), "nothing was compared")
	require.NoError(t, d.Add(cellsOf(1, 1, 2, 3), cellsOf(1, 1, 2, 3)))
	require.True(t, d.Done())
	require.Empty(t, d.Ours())
	require.Empty(t, d.Theirs())
}

func TestWhatFollowsTheDifferenceIsNotLookedAt(t *testing.T) {
	d := NewDecoder(3, 3)
	for range 2 {
		require.NoError(t, d.Add(cellsOf(1, 1, 2), cellsOf(1, 2)))
		require.True(t, d.Done())
		require.Equal(t, []uint64{1}, d.Ours())
		require.Empty(t, d.Theirs())
	}
	require.InDelta(t, 1, d.Estimate(), 0)
}

// ends feeds a decoder until it has had enough, and requires that it comes to no result and asks for the list.
func ends(t *testing.T, ours, theirs []Cell) {
	t.Helper()
	d := NewDecoder(1000, 1000)
	for from := 0; from < len(ours); {
		n := min(leastBlock(from), len(ours)-from)
		require.NoError(t, d.Add(ours[from:from+n], theirs[from:from+n]))
		from += n
		require.False(t, d.Done())
		require.LessOrEqual(t, len(d.found), from)
	}
	require.NotEqual(t, AskCells, d.Next().Ask)
	require.Empty(t, d.Ours())
	require.Empty(t, d.Theirs())
}

// crossCheck finds four hashes of which any one is the xor of the others, and likewise their checks. Who knows the key of
// a link can make such cells up; items that fall together so by chance are one in 2^32.
func crossCheck(rng *rand.Rand) (hashes [4]uint64) {
	const delta = 0x5555
	seen := map[uint32]uint64{}
	for {
		hash := rng.Uint64()
		pair := checkOf(hash) ^ checkOf(hash^delta)
		if other, ok := seen[pair]; ok && other != hash^delta {
			return [4]uint64{hash, hash ^ delta, other, other ^ delta}
		}
		seen[pair] = hash
	}
}

func TestCellsOfNoSetDoNotDecode(t *testing.T) {
	const n = 2000
	rng := testRand()
	noise := make([]Cell, n)
	for i := range noise {
		noise[i] = Cell{rng.Uint64(), rng.Uint32(), uint8(rng.Uint32())}
	}
	pure := make([]Cell, n) // an item of its own in every cell, wherever it belongs
	for i := range pure {
		hash := rng.Uint64()
		pure[i] = Cell{hash, checkOf(hash), uint8(1 + 254*(i%2))}
	}
	again := make([]Cell, n) // one item in every cell: it comes back each time it is taken
	for i := range again {
		again[i] = Cell{77, checkOf(77), 1}
	}
	oneOff := cellsOf(n, 1, 2, 3)
	oneOff[5].Xor ^= 1
	counted := cellsOf(n, 1, 2, 3)
	counted[0].Count++
	for name, cells := range map[string][]Cell{
		"noise": noise, "pure cells": pure, "one item everywhere": again, "a wrong bit": oneOff, "a wrong count": counted,
	} {
		t.Run(name, func(t *testing.T) {
			ends(t, cells, make([]Cell, n))
			ends(t, make([]Cell, n), cells)
		})
	}
	t.Run("an item twice in one set", func(t *testing.T) {
		ends(t, cellsOf(n, 5, 5, 6), make([]Cell, n))
	})
	t.Run("an item found on both sides", func(t *testing.T) {
		var cells []Cell
		var d *Decoder
		var h [4]uint64
		for d == nil || d.Done() || len(d.found) != 1 || d.found[0].hash != h[3] { // until cell 0 is believed, unlike cell 1
			h = crossCheck(rng)
			cells = cellsOf(n, h[0], h[1])
			sum(cells, 0, h[2], 255)
			require.Equal(t, Cell{h[3], checkOf(h[3]), 1}, cells[0], "three items look like a fourth")
			d = NewDecoder(1000, 1000)
			require.NoError(t, d.Add(cells[:2], make([]Cell, 2)))
		}
		require.NoError(t, d.Add(cells[2:], make([]Cell, n-2)))
		require.Len(t, d.found, 5, "three, and the fourth on both sides")
		require.False(t, slices.ContainsFunc(d.cells, func(c Cell) bool { return c != Cell{} }), "nothing is left")
		require.False(t, d.Done())
		require.NotEqual(t, AskCells, d.Next().Ask)
	})
}

func TestADecoderTakesBlocksOfOneSizeUpToItsLimit(t *testing.T) {
	d := NewDecoder(1, 1)
	require.ErrorIs(t, d.Add(make([]Cell, 2), make([]Cell, 1)), wire.ErrMalformed)
	require.ErrorIs(t, d.Add(make([]Cell, MaxCells+1), make([]Cell, MaxCells+1)), wire.ErrTooLarge)
	require.NoError(t, d.Add(cellsOf(MaxCells, 1, 1), make([]Cell, MaxCells)))
	require.ErrorIs(t, d.Add(make([]Cell, 1), make([]Cell, 1)), wire.ErrTooLarge)
	require.Equal(t, SendItems, d.Next().Ask)
}
