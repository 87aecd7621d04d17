package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// ring starts n nodes, each connected to the next and to the one after that, and waits until beats run everywhere.
func (c *cluster) ring(n int, options ...nodeOption) []*node {
	c.t.Helper()
	for range n {
		c.start(options...)
	}
	for i, node := range c.nodes {
		for far := 1; far <= 2 && far < n; far++ {
			c.connect(node, c.nodes[(i+far)%n])
		}
	}
	within(c.t, 20*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
	time.Sleep(10 * time.Second)
	return c.nodes
}

// requireStatus checks what every one of nodes thinks of x.
func requireStatus(t *testing.T, status string, x *node, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		if n != x {
			require.Equal(t, status, n.status(t, x), "node %d of node %d", n.index, x.index)
		}
	}
}

// deadEverywhere waits until all nodes but x have it dead, and returns how long that took.
func deadEverywhere(t *testing.T, limit time.Duration, x *node, nodes ...*node) time.Duration {
	t.Helper()
	begun := time.Now()
	within(t, limit, fmt.Sprintf("node %d is dead everywhere", x.index), func() bool {
		for _, n := range nodes {
			if n != x && n.status(t, x) != "dead" {
				return false
			}
		}
		return true
	})
	return time.Since(begun)
}

func TestACrashIsSeenEverywhereWithinSeconds(t *testing.T) {
	ends := map[string]func(*node){
		"a silent host":       (*node).crash,
		"a closed connection": (*node).kill,
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				nodes := c.ring(12)
				victim, others := nodes[3], append(append([]*node{}, nodes[:3]...), nodes[4:]...)
				end(victim)
				took := deadEverywhere(t, 8*time.Second, victim, others...)
				t.Logf("dead everywhere after %v", took)
				time.Sleep(30 * time.Second)
				requireStatus(t, "dead", victim, others...)
				for _, n := range others {
					requireStatus(t, "alive", n, others...)
					require.EqualValues(t, 1, n.count(CountTransition, "dead"))
				}
				story, err := others[6].Story(t.Context(), victim.host.ID())
				require.NoError(t, err)
				last := story[len(story)-1]
				require.Equal(t, "dead", last.To)
				require.GreaterOrEqual(t, len(last.Accusers), liveness.MaxQuorum)
				require.GreaterOrEqual(t, last.Timeout, 2500*time.Millisecond)
				require.Contains(t, last.Reason, "accused by")
				require.NotEmpty(t, others[6].member(t, victim).Accusers)
			})
		})
	}
}

// One neighbour alone watches it. The quorum is made by those who are chosen, as soon as that one accuses.
func TestALeafThatCrashesIsDeadEverywhereWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(8)
		leaf := c.start()
		c.connect(leaf, nodes[0])
		within(t, 10*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		time.Sleep(10 * time.Second)
		leaf.crash()
		t.Logf("dead everywhere after %v", deadEverywhere(t, 8*time.Second, leaf, nodes...))
		require.NotZero(t, nodes[0].count(CountProbe, "asked"), "it asked before it accused")
		accusers := uint64(0)
		for _, n := range nodes {
			accusers += n.count(CountAccusation, "published")
		}
		require.Less(t, accusers, uint64(len(nodes)), "who sees a quorum adds nothing")
	})
}

func TestAFreezeOfFourSecondsIsNeverDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(8)
		for i := range 6 {
			c.freeze(nodes[i], 4*time.Second)
			time.Sleep(10*time.Second + time.Duration(i)*130*time.Millisecond)
		}
		suspected := uint64(0)
		for _, n := range nodes {
			require.Zero(t, n.count(CountTransition, "dead"))
			for _, of := range nodes {
				require.Equal(t, "alive", n.status(t, of))
			}
			suspected += n.count(CountTransition, "suspect")
		}
		require.NotZero(t, suspected, "four seconds are noticed")
		refuted := nodes[7].member(t, nodes[5])
		require.NotEmpty(t, refuted.Refuter)
		require.WithinDuration(t, time.Now(), refuted.Refuted, 20*time.Second)
	})
}

// slept is how many pauses of its own process the node has noticed.
func (n *node) slept(t *testing.T) (slept uint64) {
	n.table(t, func(tb *table) { slept = tb.live.Counters().Slept })
	return slept
}

