package testnet

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/node/api"
)

// Who is alive, as real processes on loopback see it. Times are logged, not asserted: the README's benchmarks measure them.

// soon is long enough for what takes seconds, on a machine that is busy with all other tests.
const soon = time.Minute

func TestKilledProcessIsDeadToAllAndNobodyElseIs(t *testing.T) {
	o := real(t)
	o.Deadline = 3 * time.Minute
	n := upWith(t, o, 32)
	others := n.names("n7")
	killed := n.signal("n7", syscall.SIGKILL)
	seen := n.everywhere(n.within(soon), others, "n7", "dead", is("dead"))
	n.measured("dead", seen.delays("dead", killed))
	for _, name := range []string{"n1", "n20"} {
		told := n.tellsOfOthers(n.within(soon), name)
		delete(told, "n7")
		n.never(told, "dead", killed)
	}
}

// wakes returns what observers tell of a member when it has been heard after then, and is alive.
func (n testNet) wakes(observers []string, member string, woke time.Time) stories {
	n.t.Helper()
	return n.everywhere(n.within(soon), observers, member, "alive and heard", func(m api.MemberStory) bool {
		return m.Status == "alive" && m.LastHeard.After(woke)
	})
}

func TestFrozenProcessAccusesNobodyWhenItWakes(t *testing.T) {
	n := up(t, 8)
	others := n.names("n3")
	accusesNobody := func(froze time.Time) {
		t.Helper()
		n.agree(n.within(soon))
		told := n.tellsOfOthers(n.within(soon), "n3")
		n.never(told, "suspect", froze)
		n.never(told, "dead", froze)
	}

	froze, woke := n.freeze("n3", 4*time.Second)
	seen := n.wakes(others, "n3", woke)
	n.measured("4 s: suspect", seen.delays("suspect", froze))
	n.never(seen, "dead", froze) // too short for a verdict, however busy this machine is
	accusesNobody(froze)

	froze, woke = n.freeze("n3", 10*time.Second)
	seen = n.wakes(others, "n3", woke)
	n.measured("10 s: suspect", seen.delays("suspect", froze))
	n.measured("10 s: dead", seen.delays("dead", froze))
	n.measured("10 s: alive again", seen.delays("alive", woke))
	for observer, m := range seen {
		require.False(t, when(m, "suspect", froze).IsZero(), "%s has not noticed: %s", observer, tale(m))
	}
	accusesNobody(froze)
}

// A node that was silent for too long, and then says that it leaves, has left.
func TestWhoLeavesAfterItsDeathHasLeft(t *testing.T) {
	n := up(t, 5)
	others := n.names("n3")
	before := n.generation("n1", "n3")
	froze := n.signal("n3", syscall.SIGSTOP)
	n.everywhere(n.within(soon), others, "n3", "dead", is("dead"))
	n.signal("n3", syscall.SIGTERM) // it is told when it wakes
	woke := n.signal("n3", syscall.SIGCONT)
	seen := n.everywhere(n.within(soon), others, "n3", "left", is("left"))
	n.measured("left", seen.delays("left", woke))
	for observer, m := range seen {
		require.EqualValues(t, before, m.Generation, observer)
		require.False(t, when(m, "dead", froze).IsZero(), "%s: %s", observer, tale(m))
	}
}
