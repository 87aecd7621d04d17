package reconcile

import (
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// TestWalk compares walks with those of another implementation of the package comment, and their density with 1/(1+i/2).
func TestWalk(t *testing.T) {
	w, check := walkOf(0x0123456789abcdef)
	require.Equal(t, uint32(0x157a3807), check)
	var cells []int64
	for ; w.cell < 1000; w.next() {
		cells = append(cells, w.cell)
	}
	require.Equal(t, []int64{0, 1, 5, 7, 121, 429, 505, 691, 700}, cells)

	total, seeds := uint64(0), walk{state: 42}
	for range 2000 {
		w, check := walkOf(seeds.random())
		all := uint64(check)
		for ; w.cell < MaxCells; w.next() {
			all += uint64(w.cell)
		}
		total = total*31 + all
	}
	require.Equal(t, uint64(0x063785207c74dab3), total, "2,000 walks to the end")

	const items = 20000
	var hits [600]float64
	for range items {
		for w, _ := walkOf(seeds.random()); w.cell < int64(len(hits)); w.next() {
			hits[w.cell]++
		}
	}
	for _, span := range [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 5}, {5, 10}, {10, 30}, {30, 100}, {100, 600}} {
		got, want := 0.0, 0.0
		for i := span[0]; i < span[1]; i++ {
			got += hits[i]
			want += items / (1 + float64(i)/2)
		}
		require.InEpsilon(t, want, got, 0.05, "cells %d..%d", span[0], span[1]-1)
	}
}

// The golden cells were made by another implementation of the package comment. They never change.
func TestGoldenCells(t *testing.T) {
	var key Key
	for i := range key {
		key[i] = byte(i)
	}
	set := NewItems(testRand())
	for n := range 20 {
		set.Put(itemOf(n+1, wire.Version(100*(n+1))))
	}
	k := set.Link(key, MinPrefix)
	require.Equal(t, uint64(0x46b0e390d96e74c0), k.Fingerprint())
	require.Equal(t, []uint64{0x087bb650265641cd, 0x0b8b0a6a8909113e}, k.Hashes()[:2])
	cells, err := k.View(20, 20).Cells(32)
	require.NoError(t, err)
	for i, want := range []string{
		"9caafc2e9b9d47e22bd1debc14",
		"3ad1c57b844128d0153ac8fa0c",
		"24b0bd6c053b25ce2712526d0a",
		"4a70d967b76b99f0120927e209",
		"e96485c8a1969f9e25ab605806",
		"09d68798ec735b210d58849f04",
		"28be890f0c52be0c8d4342f105",
		"502766383fd04d88a38a3e1f04",
		"a73197cff935fedc301e84aa07",
		"e677133fa2e0967807c2d8e402",
		"fd662c9c14c796c8c047e74e05",
		"745157ceac4e070fc786c26f01",
		"00000000000000000000000000",
		"11b02982b13692f397e0f66901",
		"6a87629f203ed85bba467e3d02",
		"cad450df9ae4e8fb88e1e9f902",
		"34068ef832fbbe712937889202",
		"762bb785fcc83780b43dde3203",
		"72198376e3eec643f18de70202",
		"d95f804c1ab46db81d2824f802",
		"00000000000000000000000000",
		"df6f1aae07cf14e76225509c02",
		"b2c47b6b9301986bff4ceff801",
		"f42d9aba9d86c4cb1b28419d03",
		"5f4ae3e0b3a1c8b478acd04804",
		"3112c65eabaeafb6c3ca102501",
		"b2c47b6b9301986bff4ceff801",
		"20482fb7bb8e31e09f1f600b02",
		"3112c65eabaeafb6c3ca102501",
		"063e73e2632163da164147a602",
		"00000000000000000000000000",
		"c49a0c666ea4027707d9dab305",
	} {
		require.Equal(t, want, hex.EncodeToString(EncodeCells(cells[i:i+1])), "cell %d", i)
	}
}

