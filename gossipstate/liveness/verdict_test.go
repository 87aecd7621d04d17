package liveness

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// court is a world in which this node, m, judges together with others.
func court(t *testing.T, others string, change ...func(*Config)) (*world, map[byte]*actor) {
	w := newWorld(t, change...)
	w.deaf = true
	actors := map[byte]*actor{'m': w.self}
	for _, name := range []byte(others) {
		actors[name] = newActor(name, 1)
		w.digest(actors[name])
	}
	w.seen = nil
	return w, actors
}

// said is what one who has heard the newest beat of a known to the table says of it.
func (w *world) said(a *actor, refused bool) Accusation {
	m := w.table.members[a.id()]
	return Accusation{Owner: a.id(), Last: m.proof(), Preimage: m.newest(), Refused: refused}
}

func (w *world) accuses(by *actor, list ...Accusation) {
	w.seen = append(w.seen, w.table.Accuses(by.id(), list, w.now)...)
}

func TestAccusations(t *testing.T) {
	t.Run("one makes a suspect, a shorter list takes it back", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.accuses(of['b'], w.said(of['a'], false), w.said(of['c'], false))
		require.Equal(t, []string{"a alive->suspect", "c alive->suspect"}, w.story())
		require.Equal(t, []wire.ID{id('b')}, w.member(id('a')).Accusers)
		w.accuses(of['b'], w.said(of['c'], false))
		require.Equal(t, []string{"a suspect->alive"}, w.story())
		w.accuses(of['b'])
		require.Equal(t, []string{"c suspect->alive"}, w.story())
		require.Zero(t, w.table.Counters().Refuted, "nobody proved anything")
	})
	t.Run("one that names a beat which was never revealed does not count", func(t *testing.T) {
		w, of := court(t, "abcd")
		false1 := w.said(of['a'], false)
		false1.Last.Index, false1.Preimage = 200, [16]byte{1}
		w.accuses(of['b'], false1)
		require.Equal(t, "alive", w.status(of['a']))
		false1.Last.Index = 301 // beyond its chain
		w.accuses(of['c'], false1)
		w.beat(id('d'), of['a'].chain.Beat(5))
		false1.Last.Index = 5
		w.accuses(of['d'], false1)
		w.run(time.Second)
		require.Equal(t, "alive", w.status(of['a']))
		require.Equal(t, uint64(3), w.table.Counters().AccusationsFalse)
	})
	t.Run("one that names a newer beat brings it, and counts", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.accuses(of['b'], Accusation{Owner: id('a'), Last: Proof{1, 1, 9}, Preimage: of['a'].chain.Beat(9).Preimage})
		require.Equal(t, "suspect", w.status(of['a']))
		require.Equal(t, uint32(9), w.member(id('a')).BeatIndex)
		require.Equal(t, Stale, w.beat(id('c'), of['a'].chain.Beat(9)))
		w.beat(id('c'), of['a'].chain.Beat(10))
		require.Equal(t, "alive", w.status(of['a']))
		require.Equal(t, id('c'), w.member(id('a')).Refuter)
	})
	t.Run("one that names a digest not held counts when that has come", func(t *testing.T) {
		w, of := court(t, "abcd")
		a := *of['a']
		a.digest.Version = 2
		w.accuses(of['b'], Accusation{Owner: id('a'), Last: Proof{1, 2, 0}})
		require.Equal(t, "alive", w.status(of['a']))
		w.digest(&a)
		w.run(100 * time.Millisecond)
		require.Equal(t, "suspect", w.status(of['a']))
	})
	t.Run("of one who is no member yet they wait for it", func(t *testing.T) {
		w, of := court(t, "bcd")
		a := newActor('a', 1)
		w.accuses(of['b'], Accusation{Owner: id('a'), Last: Proof{1, 1, 0}})
		w.digest(a)
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a ->alive", "a alive->suspect"}, w.story())
	})
	t.Run("of who is no member, of oneself and against this node they change no status", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.accuses(newActor('x', 1), w.said(of['a'], false))
		w.accuses(of['b'], w.said(of['b'], false), w.said(of['m'], false))
		w.run(time.Second)
		require.Empty(t, w.story())
		require.Equal(t, uint64(1), w.table.Counters().AccusersUnknown)
	})
	t.Run("of who was forgotten they are gone", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.accuses(of['b'], w.said(of['a'], false))
		w.table.Forget(id('b'))
		w.run(100 * time.Millisecond)
		require.Equal(t, "alive", w.status(of['a']))
		require.Empty(t, w.table.dockets)
	})
}

