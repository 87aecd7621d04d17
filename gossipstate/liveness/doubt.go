package liveness

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// Loss says how the beats between a neighbour and this node ended, or what became of the redial.
type Loss uint8

const (
	// ConnectionLost: it broke, a redial is under way. The neighbour is still expected to beat.
	ConnectionLost Loss = iota + 1
	// RedialRefused: its host answers and nothing listens on its port. The process is gone.
	RedialRefused
	// RedialUnanswered: no answer to the redial: host or path is gone.
	RedialUnanswered
	// Released: one side closed the connection on purpose. The member is far from now on.
	Released
)

// NeighbourUp says that beats can now run between owner and this node. Owner need not be a member yet. It is watched from
// its first own beat on.
func (t *Table) NeighbourUp(owner wire.ID, now time.Time) {
	now = t.observe(now)
	s, known := t.sources[owner]
	if !known && !t.roomForSource(now) {
		t.counters.SourcesFull++
		return
	}
	if !s.neighbour {
		s.hurried = t.urgentSeq
	}
	s.neighbour = true
	t.sources[owner] = s
	m := t.members[owner]
	if m == nil {
		return
	}
	m.grounds = none
	if c := t.own(m); c != nil {
		c.Refused, t.listOld = false, true // something listens, after all
	}
}

// NeighbourDown says that no beats can run between owner and this node any more, and why; after ConnectionLost it is called
// again with the result of the redial unless that succeeded. Only a watched member, one that this node has seen alive, is
// accused for it, when other neighbours have not heard of it either: see Probes.
func (t *Table) NeighbourDown(owner wire.ID, why Loss, now time.Time) []Transition {
	now = t.observe(now)
	s, known := t.sources[owner]
	m := t.members[owner]
	redial := why == RedialRefused || why == RedialUnanswered
	if redial && (s.neighbour || m == nil || m.arrivals == nil || m.status == Dead || m.status == Left) {
		t.counters.RedialsIgnored++
		return nil
	}
	if known {
		s.neighbour = false
		t.sources[owner] = s
	}
	switch {
	case m == nil:
		return nil
	case why == Released:
		m.arrivals, m.grounds = nil, none
		return nil
	case why == RedialRefused:
		return t.lost(m, refused, now)
	case why == RedialUnanswered:
		return t.lost(m, unanswered, now)
	default:
		return nil
	}
}

// lost follows a redial in vain.
func (t *Table) lost(m *member, c cause, now time.Time) []Transition {
	if m.grounds != refused {
		m.grounds = c
	}
	t.judgeAt = time.Time{}
	// Beats that were revealed before may still come, from others, and say nothing.
	m.lostAt = m.verifier.index + 1 + uint32(now.Sub(m.arrivals.last)/m.digest.BeatInterval)
	return t.consider(m, now)
}

// doubt is why this node would accuse m, none if it would not.
func (t *Table) doubt(m *member, now time.Time) cause {
	switch phi, silence := t.phi(m, now); {
	case m.grounds != none:
		return m.grounds
	case now.Before(m.hold):
		return none
	case m.arrivals != nil:
		if phi >= t.cfg.PhiSuspect && silence > MissedBeats*t.interval(m) {
			return silent
		}
		return none
	case m.status == Alive:
		over := silence - MissedBeats*t.interval(m)
		if phi >= t.cfg.PhiSuspect && over > 0 && t.chosen(m, over) {
			return far
		}
		return none
	case m.status == Suspect:
		if t.chosen(m, now.Sub(m.suspected)) {
			return far
		}
		return none
	default: // dead: an accuser may have gone
		if t.chosen(m, 0) {
			return far
		}
		return none
	}
}

// almost says whether m has missed all but one of the beats that it may: time to ask others, so that the answers are there
// when the last is missing too.
func (t *Table) almost(m *member, now time.Time) bool {
	if m.arrivals == nil || m.grounds != none || now.Before(m.hold) {
		return false
	}
	phi, silence := t.phi(m, now)
	return phi >= t.cfg.PhiSuspect/2 && silence > (MissedBeats-1)*t.interval(m)
}

// consider has this node ask about m and then accuse it, when it has a reason to.
func (t *Table) consider(m *member, now time.Time) []Transition {
	self := t.members[t.self]
	if m == self || self == nil || self.status != Alive || m.status == Left {
		return nil
	}
	c := t.doubt(m, now)
	if own := t.own(m); own != nil {
		if c == refused {
			own.Refused, t.listOld = true, true
		}
		return t.judge(m, now)
	}
	switch {
	case c == none && !t.almost(m, now):
		m.probe = nil
		return nil
	case t.enough(m, c, now):
		m.probe = nil
		return nil
	case m.probe == nil:
		t.ask(m, c, now)
	}
	if c == none || m.probe == nil || !m.probe.failed(now) {
		return nil
	}
	t.missed(m, now)
	if m.probe.refused && c == far {
		c = refused
	}
	if !t.accuse(m, c, now) {
		return nil
	}
	return t.judge(m, now)
}

