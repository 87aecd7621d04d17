package replica

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// restart is one way in which a node goes and comes back with its key.
type restart struct {
	storeKept bool
	end       string // how its peers saw the first life end
	clock     string // of the second life, against the first
}

func (r restart) String() string {
	kept := "lost"
	if r.storeKept {
		kept = "kept"
	}
	return fmt.Sprintf("store %s, %s, clock %s", kept, r.end, r.clock)
}

func TestARestartedNodeReplacesItsOldSelf(t *testing.T) {
	for _, kept := range []bool{true, false} {
		for _, end := range []string{"unnoticed crash", "crash", "leave"} {
			for _, clock := range []string{"right", "ten years back", "a year ahead"} {
				r := restart{kept, end, clock}
				t.Run(r.String(), func(t *testing.T) { synctest.Test(t, r.test) })
			}
		}
	}
}

func (r restart) test(t *testing.T) {
	first := openStore(t, t.TempDir())
	second := first
	if !r.storeKept {
		second = openStore(t, t.TempDir())
	}
	// The generation is made of the clock, which only goes on in here: raise it by hand instead.
	if r.clock == "ten years back" {
		raise(t, first, 10*365*24*time.Hour)
	}
	c := newCluster(t)
	a, b := c.start(), c.start()
	old := c.start(withStore(first))
	c.connect(b, a)
	c.connect(old, a)
	c.connect(old, b)
	old.set(t, "mine", "from the first life")
	time.Sleep(3 * time.Second) // beats run
	time.Sleep(3 * time.Second) // beats run
	old.set(t, "gone", "soon")
	_, err := old.topic(t).Delete(t.Context(), "gone", WriteOptions{})
	require.NoError(t, err)
	within(t, 5*time.Second, "all know the first life", func() bool { return c.equal(a, b, old) })
	before := old.digest(t, "members", old.self)
	switch r.end {
	case "unnoticed crash":
		old.crash()
	case "crash":
		old.crash()
		within(t, 15*time.Second, "it is dead", func() bool { return a.status(t, old) == "dead" && b.status(t, old) == "dead" })
	case "leave":
		require.NoError(t, old.Leave(t.Context()))
		old.kill()
		within(t, 5*time.Second, "it has left", func() bool { return a.status(t, old) == "left" && b.status(t, old) == "left" })
	}
	if r.clock == "a year ahead" {
		raise(t, second, 365*24*time.Hour)
	}
	fresh := c.start(withKey(old.key), withStore(second), withFirstSync(5*time.Second))
	c.connect(fresh, a)
	within(t, 5*time.Second, "the second life is accepted by all", func() bool {
		g := fresh.digest(t, "members", fresh.self).Generation
		return g > before.Generation && r.onlyGeneration(t, fresh, g, fresh, a, b)
	})
	for _, n := range c.nodes {
		if n != old {
			require.Equal(t, "from the first life", n.get(t, "mine"))
			require.Empty(t, n.get(t, "gone"))
		}
	}
	fresh.set(t, "mine", "from the second life")
	within(t, 5*time.Second, "the second life's value is everywhere", func() bool {
		return a.get(t, "mine") == "from the second life" && b.get(t, "mine") == "from the second life"
	})
	within(t, 5*time.Second, "all hold the same", func() bool { return c.equal(a, b, fresh) })
	time.Sleep(5 * time.Second) // no quarrel about it later
	require.True(t, c.equal(a, b, fresh))
	require.Equal(t, "alive", a.status(t, fresh))
	require.Equal(t, "alive", b.status(t, fresh))
	fresh.set(t, "mine", "still writing")
}

// Everybody accuses the life that was. The next one is alive for all within 5 s, and no accusation of the old one is left.
func TestWhoAQuorumHadDeadIsAliveEverywhereSoonAfterItsRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := openStore(t, t.TempDir())
		c := newCluster(t)
		others := c.ring(5)
		old := c.start(withStore(st))
		c.connect(old, others[0])
		c.connect(old, others[1])
		c.connect(old, others[2])
		within(t, 5*time.Second, "all agree", func() bool { return c.equal(c.nodes...) })
		time.Sleep(5 * time.Second)
		old.crash()
		deadEverywhere(t, 8*time.Second, old, others...)
		time.Sleep(10 * time.Second)
		fresh := c.start(withKey(old.key), withStore(st), withFirstSync(5*time.Second))
		c.connect(fresh, others[3])
		within(t, 5*time.Second, "the new life is accepted by all", func() bool {
			for _, n := range others {
				if n.status(t, fresh) != "alive" || n.member(t, fresh).Generation != fresh.member(t, fresh).Generation {
					return false
				}
			}
			return true
		})
		within(t, 2*time.Second, "nobody accuses anybody", func() bool {
			for _, n := range append(others[:5:5], fresh) {
				if len(n.accused(t)) > 0 {
					return false
				}
			}
			return true
		})
		time.Sleep(20 * time.Second)
		for _, n := range others {
			requireStatus(t, "alive", fresh, others...)
			require.EqualValues(t, 1, n.count(CountTransition, "dead"))
		}
		require.Zero(t, fresh.count(CountTransition, "suspect"))
	})
}

// onlyGeneration says whether nodes hold x at generation g on every topic, alive.
func (r restart) onlyGeneration(t *testing.T, x *node, g gossipstate.Generation, nodes ...*node) bool {
	for _, n := range nodes {
		if n.member(t, x).Generation != g || n.status(t, x) != "alive" {
			return false
		}
		for _, topic := range []string{"members", "main"} {
			if n.digest(t, topic, x.self).Generation != g {
				return false
			}
		}
	}
	return true
}

// raise makes st give out generations as if the clock stood ahead by d.
func raise(t *testing.T, st *store.Store, d time.Duration) {
	t.Helper()
	_, err := st.NextGeneration(time.Now().Add(d), 0)
	require.NoError(t, err)
}
