package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestAWriteReachesAllNodesAtTheSpeedOfTheOverlay(t *testing.T) {
	seeds(t, 2, func(t *testing.T, seed uint64) {
		nodes := large(100)
		w := newWorld(t, DefaultConfig(seed, nodes))
		w.start()
		w.run(5 * time.Second)
		w.ResetSpread()
		w.set(7, "color", "teal")
		took := w.within(time.Second, func() bool {
			for i := range w.nodes {
				if v, _ := w.Get(i, "color", 7); v != "teal" {
					return false
				}
			}
			return true
		}, "the value on all nodes")
		// The last of 128 nodes hears at 3 mean latencies; here a link may be half as slow again, and jitter comes on top.
		require.Less(t, took, 5*(w.cfg.Latency+w.cfg.Jitter), w.seed())
		w.run(time.Second)
		spread := w.Spread()
		require.Equal(t, uint64(nodes-1), spread.First, w.seed())
		require.LessOrEqual(t, spread.MaxHops, 6, w.seed())
		require.LessOrEqual(t, spread.Redundant, uint64(nodes*8-nodes+1), "at most once over each link in each direction; %s", w.seed())
	})
}

func TestPartitionedHalvesAgreeAfterHealing(t *testing.T) {
	for _, apart := range []time.Duration{5 * time.Second, time.Minute} { // connections survive, or do not
		t.Run(apart.String(), func(t *testing.T) {
			seeds(t, 5, func(t *testing.T, seed uint64) {
				w := newWorld(t, small(seed, 20))
				w.start()
				w.load(2000)
				for i := range w.nodes {
					w.set(i, "color", fmt.Sprint("before ", i))
					w.set(i, fmt.Sprint("shape/", i%5), "before")
					w.set(i, "~/mine", "before")
				}
				w.converge(1)
				w.Partition(upTo(0, 7))
				for i := range w.nodes {
					w.run(apart / 20)
					switch i % 4 {
					case 0:
						w.set(i, "color", fmt.Sprint("during ", i))
					case 1:
						w.del(i, fmt.Sprint("shape/", i%5))
					case 2:
						w.set(i, fmt.Sprint("new/", i), "during")
					case 3:
						w.del(i, "~/mine")
					}
				}
				w.run(3 * time.Second)
				require.False(t, w.Converged(), w.seed())
				w.Heal()
				w.converge(1)
				w.requireQuiet()
			})
		})
	}
}

func TestALossyNetworkConverges(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		cfg := small(seed, large(30))
		cfg.Loss, cfg.Duplicate, cfg.Break = 0.2, 0.2, 0.01
		cfg.Jitter = 300 * time.Millisecond // six times the pause between two writes: rumors overtake each other
		w := newWorld(t, cfg)
		w.run(10 * time.Second)
		w.load(2000)
		before := w.Total()
		for i := range 200 {
			w.run(50 * time.Millisecond)
			if node := i % 3; i%5 == 4 {
				w.del(node, fmt.Sprint("key/", i%7))
			} else { // three of them are more than a rumor's reach
				w.set(node, fmt.Sprint("key/", i%7), fmt.Sprint(i, strings.Repeat(" ", 500)))
			}
		}
		require.Greater(t, w.writes, 100)
		w.converge(2)
		require.Greater(t, w.Total().Gaps-before.Gaps, uint64(10), "hardly anything was lost; %s", w.seed())
	})
}

func TestRumorsThatOvertakeEachOtherHealThemselves(t *testing.T) {
	cfg := small(1, 10)
	w := newWorld(t, cfg)
	w.start()
	w.load(2000)
	w.cfg.Jitter = 400 * time.Millisecond
	before := w.Total()
	for i := range 20 {
		w.set(3, fmt.Sprint("count/", i), "x")
		w.run(60 * time.Millisecond)
	}
	w.run(2 * time.Second)
	after := w.Total()
	require.Zero(t, after.Pulls-before.Pulls, "a rumor reaches back far enough; %s", w.seed())
	require.Positive(t, after.Stale-before.Stale, "none was overtaken")
	w.converge(1)
}

// One owner at its limits, to nodes that were away: 1 MiB goes in parts of 256 KiB over streams that break.
func TestALargeStateIsResumedWhereItsTransferBroke(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		w := newWorld(t, small(seed, 4))
		w.start()
		w.Kill(3)
		for i := range 16 {
			w.set(0, fmt.Sprint("large/", i), strings.Repeat(string(rune('a'+i)), 60<<10))
			w.run(50 * time.Millisecond)
		}
		w.run(5 * time.Second)
		w.cfg.Break = 0.1
		w.Restart(3, false)
		w.converge(3)
		require.Positive(t, w.Total().SyncsFailed, w.seed())
	})
}

