package replica

import (
	"errors"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
)

const (
	accuseEvery = publishEvery // whom this node accuses is written at most so often: what comes within it goes together
	accuseRetry = time.Second  // after a write that failed
)

// heed gives the failure detector whom owner accuses, as its copy of members says it now. Before this node takes part itself it
// heeds nobody: what it has on disk may long be withdrawn.
func (t *table) heed(owner gossipstate.ID, now time.Time) {
	if t.r.follows || !t.me.published {
		return
	}
	var list []liveness.Accusation
	if rec := t.members().state.GetOwned(owner, liveness.SuspectsKey); rec.Live() {
		var err error
		if list, err = liveness.UnmarshalAccusations(rec.Entry.Value); err != nil {
			t.r.counters.one(CountAccusation, "malformed")
			list = nil
		}
	}
	t.transitions(t.live.Accuses(owner, list, now))
}

// heedAll is heed of everyone, this node included.
func (t *table) heedAll(now time.Time) {
	for _, item := range t.members().state.Items() {
		t.heed(item.Owner, now)
	}
}

// react does what the failure detector has come up with by what it was told.
func (t *table) react(now time.Time) {
	if !t.stirred || t.r.follows {
		return
	}
	t.stirred = false
	t.accuse(now)
	t.askAbout(now)
	t.hasten(now)
}

// accuse publishes whom this node accuses when that has changed, or a renewed digest when it must refute a quorum.
func (t *table) accuse(now time.Time) {
	if !t.beats() || now.Before(t.nextAccuse) {
		return
	}
	var mutations []gossipstate.Mutation
	list, changed := t.live.Suspects()
	if changed {
		mutations = append(mutations, accusing(list))
	} else if !t.live.MustSign(now) {
		return
	}
	t.nextAccuse = now.Add(accuseEvery)
	if _, err := t.commit(t.members(), mutations, now); err != nil {
		t.nextAccuse = now.Add(accuseRetry)
		if !errors.Is(err, ErrIdentityConflict) {
			t.r.counters.one(CountAccusation, "failed")
			t.r.log.Warn("cannot publish whom this node finds silent", "error", err)
		}
		return
	}
	if changed {
		t.r.counters.one(CountAccusation, "published")
	} else {
		t.r.counters.one(CountAccusation, "refuted")
	}
}

// countAccusations shows what the failure detector has counted of accusations and of what it could not do.
func (t *table) countAccusations() {
	n := t.live.Counters()
	c := &t.r.counters
	c.set(CountAccusation, "early", n.AccusationsEarly)
	c.set(CountAccusation, "false", n.AccusationsFalse)
	c.set(CountAccusation, "unlisted", n.AccusationsFull)
	c.set(CountAccusation, "accuser_ignored", n.AccusersIgnored)
	c.set(CountAccusation, "accuser_unknown", n.AccusersUnknown)
	c.set(CountProbe, "put_off", n.ProbesFull)
	c.set(CountBeat, "refutation_dropped", n.UrgentDropped)
}

func accusing(list []liveness.Accusation) gossipstate.Mutation {
	return gossipstate.Mutation{Key: liveness.SuspectsKey, Value: liveness.MarshalAccusations(list)}
}

// acquitting withdraws what this node has published against others: nil when that is nothing.
func (t *table) acquitting() []gossipstate.Mutation {
	if rec := t.members().state.GetOwned(t.r.self, liveness.SuspectsKey); !rec.Live() || len(rec.Entry.Value) == 0 {
		return nil
	}
	return []gossipstate.Mutation{accusing(nil)}
}