func TestAccusersWhoseAccusationsComeTooEarlyAreIgnored(t *testing.T) {
	// b accuses a again and again, each time after its newest beat, and a's beat of so many intervals later refutes it.
	accused := func(times int, later uint32) (*world, map[byte]*actor) {
		w, of := court(t, "abcd")
		k := uint32(1)
		for range times {
			w.beat(id('c'), of['a'].chain.Beat(k))
			w.accuses(of['b'], w.said(of['a'], false))
			k += later
		}
		w.beat(id('c'), of['a'].chain.Beat(k))
		w.accuses(of['b'], w.said(of['a'], false))
		return w, of
	}
	w, of := accused(maxStrikes, MissedBeats)
	require.Equal(t, "suspect", w.status(of['a']), "a had missed three beats each time")
	w, of = accused(maxStrikes-1, MissedBeats-1)
	require.Equal(t, "suspect", w.status(of['a']), "not often enough")
	w, of = accused(maxStrikes, MissedBeats-1)
	require.Equal(t, "alive", w.status(of['a']))
	require.Equal(t, uint64(maxStrikes), w.table.Counters().AccusationsEarly)
	require.Equal(t, uint64(1), w.table.Counters().AccusersIgnored)
	w.accuses(of['c'], w.said(of['d'], false))
	require.Equal(t, "suspect", w.status(of['d']), "others are heard")
	a := w.table.members[id('a')]
	require.Equal(t, 0, w.table.tally(a, w.now.Add(Probation-1)).standing)
	require.Equal(t, 1, w.table.tally(a, w.now.Add(Probation)).standing)
}

