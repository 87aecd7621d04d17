package liveness

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// urgent is a proof of life that every neighbour gets at once, because it refutes an accusation.
type urgent struct {
	seq uint64
	m   *member
}

// hurry has the newest beat of m go to every neighbour at once: the first time that it refutes something.
func (t *Table) hurry(m *member) {
	if p := m.proof(); m.owner != t.self && p.Index > 0 && m.hurried != p {
		m.hurried = p
		m.unrelayed, m.targets = false, nil
		if len(t.urgents) == wire.MaxFrameBeats {
			t.counters.UrgentDropped++
			t.urgents = slices.Delete(t.urgents, 0, 1)
		}
		t.urgentSeq++
		t.urgents = append(t.urgents, urgent{t.urgentSeq, m})
	}
}

// Urgent says whether RelayTo holds something for the neighbour that should not wait for the next own beat: a refutation.
func (t *Table) Urgent(neighbour wire.ID) bool {
	s := t.sources[neighbour]
	return s.neighbour && len(t.urgents) > 0 && t.urgents[len(t.urgents)-1].seq > s.hurried
}

// RelayTo returns the beats to pass on to one neighbour now: first those that refute an accusation, all of them; then newest first,
// what the budget holds. That is Config.BeatBudget for all neighbours together: it fills up with time to what one second
// gives, and whatever goes to one is not there for the others. Each beat goes to at most RelayFanout neighbours, not to whom it came
// from, and each owner's again after a background period: that reaches most members within one period and all within some. Own beats are not relayed, nor those of the dead and left.
// At most wire.MaxFrameBeats - 1, so that the own beat has room beside them. Nil for who is no neighbour.
func (t *Table) RelayTo(neighbour wire.ID, now time.Time) []wire.Beat {
	now = t.observe(now)
	s := t.sources[neighbour]
	if !s.neighbour {
		return nil
	}
	var beats []wire.Beat
	for _, u := range t.urgents {
		if u.seq <= s.hurried || len(beats) == wire.MaxFrameBeats-1 {
			continue
		}
		s.hurried = u.seq
		if u.m.owner != neighbour && u.m.status != 0 && u.m.status != Left && u.m.verifier.index > 0 {
			beats = append(beats, u.m.beat())
		}
	}
	t.sources[neighbour] = s
	t.earn(now)
	if t.credit < BeatBytes {
		t.counters.BeatsRelayed += uint64(len(beats))
		return beats
	}
	for _, m := range t.dueFor(now) {
		if t.credit < BeatBytes || len(beats) == wire.MaxFrameBeats-1 {
			break
		}
		i := slices.Index(m.targets, neighbour)
		if i < 0 || !m.due(t, now) {
			continue
		}
		if m.targets = slices.Delete(m.targets, i, i+1); len(m.targets) == 0 {
			m.unrelayed, m.relayedAt = false, now
		}
		t.credit -= BeatBytes
		beats = append(beats, m.beat())
	}
	t.counters.BeatsRelayed += uint64(len(beats))
	return beats
}

// earn fills the relay budget up.
func (t *Table) earn(now time.Time) {
	budget := float64(t.cfg.BeatBudget)
	t.credit = min(t.credit+budget*now.Sub(t.earned).Seconds(), max(budget, BeatBytes))
	t.earned = now
}

func (m *member) due(t *Table, now time.Time) bool {
	return m.unrelayed && m.owner != t.self && (m.status == Alive || m.status == Suspect) && now.Sub(m.relayedAt) >= t.period
}

// dueFor is what there is to relay, newest first, at least as many as the budget of a second holds if there are so many. It
// is looked up anew every relayEvery: all members are looked at for it.
func (t *Table) dueFor(now time.Time) []*member {
	if now.Sub(t.dueAt) < relayEvery {
		return t.dueList
	}
	t.dueAt, t.dueList = now, t.dueList[:0]
	var near []wire.ID
	for id, s := range t.sources {
		if s.neighbour {
			near = append(near, id)
		}
	}
	slices.SortFunc(near, wire.ID.Compare)
	room := min(t.cfg.BeatBudget/BeatBytes+32, 4096)
	for _, m := range t.order {
		last := len(t.dueList) - 1
		if !m.due(t, now) || last+1 == room && !m.beatAt.After(t.dueList[last].beatAt) {
			continue
		}
		if !t.aim(m, near) {
			continue
		}
		if last+1 == room {
			t.dueList = t.dueList[:last]
		}
		i, _ := slices.BinarySearchFunc(t.dueList, m.beatAt, func(x *member, at time.Time) int {
			return cmp.Or(at.Compare(x.beatAt), -1) // after those of the same time
		})
		t.dueList = slices.Insert(t.dueList, i, m)
	}
	return t.dueList
}

// aim settles which neighbours get the next beats of m: others each time. It reports whether there are any.
func (t *Table) aim(m *member, near []wire.ID) bool {
	m.targets = slices.DeleteFunc(m.targets, func(id wire.ID) bool { return !t.sources[id].neighbour })
	if len(m.targets) > 0 {
		return true
	}
	seed := mix(binary.BigEndian.Uint64(m.owner[:]) ^ binary.BigEndian.Uint64(t.self[:]) ^ uint64(m.verifier.index))
	for i := range near {
		id := near[(seed+uint64(i))%uint64(len(near))]
		if id != m.owner && id != m.bringer && len(m.targets) < RelayFanout {
			m.targets = append(m.targets, id)
		}
	}
	return len(m.targets) > 0
}

// beat is the newest known; its index is not 0.
func (m *member) beat() wire.Beat {
	return wire.Beat{Anchor: m.digest.BeatAnchor.Name(), Index: m.verifier.index, Preimage: m.verifier.preimage}
}
