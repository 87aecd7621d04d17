package liveness

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

func TestDigests(t *testing.T) {
	running := func(generation wire.Generation, version wire.Version) *actor {
		a := newActor('a', generation)
		a.digest.Version = version
		return a
	}
	leaving := func(generation wire.Generation, version wire.Version) *actor {
		a := running(generation, version)
		a.digest.Status = wire.Leaving
		return a
	}
	dead := func(w *world) { w.run(time.Minute) }
	for name, c := range map[string]struct {
		first *actor
		then  func(*world) // between the two digests
		last  *actor
		story []string // told by last
	}{
		"the first digest makes a member":                {nil, nil, running(1, 1), []string{"a ->alive"}},
		"a first digest may say that its owner left":     {nil, nil, leaving(1, 1), []string{"a ->left"}},
		"the same digest again changes nothing":          {running(1, 2), nil, running(1, 2), []string{}},
		"an older version changes nothing":               {running(1, 2), nil, leaving(1, 1), []string{}},
		"an older generation changes nothing":            {running(2, 1), nil, leaving(1, 9), []string{}},
		"a newer version of the living is no transition": {running(1, 1), nil, running(1, 2), []string{}},
		"a restart of the living is no transition":       {running(1, 1), nil, running(2, 1), []string{}},
		"leaving":                                           {running(1, 1), nil, leaving(1, 2), []string{"a alive->left"}},
		"left is accepted after dead":                       {running(1, 1), dead, leaving(1, 2), []string{"a dead->left"}},
		"a newer version brings back the dead":              {running(1, 1), dead, running(1, 2), []string{"a dead->alive"}},
		"an equal version does not bring back the dead":     {running(1, 1), dead, running(1, 1), []string{}},
		"a restart brings back the dead":                    {running(1, 1), dead, running(2, 2), []string{"a dead->alive"}},
		"a restart brings back who left":                    {leaving(1, 5), nil, running(2, 1), []string{"a left->alive"}},
		"who left may say that it runs again":               {leaving(1, 5), nil, running(1, 6), []string{"a left->alive"}},
		"who left does not come back by an older digest":    {leaving(1, 5), nil, running(1, 4), []string{}},
		"time alone changes nothing about who left":         {leaving(1, 5), dead, leaving(1, 5), []string{}},
		"leaving is known of a generation never seen alive": {running(1, 1), dead, leaving(3, 1), []string{"a dead->left"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.first != nil {
				w.digest(c.first)
			}
			if c.then != nil {
				c.then(w)
			}
			w.story()
			w.digest(c.last)
			require.Equal(t, c.story, w.story())
			require.Len(t, w.table.Members(w.now), 2, "one live generation per owner, this node included")
		})
	}
}

func TestReasonsNameTheEvidence(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	reason := func() string { return w.seen[len(w.seen)-1].Reason }
	w.digest(a)
	require.Equal(t, "first seen", reason())
	w.neighbours(a)
	w.run(2200 * time.Millisecond)
	require.Equal(t, "accused by 1, 1 of 1 count; no beat for 2.2s", reason())
	require.Greater(t, w.seen[len(w.seen)-1].Phi, 8.0)
	w.run(4800 * time.Millisecond)
	require.Equal(t, "accused by 1, 1 of 1 count; no beat for 7.0s", reason())
	w.beat(a.id(), a.chain.Beat(100))
	require.Equal(t, "beat 100 came", reason())
	w.down(a.id(), ConnectionLost)
	w.down(a.id(), RedialUnanswered)
	require.Equal(t, "accused by 1, 1 of 1 count; connection lost, redial unanswered", reason())
	a.digest.Version++
	w.digest(a)
	require.Equal(t, "version 2 came", reason())
	w.run(16 * time.Second)
	require.Equal(t, "accused by 1, 1 of 1 count; no sign of life relayed for 16.0s", reason())
	a.digest.Generation++
	a.anchor(100)
	w.digest(a)
	require.Equal(t, "restarted", reason())
	a.digest.Version++
	a.digest.Status = wire.Leaving
	w.digest(a)
	require.Equal(t, "said it leaves", reason())
	a.digest.Version++
	a.digest.Status = wire.Running
	w.digest(a)
	require.Equal(t, "says it runs again", reason())
}