// enough says whether one more accusation would change nothing.
func (t *Table) enough(m *member, c cause, now time.Time) bool {
	if m.docket == nil {
		return false
	}
	n, need := t.tally(m, now), t.quorum(m, now)
	return n.counted >= need && (c != refused || !t.cfg.Trusting || n.refused >= need)
}

// accuse has this node accuse m, unless its list is full of others that still need it.
func (t *Table) accuse(m *member, c cause, now time.Time) bool {
	if len(t.mine) >= MaxAccusations && !t.rotate(now) {
		t.counters.AccusationsFull++
		if m.status == Alive && !m.unlisted {
			m.unlisted = true
			t.unlisted++
		}
		return false
	}
	t.relist(m)
	m.cause, m.probe = c, nil
	t.mine, t.listOld = append(t.mine, m.owner), true
	t.charge(t.members[t.self], Accusation{Owner: m.owner, Last: m.proof(), Preimage: m.newest(), Refused: c == refused}, now)
	return true
}

// relist notes that m is not, or no longer, one whom this node would accuse if it could.
func (t *Table) relist(m *member) {
	if m.unlisted {
		m.unlisted = false
		t.unlisted--
	}
}

// rotate withdraws the oldest accusation of one that has long been dead, whose death every table has seen: it stays so.
func (t *Table) rotate(now time.Time) bool {
	for _, owner := range t.mine {
		if m := t.members[owner]; m != nil && m.status == Dead && now.Sub(m.since) > t.period {
			t.withdraw(m)
			return true
		}
	}
	return false
}

// own is the accusation of this node against m, nil if there is none.
func (t *Table) own(m *member) *charge {
	if m.docket == nil {
		return nil
	}
	if i, found := m.docket.find(t.self); found {
		return &m.docket.charges[i]
	}
	return nil
}

// withdraw ends the accusation of this node against m, if there is one.
func (t *Table) withdraw(m *member) {
	if self := t.members[t.self]; self != nil && t.own(m) != nil {
		t.drop(m.owner, self)
		t.listOld = true
		t.mine = slices.DeleteFunc(t.mine, func(owner wire.ID) bool { return owner == m.owner })
	}
}

// withdrawAll ends every accusation of this node.
func (t *Table) withdrawAll() {
	for _, owner := range slices.Clone(t.mine) {
		t.withdraw(t.members[owner])
	}
}

// Suspects returns whom this node accuses, longest accused first, as the value of SuspectsKey is to say, and whether that
// differs from what Accuses was last given for this node. Then the caller writes it, and by Accuses tells when it is in the
// state. Whoever withdraws everything writes an empty list.
func (t *Table) Suspects() (list []Accusation, changed bool) {
	if t.listOld {
		t.listOld, t.list = false, nil
		for _, owner := range t.mine {
			t.list = append(t.list, t.own(t.members[owner]).Accusation)
		}
	}
	return slices.Clone(t.list), !slices.Equal(t.list, t.published)
}

// chosen says whether this node is one of those that look after m: the live members of highest H(member | m | anchor of m), MaxQuorum of
// them. When those have not found enough against m in a background period, for they may be dead themselves, there are twice as
// many, and so on.
func (t *Table) chosen(m *member, overdue time.Duration) bool {
	wanted := MaxQuorum << min(overdue/t.period, 16)
	seed := rankSeed(m)
	mine := rank(t.self, seed)
	for _, other := range t.order {
		if other.status == Alive && other != m && other.owner != t.self && rank(other.owner, seed) > mine {
			if wanted--; wanted == 0 {
				return false // soon, usually: half of the members rank higher than any one
			}
		}
	}
	return true
}

// rankSeed is the first 8 bytes of SHA-256(m | anchor of m), big-endian.
func rankSeed(m *member) uint64 {
	if m.seed == 0 {
		var in [len(m.owner) + len(m.digest.BeatAnchor)]byte
		copy(in[copy(in[:], m.owner[:]):], m.digest.BeatAnchor[:])
		sum := sha256.Sum256(in[:])
		m.seed = binary.BigEndian.Uint64(sum[:])
	}
	return m.seed
}

// rank is H: two steps of splitmix64 (Steele, Lea, Flood 2014) over the first 16 bytes of the owner and the seed. Nothing depends on its strength: who is not chosen may accuse all the same.
func rank(owner wire.ID, seed uint64) uint64 {
	x := mix(seed ^ binary.BigEndian.Uint64(owner[:]))
	return mix(x ^ binary.BigEndian.Uint64(owner[8:]))
}

// mix is one step of splitmix64 from the state x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
