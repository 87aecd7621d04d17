package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

// sightings are what the nodes of a world have thought of members that are well.
type sightings struct {
	*world
	ill      map[int]bool // members that are not: they may be found dead
	suspects map[int]map[int]bool
	views    int      // suspicions, each as one node saw it
	episodes int      // suspicions of one member, whoever saw them
	reasons  []string // of the first of each, for people
	dead     []Seen
	last     map[int]map[liveness.Status]time.Duration // by member: when somebody last found it so
}

// sighted forgets what nodes have thought so far.
func (w *world) sighted(ill ...int) *sightings {
	w.Transitions()
	s := &sightings{
		world: w, ill: map[int]bool{}, suspects: map[int]map[int]bool{}, last: map[int]map[liveness.Status]time.Duration{},
	}
	for _, node := range ill {
		s.ill[node] = true
	}
	return s
}

// watch lets d pass.
func (s *sightings) watch(d time.Duration) {
	s.t.Helper()
	for end := s.Now() + d; s.Now() < end; {
		s.run(min(10*time.Second, end-s.Now()))
		for _, seen := range s.Transitions() {
			s.note(seen)
		}
	}
}

func (s *sightings) note(seen Seen) {
	if s.last[seen.Member] == nil {
		s.last[seen.Member] = map[liveness.Status]time.Duration{}
		s.suspects[seen.Member] = map[int]bool{}
	}
	s.last[seen.Member][seen.To] = seen.At
	by := s.suspects[seen.Member]
	switch {
	case s.ill[seen.Member] || seen.Generation != s.Generation(seen.Member): // of an earlier process
	case seen.To == liveness.Suspect:
		if s.views++; len(by) == 0 {
			s.episodes++
			s.reasons = append(s.reasons, s.reasonOf(seen))
		}
		by[seen.By] = true
	case seen.To == liveness.Dead:
		s.dead = append(s.dead, seen)
	default:
		delete(by, seen.By)
	}
}

// reasonOf is what the one who saw a suspicion has noted of it.
func (s *sightings) reasonOf(seen Seen) string {
	if p := s.nodes[seen.By].proc; p != nil {
		for _, tr := range p.live.Story(s.nodes[seen.Member].id) {
			if tr.To == liveness.Suspect && tr.At.Sub(epoch) == seen.At {
				return fmt.Sprintf("%s: %d of %d: %s", seen.At, seen.By, seen.Member, tr.Reason)
			}
		}
	}
	return fmt.Sprintf("%s: %d of %d", seen.At, seen.By, seen.Member)
}

// requireNobodyDied checks that none of those who are well was ever called dead, and none is suspect any more.
func (s *sightings) requireNobodyDied() {
	s.t.Helper()
	require.Empty(s.t, s.dead, s.seed())
	for i, n := range s.nodes {
		if n.proc == nil || s.ill[i] {
			continue
		}
		for _, v := range s.Members(i) {
			fine := s.ill[v.Node] || v.Status == liveness.Alive
			require.True(s.t, fine, "node %d: %d is %s, by %v; %s", i, v.Node, v.Status, v.Accusers, s.seed())
		}
	}
}

// requireDead checks that all who run found node suspect and dead within these times of at.
func (s *sightings) requireDead(node int, at, suspect, dead time.Duration) {
	s.t.Helper()
	for i := range s.nodes {
		if !s.Up(i) {
			continue
		}
		for _, v := range s.Members(i) {
			found := v.Node != node || v.Status == liveness.Dead
			require.True(s.t, found, "node %d: %d is %s, by %v; %s", i, node, v.Status, v.Accusers, s.seed())
		}
	}
	require.LessOrEqual(s.t, s.last[node][liveness.Suspect]-at, suspect, "suspect everywhere; %s", s.seed())
	require.LessOrEqual(s.t, s.last[node][liveness.Dead]-at, dead, "dead everywhere; %s", s.seed())
}

// healthy is a network of members that has run for some seconds.
func healthy(t tester, n int, change func(*Config)) *world {
	cfg := DefaultConfig(1, n)
	cfg.BeatLength = 200 // quickly made; renewed after a minute and a half
	change(&cfg)
	w := newWorld(t, cfg)
	w.within(time.Minute, func() bool {
		for i := range n {
			if w.Count(i, liveness.Alive) != n {
				return false
			}
		}
		return true
	}, "all know all")
	w.run(5 * time.Second)
	return w
}

func asIs(*Config) {}

func TestACrashIsFoundOutEverywhereInTime(t *testing.T) {
	for name, crash := range map[string]func(w *world, node int){
		"the process alone": func(w *world, node int) { w.Kill(node) },
		"the whole machine": func(w *world, node int) { w.Vanish(node) },
	} {
		t.Run(name, func(t *testing.T) {
			w := healthy(t, large(50), asIs)
			for _, node := range []int{3, 7} {
				s := w.sighted(3, 7)
				at := w.Now()
				crash(w, node)
				s.watch(7*time.Second + 130*time.Millisecond)
				s.requireDead(node, at, 2500*time.Millisecond, 6*time.Second)
				s.requireNobodyDied()
			}
		})
	}
}

func TestOneOrTwoNodesFindACrashToo(t *testing.T) {
	for n := 2; n <= 4; n++ {
		w := healthy(t, n, asIs)
		s := w.sighted(0)
		at := w.Now()
		w.Vanish(0)
		s.watch(9 * time.Second)
		s.requireDead(0, at, 2500*time.Millisecond, 8*time.Second)
		s.requireNobodyDied()
	}
}

