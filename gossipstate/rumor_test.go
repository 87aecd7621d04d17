package gossipstate

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// slowRumor is Rumor by its definition, over all entries of the owner: the versions above published, then those before while
// they fit.
func slowRumor(c *copyOf, published Version) Update {
	u := Update{Signed: c.signed, Digest: c.digest}
	var all []Entry
	c.tree.each(func(e *Entry) bool { all = append(all, *e); return true })
	slices.SortFunc(all, func(a, b Entry) int { return a.Compare(&b) })
	size := updateOverhead
	for len(all) > 0 {
		newest := all[len(all)-1].Version
		start := slices.IndexFunc(all, func(e Entry) bool { return e.Version == newest })
		for i := range all[start:] {
			size += wire.EncodedSize(&all[start+i])
		}
		if newest > published && size > wire.MaxRumor {
			u.Entries, u.Previous = nil, c.digest.Version
			return u
		} else if newest <= published && size > updateOverhead+reach {
			u.Previous = newest
			return u
		}
		u.Entries, all = slices.Concat(all[start:], u.Entries), all[:start]
	}
	return u
}

func TestARumorIsThatOfTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAuthor(1)
		now := testStart
		for range rapid.IntRange(1, 30).Draw(t, "commits") {
			now = now.Add(time.Second)
			var mutations []Mutation
			for range rapid.IntRange(0, 3).Draw(t, "mutations") {
				size := rapid.SampledFrom([]int{0, 10, 300, 1200, 30_000}).Draw(t, "size")
				mutations = append(mutations, set(keyName(rapid.IntRange(0, 9).Draw(t, "key")), string(make([]byte, size))))
			}
			for range rapid.SampledFrom([]int{0, 0, 0, 20, 80}).Draw(t, "renewals") { // versions without entries
				a.write(t, now)
			}
			a.write(t, now, mutations...)
		}
		c := a.state.owners[a.self.ID]
		newest := uint64(c.digest.Version)
		published := rapid.OneOf(rapid.Uint64Range(0, newest), rapid.Uint64Range(newest-min(newest, 3), newest+1)).Draw(t, "published")
		u, ok := a.state.Rumor(a.self.ID, Version(published))
		require.True(t, ok)
		want := slowRumor(c, Version(published))
		require.Equal(t, want.Previous, u.Previous)
		require.Equal(t, want.Digest, u.Digest)
		require.Len(t, u.Entries, len(want.Entries))
		for i := range want.Entries {
			require.Equal(t, want.Entries[i], u.Entries[i])
		}
	})
}

func TestRecentEntriesAreFoundAtTheLargestVersion(t *testing.T) {
	a := newAuthor(1)
	a.write(t, testStart, set("a", "1"))
	c := *a.state.owners[a.self.ID]
	c.digest.Version = math.MaxUint64
	from, entries := c.recent(math.MaxUint64)
	require.Zero(t, from)
	require.Len(t, entries, 1)
}