func TestDigestsThatAreRefusedChangeNothing(t *testing.T) {
	for name, change := range map[string]func(*wire.Digest){
		"interval too short": func(d *wire.Digest) { d.BeatInterval = wire.MinBeatInterval - 1 },
		"interval too long":  func(d *wire.Digest) { d.BeatInterval = wire.MaxBeatInterval + 1 },
		"empty chain":        func(d *wire.Digest) { d.BeatLength = 0 },
		"chain too long":     func(d *wire.Digest) { d.BeatLength = wire.MaxBeats + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := newActor('a', 1).digest
			change(&d)
			_, err := w.table.Digest(d, w.now, w.now)
			require.ErrorIs(t, err, ErrClockwork)
			require.Zero(t, w.member(id('a')))
			require.Equal(t, uint64(1), w.table.Counters().DigestsClockwork)
		})
	}
}

func TestTheTableIsBounded(t *testing.T) {
	w := newWorld(t)
	numbered := func(n int) (d wire.Digest) {
		binary.BigEndian.PutUint32(d.Owner[:], uint32(n*7919)) // not in order
		d.Generation, d.Version = 1, 1
		return d
	}
	for n := range MaxMembers - 1 { // and this node
		_, err := w.table.Digest(numbered(n), w.now, w.now)
		require.NoError(t, err)
	}
	_, err := w.table.Digest(numbered(MaxMembers), w.now, w.now)
	require.ErrorIs(t, err, ErrFull)
	require.Equal(t, uint64(1), w.table.Counters().DigestsFull)
	require.Equal(t, MaxMembers, w.table.Count(Alive))

	d := numbered(5)
	d.Version++
	_, err = w.table.Digest(d, w.now, w.now)
	require.NoError(t, err, "who is in the table is still served")

	require.True(t, w.table.Forget(d.Owner))
	_, err = w.table.Digest(numbered(MaxMembers), w.now, w.now)
	require.NoError(t, err)
	members := w.table.Members(w.now)
	for i := range members[1:] {
		require.Negative(t, members[i].Owner.Compare(members[i+1].Owner), "sorted by owner")
	}
}

