package replica

import (
	"errors"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate"
	"github.com/p2pnode/p2pnode/gossipstate/liveness"
	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// dormant is a stored copy whose owner was silent for so long, when it was loaded, that it may have been forgotten by all:
// nobody is told of it and nobody reads it until its owner is heard or a peer offers it.
type dormant struct {
	topic string
	copy  wire.Verified
}

// sleepers are the dormant copies of all topics, as many as were on disk.
type sleepers struct {
	copies map[gossipstate.ID][]dormant // members first
	until  map[gossipstate.ID]time.Time // then the owner is forgotten
	names  map[uint32]gossipstate.ID    // by the name of their anchor
}

func newSleepers() sleepers {
	return sleepers{copies: map[gossipstate.ID][]dormant{}, until: map[gossipstate.ID]time.Time{}, names: map[uint32]gossipstate.ID{}}
}

// add lays a verified copy aside.
func (s *sleepers) add(topic string, v wire.Verified, until time.Time) {
	d := &v.Update().Digest
	s.copies[d.Owner] = append(s.copies[d.Owner], dormant{topic, v})
	if _, known := s.until[d.Owner]; !known || topic == wire.Members {
		s.until[d.Owner] = until // the stamp beside a copy of members is kept up to date
	}
	if topic == wire.Members {
		s.names[d.BeatAnchor.Name()] = d.Owner
	}
}

// take removes and returns what is laid aside of owner.
func (s *sleepers) take(owner gossipstate.ID) []dormant {
	copies := s.copies[owner]
	delete(s.copies, owner)
	delete(s.until, owner)
	for i := range copies {
		name := copies[i].copy.Update().Digest.BeatAnchor.Name()
		if copies[i].topic == wire.Members && s.names[name] == owner {
			delete(s.names, name)
		}
	}
	return copies
}

// digest is that of owner's dormant copy on members, nil when there is none.
func (s *sleepers) digest(owner gossipstate.ID) *gossipstate.Digest {
	for i := range s.copies[owner] {
		if s.copies[owner][i].topic == wire.Members {
			return &s.copies[owner][i].copy.Update().Digest
		}
	}
	return nil
}

// sleepsUntil says whether a copy whose owner was last heard at stamp is to lie dormant, and until when it is kept. A stamp in
// the future comes from a clock that was wrong then or is now: it says nothing.
func (t *table) sleepsUntil(stamp, now time.Time) (until time.Time, dormant bool) {
	forgetAfter := t.r.cfg.Liveness.ForgetAfter
	switch {
	case stamp.IsZero():
		return now.Add(forgetAfter / 2), false
	case stamp.After(now):
		return now.Add(forgetAfter / 2), true
	default:
		return stamp.Add(forgetAfter), now.Sub(stamp) > forgetAfter/2
	}
}

// wake takes in the dormant copies of an owner that proved its life age ago.
func (t *table) wake(owner gossipstate.ID, age time.Duration, now time.Time) {
	for _, d := range t.sleepers.take(owner) {
		tt := t.topics[d.topic]
		if _, _, known := t.members().state.Digest(owner); !known && d.topic != wire.Members {
			t.disk.dirty(d.topic, owner).all() // its copy of members could not be taken
			continue
		}
		result, err := tt.state.Apply(&d.copy, t.r.self, now)
		if err != nil || result.Outcome != gossipstate.Applied {
			t.notWoken(tt, owner, err)
			continue
		}
		t.r.counters.one(CountForget, "woken")
		tt.list(owner)
		if d.topic == wire.Members {
			t.membersChanged(&d.copy.Update().Digest, arrival{age: age}, now)
		}
		t.notify(tt, result.Events, CauseSync)
		t.withdrawBeaten(tt, &result, now)
	}
}

// notWoken follows a dormant copy that could not be taken in: it does not match its root, finds no room, or, err being nil, a
// newer one was there before it.
func (t *table) notWoken(tt *topicTable, owner gossipstate.ID, err error) {
	t.disk.dirty(tt.name, owner).all() // what is on disk is not what later changes are against
	if err == nil {
		return
	}
	label := "stored_damaged"
	if errors.Is(err, gossipstate.ErrLimit) {
		label = "replica_full"
	}
	t.r.counters.one(CountDropped, label)
	t.r.log.Warn("a stored copy cannot be taken in; it will be fetched again", "topic", tt.name, "owner", owner, "error", err)
}

// wakeByBeat takes in the copies of the dormant owner that b proves alive, and says whether there was one.
func (t *table) wakeByBeat(b wire.Beat, now time.Time) bool {
	owner, known := t.sleepers.names[b.Anchor]
	if !known || !t.lifeChecks.take(now) || !liveness.Proves(t.sleepers.digest(owner), b) {
		return false
	}
	t.wake(owner, 0, now)
	return true
}

// expireDormant forgets dormant owners of whom nothing was heard until their time was over.
func (t *table) expireDormant(now time.Time) {
	for owner, until := range t.sleepers.until {
		if until.After(now) {
			continue
		}
		if d := t.sleepers.digest(owner); d != nil {
			t.quarantineOwner(gossipstate.Forgotten{Owner: owner, Generation: d.Generation, Version: d.Version, Since: now})
		}
		for _, copy := range t.sleepers.take(owner) {
			t.disk.dirty(copy.topic, owner).all()
		}
		t.r.counters.one(CountForget, "forgotten")
	}
}
