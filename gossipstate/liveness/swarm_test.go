package liveness

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// swarm is a network of many tables in virtual time: a random graph of beat streams, digests and lists spread by rumor and by
// sync, messages delayed and lost. One seed decides everything.
type swarm struct {
	t     *testing.T
	rng   *rand.Rand
	nodes []*swarmNode
	now   time.Time
	queue map[time.Time][]func()
	loss  float64
	apart func(a, b int) bool // nil: all can reach each other

	relayedBytes int
	seen         []sighting
}

// sighting is a transition with who saw it.
type sighting struct {
	by, of int
	Transition
}

// record is what one node holds of another.
type record struct {
	digest wire.Digest
	list   []byte
}

type swarmNode struct {
	index  int
	id     wire.ID
	links  []int
	digest wire.Digest
	chain  *Chain
	t0     time.Time
	table  *Table // nil: it does not run
	state  []record
	frozen bool
	inbox  []func() // while frozen
	since  time.Time
	silent bool // its host is gone too: nothing answers a dial
	// lies, if set, replaces the list that it publishes; asked every 100 ms.
	lies func() []Accusation
	// hook, if set, takes part in every frame that it sends to peer.
	hook func(peer int) []wire.Beat
}

const swarmStep = 10 * time.Millisecond

func newSwarm(t *testing.T, n, degree int, seed uint64, change ...func(*Config)) *swarm {
	s := &swarm{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: epoch, queue: map[time.Time][]func(){}}
	for i := range n {
		s.nodes = append(s.nodes, &swarmNode{index: i, id: sha256.Sum256([]byte{byte(i), byte(i >> 8)})})
	}
	for i := range n { // a ring with chords: connected, about degree each
		s.link(i, (i+1)%n)
		for len(s.nodes[i].links) < min(degree, n-1) {
			s.link(i, s.rng.IntN(n))
		}
	}
	for i := range n {
		s.start(i, change...)
	}
	return s
}

func (s *swarm) link(a, b int) {
	if a == b || contains(s.nodes[a].links, b) {
		return
	}
	s.nodes[a].links = append(s.nodes[a].links, b)
	s.nodes[b].links = append(s.nodes[b].links, a)
}

func contains(list []int, x int) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

func (s *swarm) start(i int, change ...func(*Config)) {
	n := s.nodes[i]
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	table, err := New(cfg, n.id, s.now)
	require.NoError(s.t, err)
	n.table, n.state, n.since = table, make([]record, len(s.nodes)), s.now
	n.t0 = s.now.Add(-time.Duration(s.rng.IntN(70)) * swarmStep)
	n.digest = wire.Digest{Owner: n.id, Generation: n.digest.Generation + 1, Version: n.digest.Version, BeatInterval: interval}
	seed := [16]byte{byte(i), byte(i >> 8), byte(n.digest.Generation)}
	n.chain = NewChain(n.id, n.digest.Generation, seed, 1024)
	n.digest.BeatAnchor, n.digest.BeatLength = n.chain.Anchor(), n.chain.Length()
	s.publish(n, nil)
	for _, j := range n.links {
		if peer := s.nodes[j]; peer.table != nil {
			n.table.NeighbourUp(peer.id, s.now)
			peer.table.NeighbourUp(n.id, s.now)
			s.sync(n, peer)
		}
	}
}

// after calls f at node to when d has passed, if it runs then: a frozen one finds it when it wakes.
func (s *swarm) after(d time.Duration, to *swarmNode, f func()) {
	at := s.now.Add(max(d.Truncate(swarmStep), swarmStep))
	table := to.table
	s.queue[at] = append(s.queue[at], func() {
		if to.table == nil || to.table != table {
			return
		}
		if to.frozen {
			to.inbox = append(to.inbox, f)
			return
		}
		f()
	})
}

// send delivers f at b, unless it is lost on the way.
func (s *swarm) send(a, b *swarmNode, f func()) {
	delay := time.Duration(20+s.rng.IntN(80)) * time.Millisecond
	if b.table == nil || s.loss > 0 && s.rng.Float64() < s.loss || !s.path(a, b) {
		return
	}
	s.after(delay, b, f)
}

// ask delivers f at b over a stream: what is lost on the way is sent again.
func (s *swarm) ask(a, b *swarmNode, f func()) {
	delay := time.Duration(20+s.rng.IntN(80)) * time.Millisecond
	for s.loss > 0 && s.rng.Float64() < s.loss {
		delay += 150 * time.Millisecond
	}
	if b.table != nil && s.path(a, b) {
		s.after(delay, b, f)
	}
}