func TestVerdicts(t *testing.T) {
	// quorum has b, c and d accuse a, who last beat now, and m as far as it will.
	quorum := func(w *world, of map[byte]*actor, refused string) {
		for _, by := range []byte("bcd") {
			w.accuses(of[by], w.said(of['a'], string(by) <= refused))
		}
	}
	t.Run("three accusers are death after the timeout, whatever becomes of their accusations then", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.beat(id('b'), of['a'].chain.Beat(3))
		quorum(w, of, "")
		w.run(3100 * time.Millisecond)
		require.Equal(t, "suspect", w.status(of['a']))
		w.run(100 * time.Millisecond)
		require.Equal(t, "dead", w.status(of['a']))
		last := w.seen[len(w.seen)-1]
		require.Equal(t, []wire.ID{id('b'), id('c'), id('d')}, last.Accusers)
		require.Equal(t, 3200*time.Millisecond, last.Timeout)
		for _, by := range []byte("bcd") {
			w.accuses(of[by])
		}
		require.Equal(t, "dead", w.status(of['a']))
		w.beat(id('b'), of['a'].chain.Beat(4))
		require.Equal(t, "alive", w.status(of['a']))
	})
	t.Run("refused by all is death after 200 ms where members are trusted", func(t *testing.T) {
		w, of := court(t, "abcd", trusting)
		quorum(w, of, "d")
		w.run(200 * time.Millisecond)
		require.Equal(t, "dead", w.status(of['a']))
	})
	t.Run("refused by all is death after 2.5 s elsewhere", func(t *testing.T) {
		w, of := court(t, "abcd")
		quorum(w, of, "d")
		w.run(2400 * time.Millisecond)
		require.Equal(t, "suspect", w.status(of['a']))
		w.run(100 * time.Millisecond)
		require.Equal(t, "dead", w.status(of['a']))
	})
	t.Run("refused by some of the quorum is not enough for haste", func(t *testing.T) {
		w, of := court(t, "abcd", trusting)
		quorum(w, of, "c")
		w.run(3100 * time.Millisecond)
		require.Equal(t, "suspect", w.status(of['a']))
	})
	t.Run("accusers who are suspect themselves do not count", func(t *testing.T) {
		w, of := court(t, "abcdef")
		quorum(w, of, "")
		require.Equal(t, tally{standing: 3, counted: 3}, w.table.tally(w.table.members[id('a')], w.now))
		w.accuses(of['e'], w.said(of['d'], false))
		require.Equal(t, tally{standing: 3, counted: 2}, w.table.tally(w.table.members[id('a')], w.now))
	})
	t.Run("newcomers raise suspicion, and count towards death after a minute", func(t *testing.T) {
		w, of := court(t, "aefghi")
		beats := func(n int) { // all known members can be heard
			for range n {
				for _, by := range []byte("efghi") {
					w.beat(id('r'), of[by].beat())
				}
				w.run(2 * time.Second)
			}
		}
		beats(31)
		w.beat(id('e'), of['a'].chain.Beat(50))
		for _, by := range []byte("bcd") {
			of[by] = newActor(by, 1)
			w.digest(of[by])
		}
		w.story()
		quorum(w, of, "d")
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.table.Probed(id('a'), id('m'), Reached, w.now)
		n := w.table.tally(w.table.members[id('a')], w.now)
		require.Equal(t, tally{standing: 3}, n)
		w.now = w.now.Add(400 * time.Millisecond)
		n = w.table.tally(w.table.members[id('a')], w.now.Add(time.Minute))
		require.Equal(t, tally{standing: 3, counted: 3, refused: 3}, n)
	})
	t.Run("a generation that starts anew is alive, and old accusations are void", func(t *testing.T) {
		w, of := court(t, "abcd")
		quorum(w, of, "")
		w.run(4 * time.Second)
		require.Equal(t, "dead", w.status(of['a']))
		w.digest(newActor('a', 2))
		w.run(4 * time.Second)
		require.Equal(t, "alive", w.status(of['a']))
		require.Len(t, w.table.Members(w.now), 5)
	})
	t.Run("left is accepted after dead", func(t *testing.T) {
		w, of := court(t, "abcd")
		quorum(w, of, "")
		w.run(4 * time.Second)
		of['a'].digest.Version++
		of['a'].digest.Status = wire.Leaving
		w.digest(of['a'])
		require.Equal(t, "left", w.status(of['a']))
		quorum(w, of, "")
		w.run(10 * time.Second)
		require.Equal(t, "left", w.status(of['a']), "nobody is accused of having left")
	})
}

func TestAQuorumIsTheLiveMembersOrThree(t *testing.T) {
	for n, want := range []int{1, 2, 3, 3, 3} {
		w, _ := court(t, "abcde"[:n+1])
		require.Equal(t, want, w.table.quorum(w.table.members[id('a')], w.now), "%d others and m", n)
	}
	empty := &world{t: t, table: newTable(t), now: epoch, deaf: true}
	empty.digest(newActor('a', 1))
	require.Equal(t, 1, empty.table.quorum(empty.table.members[id('a')], empty.now))
	// One liar that suspects everybody shrinks no quorum; suspicions that nobody refutes for a timeout do.
	w, of := court(t, "abcd")
	w.accuses(of['d'], w.said(of['a'], false), w.said(of['b'], false), w.said(of['c'], false))
	require.Equal(t, 3, w.table.quorum(w.table.members[id('a')], w.now))
	require.Equal(t, 2, w.table.quorum(w.table.members[id('a')], w.now.Add(5*time.Second)))
}

