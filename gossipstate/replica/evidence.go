package replica

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/store"
)

// noteEquivocation keeps the proof that owner signed two histories. It is said once.
func (t *table) noteEquivocation(tt *topicTable, owner gossipstate.ID, e *gossipstate.Equivocation) {
	if e == nil {
		return
	}
	isNew, evicted := tt.evidence.Add(owner, *e)
	if !isNew {
		return
	}
	t.r.counters.one(CountEquivocation, "proved")
	t.r.log.Error("a member has signed two histories; of two states the same version claims, the one with the larger root is kept",
		"peer", PeerOf(owner), "name", t.nameOf(owner), "topic", tt.name)
	t.disk.note(store.Note{Owner: owner, Topic: tt.name, Proof: &store.Proof{e.Loser, e.Winner}})
	if evicted != (gossipstate.ID{}) {
		t.r.counters.one(CountEquivocation, "evicted")
		t.disk.note(store.Note{Owner: evicted, Topic: tt.name, Drop: true})
	}
}

// flagged says whether there is a proof against owner on any topic: what it signs is pulled by the backstop alone.
func (t *table) flagged(owner gossipstate.ID) bool {
	for _, tt := range t.topics {
		if tt.evidence.Has(owner) {
			return true
		}
	}
	return false
}

// expireEvidence drops proofs against owners that are neither held nor dormant nor in quarantine.
func (t *table) expireEvidence() {
	for _, tt := range t.topics {
		for _, owner := range tt.evidence.Owners() {
			_, _, held := t.members().state.Digest(owner)
			_, quarantined := t.quarantine.Get(owner)
			if held || quarantined || len(t.sleepers.copies[owner]) > 0 {
				continue
			}
			tt.evidence.Remove(owner)
			t.disk.note(store.Note{Owner: owner, Topic: tt.name, Drop: true})
		}
	}
}

// restoreEvidence takes a stored proof that still holds.
func (t *table) restoreEvidence(tt *topicTable, n *store.Note) error {
	e := gossipstate.Equivocation{Loser: n.Proof[0], Winner: n.Proof[1]}
	loser, _, err := e.Verify(tt.domain)
	if err != nil {
		return err
	}
	if loser.Owner != n.Owner {
		return gossipstate.ErrNoEquivocation
	}
	tt.evidence.Add(n.Owner, e)
	return nil
}

// Equivocation is the proof that owner signed two histories on the topic: anybody who knows network and topic can check it.
// ErrNotFound when this replica has none.
func (t *Reader) Equivocation(ctx context.Context, owner peer.ID) (e gossipstate.Equivocation, err error) {
	id, err := OwnerOf(owner)
	if err != nil {
		return e, err
	}
	found := false
	stopped := t.do(ctx, func(_ *table, tt *topicTable) { e, found = tt.evidence.Get(id) })
	switch {
	case stopped != nil:
		return e, stopped
	case !found:
		return e, ErrNotFound
	}
	return e, nil
}