// A fifth of all packets is lost: that is seldom taken for death by anybody, and always refuted.
func TestLossAccusesFewAndKillsNobody(t *testing.T) {
	for _, loss := range []float64{0.05, 0.2} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			w := healthy(t, large(50), func(c *Config) { c.Loss = loss })
			s := w.sighted()
			s.watch(time.Minute)
			s.requireNobodyDied()
			hours := float64(len(w.nodes)) / 60
			require.LessOrEqual(t, float64(s.episodes), max(1, hours), "%v in %.1f node-hours; %s", s.reasons, hours, w.seed())
		})
	}
}

// Nodes that are stopped for 4 s of every 10 s are dead to nobody, and keep nobody from finding who has crashed.
func TestNodesThatFreezeAgainAndAgainAreNoneOfTheDead(t *testing.T) {
	w := healthy(t, large(40), func(c *Config) { c.Latency, c.Loss = 50*time.Millisecond, 0.05 })
	s := w.sighted()
	rounds := 6
	for round := range rounds {
		for node := range 2 {
			w.Freeze(node, 4*time.Second)
		}
		if round == rounds-1 {
			break
		}
		s.watch(10 * time.Second)
	}
	s.ill[3] = true
	at := w.Now()
	w.Vanish(3)
	s.watch(30 * time.Second)
	s.requireDead(3, at, 30*time.Second, 30*time.Second)
	s.requireNobodyDied()
}

func TestAPartitionIsSeenAndHeals(t *testing.T) {
	n := large(40)
	w := healthy(t, n, asIs)
	side := upTo(0, n/2)
	w.Partition(side)
	w.run(time.Minute)
	for i := range n {
		require.Equal(t, n/2, w.Count(i, liveness.Dead), "node %d: the other side; %s", i, w.seed())
		require.Equal(t, n/2, w.Count(i, liveness.Alive), "node %d: its own; %s", i, w.seed())
	}
	w.Heal()
	w.within(20*time.Second, func() bool {
		return w.everywhere(func(int) liveness.Status { return liveness.Alive })
	}, "all are alive everywhere")
	s := w.sighted()
	s.watch(20 * time.Second)
	s.requireNobodyDied()
	require.Zero(t, s.views, w.seed())
}

// One who accuses everybody, after each one's newest sign of life, kills nobody, and soon nobody listens.
func TestALiarKillsNobody(t *testing.T) {
	w := healthy(t, large(40), asIs)
	w.Slander(0)
	s := w.sighted()
	s.watch(30 * time.Second)
	require.Positive(t, s.views, "it was believed at first; %s", w.seed())
	s.ill[0], s.ill[1] = true, true
	at := w.Now()
	w.Vanish(1)
	s.watch(10 * time.Second)
	s.requireDead(1, at, 10*time.Second, 10*time.Second)
	require.Empty(t, s.dead, w.seed())
	require.Less(t, s.views, 40*len(w.nodes)*len(w.nodes)/2, "%s", w.seed())
}

// Old beats neither bring the dead back nor keep anybody from dying.
func TestOldBeatsAreNoSignsOfLife(t *testing.T) {
	w := healthy(t, large(40), asIs)
	w.ReplayBeats(0)
	w.run(10 * time.Second)
	s := w.sighted(1)
	at := w.Now()
	w.Kill(1)
	s.watch(30 * time.Second)
	s.requireDead(1, at, 2500*time.Millisecond, 6*time.Second)
	s.requireNobodyDied()
}

// Half of the network has no power any more. The others, which stay connected, find that out.
func TestHalfOfTheNetworkThatFailsAtOnceIsFoundDead(t *testing.T) {
	for name, crash := range map[string]func(w *world, node int){
		"processes": func(w *world, node int) { w.Kill(node) },
		"machines":  func(w *world, node int) { w.Vanish(node) },
	} {
		t.Run(name, func(t *testing.T) {
			n := large(40)
			w := healthy(t, n, asIs)
			for i := range n / 2 {
				crash(w, i)
			}
			s := w.sighted(upTo(0, n/2)...)
			s.watch(time.Minute)
			for i := n / 2; i < n; i++ {
				require.Equal(t, n/2, w.Count(i, liveness.Dead), "node %d; %s", i, w.seed())
			}
			s.requireNobodyDied()
		})
	}
}

// The leaves are connected to the hub alone, which dies with them: none of their watchers is left.
func TestAHubThatDiesWithItsLeavesIsFoundDead(t *testing.T) {
	const leaves = 6
	n := large(60)
	cfg := DefaultConfig(1, n)
	cfg.BeatLength = 200
	s, err := New(cfg)
	require.NoError(t, err)
	s.edges = nil
	for _, node := range s.nodes {
		node.edges = nil
	}
	for i := 1; i <= leaves; i++ {
		s.link(s.nodes[0], s.nodes[i])
	}
	for i := leaves + 1; i < n; i++ {
		for _, to := range []int{i + 1, i + 2} {
			if to < n {
				s.link(s.nodes[i], s.nodes[to])
			}
		}
	}
	s.link(s.nodes[0], s.nodes[leaves+1])
	s.link(s.nodes[0], s.nodes[n-1])
	w := &world{t: t, Sim: s, shared: map[string]claim{}, owned: map[ownedKey]claim{}}
	w.within(time.Minute, func() bool { return w.Converged() && w.Count(0, liveness.Alive) == n }, "all know all")
	w.run(20 * time.Second)
	dead := upTo(0, leaves+1)
	seen := w.sighted(dead...)
	for _, node := range dead {
		w.Vanish(node)
	}
	seen.watch(2 * time.Minute) // nobody heard the leaves directly: it takes some background periods, of 18 s here
	for i := leaves + 1; i < n; i++ {
		require.Equal(t, leaves+1, w.Count(i, liveness.Dead), "node %d; %s", i, w.seed())
	}
	seen.requireNobodyDied()
}
