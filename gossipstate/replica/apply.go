package replica

import (
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// arrival says how an update came.
type arrival struct {
	from  peer.ID
	path  string        // label of CountApplied: rumor, sync, beat, import
	age   time.Duration // since the owner's last proof of life, as the sender knows it
	heard bool          // the owner itself said it just now
	beat  *wire.Beat    // that came with it: the newest that the sender knows of the owner; unchecked, nil: none
}

// cause is what watchers are told.
func (a arrival) cause() Cause {
	if a.from == "" {
		return CauseWrite
	}
	return Cause(a.path)
}

// sender is the owner that a.from is. Peers without an owner's identity get no further than the handshake of a stream.
func (a arrival) sender() gossipstate.ID {
	id, _ := OwnerOf(a.from)
	return id
}

// receive takes in a verified update of a peer: the one way by which state of others gets into the table. newer is true when
// the update is not applied and its digest is newer than any seen of its owner.
func (t *table) receive(tt *topicTable, v *wire.Verified, a arrival, now time.Time) (outcome gossipstate.Outcome, newer bool, err error) {
	digest := &v.Update().Digest
	owner := digest.Owner
	if owner == t.r.self {
		if t.me.published {
			outcome, err = t.receiveOwn(tt, v, a, now)
			return outcome, false, err
		}
		if tt.name == wire.Members {
			t.noteOwnLife(digest, a.beat)
		}
	} else if why := t.refusal(tt, digest, a, now); why != "" {
		t.r.counters.one(CountDropped, why)
		return gossipstate.Stale, false, nil
	}
	if tt.name != wire.Members && owner != t.r.self {
		if _, _, known := t.members().state.Digest(owner); !known {
			t.requestPull(t.members(), owner, a.from, now)
			t.r.counters.one(CountDropped, "owner_unknown")
			return gossipstate.Gap, false, nil
		}
	}
	if tt.name == wire.Members {
		t.wake(owner, a.age, now)
	}
	return t.apply(tt, v, a, now)
}

// apply puts an update into the state and sees to what follows from it.
func (t *table) apply(tt *topicTable, v *wire.Verified, a arrival, now time.Time) (outcome gossipstate.Outcome, newer bool, err error) {
	u := v.Update()
	owner := u.Digest.Owner
	result, err := tt.state.Apply(v, a.sender(), now)
	t.noteEquivocation(tt, owner, result.Equivocation)
	switch {
	case errors.Is(err, gossipstate.ErrMixedParts):
		t.r.counters.one(CountDropped, "mixed_parts") // whose fault it was is not known: it is fetched again, from one peer
		t.requestPull(tt, owner, a.from, now)
		return 0, false, err
	case errors.Is(err, gossipstate.ErrRootMismatch):
		t.r.counters.one(CountDropped, "root_mismatch")
		t.requestSnapshot(tt, owner, a.from, now)
		return 0, false, err
	case err != nil:
		t.r.counters.one(CountDropped, "replica_full")
		return 0, false, err
	}
	switch result.Outcome {
	case gossipstate.Applied:
		t.r.counters.one(CountApplied, a.path)
		t.applied(tt, owner, &result, a, now)
	case gossipstate.Gap:
		t.r.counters.one(CountDropped, "gap")
		newer = t.requestPullOf(tt, u, a.from, now) && tt.noteGap(&u.Digest)
	case gossipstate.Stale:
		t.r.counters.one(CountDropped, "stale")
	}
	return result.Outcome, newer, nil
}

// noteGap remembers the newest digest seen of an owner whose copy lags, while it is pulled; true when d is it.
func (tt *topicTable) noteGap(d *gossipstate.Digest) bool {
	if seen, ok := tt.newest[d.Owner]; ok && d.Compare(&seen) <= 0 {
		return false
	}
	tt.newest[d.Owner] = *d
	return true
}

// applied follows up a change of an owner's copy, by a peer or by this node itself.
func (t *table) applied(tt *topicTable, owner gossipstate.ID, result *gossipstate.Result, a arrival, now time.Time) {
	digest, _, _ := tt.state.Digest(owner)
	tt.list(owner)
	if seen, ok := tt.newest[owner]; ok && seen.Compare(&digest) <= 0 {
		delete(tt.newest, owner)
		delete(t.pulls, pullKey{tt.name, owner})
	}
	remote := a.from != ""
	if remote {
		d := t.disk.dirty(tt.name, owner)
		d.change(result)
	}
	if tt.name == wire.Members {
		t.liftQuarantine(owner)
		t.membersChanged(&digest, a, now)
	}
	t.notify(tt, result.Events, a.cause())
	if remote {
		t.withdrawBeaten(tt, result, now)
	}
}

// membersChanged tells the failure detector of a newer digest on members.
func (t *table) membersChanged(d *gossipstate.Digest, a arrival, now time.Time) {
	heard := now
	if !a.heard {
		heard = now.Add(-a.age)
	}
	transitions, err := t.live.Digest(*d, heard, now)
	if err != nil {
		t.r.counters.one(CountDropped, "member_table_full")
		return
	}
	t.transitions(transitions)
	t.heed(d.Owner, now)
}

// withdrawBeaten writes tombstones for this node's live entries that a change of another owner has beaten.
func (t *table) withdrawBeaten(tt *topicTable, result *gossipstate.Result, now time.Time) {
	if !t.me.published || t.me.conflict {
		return
	}
	var keys []string
	for _, e := range result.Changed {
		keys = append(keys, e.Key)
	}
	withdrawals := t.withdrawals(tt, keys)
	if len(withdrawals) == 0 {
		return
	}
	if _, err := t.commit(tt, withdrawals, now); err != nil {
		t.r.log.Warn("cannot withdraw values that others have replaced", "topic", tt.name, "error", err)
	}
}

// withdrawals are what to write for those of keys under which another owner's entry beats a live one of this node.
func (t *table) withdrawals(tt *topicTable, keys []string) []gossipstate.Mutation {
	var all []gossipstate.Mutation
	for _, key := range tt.state.Beaten(t.r.self, keys) {
		all = append(all, gossipstate.Mutation{Key: key, Withdraw: true})
	}
	return all
}

// countFault counts what a peer sent against the rules, by reason. False when err is something else.
func (r *Replica) countFault(err error) bool {
	label := reason(err)
	if label != "" {
		r.counters.one(CountDropped, label)
	}
	return label != ""
}

// reason is the label of an error of package wire, "" of any other.
func reason(err error) string {
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return "too_large"
	case errors.Is(err, wire.ErrBadSignature):
		return "bad_signature"
	case errors.Is(err, wire.ErrMalformed):
		return "malformed"
	default:
		return ""
	}
}
