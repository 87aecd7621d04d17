package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestBeats(t *testing.T) {
	relay := id('r')
	t.Run("each counts once, in ascending order", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		require.Equal(t, Fresh, w.beat(relay, a.chain.Beat(5)))
		require.Equal(t, Stale, w.beat(a.id(), a.chain.Beat(5)))
		require.Equal(t, Stale, w.beat(relay, a.chain.Beat(4)))
		require.Equal(t, Fresh, w.beat(relay, a.chain.Beat(300)))
		p, _ := w.table.Proof(a.id())
		require.Equal(t, Proof{1, 1, 300}, p)
		require.Equal(t, uint64(2), w.table.Counters().BeatsFresh)
		require.Equal(t, uint64(2), w.table.Counters().BeatsStale)
		require.Equal(t, uint64(300), w.table.Counters().Hashes, "no hash is spent on a stale one")
	})
	t.Run("one without its digest is no fault", func(t *testing.T) {
		w := newWorld(t)
		require.Equal(t, UnknownAnchor, w.beat(relay, newActor('a', 1).beat()))
	})
	t.Run("a forged one is an error and changes nothing", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		for name, forge := range map[string]func(*wire.Beat){
			"preimage":          func(b *wire.Beat) { b.Preimage[0]++ },
			"index":             func(b *wire.Beat) { b.Index++ },
			"index 0":           func(b *wire.Beat) { b.Index = 0 },
			"index after chain": func(b *wire.Beat) { b.Index = 301 },
		} {
			b := a.chain.Beat(9)
			forge(&b)
			_, seen, err := w.table.Beat(relay, b, w.now)
			require.ErrorIs(t, err, ErrForged, name)
			require.Empty(t, seen)
		}
		p, _ := w.table.Proof(a.id())
		require.Equal(t, Proof{1, 1, 0}, p)
		require.Equal(t, uint64(4), w.table.Counters().BeatsForged)
	})
	t.Run("those of a former chain or generation are unknown", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		old := a.chain.Beat(200)
		a.anchor(300)
		w.digest(a)
		require.Equal(t, UnknownAnchor, w.beat(relay, old))
		require.Equal(t, Fresh, w.beat(relay, a.chain.Beat(1)))
	})
	t.Run("an anchor signed again in a new generation starts from nothing", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.beat(relay, a.chain.Beat(20))
		a.digest.Generation++
		w.digest(a)
		p, _ := w.table.Proof(a.id())
		require.Equal(t, Proof{2, 1, 0}, p)
		_, _, err := w.table.Beat(relay, a.chain.Beat(21), w.now)
		require.ErrorIs(t, err, ErrForged)
	})
	t.Run("a newer version on the same chain keeps the index", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.beat(relay, a.chain.Beat(20))
		a.digest.Version++
		w.digest(a)
		require.Equal(t, Stale, w.beat(relay, a.chain.Beat(20)))
		p, _ := w.table.Proof(a.id())
		require.Equal(t, Proof{1, 2, 20}, p)
	})
	t.Run("the last ones under way do not bring back who left", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		a.digest.Version++
		a.digest.Status = wire.Leaving
		w.digest(a)
		w.story()
		require.Equal(t, Fresh, w.beat(a.id(), a.beat()))
		w.run(time.Minute)
		require.Empty(t, w.story())
		require.Empty(t, w.relayed(id('n')))
	})
}

func TestHashesPerSourceAreBounded(t *testing.T) {
	w := newWorld(t)
	a, b := newActorOf(id('a'), 1, wire.MaxBeats), newActorOf(id('b'), 1, wire.MaxBeats)
	w.digest(a)
	w.digest(b)
	forged := a.chain.Beat(4000)
	forged.Preimage[0]++
	_, _, err := w.table.Beat(id('x'), forged, w.now)
	require.ErrorIs(t, err, ErrForged)
	require.Equal(t, OverBudget, w.beat(id('x'), a.chain.Beat(97)), "96 hashes are left")
	require.Equal(t, Fresh, w.beat(id('x'), a.chain.Beat(96)))
	require.Equal(t, OverBudget, w.beat(id('x'), b.chain.Beat(1)))
	require.Equal(t, Fresh, w.beat(id('y'), b.chain.Beat(4096)), "another source has its own")
	require.Equal(t, uint64(2), w.table.Counters().BeatsOverBudget)
	require.Equal(t, uint64(4000+96+4096), w.table.Counters().Hashes)

	w.run(100 * time.Millisecond)
	require.Equal(t, OverBudget, w.beat(id('x'), a.chain.Beat(96+410)))
	require.Equal(t, Fresh, w.beat(id('x'), a.chain.Beat(96+409)), "a tenth of a second earns 409")
	w.run(time.Hour)
	require.Equal(t, Fresh, w.beat(id('x'), a.chain.Beat(4096)), "no more than one chain can be saved up")
}

