package gossipstate

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// sharedKey names what one owner has under one key.
type sharedKey struct {
	key   string
	owner ID
}

func TestTheIndexOfSharedKeysIsItsSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMerged()
		model := map[sharedKey]*leaf{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			at := sharedKey{keyName(rapid.IntRange(0, 40).Draw(t, "key")), ID{byte(rapid.IntRange(1, 4).Draw(t, "owner"))}}
			var next *leaf
			if rapid.IntRange(0, 2).Draw(t, "remove") > 0 {
				owner, hash := at.owner, wire.KeyHash(at.key)
				entry := Entry{Key: at.key, Clock: Clock(rapid.IntRange(1, 3).Draw(t, "clock"))}
				next = &leaf{prefix: keyPrefix(&hash), entry: entry, owner: &owner}
			}
			old := model[at]
			delete(model, at)
			if old == nil && next == nil {
				continue
			}
			require.Equal(t, slowWinner(model, at.key), m.swap(old, next).record(), "the best of the others")
			if old != nil {
				require.Nil(t, old.next, "what is out of the index keeps nothing alive")
			}
			if next != nil {
				model[at] = next
			}
			require.Equal(t, len(model), m.leaves)
			requireIndexHolds(t, &m, model)
		}
	})
}

func slowWinner(model map[sharedKey]*leaf, key string) Record {
	var best Record
	for at, l := range model {
		if r := (Record{at.owner, &l.entry}); at.key == key && r.beats(best) {
			best = r
		}
	}
	return best
}

func requireIndexHolds(t *rapid.T, m *merged, model map[sharedKey]*leaf) {
	keys := map[string]int{}
	for at := range model {
		keys[at.key]++
	}
	winners := m.winners("")
	require.Len(t, winners, len(keys))
	for _, r := range winners {
		require.Equal(t, slowWinner(model, r.Entry.Key), r)
	}
	for i := range 41 {
		key := keyName(i)
		require.Equal(t, slowWinner(model, key), m.winner(key))
		writers := m.writers(key)
		require.Len(t, writers, keys[key])
		for _, r := range writers {
			require.Same(t, model[sharedKey{key, r.Owner}].content(), r.Entry)
		}
	}
	prefixed := slices.DeleteFunc(winners, func(r Record) bool { return r.Entry.Key[:5] != "key/1" })
	require.ElementsMatch(t, prefixed, m.winners("key/1"))
}
