package sim

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// path is how an update came.
type path uint8

const (
	byRumor path = iota
	bySync
	byBeat
	paths
)

// arrival says how an update came.
type arrival struct {
	from  *link
	by    path
	age   time.Duration // since the owner's last proof of life, as the sender knows it
	heard bool          // the owner itself said it just now
	own   bool          // a change by this node itself
}

// receive takes in a verified update of a peer. newer is true when it is not applied and its digest is newer than any seen
// of its owner.
func (p *process) receive(t *topic, v *wire.Verified, a arrival, now time.Time) (
	outcome gossipstate.Outcome, newer bool, err error,
) {
	owner := v.Update().Digest.Owner
	if owner == p.node.id && p.me.published {
		outcome, err = p.receiveOwn(t, v, a, now)
		return outcome, false, err
	}
	if owner != p.node.id && p.refuses(t, &v.Update().Digest, a.age) {
		p.node.Forgotten++
		return gossipstate.Stale, false, nil
	}
	if t.index != members && owner != p.node.id {
		if _, _, known := p.topic[members].state.Digest(owner); !known {
			p.requestPull(p.topic[members], owner, a.from, now)
			p.node.OwnerUnknown++
			return gossipstate.Gap, false, nil
		}
	}
	return p.apply(t, v, a, now)
}

// apply puts an update into the state and sees to what follows from it.
func (p *process) apply(t *topic, v *wire.Verified, a arrival, now time.Time) (
	outcome gossipstate.Outcome, newer bool, err error,
) {
	u := v.Update()
	owner := u.Digest.Owner
	result, err := t.state.Apply(v, a.from.owner, now)
	p.s.note(uint64(result.Outcome))
	p.checkApplied(t, v, &result, err)
	switch {
	case errors.Is(err, gossipstate.ErrRootMismatch):
		p.node.Mismatches++
		if p.requestSnapshot(t, owner, a.from, now) {
			t.noteGap(&u.Digest)
		}
		return 0, false, err
	case err != nil:
		p.node.Full++
		return 0, false, err
	}
	switch result.Outcome {
	case gossipstate.Applied:
		p.node.Applied[a.by]++
		p.applied(t, owner, &result, a, now)
	case gossipstate.Gap:
		p.node.Gaps++
		newer = p.requestPullOf(t, u, a.from, now) && t.noteGap(&u.Digest)
	case gossipstate.Stale:
		p.node.Stale++
	}
	return result.Outcome, newer, nil
}

// noteGap remembers the newest digest seen of an owner whose copy lags, while it is pulled; true when d is it.
func (t *topic) noteGap(d *wire.Digest) bool {
	if seen, ok := t.newest[d.Owner]; ok && d.Compare(&seen) <= 0 {
		return false
	}
	t.newest[d.Owner] = *d
	return true
}

// applied follows up a change of an owner's copy.
func (p *process) applied(t *topic, owner wire.ID, result *gossipstate.Result, a arrival, now time.Time) {
	digest, _, _ := t.state.Digest(owner)
	t.list(&result.Old, &digest)
	if !t.lags(owner) {
		delete(t.newest, owner)
		p.dropPull(t, owner)
	}
	if t.index == members {
		p.quarantine.Lift(owner)
		heard := now
		if !a.heard {
			heard = now.Add(-a.age)
		}
		p.tellLiveness(&digest, heard, now)
	}
	if !a.own {
		p.withdrawBeaten(t, result, now)
	}
}

func (p *process) tellLiveness(d *wire.Digest, heard, now time.Time) {
	if p.node.follows {
		return
	}
	transitions, err := p.live.Digest(*d, heard, now)
	if err != nil {
		p.s.fail("node %d: the member table refused %s: %v", p.node.index, d.Owner, err)
	}
	p.transitions(transitions)
	p.heed(d.Owner, now)
}

// withdrawBeaten writes tombstones for this node's live entries that a change of another owner has beaten.
func (p *process) withdrawBeaten(t *topic, result *gossipstate.Result, now time.Time) {
	if !p.me.published || p.me.conflict {
		return
	}
	var keys []string
	for _, e := range result.Changed {
		keys = append(keys, e.Key)
	}
	if withdrawals := p.withdrawals(t, keys); len(withdrawals) > 0 {
		p.commitOwn(t, withdrawals, now)
	}
}

// withdrawals are what to write for those of keys under which another owner's entry beats a live one of this node.
func (p *process) withdrawals(t *topic, keys []string) []gossipstate.Mutation {
	var all []gossipstate.Mutation
	for _, key := range t.state.Beaten(p.node.id, keys) {
		all = append(all, gossipstate.Mutation{Key: key, Withdraw: true})
	}
	return all
}

func itemOf(d *wire.Digest) wire.Item {
	return wire.Item{Owner: d.Owner, Generation: d.Generation, Version: d.Version, Root: d.Root}
}

// fold makes a number of what is held of one owner. Nobody here forges: it need not be a hash.
func fold(d *wire.Digest) uint64 {
	x := binary.BigEndian.Uint64(d.Owner[:8])
	for _, y := range [...]uint64{uint64(d.Generation), uint64(d.Version), binary.BigEndian.Uint64(d.Root[:8])} {
		x = (x ^ y) * 0x9e3779b97f4a7c15
		x ^= x >> 29
	}
	return x
}

// transitions follows up what the failure detector found. Whatever it is told, what it returns goes here, so that what else it
// has come up with is looked at.
func (p *process) transitions(all []liveness.Transition) {
	p.stirred = true
	for i := range all {
		p.sawTransition(&all[i])
	}
}
