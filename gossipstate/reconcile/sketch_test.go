package reconcile

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

var testKey = LinkKey(wire.ID{1}, wire.Salt{2}, wire.ID{3}, wire.Salt{4})

func testRand() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// itemOf is the item of the n-th owner at a version.
func itemOf(n int, v wire.Version) wire.Item {
	it := wire.Item{Generation: 1, Version: v, Root: wire.Root{byte(v)}}
	binary.BigEndian.PutUint64(it.Owner[:], uint64(n))
	return it
}

func itemsOf(items []wire.Item) *Items {
	s := NewItems(testRand())
	for _, it := range items {
		s.Put(it)
	}
	return s
}

// sketchOf is the sketch of items made anew.
func sketchOf(items []wire.Item) *Sketch { return itemsOf(items).Link(testKey, MinPrefix) }

// drawChanges changes set and its model at random.
func drawChanges(t *rapid.T, set *Items, model map[wire.ID]wire.Item, most int) {
	for range rapid.IntRange(0, most).Draw(t, "changes") {
		it := itemOf(rapid.IntRange(0, 40).Draw(t, "owner"), wire.Version(rapid.IntRange(0, 5).Draw(t, "version")))
		if it.Version == 0 {
			set.Delete(it.Owner)
			delete(model, it.Owner)
		} else {
			set.Put(it)
			model[it.Owner] = it
		}
	}
}

func TestSketchesKeptUpToDateEqualThoseMadeAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, model := NewItems(testRand()), map[wire.ID]wire.Item{}
		early := set.Link(testKey, MaxPrefix)
		gone := set.Link(Key{1}, MinPrefix)
		drawChanges(t, set, model, 100)
		set.Unlink(gone)
		late := set.Link(testKey, 0)
		drawChanges(t, set, model, 100)

		items := sorted(slices.Collect(maps.Values(model)))
		anew := sketchOf(items)
		for _, k := range []*Sketch{early, late} {
			require.Equal(t, len(items), k.Len())
			require.Equal(t, fingerprint(testKey, items), k.Fingerprint())
			require.Equal(t, anew.Hashes(), k.Hashes())
			require.Equal(t, anew.block(0, 2*MaxPrefix), k.block(0, 2*MaxPrefix), "kept cells and those summed up now")
			require.True(t, slices.Equal(items, k.Items(anew.Hashes())), "every hash finds its item")
		}
	})
}

func TestCellsAreThoseOfTheSetWhenTheExchangeBegan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set, model := NewItems(testRand()), map[wire.ID]wire.Item{}
		k := set.Link(testKey, MinPrefix)
		drawChanges(t, set, model, 60)
		want := k.block(0, 4*MinPrefix)
		view := k.View(1000, 1000)
		for sent := 0; sent < len(want); {
			n := min(leastBlock(sent)+rapid.IntRange(0, 100).Draw(t, "more"), len(want)-sent)
			if n < leastBlock(sent) {
				break
			}
			cells, err := view.Cells(n)
			require.NoError(t, err)
			require.Equal(t, want[sent:sent+n], cells)
			sent += n
			drawChanges(t, set, model, 10)
		}
	})
}

func TestAnExchangeEndsWhenTheSetChangesTooMuch(t *testing.T) {
	set := NewItems(testRand())
	k := set.Link(testKey, MinPrefix)
	set.Put(itemOf(1, 1))
	view := k.View(100, 100)
	want := k.block(0, 64)
	for v := range wire.Version(journalSize / 2) {
		set.Put(itemOf(1, v+2))
	}
	cells, err := view.Cells(64)
	require.NoError(t, err)
	require.Equal(t, want, cells)
	set.Delete(itemOf(1, 0).Owner)
	_, err = view.Cells(64)
	require.ErrorIs(t, err, ErrChanged)
}

