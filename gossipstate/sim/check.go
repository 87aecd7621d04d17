package sim

import (
	"bytes"
	"crypto/sha256"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/reconcile"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// moment is what a node holds of one owner, as far as the checks know.
type moment struct {
	item   *wire.Item // nil: nothing
	since  time.Duration
	stored bool // it came from disk
}

// heldOf is the moment of n's copy.
func (t *topic) heldOf(n *node) *moment {
	if missing := n.index + 1 - len(t.held); missing > 0 {
		t.held = append(t.held, make([]moment, missing)...)
	}
	return &t.held[n.index]
}

// digest is that of what is held, as far as digests are ordered by it.
func (m *moment) digest() wire.Digest {
	if m.item == nil {
		return wire.Digest{}
	}
	return wire.Digest{Generation: m.item.Generation, Version: m.item.Version, Root: m.item.Root}
}

// compare orders d and what is held, as digests are ordered: negative when d is older.
func (m *moment) compare(d *wire.Digest) int {
	held := m.digest()
	return d.Compare(&held)
}

// stamp names a digest of an owner on one topic.
type stamp struct {
	topic      int
	generation wire.Generation
	version    wire.Version
}

// history is what one owner ever signed.
type history struct {
	said  map[stamp]*said              // at each digest
	model [topics]map[string]wantEntry // the owner's namespace, from its operations alone
}

// said is an owner's state at one digest.
type said struct {
	item wire.Item
	sum  [32]byte // of all entries
}

type wantEntry struct {
	value   []byte
	deleted bool
}

func newHistory() history {
	h := history{said: map[stamp]*said{}}
	h.forget()
	return h
}

// forget is for a node that lost its store: what it wrote before need not come back.
func (h *history) forget() {
	for i := range h.model {
		h.model[i] = map[string]wantEntry{}
	}
}

// record remembers what is about to be installed.
func (h *history) record(t *topic, pending *gossipstate.Pending) {
	d := pending.Digest()
	records := make([]gossipstate.Record, 0, d.Entries)
	entries := pending.Entries()
	for i := range entries {
		records = append(records, gossipstate.Record{Owner: d.Owner, Entry: &entries[i]})
	}
	h.said[stamp{t.index, d.Generation, d.Version}] = &said{itemOf(&d), contents(records)}
}

// itemOf is the item of a copy at d: the one that all share, unless its owner never signed it.
func (s *Sim) itemOf(t *topic, d *wire.Digest) *wire.Item {
	item := itemOf(d)
	if said := s.byID[d.Owner].said.said[stamp{t.index, d.Generation, d.Version}]; said != nil && said.item == item {
		return &said.item
	}
	return &item
}

// contents is a sum over entries in any order.
func contents(records []gossipstate.Record) [32]byte {
	var sum [32]byte
	var buf []byte
	for _, rec := range records {
		buf = wire.AppendEntry(buf[:0], rec.Entry)
		h := sha256.Sum256(buf)
		for i := range sum {
			sum[i] ^= h[i]
		}
	}
	return sum
}

// checkSigned checks a change of the node's own namespace against the operations that made it: every live key is there
// with its value, and no other.
func (p *process) checkSigned(t *topic, pending *gossipstate.Pending, mutations []gossipstate.Mutation) {
	model := p.node.said.model[t.index]
	for _, m := range mutations {
		model[m.Key] = wantEntry{value: m.Value, deleted: m.Delete || m.Withdraw}
	}
	live := 0
	for _, want := range model {
		if !want.deleted {
			live++
		}
	}
	d := pending.Digest()
	entries := pending.Entries()
	for i := range entries {
		e := &entries[i]
		want, known := model[e.Key]
		if !known || want.deleted != e.Tombstone || !bytes.Equal(want.value, e.Value) && !e.Tombstone {
			p.s.fail("node %d signs %q as %q (tombstone %t), but wrote %q (deleted %t)",
				p.node.index, e.Key, e.Value, e.Tombstone, want.value, want.deleted)
		}
		if !e.Tombstone {
			live--
		}
		if e.Version <= d.Floor && e.Tombstone {
			p.s.fail("node %d signs a tombstone at version %d below its floor %d", p.node.index, e.Version, d.Floor)
		}
	}
	if live != 0 {
		p.s.fail("node %d lost %d of its own keys at version %d", p.node.index, live, d.Version)
	}
	// Each change is the next version: even one of the generation alone.
	if before := t.heldOf(p.node).digest(); d.Version != before.Version+1 || d.Generation < before.Generation {
		p.s.fail("node %d signs generation %d version %d after generation %d version %d",
			p.node.index, d.Generation, d.Version, before.Generation, before.Version)
	}
}

// checkApplied checks what an Apply did to the copy of one owner.
func (p *process) checkApplied(t *topic, v *wire.Verified, result *gossipstate.Result, err error) {
	u := v.Update()
	owner := u.Digest.Owner
	before := t.heldOf(p.s.byID[owner])
	now, _, holds := t.state.Digest(owner)
	if n := p.s.byID[owner]; err != nil && !n.lost {
		p.s.fail("node %d: an update of node %d, which never lost its store, does not match: %v", p.node.index, n.index, err)
	}
	if err != nil || result.Outcome != gossipstate.Applied {
		if (before.item != nil) != holds || before.compare(&now) != 0 {
			p.s.fail("node %d: an update of node %d changed its copy although the outcome was %s, %v",
				p.node.index, p.s.byID[owner].index, result.Outcome, err)
		}
		return
	}
	if now != u.Digest {
		p.s.fail("node %d applied one digest of node %d and holds another", p.node.index, p.s.byID[owner].index)
	}
	p.checkCopy(t, owner, result)
	if owner == p.node.id {
		p.node.said.adopt(t, owner)
	}
}

// checkCopy checks the copy of owner after a change: newer than before, and exactly one that its owner signed.
func (p *process) checkCopy(t *topic, owner wire.ID, result *gossipstate.Result) {
	n := p.s.byID[owner]
	d, _, _ := t.state.Digest(owner)
	before := t.heldOf(n)
	if before.item != nil && before.compare(&d) <= 0 {
		p.s.fail("node %d: the copy of node %d went back from generation %d version %d to generation %d version %d",
			p.node.index, n.index, before.item.Generation, before.item.Version, d.Generation, d.Version)
	}
	if before.compare(&result.Old) != 0 {
		p.s.fail("node %d: the copy of node %d was replaced, but not the one it held", p.node.index, n.index)
	}
	*before = moment{item: p.s.itemOf(t, &d), since: p.s.clock}
	signed := n.said.said[stamp{t.index, d.Generation, d.Version}]
	if records := t.state.ListOwned(owner, ""); signed == nil || contents(records) != signed.sum {
		p.s.fail("node %d: the copy of node %d on %s at generation %d version %d is not what its owner signed",
			p.node.index, n.index, topicNames[t.index], d.Generation, d.Version)
	}
}

// adopt makes the copy that a node took of itself, from disk or from peers, what it has written: it may be an old one.
func (h *history) adopt(t *topic, owner wire.ID) {
	model := map[string]wantEntry{}
	for _, rec := range t.state.ListOwned(owner, "") {
		model[rec.Entry.Key] = wantEntry{value: rec.Entry.Value, deleted: rec.Entry.Tombstone}
	}
	h.model[t.index] = model
}

// sawTransition notes a change of a member's status and checks that it can be.
func (p *process) sawTransition(tr *liveness.Transition) {
	s, m := p.s, p.s.byID[tr.Owner]
	s.note(uint64(m.index)<<8 | uint64(tr.To))
	proof, _ := p.live.Proof(tr.Owner)
	if len(s.seen) < maxSeen {
		s.seen = append(s.seen, Seen{
			At: s.clock, By: p.node.index, Member: m.index, From: tr.From, To: tr.To, Generation: proof.Generation,
		})
	}
	if tr.To == liveness.Dead && s.surelyAlive(p.node, m) {
		s.fail("node %d calls node %d dead (%s), which runs and is connected", p.node.index, m.index, tr.Reason)
	}
}

// surelyAlive says whether m has been running and connected to by for so long that by must know.
func (s *Sim) surelyAlive(by, m *node) bool {
	if s.cfg.Loss > 0 || s.cfg.Break > 0 || m.proc == nil || !m.proc.me.published || m.proc.leaving != nil || m.isFrozen() {
		return false
	}
	settled := s.clock - s.proofTime()
	return by.since <= settled && m.since <= settled && s.parted <= settled && s.path(by, m)
}

// proofTime is how long a beat may take to the farthest node: two background periods, and a beat and some hops to settle.
func (s *Sim) proofTime() time.Duration {
	period := max(liveness.BackgroundMin, time.Duration(s.members())*30*time.Second/time.Duration(s.cfg.Liveness.BeatBudget))
	return 2*period + 10*(s.cfg.Liveness.BeatInterval+s.cfg.Latency+s.cfg.Jitter)
}

// CheckConverged says what contradicts that the nodes have converged: copies that differ, or replicas that are equal and
// yet would send each other something. "" when nothing does.
func (s *Sim) CheckConverged() error {
	var first *process
	for _, n := range s.nodes {
		p := n.proc
		if p == nil {
			continue
		}
		if first == nil {
			first = p
		}
		for i, t := range p.topic {
			s.checkEqual(first, p, first.topic[i], t)
		}
	}
	if s.violation != nil {
		return s.violation
	}
	return nil
}

func (s *Sim) checkEqual(a, b *process, x, y *topic) {
	name := topicNames[x.index]
	items := x.state.Items()
	if x.state.Fingerprint() != y.state.Fingerprint() {
		s.fail("nodes %d and %d hold different copies on %s", a.node.index, b.node.index, name)
	}
	if d := reconcile.Compare(items, y.state.Items()); len(d.Ask)+len(d.Send) > 0 {
		s.fail("nodes %d and %d are equal on %s and would exchange something", a.node.index, b.node.index, name)
	}
	for _, it := range items {
		want := wire.Want{Owner: it.Owner, Generation: it.Generation, Version: it.Version}
		if len(y.state.Updates(want, wire.MaxFrame)) > 0 {
			s.fail("node %d would send node %d what it has on %s", b.node.index, a.node.index, name)
		}
	}
	if x.state.Totals() != y.state.Totals() {
		s.fail("nodes %d and %d hold the same digests and count differently on %s", a.node.index, b.node.index, name)
	}
	if y.sum != sumOf(y.state) || y.items.Len() != len(items) {
		s.fail("node %d lost count of what it holds on %s", b.node.index, name)
	}
}

func sumOf(state *gossipstate.State) uint64 {
	var sum uint64
	for _, it := range state.Items() {
		d, _, _ := state.Digest(it.Owner)
		sum += fold(&d)
	}
	return sum
}
