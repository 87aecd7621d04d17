package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// line connects every node to the next.
func (c *cluster) line(nodes ...*node) {
	c.t.Helper()
	for i := 1; i < len(nodes); i++ {
		c.connect(nodes[i], nodes[i-1])
	}
}

func TestANodeThatLeavesHasLeftEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leaver := c.start(withoutRumors())
		others := []*node{c.start(withoutRumors()), c.start(withoutRumors()), c.start(withoutRumors())}
		c.line(append([]*node{leaver}, others...)...)
		within(t, 15*time.Second, "all know it", func() bool { return c.equal(c.nodes...) })
		start := time.Now()
		require.NoError(t, leaver.Leave(t.Context()))
		require.Less(t, time.Since(start), leaveTimeout)
		leaver.crash() // nothing that is still on its way arrives
		require.Equal(t, "left", others[0].status(t, leaver), "its one peer has it for sure")
		within(t, 10*time.Second, "it has left for all", func() bool {
			for _, n := range others {
				if n.status(t, leaver) != "left" {
					return false
				}
			}
			return true
		})
		time.Sleep(30 * time.Second) // as long as the silent are given
		for _, n := range others {
			require.Equal(t, "left", n.status(t, leaver))
			require.Zero(t, n.count(CountTransition, "dead"))
		}
	})
}

func TestLeavingEndsASuspicionOfDeathAndDeathItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		a, b, leaver := c.start(), c.start(), c.start()
		c.line(a, b, leaver)
		time.Sleep(5 * time.Second) // beats run
		c.partition(func(index int) int { return index / 2 })
		within(t, 30*time.Second, "it is dead", func() bool { return a.status(t, leaver) == "dead" && b.status(t, leaver) == "dead" })
		require.Error(t, leaver.Leave(t.Context()), "nobody could be told")
		c.partition(nil)
		time.Sleep(40 * time.Second) // the connection has been given up
		c.connect(leaver, b)
		within(t, 5*time.Second, "it has left", func() bool { return a.status(t, leaver) == "left" && b.status(t, leaver) == "left" })
	})
}

// Cut off, it dies for all by their quorum. Then it leaves in the same generation, and that is what stays of it.
func TestWhoAQuorumHasDeadHasLeftOnceItSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		nodes := c.ring(6)
		leaver, others := nodes[5], nodes[:5]
		generation := others[0].member(t, leaver).Generation
		c.partition(func(index int) int { return index / 5 })
		deadEverywhere(t, 10*time.Second, leaver, others...)
		within(t, 20*time.Second, "it accuses them in turn", func() bool { return len(leaver.accused(t)) > 0 })
		require.Error(t, leaver.Leave(t.Context()), "nobody could be told")
		require.Empty(t, leaver.accused(t), "who leaves accuses nobody")
		c.partition(nil)
		time.Sleep(40 * time.Second) // the connections have been given up
		c.connect(leaver, others[0])
		within(t, 5*time.Second, "it has left", func() bool {
			for _, n := range others {
				if n.status(t, leaver) != "left" {
					return false
				}
			}
			return true
		})
		leaver.kill()
		time.Sleep(20 * time.Second)
		for _, n := range others {
			require.Equal(t, "left", n.status(t, leaver))
			require.Equal(t, generation, n.member(t, leaver).Generation)
			require.Empty(t, n.accused(t), "there is nobody to accuse")
			require.EqualValues(t, 1, n.count(CountTransition, "dead"))
			requireStatus(t, "alive", n, others...)
		}
	})
}

func TestLeavingTakesFiveSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n := c.start()
		require.NoError(t, n.Leave(t.Context()), "there is nobody to tell")
		for range 4 {
			hung := c.raw()
			hung.hang(n.Replica)
			c.dial(n.host, hung.host)
		}
		time.Sleep(time.Second)
		start := time.Now()
		require.ErrorContains(t, n.Leave(t.Context()), "0 of 3 peers")
		require.LessOrEqual(t, time.Since(start), leaveTimeout)
	})
}
