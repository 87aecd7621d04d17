package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// everywhere says whether every running node sees every other node as want says.
func (w *world) everywhere(want func(member int) liveness.Status) bool {
	alive := 0
	for i := range w.nodes {
		if want(i) == liveness.Alive {
			alive++
		}
	}
	for i := range w.nodes { // at little cost first
		if w.Up(i) && w.Count(i, liveness.Alive) != alive {
			return false
		}
	}
	for _, n := range w.nodes {
		if n.proc == nil {
			continue
		}
		views := w.Members(n.index)
		if len(views) != len(w.nodes) {
			return false
		}
		for _, v := range views {
			if v.Status != want(v.Node) || v.Status == liveness.Alive && v.Generation != w.Generation(v.Node) {
				return false
			}
		}
	}
	return true
}

// All nodes, a fifth at a time, leave as on SIGTERM and start again.
func TestARollingRestartIsNeverTakenForADeath(t *testing.T) {
	for _, c := range []struct {
		name     string
		nodes    int
		trusting bool
		loss     float64
	}{{"large", large(200), false, 0}, {"trusting", large(50), true, 0}, {"lossy", large(50), true, 0.1}} {
		t.Run(c.name, func(t *testing.T) {
			nodes := c.nodes
			cfg := DefaultConfig(7, nodes)
			cfg.Liveness.Trusting, cfg.Loss, cfg.BeatLength = c.trusting, c.loss, 200
			w := newWorld(t, cfg)
			w.start()
			w.run(time.Second)
			before := w.Generation(0)
			for fifth := range 5 {
				leavers := upTo(fifth*nodes/5, (fifth+1)*nodes/5)
				w.requireLeft(leavers)
				for _, node := range leavers {
					require.False(t, w.Up(node), "node %d has stopped; %s", node, w.seed())
					w.Restart(node, false)
				}
				w.within(cfg.FirstSync+2*time.Second, func() bool { // it publishes without a sync where that was lost
					return w.everywhere(func(int) liveness.Status { return liveness.Alive })
				}, "one live generation of each node everywhere")
			}
			require.Greater(t, w.Generation(0), before)
			w.converge(2)
			for _, seen := range w.Transitions() {
				require.NotEqual(t, liveness.Dead, seen.To, "node %d of node %d at %s; %s", seen.By, seen.Member, seen.At, w.seed())
			}
		})
	}
}

// requireLeft has nodes leave and checks that nearly all others note it before they have gone.
func (w *world) requireLeft(leavers []int) {
	w.t.Helper()
	leaves := map[int]bool{}
	for _, node := range leavers {
		leaves[node] = true
		w.Leave(node)
	}
	w.within(2*time.Second, func() bool {
		for node := range leaves {
			if w.Up(node) {
				return false
			}
		}
		return true
	}, "all who leave have told others and stopped")
	left, views := 0, 0
	for i := range w.nodes {
		for _, v := range w.Members(i) {
			if !leaves[i] && leaves[v.Node] {
				views++
				if v.Status == liveness.Left {
					left++
				}
			}
		}
	}
	require.Equal(w.t, (len(w.nodes)-len(leavers))*len(leavers), views)
	nearly := min(0.99*float64(views), float64(views-1)) // one word may still be under way
	require.GreaterOrEqual(w.t, float64(left), nearly, "left in %d of %d views; %s", left, views, w.seed())
}

func TestACrashOfATenthIsSeenByAll(t *testing.T) {
	for _, resets := range []bool{false, true} {
		t.Run(fmt.Sprintf("resets %t", resets), func(t *testing.T) {
			cfg := DefaultConfig(3, large(50))
			cfg.Resets, cfg.BeatLength = resets, 400
			w := newWorld(t, cfg)
			w.start()
			w.run(5 * time.Second)
			w.Transitions()
			crashed := w.Now()
			for i := 0; i < len(w.nodes); i += 10 {
				w.Kill(i)
			}
			// Neighbours notice within SuspicionMin and some beats; all others only by the silence of relayed beats: three
			// background periods, and one more of suspicion.
			w.within(3*w.proofTime(), func() bool {
				return w.everywhere(func(member int) liveness.Status {
					if member%10 == 0 {
						return liveness.Dead
					}
					return liveness.Alive
				})
			}, "a tenth is dead everywhere")
			first := map[int]time.Duration{}
			for _, seen := range w.Transitions() {
				if seen.To == liveness.Dead && first[seen.Member] == 0 {
					first[seen.Member] = seen.At - crashed
				}
			}
			for i := 0; i < len(w.nodes); i += 10 {
				require.NotZero(t, first[i])
				require.LessOrEqual(t, first[i], 4*time.Second, "a neighbour sees node %d dead; %s", i, w.seed())
			}
			for i := 0; i < len(w.nodes); i += 10 {
				w.Restart(i, i%20 == 0)
			}
			w.within(6*time.Second, func() bool {
				return w.everywhere(func(int) liveness.Status { return liveness.Alive })
			}, "all are back")
			w.converge(1)
		})
	}
}

