package liveness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
	"github.com/p2pnode/p2pnode/testnet/puretest"
)

func TestPure(t *testing.T) { puretest.Check(t, ".") }

// epoch is when every test starts.
var epoch = time.UnixMilli(1_700_000_000_000)

const interval = 700 * time.Millisecond

// actor is an owner as it is on its own machine.
type actor struct {
	digest wire.Digest
	chain  *Chain
	next   uint32 // index of its next beat
}

func id(name byte) (id wire.ID) {
	for i := range id {
		id[i] = name
	}
	return id
}

// newActor starts a process of the owner with that name: same name and generation, same chain.
func newActor(name byte, generation wire.Generation) *actor {
	return newActorOf(id(name), generation, 300)
}

func newActorOf(owner wire.ID, generation wire.Generation, length uint32) *actor {
	a := &actor{digest: wire.Digest{Owner: owner, Generation: generation, BeatInterval: interval}}
	a.anchor(length)
	return a
}

// anchor signs a new chain.
func (a *actor) anchor(length uint32) {
	a.digest.Version++
	var seed [16]byte
	copy(seed[:8], a.digest.Owner[:8])
	seed[8], seed[9] = byte(a.digest.Version), byte(a.digest.Generation)
	a.chain = NewChain(a.digest.Owner, a.digest.Generation, seed, length)
	a.digest.BeatAnchor, a.digest.BeatLength = a.chain.Anchor(), length
	a.next = 1
}

func (a *actor) id() wire.ID { return a.digest.Owner }

// beat is its next beat.
func (a *actor) beat() wire.Beat {
	a.next++
	return a.chain.Beat(a.next - 1)
}

// newTable is the table of the node "m" at epoch. It is no member yet, and so judges nobody.
func newTable(t require.TestingT, change ...func(*Config)) *Table {
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	table, err := New(cfg, id('m'), epoch)
	require.NoError(t, err)
	return table
}

func trusting(c *Config) { c.Trusting = true }

// world drives one table through time. Its node is a member, and so one of every quorum.
type world struct {
	t     require.TestingT
	table *Table
	self  *actor
	now   time.Time
	seen  []Transition
	deaf  bool // probes are left to the test; else everybody answers at once that nobody is there
}

func newWorld(t require.TestingT, change ...func(*Config)) *world {
	w := &world{t: t, table: newTable(t, change...), self: newActor('m', 1), now: epoch}
	w.digest(w.self)
	w.seen = nil
	return w
}

// relayed is what goes to a new neighbour at once.
func (w *world) relayed(to wire.ID) []wire.Beat {
	w.table.NeighbourUp(to, w.now)
	return w.table.RelayTo(to, w.now)
}

func (w *world) digest(a *actor) {
	seen, err := w.table.Digest(a.digest, w.now, w.now)
	require.NoError(w.t, err)
	w.seen = append(w.seen, seen...)
}

func (w *world) beat(from wire.ID, b wire.Beat) Outcome {
	outcome, seen, err := w.table.Beat(from, b, w.now)
	require.NoError(w.t, err)
	w.seen = append(w.seen, seen...)
	return outcome
}

func (w *world) down(owner wire.ID, why Loss) {
	w.seen = append(w.seen, w.table.NeighbourDown(owner, why, w.now)...)
	w.answer()
}

// answer has everybody who was asked find nobody.
func (w *world) answer() {
	if w.deaf {
		return
	}
	for _, p := range w.table.Probes() {
		for _, via := range p.Via {
			w.seen = append(w.seen, w.table.Probed(p.Owner, via, Unreachable, w.now)...)
		}
		if p.Dial {
			w.seen = append(w.seen, w.table.Probed(p.Owner, w.table.self, Unreachable, w.now)...)
		}
	}
}

// neighbours makes each actor a member that beats directly, ready to be watched for silence.
func (w *world) neighbours(actors ...*actor) {
	for _, a := range actors {
		w.table.NeighbourUp(a.id(), w.now)
		w.digest(a)
	}
	w.run(3*interval, actors...)
	w.seen = nil
}

// run lets d pass with a Tick every 100 ms, in which the given neighbours beat every 700 ms.
func (w *world) run(d time.Duration, beating ...*actor) {
	for passed := 100 * time.Millisecond; passed <= d; passed += 100 * time.Millisecond {
		w.now = w.now.Add(100 * time.Millisecond)
		if w.now.Sub(epoch)%interval == 0 {
			for _, a := range beating {
				w.beat(a.id(), a.beat())
			}
		}
		w.seen = append(w.seen, w.table.Tick(w.now)...)
		w.answer()
	}
}

// member is the row of one owner.
func (w *world) member(owner wire.ID) Member {
	for _, m := range w.table.Members(w.now) {
		if m.Owner == owner {
			return m
		}
	}
	return Member{}
}

func (w *world) status(a *actor) string { return w.member(a.id()).Status.String() }

// story is what happened since the last call, as "a alive->suspect" and so on.
func (w *world) story() []string {
	told := []string{}
	for _, s := range w.seen {
		told = append(told, string(s.Owner[:1])+" "+s.From.String()+"->"+s.To.String())
	}
	w.seen = nil
	return told
}
