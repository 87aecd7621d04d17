package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// life is everything that one honest owner ever signed and revealed.
type life struct {
	digests []wire.Digest
	beats   []wire.Beat
}

// drawLife lets an owner restart, change its state and make new chains, beating now and then.
func drawLife(t *rapid.T, owner wire.ID) life {
	var l life
	a := newActorOf(owner, 1, 40)
	for range rapid.IntRange(1, 8).Draw(t, "digests") {
		l.digests = append(l.digests, a.digest)
		for range rapid.IntRange(0, 6).Draw(t, "beats") {
			l.beats = append(l.beats, a.beat())
			a.next += rapid.Uint32Range(0, 2).Draw(t, "unheard")
			if a.next > 30 {
				a.anchor(40)
			}
		}
		switch rapid.SampledFrom([]string{"change", "anchor", "restart", "leave"}).Draw(t, "step") {
		case "change":
			a.digest.Version++
		case "anchor":
			a.anchor(40)
		case "restart":
			a.digest.Generation++
			a.digest.Status = wire.Running
			a.anchor(40)
		case "leave":
			a.digest.Version++
			a.digest.Status = wire.Leaving
		}
	}
	return l
}

// newest is the slow model: the largest digest, and the largest beat of its chain.
func (l life) newest() (Proof, wire.Status) {
	var d wire.Digest
	for _, x := range l.digests {
		if x.Compare(&d) > 0 {
			d = x
		}
	}
	p := Proof{Generation: d.Generation, Version: d.Version}
	for _, b := range l.beats {
		if b.Anchor == d.BeatAnchor.Name() {
			p.Index = max(p.Index, b.Index)
		}
	}
	return p, d.Status
}

// Digests and beats in any order, with replays, time and judgement in between, give the proof of the slow model; on the
// way no proof ever becomes smaller. A beat that came before its digest is delivered again, as the protocol does.
func TestAnyOrderGivesTheSameProofAndNoneGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners := []wire.ID{id('a'), id('b'), id('c')}
		lives := map[wire.ID]life{}
		var inputs []any
		for _, owner := range owners {
			l := drawLife(t, owner)
			lives[owner] = l
			for _, d := range l.digests {
				inputs = append(inputs, d)
			}
			for _, b := range l.beats {
				inputs = append(inputs, b)
			}
		}
		replays := rapid.SliceOfN(rapid.SampledFrom(inputs), 0, 20).Draw(t, "replays")
		order := rapid.Permutation(append(append([]any{}, inputs...), replays...)).Draw(t, "order")

		w := newWorld(t)
		for _, owner := range owners {
			if rapid.Bool().Draw(t, "neighbour") {
				w.table.NeighbourUp(owner, w.now)
			}
		}
		known := map[wire.ID]Proof{}
		deliver := func(input any) (again bool) {
			switch input := input.(type) {
			case wire.Digest:
				_, err := w.table.Digest(input, w.now, w.now)
				require.NoError(t, err)
			case wire.Beat:
				from := rapid.SampledFrom(append(owners, id('r'), id('s'))).Draw(t, "from")
				again = w.beat(from, input) == UnknownAnchor
			}
			for _, owner := range owners {
				p, _ := w.table.Proof(owner)
				require.GreaterOrEqual(t, p.Compare(known[owner]), 0, "%v went back from %v to %v", owner, known[owner], p)
				known[owner] = p
			}
			return again
		}
		var later []any
		for _, input := range order {
			if deliver(input) {
				later = append(later, input)
			}
			w.run(rapid.SampledFrom([]time.Duration{0, 0, time.Second, 10 * time.Second}).Draw(t, "pause"))
		}
		for _, input := range later {
			deliver(input)
		}
		for _, owner := range owners {
			want, status := lives[owner].newest()
			got, _ := w.table.Proof(owner)
			require.Equal(t, want, got)
			require.Equal(t, status == wire.Leaving, w.member(owner).Status == Left)
		}
	})
}

