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
	first      gossipstate.Generation // the generation of the first publication
	status     wire.Status
	chain      *liveness.Chain
	t0         time.Time // when beat 0 was due
	interval   time.Duration
	published  bool // this node has signed something in this generation
	moved      bool // it has moved above a digest of its own that it did not sign, once
	conflict   bool // it has seen a second one: it does not write any more

	// Before the first publication.
	lastLife time.Time      // when this node last signed, by its store; zero: not known
	life     liveness.Proof // the largest proof of life of this identity that peers showed
	returned bool           // peers have forgotten this node
	withdrew int            // shared keys that it withdrew for that
}

// renewChain makes a new beat chain whose first beat is due at once: a neighbour watches from the first beat it sees. The later
// ones are due at whole multiples of the interval by this node's clock, so that nodes with one interval and good clocks wake up
// together: to send, and for what the others send.
func (m *identity) renewChain(self gossipstate.ID, now time.Time) {
	var seed [16]byte
	rand.Read(seed[:])
	m.chain = liveness.NewChain(self, m.generation, seed, wire.MaxBeats)
	m.t0 = now.Add(-m.interval)
	if m.interval > 0 {
		m.t0 = m.t0.Add(-time.Duration(now.UnixNano() % int64(m.interval))) // not Truncate: it is no part of a running clock
	}
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
	t.me.first = t.me.generation
	t.me.published = true
	for _, tt := range t.topics {
		if held, _, ok := tt.state.Digest(t.r.self); ok {
			tt.published = held.Version // others have it: a restart ships one digest, not everything
		}
	}
	if _, err := t.commit(t.members(), t.undescribed(&t.r.cfg.Description), now); err != nil {
		return err
	}
	t.heedAll(now)
	t.openBeats(now)
	if err := t.renew(now); err != nil {
		return err
	}
	t.sayReturned()
	return nil
}

// sayReturned tells that this node has withdrawn its shared keys.
func (t *table) sayReturned() {
	if t.me.withdrew > 0 {
		t.r.log.Warn("peers had forgotten this node: it has withdrawn its shared keys, which may have been deleted meanwhile",
			"keys", t.me.withdrew)
	}
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
		withdrawals := t.withdrawals(tt, keys)
		if t.me.returned && held.Generation < t.me.first { // what this process writes is new
			withdrawals = t.sharedOf(tt)
			t.me.withdrew += len(withdrawals)
			t.r.counters.add(CountForget, "withdrawn", uint64(len(withdrawals)))
		}
		if _, err := t.commit(tt, withdrawals, now); err != nil {
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
	pending, err := tt.state.Prepare(t.selfOn(tt.name), mutations, t.r.sign, now, t.forgetBefore(now))
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

// receiveOwn handles an update that a peer sent and that carries this node's own signature. What is not newer is an echo,
// unless it is a second history under the same version, which this process did not sign. One of an earlier generation, on a
// topic where this node has nothing, is its own state: it lost its store and came to publish before anybody gave it back. Any
// other was signed by another process with this key, or by this one before it lost its store under a clock that stood ahead:
// it moves above it once.
func (t *table) receiveOwn(tt *topicTable, v *wire.Verified, a arrival, now time.Time) (gossipstate.Outcome, error) {
	d := &v.Update().Digest
	held, signed, ok := tt.state.Digest(t.r.self)
	forked := ok && gossipstate.Contradict(d, &held)
	if ok && d.Compare(&held) <= 0 && !forked || t.me.conflict {
		t.r.counters.one(CountDropped, "stale")
		return gossipstate.Stale, nil
	}
	if forked {
		proof := gossipstate.NewEquivocation(signed, v.Update().Signed, held.Root, d.Root)
		t.noteEquivocation(tt, t.r.self, &proof)
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

// moveAbove takes a generation above d, once per process. The second time there is another process that does the same; and of
// two, the younger gives way: a generation one above this process's own first one was taken in answer to it, by a process
// that was there before.
func (t *table) moveAbove(tt *topicTable, d *gossipstate.Digest, now time.Time) error {
	t.r.counters.one(CountDropped, "own_newer")
	answered := !t.me.moved && d.Generation == t.me.first+1
	if t.me.moved || answered || t.raiseGeneration(d.Generation) != nil {
		t.me.conflict = true
		t.r.counters.one(CountIdentity, "stopped")
		t.r.log.Error("another process uses this identity: this node writes no more", "topic", tt.name, "generation", d.Generation)
		return ErrIdentityConflict
	}
	t.me.moved = true
	t.r.counters.one(CountIdentity, "moved")
	t.r.log.Error("another process has signed with this identity, or this node lost its memory: this node goes above it, once",
		"topic", tt.name, "generation", d.Generation)
	t.me.renewChain(t.r.self, now) // the chain is bound to the generation
	return nil
}

// forgetTombstones raises the floor past this node's own tombstones whose time is over, though it writes nothing else.
func (t *table) forgetTombstones(tt *topicTable, now time.Time) {
	if !t.me.published || t.me.conflict || !tt.state.CanForget(t.r.self, t.forgetBefore(now)) {
		return
	}
	if _, err := t.commit(tt, nil, now); err != nil && !errors.Is(err, ErrIdentityConflict) {
		t.r.log.Warn("cannot drop old tombstones", "topic", tt.name, "error", err)
	}
}

// forgetBefore is the time, unix ms, before which this node's tombstones were written that it need not keep.
func (t *table) forgetBefore(now time.Time) uint64 {
	return uint64(max(0, now.Add(-t.r.cfg.TombstoneTTL).UnixMilli()))
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
