package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// quietly is what a node does that is to cost little: slow beats to a quorum of neighbours.
func quietly(cfg *Config) {
	cfg.Liveness.BeatInterval = 3 * time.Second
	cfg.Liveness.BeatBudget = 32
	cfg.Neighbours = 3
	cfg.AntiEntropy = time.Minute
}

// mesh starts n nodes of which all are connected, and waits until they agree and all but a few are watched.
func (c *cluster) mesh(n int, options ...nodeOption) []*node {
	var nodes []*node
	for range n {
		x := c.start(options...)
		for _, y := range nodes {
			c.connect(x, y)
		}
		nodes = append(nodes, x)
	}
	within(c.t, time.Minute, "all agree", func() bool { return c.equal(nodes...) })
	time.Sleep(30 * time.Second)
	return nodes
}

// neighboursOf is how many beat streams n has.
func neighboursOf(t *testing.T, n *node) int {
	t.Helper()
	count := 0
	n.table(t, func(tb *table) { count = tb.neighbours() })
	return count
}

func TestQuietNodesWatchEachOtherByFewAndStillFindTheDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.mesh(12, withConfig(quietly))
		for _, n := range nodes {
			require.GreaterOrEqual(t, neighboursOf(t, n), 3)
			require.LessOrEqual(t, neighboursOf(t, n), 6)
		}
		before := nodes[0].count(CountBeat, "fresh")
		time.Sleep(time.Minute)
		require.LessOrEqual(t, nodes[0].count(CountBeat, "fresh")-before, uint64(6*20+12), "20 beats a minute of each neighbour, and a few far ones")

		victim, others := nodes[3], append(append([]*node{}, nodes[:3]...), nodes[4:]...)
		victim.crash()
		t.Logf("a silent host is dead everywhere after %v", deadEverywhere(t, 18*time.Second, victim, others...))
		time.Sleep(3 * time.Minute) // several background periods
		for _, n := range others {
			requireStatus(t, "alive", n, others...)
		}
	})
}

func TestWhoWasThereFirstEndsUpWithNoMoreNeighboursThanItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		const wanted = 3
		few := withConfig(func(c *Config) { c.Neighbours = wanted })
		var nodes []*node
		for range 12 { // each opens as many as it wants
			n := c.start(few)
			for _, other := range nodes {
				c.connect(n, other)
			}
			nodes = append(nodes, n)
			time.Sleep(2 * time.Second)
		}
		crowded := func() (all int) {
			for _, n := range nodes {
				all += max(0, neighboursOf(t, n)-wanted-neighboursSpare)
			}
			return all
		}
		require.NotZero(t, crowded())
		time.Sleep(2 * time.Minute)
		sum := 0
		for _, n := range nodes {
			has := neighboursOf(t, n)
			require.GreaterOrEqual(t, has, wanted)
			sum += has
			n.table(t, func(tb *table) {
				for _, l := range tb.links {
					require.False(t, has > wanted+neighboursSpare && l.beats != nil && l.beats.opened, "one that it could do without")
				}
			})
			requireStatus(t, "alive", n, nodes...)
			require.Zero(t, n.count(CountTransition, "suspect"))
		}
		require.LessOrEqual(t, sum, 12*(wanted+neighboursSpare))
		t.Logf("%d neighbours of 12 nodes that want %d", sum, wanted)
	})
}

func TestAQuietNodeAmongOthersIsJudgedByItsOwnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		quiet := c.start(withConfig(quietly))
		nodes := []*node{quiet}
		for range 5 {
			n := c.start()
			for _, other := range nodes {
				c.connect(n, other)
			}
			nodes = append(nodes, n)
		}
		within(t, time.Minute, "all agree", func() bool { return c.equal(nodes...) })
		time.Sleep(2 * time.Minute)
		for _, n := range nodes {
			requireStatus(t, "alive", quiet, n)
			require.Zero(t, n.count(CountTransition, "suspect"))
		}
		nodes[5].crash()
		t.Logf("a lively one is dead everywhere after %v", deadEverywhere(t, 8*time.Second, nodes[5], nodes[:5]...))
	})
}

func TestAnIdleTableSleepsBetweenItsBeatsAndWakesForWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const into = 50 * time.Millisecond // an interval: all beats have come
		c := newCluster(t)
		nodes := c.mesh(3)
		var onBeat time.Time
		nodes[0].table(t, func(tb *table) { onBeat = tb.me.t0.Add(time.Duration(tb.me.beat(time.Now())+2) * tb.me.interval) })
		time.Sleep(time.Until(onBeat.Add(into)))

		var idle, bySync, sooner, byPull time.Duration
		nodes[0].table(t, func(tb *table) {
			now := time.Now()
			pause := func() time.Duration { return tb.nextTick(now).Sub(now) }
			tb.tick(now)
			for _, l := range tb.links {
				l.syncAt = time.Time{}
			}
			idle = pause()

			l := tb.randomLink(func(l *link) bool { return l.beats != nil })
			l.syncAt = now.Add(tickIdleMax / 2)
			bySync = pause()
			l.syncAt = now
			sooner = pause()
			l.syncAt = time.Time{}

			tb.pulls[pullKey{}] = &pull{}
			byPull = pause()
			clear(tb.pulls)
		})
		require.Equal(t, tickIdleMax-into, idle, "nothing is due")
		require.Equal(t, tickIdleMax/2, bySync, "a sync")
		require.Equal(t, tickEvery, sooner, "but not more often than that")
		require.Equal(t, tickEvery, byPull, "a pull")
	})
}

// What is due together costs one waking for all.
func TestBeatsAreDueAtWholeMultiplesOfTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		time.Sleep(123456 * time.Microsecond)
		a := c.start()
		time.Sleep(234567 * time.Microsecond)
		b := c.start()
		for _, n := range []*node{a, b} {
			<-n.Ready()
			n.table(t, func(tb *table) {
				require.Zero(t, tb.me.t0.UnixNano()%int64(tb.me.interval))
				require.GreaterOrEqual(t, tb.me.beat(time.Now()), uint32(1), "the first one is due at once")
			})
		}
	})
}