func TestEncodingsAreStrict(t *testing.T) {
	for n, want := range map[int]error{
		0: wire.ErrMalformed, 12: wire.ErrMalformed, 13: nil, 14: wire.ErrMalformed, 13 * MaxBlock: nil,
		13*MaxBlock + 1: wire.ErrMalformed, 13 * (MaxBlock + 1): wire.ErrTooLarge,
	} {
		_, err := DecodeCells(make([]byte, n))
		require.ErrorIs(t, err, want, "%d bytes", n)
	}
	full := make([]uint64, MaxHashes)
	for i := range full {
		full[i] = uint64(i)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"none":     {nil, nil},
		"part":     {make([]byte, 7), wire.ErrMalformed},
		"repeat":   {EncodeHashes([]uint64{1, 1}), wire.ErrMalformed},
		"order":    {EncodeHashes([]uint64{2, 1}), wire.ErrMalformed},
		"most":     {EncodeHashes(full), nil},
		"too many": {EncodeHashes(append(full, 1<<40)), wire.ErrTooLarge},
	} {
		got, err := DecodeHashes(c.b)
		require.ErrorIs(t, err, c.want, name)
		require.True(t, err != nil || slices.Equal(c.b, EncodeHashes(got)), name)
	}
	require.Less(t, CellBytes*MaxBlock+1024, wire.MaxFrame)
	require.Less(t, hashBytes*MaxHashes+1024, wire.MaxFrame)
}

func FuzzDecodeCells(f *testing.F) {
	f.Add([]byte{})
	f.Add(EncodeCells(cellsOf(3, 1, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if cells, err := DecodeCells(b); err == nil {
			require.Equal(t, b, EncodeCells(cells))
		}
	})
}

func FuzzDecodeHashes(f *testing.F) {
	f.Add([]byte{})
	f.Add(EncodeHashes([]uint64{1, 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if hashes, err := DecodeHashes(b); err == nil {
			require.True(t, slices.Equal(b, EncodeHashes(hashes)))
		}
	})
}

// FuzzDecoder feeds cells that a peer made up, besides those of a set of ours. The script says which items fall on which
// cells, so that the fuzzer gets past the checks. Whatever is decoded explains every cell.
func FuzzDecoder(f *testing.F) {
	f.Add(uint64(3), []byte{128, 1, 128, 2, 128, 9})
	f.Add(uint64(0), []byte{0, 1, 1, 1, 64, 1, 3, 1, 4, 1})
	f.Fuzz(func(t *testing.T, most uint64, script []byte) {
		ours, theirs := cellsOf(64, 1, 2, 3, 4), make([]Cell, 64)
		for ; len(script) > 1; script = script[2:] {
			hash := uint64(script[1] % 16)
			switch at := script[0]; {
			case at >= 128:
				sum(theirs, 0, hash, 1)
			case at >= 64:
				theirs[at-64].add(hash, checkOf(hash), 255)
			default:
				theirs[at].add(hash, checkOf(hash), 1)
			}
		}
		d := NewDecoder(4, most)
		for _, to := range []int{8, 32, 64} {
			from := len(d.cells)
			require.NoError(t, d.Add(ours[from:to], theirs[from:to]))
			require.LessOrEqual(t, len(d.found), len(d.cells))
			if d.Done() || d.lost {
				break
			}
			if step := d.Next(); step.Ask == AskCells {
				require.Positive(t, step.Cells)
				require.LessOrEqual(t, to+step.Cells, limit(4, most))
			}
		}
		if !d.Done() {
			require.Empty(t, slices.Concat(d.Ours(), d.Theirs()))
			return
		}
		all := slices.Concat(d.Ours(), d.Theirs())
		slices.Sort(all)
		require.Len(t, slices.Compact(all), len(d.found), "each once")
		n := len(d.cells)
		left := cellsOf(n, d.Ours()...)
		for _, hash := range d.Theirs() {
			sum(left, 0, hash, 255)
		}
		for i := range left {
			left[i] = Cell{left[i].Xor ^ theirs[i].Xor, left[i].Check ^ theirs[i].Check, left[i].Count + theirs[i].Count}
		}
		require.Equal(t, ours[:n], left)
	})
}

func TestTheCellsOfTheProtocolAreThoseOfTheCode(t *testing.T) {
	page, err := os.ReadFile("../PROTOCOL.md")
	require.NoError(t, err)
	cells := make([]Cell, 16)
	sum(cells, 0, 1, 1)
	var in []string
	for i, c := range cells {
		if c != (Cell{}) {
			in = append(in, strconv.Itoa(i))
		}
	}
	require.Contains(t, string(page), fmt.Sprintf("check %08x; it is in cells %s, ..", checkOf(1), strings.Join(in, ", ")))
	require.Contains(t, string(page), "each of them                        "+hex.EncodeToString(EncodeCells(cells[:1])))
}
