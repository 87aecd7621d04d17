package replica

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// identity is what this node says about itself, and whether it may.
type identity struct {
	generation gossipstate.Generation
	status     wire.Status
	chain      *liveness.Chain
	t0         time.Time // when beat 0 was due
	interval   time.Duration
	published  bool // this node has signed something in this generation
	moved      bool // it has moved above a digest of its own that it did not sign, once
	conflict   bool // it has seen a second one: it does not write any more
}

// renewChain makes a new beat chain whose first beat is due at once: a neighbour watches from the first beat it sees.
func (m *identity) renewChain(self gossipstate.ID, now time.Time) {
	var seed [16]byte
	rand.Read(seed[:])
	m.chain = liveness.NewChain(self, m.generation, seed, wire.MaxBeats)
	m.t0 = now.Add(-m.interval)
}

// beat is the index of the newest beat that is due at now, 0 for none.
func (m *identity) beat(now time.Time) uint32 {
	if m.chain == nil || now.Before(m.t0) {
		return 0
	}
	return uint32(min(int64(now.Sub(m.t0)/m.interval), int64(m.chain.Length())))
}

func (t *table) selfOn(topic string) gossipstate.Self {
	self := gossipstate.Self{ID: t.r.self, Generation: t.me.generation, Status: t.me.status}
	if topic == wire.Members {
		self.BeatAnchor = t.me.chain.Anchor()
		self.BeatT0 = uint64(t.me.t0.UnixMilli())
		self.BeatInterval = t.me.interval
		self.BeatLength = t.me.chain.Length()
	}
	return self
}

// publishSelf signs this node's first digests of this generation. From here on it writes.
func (t *table) publishSelf() error {
	now := time.Now()
	if err := t.raiseGeneration(t.heldGeneration()); err != nil {
		return fmt.Errorf("%w: %w", ErrIdentityConflict, err)
	}
	t.me.interval = t.r.cfg.Liveness.BeatInterval
	t.me.renewChain(t.r.self, now)
	t.me.published = true
	for _, tt := range t.topics {
		if held, _, ok := tt.state.Digest(t.r.self); ok {
			tt.published = held.Version // others have it: a restart ships one digest, not everything
		}
	}
	if _, err := t.commit(t.members(), t.undescribed(&t.r.cfg.Description), now); err != nil {
		return err
	}
	t.openBeats(now)
	return t.renew(now)
}

// renew signs what this node holds of its own from an earlier generation as this one's, so that every topic shows one
// generation. What others have replaced meanwhile it withdraws.
func (t *table) renew(now time.Time) error {
	for _, name := range t.r.topics {
		tt := t.topics[name]
		held, _, ok := tt.state.Digest(t.r.self)
		if !ok || held.Generation == t.me.generation {
			continue
		}
		var keys []string
		for _, rec := range tt.state.ListOwned(t.r.self, "") {
			keys = append(keys, rec.Entry.Key)
		}
		if _, err := t.commit(tt, t.withdrawals(tt, keys), now); err != nil {
			return err
		}
	}
	return nil
}

// heldGeneration is the largest generation of this node's own copies, as adopted from peers: a node that lost its store
// must go above what it said before.
func (t *table) heldGeneration() gossipstate.Generation {
	var largest gossipstate.Generation
	for _, tt := range t.topics {
		if d, _, ok := tt.state.Digest(t.r.self); ok {
			largest = max(largest, d.Generation)
		}
	}
	return largest
}

// commit changes this node's own namespace: prepared, on disk, then visible and published. Nothing is half done on error.
func (t *table) commit(tt *topicTable, mutations []gossipstate.Mutation, now time.Time) (gossipstate.Result, error) {
	if !t.me.published {
		return gossipstate.Result{}, ErrStopped
	}
	if t.me.conflict {
		return gossipstate.Result{}, ErrIdentityConflict
	}
	forgetBefore := uint64(max(0, now.Add(-t.r.cfg.TombstoneTTL).UnixMilli()))
	pending, err := tt.state.Prepare(t.selfOn(tt.name), mutations, t.r.sign, now, forgetBefore)
	if err != nil {
		t.r.counters.one(CountWrites, "refused")
		return gossipstate.Result{}, err
	}
	if err := t.storeOwn(tt, pending, now); err != nil {
		t.r.counters.one(CountStoreFailed, "own")
		return gossipstate.Result{}, fmt.Errorf("writing own state to disk: %w", err)
	}
	result := tt.state.Install(pending)
	t.r.counters.one(CountWrites, "applied")
	t.applied(tt, t.r.self, &result, arrival{heard: true}, now)
	tt.wakePublisher()
	return result, nil
}

func (tt *topicTable) wakePublisher() {
	select {
	case tt.wake <- struct{}{}:
	default:
	}
}

// receiveOwn handles an update that a peer sent and that carries this node's own signature. What is not newer is an echo. One
// of an earlier generation, on a topic where this node has nothing, is its own state: it lost its store and came to publish
// before anybody gave it back. Any other was signed by another process with this key, or by this one before it lost its
// store under a clock that stood ahead: it moves above it once.
func (t *table) receiveOwn(tt *topicTable, v *wire.Verified, a arrival, now time.Time) (gossipstate.Outcome, error) {
	d := &v.Update().Digest
	held, _, ok := tt.state.Digest(t.r.self)
	if ok && d.Compare(&held) <= 0 || t.me.conflict {
		t.r.counters.one(CountDropped, "stale")
		return gossipstate.Stale, nil
	}
	if d.Generation >= t.me.generation {
		if err := t.moveAbove(tt, d, now); err != nil {
			return gossipstate.Stale, err
		}
	}
	outcome := gossipstate.Stale
	if !ok {
		var err error
		if outcome, _, err = t.apply(tt, v, a, now); err != nil {
			return outcome, err
		}
	}
	return outcome, t.renew(now)
}

// moveAbove takes a generation above d, once per process. The second time there is another process that does the same.
func (t *table) moveAbove(tt *topicTable, d *gossipstate.Digest, now time.Time) error {
	t.r.counters.one(CountDropped, "own_newer")
	if t.me.moved || t.raiseGeneration(d.Generation) != nil {
		t.me.conflict = true
		t.r.log.Error("another process uses this identity: this node writes no more", "topic", tt.name, "generation", d.Generation)
		return ErrIdentityConflict
	}
	t.me.moved = true
	t.me.renewChain(t.r.self, now) // the chain is bound to the generation
	return nil
}

// expire writes tombstones for this node's keys whose time is over.
func (t *table) expire(tt *topicTable, now time.Time) {
	if !t.me.published || t.me.conflict {
		return
	}
	var expired []gossipstate.Mutation
	for _, key := range tt.state.Expired(t.r.self, now) {
		// With the entry's own clock: it ends what it wrote, not what another writes meanwhile.
		expired = append(expired, gossipstate.Mutation{Key: key, Withdraw: true})
	}
	if len(expired) == 0 {
		return
	}
	if _, err := t.commit(tt, expired, now); err != nil && !errors.Is(err, ErrIdentityConflict) {
		t.r.log.Warn("cannot expire keys", "topic", tt.name, "error", err)
	}
}