func TestWhoWasAwayIsSentWhatChanged(t *testing.T) {
	w := newWorld(t, small(1, 8))
	w.start()
	w.load(100 << 10)
	w.run(2 * time.Second)
	w.Kill(3)
	for i := range 3 {
		w.set(5, fmt.Sprint("key/", i), "value")
		w.run(2 * time.Second)
	}
	before := w.Total()
	w.Restart(3, false)
	w.run(time.Second)
	w.converge(1)
	w.run(5 * time.Second)
	after := w.Total()
	require.Less(t, after.SyncBytes-before.SyncBytes, uint64(50<<10), "it held 800 KiB, and 3 entries were new; %s", w.seed())
}

func TestATombstoneOutlivesEveryoneWhoHasTheValue(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		cfg := small(seed, 6)
		cfg.TombstoneTTL = 10 * time.Second
		w := newWorld(t, cfg)
		w.start()
		w.load(2000)
		w.set(0, "color", "teal") // beaten, and node 0 goes before it can withdraw it
		w.converge(1)
		w.Kill(0)
		w.set(1, "color", "red")
		w.run(time.Second)
		w.del(2, "color")
		w.set(3, "~/gone", "x")
		w.run(time.Second)
		w.set(4, "~/gone", "x")
		w.run(2 * time.Second) // it is on the disk of others
		w.Kill(5)
		w.del(3, "~/gone")
		w.del(4, "~/gone")
		w.run(time.Minute)
		w.set(3, "~/young", "x")
		w.del(3, "~/young")
		w.set(1, "other", "x") // floors rise with a write
		w.set(2, "other", "y")
		w.set(3, "other", "z")
		w.set(4, "~/gone", "y")
		w.run(time.Second)
		require.Empty(t, w.State(1).ListOwned(w.nodes[3].id, "~/gone"), "the tombstone is forgotten")
		w.Restart(0, false)
		w.Restart(5, false)
		w.run(time.Second)
		w.converge(2)
		w.requireQuiet()
	})
}

// The rumor says nothing of the deletion that it comes after, and must not be put on top of what was before.
func TestARumorAboveAForgottenTombstoneIsAGap(t *testing.T) {
	seeds(t, 3, func(t *testing.T, seed uint64) {
		cfg := small(seed, 6)
		cfg.TombstoneTTL = 5 * time.Second
		w := newWorld(t, cfg)
		w.start()
		w.load(2000)
		w.set(3, "~/gone", "x")
		w.run(time.Second)
		w.Partition([]int{5})
		w.run(time.Second)
		w.del(3, "~/gone")
		w.run(10 * time.Second)
		before := w.Counters(5)
		w.Heal()
		w.set(3, "~/other", "y")
		w.run(100 * time.Millisecond)
		require.Greater(t, w.Counters(5).Gaps, before.Gaps, w.seed())
		w.converge(1)
	})
}

// play is a random run: what may happen to a network, in an order that rapid picks.
type play struct {
	*world
	nodes int
	apart bool
}

func (p *play) node(t *rapid.T) int { return rapid.IntRange(0, p.nodes-1).Draw(t, "node") }

func (p *play) key(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c", "~/d", "work/e"}).Draw(t, "key")
}

func (p *play) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"set":    func(t *rapid.T) { p.set(p.node(t), p.key(t), fmt.Sprint("value ", p.writes)) },
		"large":  func(t *rapid.T) { p.set(p.node(t), p.key(t), fmt.Sprint(p.writes, strings.Repeat(" ", 1000))) },
		"delete": func(t *rapid.T) { p.del(p.node(t), p.key(t)) },
		"commit": p.commit,
		"wait": func(t *rapid.T) {
			p.run(rapid.SampledFrom([]time.Duration{20, 100, 700, 3000}).Draw(t, "ms") * time.Millisecond)
		},
		"kill":  func(t *rapid.T) { p.Kill(p.node(t)) },
		"leave": func(t *rapid.T) { p.Leave(p.node(t)) },
		"freeze": func(t *rapid.T) {
			p.Freeze(p.node(t), rapid.SampledFrom([]time.Duration{1, 5}).Draw(t, "s")*time.Second)
		},
		"start": func(t *rapid.T) {
			if node := p.node(t); !p.Up(node) {
				p.Restart(node, false)
			}
		},
		"lose":      p.lose,
		"partition": p.partition,
		"heal":      func(*rapid.T) { p.apart = false; p.Heal() },
	}
}