func (s *swarm) path(a, b *swarmNode) bool { return s.apart == nil || !s.apart(a.index, b.index) }

func (s *swarm) saw(n *swarmNode, all []Transition) {
	for _, tr := range all {
		for _, of := range s.nodes {
			if of.id == tr.Owner {
				s.seen = append(s.seen, sighting{n.index, of.index, tr})
			}
		}
	}
}

// publish signs a new digest with the list.
func (s *swarm) publish(n *swarmNode, list []Accusation) {
	n.digest.Version++
	s.take(n, n.index, record{n.digest, MarshalAccusations(list)})
}

// take gives n a record of a node, and passes it on when it is newer.
func (s *swarm) take(n *swarmNode, of int, r record) {
	if r.digest.Version == 0 || r.digest.Compare(&n.state[of].digest) <= 0 {
		return
	}
	n.state[of] = r
	seen, err := n.table.Digest(r.digest, s.now, s.now)
	require.NoError(s.t, err)
	s.saw(n, seen)
	list, err := UnmarshalAccusations(r.list)
	require.NoError(s.t, err)
	s.saw(n, n.table.Accuses(r.digest.Owner, list, s.now))
	for _, j := range n.links {
		peer := s.nodes[j]
		s.send(n, peer, func() { s.take(peer, of, r) })
	}
}

// sync makes two nodes' states equal.
func (s *swarm) sync(a, b *swarmNode) {
	for of := range s.nodes {
		s.take(a, of, b.state[of])
		s.take(b, of, a.state[of])
	}
}

// frame is one frame of a beat stream.
func (s *swarm) frame(n, peer *swarmNode, own bool) {
	var beats []wire.Beat
	if k := uint32(s.now.Sub(n.t0) / interval); own && k > 0 {
		beats = append(beats, n.chain.Beat(k))
	}
	relayed := n.table.RelayTo(peer.id, s.now)
	s.relayedBytes += len(relayed) * BeatBytes
	beats = append(beats, relayed...)
	if n.hook != nil {
		beats = append(beats, n.hook(peer.index)...)
	}
	s.send(n, peer, func() {
		for _, b := range beats {
			_, seen, err := peer.table.Beat(n.id, b, s.now)
			require.NoError(s.t, err)
			s.saw(peer, seen)
		}
	})
}

func (s *swarm) turn(n *swarmNode) {
	at := s.now.Sub(n.t0)
	if at%interval == 0 {
		for _, j := range n.links {
			s.frame(n, s.nodes[j], true)
		}
	}
	if at%(100*time.Millisecond) != 0 {
		return
	}
	s.saw(n, n.table.Tick(s.now))
	if list, changed := n.table.Suspects(); n.lies != nil {
		if list = n.lies(); list != nil {
			s.publish(n, list)
		}
	} else if changed || n.table.MustSign(s.now) {
		s.publish(n, list)
	}
	for _, p := range n.table.Probes() {
		s.probe(n, p)
	}
	for _, j := range n.links {
		if n.table.Urgent(s.nodes[j].id) {
			s.frame(n, s.nodes[j], false)
		}
	}
	if at%time.Second == 0 && len(n.links) > 0 {
		peer := s.nodes[n.links[s.rng.IntN(len(n.links))]]
		if peer.table != nil && !peer.frozen && s.path(n, peer) {
			s.sync(n, peer)
		}
	}
}

// probe asks as an adapter would: a neighbour answers with its newest beat, and dials when it has none that is newer.
func (s *swarm) probe(n *swarmNode, p Probe) {
	of := s.of(p.Owner)
	known, _ := n.table.Proof(p.Owner)
	for _, id := range p.Via {
		via := s.of(id)
		answered := false
		answer := func(a Answer) {
			if answered {
				return
			}
			answered = true
			b, ok := via.table.NewestBeat(p.Owner)
			s.ask(via, n, func() {
				if ok {
					_, seen, err := n.table.Beat(via.id, b, s.now)
					require.NoError(s.t, err)
					s.saw(n, seen)
				}
				s.saw(n, n.table.Probed(p.Owner, via.id, a, s.now))
			})
		}
		s.ask(n, via, func() {
			if has, _ := via.table.Proof(p.Owner); has.Compare(known) > 0 {
				answer(Unreachable)
			} else {
				s.dial(via, of, answer)
				s.after(ProbeTimeout/2, via, func() { answer(Unreachable) })
			}
		})
	}
	if p.Dial {
		s.dial(n, of, func(a Answer) { s.saw(n, n.table.Probed(p.Owner, n.id, a, s.now)) })
	}
}