// A node that sleeps finds, when it wakes, that everybody was silent. It accuses nobody for that, and whoever had it dead hears its
// next beat. Its neighbours' frames of all that time come at once: that is no fault of theirs, however fast they beat.
func TestAFrozenNodeThatWakesAccusesNobodyAndIsAliveAtOnce(t *testing.T) {
	for _, interval := range []time.Duration{200 * time.Millisecond, 700 * time.Millisecond} {
		t.Run(fmt.Sprintf("beats every %s", interval), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				nodes := c.ring(6, withConfig(func(cfg *Config) { cfg.Liveness.BeatInterval = interval }))
				sleeper := nodes[2]
				before := sleeper.slept(t)
				accused := sleeper.count(CountAccusation, "published")
				c.freeze(sleeper, 10*time.Second)
				wakes := time.Now().Add(10 * time.Second)
				deadEverywhere(t, 9*time.Second, sleeper, append(append([]*node{}, nodes[:2]...), nodes[3:]...)...)
				time.Sleep(time.Until(wakes))
				within(t, time.Second, "all have it alive again", func() bool {
					for _, n := range nodes {
						if n.status(t, sleeper) != "alive" {
							return false
						}
					}
					return true
				})
				time.Sleep(20 * time.Second)
				require.Greater(t, sleeper.slept(t), before, "its own clock showed it")
				require.Zero(t, sleeper.count(CountTransition, "suspect"))
				require.Equal(t, accused, sleeper.count(CountAccusation, "published"))
				require.Zero(t, sleeper.count(CountDropped, "too_large"))
				for _, n := range nodes {
					requireStatus(t, "alive", n, nodes...)
					require.Empty(t, n.accused(t))
				}
			})
		})
	}
}

// While the loop is held up, by a slow disk or a busy machine, nobody is heard either: it is no matter of how much.
func TestALoopThatIsHeldUpAccusesNobody(t *testing.T) {
	for _, late := range []time.Duration{500 * time.Millisecond, time.Second, 5 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				nodes := c.ring(6)
				for range 10 {
					nodes[2].table(t, func(*table) { time.Sleep(late) })
					time.Sleep(late / 2)
				}
				require.Zero(t, nodes[2].count(CountTransition, "suspect"))
				require.Zero(t, nodes[2].count(CountAccusation, "published"))
				time.Sleep(10 * time.Second)
				for _, n := range nodes {
					requireStatus(t, "alive", n, nodes...)
				}
			})
		})
	}
}

// lie has a hostile member accuse everybody that n knows, by the newest proofs of life there are.
func (p *rawPeer) lie(t *testing.T, n *node) {
	t.Helper()
	var list []liveness.Accusation
	n.table(t, func(tb *table) {
		for _, m := range tb.live.Members(time.Now()) {
			if m.Owner == p.id {
				continue
			}
			a := liveness.Accusation{Owner: m.Owner, Refused: true}
			a.Last, _ = tb.live.Proof(m.Owner)
			if b, ok := tb.live.NewestBeat(m.Owner); ok {
				a.Preimage = b.Preimage
			}
			list = append(list, a)
		}
	})
	p.write(t, wire.Members, gossipstate.Mutation{Key: liveness.SuspectsKey, Value: liveness.MarshalAccusations(list)})
	u := p.update(wire.Members)
	p.publish(n, "test", wire.Members, wire.MarshalUpdate(&u))
}

func TestLiarsThatAccuseEveryoneKillNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(6)
		var liars []*rawPeer
		var streams []*rawStream
		for i := range liveness.MaxQuorum {
			p := c.raw()
			c.dial(p.host, nodes[i].host)
			p.join(nodes[i])
			liars, streams = append(liars, p), append(streams, p.hello(nodes[i]))
		}
		within(t, 5*time.Second, "all know the liars", func() bool {
			for _, n := range nodes {
				for _, p := range liars {
					if n.digest(t, wire.Members, p.id).Version == 0 {
						return false
					}
				}
			}
			return true
		})
		for k := uint32(1); k < 60; k++ {
			for i, p := range liars {
				streams[i].beat(&wire.BeatFrame{Beats: []wire.Beat{p.chain.Beat(k)}})
				p.lie(t, nodes[i])
			}
			time.Sleep(700 * time.Millisecond)
		}
		suspected := uint64(0)
		for _, n := range nodes {
			suspected += n.count(CountTransition, "suspect")
			require.Zero(t, n.count(CountTransition, "dead"))
			require.Zero(t, n.count(CountTransition, "left"))
		}
		require.NotZero(t, suspected, "the lies were heard")
		ignored := uint64(0)
		nodes[5].table(t, func(tb *table) { ignored = tb.live.Counters().AccusersIgnored })
		require.NotZero(t, ignored)
		require.Equal(t, ignored, nodes[5].count(CountAccusation, "accuser_ignored"))
		require.NotZero(t, nodes[5].count(CountAccusation, "early"))
		for _, of := range nodes {
			requireStatus(t, "alive", of, nodes...)
		}
	})
}