// commit writes several keys as one change.
func (p *play) commit(t *rapid.T) {
	node := p.node(t)
	keys := []string{"~/x", "~/y"}
	var mutations []gossipstate.Mutation
	for _, key := range keys {
		mutations = append(mutations, gossipstate.Mutation{Key: key, Value: []byte(key)})
	}
	if err := p.Write(node, mutations...); err != nil {
		return
	}
	for _, key := range keys {
		p.owned[ownedKey{node, key}] = claim{value: key}
	}
}

// lose restarts a node without its store, when all others have everything from it and can give it back in time: what nobody
// else has is lost.
func (p *play) lose(t *rapid.T) {
	node := p.node(t)
	if !p.apart && p.cfg.Break == 0 && p.known(node) {
		p.Restart(node, true)
		p.run(p.cfg.FirstSync)
	}
}

// known says whether all nodes that run hold what a running node wrote last, and one other does.
func (p *play) known(node int) bool {
	if !p.Published(node) || p.Sim.nodes[node].isFrozen() {
		return false
	}
	others := 0
	for _, n := range p.Sim.nodes {
		if n.index == node {
			continue
		}
		if n.proc == nil || !n.proc.me.published || n.proc.leaving != nil || n.isFrozen() {
			return false
		}
		for i, t := range n.proc.topic {
			own, _ := p.Sim.nodes[node].proc.topic[i].state.Item(p.Sim.nodes[node].id)
			if item, _ := t.state.Item(p.Sim.nodes[node].id); item != own {
				return false
			}
		}
		others++
	}
	return others > 0
}

func (p *play) partition(t *rapid.T) {
	p.apart = true
	p.Partition(upTo(0, rapid.IntRange(1, p.nodes-1).Draw(t, "first side")))
}

func TestAnyRunConvergesWithoutLosingOrRevivingAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := small(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(2, 6).Draw(t, "nodes"))
		cfg.Loss = rapid.SampledFrom([]float64{0, 0, 0.2}).Draw(t, "loss")
		cfg.Break = rapid.SampledFrom([]float64{0, 0, 0.05}).Draw(t, "break")
		cfg.Duplicate = rapid.SampledFrom([]float64{0, 0.3}).Draw(t, "duplicate")
		cfg.Jitter = rapid.SampledFrom([]time.Duration{10, 500}).Draw(t, "jitter") * time.Millisecond
		cfg.FirstSync = 15 * time.Second // four round trips take 5 s at the worst
		cfg.Resets = rapid.Bool().Draw(t, "resets")
		p := &play{world: newWorld(t, cfg), nodes: cfg.Nodes}
		p.run(2 * time.Second)
		p.load(rapid.SampledFrom([]int{0, 2000}).Draw(t, "load"))
		t.Repeat(p.actions())
		p.Heal()
		p.run(6 * time.Second) // who leaves is gone, who is frozen wakes
		for i := range cfg.Nodes {
			if !p.Up(i) {
				p.Restart(i, false)
			}
		}
		p.cfg.Loss, p.cfg.Break, p.cfg.Duplicate = 0, 0, 0
		p.run(p.cfg.FirstSync + 500*time.Millisecond)
		p.converge(2)
		p.requireQuiet()
	})
}

func TestNothingThatANodeSaysIsRefused(t *testing.T) {
	cfg := small(1, 8)
	cfg.BeatLength = 80
	w := newWorld(t, cfg)
	w.start()
	for i := range 300 {
		w.set(i%8, fmt.Sprint("key/", i), "value")
		w.run(10 * time.Millisecond)
	}
	w.run(2 * time.Minute) // chains are renewed
	total := w.Total()
	require.Zero(t, total.Mismatches+total.Full+total.OverRate+total.OwnNewer)
	require.Zero(t, total.BeatsForged+total.SyncsFailed+total.SyncsRefused)
	require.Greater(t, total.Rumors, uint64(300))
	for i := range w.nodes {
		c := w.Liveness(i)
		require.Zero(t, c.Suspected+c.BeatsForged+c.BeatsOverBudget+c.DigestsFull+c.DigestsClockwork)
		require.Positive(t, c.BeatsFresh)
	}
	require.LessOrEqual(t, w.nodes[0].proc.me.chain.Length(), uint32(80))
	require.Greater(t, w.Members(1)[0].Version, wire.Version(2), "node 0 has renewed its chain")
}
