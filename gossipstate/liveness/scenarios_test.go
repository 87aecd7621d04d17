package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// settled is a swarm in which nobody is a newcomer any more and nothing has happened.
func settled(t *testing.T, n, degree int, change ...func(*Config)) *swarm {
	s := newSwarm(t, n, degree, 12, change...)
	s.run(5 * time.Second)
	require.Empty(t, s.deaths(everybody))
	require.Zero(t, s.suspicions())
	s.seen = nil
	return s
}

func (s *swarm) only(dead ...int) {
	s.t.Helper()
	require.Empty(s.t, s.deaths(func(of int) bool { return !contains(dead, of) }), "the healthy")
}

func TestACrashIsSeenByAll(t *testing.T) {
	for _, n := range []int{2, 3, 8, 32, 100} {
		for _, resets := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d nodes, resets %t", n, resets), func(t *testing.T) {
				s := settled(t, n, 8, trusting)
				at := s.now
				s.kill(0, resets)
				limit := time.Second
				switch {
				case !resets && n < 4: // one or two can be wrong: they wait longer
					limit = 8 * time.Second
				case !resets:
					limit = 6 * time.Second
				}
				s.run(limit)
				last, ok := s.deadAt(0, at)
				require.True(t, ok, "dead in %d of %d tables", s.count(0, Dead), s.running())
				for _, x := range s.seen {
					if x.of == 0 && x.To == Suspect {
						require.Less(t, x.At.Sub(at), 2500*time.Millisecond, "suspect in the table of %d", x.by)
					}
				}
				s.run(20 * time.Second)
				s.only(0)
				t.Logf("dead everywhere after %v", last)
			})
		}
	}
}

func TestAFreezeOfFourSecondsIsNeverDeath(t *testing.T) {
	s := settled(t, 16, 6, trusting)
	for round := range 8 {
		frozen := []int{round, round + 8}
		for _, i := range frozen {
			s.freeze(i)
		}
		s.run(4 * time.Second)
		for _, i := range frozen {
			s.thaw(i)
		}
		s.run(time.Duration(1500+70*round) * time.Millisecond)
		for _, i := range frozen {
			require.Equal(t, 15, s.count(i, Alive), "it refutes at once")
		}
	}
	require.NotZero(t, s.suspicions(), "the freezes were noticed")
	s.only()
	require.Zero(t, s.counters().AccusersIgnored, "accusing the frozen is no lie")
}

func TestANodeThatWakesUpAccusesNobody(t *testing.T) {
	s := settled(t, 8, 5)
	s.freeze(3)
	s.run(10 * time.Second)
	s.seen = nil
	s.thaw(3)
	s.run(3 * time.Second)
	for _, x := range s.seen {
		require.False(t, x.by == 3 && x.To != Alive && x.of != 3, "%d: %s", x.of, x.Reason)
	}
	require.Equal(t, 7, s.count(3, Alive))
}

func TestALiarThatAccusesEverybodyKillsNobody(t *testing.T) {
	s := settled(t, 16, 6)
	liar := s.nodes[5]
	liar.lies = func() (list []Accusation) {
		for _, n := range s.nodes {
			if m := liar.table.members[n.id]; n != liar && m != nil { // with the newest beat that it knows
				list = append(list, Accusation{Owner: n.id, Last: m.proof(), Preimage: m.newest(), Refused: true})
			}
		}
		return list
	}
	s.run(30 * time.Second)
	s.only()
	require.NotZero(t, s.suspicions())
	require.NotZero(t, s.counters().AccusersIgnored)
	at := s.now
	s.kill(0, true)
	s.run(15 * time.Second)
	_, ok := s.deadAt(0, at)
	require.True(t, ok, "the dead are found all the same: in %d of %d", s.count(0, Dead), s.running())
	s.only(0)
}

func TestOldBeatsBringNobodyBack(t *testing.T) {
	s := settled(t, 12, 5)
	replayer := s.nodes[4]
	var old []wire.Beat
	for k := uint32(1); k <= 7; k++ {
		old = append(old, s.nodes[0].chain.Beat(k))
	}
	replayer.hook = func(int) []wire.Beat { return old }
	at := s.now
	s.kill(0, false)
	s.run(10 * time.Second)
	_, ok := s.deadAt(0, at)
	require.True(t, ok)
	s.seen = nil
	s.run(time.Minute)
	require.Empty(t, s.seen)
}

// The leaves are seen by the hub only, which dies with them: those who are to look after them find them out.
func TestAHubThatDiesWithItsLeavesIsFoundDead(t *testing.T) {
	s := newSwarm(t, 20, 0, 12)
	for _, n := range s.nodes {
		n.links = nil
	}
	dead := []int{0, 1, 2, 3, 4, 5, 6}
	for i := 1; i < 7; i++ {
		s.link(0, i)
	}
	for i := 7; i < 20; i++ {
		for j := i + 1; j < 20; j++ {
			if (i+j)%3 == 0 || j == i+1 {
				s.link(i, j)
			}
		}
	}
	s.link(0, 7)
	s.link(0, 12)
	for i := range s.nodes {
		s.nodes[i].table = nil
	}
	for i := range s.nodes {
		s.start(i)
	}
	s.seen = nil
	s.run(20 * time.Second)
	s.only()
	for _, i := range dead {
		s.kill(i, false)
	}
	s.run(40 * time.Second)
	for _, i := range dead {
		require.Equal(t, 13, s.count(i, Dead), "node %d", i)
	}
	s.only(dead...)
}