func TestSourcesAreBounded(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.digest(a)
	source := func(n int) (id wire.ID) {
		id[0], id[1] = byte(n>>8), byte(n)
		return id
	}
	for n := range MaxSources {
		require.Equal(t, Fresh, w.beat(source(n), a.chain.Beat(uint32(n%300)+1)))
		if n%300 == 299 {
			a.anchor(300)
			w.digest(a)
		}
	}
	require.Equal(t, OverBudget, w.beat(source(MaxSources), a.chain.Beat(300)))
	w.table.NeighbourUp(source(MaxSources), w.now)
	require.Equal(t, uint64(1), w.table.Counters().SourcesFull)
	w.run(100 * time.Millisecond)
	require.Equal(t, Fresh, w.beat(source(MaxSources), a.chain.Beat(300)), "those with a whole budget are dropped")
	require.Len(t, w.table.sources, 1)

	for n := range 2 * MaxSources {
		w.table.NeighbourUp(source(n), w.now)
	}
	w.run(time.Second)
	w.table.NeighbourUp(id('z'), w.now)
	require.Len(t, w.table.sources, MaxSources, "neighbours are never dropped")
}

// namesake has an anchor with the name of a's anchor, and no chain behind it: what an attacker can sign.
func namesake(name byte, a *actor) *actor {
	fake := newActor(name, 1)
	fake.digest.BeatAnchor = a.digest.BeatAnchor
	fake.digest.BeatAnchor[15]++
	fake.digest.BeatLength = wire.MaxBeats
	return fake
}

func TestAnchorsMayShareAName(t *testing.T) {
	relay := id('r')
	t.Run("a stranger under the same name neither hides beats nor makes them expensive", func(t *testing.T) {
		w := newWorld(t)
		a := newActorOf(id('a'), 1, wire.MaxBeats)
		w.digest(namesake('f', a))
		w.digest(a)
		w.digest(namesake('g', a))
		w.beat(a.id(), a.chain.Beat(3000))
		spent := w.table.Counters().Hashes
		for k := uint32(3001); k < 3100; k++ {
			require.Equal(t, Fresh, w.beat(relay, a.chain.Beat(k)))
			require.Equal(t, Stale, w.beat(relay, a.chain.Beat(k)))
			require.Equal(t, Stale, w.beat(relay, a.chain.Beat(k-1)))
		}
		require.Equal(t, uint64(2*99), w.table.Counters().Hashes-spent)
		p, _ := w.table.Proof(a.id())
		require.Equal(t, Proof{1, 1, 3099}, p)
	})
	t.Run("nor do strangers keep a first beat from being checked within the budget", func(t *testing.T) {
		w := newWorld(t)
		a := newActorOf(id('a'), 1, wire.MaxBeats)
		w.digest(namesake('f', a))
		w.digest(namesake('g', a))
		w.digest(a)
		for _, want := range []Outcome{OverBudget, OverBudget, Fresh} {
			require.Equal(t, want, w.beat(relay, a.chain.Beat(3000)))
			w.run(time.Second)
		}
	})
	t.Run("a forged beat is found out under a shared name as well", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.digest(namesake('f', a))
		w.beat(relay, a.chain.Beat(50))
		for _, k := range []uint32{49, 50, 51} {
			b := a.chain.Beat(k)
			b.Preimage[3]++
			_, _, err := w.table.Beat(relay, b, w.now)
			require.ErrorIs(t, err, ErrForged)
		}
	})
	t.Run("an owner crowded out of its name still beats to its neighbours", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		for n := range byte(MaxSharing) {
			w.digest(namesake('f'+n, a))
		}
		w.digest(a)
		require.Equal(t, uint64(1), w.table.Counters().NamesCrowded)
		_, _, err := w.table.Beat(relay, a.chain.Beat(1), w.now)
		require.ErrorIs(t, err, ErrForged)
		require.Equal(t, Fresh, w.beat(a.id(), a.chain.Beat(2)))
	})
	t.Run("names are given back", func(t *testing.T) {
		for _, order := range [][]byte{{'f', 'g', 'h'}, {'h', 'g', 'f'}, {'g', 'f', 'h'}} {
			w := newWorld(t)
			a := newActor('a', 1)
			for _, n := range []byte{'f', 'g', 'h'} {
				w.digest(namesake(n, a))
			}
			for _, n := range order {
				require.True(t, w.table.Forget(id(n)))
			}
			require.Len(t, w.table.names, 1, "that of this node")
			w.digest(a)
			require.Equal(t, Fresh, w.beat(relay, a.chain.Beat(2)))
		}
	})
}