func TestANodeThatLostItsStoreTakesItsStateBack(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, small(seed, 10))
		w.start()
		w.set(4, "~/mine", "kept")
		w.set(4, "color", "teal")
		w.converge(1)
		before := w.State(4).ListOwned(w.nodes[4].id, "")
		w.Restart(4, true)
		w.within(w.cfg.FirstSync, func() bool { return w.Published(4) }, "node 4 is back")
		w.converge(1)
		require.Equal(t, before, w.State(4).ListOwned(w.nodes[4].id, ""), w.seed())
		require.Zero(t, w.Total().OwnNewer, "it was above what it said before; %s", w.seed())
		w.requireQuiet()
	})
}

// It comes back where nobody can give it its state, says something else, less or more than before, and meets its past.
func TestANodeThatLostItsStoreMeetsWhatItSaidBefore(t *testing.T) {
	seeds(t, 6, func(t *testing.T, seed uint64) {
		w := newWorld(t, small(seed, 10))
		w.start()
		w.set(4, "~/mine", "before")
		w.set(4, "~/more", "before")
		w.set(4, "color", "teal")
		w.converge(1)
		w.Partition([]int{4})
		w.run(40 * time.Second)
		w.Restart(4, true)
		w.within(w.cfg.FirstSync, func() bool { return w.Published(4) }, "node 4 publishes alone")
		delete(w.owned, ownedKey{4, "~/more"})
		for i := range seed / 2 { // versions up to those before, the same or beyond
			w.set(4, "~/mine", fmt.Sprint("after ", i))
		}
		if seed < 2 {
			delete(w.owned, ownedKey{4, "~/mine"}) // it says nothing, and takes back what it said
		} else {
			w.shared["color"] = claim{owner: w.nodes[4].id, deleted: true} // nobody says so any more
		}
		w.run(5 * time.Second)
		w.Heal()
		w.run(time.Second)
		w.converge(2)
		require.False(t, w.nodes[4].proc.me.conflict, w.seed())
		w.requireQuiet()
	})
}

func TestAFrozenNodeAccusesNobodyAndComesBack(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, small(seed, 20))
		w.start()
		w.run(5 * time.Second)
		w.Transitions()
		w.Freeze(3, 10*time.Second)
		w.run(9 * time.Second)
		w.set(5, "color", "teal")
		w.run(3 * time.Second)
		require.True(t, w.everywhere(func(int) liveness.Status { return liveness.Alive }), w.seed())
		died := 0
		for _, seen := range w.Transitions() {
			require.NotEqual(t, 3, seen.By, "it accused node %d; %s", seen.Member, w.seed())
			require.Equal(t, 3, seen.Member, w.seed())
			if seen.To == liveness.Dead {
				died++
			}
		}
		require.Positive(t, died, "ten seconds are longer than anybody waits; %s", w.seed())
		w.converge(1)
	})
}

func TestAShortFreezeIsNotADeath(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		w := newWorld(t, small(seed, 20))
		w.start()
		w.run(5 * time.Second)
		w.Transitions()
		for i := range w.nodes {
			w.Freeze(i, 4*time.Second)
			w.run(700 * time.Millisecond)
		}
		w.run(5 * time.Second)
		for _, seen := range w.Transitions() {
			require.NotEqual(t, liveness.Dead, seen.To, "node %d of node %d at %s; %s", seen.By, seen.Member, seen.At, w.seed())
		}
		require.True(t, w.everywhere(func(int) liveness.Status { return liveness.Alive }), w.seed())
	})
}

func TestAnIdleNetworkSuspectsNobody(t *testing.T) {
	cfg := DefaultConfig(11, large(100))
	cfg.BeatLength = 90 // renewed every 18 s
	w := newWorld(t, cfg)
	w.start()
	w.Transitions()
	w.run(40 * time.Second)
	require.Empty(t, w.Transitions(), w.seed())
	require.True(t, w.everywhere(func(int) liveness.Status { return liveness.Alive }))
	require.NoError(t, w.CheckConverged())
}