// dial tells n what comes of a dial, if anything does.
func (s *swarm) dial(n, of *swarmNode, told func(Answer)) {
	if of.table == nil && !of.silent && s.path(n, of) {
		s.after(50*time.Millisecond, n, func() { told(PortRefused) })
	}
	s.ask(n, of, func() { s.ask(of, n, func() { told(Reached) }) })
}

func (s *swarm) of(id wire.ID) *swarmNode {
	for _, n := range s.nodes {
		if n.id == id {
			return n
		}
	}
	panic("no such node")
}

// run lets d pass.
func (s *swarm) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(swarmStep)
		due := s.queue[s.now]
		delete(s.queue, s.now)
		for _, f := range due {
			f()
		}
		for _, n := range s.nodes {
			if n.table != nil && !n.frozen {
				s.turn(n)
			}
		}
	}
}

// kill ends a process. With resets its neighbours learn at once that nothing listens there; otherwise it falls silent.
func (s *swarm) kill(i int, resets bool) {
	n := s.nodes[i]
	n.table, n.silent, n.inbox, n.frozen = nil, !resets, nil, false
	for _, j := range n.links {
		if peer := s.nodes[j]; resets && peer.table != nil {
			s.after(20*time.Millisecond, peer, func() { s.saw(peer, peer.table.NeighbourDown(n.id, ConnectionLost, s.now)) })
			s.after(30*time.Millisecond, peer, func() { s.saw(peer, peer.table.NeighbourDown(n.id, RedialRefused, s.now)) })
		}
	}
}

func (s *swarm) freeze(i int) { s.nodes[i].frozen = true }

func (s *swarm) thaw(i int) {
	n := s.nodes[i]
	n.frozen = false
	inbox := n.inbox
	n.inbox = nil
	s.saw(n, n.table.Tick(s.now))
	for _, f := range inbox {
		f()
	}
	for _, j := range n.links {
		s.frame(n, s.nodes[j], true) // an overdue beat goes at once
	}
}

// count is how many running nodes have that status for of in their tables, except of itself and who is in not.
func (s *swarm) count(of int, status Status, not ...int) (n int) {
	for _, by := range s.nodes {
		if by.table != nil && by.index != of && !contains(not, by.index) {
			if m := by.table.members[s.nodes[of].id]; m != nil && m.status == status {
				n++
			}
		}
	}
	return n
}

func (s *swarm) running() (n int) {
	for _, by := range s.nodes {
		if by.table != nil {
			n++
		}
	}
	return n
}

// deadAt is when the last of the running nodes saw of dead, since from; ok is false unless all have.
func (s *swarm) deadAt(of int, from time.Time) (last time.Duration, ok bool) {
	for _, x := range s.seen {
		if x.of == of && x.To == Dead && x.At.After(from) {
			last = max(last, x.At.Sub(from))
		}
	}
	return last, s.count(of, Dead) == s.running()
}

// deaths are the sightings of death of those for whom f is true.
func (s *swarm) deaths(f func(of int) bool) (all []string) {
	for _, x := range s.seen {
		if x.To == Dead && f(x.of) {
			all = append(all, fmt.Sprintf("%v: %d by %d: %s", x.At.Sub(epoch), x.of, x.by, x.Reason))
		}
	}
	return all
}

func (s *swarm) suspicions() (n int) {
	for _, x := range s.seen {
		if x.To == Suspect {
			n++
		}
	}
	return n
}

func everybody(int) bool { return true }

func (s *swarm) counters() (sum Counters) {
	for _, n := range s.nodes {
		if n.table != nil {
			c := n.table.Counters()
			sum.Accusations += c.Accusations
			sum.AccusationsEarly += c.AccusationsEarly
			sum.AccusationsFalse += c.AccusationsFalse
			sum.AccusersIgnored += c.AccusersIgnored
			sum.Probes += c.Probes
			sum.UrgentDropped += c.UrgentDropped
			sum.SignedToRefute += c.SignedToRefute
		}
	}
	return sum
}
