package replica

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/store"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

const (
	lifeRate  = 10 // beats a second that are checked for owners who are forgotten or dormant; each costs up to 4,096 hashes
	lifeBurst = 20 // at one time
)

// forget drops an owner from every topic and puts it into quarantine: a peer that remembers longer does not bring it back.
func (t *table) forget(owner gossipstate.ID, now time.Time) {
	if digest, _, held := t.members().state.Digest(owner); held {
		f := gossipstate.Forgotten{Owner: owner, Generation: digest.Generation, Version: digest.Version, Since: now}
		if proof, known := t.live.Proof(owner); known && proof.Generation == f.Generation && proof.Version == f.Version {
			f.Beat = proof.Index
		}
		t.quarantineOwner(f)
	}
	for _, tt := range t.topics {
		result := tt.state.Drop(owner)
		if result.Outcome != gossipstate.Applied {
			continue
		}
		tt.items.Delete(owner)
		t.notify(tt, result.Events, CauseForgotten)
		t.disk.dirty(tt.name, owner).all()
	}
	t.live.Forget(owner)
	t.r.counters.one(CountForget, "forgotten")
}

func (t *table) quarantineOwner(f gossipstate.Forgotten) {
	t.disk.note(store.Note{Owner: f.Owner, Forgotten: &store.Forgotten{
		Generation: f.Generation, Version: f.Version, Beat: f.Beat, Since: f.Since,
	}})
	for _, evicted := range t.quarantine.Add(f) {
		t.r.counters.one(CountForget, "evicted")
		t.disk.note(store.Note{Owner: evicted, Drop: true})
	}
}

// liftQuarantine follows a larger proof of life of an owner.
func (t *table) liftQuarantine(owner gossipstate.ID) {
	if t.quarantine.Lift(owner) {
		t.r.counters.one(CountForget, "returned")
		t.disk.note(store.Note{Owner: owner, Drop: true})
	}
}

// expireMemories ends what is remembered of forgotten owners when its time is over.
func (t *table) expireMemories(now time.Time) {
	for _, owner := range t.quarantine.Expire(now) {
		t.r.counters.one(CountForget, "expired")
		t.disk.note(store.Note{Owner: owner, Drop: true})
	}
	t.expireDormant(now)
	t.expireEvidence()
}

// refusal is the reason for which an update of another owner is not looked at, "" for none.
func (t *table) refusal(tt *topicTable, d *gossipstate.Digest, a arrival, now time.Time) string {
	if d.Owner.Weak() {
		return "bad_identity"
	}
	if tt.name != wire.Members {
		if _, quarantined := t.quarantine.Get(d.Owner); quarantined {
			return "quarantined" // its digest on members shows whether it lives
		}
	} else if t.quarantine.Refuses(d) && !t.liftedByBeat(d, a.beat, now) {
		return "quarantined"
	}
	if _, _, held := tt.state.Digest(d.Owner); !held && a.age > t.r.cfg.Liveness.ForgetAfter {
		return "forgotten" // a replica that was away for long would teach it to all again
	}
	return ""
}

// liftedByBeat ends the quarantine of d's owner when b is a beat of it that is newer than when it was forgotten.
func (t *table) liftedByBeat(d *gossipstate.Digest, b *wire.Beat, now time.Time) bool {
	if b == nil || t.quarantine.RefusesBeat(d, b.Index) || !t.lifeChecks.take(now) || !liveness.Proves(d, *b) {
		return false
	}
	t.liftQuarantine(d.Owner)
	return true
}

// newestBeat is the newest beat known of owner, to go with its copy of members; nil when there is none, and elsewhere.
func (t *table) newestBeat(topic string, owner gossipstate.ID) *wire.Beat {
	if topic != wire.Members {
		return nil
	}
	b, known := t.live.NewestBeat(owner)
	if owner == t.r.self && t.me.published && t.me.beat(time.Now()) > 0 {
		b, known = t.me.chain.Beat(t.me.beat(time.Now())), true
	}
	if !known {
		return nil
	}
	return &b
}

// forgottenAs tells owner, a peer that says hello, at which point it was forgotten here; nil when it was not.
func (t *table) forgottenAs(owner gossipstate.ID) *wire.Forgotten {
	f, there := t.quarantine.Get(owner)
	if !there {
		return nil
	}
	return &wire.Forgotten{Generation: f.Generation, Version: f.Version}
}

// toldForgotten follows a peer's word that it has forgotten this node. It counts before the first publication alone, and only
// when this node was away for long by its own stamps too: else any peer could have it withdraw what it wrote.
func (t *table) toldForgotten(f *wire.Forgotten, now time.Time) {
	if f == nil || t.me.published || t.me.returned {
		return
	}
	if away := now.Sub(t.me.lastLife); away >= 0 && away < t.r.cfg.Liveness.ForgetAfter/2 {
		t.r.counters.one(CountForget, "disbelieved")
		return
	}
	t.me.returned = true
	t.r.counters.one(CountForget, "told")
}

// sharedOf are the keys of this node's live entries that others may have written meanwhile.
func (t *table) sharedOf(tt *topicTable) []gossipstate.Mutation {
	var all []gossipstate.Mutation
	for _, rec := range tt.state.ListOwned(t.r.self, "") {
		if rec.Live() && gossipstate.Shared(tt.name, rec.Entry.Key) {
			all = append(all, gossipstate.Mutation{Key: rec.Entry.Key, Withdraw: true})
		}
	}
	return all
}
