package reconcile

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// drawItems draws a set of items over a small space, so that two sets share owners, sorted by owner.
func drawItems(t *rapid.T, label string) []wire.Item {
	byOwner := map[wire.ID]wire.Item{}
	for range rapid.IntRange(0, 20).Draw(t, label) {
		it := wire.Item{
			Owner:      wire.ID{rapid.Byte().Draw(t, "owner") % 16},
			Generation: wire.Generation(rapid.IntRange(1, 3).Draw(t, "generation")),
			Version:    wire.Version(rapid.IntRange(1, 3).Draw(t, "version")),
			Root:       wire.Root{rapid.Byte().Draw(t, "root") % 3},
		}
		byOwner[it.Owner] = it
	}
	return slices.SortedFunc(maps.Values(byOwner), func(a, b wire.Item) int { return a.Owner.Compare(b.Owner) })
}

func TestCompareFindsExactlyWhatEachSideLacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := drawItems(t, "ours"), drawItems(t, "theirs")
		d := Compare(ours, theirs)
		send, ask := map[wire.ID]wire.Want{}, map[wire.ID]wire.Want{}
		for _, w := range d.Send {
			send[w.Owner] = w
		}
		for _, w := range d.Ask {
			ask[w.Owner] = w
		}
		require.Len(t, send, len(d.Send), "an owner is named once")
		require.Len(t, ask, len(d.Ask), "an owner is named once")
		for owner := range 16 {
			id := wire.ID{byte(owner)}
			a, b := find(ours, id), find(theirs, id)
			_, sends := send[id]
			_, asks := ask[id]
			require.Equal(t, newer(a, b), sends)
			require.Equal(t, newer(b, a), asks)
			if sends && b != nil && (a.Generation != b.Generation || a.Version != b.Version) {
				require.Equal(t, wire.Want{Owner: id, Generation: b.Generation, Version: b.Version}, send[id])
			}
			if sends && b != nil && a.Generation == b.Generation && a.Version == b.Version {
				require.Zero(t, send[id].Version, "a fork needs a snapshot")
			}
		}
	})
}

func find(items []wire.Item, owner wire.ID) *wire.Item {
	for i := range items {
		if items[i].Owner == owner {
			return &items[i]
		}
	}
	return nil
}

func newer(a, b *wire.Item) bool {
	return a != nil && (b == nil || compareItems(a, b) > 0)
}

// fingerprint is the one of items by its definition.
func fingerprint(key Key, items []wire.Item) (sum uint64) {
	for i := range items {
		sum += key.hash(&items[i])
	}
	return sum
}

// linked is a sketch of items under key.
func linked(key Key, items []wire.Item) *Sketch { return itemsOf(items).Link(key, MinPrefix) }

func TestFingerprintsDifferForDifferentSetsAndKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawItems(t, "a"), drawItems(t, "b")
		key := LinkKey(wire.ID{1}, wire.Salt{2}, wire.ID{3}, wire.Salt{4})
		require.Equal(t, slices.Equal(a, b), linked(key, a).Fingerprint() == linked(key, b).Fingerprint())
		other := LinkKey(wire.ID{1}, wire.Salt{2}, wire.ID{3}, wire.Salt{5})
		require.Equal(t, len(a) == 0, linked(key, a).Fingerprint() == linked(other, a).Fingerprint())
	})
}

func TestBothSidesOfALinkHaveTheSameKey(t *testing.T) {
	a, b := wire.ID{1}, wire.ID{2}
	require.Equal(t, LinkKey(a, wire.Salt{3}, b, wire.Salt{4}), LinkKey(b, wire.Salt{4}, a, wire.Salt{3}))
	require.NotEqual(t, LinkKey(a, wire.Salt{3}, b, wire.Salt{4}), LinkKey(a, wire.Salt{4}, b, wire.Salt{3}))
}
