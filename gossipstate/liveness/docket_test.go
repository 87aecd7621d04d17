package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Whatever members say of each other, true or not, and whatever happens to them meanwhile, the table keeps its books: each
// accusation is held once, by its accuser and against the accused, the own list is one that everybody would take, a hash
// budget bounds what the lies cost, and no proof of life becomes smaller.
func TestTheBooksAreKeptWhateverIsSaid(t *testing.T) {
	names := []byte("abcdem")
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, table: newTable(t, func(c *Config) { c.Trusting = rapid.Bool().Draw(t, "trusting") }), now: epoch, deaf: true}
		of := map[byte]*actor{}
		for _, name := range names {
			of[name] = newActor(name, 1)
		}
		w.digest(of['m'])
		name := func(label string) byte { return rapid.SampledFrom(names).Draw(t, label) }
		drawList := func() (list []Accusation) {
			for _, of := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 5, rapid.ID[byte]).Draw(t, "accused") {
				a := drawAccusation(t)
				a.Owner = id(of)
				if m := w.table.members[a.Owner]; m != nil && rapid.Bool().Draw(t, "likely") {
					a.Last, a.Preimage = m.proof(), m.newest()
				}
				list = append(list, a)
			}
			return list
		}
		known := map[byte]Proof{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			who := of[name("who")]
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				w.digest(who)
			case 1:
				who.digest.Version++
				who.digest.Status = wire.Status(rapid.IntRange(0, 1).Draw(t, "status"))
				w.digest(who)
			case 2:
				*who = *newActor(who.digest.Owner[0], who.digest.Generation+1)
				w.digest(who)
			case 3:
				if w.table.Forget(who.id()) {
					delete(known, who.id()[0])
				}
			case 4:
				w.table.NeighbourUp(who.id(), w.now)
			case 5:
				w.down(who.id(), Loss(rapid.IntRange(1, 4).Draw(t, "loss")))
			case 6:
				if who.next < who.chain.Length() {
					w.beat(id(name("from")), who.beat())
				}
			case 7, 8:
				list := drawList()
				w.accuses(who, list...)
			case 9:
				w.run(rapid.SampledFrom([]time.Duration{100 * time.Millisecond, time.Second, 20 * time.Second}).Draw(t, "pause"))
			}
			for _, p := range w.table.Probes() {
				if rapid.Bool().Draw(t, "answered") {
					w.table.Probed(p.Owner, id('m'), Answer(rapid.IntRange(1, 3).Draw(t, "answer")), w.now)
				}
			}
			w.table.MustSign(w.now)
			if list, changed := w.table.Suspects(); changed {
				MarshalAccusations(list)
				w.table.Accuses(id('m'), list, w.now)
			}
			w.checkBooks(known)
		}
		require.LessOrEqual(t, w.table.Counters().Hashes, uint64(len(names))*HashRate*uint64(1+w.now.Sub(epoch)/time.Second))
	})
}

// checkBooks compares what the table holds twice.
func (w *world) checkBooks(known map[byte]Proof) {
	table, unlisted, charges, said := w.table, 0, 0, len(w.table.mine)
	for owner, d := range table.dockets {
		require.NotEmpty(w.t, d.charges)
		for i, c := range d.charges {
			charges++
			require.Same(w.t, table.members[c.by.owner], c.by, "an accuser is a member")
			require.Equal(w.t, owner, c.Owner)
			require.True(w.t, i == 0 || d.charges[i-1].by.owner.Compare(c.by.owner) < 0)
		}
	}
	for _, m := range table.order {
		require.Same(w.t, table.dockets[m.owner], m.docket)
		if m.unlisted {
			unlisted++
		}
		for _, a := range m.accuses {
			if a.Owner != m.owner {
				said++
			}
		}
		p := m.proof()
		require.GreaterOrEqual(w.t, p.Compare(known[m.owner[0]]), 0)
		known[m.owner[0]] = p
	}
	require.Equal(w.t, said, charges)
	require.Equal(w.t, unlisted, table.unlisted)
}

// An accusation may prove a beat so new that the own one, which stands before it in the docket, is withdrawn on the way.
func TestAnAccusationThatRefutesTheOwnOneStandsAlone(t *testing.T) {
	w := newWorld(t)
	x, z := newActor('x', 1), newActor('z', 1) // z comes behind this node, which is m
	w.neighbours(x, z)
	w.run(10*time.Second, z)
	own, _ := w.table.Suspects()
	require.Len(t, own, 1)
	var newest wire.Beat
	for range 2 * MissedBeats {
		newest = x.beat()
	}
	last := own[0].Last
	last.Index = newest.Index
	w.accuses(z, Accusation{Owner: x.id(), Last: last, Preimage: newest.Preimage})
	own, _ = w.table.Suspects()
	require.Empty(t, own)
	proof, _ := w.table.Proof(x.id())
	require.Equal(t, last, proof)
	require.Equal(t, []wire.ID{z.id()}, accusersOf(w.table, x.id()))
}

func accusersOf(t *Table, owner wire.ID) (ids []wire.ID) {
	for _, c := range t.dockets[owner].charges {
		ids = append(ids, c.by.owner)
	}
	return ids
}
