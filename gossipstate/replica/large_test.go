package replica

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestTheLargestOwnersReachAJoinerWithoutRumors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		heavy, many := c.start(withoutRumors()), c.start(withoutRumors())
		c.connect(many, heavy)
		// Keys count: 16 x (8 + 64 KiB - 8) is 1 MiB to the byte.
		for i := range 16 {
			_, err := heavy.topic(t).Set(t.Context(), fmt.Sprintf("large/%02d", i), bytes.Repeat([]byte{byte(i)}, wire.MaxValue-8), WriteOptions{})
			require.NoError(t, err)
		}
		_, err := heavy.topic(t).Set(t.Context(), "k", nil, WriteOptions{})
		require.ErrorAs(t, err, new(*gossipstate.QuotaError))
		for i := 0; i < wire.MaxEntries; i += 512 {
			var writes []gossipstate.Mutation
			for j := range 512 {
				writes = append(writes, gossipstate.Mutation{Key: fmt.Sprintf("many/%d", i+j), Value: fmt.Append(nil, i+j)})
			}
			_, err := many.topic(t).Write(t.Context(), writes...)
			require.NoError(t, err)
		}
		_, err = many.topic(t).Set(t.Context(), "k", nil, WriteOptions{})
		require.ErrorAs(t, err, new(*gossipstate.QuotaError))
		joiner := c.start(withoutRumors())
		c.connect(joiner, many)
		within(t, 10*time.Second, "all hold the same", func() bool { return c.equal(c.nodes...) })
		require.Len(t, joiner.get(t, "large/15"), wire.MaxValue-8)
		require.Equal(t, "4095", joiner.get(t, "many/4095"))
		require.Less(t, joiner.count(CountSyncBytes, "in"), uint64(2_000_000), "it came once")
	})
}

// 66 owners at their limit are 66 MiB: five sessions' worth.
func TestALargeTopicReachesAJoiner(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	synctest.Test(t, func(t *testing.T) {
		const owners = 66
		c := newCluster(t)
		full := c.start(withoutRumors())
		var writes []gossipstate.Mutation
		for i := range wire.MaxBytes / wire.MaxValue {
			writes = append(writes, gossipstate.Mutation{Key: fmt.Sprintf("~/%02d", i), Value: make([]byte, wire.MaxValue-len("~/00"))})
		}
		for range owners {
			a := newAuthor(t)
			a.write(t, "main", writes...)
			d, _, _ := a.states["main"].Digest(a.id)
			require.EqualValues(t, wire.MaxBytes, d.Bytes)
			a.plant(t, full)
		}
		joiner := c.start(withoutRumors())
		c.connect(joiner, full)
		within(t, time.Minute, "both hold the same", func() bool { return c.equal(joiner, full) })
		require.Less(t, joiner.count(CountSyncBytes, "in"), uint64(owners*wire.MaxBytes*11/10))
	})
}

// A transfer that is cut goes on where it was: what an owner's copy took is not sent again.
func TestACutTransferResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const owners, perOwner = 40, 100_000 // bytes
		c := newCluster(t)
		source := c.start(withoutRumors())
		for range owners {
			a := newAuthor(t)
			a.write(t, "main", gossipstate.Mutation{Key: "~/a", Value: make([]byte, perOwner/2)}, gossipstate.Mutation{Key: "~/b", Value: make([]byte, perOwner/2)})
			source.table(t, func(tb *table) {
				for _, topic := range []string{"members", "main"} {
					v, err := wire.Verify(tb.topics[topic].domain, a.update(topic))
					require.NoError(t, err)
					_, _, err = tb.receive(tb.topics[topic], &v, arrival{from: "test"}, time.Now())
					require.NoError(t, err)
				}
			})
		}
		joiner := c.start(withoutRumors(), withFirstSync(0))
		have := func() (n int) {
			joiner.table(t, func(tb *table) { n = tb.topics["main"].state.Totals().Owners })
			return n
		}
		cuts := 0
		for next := 5; have() < owners; {
			c.connect(joiner, source)
			within(t, 10*time.Second, "it gets on", func() bool { return have() >= min(next, owners) })
			if next < owners {
				require.NoError(t, joiner.host.Network().ClosePeer(source.host.ID()))
				cuts++
				next = have() + 10
				time.Sleep(time.Second)
			}
		}
		require.GreaterOrEqual(t, cuts, 2)
		within(t, 5*time.Second, "both hold the same", func() bool { return c.equal(joiner, source) })
		perCut := 3 * perOwner // what was on its way, and the lists
		require.Less(t, joiner.count(CountSyncBytes, "in"), uint64(owners*perOwner+cuts*perCut))
	})
}
