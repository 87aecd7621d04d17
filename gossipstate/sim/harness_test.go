package sim

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// tester is testing.T, testing.B and rapid.T alike.
type tester interface {
	require.TestingT
	Helper()
}

// world is a simulated network under test. Whatever fails names the seed.
type world struct {
	t tester
	*Sim
	shared map[string]claim
	owned  map[ownedKey]claim
	writes int
}

// claim is the newest write of a key: the one that must be read in the end.
type claim struct {
	clock   wire.Clock
	owner   wire.ID
	value   string
	deleted bool
}

type ownedKey struct {
	node int
	key  string
}

func newWorld(t tester, cfg Config) *world {
	t.Helper()
	s, err := New(cfg)
	require.NoError(t, err)
	return &world{t: t, Sim: s, shared: map[string]claim{}, owned: map[ownedKey]claim{}}
}

// small is a network of a few nodes, with chains that last for these tests and are quickly made.
func small(seed uint64, nodes int) Config {
	cfg := DefaultConfig(seed, nodes)
	cfg.StartSpread = 200 * time.Millisecond
	cfg.BeatLength = 400
	return cfg
}

func (w *world) seed() string { return fmt.Sprintf("seed %d at %s", w.cfg.Seed, w.Now()) }

func (w *world) run(d time.Duration) {
	w.t.Helper()
	require.NoError(w.t, w.RunFor(d))
}

// within runs until done holds and fails when that takes longer than d.
func (w *world) within(d time.Duration, done func() bool, what string) time.Duration {
	w.t.Helper()
	took, ok, err := w.RunUntil(d, done)
	require.NoError(w.t, err)
	if !ok {
		require.Fail(w.t, "not within "+d.String()+": "+what, w.seed())
	}
	return took
}

// start runs until all nodes know each other.
func (w *world) start() {
	w.t.Helper()
	w.run(w.cfg.StartSpread)
	w.within(w.cfg.FirstSync+w.cfg.AntiEntropy, func() bool {
		return w.Converged() && w.State(0) != nil && len(w.Members(0)) == w.members()
	}, "all nodes know each other")
}

// load has every node hold more than fits a rumor's reach into the past: small states always travel whole, larger ones as
// what changed.
func (w *world) load(bytes int) {
	w.t.Helper()
	for i := range w.nodes {
		for k := range (bytes + largest - 1) / largest {
			w.set(i, fmt.Sprint("~/load/", k), strings.Repeat("x", min(bytes, largest)))
		}
	}
	w.run(time.Second)
}

const largest = 32 << 10 // bytes of one value of load

// converge runs until all nodes agree, in at most that many anti-entropy intervals, and then checks that they do, that
// nothing was lost and nothing came back, and that nothing is left to say.
func (w *world) converge(rounds int) time.Duration {
	w.t.Helper()
	took := w.within(time.Duration(rounds)*w.cfg.AntiEntropy, w.Converged, fmt.Sprintf("one state after %d rounds", rounds))
	require.NoError(w.t, w.CheckConverged())
	w.requireClaims()
	return took
}

// requireQuiet checks that nodes which agree send each other no state any more.
func (w *world) requireQuiet() {
	w.t.Helper()
	w.run(time.Minute) // what was under way; and until it is settled who beats with whom, which digests come with
	before := w.Total()
	w.run(2 * w.cfg.AntiEntropy)
	after := w.Total()
	require.Equal(w.t, before.Applied, after.Applied, w.seed())
	require.Equal(w.t, before.Rumors, after.Rumors, w.seed())
	require.Equal(w.t, before.Stale, after.Stale, w.seed())
	require.Equal(w.t, before.Pulls, after.Pulls, w.seed())
	syncs := after.Syncs - before.Syncs
	require.Positive(w.t, syncs, w.seed())
	require.InDelta(w.t, 2*syncs, after.SyncFrames-before.SyncFrames, 4, "a sync of equals is two hellos; %s", w.seed())
}

// write changes a key at one node and keeps account of what must be read in the end. A node that cannot write now does not,
// and what is not there is not deleted.
func (w *world) write(node int, key, value string, deleted bool) {
	w.t.Helper()
	state := w.State(node)
	if state == nil {
		require.ErrorIs(w.t, w.Set(node, key, value), ErrNotRunning)
		return
	}
	winner := state.Get(key)
	if !gossipstate.Shared(Main, key) {
		winner = state.GetOwned(w.nodes[node].id, key)
	}
	c := claim{clock: 1, owner: w.nodes[node].id, value: value, deleted: deleted}
	if winner.Entry != nil {
		c.clock = winner.Entry.Clock + 1
	}
	var err error
	if deleted {
		err = w.Delete(node, key)
	} else {
		err = w.Set(node, key, value)
	}
	switch {
	case err == ErrNotRunning:
		return
	case deleted && !winner.Live():
		require.ErrorIs(w.t, err, gossipstate.ErrNotFound, w.seed())
		return
	}
	require.NoError(w.t, err, w.seed())
	w.writes++
	if !gossipstate.Shared(Main, key) {
		w.owned[ownedKey{node, key}] = c
		return
	}
	best := w.shared[key]
	if cmp.Or(cmp.Compare(c.clock, best.clock), c.owner.Compare(best.owner)) > 0 {
		w.shared[key] = c
	}
}

func (w *world) set(node int, key, value string) { w.t.Helper(); w.write(node, key, value, false) }
func (w *world) del(node int, key string)        { w.t.Helper(); w.write(node, key, "", true) }

// requireClaims checks on every node that each key has the value of its newest write.
func (w *world) requireClaims() {
	w.t.Helper()
	for _, n := range w.nodes {
		if n.proc == nil {
			continue
		}
		for key, c := range w.shared {
			w.requireClaim(n.index, key, w.byID[c.owner].index, c)
		}
		for k, c := range w.owned {
			w.requireClaim(n.index, k.key, k.node, c)
		}
	}
}

func (w *world) requireClaim(node int, key string, owner int, c claim) {
	w.t.Helper()
	value, ok := w.Get(node, key, owner)
	require.Equal(w.t, !c.deleted, ok, "node %d: %q of node %d, clock %d; %s", node, key, owner, c.clock, w.seed())
	require.Equal(w.t, c.value, value, "node %d: %q of node %d, clock %d; %s", node, key, owner, c.clock, w.seed())
}

// upTo is the nodes from a to before b.
func upTo(a, b int) []int {
	var nodes []int
	for i := a; i < b; i++ {
		nodes = append(nodes, i)
	}
	return nodes
}

// seeds calls f with a few seeds, each as a test of its own.
func seeds(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	if raced {
		n = 1
	}
	for seed := range uint64(n) {
		t.Run(fmt.Sprintf("seed %d", seed+1), func(t *testing.T) { f(t, seed+1) })
	}
}

// large is n, or a fifth of it where the race detector makes everything slow.
func large(n int) int {
	if raced {
		return n / 5
	}
	return n
}
