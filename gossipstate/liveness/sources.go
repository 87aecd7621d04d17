package liveness

import (
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// hashTime is how long a source waits to earn one hash.
const hashTime = (time.Second + HashRate - 1) / HashRate

// source is a peer that beats come from, as a neighbour of its own accord or as a relay.
type source struct {
	neighbour bool      // beats run between it and this node
	hurried   uint64    // the last urgent beat that it got
	full      time.Time // when its hash budget is whole again; the past: it is
}

// spend takes n hashes from the budget of from and reports whether they were there. (Generic cell rate algorithm: one
// time stamp is the whole bucket.)
func (t *Table) spend(from wire.ID, n uint32, now time.Time) bool {
	if n == 0 {
		return true
	}
	s, known := t.sources[from]
	if !known && !t.roomForSource(now) {
		return false
	}
	if s.full.Before(now) {
		s.full = now
	}
	full := s.full.Add(time.Duration(n) * hashTime)
	if full.Sub(now) > HashRate*hashTime {
		return false
	}
	s.full = full
	t.sources[from] = s
	t.counters.Hashes += uint64(n)
	return true
}

// roomForSource makes room for one more source if it can.
func (t *Table) roomForSource(now time.Time) bool {
	if len(t.sources) >= MaxSources {
		t.pruneSources(now)
	}
	return len(t.sources) < MaxSources
}

// pruneSources drops those of which nothing needs to be remembered: a whole budget is the same as none.
func (t *Table) pruneSources(now time.Time) {
	for id, s := range t.sources {
		if !s.neighbour && !s.full.After(now) {
			delete(t.sources, id)
		}
	}
}