func TestTimeoutsShrinkWithConfirmationsAndGrowWithIllHealth(t *testing.T) {
	low := 3200 * time.Millisecond
	require.Equal(t, 4800*time.Millisecond, suspicionTimeout(low, 0))
	require.Equal(t, 4800*time.Millisecond, suspicionTimeout(low, 1))
	require.InDelta(t, 3.79, suspicionTimeout(low, 2).Seconds(), 0.01)
	require.Equal(t, low, suspicionTimeout(low, 3))
	require.Equal(t, low, suspicionTimeout(low, 9))

	var h health
	require.Equal(t, low, h.patient(low))
	for range 9 {
		h.worse(epoch)
	}
	require.Equal(t, low*5/2, h.patient(low))
	h.tick(epoch.Add(illFor))
	require.Equal(t, 2, h.ill)
	h.well(epoch)
	require.Equal(t, low*3/2, h.patient(low))
}

func TestOwnAccusations(t *testing.T) {
	t.Run("they stay to be published until they are", func(t *testing.T) {
		w, of := court(t, "ab")
		w.neighbours(of['a'])
		w.down(id('a'), ConnectionLost)
		w.down(id('a'), RedialRefused)
		list, changed := w.table.Suspects()
		require.True(t, changed, "nobody is there to be asked")
		require.Equal(t, []Accusation{w.said(of['a'], true)}, list)
		_, changed = w.table.Suspects()
		require.True(t, changed)
		w.accuses(of['m'], list...)
		_, changed = w.table.Suspects()
		require.False(t, changed)
		w.beat(id('b'), of['a'].chain.Beat(20))
		list, changed = w.table.Suspects()
		require.True(t, changed)
		require.Empty(t, list)
	})
	t.Run("those of an earlier process are taken back", func(t *testing.T) {
		w, of := court(t, "a")
		w.accuses(of['m'], w.said(of['a'], true))
		list, changed := w.table.Suspects()
		require.True(t, changed)
		require.Empty(t, list)
		require.Equal(t, "alive", w.status(of['a']))
	})
	t.Run("who sees a quorum adds none", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.neighbours(of['a'])
		for _, by := range []byte("bcd") {
			w.accuses(of[by], w.said(of['a'], false))
		}
		w.run(2300 * time.Millisecond)
		list, _ := w.table.Suspects()
		require.Empty(t, list)
	})
	t.Run("beats that were under way when the connection broke do not end them", func(t *testing.T) {
		w, of := court(t, "abcd")
		w.neighbours(of['a'])
		w.down(id('a'), ConnectionLost)
		w.down(id('a'), RedialRefused)
		w.beat(id('b'), of['a'].beat())
		w.run(200 * time.Millisecond)
		list, _ := w.table.Suspects()
		require.Equal(t, []Accusation{w.said(of['a'], true)}, list)
		w.beat(id('b'), of['a'].chain.Beat(of['a'].next+1))
		w.run(200 * time.Millisecond)
		list, _ = w.table.Suspects()
		require.Empty(t, list)
	})
	t.Run("who answers a dial gets three more intervals, once", func(t *testing.T) {
		w, of := court(t, "a")
		w.neighbours(of['a'])
		w.run(1500 * time.Millisecond)
		require.Len(t, w.table.Probes(), 1)
		w.table.Probed(id('a'), id('m'), Reached, w.now)
		w.run(2000 * time.Millisecond)
		require.Empty(t, w.story())
		w.run(200 * time.Millisecond)
		require.Len(t, w.table.Probes(), 1)
		require.Len(t, w.table.Probed(id('a'), id('m'), Reached, w.now), 1)
		require.Equal(t, "suspect", w.status(of['a']))
	})
	t.Run("an answer that nobody asked for changes nothing", func(t *testing.T) {
		w, of := court(t, "ab")
		w.neighbours(of['a'])
		require.Empty(t, w.table.Probed(id('a'), id('m'), PortRefused, w.now))
		w.run(1500*time.Millisecond, of['b'])
		require.Empty(t, w.table.Probed(id('a'), id('b'), Reached, w.now), "b is no neighbour and was not asked")
		w.run(800 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("a full list makes room by those whom all know to be dead", func(t *testing.T) {
		w, _ := court(t, "")
		var all []*actor
		for i := range MaxAccusations + 3 {
			a := newActorOf(id(byte(i+1)), 1, 8)
			if a.id() != id('m') {
				all = append(all, a)
				w.digest(a)
			}
		}
		for len(w.table.mine) < MaxAccusations {
			a := all[len(w.table.mine)]
			require.True(t, w.table.accuse(w.table.members[a.id()], far, w.now))
		}
		last := all[MaxAccusations]
		require.False(t, w.table.accuse(w.table.members[last.id()], far, w.now))
		require.Equal(t, uint64(1), w.table.Counters().AccusationsFull)
		w.run(2 * time.Minute) // alone, this node makes a quorum, once the others are silent for long
		require.Equal(t, len(all), w.table.Count(Dead), "all of them are found dead in turn")
		list, _ := w.table.Suspects()
		require.Len(t, list, MaxAccusations)
		MarshalAccusations(list)
	})
	t.Run("a node that is no member, or leaves, accuses nobody", func(t *testing.T) {
		w := &world{t: t, table: newTable(t), now: epoch, deaf: true}
		a := newActor('a', 1)
		w.neighbours(a)
		w.run(time.Minute)
		list, _ := w.table.Suspects()
		require.Empty(t, list)
		self := newActor('m', 1)
		w.digest(self)
		w.run(5 * time.Second)
		list, _ = w.table.Suspects()
		require.Len(t, list, 1)
		self.digest.Version++
		self.digest.Status = wire.Leaving
		w.digest(self)
		list, _ = w.table.Suspects()
		require.Empty(t, list)
	})
}

func TestAPauseMovesSuspicionsAndProbes(t *testing.T) {
	w, of := court(t, "abcd")
	w.neighbours(of['a'], of['b'])
	w.run(1500*time.Millisecond, of['b'])
	require.Len(t, w.table.Probes(), 1)
	for _, by := range []byte("bca") {
		w.accuses(of[by], w.said(of['d'], false))
	}
	require.Equal(t, []string{"d alive->suspect"}, w.story())
	w.now = w.now.Add(10 * time.Second)
	w.run(300 * time.Millisecond)
	require.Empty(t, w.story(), "neither is the probe over nor the suspicion")
	require.Equal(t, 1, w.table.Ill())
	w.run(500 * time.Millisecond)
	require.Equal(t, []string{"a alive->suspect"}, w.story())
}

// Who is chosen to look after a member is agreed between all nodes.
func TestRanks(t *testing.T) {
	_, of := court(t, "abcd")
	m := &member{owner: id('a'), digest: of['a'].digest}
	m.digest.BeatAnchor = wire.Anchor{1, 2, 3}
	require.Equal(t, uint64(0x6b37b36aaa5278e8), rankSeed(m))
	require.Equal(t, uint64(0xd7dee013edc558ec), rank(id('b'), rankSeed(m)))

	chosen := map[byte]int{}
	for _, self := range []byte("mnopqrst") {
		table, err := New(DefaultConfig(), id(self), epoch)
		require.NoError(t, err)
		for _, name := range []byte("amnopqrst") {
			_, err := table.Digest(newActor(name, 1).digest, epoch, epoch)
			require.NoError(t, err)
		}
		for periods := range 3 {
			if table.chosen(table.members[id('a')], time.Duration(periods)*table.period) {
				chosen[byte(periods)]++
			}
		}
	}
	require.Equal(t, map[byte]int{0: 3, 1: 6, 2: 8}, chosen)
}

// Two tables that have got the same digests, newest beats and lists, in whatever order and time, show the same statuses one timeout
// later, and Probation later where an accuser was new to one of them. What the two nodes themselves come to say is exchanged
// as all state is.
func TestEqualStateGivesEqualVerdicts(t *testing.T) {
	suspects, dead := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		accusers, accused := []byte("abcde"), []byte("xyz")
		actors := map[byte]*actor{}
		for _, name := range append(append([]byte("jk"), accusers...), accused...) {
			actors[name] = newActorOf(id(name), 1, 900)
		}
		var tables [2]*Table
		now := epoch
		trusting := rapid.Bool().Draw(t, "trusting")
		for i, name := range []byte("jk") {
			cfg := DefaultConfig()
			cfg.Trusting = trusting
			table, err := New(cfg, id(name), now)
			require.NoError(t, err)
			tables[i] = table
			for _, other := range []byte("jkab") { // enough for a quorum of three at all times
				_, err := table.Digest(actors[other].digest, now, now)
				require.NoError(t, err)
			}
		}
		// What is said in the end: by whom, of whom, after which beat.
		final := map[byte]uint32{}
		for _, name := range accused {
			final[name] = rapid.Uint32Range(0, 6).Draw(t, "newest beat")
		}
		lists := map[byte][]Accusation{}
		for _, by := range accusers {
			for _, name := range accused {
				k := rapid.Uint32Range(0, final[name]).Draw(t, "accused after")
				if rapid.Bool().Draw(t, "accuses") {
					a := Accusation{Owner: id(name), Last: Proof{1, 1, k}, Refused: rapid.Bool().Draw(t, "refused")}
					if k > 0 {
						a.Preimage = actors[name].chain.Beat(k).Preimage
					}
					lists[by] = append(lists[by], a)
				}
			}
		}
		tick := func(d time.Duration) {
			for end := now.Add(d); now.Before(end); {
				now = now.Add(100 * time.Millisecond)
				due := uint32(now.Sub(epoch)/(2*time.Second)) + 1
				for i, table := range tables {
					for _, name := range append([]byte("jk"), accusers...) { // they can be heard all the time
						_, _, err := table.Beat(id('r'), actors[name].chain.Beat(due), now)
						require.NoError(t, err)
					}
					table.Tick(now)
					for _, p := range table.Probes() {
						table.Probed(p.Owner, table.self, Unreachable, now)
					}
					if list, changed := table.Suspects(); changed {
						table.Accuses(table.self, list, now)
						tables[1-i].Accuses(table.self, list, now)
					}
				}
			}
		}
		give := func(table *Table, what byte) {
			_, err := table.Digest(actors[what].digest, now, now)
			require.NoError(t, err)
			table.Accuses(id(what), lists[what], now)
			if k := final[what]; k > 0 {
				_, _, err := table.Beat(id('r'), actors[what].chain.Beat(k), now)
				require.NoError(t, err)
			}
		}
		everything := append(append([]byte{}, accusers...), accused...)
		steps := rapid.IntRange(0, 30).Draw(t, "steps")
		seasoned := time.Duration(0)
		for range steps {
			i := rapid.IntRange(0, 1).Draw(t, "table")
			what := rapid.SampledFrom(everything).Draw(t, "gets")
			if now.Sub(epoch) > Probation && tables[i].members[id(what)] == nil {
				seasoned = Probation
			}
			give(tables[i], what)
			tick(rapid.SampledFrom([]time.Duration{0, 0, 300 * time.Millisecond, 4 * time.Second, 30 * time.Second}).Draw(t, "pause"))
		}
		for i := range tables {
			for _, what := range rapid.Permutation(everything).Draw(t, "order") {
				if now.Sub(epoch) > Probation && tables[i].members[id(what)] == nil {
					seasoned = Probation
				}
				give(tables[i], what)
			}
		}
		longest := suspicionTimeout(DefaultConfig().SuspicionMin+interval, 1) * 5 / 2
		tick(seasoned + longest + ProbeTimeout)
		statuses := func(table *Table) (all []string) {
			for _, m := range table.Members(now) {
				all = append(all, fmt.Sprintf("%c %v", m.Owner[0], m.Status))
			}
			return all
		}
		require.Equal(t, statuses(tables[0]), statuses(tables[1]))
		suspects += tables[0].Count(Suspect)
		dead += tables[0].Count(Dead)
	})
	require.NotZero(t, suspects)
	require.NotZero(t, dead)
}
