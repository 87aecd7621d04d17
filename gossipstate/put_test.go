package gossipstate

import (
	"maps"
	"runtime"
	"slices"
	"testing"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func hashesOf(entries []Entry) []wire.EntryHash {
	hashes := make([]wire.EntryHash, len(entries))
	for i := range entries {
		hashes[i].Key = wire.KeyHash(entries[i].Key)
		hashes[i].Leaf = wire.LeafHash(hashes[i].Key, &entries[i])
	}
	return hashes
}

// drawEntries draws entries of few keys, so that some come twice, or of many, so that they are sorted in buckets.
func drawEntries(t *rapid.T, first Version) []Entry {
	keys := rapid.SampledFrom([]int{3, 20, 400}).Draw(t, "keys")
	entries := make([]Entry, rapid.IntRange(0, keys).Draw(t, "entries"))
	for i := range entries {
		entries[i] = Entry{
			Key: keyName(rapid.IntRange(0, keys-1).Draw(t, "key")), Version: first + Version(i), Clock: 1,
			Tombstone: rapid.IntRange(0, 3).Draw(t, "tombstone") == 0,
		}
	}
	return entries
}

func TestManyEntriesAtOnceMakeTheTreeOfTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now tree
		var owner ID
		model := map[string]Entry{}
		version := Version(1)
		for range rapid.IntRange(1, 4).Draw(t, "updates") {
			before, beforeModel := now, maps.Clone(model)
			root := before.seal()
			entries := drawEntries(t, version)
			version += Version(len(entries))
			next, swaps := now.putAll(&owner, entries, hashesOf(entries))
			for _, e := range entries {
				model[e.Key] = e
			}
			requireSwaps(t, swaps, entries, beforeModel)
			if rapid.Bool().Draw(t, "remove before it is sealed") && len(entries) > 0 {
				key := rapid.SampledFrom(entries).Draw(t, "removed").Key
				next, _ = next.remove(key)
				delete(model, key)
			}
			require.Equal(t, slowRoot(model), next.seal())
			requireTreeHolds(t, next, model)
			requireVersions(t, &next, model)
			require.Equal(t, root, before.seal(), "the tree before is as it was")
			requireTreeHolds(t, before, beforeModel)
			requireVersions(t, &before, beforeModel)
			now = next
		}
	})
}

// requireSwaps checks that each entry that stands says what stood in its place, and each other one says nothing.
func requireSwaps(t *rapid.T, swaps []swap, entries []Entry, before map[string]Entry) {
	require.Len(t, swaps, len(entries))
	for i := range entries {
		later := slices.ContainsFunc(entries[i+1:], func(e Entry) bool { return e.Key == entries[i].Key })
		if later {
			require.Equal(t, swap{}, swaps[i])
			continue
		}
		require.Equal(t, entries[i], swaps[i].after.entry)
		if old, had := before[entries[i].Key]; had {
			require.Equal(t, old, swaps[i].before.entry)
		} else {
			require.Nil(t, swaps[i].before)
		}
	}
}

// requireVersions checks what the tree says of versions against a look at every entry.
func requireVersions(t *rapid.T, tr *tree, model map[string]Entry) {
	from := Version(rapid.IntRange(0, 800).Draw(t, "from"))
	want, got := map[string]Entry{}, map[string]Entry{}
	dead, gotDead := map[string]Entry{}, map[string]Entry{}
	oldest := noTombstone
	for key, e := range model {
		if e.Version > from {
			want[key] = e
		}
		if e.Tombstone {
			oldest = min(oldest, e.Version)
			if e.Version <= from {
				dead[key] = e
			}
		}
	}
	tr.since(from, func(e *Entry) { got[e.Key] = *e })
	for _, e := range tr.tombstonesTo(from) {
		gotDead[e.Key] = *e
	}
	require.Equal(t, want, got)
	require.Equal(t, dead, gotDead)
	v, some := tr.oldestTombstone()
	require.Equal(t, oldest != noTombstone, some)
	if some {
		require.Equal(t, oldest, v)
	}
}

// Keys whose hashes share their first 64 bits cannot be found; leaves that claim to are made here.
func TestKeysThatShareAPrefixAreToldApartByTheRest(t *testing.T) {
	entries := make([]Entry, 40)
	for i := range entries {
		entries[i] = Entry{Key: keyName(i), Version: 1, Clock: 1}
	}
	hashes := hashesOf(entries)
	puts := make([]put, len(entries))
	m := maker{hashes: hashes, swaps: make([]swap, len(entries))}
	for i := range entries {
		clear(hashes[i].Key[:8])
		m.swaps[i].after = &leaf{entry: entries[i]}
		puts[i].at = i
	}
	sorted := m.sort(puts)
	require.True(t, slices.IsSortedFunc(sorted, m.compare))
	require.Len(t, m.lastOfEach(sorted), len(entries))
	for i := 1; i < len(sorted); i++ {
		bit := m.spread(sorted[i-1 : i+1])
		require.Equal(t, firstDifference(m.key(sorted[i-1]), m.key(sorted[i])), bit)
		require.GreaterOrEqual(t, bit, 64)
	}
}

// Nodes remember 32 bits of the keys below them. Keys that agree in more are made here: nobody waits until they are found.
func TestKeysThatAgreeInMoreThanNodesRememberMakeTheTreeOfTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now tree
		var owner ID
		model := map[string]wire.EntryHash{}
		for range rapid.IntRange(1, 6).Draw(t, "updates") {
			entries := drawEntries(t, 1)
			hashes := hashesOf(entries)
			for i := range hashes {
				key := &hashes[i].Key
				copy(key[:], []byte{key[0] & 0x80, 0, 0, key[1] & 1, key[2] & 1}) // these three bits, then those after bit 40
				model[entries[i].Key] = hashes[i]
			}
			now, _ = now.putAll(&owner, entries, hashes)
			require.Equal(t, slowRootOf(slices.Collect(maps.Values(model))), now.seal())
			require.Equal(t, len(model), now.entries)
		}
	})
}

// A node that stays must not keep one that has gone: through that it would keep whole trees, one before the other.
func TestUpdatesLeaveNothingOfTheTreesBefore(t *testing.T) {
	const keys, updates, each = 1000, 200, 50
	var now tree
	var owner ID
	put := func(first, n int, v Version) {
		entries := make([]Entry, n)
		for i := range entries {
			entries[i] = Entry{Key: keyName((first + i) % keys), Version: v, Clock: 1}
		}
		now, _ = now.putAll(&owner, entries, hashesOf(entries))
		now.seal()
	}
	put(0, keys, 1)
	var tops []weak.Pointer[inner]
	for i := range updates {
		put(i*each, each, Version(2+i))
		tops = append(tops, weak.Make(now.top.inner))
	}
	runtime.GC()
	left := slices.DeleteFunc(tops, func(p weak.Pointer[inner]) bool { return p.Value() == nil })
	require.Equal(t, 1, len(left), "trees of which something is left")
	runtime.KeepAlive(&now)
}

// A slab of 880 bytes and the allocator's header of 8 fit its class of 896: one node more would take half as much again.
func TestNodesFillTheirSlabs(t *testing.T) {
	require.EqualValues(t, 880, leafSlab*unsafe.Sizeof(leaf{}))
	require.EqualValues(t, 880, innerSlab*unsafe.Sizeof(inner{}))
}