func TestAHubThatDiesWithItsLeavesIsFoundDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(6)
		hub := c.start()
		c.connect(hub, nodes[0])
		leaves := []*node{c.start(), c.start(), c.start()}
		for _, leaf := range leaves {
			c.connect(leaf, hub)
		}
		within(t, 10*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		time.Sleep(10 * time.Second)
		hub.crash()
		for _, leaf := range leaves {
			leaf.crash()
		}
		deadEverywhere(t, 10*time.Second, hub, nodes...)
		for _, leaf := range leaves { // nobody watched them but the hub: their silence is that of far members
			deadEverywhere(t, 40*time.Second, leaf, nodes...)
		}
		for _, n := range nodes {
			requireStatus(t, "alive", n, nodes...)
		}
	})
}

func TestWhatANodeAccusedInAnEarlierLifeIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, t.TempDir())
		c := newCluster(t)
		a, b, old := c.start(), c.start(), c.start(withStore(st))
		c.connect(old, a)
		c.connect(old, b)
		c.connect(a, b)
		time.Sleep(8 * time.Second)
		c.partition(func(index int) int { return min(index/2, 1) }) // it alone
		within(t, 10*time.Second, "it accuses both", func() bool { return len(old.accused(t)) == 2*69 })
		old.crash()
		c.partition(nil)
		fresh := c.start(withKey(old.key), withStore(st), withFirstSync(5*time.Second))
		c.connect(fresh, a)
		c.connect(fresh, b)
		within(t, 10*time.Second, "it has withdrawn that", func() bool {
			return len(fresh.accused(t)) == 0 && c.equal(a, b, fresh) && a.status(t, fresh) == "alive"
		})
		requireStatus(t, "alive", a, b, fresh)
		requireStatus(t, "alive", b, a, fresh)
		for _, n := range []*node{a, b, fresh} {
			for _, of := range []*node{a, b} {
				require.NotEqual(t, "dead", n.status(t, of))
			}
		}
		require.Zero(t, fresh.count(CountTransition, "dead"))
	})
}

func TestAMalformedListIsReadAsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := besiege(t)
		s.p.join(s.n)
		s.p.write(t, wire.Members, gossipstate.Mutation{Key: liveness.SuspectsKey, Value: make([]byte, 68)})
		u := s.p.update(wire.Members)
		s.p.publish(s.n, "test", wire.Members, wire.MarshalUpdate(&u))
		within(t, time.Second, "it is counted", func() bool { return s.n.count(CountAccusation, "malformed") == 1 })
		s.withstood(t)
	})
}

func TestAFollowerJudgesNobodyByOthersAccusations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(5)
		f := c.start(asFollower())
		c.connect(f, nodes[0])
		within(t, 10*time.Second, "it has all", func() bool { return f.member(t, nodes[4]).Status == "alive" })
		nodes[4].crash()
		deadEverywhere(t, 10*time.Second, nodes[4], nodes...)
		time.Sleep(5 * time.Second)
		require.Equal(t, "alive", f.status(t, nodes[4]))
		require.Zero(t, f.count(CountTransition, "suspect"))
	})
}

// What others say of a member that died before it came, a newcomer has with its first sync.
func TestANewcomerFindsTheDeadByWhatOthersSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(6)
		nodes[3].crash()
		deadEverywhere(t, 8*time.Second, nodes[3], nodes...)
		time.Sleep(10 * time.Second)
		newcomer := c.start(withFirstSync(5 * time.Second))
		c.connect(newcomer, nodes[0])
		<-newcomer.Ready()
		deadEverywhere(t, 6*time.Second, nodes[3], newcomer)
		requireStatus(t, "alive", nodes[0], newcomer)
	})
}