func TestBlocksAreFewAndBounded(t *testing.T) {
	view := sketchOf(nil).View(2000, 10)
	sent := 0
	for _, step := range []struct {
		n  int
		ok bool
	}{
		{-1, false}, {0, false}, {3, false}, {MaxBlock + 1, false}, {4, true}, {3, false}, {2996, true},
		{749, false}, {750, true}, {251, false}, {250, true}, {0, false}, {1, false}, {32, false},
	} {
		cells, err := view.Cells(step.n)
		if !step.ok {
			require.ErrorIs(t, err, wire.ErrMalformed, "%d after %d", step.n, sent)
			continue
		}
		require.NoError(t, err, "%d after %d", step.n, sent)
		require.Len(t, cells, step.n)
		sent += step.n
	}
	require.Equal(t, 4000, sent, "twice the larger set")
	view = sketchOf(nil).View(2000, 10)
	for range MaxBlocks {
		_, err := view.Cells(FirstBlock)
		require.NoError(t, err)
	}
	_, err := view.Cells(FirstBlock)
	require.ErrorIs(t, err, wire.ErrMalformed, "one block more")
	view = sketchOf(nil).View(wire.MaxOwners, 0)
	_, err = view.Cells(MaxBlock + 1)
	require.ErrorIs(t, err, wire.ErrMalformed)
	_, err = view.Cells(MaxBlock)
	require.NoError(t, err)
	require.Equal(t, MaxCells, limit(1<<63, 1<<63+5))
	require.Equal(t, FirstBlock, limit(0, 0))
}

// TestTableFindsWhatIsInIt compares the table with a map, with hashes that share places and equal ones.
func TestTableFindsWhatIsInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := table{seed: rapid.Uint64().Draw(t, "seed")}
		list := make([]uint64, 64)
		model := map[uint32]uint64{}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			number := uint32(rapid.IntRange(0, len(list)-1).Draw(t, "number"))
			if _, in := model[number]; in {
				tab.remove(list, number)
				delete(model, number)
			} else {
				list[number] = rapid.Uint64Range(0, 40).Draw(t, "hash")
				tab.insert(list, number)
				model[number] = list[number]
			}
			require.Equal(t, len(model), tab.used)
			require.LessOrEqual(t, 4*tab.used, 3*len(tab.slots))
			for hash := range uint64(41) {
				found, ok := tab.find(list, hash)
				in := slices.Contains(slices.Collect(maps.Values(model)), hash)
				require.Equal(t, in, ok)
				if ok {
					require.Equal(t, hash, model[found])
				}
			}
		}
	})
}

func TestHashesThatAreNotHeldAreLeftOut(t *testing.T) {
	k := sketchOf([]wire.Item{itemOf(2, 1), itemOf(1, 1)})
	asked := append(k.Hashes(), k.Hashes()...)
	require.Equal(t, []wire.Item{itemOf(1, 1), itemOf(2, 1)}, k.Items(append(asked, 7, 8)))
	require.Empty(t, sketchOf(nil).Items(asked))
}

func TestSeedsDecideNothing(t *testing.T) {
	a, b := NewItems(rand.New(rand.NewPCG(1, 1))), NewItems(rand.New(rand.NewPCG(2, 2)))
	for n := range 100 {
		a.Put(itemOf(n, 1))
		b.Put(itemOf(n, 1))
	}
	ka, kb := a.Link(testKey, MinPrefix), b.Link(testKey, MinPrefix)
	require.NotEqual(t, ka.table.seed, kb.table.seed)
	require.Equal(t, ka.Hashes(), kb.Hashes())
	require.Equal(t, ka.block(0, 300), kb.block(0, 300))
	require.Equal(t, ka.Items(ka.Hashes()), kb.Items(kb.Hashes()))
}

func TestPuttingTheSameItemChangesNothing(t *testing.T) {
	set := itemsOf([]wire.Item{itemOf(1, 1)})
	k := set.Link(testKey, MinPrefix)
	before := k.changes
	set.Put(itemOf(1, 1))
	set.Delete(itemOf(2, 1).Owner)
	require.Equal(t, before, k.changes)
}

func TestEqualHashesAreListedOnce(t *testing.T) {
	k := &Sketch{hashes: []uint64{5, 1, 5}}
	require.Equal(t, []uint64{1, 5}, k.Hashes())
}