func TestHalfOfTheNetworkThatFailsAtOnceIsFoundDead(t *testing.T) {
	for _, resets := range []bool{true, false} {
		t.Run(fmt.Sprintf("resets %t", resets), func(t *testing.T) {
			s := newSwarm(t, 32, 7, 12)
			for i := range s.nodes { // the survivors stay connected
				s.link(i, (i+2)%len(s.nodes))
				s.nodes[i].table = nil
			}
			for i := range s.nodes {
				s.start(i)
			}
			s.run(5 * time.Second)
			s.seen = nil
			var dead []int
			for i := range 16 {
				dead = append(dead, 2*i)
				s.kill(2*i, resets)
			}
			s.run(40 * time.Second)
			for _, i := range dead {
				require.Equal(t, 16, s.count(i, Dead), "node %d", i)
			}
			s.only(dead...)
		})
	}
}

func TestAllButOneOfASmallNetworkAreFoundDead(t *testing.T) {
	for n := 3; n <= 7; n++ {
		s := settled(t, n, 3)
		for i := 1; i < n; i++ {
			s.kill(i, false)
		}
		s.run(45 * time.Second)
		for i := 1; i < n; i++ {
			require.Equal(t, 1, s.count(i, Dead), "node %d of %d", i, n)
		}
	}
}

func TestAPartitionHeals(t *testing.T) {
	s := settled(t, 24, 6)
	s.apart = func(a, b int) bool { return a < 9 != (b < 9) }
	s.run(40 * time.Second)
	for i := range s.nodes {
		others := 9
		if i < 9 {
			others = 15
		}
		require.Equal(t, others, s.count(i, Dead), "node %d in the tables of the other side", i)
		require.Equal(t, 23-others, s.count(i, Alive), "node %d in the tables of its own side", i)
	}
	s.apart = nil
	s.run(10 * time.Second)
	for i := range s.nodes {
		require.Equal(t, 23, s.count(i, Alive), "node %d", i)
	}
	s.seen = nil
	s.run(30 * time.Second)
	s.only()
	require.Zero(t, s.suspicions())
}

func TestNewIdentitiesOfOneAttackerDoNotKillWhoCanBeReached(t *testing.T) {
	s := newSwarm(t, 20, 5, 12)
	newcomers := []int{15, 16, 17, 18, 19}
	for _, i := range newcomers {
		s.nodes[i].table = nil
	}
	s.run(70 * time.Second)
	s.seen = nil
	for _, i := range newcomers {
		n := s.nodes[i]
		s.start(i)
		n.lies = func() []Accusation {
			m := n.table.members[s.nodes[0].id]
			if m == nil {
				return nil
			}
			return []Accusation{{Owner: m.owner, Last: m.proof(), Preimage: m.newest(), Refused: true}}
		}
	}
	s.run(90 * time.Second)
	suspected := false
	for _, x := range s.seen {
		suspected = suspected || x.of == 0 && x.To == Suspect
	}
	require.True(t, suspected, "suspicion they can cause")
	s.only()
}

func TestLossDelaysAndKillsNobody(t *testing.T) {
	s := newSwarm(t, 32, 8, 12)
	s.loss = 0.2
	s.run(time.Minute)
	s.only()
	s.seen = nil
	at := s.now
	s.kill(0, false)
	s.run(12 * time.Second)
	_, ok := s.deadAt(0, at)
	require.True(t, ok, "dead in %d of %d", s.count(0, Dead), s.running())
	s.only(0)
}

// What all nodes together relay stays within everybody's budget, and yet everybody hears of everybody.
func TestTheRelayBudgetIsPerNodeAndReachesAll(t *testing.T) {
	s := newSwarm(t, 64, 8, 12)
	s.run(40 * time.Second)
	s.relayedBytes = 0
	probes := s.counters().Probes
	s.run(time.Minute)
	require.LessOrEqual(t, s.relayedBytes/len(s.nodes)/60, DefaultConfig().BeatBudget+BeatBytes)
	var silence time.Duration
	far := 0
	for _, n := range s.nodes {
		for _, m := range n.table.order {
			if m.arrivals == nil && m.owner != n.id {
				silence += s.now.Sub(m.quiet)
				far++
			}
		}
	}
	require.Less(t, silence/time.Duration(far), 2*s.nodes[0].table.period, "the mean age of what is known of far members")
	require.Less(t, s.counters().Probes-probes, uint64(2*len(s.nodes)), "so that few need to be asked about")
	s.only()
	require.Zero(t, s.suspicions())
}

// A member whose accusers are gone is accused by those who come next, so that who joins later finds it dead too.
func TestWhoJoinsLaterFindsTheSameDead(t *testing.T) {
	s := settled(t, 14, 8)
	s.kill(13, false)
	s.kill(0, false)
	s.run(10 * time.Second)
	var accusers []int
	for i := 1; i < 13; i++ {
		if len(s.nodes[i].table.mine) > 0 && len(accusers) < 4 {
			accusers = append(accusers, i)
			s.kill(i, false)
		}
	}
	require.NotEmpty(t, accusers)
	s.run(40 * time.Second)
	s.seen = nil
	s.start(13)
	s.run(20 * time.Second)
	for _, i := range append(accusers, 0) {
		require.Equal(t, s.running(), s.count(i, Dead), "node %d", i)
	}
	s.only(append(accusers, 0)...)
	require.Equal(t, s.running()-1, s.count(13, Alive))
}