func TestRelay(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.BeatBudget = 2 * BeatBytes })
	a, b, c := newActor('a', 1), newActor('b', 1), newActor('c', 1)
	for _, x := range []*actor{a, b, c} {
		w.digest(x)
	}
	w.table.NeighbourUp(id('n'), w.now)
	relay := func() []wire.Beat { return w.table.RelayTo(id('n'), w.now) }
	w.run(time.Second)
	require.Empty(t, relay(), "nothing is heard yet")
	for _, x := range []*actor{b, c, a} {
		w.run(200 * time.Millisecond)
		w.beat(id('r'), x.beat())
	}
	w.run(200 * time.Millisecond)
	require.Nil(t, w.table.RelayTo(id('r'), w.now), "no neighbour")
	require.Equal(t, []wire.Beat{a.chain.Beat(1), c.chain.Beat(1)}, relay(), "the newest first, within the budget of a second")
	require.Empty(t, relay(), "which is spent")

	w.beat(id('r'), a.beat())
	w.beat(id('r'), a.beat())
	w.run(time.Second)
	require.Equal(t, []wire.Beat{b.chain.Beat(1)}, relay(), "each owner once in a period")
	w.run(4900 * time.Millisecond)
	require.Empty(t, relay())
	w.run(300 * time.Millisecond)
	require.Equal(t, []wire.Beat{a.chain.Beat(3)}, relay(), "then its newest alone")
	w.run(time.Minute)
	require.Empty(t, relay(), "each beat once")
	require.Equal(t, uint64(4), w.table.Counters().BeatsRelayed)
}

func TestARefutationIsRelayedAtOnce(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.neighbours(a)
	w.run(2200 * time.Millisecond)
	require.Equal(t, "suspect", w.status(a))
	w.table.NeighbourUp(id('n'), w.now)
	require.False(t, w.table.Urgent(id('n')))
	w.beat(a.id(), a.beat())
	require.True(t, w.table.Urgent(id('n')))
	require.Equal(t, []wire.Beat{a.chain.Beat(a.next - 1)}, w.table.RelayTo(id('n'), w.now))
	w.beat(a.id(), a.beat())
	require.False(t, w.table.Urgent(id('n')), "but the next waits its turn")
}

func TestBeatsOfAFormerChainAreNotRelayed(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.digest(a)
	w.beat(id('r'), a.beat())
	a.anchor(300)
	w.digest(a)
	w.run(time.Second)
	require.Empty(t, w.relayed(id('n')))
	w.beat(id('r'), a.beat())
	w.run(time.Second)
	require.Equal(t, []wire.Beat{a.chain.Beat(1)}, w.relayed(id('n')))
}

func TestTheDeadAreNotRelayed(t *testing.T) {
	w := newWorld(t, trusting)
	a := newActor('a', 1)
	w.neighbours(a)
	w.down(a.id(), ConnectionLost)
	w.down(a.id(), RedialRefused)
	w.run(200 * time.Millisecond)
	require.Equal(t, "dead", w.status(a))
	require.Empty(t, w.relayed(id('n')))
}
