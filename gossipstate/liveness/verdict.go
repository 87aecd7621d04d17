package liveness

import (
	"fmt"
	"time"

	"github.com/p2pnode/p2pnode/gossipstate/wire"
)

// tally is what speaks against one member.
type tally struct {
	standing int // accusations by members that are not ignored: suspicion
	counted  int // those of them by live accusers that are no newcomers: towards death
	refused  int // those of counted that say "refused"
}

func (t *Table) tally(m *member, now time.Time) (n tally) {
	if m.docket == nil {
		return n
	}
	for i := range m.docket.charges {
		c := &m.docket.charges[i]
		if !t.standing(m, c) || now.Before(c.by.ignored) {
			continue
		}
		n.standing++
		if c.by.status != Alive || !t.seasoned(c.by, now) {
			continue
		}
		n.counted++
		if c.Refused {
			n.refused++
		}
	}
	return n
}

// seasoned says whether m is no newcomer: known for Probation, or since this node's own first Probation.
func (t *Table) seasoned(m *member, now time.Time) bool {
	return m.owner == t.self || m.known.Sub(t.begun) <= Probation || now.Sub(m.known) >= Probation
}

// quorum is how many accusers make m dead: max(1, min(MaxQuorum, n)) for n live members other than m. A suspect is one of
// them until its own suspicion has lasted as long as it must: if it were none, one liar that suspects everybody would make
// quorums of one; if it stayed one, two dead members would wait for each other's word. Whom this node would accuse if its
// list were not full is none.
func (t *Table) quorum(m *member, now time.Time) int {
	n := t.counts[Alive] - t.unlisted
	if m.status == Alive && !m.unlisted {
		n--
	}
	if n >= MaxQuorum {
		return MaxQuorum
	}
	for _, other := range t.order {
		if other.status == Suspect && other != m && !t.ripe(other, now) {
			n++
		}
	}
	return max(1, min(MaxQuorum, n))
}

// ripe says whether only the number of accusers keeps the suspect m from being dead.
func (t *Table) ripe(m *member, now time.Time) bool {
	n := t.tally(m, now)
	return n.counted > 0 && now.Sub(m.suspected) >= t.patience(m, n.counted, n.refused == n.counted, t.hears(m, now))
}

// patience is how long m is suspect before it is dead: see suspicionTimeout. The least is SuspicionMin when nothing listens on its port. Otherwise
// the silence may have begun one interval before whatever stopped m, so that one is added. It is never less than MissedBeats
// intervals. When the whole quorum was refused and members are trusted, it is RefusedTimeout, unless this node hears m itself.
func (t *Table) patience(m *member, count int, refused, heard bool) time.Duration {
	if refused && t.cfg.Trusting && !heard {
		return t.health.patient(RefusedTimeout)
	}
	low := t.cfg.SuspicionMin
	if !refused {
		low += m.digest.BeatInterval
	}
	return t.health.patient(suspicionTimeout(max(low, MissedBeats*m.digest.BeatInterval), count))
}

// hears says whether m beats to this node, and none is late: then nobody's word that its port refuses is enough for haste. (A
// process that was killed is late in a beat interval and a quarter at most, and sooner when its connection breaks.)
func (t *Table) hears(m *member, now time.Time) bool {
	return m.arrivals != nil && m.grounds == none && t.sources[m.owner].neighbour && now.Sub(m.quiet) < m.digest.BeatInterval*5/4
}

// judge draws the status of m from what is held against it.
func (t *Table) judge(m *member, now time.Time) []Transition {
	if m.owner == t.self || m.status != Alive && m.status != Suspect {
		return nil
	}
	n := t.tally(m, now)
	switch {
	case m.status == Alive && n.standing == 0:
		return nil
	case m.status == Alive:
		m.suspected = now
	case n.standing == 0:
		return t.become(m, Alive, why{reason: "no accusation is left"}, now)
	}
	need := t.quorum(m, now)
	// The quorum is refused when enough of the accusers were, whatever others say.
	refused := n.refused >= need
	timeout := t.patience(m, n.counted, refused, t.hears(m, now))
	if m.status == Alive {
		return t.become(m, Suspect, t.grievance(m, n, need, timeout, now), now)
	}
	if n.counted < need || now.Sub(m.suspected) < timeout {
		return nil
	}
	return t.become(m, Dead, t.grievance(m, n, need, timeout, now), now)
}

// grievance says why m is suspect or dead.
func (t *Table) grievance(m *member, n tally, need int, timeout time.Duration, now time.Time) why {
	w := why{timeout: timeout, accusers: t.accusers(m, now)}
	w.phi, _ = t.phi(m, now)
	w.reason = fmt.Sprintf("accused by %d, %d of %d count", n.standing, n.counted, need)
	if n.refused > 0 {
		w.reason += fmt.Sprintf(", %d refused", n.refused)
	}
	if t.own(m) != nil {
		w.reason += "; " + t.evidence(m, now)
	}
	return w
}

// accusers are those whose accusations of m stand, in order of owner, at most MaxNamed.
func (t *Table) accusers(m *member, now time.Time) []wire.ID {
	if m.docket == nil {
		return nil
	}
	var all []wire.ID
	for i := range m.docket.charges {
		if c := &m.docket.charges[i]; len(all) < MaxNamed && t.standing(m, c) && !now.Before(c.by.ignored) {
			all = append(all, c.by.owner)
		}
	}
	return all
}

// MustSign says whether this node has to sign a new digest on "members" at once, to refute a quorum that accuses it: its beats, which
// answer first, do not reach them. It is true at most once in half a suspicion timeout; the caller acts on it.
func (t *Table) MustSign(now time.Time) bool {
	now = t.observe(now)
	m := t.members[t.self]
	if m == nil || m.docket == nil || m.status != Alive || now.Before(t.signed) {
		return false
	}
	if n := t.tally(m, now); n.counted < t.quorum(m, now) {
		return false
	}
	t.health.worse(now)
	t.signed = now.Add(t.cfg.SuspicionMin / 2)
	t.counters.SignedToRefute++
	return true
}
