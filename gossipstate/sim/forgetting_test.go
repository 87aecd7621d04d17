package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestDeadNodesDisappearForGood(t *testing.T) { churn(t, large(30)) }

// churn has machines set up anew all the time: who has gone must go from every table, and stay away.
func churn(t tester, nodes int) {
	t.Helper()
	const times, lasting = 5, 10 * time.Minute
	cfg := DefaultConfig(1, nodes)
	cfg.Liveness.ForgetAfter = time.Minute
	if nodes > 100 {
		// Who is not heard directly is heard of once in a background period, which is a minute among 200.
		cfg.Liveness.ForgetAfter = 5 * time.Minute
	}
	cfg.BeatLength = 400
	w := newWorld(t, cfg)
	w.start()
	places := upTo(0, nodes)
	first := map[[2]int]bool{} // who has seen whom
	for replaced := range times * nodes {
		w.run(lasting / time.Duration(times*nodes))
		place := replaced * 7 % nodes
		places[place] = w.Replace(places[place])
		w.requireNobodyReappears(first)
	}
	w.run(2 * cfg.Liveness.ForgetAfter)
	w.requireNobodyReappears(first)
	w.converge(1)
	for _, node := range places {
		require.Len(t, w.Members(node), nodes, "node %d; %s", node, w.seed())
		require.Equal(t, nodes, w.Count(node, liveness.Alive), "node %d; %s", node, w.seed())
	}

	fresh := newWorld(t, DefaultConfig(2, nodes))
	fresh.start()
	want, got := fresh.digestBytes(0), w.digestBytes(places[0])
	require.InDelta(t, want, got, float64(want)/10)
}

// requireNobodyReappears checks that no node lists a member for the first time twice.
func (w *world) requireNobodyReappears(first map[[2]int]bool) {
	w.t.Helper()
	for _, seen := range w.Transitions() {
		if pair := [2]int{seen.By, seen.Member}; seen.From == 0 {
			if first[pair] {
				require.Fail(w.t, "a node is listed again", "by %d: %d at %s; %s", seen.By, seen.Member, seen.At, w.seed())
			}
			first[pair] = true
		}
	}
}

// digestBytes is the size of all signed digests that a node holds, and of the lists of items that it would send.
func (w *world) digestBytes(node int) int {
	size := 0
	for _, topic := range w.nodes[node].proc.topic {
		items := topic.state.Items()
		for _, item := range items {
			_, signed, _ := topic.state.Digest(item.Owner)
			size += len(signed.Digest) + len(signed.Signature)
		}
		size += len(wire.MarshalSyncFrame(&wire.SyncFrame{Items: &wire.SyncItems{Topic: topicNames[topic.index], Items: items}}))
	}
	return size
}

// A replica that slept through a hundred times the life of a tombstone brings back nothing, in namespaces of their owners
// as under shared keys whose writers all live.
func TestWhoWasAwayForLongRevivesNothing(t *testing.T) {
	seeds(t, 4, func(t *testing.T, seed uint64) {
		cfg := small(seed, 8)
		cfg.TombstoneTTL = 2 * time.Second
		w := newWorld(t, cfg)
		w.start()
		w.load(2000)
		for i := range 8 {
			w.set(i, "shared", fmt.Sprint("before ", i))
			w.set(i, fmt.Sprint("gone/", i), "before")
			w.set(i, "~/own", "before")
			w.run(100 * time.Millisecond)
		}
		w.converge(1)
		w.Kill(7)
		w.run(time.Second)
		w.del(1, "shared")
		for i := range 7 {
			w.del(i, fmt.Sprint("gone/", i))
			w.del(i, "~/own")
		}
		for range 4 {
			w.run(25 * cfg.TombstoneTTL)
			for i := range 7 {
				w.set(i, "~/other", w.seed()) // floors rise with a write
			}
		}
		w.run(2 * time.Second)
		for _, i := range []int{0, 2, 3, 4, 5, 6} { // node 1 keeps its tombstones: one of them beats what is held of node 7
			require.Empty(t, w.State(0).ListOwned(w.nodes[i].id, "~/own"), "node %d has forgotten the tombstone", i)
		}
		w.Restart(7, false)
		w.run(time.Second)
		w.converge(2)
		for i := range 8 {
			for _, key := range []string{"shared", "gone/0", "gone/3", "gone/6"} {
				_, there := w.Get(i, key, 0)
				require.False(t, there, "%q is back on node %d; %s", key, i, w.seed())
			}
		}
	})
}