// Up to two beats in a row may be lost, and each may be late, as long as the timeout of a suspicion is not reached.
func TestNobodyDiesWhoBeatsOnTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.SampledFrom([]time.Duration{200, 700, 1000, 10_000}).Draw(t, "interval ms") * time.Millisecond
		late := rapid.SampledFrom([]time.Duration{0, 0, step / 10, step / 2, step}).Draw(t, "latest")
		a := newActorOf(id('a'), 1, wire.MaxBeats)
		a.digest.BeatInterval = step
		w := newWorld(t, func(c *Config) { c.BeatInterval = step })
		w.table.NeighbourUp(a.id(), w.now)
		w.digest(a)
		w.beat(a.id(), a.beat())
		w.story()

		due, lost := epoch.Add(step), 0
		for range 60 {
			beat := a.beat()
			if lost < 2 && rapid.Bool().Draw(t, "lost") {
				lost++
			} else {
				lost = 0
				at := due.Add(time.Duration(rapid.Int64Range(0, int64(late)).Draw(t, "late")))
				for w.now.Add(100 * time.Millisecond).Before(at) {
					w.run(100 * time.Millisecond)
				}
				if at.After(w.now) {
					w.now = at
				}
				w.beat(a.id(), beat)
			}
			due = due.Add(step)
		}
		require.Zero(t, w.table.Counters().Died)
		require.Equal(t, w.table.Counters().Suspected, w.table.Counters().Refuted)
		if late == 0 {
			require.Zero(t, w.table.Counters().Suspected)
		}
	})
}

// A neighbour that falls silent is suspect after three of its intervals if it was regular, after ten whatever it did before;
// dead as much later as Config says. Never sooner.
func TestWhoFallsSilentIsSuspectThenDead(t *testing.T) {
	const tick = 100 * time.Millisecond
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.Int64Range(200, 10_000).Draw(t, "interval ms")) * time.Millisecond
		regular := rapid.Bool().Draw(t, "regular")
		a := newActorOf(id('a'), 1, wire.MaxBeats)
		a.digest.BeatInterval = step
		w := newWorld(t)
		w.table.NeighbourUp(a.id(), w.now)
		w.digest(a)
		for range rapid.IntRange(1, 40).Draw(t, "beats") {
			pause := step
			if !regular {
				pause = time.Duration(rapid.Int64Range(0, int64(3*step)).Draw(t, "pause"))
			}
			for end := w.now.Add(pause); w.now.Before(end); {
				w.now = w.now.Add(min(tick, end.Sub(w.now)))
				w.table.Tick(w.now)
			}
			w.beat(a.id(), a.beat())
		}
		last := w.now
		for w.status(a) == "alive" {
			w.run(tick)
		}
		granted := 3 * step
		if !regular {
			granted = 10 * step
		}
		suspectAt := w.now
		require.Greater(t, suspectAt.Sub(last), 3*step)
		require.LessOrEqual(t, suspectAt.Sub(last), granted+tick)
		for w.status(a) == "suspect" {
			w.run(tick)
		}
		timeout := max(2500*time.Millisecond+step, 3*step) * 3 / 2 // of two nodes
		timeout += timeout * time.Duration(w.table.Ill()) / 2
		require.Equal(t, "dead", w.status(a))
		require.GreaterOrEqual(t, w.now.Sub(suspectAt), timeout)
		require.Less(t, w.now.Sub(suspectAt), timeout+tick)
	})
}

// However often and long this node is stopped, and whether the beats of that time are lost or come afterwards, it accuses none of
// its healthy neighbours.
func TestSleepNeverAccuses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		actors := []*actor{newActorOf(id('a'), 1, wire.MaxBeats), newActorOf(id('b'), 1, wire.MaxBeats)}
		for _, a := range actors {
			w.table.NeighbourUp(a.id(), w.now)
			w.digest(a)
		}
		w.story()
		beats := int64(0) // that were due so far, at n x interval
		for range rapid.IntRange(1, 20).Draw(t, "pauses") {
			w.now = w.now.Add(time.Duration(rapid.Int64Range(0, 5000).Draw(t, "pause ms")) * time.Millisecond)
			lost := rapid.Bool().Draw(t, "lost")
			awake := time.Duration(rapid.IntRange(8, 30).Draw(t, "awake")) * 100 * time.Millisecond
			for end := w.now.Add(awake); ; w.now = w.now.Add(100 * time.Millisecond) {
				if !lost || w.now.Sub(epoch)/interval == time.Duration(beats)+1 {
					w.table.Tick(w.now) // what is buffered may be read after the first judgement
				}
				for ; time.Duration(beats) < w.now.Sub(epoch)/interval; beats++ {
					for _, a := range actors {
						if b := a.beat(); !lost || time.Duration(beats)+1 == w.now.Sub(epoch)/interval {
							w.beat(a.id(), b)
						}
					}
				}
				w.seen = append(w.seen, w.table.Tick(w.now)...)
				if !w.now.Before(end) {
					break
				}
			}
			require.Empty(t, w.story())
		}
	})
}