func TestNeighbours(t *testing.T) {
	t.Run("a silent one is suspect after three intervals and dead after the timeout", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.run(2100 * time.Millisecond)
		require.Equal(t, "alive", w.status(a), "three intervals are granted")
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.run(4700 * time.Millisecond)
		require.Equal(t, "suspect", w.status(a))
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a suspect->dead"}, w.story(), "of two nodes one is a quorum")
		w.run(3 * time.Minute)
		require.Empty(t, w.story(), "dead for good")
	})
	t.Run("of three nodes two have to accuse", func(t *testing.T) {
		w := newWorld(t)
		a, b := newActor('a', 1), newActor('b', 1)
		w.neighbours(a, b)
		w.run(10*time.Second, b)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.accuses(b, w.said(a, false))
		w.run(100*time.Millisecond, b)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
		w.run(3*time.Minute, b)
		require.Empty(t, w.story(), "dead for good, and b is fine")
	})
	t.Run("a freeze of four seconds is never death, whenever it begins", func(t *testing.T) {
		for begin := time.Duration(0); begin < interval; begin += 100 * time.Millisecond {
			w := newWorld(t)
			a := newActor('a', 1)
			w.neighbours(a)
			w.run(begin)
			w.run(4 * time.Second)
			w.run(interval, a)
			require.Equal(t, []string{"a alive->suspect", "a suspect->alive"}, w.story())
		}
	})
	t.Run("one that only connected is not watched", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.table.NeighbourUp(a.id(), w.now)
		w.digest(a)
		w.run(10 * time.Second)
		require.Equal(t, "alive", w.status(a))
		require.True(t, w.member(a.id()).Neighbour)
	})
	t.Run("a lost connection alone is no suspicion", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		require.False(t, w.member(a.id()).Neighbour)
		w.run(2100 * time.Millisecond)
		require.Empty(t, w.story())
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story(), "but its silence counts")
	})
	t.Run("a refused redial is a suspicion at once and in an open network death after 3.75 s, of two nodes", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		w.down(a.id(), RedialRefused)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.run(3700 * time.Millisecond)
		require.Equal(t, "suspect", w.status(a))
		w.run(100 * time.Millisecond)
		require.Equal(t, "dead", w.status(a))
	})
	t.Run("a refused redial is death after 200 ms where members are trusted", func(t *testing.T) {
		w := newWorld(t, trusting)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		w.down(a.id(), RedialRefused)
		w.run(100 * time.Millisecond)
		require.Equal(t, "suspect", w.status(a))
		w.run(100 * time.Millisecond)
		require.Equal(t, "dead", w.status(a))
	})
	t.Run("a refusal sharpens a suspicion that silence has raised", func(t *testing.T) {
		w := newWorld(t, trusting)
		a := newActor('a', 1)
		w.neighbours(a)
		w.run(2200 * time.Millisecond)
		w.down(a.id(), ConnectionLost)
		w.down(a.id(), RedialRefused)
		w.run(200 * time.Millisecond)
		require.Equal(t, "dead", w.status(a))
	})
	t.Run("a redial that succeeds after all takes the haste away", func(t *testing.T) {
		w := newWorld(t, trusting)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		w.down(a.id(), RedialRefused)
		w.table.NeighbourUp(a.id(), w.now)
		w.run(4700 * time.Millisecond)
		require.Equal(t, "suspect", w.status(a))
		w.run(100 * time.Millisecond)
		require.Equal(t, "dead", w.status(a))
	})
	t.Run("an unanswered redial is a suspicion at once, never in haste", func(t *testing.T) {
		w := newWorld(t, trusting)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		w.down(a.id(), RedialUnanswered)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.run(2400 * time.Millisecond)
		require.Empty(t, w.story())
	})
	t.Run("a failed redial does not count when the neighbour came back by itself", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), ConnectionLost)
		w.table.NeighbourUp(a.id(), w.now)
		w.down(a.id(), RedialRefused)
		require.Equal(t, "alive", w.status(a))
		require.Equal(t, uint64(1), w.table.Counters().RedialsIgnored)
	})
	t.Run("a failed dial to a member never seen alive does not count", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.down(a.id(), RedialRefused)
		require.Equal(t, "alive", w.status(a))
		require.Equal(t, uint64(1), w.table.Counters().RedialsIgnored)
	})
	t.Run("a released one is judged like a far member", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), Released)
		w.run(15 * time.Second)
		require.Empty(t, w.story())
		w.run(seldom)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("one that is heard of through others only is not accused again and again", func(t *testing.T) {
		w := newWorld(t)
		a, b := newActor('a', 1), newActor('b', 1)
		w.neighbours(a, b)
		w.run(2200*time.Millisecond, b)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		for range 10 {
			w.beat(b.id(), a.beat())
			w.run(5*time.Second, b)
		}
		require.Equal(t, []string{"a suspect->alive"}, w.story())
		w.beat(a.id(), a.beat())
		w.run(2300*time.Millisecond, b)
		require.Equal(t, []string{"a alive->suspect"}, w.story(), "its next direct beat has it watched again")
	})
	t.Run("neither death nor what was before it is taken for jitter", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.run(time.Minute)
		w.beat(a.id(), a.beat())
		w.story()
		w.run(2200 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("the last beats of a released one do not have it watched again", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		w.down(a.id(), Released)
		w.beat(a.id(), a.beat())
		w.run(10 * time.Second)
		require.Empty(t, w.story())
	})
	t.Run("one that left and runs again is watched from its next direct beat", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		a.digest.Version++
		a.digest.Status = wire.Leaving
		w.digest(a)
		w.beat(a.id(), a.beat())
		a.digest.Version++
		a.digest.Status = wire.Running
		w.digest(a)
		w.story()
		w.run(10 * time.Second)
		require.Empty(t, w.story())
		w.beat(a.id(), a.beat())
		w.run(2200 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("one that changes its interval is judged by the new one", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.neighbours(a)
		a.digest.Version++
		a.digest.BeatInterval = 200 * time.Millisecond
		w.digest(a)
		w.run(700 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("one that restarts is watched again from its first direct beat", func(t *testing.T) {
		w := newWorld(t)
		w.neighbours(newActor('a', 1))
		a := newActor('a', 2)
		w.digest(a)
		w.run(10 * time.Second)
		require.Empty(t, w.story())
		require.Equal(t, Fresh, w.beat(a.id(), a.beat()))
		w.run(2200 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
	})
	t.Run("one with slow beats is granted three of its own intervals, and half as many more again, of two nodes", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		a.digest.BeatInterval = 7 * time.Second
		w.table.NeighbourUp(a.id(), w.now)
		w.digest(a)
		w.beat(a.id(), a.beat())
		w.story()
		w.run(21 * time.Second)
		require.Empty(t, w.story())
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.run(31400 * time.Millisecond)
		require.Empty(t, w.story())
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
	})
}

func TestFarMembers(t *testing.T) {
	t.Run("one that is only known by digest ages out", func(t *testing.T) {
		w := newWorld(t)
		w.digest(newActor('a', 1))
		w.story()
		w.run(16 * time.Second) // three periods of 5 s, and 1 s to check the first beats of two
		require.Empty(t, w.story())
		w.run(seldom)
		require.Equal(t, []string{"a alive->suspect"}, w.story())
		w.run(4700 * time.Millisecond)
		require.Empty(t, w.story())
		w.run(100 * time.Millisecond)
		require.Equal(t, []string{"a suspect->dead"}, w.story())
		require.Equal(t, epoch, w.member(id('a')).Heard)
	})
	t.Run("a relayed beat per period keeps one alive", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.story()
		for range 20 {
			w.run(5 * time.Second)
			require.Equal(t, Fresh, w.beat(id('r'), a.beat()))
		}
		require.Empty(t, w.story())
	})
	t.Run("a relayed beat brings one back", func(t *testing.T) {
		w := newWorld(t)
		a := newActor('a', 1)
		w.digest(a)
		w.run(30 * time.Second)
		w.story()
		w.beat(id('r'), a.chain.Beat(17))
		require.Equal(t, []string{"a dead->alive"}, w.story())
		require.Equal(t, uint64(1), w.table.Counters().Refuted)
		require.Equal(t, uint64(1), w.table.Counters().Resurrected)
		require.Equal(t, w.now, w.member(a.id()).Heard)
		require.Equal(t, uint32(17), w.member(a.id()).BeatIndex)
	})
	t.Run("they get more time the more of them share the budget", func(t *testing.T) {
		cfg := DefaultConfig()
		require.Equal(t, 5*time.Second, cfg.backgroundPeriod(5))
		require.Equal(t, 37500*time.Millisecond, cfg.backgroundPeriod(128))
		require.Equal(t, 292968750*time.Microsecond, cfg.backgroundPeriod(1000))
		require.Equal(t, 4800*time.Second, cfg.backgroundPeriod(MaxMembers))
	})
	t.Run("an owner that does not beat is proved alive by its digests alone", func(t *testing.T) {
		w := newWorld(t)
		d := wire.Digest{Owner: id('a'), Generation: 1}
		for range 20 {
			d.Version++
			_, err := w.table.Digest(d, w.now, w.now)
			require.NoError(t, err)
			w.run(10 * time.Second)
		}
		require.Equal(t, "alive", w.member(d.Owner).Status.String())
	})
}

func TestThisNodeIsNeverJudged(t *testing.T) {
	w := newWorld(t)
	self := w.self
	w.run(time.Minute)
	w.down(self.id(), RedialRefused)
	require.Empty(t, w.story())
	require.Zero(t, w.member(self.id()).Phi)
	require.Equal(t, Fresh, w.beat(id('r'), self.beat()), "a twin's beats show")
	require.Empty(t, w.relayed(id('n')), "who reads this node's stream has its beats already")
	require.False(t, w.table.Forget(self.id()))
	self.digest.Version++
	self.digest.Status = wire.Leaving
	w.digest(self)
	require.Equal(t, []string{"m alive->left"}, w.story())
	w.now = w.now.Add(48 * time.Hour)
	require.Empty(t, w.table.ForgetCandidates(w.now))
}

func TestANodeThatSleptAccusesNobody(t *testing.T) {
	for name, first := range map[string]func(w *world, a *actor){
		"when it hears a beat first": func(w *world, a *actor) { w.beat(a.id(), a.beat()) },
		"when it ticks first":        func(w *world, _ *actor) { w.run(100 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a, b, c := newActor('a', 1), newActor('b', 1), newActor('c', 1)
			w.neighbours(a, b)
			w.digest(c)
			w.run(1400*time.Millisecond, a) // b misses two
			w.story()
			w.now = w.now.Add(10 * time.Second)
			first(w, a)
			w.run(600*time.Millisecond, a)
			require.Empty(t, w.story(), "b has its third interval still")
			require.Equal(t, uint64(1), w.table.Counters().Slept)
			w.run(200*time.Millisecond, a)
			require.Equal(t, []string{"b alive->suspect"}, w.story(), "but b is not forgiven more than the pause")
			w.now = w.now.Add(10 * time.Second)
			w.accuses(c, w.said(b, false))
			w.accuses(a, w.said(b, false))
			w.run(2900*time.Millisecond, a)
			require.Empty(t, w.story(), "deadlines move as well")
			w.run(10*time.Second, a)
			require.Equal(t, []string{"b suspect->dead"}, w.story())
		})
	}
}

func TestSleepIsNotTakenForJitter(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.neighbours(a)
	w.now = w.now.Add(70 * time.Second)
	w.beat(a.id(), a.beat())
	w.run(2200 * time.Millisecond)
	require.Equal(t, []string{"a alive->suspect"}, w.story())
}

func TestAPauseTooShortForSleepAccusesNobodyEither(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.neighbours(a)
	w.run(600 * time.Millisecond)
	w.now = w.now.Add(interval)
	require.Empty(t, w.table.Tick(w.now))
	require.Zero(t, w.table.Counters().Slept)
}

func TestTimeThatGoesBackCountsAsTheLatest(t *testing.T) {
	w := newWorld(t)
	a := newActor('a', 1)
	w.neighbours(a)
	w.run(2000 * time.Millisecond)
	require.Empty(t, w.table.Tick(epoch.Add(-time.Hour)))
	_, _, err := w.table.Beat(a.id(), a.beat(), epoch.Add(-time.Hour))
	require.NoError(t, err)
	w.run(2100 * time.Millisecond)
	require.Empty(t, w.story())
}

func TestForgetting(t *testing.T) {
	day := 24 * time.Hour
	w := newWorld(t)
	gone, old, left, well := newActor('a', 1), newActor('b', 1), newActor('c', 1), newActor('d', 1)
	left.digest.Status = wire.Leaving
	w.neighbours(well)
	w.digest(gone)
	w.digest(left)
	_, err := w.table.Digest(old.digest, w.now.Add(-2*day), w.now) // loaded from disk
	require.NoError(t, err)
	require.Equal(t, w.now.Add(-2*day), w.member(old.id()).Heard)
	require.Equal(t, w.now.Add(-2*day), w.table.Heard(old.id()))
	require.Zero(t, w.table.Heard(id('x')))
	require.Empty(t, w.table.ForgetCandidates(w.now), "the living are never forgotten")
	w.run(40*time.Second, well)
	require.Equal(t, Suspect, w.member(old.id()).Status, "of three nodes, one accuses it")
	require.Equal(t, []wire.ID{old.id()}, w.table.ForgetCandidates(w.now), "suspect, and silent for longer than a day")
	w.accuses(well, w.said(gone, false))
	w.run(time.Second, well)
	require.Equal(t, Dead, w.member(gone.id()).Status)
	require.Equal(t, []wire.ID{gone.id(), old.id(), left.id()}, w.table.ForgetCandidates(w.now.Add(day-time.Second)))

	require.True(t, w.table.Forget(old.id()))
	require.False(t, w.table.Forget(old.id()))
	require.Zero(t, w.member(old.id()))
	_, known := w.table.Proof(old.id())
	require.False(t, known)
	require.Equal(t, UnknownAnchor, w.beat(id('r'), old.beat()))
	require.Equal(t, 1, w.table.Count(Dead))
	require.Equal(t, 1, w.table.Count(Left))
	require.Equal(t, 2, w.table.Count(Alive), "well, and this node")
}

// Who came when all others were about to forget a dead member finds that nobody accuses it any more.
func TestAMemberThatOthersHaveForgottenIsForgotten(t *testing.T) {
	w := newWorld(t)
	a, b := newActor('a', 1), newActor('b', 1)
	w.neighbours(a)
	_, err := w.table.Digest(b.digest, w.now.Add(-DefaultConfig().ForgetAfter), w.now)
	require.NoError(t, err)
	w.accuses(a, w.said(b, false))
	w.run(interval, a)
	require.Equal(t, "suspect", w.status(b))
	w.accuses(a)
	w.run(forgetIntervals*BackgroundMin-interval, a)
	require.Empty(t, w.table.ForgetCandidates(w.now))
	w.run(100*time.Millisecond, a)
	require.Equal(t, []wire.ID{b.id()}, w.table.ForgetCandidates(w.now))
}

func TestANodeThatSleptForgetsNobodyForIt(t *testing.T) {
	w := newWorld(t)
	a, b := newActor('a', 1), newActor('b', 1)
	w.neighbours(a)
	w.digest(b)
	w.now = w.now.Add(2 * DefaultConfig().ForgetAfter)
	w.run(2 * time.Second)
	require.Empty(t, w.table.ForgetCandidates(w.now))
}

func TestStampsOfTheFutureCountAsNow(t *testing.T) {
	w := newWorld(t)
	_, err := w.table.Digest(newActor('a', 1).digest, w.now.Add(time.Hour), w.now)
	require.NoError(t, err)
	require.Equal(t, w.now, w.member(id('a')).Heard)
	_, err = w.table.Digest(newActor('b', 1).digest, time.Time{}, w.now)
	require.NoError(t, err)
	require.Zero(t, w.member(id('b')).Heard, "zero: never heard")
}

func TestConfigReportsEveryFault(t *testing.T) {
	cfg := DefaultConfig()
	require.NoError(t, cfg.Validate())
	cfg = Config{BeatInterval: time.Millisecond, PhiSuspect: math.NaN(), SuspicionMin: time.Second}
	_, err := New(cfg, id('m'), epoch)
	require.EqualError(t, err, `liveness: BeatInterval is 1ms: want 200ms to 10s
liveness: PhiSuspect is NaN: want 1 to 100
liveness: SuspicionMin is 1s: want 2.5s to 10m0s
liveness: ForgetAfter is 0s: want 1m0s to 8760h0m0s
liveness: BeatBudget is 0: want 32 to 1048576`)
}

func TestPhi(t *testing.T) {
	regular := newArrivals(interval, epoch)
	now := epoch
	for range 100 {
		now = now.Add(interval)
		regular.arrived(now)
	}
	require.InDelta(t, 0, regular.phi(interval), 1e-9)
	require.InDelta(t, 4, regular.phi(2*interval), 1e-9)
	require.InDelta(t, 8, regular.phi(3*interval), 1e-9, "the default threshold is three intervals of regular beats")

	jittery := newArrivals(interval, epoch)
	now = epoch
	for i := range 100 {
		now = now.Add(interval + time.Duration(i%2*400-200)*time.Millisecond)
		jittery.arrived(now)
	}
	require.Less(t, jittery.phi(3*interval), 7.0, "jitter is forgiven")

	erratic := newArrivals(interval, epoch)
	now = epoch
	for i := range 100 {
		now = now.Add(time.Duration(i%5) * time.Minute)
		erratic.arrived(now)
	}
	require.InDelta(t, 8, erratic.phi(10*interval), 1e-9, "but within bounds")

	burst := newArrivals(interval, epoch)
	for range 100 {
		burst.arrived(epoch)
	}
	require.InDelta(t, 8, burst.phi(3*interval), 1e-9, "a burst of beats does not make the next one due sooner")
}
