package gossipstate

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// slowRoot is the Merkle root by its definition.
func slowRoot(entries map[string]Entry) Root {
	var leaves []wire.EntryHash
	for key, e := range entries {
		h := wire.KeyHash(key)
		leaves = append(leaves, wire.EntryHash{Key: h, Leaf: wire.LeafHash(h, &e)})
	}
	return slowRootOf(leaves)
}

// slowRootOf splits the sorted leaves at the first bit in which any two differ.
func slowRootOf(leaves []wire.EntryHash) Root {
	slices.SortFunc(leaves, func(a, b wire.EntryHash) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	var root func([]wire.EntryHash) [32]byte
	root = func(l []wire.EntryHash) [32]byte {
		if len(l) == 1 {
			return l[0].Leaf
		}
		bit := uint8(firstDifference(&l[0].Key, &l[len(l)-1].Key))
		i := slices.IndexFunc(l, func(h wire.EntryHash) bool { return keyBit(&h.Key, bit) })
		return wire.NodeHash(root(l[:i]), root(l[i:]))
	}
	if len(leaves) == 0 {
		return Root{}
	}
	return root(leaves)
}

func TestTheTreeIsItsSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now tree
		var owner ID
		model := map[string]Entry{}
		type past struct {
			tree  tree
			root  Root
			model map[string]Entry
		}
		var kept []past
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := keyName(rapid.IntRange(0, 15).Draw(t, "key"))
			hash := wire.KeyHash(key)
			if rapid.Bool().Draw(t, "remove") {
				next, removed := now.remove(key)
				now = next
				_, had := model[key]
				require.Equal(t, had, removed != nil)
				delete(model, key)
			} else {
				e := Entry{
					Key: key, Value: []byte(rapid.StringN(0, 5, -1).Draw(t, "value")), Version: 1, Clock: 1,
					Tombstone: rapid.Bool().Draw(t, "tombstone"),
				}
				now, _ = now.put(&owner, e, &wire.EntryHash{Key: hash, Leaf: wire.LeafHash(hash, &e)})
				model[key] = e
			}
			if rapid.Bool().Draw(t, "seal") {
				require.Equal(t, slowRoot(model), now.seal())
				kept = append(kept, past{now, now.seal(), maps.Clone(model)})
			}
		}
		require.Equal(t, slowRoot(model), now.seal())
		requireTreeHolds(t, now, model)
		for _, p := range kept {
			require.Equal(t, p.root, p.tree.seal(), "a sealed tree never changes")
			requireTreeHolds(t, p.tree, p.model)
		}
	})
}

func requireTreeHolds(t *rapid.T, tr tree, model map[string]Entry) {
	size, tombstones := 0, 0
	for key, e := range model {
		got := tr.get(key)
		require.NotNil(t, got)
		require.Equal(t, e, *got)
		size += e.Size()
		if e.Tombstone {
			tombstones++
		}
	}
	require.Equal(t, len(model), tr.entries)
	require.Equal(t, size, tr.bytes)
	require.Equal(t, tombstones, tr.tombstones)
	seen := 0
	tr.each(func(*Entry) bool { seen++; return true })
	require.Equal(t, len(model), seen)
}

func benchmarkTree(b *testing.B, n int) tree {
	b.Helper()
	var t tree
	var owner ID
	for i := range n {
		e := Entry{Key: keyName(i), Value: make([]byte, 32), Version: 1, Clock: 1}
		h := wire.KeyHash(e.Key)
		t, _ = t.put(&owner, e, &wire.EntryHash{Key: h, Leaf: wire.LeafHash(h, &e)})
	}
	t.seal()
	return t
}
