package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// identity is what a process says about its node, and whether it may.
type identity struct {
	generation wire.Generation
	status     wire.Status
	chain      *liveness.Chain
	t0         time.Time // when beat 0 was due
	interval   time.Duration
	published  bool // it has signed something in this generation
	moved      bool // it has moved above a digest of its own that it did not sign, once
	conflict   bool // it has seen a second one: it does not write any more
}

// renewChain makes a new beat chain whose first beat is due at once.
func (p *process) renewChain(now time.Time) {
	var seed [16]byte
	binary.BigEndian.PutUint64(seed[:], p.rng.Uint64())
	binary.BigEndian.PutUint64(seed[8:], p.rng.Uint64())
	p.me.chain = liveness.NewChain(p.node.id, p.me.generation, seed, p.s.cfg.BeatLength)
	p.me.t0 = now.Add(-p.me.interval)
}

// beat is the index of the newest beat that is due at now, 0 for none.
func (m *identity) beat(now time.Time) uint32 {
	if m.chain == nil || now.Before(m.t0) {
		return 0
	}
	return uint32(min(int64(now.Sub(m.t0)/m.interval), int64(m.chain.Length())))
}

func (p *process) selfOn(t *topic) gossipstate.Self {
	self := gossipstate.Self{ID: p.node.id, Generation: p.me.generation, Status: p.me.status}
	if t.index == members {
		self.BeatAnchor = p.me.chain.Anchor()
		self.BeatT0 = uint64(p.node.wall(p.me.t0).UnixMilli())
		self.BeatInterval = p.me.interval
		self.BeatLength = p.me.chain.Length()
	}
	return self
}

// publishSelf signs the first digest of this process's generation, with the node's name: from here on it writes. It
// comes after the first sync, or when Config.FirstSync is over.
func (p *process) publishSelf() {
	if p.me.published || p.leaving != nil || p.node.follows {
		return
	}
	now := p.s.now()
	if !p.raiseGeneration(p.heldGeneration()) {
		return
	}
	p.me.interval = p.s.cfg.Liveness.BeatInterval
	p.renewChain(now)
	p.me.published = true
	var mutations []gossipstate.Mutation
	if name := p.topic[members].state.GetOwned(p.node.id, nameKey); !name.Live() {
		mutations = append(mutations, gossipstate.Mutation{Key: nameKey, Value: fmt.Appendf(nil, "n%d", p.node.index)})
	}
	for _, t := range p.topic {
		if held, _, ok := t.state.Digest(p.node.id); ok {
			t.published = held.Version // others have it: a restart ships one digest, not everything
		}
	}
	p.commitOwn(p.topic[members], mutations, now)
	p.heedAll(now)
	p.openBeats(now)
	p.scheduleBeats(now)
	p.renew(now)
}

// renew signs what this node holds of its own from an earlier generation as this one's. What others have replaced meanwhile
// it withdraws.
func (p *process) renew(now time.Time) {
	for _, t := range p.topic {
		held, _, ok := t.state.Digest(p.node.id)
		if !ok || held.Generation == p.me.generation {
			continue
		}
		var keys []string
		for _, rec := range t.state.ListOwned(p.node.id, "") {
			keys = append(keys, rec.Entry.Key)
		}
		p.commitOwn(t, p.withdrawals(t, keys), now)
	}
}

const nameKey = "node.name"

// heldGeneration is the largest generation of this node's own copies, as loaded or as adopted from peers.
func (p *process) heldGeneration() wire.Generation {
	var largest wire.Generation
	for _, t := range p.topic {
		if d, _, ok := t.state.Digest(p.node.id); ok {
			largest = max(largest, d.Generation)
		}
	}
	return largest
}

// raiseGeneration takes a generation above another's digest of this identity; false when there is none.
func (p *process) raiseGeneration(above wire.Generation) bool {
	if above == math.MaxUint64 {
		p.me.conflict = true
		return false
	}
	p.me.generation = max(p.me.generation, above+1)
	p.node.disk.generation = p.me.generation
	return true
}

// ErrNotRunning: the node is down, or has not published itself yet, or leaves, or another process uses its identity.
var ErrNotRunning = errors.New("sim: the node cannot write now")

// commit changes the node's own namespace on t. Errors are those of gossipstate.State.Prepare, and ErrNotRunning.
func (p *process) commit(t *topic, mutations []gossipstate.Mutation, now time.Time) error {
	if !p.me.published || p.me.conflict {
		return ErrNotRunning
	}
	wall := p.node.wall(now)
	forgetBefore := uint64(max(0, wall.Add(-p.s.cfg.TombstoneTTL).UnixMilli()))
	pending, err := t.state.Prepare(p.selfOn(t), mutations, p.node.sign, wall, forgetBefore)
	if err != nil {
		return err
	}
	p.node.said.record(t, pending)
	p.checkSigned(t, pending, mutations)
	result := t.state.Install(pending)
	p.checkCopy(t, p.node.id, &result)
	p.applied(t, p.node.id, &result, arrival{own: true, heard: true}, now)
	p.wakePublisher(t)
	return nil
}

// commitOwn is commit for what cannot be refused.
func (p *process) commitOwn(t *topic, mutations []gossipstate.Mutation, now time.Time) {
	if err := p.commit(t, mutations, now); err != nil && !errors.Is(err, ErrNotRunning) {
		p.s.fail("node %d: a change of its own making on %s was refused: %v", p.node.index, topicNames[t.index], err)
	}
}

// receiveOwn handles an update of this node's own that came from a peer. What is not newer is an echo. One of an earlier
// generation, on a topic where this node has nothing, is its own state from before it lost its store. Any other was signed
// by another process, or before it lost its store under a clock that stood ahead: it moves above it once.
func (p *process) receiveOwn(t *topic, v *wire.Verified, a arrival, now time.Time) (gossipstate.Outcome, error) {
	d := &v.Update().Digest
	held, _, ok := t.state.Digest(p.node.id)
	if ok && d.Compare(&held) <= 0 || p.me.conflict {
		p.node.Stale++
		return gossipstate.Stale, nil
	}
	if d.Generation >= p.me.generation && !p.moveAbove(d, now) {
		return gossipstate.Stale, nil
	}
	outcome := gossipstate.Stale
	if !ok {
		var err error
		if outcome, _, err = p.apply(t, v, a, now); err != nil {
			return outcome, err
		}
	}
	p.renew(now)
	return outcome, nil
}

// moveAbove takes a generation above d, once per process.
func (p *process) moveAbove(d *wire.Digest, now time.Time) bool {
	p.node.OwnNewer++
	if p.me.moved || !p.raiseGeneration(d.Generation) {
		p.me.conflict = true
		return false
	}
	p.me.moved = true
	p.renewChain(now) // it is bound to the generation
	return true
}

// expire writes tombstones for this node's keys whose time is over.
func (p *process) expire(t *topic, now time.Time) {
	if !p.me.published || p.me.conflict {
		return
	}
	var expired []gossipstate.Mutation
	for _, key := range t.state.Expired(p.node.id, p.node.wall(now)) {
		expired = append(expired, gossipstate.Mutation{Key: key, Withdraw: true})
	}
	if len(expired) > 0 {
		p.commitOwn(t, expired, now)
	}
}
